"""A conversation in short: whose handle time, how long the longest wait was, and whether targets were met.

It stands above the story (`answers.told`), is read off the same explanation, and is told by page and command line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, cast

from handletime.answers.explained_levels import levels_of
from handletime.answers.words import Kind, duration
from handletime.clock import SECOND
from handletime.events.book import millis_of
from handletime.segments.explain import Json, Reading
from handletime.targets.targets import Verdict

NAMED_MAX: Final = 3
"""So many agents are named; of the others their number."""

_Name = Callable[[Kind, int], str]


def lead(reading: Reading, name: _Name, *, is_whole: bool = True) -> str:
    """Two or three short sentences. `name` gives what an id is called (`Jackdaw`, `agent 7`). Where the reading is not
    whole, because a key may not see all of it, nothing is said of who did not have the conversation.
    """
    said = (_handled(reading, name, is_whole=is_whole), _longest(reading, name), _levels(reading))
    return " ".join(each for each in said if each)


def _handled(reading: Reading, name: _Name, *, is_whole: bool) -> str:
    rows = reading.explanation.agent_segments
    human = [row for row in rows if row["userType"] == "human"]
    if not human:
        if not is_whole:
            return ""
        return "Only bots had it: there is no handle time." if rows else "No agent has had it."
    known = [row for row in human if row["focusData"]]
    blind = _names((row for row in human if not row["focusData"]), name)
    if not known:
        return f"Handle time unknown: no focus data of {blind}."
    millis = sum(cast(int, row["totalHandleTimeMillis"]) for row in known)
    runs = " so far" if any(row["end"] is None for row in known) else ""
    unknown = f"; that of {blind} is unknown" if blind else ""
    return f"Handle time {duration(millis)}{runs}, of {_names(known, name)}{unknown}."


def _names(rows: Iterator[Json] | list[Json], name: _Name) -> str:
    names = list(dict.fromkeys(name("agent", cast(int, row["agentId"])) for row in rows))
    shown, more = names[:NAMED_MAX], len(names) - NAMED_MAX
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


class _Wait(NamedTuple):
    millis: int
    what: str


def _longest(reading: Reading, name: _Name) -> str:
    longest = max(_waits(reading, name), default=_Wait(0, ""))
    return f"The longest wait: {duration(longest.millis)} {longest.what}." if longest.millis >= SECOND else ""


def _waits(reading: Reading, name: _Name) -> Iterator[_Wait]:
    """All waits of the consumer: for an answer, and in the queue; those that go on up to now."""
    agents = [(millis_of(row["start"]), cast(int, row["agentId"])) for row in reading.explanation.agent_segments]
    for start, end in reading.waits:
        whose = [agent for begun, agent in agents if begun <= start]
        if whose:
            goes_on = ", and it goes on" if reading.waiting_since == start else ""
            yield _Wait(end - start, f"for {name('agent', whose[-1])}'s answer{goes_on}")
    for row in reading.explanation.queue_segments:
        if row["end"] is None:
            yield _Wait(reading.until - millis_of(row["start"]), "in the queue, and it goes on")
        else:
            yield _Wait(cast(int, row["waitMillis"]), "in the queue")


def _levels(reading: Reading) -> str:
    """What targets make of the waits."""
    rows = (*reading.explanation.agent_segments, *reading.explanation.queue_segments)
    counts = Counter(level.verdict for row in rows for level in levels_of(row))
    told = [f"{counts[verdict]} {text}" for verdict, text in _VERDICTS.items() if counts[verdict]]
    return f"Waits with a target: {', '.join(told)}." if told else ""


_VERDICTS: Final[dict[Verdict, str]] = {
    "met": "within it",
    "missed": "missed it",
    "pastDue": "past due",
    "pending": "not answered yet",
}
