"""Windows of time by their names, and the windows that these are compared with (http-api.md 7)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from handletime.answers.intervals import (
    Interval,
    begin_of_day,
    clock_bounds,
    days_earlier,
    local_date,
    month_after,
)

Period = Literal["today", "yesterday", "last-7-days", "last-week", "last-month"]
PERIODS: Final[tuple[Period, ...]] = ("today", "yesterday", "last-7-days", "last-week", "last-month")
Compare = Literal["previous", "week", "four-weeks", "year"]
COMPARISONS: Final[tuple[Compare, ...]] = ("previous", "week", "four-weeks", "year")
"""What a window is compared with: the one before, or the same days one, four or 52 weeks before."""
_WEEKS: Final[dict[Compare, int]] = {"week": 1, "four-weeks": 4, "year": 52}


class Window(NamedTuple):
    """Epoch milliseconds: from `start` on, before `end`."""

    start: int
    end: int


def window_of(period: Period, now: int, zone: ZoneInfo) -> Window:
    """A period by the clocks of a zone: days, weeks from Monday on, months. Today ends now, the others before today."""
    today = local_date(now, zone)
    # Where a zone left out the date of the day before, the day before is the one before that.
    yesterday = local_date(begin_of_day(today, zone) - 1, zone)
    monday = today - timedelta(days=today.weekday())
    first = today.replace(day=1)
    days = {
        "today": (today, None),
        "yesterday": (yesterday, today),
        "last-7-days": (today - timedelta(days=7), today),
        "last-week": (monday - timedelta(days=7), monday),
        "last-month": ((first - timedelta(days=1)).replace(day=1), first),
    }
    begin, end = days[period]
    start = begin_of_day(begin, zone)
    return Window(start, max(now, start) if end is None else begin_of_day(end, zone))


def compared_with(window: Window, compare: Compare, zone: ZoneInfo) -> Window:
    """The window that another one is compared with.

    The same days some weeks before are matched by weekday, and by the time of day that the clocks of the zone show.
    The window before: whole months before whole months, whole days before whole days; from the beginning of a day to
    some time of that or a later day, as many days before up to the same time; else of the same length.
    """
    bounds = compared_bounds([*window], compare, None, zone)
    return Window(bounds[0], bounds[-1])


def compared_bounds(bounds: list[int], compare: Compare, interval: Interval | None, zone: ZoneInfo) -> list[int]:
    """The borders of the intervals of the window that another one, of these bounds, is compared with.

    Each interval stands beside the one in the same place. It has no length where clocks leave out its time. Only
    months before months may be cut in more or fewer intervals.
    """
    start, end = bounds[0], bounds[-1]
    first, last = _day_at(start, zone), _day_at(end, zone)
    if compare != "previous":
        return days_earlier(bounds, 7 * _WEEKS[compare], zone)
    if first is None or start >= end:
        return [bound - (end - start) for bound in bounds]
    if last is not None and first.day == last.day == 1:
        begin = begin_of_day(_months_before(first, last), zone)
        return [begin, start] if interval is None else clock_bounds(begin, start, interval, zone)
    days = (last - first).days if last is not None else (local_date(end, zone) - first).days + 1
    return days_earlier(bounds, days, zone)


def _day_at(moment: int, zone: ZoneInfo) -> date | None:
    """The day that begins at a moment; None where none does."""
    day = local_date(moment, zone)
    return day if begin_of_day(day, zone) == moment else None


def _months_before(first: date, last: date) -> date:
    """Where the months before whole months begin, which end before `last`."""
    day, back = first, first
    while day < last:
        day, back = month_after(day), (back - timedelta(days=1)).replace(day=1)
    return back
