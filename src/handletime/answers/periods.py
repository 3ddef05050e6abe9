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
    month_before,
)

Period = Literal["today", "yesterday", "last-7-days", "this-week", "last-week", "this-month", "last-month"]
PERIODS: Final[tuple[Period, ...]] = (
    "today",
    "yesterday",
    "last-7-days",
    "this-week",
    "last-week",
    "this-month",
    "last-month",
)
Compare = Literal["previous", "week", "four-weeks", "month", "year"]
COMPARISONS: Final[tuple[Compare, ...]] = ("previous", "week", "four-weeks", "month", "year")
"""What a window is compared with: the one before, the same days one, four or 52 weeks before, or the same dates of the
month before.
"""
_RUNNING: Final[dict[Period | None, Compare]] = {"this-week": "week", "this-month": "month"}
_WEEKS: Final[dict[Compare, int]] = {"week": 1, "four-weeks": 4, "year": 52}


class Window(NamedTuple):
    """Epoch milliseconds: from `start` on, before `end`."""

    start: int
    end: int


def window_of(period: Period, now: int, zone: ZoneInfo) -> Window:
    """A period by the clocks of a zone: days, weeks from Monday on, months.

    Today, this week and this month end now, the others before today.
    """
    today = local_date(now, zone)
    # Where a zone left out the date of the day before, the day before is the one before that.
    yesterday = local_date(begin_of_day(today, zone) - 1, zone)
    monday = today - timedelta(days=today.weekday())
    first = today.replace(day=1)
    days = {
        "today": (today, None),
        "yesterday": (yesterday, today),
        "last-7-days": (today - timedelta(days=7), today),
        "this-week": (monday, None),
        "last-week": (monday - timedelta(days=7), monday),
        "this-month": (first, None),
        "last-month": ((first - timedelta(days=1)).replace(day=1), first),
    }
    begin, end = days[period]
    start = begin_of_day(begin, zone)
    return Window(start, max(now, start) if end is None else begin_of_day(end, zone))


def period_named(text: str | None) -> Period | None:
    """The period of a name; None where there is none of it."""
    return next((each for each in PERIODS if each == text), None)


def comparison_named(text: str | None) -> Compare | None:
    """The comparison of a name; None where there is none of it."""
    return next((each for each in COMPARISONS if each == text), None)


def compare_of(compare: Compare | None, period: Period | None) -> Compare | None:
    """What `compare` means for a period: before this week is last week, before this month the last one.

    Both up to the same weekday or date and time. The window alone does not say so: on a Monday this week is today.
    """
    return _RUNNING.get(period, compare) if compare == "previous" else compare


def compared_with(window: Window, compare: Compare, zone: ZoneInfo) -> Window:
    """The window that another one is compared with.

    The same days some weeks before are matched by weekday, and by the time of day that the clocks of the zone show.
    The window before: whole months before whole months, whole days before whole days; from the beginning of a day to
    some time of that or a later day, as many days before up to the same time; else of the same length.
    The same dates of the month before: so many days before as lie between the first day and its date of the month
    before (or the last one that this month has). Whole months are compared with whole months, and what lies in one
    month with nothing that is not of the month before: 1 to 31 March with the whole of February.
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
    if compare in _WEEKS:
        return days_earlier(bounds, 7 * _WEEKS[compare], zone)
    if start < end and first is not None and last is not None and first.day == last.day == 1:
        is_month = compare == "month"
        begin = begin_of_day(month_before(first) if is_month else _months_before(first, last), zone)
        until = begin_of_day(month_before(last), zone) if is_month else start
        return [begin, until] if interval is None else clock_bounds(begin, until, interval, zone)
    if compare == "month":
        return _a_month_earlier(bounds, zone)
    if first is None or start >= end:
        return [bound - (end - start) for bound in bounds]
    days = (last - first).days if last is not None else (local_date(end, zone) - first).days + 1
    return days_earlier(bounds, days, zone)


def _a_month_earlier(bounds: list[int], zone: ZoneInfo) -> list[int]:
    """Moments on the same dates of the month before; those of one month not beyond its beginning."""
    first, last = local_date(bounds[0], zone), local_date(bounds[-1] - 1, zone)
    month = first.replace(day=1)
    before = month_before(month)
    same = before.replace(day=min(first.day, max((month - before).days, 1)))
    earlier = days_earlier(bounds, (first - same).days, zone)
    return earlier if last.replace(day=1) > month else [min(each, begin_of_day(month, zone)) for each in earlier]


def _day_at(moment: int, zone: ZoneInfo) -> date | None:
    """The day that begins at a moment; None where none does."""
    day = local_date(moment, zone)
    return day if begin_of_day(day, zone) == moment else None


def _months_before(first: date, last: date) -> date:
    """Where the months before whole months begin, which end before `last`."""
    day, back = first, first
    while day < last:
        day, back = month_after(day), month_before(back)
    return back
