"""Opening hours: how much of a wait lies within them, and when a target is due (rules.md 5.1).

Hours are written as a clock shows them. Each boundary becomes a moment once, so a night shift has seven or nine hours
when the clocks are changed, and nothing here ever counts hours of a day.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from handletime.clock import DAY
from handletime.events.model import EPOCH, TIME_MAX

I64 = npt.NDArray[np.int64]
Minutes = tuple[int, int]
"""From a minute of a day to another, which may lie on the next day: 22:00-30:00 is (1320, 1800)."""
END_MAX: Final = 48 * 60
"""The last minute that an interval may end at."""
_YEARS: Final = range(2, 9999)
"""Years that have opening hours: those next to the edges of the calendar have none."""
_AROUND: Final = timedelta(days=4)
"""An interval ends up to two days after its date begins; no clock is further from UTC than a day."""


class Hours(NamedTuple):
    """When it is open: intervals in epoch milliseconds, in order, none touching the next."""

    starts: I64
    ends: I64

    def open_before(self, moments: I64) -> I64:
        """For each moment, how many milliseconds of these hours lie before it."""
        if not len(self.starts):
            return np.zeros_like(moments)
        lengths = self.ends - self.starts
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        place = np.searchsorted(self.starts, moments, "right")
        last = np.maximum(place - 1, 0)
        within = np.clip(moments - self.starts[last], 0, lengths[last])
        found: I64 = np.where(place > 0, before[last] + within, 0)
        return found


@dataclass(frozen=True, eq=False)
class Calendar:
    """Opening hours of a zone; without one it never closes.

    `week` has the intervals of Monday to Sunday. `closed` are dates without any, `dates` have their own, which replace
    the week's and the closing.
    """

    name: str
    zone: ZoneInfo | None = None
    week: tuple[tuple[Minutes, ...], ...] = ((),) * 7
    closed: frozenset[date] = frozenset()
    dates: Mapping[date, tuple[Minutes, ...]] = field(default_factory=dict)

    @property
    def is_always(self) -> bool:
        """Whether it never closes."""
        return self.zone is None

    def hours(self, start: int, end: int) -> Hours:
        """The intervals that have a part in [start, end), whole; it is for calendars that close."""
        first, last = (_near(moment) for moment in (start, end))
        years = range(max((first - _AROUND).year, _YEARS.start), min((last + _AROUND).year, _YEARS.stop - 1) + 1)
        spans = [span for year in years for span in _of_year(self, year) if span[0] < end and span[1] > start]
        merged = np.array(_merged(sorted(spans)), np.int64).reshape(-1, 2)
        return Hours(merged[:, 0], merged[:, 1])

    def counted(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of [start, end) that lie within opening hours, in order; epoch milliseconds."""
        if start >= end:
            return []
        if self.is_always:
            return [(start, end)]
        found = self.hours(start, end)
        return [
            (max(start, begin), min(end, until))
            for begin, until in zip(found.starts.tolist(), found.ends.tolist(), strict=True)
        ]

    def elapsed(self, start: int, end: int) -> int:
        """How many milliseconds of a wait from `start` to `end` lie within opening hours."""
        if self.is_always or start >= end:
            return max(end - start, 0)
        near = _years_around(self, _near(start).year)
        if end <= near.until:
            return near.open_before(end) - near.open_before(start)
        return sum(until - begin for begin, until in self.counted(start, end))

    def due(self, start: int, target: int) -> int | None:
        """The first moment at which `elapsed` reaches a target (milliseconds); None where it never does."""
        if self.is_always:
            return start + target if start + target <= TIME_MAX else None
        soon = _years_around(self, _near(start).year).due(start, target)
        if soon is not None:
            return soon
        left, begin = target, start
        for end in self._looked_up_to(start):
            for since, until in self.counted(begin, end):
                if until - since >= left:
                    return since + left
                left -= until - since
            begin = end
        return None

    def _looked_up_to(self, start: int) -> Iterator[int]:
        """Moments up to which opening hours are looked for, one after the other, until there can be no more."""
        last = TIME_MAX
        if not any(self.week):
            own = [day for day, spans in self.dates.items() if spans]
            last = _millis(datetime.combine(max(own), datetime.min.time())) + _AROUND // _MILLI if own else start
        span = 2 * DAY
        end = start
        while end < last:
            end = min(end + span, last)
            span = min(2 * span, 366 * DAY)
            yield end


ALWAYS: Final = Calendar("always")
"""The calendar that never closes."""
_MILLI: Final = timedelta(milliseconds=1)


def _millis(naive: datetime) -> int:
    return (naive - EPOCH.replace(tzinfo=None)) // _MILLI


def _near(moment: int) -> date:
    """The date in UTC, kept away from the edges of the calendar."""
    try:
        day = (EPOCH + timedelta(milliseconds=moment)).date()
    except OverflowError:
        day = date.min if moment < 0 else date.max
    return min(max(day, date.min + _AROUND), date.max - _AROUND)


@lru_cache(maxsize=512)
def _of_year(calendar: Calendar, year: int) -> tuple[tuple[int, int], ...]:
    """The intervals that begin on the dates of a year, as moments. Those that are empty as moments are none."""
    assert calendar.zone is not None  # noqa: S101 — asked of calendars that close
    first = date(year, 1, 1)
    found = []
    for day in (first + timedelta(days=number) for number in range((date(year + 1, 1, 1) - first).days)):
        spans = calendar.dates.get(day)
        if spans is None:
            spans = () if day in calendar.closed else calendar.week[day.weekday()]
        if not spans or _is_left_out(day, calendar.zone):
            continue
        for span in spans:
            begin, end = (_moment(day, minute, calendar.zone) for minute in span)
            if begin < end:
                found.append((begin, end))
    return tuple(found)


class _Around(NamedTuple):
    """The hours of a year, the one before and the one after, to look moments of the year up: before `until`."""

    starts: list[int]
    ends: list[int]
    sums: list[int]
    """How much is open up to each end."""
    until: int

    def open_before(self, moment: int) -> int:
        """How many milliseconds of these hours lie before a moment."""
        place = bisect_right(self.starts, moment)
        if not place:
            return 0
        return self.sums[place - 1] - max(self.ends[place - 1] - moment, 0)

    def due(self, start: int, target: int) -> int | None:
        """When so much of these hours has passed since a moment; None where it is not within them."""
        wanted = self.open_before(start) + target
        place = bisect_left(self.sums, wanted)
        if place == len(self.sums):
            return None
        due = self.ends[place] - (self.sums[place] - wanted)
        return due if due <= self.until else None


@lru_cache(maxsize=256)
def _years_around(calendar: Calendar, year: int) -> _Around:
    begin, until = (_millis(datetime(max(each, 1), 1, 1)) for each in (year - 1, min(year + 2, 9999)))
    hours = calendar.hours(begin, until)
    starts, ends = hours.starts.tolist(), hours.ends.tolist()
    return _Around(starts, ends, list(accumulate(end - start for start, end in zip(starts, ends, strict=True))), until)


def _moment(day: date, minute: int, zone: ZoneInfo) -> int:
    """A local time of a date: with the offset before the gap where there is none such, the first one where there are
    two (RFC 5545; `fold=0`).
    """
    local = datetime.combine(day, datetime.min.time()) + timedelta(minutes=minute)
    return (local.replace(tzinfo=zone) - EPOCH) // _MILLI


def _is_left_out(day: date, zone: ZoneInfo) -> bool:
    """Whether the clocks of a zone never showed this date (Pacific/Apia, 30 December 2011)."""
    noon = datetime.combine(day, datetime.min.time()).replace(hour=12, tzinfo=zone)
    return noon.astimezone(EPOCH.tzinfo).astimezone(zone).date() != day


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Intervals in order, those that overlap or touch as one."""
    merged: list[tuple[int, int]] = []
    for begin, end in spans:
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((begin, end))
    return merged
