"""Where an agent's focus was while one of the agent's own conversations had to wait for it."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from operator import attrgetter
from typing import Final, NamedTuple

from handletime.answers.told import ELSEWHERE
from handletime.answers.words import OUTSIDE_SCOPE, duration
from handletime.api.ports import Reader
from handletime.segments.agent_focus import OUTSIDE, Focus
from handletime.segments.explain import Reading

SHOWN: Final = 4


class Elsewhere(NamedTuple):
    """How long an agent's focus was on one other conversation, on none, or on who knows which, in all."""

    conversation: str | None
    known: bool
    millis: int
    whole: bool
    """Whether that is all the time in question."""
    outside: bool = False
    """Whether it was on conversations that whoever asks may not know of."""
    others: int = 0
    """For the last one that is shown: so many conversations together."""

    @property
    def place(self) -> str:
        """Where it was, but for the conversation's id."""
        if self.others:
            return f"on {self.others} others"
        if self.outside:
            return f"on others, {OUTSIDE_SCOPE}"
        if self.conversation is not None:
            return "on "
        return "on no conversation" if self.known else "unknown where"

    @property
    def lasted(self) -> str:
        """For how long, where it was at several places."""
        return "" if self.whole else f" for {duration(self.millis)}"

    def __str__(self) -> str:
        return f"{self.place}{self.conversation or ''}{self.lasted}"


Places = Mapping[int, Sequence[Elsewhere]]
"""Where the assigned agent's focus was from a moment of an explanation to the next one, by the moment's place."""


class Meanwhile(NamedTuple):
    """Where the focus was wherever an explanation says that it was elsewhere.

    `places` says it moment by moment, `stretches` for each agent as a whole, in order, up to the end of what was asked.
    """

    places: Places
    stretches: Mapping[int, Sequence[Focus]]

    def told(self, agent: int, start: int, end: int, millis: int) -> str:
        """Where an agent looked who from a moment to another did not look here for so long (milliseconds):
        `at 3 other conversations`, `at no conversation`; `elsewhere` where not all of it is known.
        """
        own = (each for each in self.stretches.get(agent, ()) if each.start < end and each.end > start)
        within = [(each, min(each.end, end) - max(each.start, start)) for each in own]
        if not within or sum(length for _each, length in within) != millis:
            return ELSEWHERE
        if not all(each.known for each, _length in within):
            return ELSEWHERE
        others = {each.conversation for each, _length in within} - {None}
        if not others:
            return "at no conversation"
        many = OUTSIDE in others
        where = "at another conversation" if len(others) == 1 else f"at {len(others)} other conversations"
        where = "at other conversations" if many else where
        if nowhere := sum(length for each, length in within if each.conversation is None):
            at_others = duration(millis - nowhere)
            return f"{where} (for {at_others}) and at none (for {duration(nowhere)})"
        return where


def elsewhere_of(reader: Reader, reading: Reading, most: int) -> Meanwhile:
    """Where the focus was wherever an explanation says that it was elsewhere, up to so many moments."""
    explanation, times = reading.explanation, reading.times
    asked: dict[int, list[int]] = {}
    for i, each in enumerate(explanation.moments[: min(most, len(times)) - 1]):
        if each.not_handled_because == "focusElsewhere" and each.assigned_agent_id is not None:
            asked.setdefault(each.assigned_agent_id, []).append(i)
    found: dict[int, Sequence[Elsewhere]] = {}
    stretches: dict[int, list[Focus]] = {}
    for agent, places in asked.items():
        focus = reader.focus(agent, times[places[0]], times[places[-1] + 1])
        own = stretches.setdefault(agent, [])
        for i in places:
            found[i] = _between(focus, times[i], times[i + 1], explanation.conversation_id)
            _add(own, _cut(focus, times[i], times[i + 1], explanation.conversation_id))
    return Meanwhile(found, stretches)


def _cut(focus: Sequence[Focus], start: int, end: int, here: str) -> Iterator[Focus]:
    """Where the focus was between two moments at which it was elsewhere. `here` cannot be elsewhere."""
    first = bisect_right(focus, start, key=attrgetter("end"))
    for each in takewhile(lambda each: each.start < end, focus[first:]):
        at = (None, False) if each.conversation == here else (each.conversation, each.known)
        yield Focus(max(each.start, start), min(each.end, end), *at)


def _add(stretches: list[Focus], more: Iterator[Focus]) -> None:
    """Adds stretches; those that go on become longer."""
    for each in more:
        if stretches and stretches[-1].end == each.start and stretches[-1][2:] == each[2:]:
            stretches[-1] = stretches[-1]._replace(end=each.end)
        else:
            stretches.append(each)


def _between(focus: Sequence[Focus], start: int, end: int, here: str) -> list[Elsewhere]:
    """The longest first; of those that are not shown one by one, how many there were. `here` cannot be elsewhere."""
    millis: Counter[tuple[str | None, bool]] = Counter()
    for each in _cut(focus, start, end, here):
        millis[each.conversation, each.known] += each.end - each.start
    if rest := end - start - millis.total():
        millis[None, False] += rest
    all_ = [
        Elsewhere(None if place == OUTSIDE else place, known, length, length == end - start, place == OUTSIDE)
        for (place, known), length in millis.most_common()
    ]
    more = [each for each in all_ if each.conversation is not None][SHOWN:]
    if len(more) <= 1:
        return all_
    others = Elsewhere(None, True, sum(each.millis for each in more), whole=False, others=len(more))
    return [*(each for each in all_ if each not in more), others]
