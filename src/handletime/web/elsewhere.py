"""Where an agent's focus was while one of the agent's own conversations had to wait for it."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import takewhile
from operator import attrgetter
from typing import Final, NamedTuple

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


def elsewhere_of(reader: Reader, reading: Reading, most: int) -> Places:
    """Where the focus was wherever an explanation says that it was elsewhere, up to so many moments."""
    explanation, times = reading.explanation, reading.times
    asked: dict[int, list[int]] = {}
    for i, each in enumerate(explanation.moments[: min(most, len(times)) - 1]):
        if each.not_handled_because == "focusElsewhere" and each.assigned_agent_id is not None:
            asked.setdefault(each.assigned_agent_id, []).append(i)
    found: dict[int, Sequence[Elsewhere]] = {}
    for agent, places in asked.items():
        here = explanation.conversation_id
        focus = reader.focus(agent, times[places[0]], times[places[-1] + 1])
        for i in places:
            found[i] = _between(focus, times[i], times[i + 1], here)
    return found


def _between(focus: Sequence[Focus], start: int, end: int, here: str) -> list[Elsewhere]:
    """The longest first; of those that are not shown one by one, how many there were. `here` cannot be elsewhere."""
    millis: Counter[tuple[str | None, bool]] = Counter()
    first = bisect_right(focus, start, key=attrgetter("end"))
    for each in takewhile(lambda each: each.start < end, focus[first:]):
        key = (None, False) if each.conversation == here else (each.conversation, each.known)
        millis[key] += min(each.end, end) - max(each.start, start)
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
