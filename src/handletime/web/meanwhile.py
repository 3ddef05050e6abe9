"""Where an agent's focus was while a conversation of its own had to wait for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from handletime.answers.words import duration
from handletime.api.ports import Reader
from handletime.segments.explain import Explanation
from handletime.segments.meanwhile import Focus

VISITS_SHOWN: Final = 4


class Visit(NamedTuple):
    """How long an agent's focus was on one other conversation, on none, or on who knows which, all visits together."""

    conversation: str | None
    known: bool
    millis: int
    whole: bool
    """Whether that is all the time in question."""
    others: int = 0
    """For the last one that is told: so many conversations together."""

    @property
    def place(self) -> str:
        """Where it was, but for the conversation's id."""
        if self.others:
            return f"on {self.others} others"
        if self.conversation is not None:
            return "on "
        return "on no conversation" if self.known else "unknown where"

    @property
    def lasted(self) -> str:
        """For how long, where it was elsewhere too."""
        return "" if self.whole else f" for {duration(self.millis)}"

    @property
    def told(self) -> str:
        """All of it in words."""
        return f"{self.place}{self.conversation or ''}{self.lasted}"


Meanwhile = Mapping[int, Sequence[Visit]]
"""By place of a moment of an explanation: where the assigned agent's focus was until the next one."""


def meanwhile_of(reader: Reader, explanation: Explanation, times: Sequence[int]) -> Meanwhile:
    """Where the focus was wherever an explanation says that it was elsewhere. `times` are those of its moments."""
    asked: dict[int, list[int]] = {}
    for i, each in enumerate(explanation.moments[: len(times) - 1]):
        if each.not_handled_because == "focusElsewhere" and each.assigned_agent_id is not None:
            asked.setdefault(each.assigned_agent_id, []).append(i)
    found: dict[int, Sequence[Visit]] = {}
    for agent, places in asked.items():
        focus = reader.focus(agent, times[places[0]], times[places[-1] + 1])
        begin = 0
        for i in places:
            start, end = times[i], times[i + 1]
            while begin < len(focus) and focus[begin].end <= start:
                begin += 1
            found[i] = _visits(_within(focus, begin, start, end), end - start, explanation.conversation_id)
    return found


def _within(focus: Sequence[Focus], begin: int, start: int, end: int) -> Iterator[Focus]:
    for i in range(begin, len(focus)):
        if focus[i].start >= end:
            break
        yield focus[i]._replace(start=max(focus[i].start, start), end=min(focus[i].end, end))


def _visits(focus: Iterator[Focus], lasts: int, here: str) -> list[Visit]:
    """The longest first; of those that are not told one by one, how many there were. `here` cannot be elsewhere."""
    millis: dict[tuple[str | None, bool], int] = {}
    for each in focus:
        key = (None, False) if each.conversation == here else (each.conversation, each.known)
        millis[key] = millis.get(key, 0) + each.end - each.start
    rest = lasts - sum(millis.values())
    if rest > 0:
        millis[None, False] = millis.get((None, False), 0) + rest
    visits = [Visit(*key, length, length == lasts) for key, length in millis.items()]
    visits.sort(key=lambda visit: -visit.millis)
    named = [visit for visit in visits if visit.conversation is not None]
    if len(named) <= VISITS_SHOWN + 1:
        return visits
    more = set(named[VISITS_SHOWN:])
    others = Visit(None, True, sum(visit.millis for visit in more), whole=False, others=len(more))
    return [*(visit for visit in visits if visit not in more), others]
