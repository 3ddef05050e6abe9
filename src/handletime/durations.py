"""How long something took, in words: the one place where durations become text, on the terminal and on the page."""

from __future__ import annotations

from typing import Final

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
_HOURS_UNTIL: Final = 2 * DAY


def duration(milliseconds: float) -> str:
    """A duration as people say it: 450 ms, 9.9 s, 55 s, 12 min 5 s, 34 h 12 min, 3 d 4 h.

    What is smaller than the last digit is cut off, as everywhere here (rules.md 1 and 4): a wait of 9,996 ms is no
    wait of 10 s. So nothing ever reads as 60 s or 60 min, or as longer than it was.
    `static/charts.js` says the same in the browser, which a test holds.
    """
    whole = int(milliseconds)
    if whole < SECOND:
        return f"{whole} ms" if whole else "0 s"
    if whole < 10 * SECOND:
        return f"{whole // 1000}.{whole // 100 % 10} s"
    if whole < MINUTE:
        return f"{whole // SECOND} s"
    if whole < HOUR:
        return _both(whole, MINUTE, "min", SECOND, "s")
    if whole < _HOURS_UNTIL:
        return _both(whole, HOUR, "h", MINUTE, "min")
    return _both(whole, DAY, "d", HOUR, "h")


def _both(whole: int, large: int, name: str, small: int, rest_name: str) -> str:
    """In two units; the smaller one is left out where it is 0."""
    rest = whole % large // small
    return f"{whole // large:,} {name} {rest} {rest_name}" if rest else f"{whole // large:,} {name}"
