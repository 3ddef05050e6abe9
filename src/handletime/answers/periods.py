"""Windows of time by their names, and the window before one: what a report is compared with (http-api.md 7)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from handletime.answers.intervals import Interval, begin_of_day, clock_bounds, local_date, month_after

Period = Literal["today", "yesterday", "last-7-days", "last-week", "last-month"]
PERIODS: Final[tuple[Period, ...]] = ("today", "yesterday", "last-7-days", "last-week", "last-month")


class Window(NamedTuple):
    """Epoch milliseconds: from `start` on, before `end`."""

    start: int
    end: int


def window_of(period: Period, now: int, zone: ZoneInfo) -> Window:
    """A period by the clocks of a zone: days, weeks from Monday on, months. Today ends now, the others before today."""
    today = local_date(now, zone)
    monday = today - timedelta(days=today.weekday())
    first = today.replace(day=1)
    days = {
        "today": (today, None),
        "yesterday": (today - timedelta(days=1), today),
        "last-7-days": (today - timedelta(days=7), today),
        "last-week": (monday - timedelta(days=7), monday),
        "last-month": ((first - timedelta(days=1)).replace(day=1), first),
    }
    begin, end = days[period]
    return Window(begin_of_day(begin, zone), now if end is None else begin_of_day(end, zone))


def window_before(window: Window, zone: ZoneInfo) -> Window:
    """The window before: whole months before whole months, whole days before whole days; else of the same length.

    From the beginning of a day to some time of it, it is the day before up to the same time.
    """
    first, last = _day_at(window.start, zone), _day_at(window.end, zone)
    if first is not None and last is not None and first < last:
        return Window(begin_of_day(_day_before(first, last), zone), window.start)
    length = window.end - window.start
    if first is not None and local_date(max(window.end - 1, window.start), zone) == first:
        begin = begin_of_day(first - timedelta(days=1), zone)
        return Window(begin, min(begin + length, window.start))
    return Window(window.start - length, window.start)


def bounds_before(bounds: list[int], before: Window, interval: Interval | None, zone: ZoneInfo) -> list[int]:
    """The borders of the intervals of the window before, of which each stands beside the one in the same place."""
    shift = bounds[0] - before.start
    if before.end == bounds[0] and before.end - before.start == bounds[-1] - bounds[0]:
        same = [bound - shift for bound in bounds]
        if interval is None or _day_at(before.start, zone) is None:
            return same
    return [before.start, before.end] if interval is None else clock_bounds(before.start, before.end, interval, zone)


def _day_at(moment: int, zone: ZoneInfo) -> date | None:
    """The day that begins at a moment; None where none does."""
    day = local_date(moment, zone)
    return day if begin_of_day(day, zone) == moment else None


def _day_before(first: date, last: date) -> date:
    """Where the window before whole days begins, which end before `last`."""
    if first.day == last.day == 1:
        day, back = first, first
        while day < last:
            day, back = month_after(day), (back - timedelta(days=1)).replace(day=1)
        return back
    return first - (last - first)
