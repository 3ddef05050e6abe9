"""Why a conversation's numbers are so, as one would tell it: a paragraph for each agent segment, in plain words.

All of it is read off an explanation: its moments, its segments and units, and what each wait is to its target. Nothing
is worked out anew. Page and command line tell the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple, cast

from handletime.answers.clocks import Clocks
from handletime.answers.explained_levels import ServiceLevel, levels_of
from handletime.answers.words import OUTCOMES, Kind, count, duration, local, no_focus_data_of
from handletime.clock import SECOND
from handletime.events.book import millis_of
from handletime.segments.explain import Json, Moment, Reading

PARAGRAPHS_MAX: Final = 3
"""So many agent segments are told, and so many stretches in the queue; of the others their number."""
LATE_MAX: Final = 3
"""So many late waits of a segment are told one by one."""
LONG_WAIT: Final = 60 * SECOND
"""The longest wait for an answer is told from so many milliseconds on."""
COUNTED_MAX: Final = 3
"""So many stretches of opening hours are told of a late wait."""

Where = Callable[[int, int, int, int], str]
"""Where an agent looked who from a moment to another did not look here for so long: `at another conversation`."""

_ENDED: Final = {
    "closedByConsumer": "the consumer closed it",
    "closedByAgent": "an agent closed it",
    "closedBySystem": "the system closed it",
    "agentTransfer": "it was passed to another agent",
    "skillTransfer": "it was passed to another skill",
    "backToQueue": "it went back to the queue",
    "other": "somebody else took it over",
}
_AFTER: Final = {"takeover": "a takeover", "resume": "a resumption"}
"""After these no first response counts (rules.md 3.1)."""
_PROMISED: Final = {"firstResponse": "A first response", "response": "A response", "queueWait": "An agent"}
ELSEWHERE: Final = "elsewhere"
"""Where an agent looked of whom one knows no more."""


def paragraphs(
    reading: Reading,
    name: Callable[[Kind, int], str],
    clocks: Clocks,
    *,
    segment: str | None = None,
    where: Where | None = None,
) -> list[str]:
    """The paragraphs, in order of time: that of one segment (by its id), or those of the first three and how many more
    there are, with the stretches in the queue that no assignment ended.

    `name` gives what an id is called (`Jackdaw`, `agent 7`); times are those of the clocks, to the second.
    """
    stretches = list(_stretches(reading))
    chosen = [each for each in stretches if each.row["segmentId"] == segment]
    if chosen:
        return [_Teller(reading, name, clocks, where).segment(each) for each in chosen]
    queues = [row for row in reading.explanation.queue_segments if row["endReason"] != "assigned" and _wait(row)]
    told = [
        (reading.times[each.first], _Teller(reading, name, clocks, where).segment(each))
        for each in stretches[:PARAGRAPHS_MAX]
    ]
    for row in queues[:PARAGRAPHS_MAX]:
        told.append((millis_of(row["start"]), _Teller(reading, name, clocks, where).queue(row)))
    texts = [text for _time, text in sorted(told, key=lambda each: each[0])]
    further = (
        (stretches, "more agent segment", "more agent segments"),
        (queues, "more wait in the queue", "more waits in the queue"),
    )
    for rows, what, several in further:
        if (more := len(rows) - PARAGRAPHS_MAX) > 0:
            texts.append(f"{count(more, what, several)} {'stands' if more == 1 else 'stand'} below.")
    return texts


class _Stretch(NamedTuple):
    """An agent segment, and which of the moments are its own: from its `assigned` up to, not with, what ends it."""

    row: Json
    first: int
    end: int


def _stretches(reading: Reading) -> Iterator[_Stretch]:
    rows = iter(reading.explanation.agent_segments)
    began: tuple[Json, int] | None = None
    moments = reading.explanation.moments
    for i, moment in enumerate(moments):
        begins = moment.type == "assigned" and moment.no_effect is None and moment.assigned_agent_id is not None
        if began is not None and (begins or moment.assigned_agent_id is None):
            yield _Stretch(*began, i)
            began = None
        if begins:
            began = next(rows), i
    if began is not None:
        yield _Stretch(*began, len(moments))


_WhyNot = Mapping[str, tuple[str, int]]
"""Why time did not count: by reason, in words, with how long; the longest first."""


class _Teller:
    """Tells one paragraph."""

    def __init__(self, reading: Reading, name: Callable[[Kind, int], str], clocks: Clocks, where: Where | None) -> None:
        self._moments, self._times = reading.explanation.moments, reading.times
        self._queues = reading.explanation.queue_segments
        self._waiting_since, self._until_now = reading.waiting_since, reading.until
        self._name, self._clocks, self._where = name, clocks, where
        first, last = (local(self._times[at], clocks.zone).date() for at in (0, -1))
        self._day = first if first == last else None

    # --- paragraphs

    def segment(self, of: _Stretch) -> str:
        """What happened in an agent segment, and what of it counted."""
        row = of.row
        self._begin(row)
        said = [self._got(of)]
        if row["userType"] == "bot":
            said += [self._answered(of, ""), "Bots have no handle time."]
        elif not row["focusData"]:
            said += [self._answered(of, ""), f"{_cap(no_focus_data_of(self._who(row)))}."]
        else:
            answer = self._answer(of)
            until = of.end if answer is None else answer
            said += [self._answered(of, self._looked(of, until)), *self._counted(of, until)]
        said += [self._longest(of), *self._late(of), self._ended(of)]
        return " ".join(each for each in said if each)

    def queue(self, row: Json) -> str:
        """A wait in the queue that no assignment ended."""
        self._begin(row)
        start, skill = millis_of(row["start"]), self._name("skill", cast(int, row["skillId"]))
        if row["end"] is None:
            said = [f"Since {self._at(start)} it has been waiting in the queue of {skill}: nobody is assigned."]
        else:
            end = millis_of(row["end"])
            ended = _ENDED[str(row["endReason"])]
            said = [
                f"From {self._at(start)} it waited {duration(end - start)} in the queue of {skill}, with nobody "
                f"assigned, until {ended} at {self._at(end)}."
            ]
        said += [self._late_one(level) for level in levels_of(row) if _is_late(level)]
        return " ".join(said)

    def _begin(self, row: Json) -> None:
        """What still runs may have begun long ago: its date is told."""
        if row["end"] is None:
            self._day = None

    # --- who got it, and when

    def _got(self, of: _Stretch) -> str:
        row, start = of.row, self._times[of.first]
        who, at = self._who(row), self._at(start)
        follows = str(row["follows"])
        if follows == "takeover":
            text = f"{_cap(who)} took the conversation over at {at}"
        elif follows == "resume":
            text = f"The conversation was resumed, and assigned to {who} at {at}"
        elif follows == "transfer":
            text = f"Passed on to {who} at {at}"
        else:
            text = f"Assigned to {who} at {at}"
        waited = self._waited_for(row, of.first)
        return f"{text}, {' and '.join(waited)}." if waited else f"{text}."

    def _waited_for(self, row: Json, first: int) -> list[str]:
        """How long that took: in the queue, and from the consumer's first message there."""
        if row["queuedSince"] is None:
            return []
        queued, start = millis_of(row["queuedSince"]), self._times[first]
        asked = next(
            (
                at
                for moment, at in zip(self._moments[:first], self._times, strict=False)
                if at >= queued and _is_from(moment, "consumer")
            ),
            None,
        )
        since_asked = "" if asked is None else f"{duration(start - asked)} after the consumer asked"
        if start - queued < SECOND:
            return []
        in_queue = f"after {duration(start - queued)} in the queue"
        if asked is None:
            return [in_queue]
        if duration(start - asked) == duration(start - queued):
            return [since_asked]
        return [in_queue, since_asked]

    # --- where the agent looked, and the first message

    def _looked(self, of: _Stretch, until: int) -> str:
        """Whether, and from when on, the agent looked here before the answer, or before the end."""
        who, start = self._who(of.row), self._times[of.first]
        looks = self._first_look(of)
        if looks is not None and looks < until:
            at = self._times[looks]
            if looks == of.first:
                return f"{_cap(who)} was looking at it already"
            if at - start < SECOND:
                return f"{_cap(who)} looked at it at once"
            return f"{_cap(who)} was looking {self._elsewhere(of, start, at, at - start)} until {self._at(at)}"
        if until == of.end and self._answer(of) is None:
            looked = "has not looked at it yet" if of.row["end"] is None else "never looked at it"
            end = self._times[min(until, len(self._times) - 1)]
            meanwhile = self._elsewhere(of, start, end, end - start)
            return f"{_cap(who)} {looked}{'' if meanwhile == ELSEWHERE else f', but {meanwhile},'}"
        return f"{_cap(who)} was looking {self._elsewhere(of, start, self._times[until], self._times[until] - start)}"

    def _answered(self, of: _Stretch, begun: str) -> str:
        """The first message: when, and whether it is a first response; as the end of a sentence that has begun."""
        row, answer, start = of.row, self._answer(of), self._times[of.first]
        begun = f"{begun} and" if begun else _cap(self._who(row))
        if answer is None:
            if row["end"] is None:
                return f"{begun} has not answered yet."
            end = self._at(millis_of(row["end"]))
            return f"{begun} did not answer before {_ENDED[str(row['endReason'])]} at {end}."
        waited = self._moments[answer - 1].consumer_waits
        verb = "answered" if waited else "wrote, without being asked,"
        text = f"{begun} {verb} at {self._at(self._times[answer])}"
        if row["firstResponseMillis"] is not None:
            return f"{text}: a first response after {duration(cast(int, row['firstResponseMillis']))}."
        after = _AFTER.get(str(row["follows"]))
        if after is None:
            return f"{text}."
        took = duration(self._times[answer] - start)
        return f"{text}, {took} later. No first response is counted, and no response time: after {after} there is none."

    def _first_look(self, of: _Stretch) -> int | None:
        return next((i for i in range(of.first, of.end) if self._moments[i].agent_looks), None)

    def _answer(self, of: _Stretch) -> int | None:
        """Which moment is the agent's first message that counts."""
        return next((i for i in range(of.first + 1, of.end) if _is_from(self._moments[i], "agent")), None)

    def _elsewhere(self, of: _Stretch, start: int, end: int, millis: int) -> str:
        if self._where is None or millis <= 0:
            return ELSEWHERE
        return self._where(cast(int, of.row["agentId"]), start, end, millis)

    # --- what counted

    def _counted(self, of: _Stretch, answer: int) -> Iterator[str]:
        """What of the time up to the answer counted as handle time, and of the time after it."""
        last = min(of.end, len(self._times) - 1)
        to_answer = self._times[min(answer, last)] - self._times[of.first]
        up_to, why_not = self._sums(of, of.first, min(answer, last))
        units = cast("list[Json]", of.row["handleTimeUnits"])
        before = [unit for unit in units if millis_of(unit["start"]) < self._times[min(answer, last)]]
        if to_answer >= SECOND:
            yield self._of_these(of, to_answer, up_to, before, why_not)
        if answer >= last:
            return
        rest = self._times[last] - self._times[answer]
        after, why_not = self._sums(of, answer, last)
        if rest >= SECOND:
            yield _of_the_rest(rest, after, len(units) - len(before), why_not)
        if up_to and after:
            yield f"Handle time in all: {duration(up_to + after)}."

    def _of_these(self, of: _Stretch, all_: int, counted: int, units: list[Json], why_not: _WhyNot) -> str:
        if not counted:
            return f"None of these {duration(all_)} counted as handle time: {_reasons(why_not)}."
        whole = duration(all_)
        much = f"All of these {whole}" if counted == all_ else f"Of these {whole}, {duration(counted)}"
        if len(units) == 1:
            (unit,) = units
            how = f": from {self._at(millis_of(unit['start']))}, {self._began(of, unit)}, {self._until(unit)}"
        else:
            how = f", in {len(units)} stretches"
        text = f"{much} counted as handle time{how}."
        # What came before the first look has been told.
        looked = self._first_look(of)
        before = 0 if looked is None else self._times[looked] - self._times[of.first]
        if counted == all_ or [(why, millis) for why, (_words, millis) in why_not.items()] == [
            ("focusElsewhere", before)
        ]:
            return text
        return f"{text} The other {duration(all_ - counted)} did not: {_reasons(why_not)}."

    def _sums(self, of: _Stretch, first: int, end: int) -> tuple[int, _WhyNot]:
        """The time that counted between two moments, and that which did not, by its reason."""
        counted, idle = 0, Counter[str]()
        for moment in self._moments[first:end]:
            counted += moment.handle_time_millis
            if (rest := (moment.lasts_millis or 0) - moment.handle_time_millis) > 0:
                idle[str(moment.not_handled_because)] += rest
        looked = f"{self._who(of.row)} did not look here"
        meanwhile = self._elsewhere(of, self._times[first], self._times[end], idle["focusElsewhere"])
        words = {
            "nobodyWaits": "nobody waited",
            "focusElsewhere": looked if meanwhile == ELSEWHERE else f"{self._who(of.row)} looked {meanwhile}",
            "running": "the wait goes on, and counts once it ends",
        }
        return counted, {
            why: (words.get(why, "it is not known"), millis) for why, millis in idle.most_common() if millis
        }

    def _began(self, of: _Stretch, unit: Json) -> str:
        who = self._who(of.row)
        return {
            "consumerMessage": "when the consumer wrote",
            "conversationEntered": f"when {who} opened this conversation",
            "conversationAssigned": f"when {who} got it",
            "agentMessage": f"when {who} wrote",
        }[str(unit["startReason"])]

    def _until(self, unit: Json) -> str:
        return {
            "agentResponse": "to the answer",
            "conversationExited": f"until the focus left it at {self._at(millis_of(unit['end']))}",
            "conversationClosed": "until it was closed",
            "conversationTransferred": "until it was passed on",
        }[str(unit["endReason"])]

    def _longest(self, of: _Stretch) -> str:
        """The longest wait for an answer, where that is not the first one, of which is told already."""
        row = of.row
        waits = cast("list[int]", row["responseMillis"])
        place = max(range(len(waits)), key=waits.__getitem__, default=0)
        if (place == 0 and (not waits or row["firstMessageIsResponse"])) or waits[place] < LONG_WAIT:
            return ""
        since = millis_of(cast("list[str]", row["responseWaitingSince"])[place])
        until = since + waits[place]
        text = (
            f"The longest wait for an answer: the consumer wrote at {self._at(since)} and had it at {self._at(until)}, "
            f"after {duration(waits[place])}"
        )
        if row["userType"] == "bot" or not row["focusData"]:
            return f"{text}."
        within = (
            moment
            for moment, at in zip(self._moments[of.first : of.end], self._times[of.first : of.end], strict=False)
            if since <= at < until
        )
        away = sum(moment.lasts_millis or 0 for moment in within if moment.not_handled_because == "focusElsewhere")
        if away < SECOND:
            return f"{text}."
        who, meanwhile = self._who(row), self._elsewhere(of, since, until, away)
        return f"{text}; for {duration(away)} of it {who} was looking {meanwhile}."

    # --- what was promised, and the end

    def _late(self, of: _Stretch) -> Iterator[str]:
        row = of.row
        queues = [each for each in self._queues if each["end"] == row["start"] and each["start"] == row["queuedSince"]]
        late = [level for each in (*queues, row) for level in levels_of(each) if _is_late(level)]
        yield from map(self._late_one, late[:LATE_MAX])
        if (more := len(late) - LATE_MAX) > 0:
            yield f"{count(more, 'more wait')} {'was' if more == 1 else 'were'} too long."

    def _late_one(self, level: ServiceLevel) -> str:
        """What was promised, by how much it was late, and in which opening hours."""
        promised = f"{_PROMISED[level.clock]} was promised within {duration(level.target_millis)} ({level.target})"
        since = millis_of(level.waiting_since)
        took = f"from {self._at(since)} on it {'has taken' if level.verdict == 'pastDue' else 'took'} "
        took += duration(level.elapsed_millis)
        hours = ""
        if level.calendar != "always":
            spans = [
                f"{self._at(millis_of(each.start))} to {self._at(millis_of(each.end))}"
                for each in level.counted[:COUNTED_MAX]
            ]
            more = len(level.counted) + level.counted_more - len(spans)
            spans += [f"{more} more"] if more else []
            hours = f" of opening hours ({level.calendar}: {', '.join(spans)})"
        return f"{promised}; {took}{hours}, {duration(level.elapsed_millis - level.target_millis)} too long."

    def _ended(self, of: _Stretch) -> str:
        row = of.row
        if row["end"] is None:
            since = self._waiting_since
            if since is None:
                return "It still runs; nobody waits for an answer."
            known = self._until_now > self._times[-1]
            so_far = f", {duration(self._until_now - since)} so far" if known else ""
            return f"It still runs, and the consumer has been waiting for an answer since {self._at(since)}{so_far}."
        outcome = OUTCOMES[str(row["outcome"])]
        if self._answer(of) is None:
            return f"The outcome is {outcome}."
        return f"At {self._at(millis_of(row['end']))} {_ENDED[str(row['endReason'])]}; the outcome is {outcome}."

    # --- words

    def _who(self, row: Json) -> str:
        name = self._name("agent", cast(int, row["agentId"]))
        return f"the bot {name}" if row["userType"] == "bot" else name

    def _at(self, millis: int) -> str:
        """A time of day, with its date where that is another one than was told last."""
        day = local(millis, self._clocks.zone).date()
        if day == self._day:
            return self._clocks.time(millis)
        self._day = day
        return self._clocks.moment(millis)


def _of_the_rest(all_: int, counted: int, units: int, why_not: _WhyNot) -> str:
    """What of the time after the answer counted."""
    if counted == all_:
        return f"The {duration(all_)} after it counted too."
    if counted:
        much = f"{duration(counted)} counted, in {count(units, 'stretch', 'stretches')}"
        return f"Of the {duration(all_)} after it, {much}; the rest did not: {_reasons(why_not)}."
    if [*why_not] == ["nobodyWaits"]:
        return f"Then {duration(all_)} passed in which nobody waited; they count nothing."
    return f"The {duration(all_)} after it count nothing: {_reasons(why_not)}."


def _reasons(why_not: _WhyNot) -> str:
    """`nobody waited`, or with how long each reason held."""
    told = list(why_not.values())
    return told[0][0] if len(told) == 1 else "; ".join(f"for {duration(millis)} {why}" for why, millis in told)


def _is_from(moment: Moment, who: str) -> bool:
    """Whether it is a message that counts of the consumer, or of the assigned agent."""
    return moment.type == "message" and moment.no_effect is None and moment.detail.get("sentBy") == who


def _is_late(level: ServiceLevel) -> bool:
    return level.verdict in ("missed", "pastDue")


def _wait(row: Json) -> bool:
    """Whether a queue segment has any length that is worth telling."""
    return row["waitMillis"] is None or cast(int, row["waitMillis"]) >= SECOND


def _cap(text: str) -> str:
    return text[:1].upper() + text[1:]
