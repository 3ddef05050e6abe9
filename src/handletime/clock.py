"""What time it is, how long a second, a minute, an hour and a day are (milliseconds), and zones by their names."""

from __future__ import annotations

import difflib
import time
from functools import cache
from typing import Final, Protocol
from zoneinfo import ZoneInfo, available_timezones

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


class Clock(Protocol):
    """Tells the time: the machine's, or a fixed one in tests."""

    def now(self) -> int:
        """The moment, in epoch milliseconds."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> int:
        """The moment, in epoch milliseconds."""
        return time.time_ns() // 1_000_000


def zone_named(name: str) -> ZoneInfo | None:
    """A time zone by its IANA name, in any letter case; None where there is none of this name.

    This is the one place that says what a zone's name is. Not everything that lies beside the zones' files is one:
    `localtime`, `posixrules` and `Factory` say nothing of a place, `posix/…` and `right/…` are other forms of zones.
    """
    known = _zones().get(name.strip().lower())
    return ZoneInfo(known) if known else None


@cache
def _zones() -> dict[str, str]:
    """The zones' names by their lower case. Every name begins with a capital letter."""
    names = (name for name in available_timezones() if name[0].isupper() and name != "Factory")
    return {name.lower(): name for name in names}


def zone_like(name: str) -> str | None:
    """The name of a time zone that is written nearly so, for whoever mistyped it."""
    near = difflib.get_close_matches(name.strip().lower(), list(_zones()), 1, 0.75)
    return _zones()[near[0]] if near else None
