"""How time is cut: in minutes, or in hours, days, weeks or months of a calendar.

The clock of a zone is put forward and back. What it shows is taken literally: a day has 23 or 25 hours then, an hour
that comes twice is two hours, and a date that a zone left out (Pacific/Apia, 30 December 2011) is no day
(http-api.md 3 and 7).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from handletime.clock import DAY, HOUR, MINUTE
from handletime.events.model import EPOCH, TIME_MAX, TIME_MIN

Calendar = Literal["hour", "day", "week", "month"]
CALENDAR: Final[tuple[Calendar, ...]] = ("hour", "day", "week")
"""What the operations methods know."""
UNITS: Final[tuple[Calendar, ...]] = (*CALENDAR, "month")
"""What reports know."""
Interval = int | Calendar
"""Minutes, or a unit of the calendar."""
_MONDAY: Final = 4 * DAY
"""The first Monday after the epoch."""
_SHIFT_MAX: Final = 2 * DAY
"""No clock is further from UTC, or put forward or back by more."""


def bounds(start: int, end: int, interval: Interval | None, zone: ZoneInfo) -> list[int]:
    """The borders of the intervals of [start, end), in epoch milliseconds, from `start` to `end`.

    Minutes count from the start, as LivePerson counts them; hours, days and weeks are those of the zone.
    """
    if interval is None:
        return [start, end]
    if isinstance(interval, int):
        return [*range(start, end, interval * MINUTE), end]
    return clock_bounds(start, end, interval, zone)


def clock_bounds(start: int, end: int, interval: Interval, zone: ZoneInfo) -> list[int]:
    """Borders as of `bounds`, but minutes too are those of the zone's clock: every 30 minutes is at :00 and :30 there.

    Up to a day, an interval begins whenever the clock shows a full one, counted from the beginning of 1970, or is put
    past one, forward or back. A day or what is whole days begins at the first moment at which the clock shows its
    date, or a later one.
    """
    return [start, *(border for border in _borders(start, end, interval, zone) if border > start), end]


def begin_of(moment: int, interval: Interval, zone: ZoneInfo) -> int:
    """The beginning of the interval of a zone that a moment lies in, in epoch milliseconds."""
    return max(_borders(moment - length_of(interval), moment + 1, interval, zone), default=moment)


def begin_of_day(day: date, zone: ZoneInfo) -> int:
    """The first moment at which the clocks of a zone show a date, or a later one where they leave it out."""
    midnight = (datetime(day.year, day.month, day.day) - EPOCH.replace(tzinfo=None)) // timedelta(milliseconds=1)
    for begin, end, offset in _stretches(midnight - _SHIFT_MAX, midnight + _SHIFT_MAX, zone):
        if (moment := max(begin, midnight - offset)) < end:
            return moment
    return midnight


def days_earlier(moments: Sequence[int], days: int, zone: ZoneInfo) -> list[int]:
    """Moments in ascending order, so many days before and at the same time of day by the clocks of a zone.

    Each becomes the first moment at which the clocks show that time, or a later one where they leave it out; none
    comes before the one in front of it. The beginning of a day stays one, also where clocks left its midnight out.
    """
    if not moments:
        return []
    shown = _Clock(moments[0] - 2 * DAY, moments[-1], zone)
    walls = np.asarray(moments, np.int64) + shown.offsets_at(moments)
    midnights = walls // DAY * DAY
    walls = np.where(shown.first_shown(midnights) == moments, midnights, walls) - days * DAY
    target = _Clock(int(walls.min()) - _SHIFT_MAX, int(walls.max()) + _SHIFT_MAX, zone)
    return [int(each) for each in np.maximum.accumulate(target.first_shown(walls))]


class _Clock:
    """What the clocks of a zone show from one moment to another."""

    def __init__(self, start: int, end: int, zone: ZoneInfo) -> None:
        stretches = np.array(list(_stretches(start, end + 1, zone)), np.int64)
        self._begins, self._ends, self._offsets = stretches.T

    def offsets_at(self, moments: Sequence[int]) -> npt.NDArray[np.int64]:
        """How far the clocks are ahead of UTC."""
        places: npt.NDArray[np.int64] = self._offsets[np.searchsorted(self._begins, moments, "right") - 1]
        return places

    def first_shown(self, walls: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The first moments at which the clocks show these times, or later ones. Times count as if they were UTC's."""
        until = np.maximum.accumulate(self._ends + self._offsets)
        places = np.minimum(np.searchsorted(until, walls, "right"), len(until) - 1)
        first: npt.NDArray[np.int64] = np.maximum(self._begins[places], walls - self._offsets[places])
        return first


def length_of(interval: Interval) -> int:
    """The length of an interval, in milliseconds, where no clock change falls into it; of months the longest."""
    lengths = {"hour": HOUR, "day": DAY, "week": 7 * DAY, "month": 31 * DAY}
    return interval * MINUTE if isinstance(interval, int) else lengths[interval]


def _borders(start: int, end: int, interval: Interval, zone: ZoneInfo) -> Iterator[int]:
    """The beginnings of intervals before the end, from some time before the start on."""
    if interval == "month":
        yield from _months(start, end, zone)
        return
    step, phase = length_of(interval), _MONDAY if interval == "week" else 0
    whole_days = step % DAY == 0
    last: int | None = None
    for begin, until, offset in _stretches(start - _SHIFT_MAX, end, zone):
        shift = offset - phase
        place, rest = divmod(begin + shift, step)
        if last is not None and (place > last if whole_days else place != last or not rest):
            yield begin
        # Clocks that are put back over midnight begin no day a second time.
        last = max(place, last) if whole_days and last is not None else place
        yield from range((last + 1) * step - shift, until, step)
        last = max(last, (until - 1 + shift) // step)


def _months(start: int, end: int, zone: ZoneInfo) -> Iterator[int]:
    day = local_date(start - _SHIFT_MAX, zone).replace(day=1)
    while (begin := begin_of_day(day, zone)) < end:
        yield begin
        if (day.year, day.month) == (date.max.year, date.max.month):
            return
        day = month_after(day)


def month_after(day: date) -> date:
    """The first day of the month after the one of a day."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def month_before(day: date) -> date:
    """The first day of the month before the one of a day; of the first month of all its own."""
    return (max(day.replace(day=1), date.min + timedelta(days=1)) - timedelta(days=1)).replace(day=1)


def local_date(moment: int, zone: ZoneInfo) -> date:
    """The date that the clocks of a zone show; near the edges of the years 1 to 9999 that of two days within."""
    within = min(max(moment, TIME_MIN + _SHIFT_MAX), TIME_MAX - _SHIFT_MAX)
    return (EPOCH + timedelta(milliseconds=within)).astimezone(zone).date()


def _stretches(start: int, end: int, zone: ZoneInfo) -> Iterator[tuple[int, int, int]]:
    """The times in which a zone's clocks are not changed: begin, end, and the offset from UTC, in milliseconds."""
    begin, offset = start, _offset(start, zone)
    for at in range(start, end, HOUR):
        after = min(at + HOUR, end)
        if (changed := _offset(after, zone)) != offset:
            change = _change(at, after, offset, zone)
            yield begin, change, offset
            begin, offset = change, changed
    if begin < end:
        yield begin, end, offset


def _change(before: int, after: int, offset: int, zone: ZoneInfo) -> int:
    """When the offset stops being this one; it is so at the first moment and not at the last."""
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, zone) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset(millis: int, zone: ZoneInfo) -> int:
    """How far the clocks of a zone are ahead of UTC; near the edges of the years 1 to 9999 as two days within."""
    within = min(max(millis, TIME_MIN + _SHIFT_MAX), TIME_MAX - _SHIFT_MAX)
    shift = (EPOCH + timedelta(milliseconds=within)).astimezone(zone).utcoffset() or timedelta()
    return shift // timedelta(milliseconds=1)
