"""A conversation in short: whose handle time, how long the longest wait was, and whether targets were met.

It stands above the story (`answers.told`), is read off the same explanation, and is told by page and command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, cast

from handletime.answers.explained_levels import levels_of
from handletime.answers.words import Kind, count, duration
from handletime.clock import SECOND
from handletime.events.book import instant
from handletime.segments.explain import Json, Reading

NAMED_MAX: Final = 3
"""So many agents are named; of the others their number."""

_Name = Callable[[Kind, int], str]


def lead(reading: Reading, name: _Name) -> str:
    """Two or three short sentences. `name` gives what an id is called (`Jackdaw`, `agent 7`)."""
    return " ".join(each for each in (_handled(reading, name), _longest(reading, name), _levels(reading)) if each)


def _handled(reading: Reading, name: _Name) -> str:
    rows = reading.explanation.agent_segments
    human = [row for row in rows if row["userType"] == "human"]
    if not human:
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
    for row in reading.explanation.agent_segments:
        who = name("agent", cast(int, row["agentId"]))
        yield from (_Wait(millis, f"for {who}'s answer") for millis in cast("list[int]", row["responseMillis"]))
        if row["end"] is None and reading.waiting_since is not None:
            yield _Wait(reading.until - reading.waiting_since, f"for {who}'s answer, and it goes on")
    for row in reading.explanation.queue_segments:
        if row["end"] is None:
            since = cast(int, instant(str(row["start"])))
            yield _Wait(reading.until - since, "in the queue, and it goes on")
        else:
            yield _Wait(cast(int, row["waitMillis"]), "in the queue")


def _levels(reading: Reading) -> str:
    """How many waits were answered within their target, too late, or are past due."""
    rows = (*reading.explanation.agent_segments, *reading.explanation.queue_segments)
    verdicts = [level.verdict for row in rows for level in levels_of(row)]
    met, missed, past_due = (verdicts.count(verdict) for verdict in ("met", "missed", "pastDue"))
    judged = met + missed + past_due
    if not judged:
        return ""
    if not missed and not past_due:
        return "It was within its target." if judged == 1 else f"All {judged} waits with a target were within it."
    late = [f"{missed} missed {'its' if missed == 1 else 'their'} target"] if missed else []
    late += [f"{past_due} {'is' if past_due == 1 else 'are'} past due"] if past_due else []
    return f"Of {count(judged, 'wait')} with a target {' and '.join(late)}."
