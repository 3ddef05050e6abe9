"""What each wait of an explained conversation is to its target, with the opening hours that counted (rules.md 5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

import msgspec

from handletime.answers.words import rfc_3339
from handletime.events.book import millis_of
from handletime.segments.explain import Json, Reading
from handletime.targets.targets import AccountTargets, Clock, Judged, Of, Verdict
from handletime.targets.waits import AgentSegment, QueueSegment, judged

KEY: Final = "serviceLevels"
"""Where it stands in a row."""
COUNTED_MAX: Final = 100
"""The most intervals of opening hours that are told of one wait."""


class Stretch(msgspec.Struct, frozen=True):
    """A stretch of time."""

    start: str
    end: str


class ServiceLevel(msgspec.Struct, frozen=True, rename="camel"):
    """A wait and its target. `until` is the answer, the end of the segment, or now; `elapsed_millis` is what of the
    wait lies within opening hours, and `counted` where that is: up to 100 intervals, `counted_more` are not told.
    `due` is when the target is reached, null where it never is.
    """

    clock: Clock
    target: str
    calendar: str
    target_millis: int
    waiting_since: str
    until: str
    elapsed_millis: int
    due: str | None
    verdict: Verdict
    counted: list[Stretch]
    counted_more: int


def add_levels(reading: Reading, targets: AccountTargets, now: int) -> None:
    """Adds to each agent segment and queue segment of an explanation its `ServiceLevel`s, in the order of clocks and
    time. Without targets nothing is added.
    """
    if not targets:
        return
    told = reading.explanation
    for row in told.agent_segments:
        waiting = reading.waiting_since if row["end"] is None else None
        row[KEY] = list(_levels(targets, _agent_segment(row, waiting), now))
    for row in told.queue_segments:
        row[KEY] = list(_levels(targets, _queue_segment(row), now))


def levels_of(row: Json) -> list[ServiceLevel]:
    """What stands in a row, in order."""
    return cast("list[ServiceLevel]", row.get(KEY, []))


def _levels(targets: AccountTargets, segment: AgentSegment | QueueSegment, now: int) -> Iterator[ServiceLevel]:
    return map(_told, judged(targets, segment, now))


def _told(found: Judged) -> ServiceLevel:
    counted = [Stretch(rfc_3339(start), rfc_3339(end)) for start, end in found.counted[: COUNTED_MAX + 1]]
    return ServiceLevel(
        clock=found.wait.clock,
        target=found.target.name,
        calendar=found.target.calendar.name,
        target_millis=found.limit,
        waiting_since=rfc_3339(found.wait.start),
        until=rfc_3339(found.until),
        elapsed_millis=found.elapsed,
        due=None if found.due is None else rfc_3339(found.due),
        verdict=found.verdict,
        counted=counted[:COUNTED_MAX],
        counted_more=max(len(found.counted) - COUNTED_MAX, 0),
    )


def _agent_segment(row: Json, waiting_since: int | None) -> AgentSegment:
    since = map(millis_of, cast("list[str]", row["responseWaitingSince"]))
    return AgentSegment(
        of=_of(row, cast(str, row["userType"])),
        end=_moment(row["end"]),
        follows=cast(str, row["follows"]),
        queued_since=_moment(row["queuedSince"]),
        first_response=cast("int | None", row["firstResponseMillis"]),
        responses=list(zip(since, cast("list[int]", row["responseMillis"]), strict=True)),
        first_is_response=cast(bool, row["firstMessageIsResponse"]),
        wrote=cast(int, row["agentMessages"]) > 0,
        waiting_since=waiting_since,
    )


def _queue_segment(row: Json) -> QueueSegment:
    return QueueSegment(_of(row), _moment(row["end"]), cast("str | None", row["endReason"]))


def _of(row: Json, user_type: str | None = None) -> Of:
    start = millis_of(cast(str, row["start"]))
    return Of(cast(int, row["skillId"]), cast("str | None", row["source"]), start, user_type)


def _moment(text: object) -> int | None:
    return None if text is None else millis_of(cast(str, text))
