"""One conversation as a picture: lanes over time. What is drawn stands in its reading (`segments.explain`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Final, NamedTuple, cast

import numpy as np

from handletime.answers.clocks import Clocks
from handletime.answers.labels import AccountLabels
from handletime.answers.words import (
    CLAUSES,
    END_REASONS,
    FOLLOWS,
    NO_EFFECT,
    NO_FOCUS_DATA,
    NOT_HANDLED,
    OUTCOMES,
    OUTSIDE_SCOPE,
    UNIT_ENDS,
    UNIT_STARTS,
    duration,
    event,
    local,
    queue_came,
    queue_ended,
    queue_segment,
)
from handletime.clock import DAY, HOUR, MINUTE
from handletime.events.book import millis_of
from handletime.segments.agent_focus import OUTSIDE, Focus
from handletime.segments.explain import Json, Moment, Reading, Span, queues_begun
from handletime.web.elsewhere import Elsewhere, Meanwhile, Places

WIDTH: Final = 1200
LEFT: Final = 150
RIGHT: Final = 16
PLOT: Final = WIDTH - LEFT - RIGHT
MOMENTS_MAX: Final = 3000
"""More are not drawn: nobody could tell them apart."""
OTHERS_MAX: Final = 400
"""So many stretches on other conversations are drawn, the longest."""
_TICKS: Final = 9
_TICK_APART: Final = 76
_STEPS: Final = (
    *(1000 * s for s in (1, 2, 5, 10, 15, 30)),
    *(MINUTE * m for m in (1, 2, 5, 10, 15, 30)),
    *(HOUR * h for h in (1, 2, 4, 6, 12)),
    *(DAY * d for d in (1, 2, 7, 14, 30, 90, 365, 3650)),
)
_FOLD_OVER: Final = 0.22
_FOLD_TO: Final = 0.08
_FOLD_LEAST: Final = 30_000
_ROUNDS: Final = 40
_SAME: Final = 1e-9
_HEAD: Final = 14.0
"""The height of a line of text above the picture: one for the folds, one for the times."""
_LETTER: Final = 7.0
"""How wide a letter is, more or less."""


@dataclass
class Item:
    """A stretch or a mark: where it is drawn, what it is, and what the page says of it, line by line.

    `conversation` is another one, to which it leads.
    """

    kind: str
    start: int
    end: int
    x: float
    y: float
    width: float
    height: float
    says: list[str]
    text: str = ""
    mark: str = ""
    order: int = 0
    conversation: str = ""

    @property
    def label(self) -> str:
        """What it says, as sentences. The name of a link begins with what is read of it (WCAG 2.5.3)."""
        lines = [self.text, *self.says] if self.conversation and self.text else self.says
        return ". ".join(line.rstrip(".") for line in lines)


class Tick(NamedTuple):
    """A moment on the axis."""

    x: float
    text: str


class Fold(NamedTuple):
    """A stretch in which nothing happens, drawn shorter than it is; `y` is that of its text."""

    x: float
    y: float
    width: float
    text: str


@dataclass
class Lane:
    """One row: its name and what is in it."""

    name: str
    y: float
    height: float
    kind: str
    items: list[Item] = field(default_factory=list)


@dataclass
class Picture:
    """The whole: lanes from above, the axis (`axis` is the y of its texts), folds; `height` in the units of WIDTH.

    `more_others` stretches on other conversations are not drawn.
    """

    lanes: list[Lane]
    ticks: list[Tick]
    folds: list[Fold]
    axis: float
    height: float
    start: int
    end: int
    more_others: int = 0

    @property
    def items(self) -> list[Item]:
        """Everything that can be pointed at, in the order in which it is painted; `order` is that of time."""
        return [item for lane in self.lanes for item in lane.items]


class Scale:
    """From moments to places. Stretches in which nothing happens are folded where they would take up the picture.

    Folds are never so short that the order of lengths is lost: of two of the `compared` spans the longer one is drawn
    at least as long, and those of one length are drawn equally long.
    """

    def __init__(self, times: Sequence[int], compared: Iterable[Span] = (), *, true: bool) -> None:
        spans = set(compared)
        self._times = sorted({*times, *(end for span in spans for end in span)})
        lengths = [b - a for a, b in pairwise(self._times)]
        shown = [float(length) for length in lengths]
        self.folded: set[int] = set() if true else _fold(shown)
        if self.folded:
            place = {time: i for i, time in enumerate(self._times)}
            _keep_order(lengths, shown, self.folded, [(place[start], place[end]) for start, end in spans])
        total = sum(shown) or 1.0
        self._millis = np.array(self._times, float)
        self._places = np.array([0.0, *accumulate(shown)]) / total * PLOT
        self.shown_millis = total

    def at(self, millis: int) -> float:
        """Where a moment is, from the left edge of the picture."""
        return LEFT + float(np.interp(millis, self._millis, self._places))

    def folds(self) -> Iterator[Span]:
        """The folded stretches."""
        for i in sorted(self.folded):
            yield self._times[i], self._times[i + 1]

    def ticks(self, clocks: Clocks) -> Iterator[Tick]:
        """Round moments that are far enough from each other; where there are several days, each is named once."""
        step = next((s for s in _STEPS if s * _TICKS >= self.shown_millis), _STEPS[-1])
        zone = clocks.zone
        first, end = local(self._times[0], zone), local(self._times[-1], zone)
        last, named = float("-inf"), first.date() if first.date() == end.date() else None
        for i, (a, b) in enumerate(pairwise(self._times)):
            # A fold is followed by the time at which it ends: a round one may be far away.
            for tick in (b,) if i in self.folded else range(a + -a % step, b, step):
                x = self.at(tick)
                if x - last < _TICK_APART or x > WIDTH - 60:
                    continue
                at, to_the_second = local(tick, zone), step < MINUTE or i in self.folded
                if at.date() == named and step < DAY:
                    text = clocks.time(tick, seconds=to_the_second)
                elif step >= DAY or first.year != end.year:
                    text = clocks.day(tick)
                else:
                    text = f"{clocks.day_of_year(tick)} {clocks.time(tick, seconds=False)}"
                yield Tick(x, text)
                last, named = x, at.date()


def _fold(lengths: list[float]) -> set[int]:
    """Shortens the longest stretches until none is most of the picture; says which."""
    folded: set[int] = set()
    if len(lengths) < 4:
        return folded
    while True:
        total = sum(lengths)
        i = max((i for i in range(len(lengths)) if i not in folded), key=lengths.__getitem__, default=None)
        if i is None or lengths[i] <= _FOLD_OVER * total or lengths[i] < _FOLD_LEAST:
            return folded
        lengths[i] = _FOLD_TO * (total - lengths[i])
        folded.add(i)


def _keep_order(lengths: list[int], shown: list[float], folded: set[int], spans: list[tuple[int, int]]) -> None:
    """Opens folds until of two spans (of places) the longer one is shown at least as long; says which folds are left.

    A longer span that is shown shorter has folds that the other one does not have: opened wide enough, these make up
    for it. What is opened for one span may be too much for another, so it is done again until nothing is left to do.
    """
    begins = [0, *accumulate(lengths)]
    # Spans of one length are looked at in both orders: none of them may be shown shorter than another.
    ways = [sorted(way, key=lambda span: begins[span[1]] - begins[span[0]]) for way in (spans, spans[::-1])]
    for _ in range(_ROUNDS):
        opened = [_opened(way, lengths, shown, folded) for way in ways]
        if not any(opened):
            break
    else:
        # Nearly there, and enough is enough: at full length the order is right.
        for i in folded:
            shown[i] = float(lengths[i])
    folded -= {i for i in folded if shown[i] >= (1 - _SAME) * lengths[i]}


def _opened(in_order: list[tuple[int, int]], lengths: list[int], shown: list[float], folded: set[int]) -> bool:
    """One round of it; says whether any span was too short."""
    places, any_opened = [0.0, *accumulate(shown)], False
    widest, most = (0, 0), 0.0
    for first, last in in_order:
        lacks = most - (places[last] - places[first])
        if lacks > most * _SAME:
            own = [i for i in folded if first <= i < last and not widest[0] <= i < widest[1]]
            room = sum(lengths[i] - shown[i] for i in own)
            if room > 0:
                for i in own:
                    shown[i] += min(lacks / room, 1.0) * (lengths[i] - shown[i])
                places, any_opened = [0.0, *accumulate(shown)], True
        if places[last] - places[first] >= most:
            widest, most = (first, last), places[last] - places[first]
    return any_opened


def draw(
    reading: Reading, labels: AccountLabels, clocks: Clocks, elsewhere: Meanwhile | None = None, *, true: bool = False
) -> Picture:
    """The picture of a conversation; `true` draws all time to scale."""
    return _Artist(reading, labels, clocks, elsewhere or Meanwhile({}, {}), true=true).draw()


class _Artist:
    def __init__(
        self, reading: Reading, labels: AccountLabels, clocks: Clocks, elsewhere: Meanwhile, *, true: bool
    ) -> None:
        self.moments = reading.explanation.moments[:MOMENTS_MAX]
        self.times = reading.times[:MOMENTS_MAX]
        self.elsewhere = elsewhere.places
        self.others = {agent: list(_on_others(found)) for agent, found in elsewhere.stretches.items()}
        # What still runs is drawn up to now; a picture that leaves moments out ends with the last one that it has.
        self.start, self.end = self.times[0], self.times[-1] if len(reading.times) > MOMENTS_MAX else reading.until
        self.waiting_since = reading.waiting_since
        self.agent_segments = self._begun(reading.explanation.agent_segments)
        self.skill_segments = self._begun(reading.explanation.skill_segments)
        self.queue_segments = self._begun(reading.explanation.queue_segments)
        self.waits = self._cut(reading.waits)
        self.focus = {agent: self._cut(spans) for agent, spans in reading.focus.items()}
        self.labels, self.clocks = labels, clocks
        self.scale = Scale([*self.times, self.end], self._compared(), true=true)
        self.shortest_other = self._shortest_other()
        self.more_others = 0
        self.lanes: list[Lane] = []
        self.y = 4.0

    def draw(self) -> Picture:
        folds = self._folds()
        axis = self.y + _HEAD - 4
        self.y += _HEAD + 4
        self._consumer()
        self._queue()
        for agent in self._agents():
            self._agent(agent)
        self._counted()
        self._skill_segments()
        self._agent_segments()
        ticks = list(self.scale.ticks(self.clocks))
        picture = Picture(self.lanes, ticks, folds, axis, self.y + 8, self.start, self.end, self.more_others)
        for number, item in enumerate(sorted(picture.items, key=lambda each: (each.start, each.y, each.end))):
            item.order = number
        return picture

    # --- parts

    def _compared(self) -> Iterator[Span]:
        """The stretches whose lengths one compares by eye: waits, segments, focus and units."""
        yield from self.waits
        for spans in self.focus.values():
            yield from spans
        units = [unit for row in self.agent_segments for unit in cast(list[Json], row["handleTimeUnits"])]
        for row in (*self.agent_segments, *self.skill_segments, *self.queue_segments, *self._begun(units)):
            yield millis_of(row["start"]), min(self._end_of(row), self.end)

    def _begun(self, rows: list[Json]) -> list[Json]:
        """The rows that begin before the picture ends."""
        return [row for row in rows if millis_of(row["start"]) <= self.end]

    def _cut(self, spans: list[Span]) -> list[Span]:
        """The stretches as far as the picture shows them."""
        return [(start, min(end, self.end)) for start, end in spans if start < self.end]

    def _folds(self) -> list[Fold]:
        """What is folded, written above the picture; in two lines where one text would run into another."""
        folds, free = [], [float("-inf")] * 2
        lane = Lane("", self.y, _HEAD, "folds")
        for start, end in self.scale.folds():
            x, text = self.scale.at(start), f"⋯ {duration(end - start)}"
            width = self.scale.at(end) - x
            half = len(text) * _LETTER / 2
            line = 0 if x + width / 2 - half >= free[0] else 1
            free[line] = x + width / 2 + half
            folds.append(Fold(x, self.y + (line + 1) * _HEAD - 4, width, text))
            says = [f"Folded, drawn shorter than it is: {duration(end - start)} without any event"]
            lane.items.append(
                Item("folded", start, end, x, self.y, width, _HEAD * (line + 1), [*says, self._span(start, end)])
            )
        if folds:
            self.lanes.append(lane)
            self.y += _HEAD * (2 if free[1] > 0 else 1)
        return folds

    def _lane(self, name: str, kind: str, height: float, *, gap: float = 8) -> Lane:
        lane = Lane(name, self.y, height, kind)
        self.lanes.append(lane)
        self.y += height + gap
        return lane

    def _at(self, millis: int) -> str:
        """A moment, with its date where the picture has several."""
        first, last = (local(each, self.clocks.zone).date() for each in (self.start, self.end))
        return self.clocks.clock(millis) if first == last else self.clocks.exactly(millis)

    def _span(self, start: int, end: int) -> str:
        return f"{self._at(start)} – {self._at(end)} · {duration(end - start)}"

    def _stretch(self, lane: Lane, kind: str, start: int, end: int, says: list[str], *, text: str = "") -> Item:
        end = min(end, self.end)
        x, right = self.scale.at(start), self.scale.at(end)
        width = max(right - x, 1.5)
        # Into a wait one sees the message that began it; a text that has no room is told when it is pointed at.
        shown = text if len(text) * _LETTER + (18 if kind == "waits" else 6) <= width else ""
        item = Item(kind, start, end, x, lane.y, width, lane.height, [*says, self._span(start, end)], shown)
        lane.items.append(item)
        return item

    def _mark(self, lane: Lane, kind: str, each: Moment, at: int, title: str, *, symbol: str = "circle") -> None:
        says = [title]
        if each.no_effect:
            says.append(f"counts for nothing: {NO_EFFECT[each.no_effect]}")
        says += [self._at(at), _clause(each.rule)]
        x = self.scale.at(at)
        kind = f"{kind} idle" if each.no_effect else kind
        lane.items.append(Item(kind, at, at, x - 6, lane.y + lane.height / 2 - 6, 12, 12, says, mark=symbol))

    def _name(self, agent: object) -> str:
        return self.labels.text("agent", int(str(agent)))

    def _skill(self, row: Json) -> str:
        return self.labels.text("skill", int(str(row["skillId"])))

    # --- lanes

    def _consumer(self) -> None:
        lane = self._lane("consumer", "consumer", 26)
        for start, end in self.waits:
            goes_on = start == self.waiting_since and end == self.end
            says = [
                "The consumer waits for the assigned agent",
                *(["still waiting"] if goes_on else []),
                _clause("3.2"),
            ]
            self._stretch(lane, "waits", start, end, says, text="still waits" if goes_on else "waits")
        for each, at in zip(self.moments, self.times, strict=True):
            if each.type == "message" and each.detail.get("sentBy") == "consumer":
                self._mark(lane, "message", each, at, "Message of the consumer")
            elif each.type in ("opened", "resumed"):
                self._mark(lane, "opening", each, at, f"Conversation {each.type}", symbol="diamond")
            elif each.type == "closed":
                self._mark(lane, "close", each, at, f"Closed by the {each.detail.get('closedBy')}", symbol="cross")
            elif each.type == "message" and each.detail.get("sentBy") == "system":
                self._mark(lane, "message system", each, at, "System message")
            elif each.type == "message" and each.outside_scope and self._writer(each) is None:
                self._mark(lane, "message system", each, at, f"Message of an agent, {OUTSIDE_SCOPE}")
            elif each.type == "message" and self._writer(each) is None:
                self._mark(lane, "message system", each, at, "Message of an agent; nobody is assigned")

    def _queue(self) -> None:
        if self.queue_segments:
            lane = self._lane("queue", "queue", 22)
            for row in self.queue_segments:
                title = f"Queue segment {row['sequence']}: {self._skill(row)}, nobody is assigned"
                says = [title, queue_came(row), queue_ended(row), _clause("2.5")]
                self._stretch(lane, "queued", millis_of(row["start"]), self._end_of(row), says, text="in queue")

    def _agents(self) -> list[int]:
        """Agents in the order in which they turn up; those who were assigned first."""
        assigned = [each.assigned_agent_id for each in self.moments if each.assigned_agent_id is not None]
        acting = [int(str(each.detail["agentId"])) for each in self.moments if "agentId" in each.detail]
        return list(dict.fromkeys([*assigned, *acting]))

    def _agent(self, agent: int) -> None:
        name = self._name(agent)
        lane = self._lane(name, "agent", 26, gap=2)
        for row in self._segments_of(agent):
            start, end = millis_of(row["start"]), self._end_of(row)
            follows = FOLLOWS[str(row["follows"])]
            says = [f"{name} has the conversation", f"after {follows}, {self._skill(row)}"]
            self._stretch(lane, "assigned", start, end, [*says, _clause("2.1")])
        for each, at in zip(self.moments, self.times, strict=True):
            if each.type == "message" and each.detail.get("sentBy") == "agent" and self._writer(each) == agent:
                self._mark(lane, "message agent-message", each, at, f"Message of {name}", symbol="square")
        human = [row for row in self._segments_of(agent) if row["userType"] == "human"]
        if human or not self._segments_of(agent):
            known = not human or human[0]["focusData"]
            self._focus_strip(agent, name, "focus, handle time" if known else NO_FOCUS_DATA)

    def _focus_strip(self, agent: int, name: str, title: str) -> None:
        strip = self._lane(title, "focus", 18)
        for start, end in self.focus.get(agent, []):
            self._stretch(strip, "focus", start, end, [f"The focus of {name} is here", _clause("1 Focus")])
        for row in self._segments_of(agent):
            for unit in cast(list[Json], row["handleTimeUnits"]):
                self._unit(strip, unit, name)
        if others := self.others.get(agent):
            self._elsewhere(name, others)

    def _elsewhere(self, name: str, others: Sequence[Focus]) -> None:
        """Which other conversations had the agent's focus while this one had to do without it."""
        lane = self._lane("looks elsewhere", "focus", 18)
        for each in others:
            if each.end - each.start < self.shortest_other:
                self.more_others += 1
                continue
            says = [f"{name} looks at {each.conversation}", "Another conversation; leads to its Why"]
            item = self._stretch(lane, "other", each.start, each.end, says, text=_short(str(each.conversation)))
            item.conversation = str(each.conversation)

    def _shortest_other(self) -> int:
        """How long a stretch on another conversation has to be, so that not too many are drawn."""
        lengths = sorted((each.end - each.start for found in self.others.values() for each in found), reverse=True)
        return lengths[OTHERS_MAX - 1] if len(lengths) > OTHERS_MAX else 0

    def _writer(self, each: Moment) -> int | None:
        """Who wrote: the agent that the event names, else the assigned one."""
        named = each.detail.get("agentId")
        if named is None:
            return None if each.outside_scope else each.assigned_agent_id
        return int(str(named))

    def _segments_of(self, agent: int) -> list[Json]:
        return [row for row in self.agent_segments if row["agentId"] == agent]

    def _end_of(self, row: Json) -> int:
        return self.end if row["end"] is None else millis_of(row["end"])

    def _unit(self, lane: Lane, unit: Json, name: str) -> None:
        start, end = millis_of(unit["start"]), millis_of(unit["end"])
        if start > self.end:
            return
        under = {
            each.handled_under
            for each, at in zip(self.moments, self.times, strict=True)
            if start <= at < end and each.handled_under
        }
        says = [
            f"Handle-time unit {unit['sequence']} of {name}",
            f"starts: {UNIT_STARTS[str(unit['startReason'])]} ({unit['startReason']})",
            f"ends: {UNIT_ENDS[str(unit['endReason'])]} ({unit['endReason']})",
            *(_clause(clause) for clause in sorted(under)),
        ]
        item = self._stretch(lane, "unit", start, end, says, text=f"{unit['sequence']} · {duration(end - start)}")
        if not item.text:
            item.text = str(unit["sequence"]) if item.width >= _LETTER + 4 else ""

    def _counted(self) -> None:
        lane = self._lane("counts?", "counted", 14)
        for i, each in enumerate(self.moments[:-1]):
            start, end = self.times[i], self.times[i + 1]
            if end == start:
                continue
            if each.handled_under:
                self._stretch(lane, "handled", start, end, ["Counted as handle time", _clause(each.handled_under)])
            else:
                why = NOT_HANDLED[str(each.not_handled_because)]
                clause = "1 State" if each.not_handled_because == "notOpen" else "3.3"
                says = [f"Not counted as handle time: {why}"]
                if i in self.elsewhere:
                    says.append(f"Meanwhile: {', '.join(map(str, self.elsewhere[i]))}")
                self._stretch(lane, "not-handled", start, end, [*says, _clause(clause)])

    def _skill_segments(self) -> None:
        if self.agent_segments and not self.skill_segments:
            return  # They are outside of the key's scope.
        lane = self._lane("skill segments", "segments", 22, gap=4)
        for row in self.skill_segments:
            self._segment(lane, row, f"Skill segment {row['sequence']}: {self._skill(row)}", self._skill(row))

    def _agent_segments(self) -> None:
        lane = self._lane("agent segments", "segments", 22)
        for row in self.agent_segments:
            name = self._name(row["agentId"])
            self._segment(lane, row, f"Agent segment of {name}", "")

    def _segment(self, lane: Lane, row: Json, title: str, text: str) -> None:
        start = millis_of(row["start"])
        if row["end"] is None:
            self._stretch(lane, "segment running", start, self.end, [title, "still running"], text=text or "running")
            return
        outcome = OUTCOMES[str(row["outcome"])]
        says = [title, f"outcome: {outcome}", f"ended: {END_REASONS[str(row['endReason'])]}", _clause("2.4")]
        shown = f"{text}: {outcome}" if text else outcome
        self._stretch(lane, f"segment {row['outcome']}", start, millis_of(row["end"]), says, text=shown)


def _on_others(found: Sequence[Focus]) -> Iterator[Focus]:
    """The stretches on conversations that one may know of."""
    return (each for each in found if each.conversation is not None and each.conversation != OUTSIDE)


def _short(conversation: str) -> str:
    return conversation if len(conversation) <= 13 else f"{conversation[:13]}…"


def _clause(rule: str) -> str:
    return f"rules {rule}: {CLAUSES[rule]}" if rule in CLAUSES else f"rules {rule}"


class Line(NamedTuple):
    """One event of a conversation, or the end of a focus, in words; and the queue segment that it starts."""

    at: str
    what: str
    effect: str
    rule: str
    lasts: str
    counts: str
    handled: bool
    queue: str
    elsewhere: Sequence[Elsewhere]


def lines_of(
    reading: Reading, labels: AccountLabels, clocks: Clocks, elsewhere: Places | None = None, most: int = MOMENTS_MAX
) -> list[Line]:
    """A conversation event by event, up to so many: what each did, and whether the time after it counts."""
    places, moments = elsewhere or {}, reading.explanation.moments[:most]
    shown = zip(moments, reading.times, queues_begun(reading.explanation), strict=False)
    return [
        _line(each, at, labels, clocks, "" if row is None else queue_segment(row, labels.short), places.get(i, ()))
        for i, (each, at, row) in enumerate(shown)
    ]


def _line(
    each: Moment, at: int, labels: AccountLabels, clocks: Clocks, queue: str, elsewhere: Sequence[Elsewhere]
) -> Line:
    counts = f"counted, {each.handled_under}" if each.handled_under else ""
    if each.not_handled_because:
        counts = f"not counted: {NOT_HANDLED[each.not_handled_because]}"
    return Line(
        clocks.exactly(at),
        event(each, labels.short),
        NO_EFFECT[each.no_effect] if each.no_effect else "",
        each.rule,
        "" if each.lasts_millis is None else duration(each.lasts_millis),
        counts,
        each.handled_under is not None,
        queue,
        elsewhere,
    )
