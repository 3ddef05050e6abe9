"""Waits in the queue by weekday and hour of the day, to see when consumers give up."""

from __future__ import annotations

from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from handletime.answers.intervals import clock_bounds
from handletime.answers.registry import METRICS
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection
from handletime.answers.sums import sums_of
from handletime.answers.words import local
from handletime.clock import DAY

SPAN_MAX: Final = 400 * DAY
"""The longest span that is cut in hours."""
_METRICS: Final = (METRICS["queueSegmentsAbandonedByConsumers"], METRICS["totalQueueSegments"])


class Hour(NamedTuple):
    """How many queue segments ended in an hour of a weekday, and how many of them the consumer closed."""

    abandoned: int
    total: int

    @property
    def percent(self) -> float | None:
        """The share that was abandoned in queue; None of nothing."""
        return 100 * self.abandoned / self.total if self.total else None


def abandoned_by_weekday(snapshot: Snapshot, of: Selection, zone: ZoneInfo) -> list[list[Hour]] | None:
    """Seven weekdays from Monday on, each with 24 hours by the clock of a zone; None where the span is too long.

    Queue segments count in the hour in which they ended (rules.md 4). An hour that comes twice is one here.
    """
    if of.end - of.start > SPAN_MAX:
        return None
    bounds = clock_bounds(of.start, of.end, "hour", zone)
    sums = sums_of(snapshot, "queueSegments", _METRICS, ("interval",), of._replace(bounds=bounds))
    found = [[Hour(0, 0)] * 24 for _ in range(7)]
    for place, abandoned, total in zip(
        sums.keys["interval"].tolist(), sums.sums["abandoned"].tolist(), sums.sums["segments"].tolist(), strict=True
    ):
        at = local(bounds[place], zone)
        before = found[at.weekday()][at.hour]
        found[at.weekday()][at.hour] = Hour(before.abandoned + abandoned, before.total + total)
    return found
