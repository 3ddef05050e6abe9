"""How a timeframe is cut: in pieces of so many minutes, or in hours, days or weeks of a calendar (http-api.md 3)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from handletime.events.model import EPOCH

Calendar = Literal["hour", "day", "week"]
CALENDAR: Final[tuple[Calendar, ...]] = ("hour", "day", "week")
Interval = int | Calendar
"""Minutes, or a unit of the calendar."""


def bounds(start: int, end: int, interval: Interval | None, zone: ZoneInfo) -> list[int]:
    """The ends of the intervals of [start, end), in epoch milliseconds; the first and the last are its own."""
    if interval is None:
        return [start, end]
    if isinstance(interval, int):
        return [*range(start, end, interval * 60_000), end]
    inner = (moment for moment in _calendar(start, end, interval, zone) if start < moment < end)
    return [start, *inner, end]


def _calendar(start: int, end: int, unit: Calendar, zone: ZoneInfo) -> Iterator[int]:
    if unit == "hour":
        yield from _hours(start, end, zone)
        return
    days = 7 if unit == "week" else 1
    local = _at(start).astimezone(zone).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    local -= timedelta(days=local.weekday() if unit == "week" else 0)
    while (moment := _millis(local.replace(tzinfo=zone))) < end:
        yield moment
        local += timedelta(days=days)


def _hours(start: int, end: int, zone: ZoneInfo) -> Iterator[int]:
    """Every moment at which the clocks of the zone show a full hour; also where they are put forward or back."""
    quarter = 900_000
    for moment in range(start // quarter * quarter, end, quarter):
        if _at(moment).astimezone(zone).minute == 0:
            yield moment


def _at(millis: int) -> datetime:
    return EPOCH + timedelta(milliseconds=millis)


def _millis(moment: datetime) -> int:
    return (moment.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)


def zone_named(name: str) -> ZoneInfo | None:
    """A time zone by its IANA name, in any letter case; None where there is none."""
    known = _zones().get(name.lower())
    return ZoneInfo(known) if known else None


@cache
def _zones() -> dict[str, str]:
    return {name.lower(): name for name in available_timezones()}
