"""Times of RFC 3339, read fast. Where a time is out of the ordinary, `book.instant` has the say."""

from __future__ import annotations

from typing import Final

from handletime.compiled import borrowing
from handletime.events.rows import Bytes

NEVER: Final = -(2**63)
_NO_DIGITS: Final = -1_000_000
_DAYS_TO_1970: Final = 719_162
_ZERO, _NINE, _DASH, _PLUS, _COLON, _DOT, _SPACE, _T, _Z = (ord(letter) for letter in "09-+:. tz")
_LOWER: Final = 0x20
"""Set in small letters."""


@borrowing
def time_of(text: Bytes, start: int, end: int) -> int:
    """Epoch milliseconds, what is finer cut off; NEVER where there is no date and time with seconds and offset."""
    if end - start < len("2026-11-20T09:00:00Z"):
        return NEVER
    days = _days(text, start)
    seconds = _seconds(text, start + len("2026-11-20"))
    milliseconds, at = _milliseconds(text, start + len("2026-11-20T09:00:00"), end)
    offset = _offset(text, at, end)
    if days == NEVER or seconds < 0 or offset == NEVER:
        return NEVER
    return (days * 86_400 + seconds - offset) * 1000 + milliseconds


@borrowing
def _days(text: Bytes, at: int) -> int:
    """Days from 1970-01-01 to the date `2026-11-20` (Gregorian, from year 1 on)."""
    year = _two_digits(text, at) * 100 + _two_digits(text, at + 2)
    month, day = _two_digits(text, at + 5), _two_digits(text, at + 8)
    if text[at + 4] != _DASH or text[at + 7] != _DASH or year < 1 or month < 1 or month > 12:
        return NEVER
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    length = 28 + leap if month == 2 else 30 + (month + month // 8) % 2
    if day < 1 or day > length:
        return NEVER
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400
    return days + (367 * month - 362) // 12 - (0 if month < 3 else 2 - leap) + day - 1 - _DAYS_TO_1970


@borrowing
def _seconds(text: Bytes, at: int) -> int:
    """Seconds of the day of `T09:00:00`, -1 if there are none."""
    hour, minute, second = _two_digits(text, at + 1), _two_digits(text, at + 4), _two_digits(text, at + 7)
    separated = (text[at] | _LOWER == _T or text[at] == _SPACE) and text[at + 3] == text[at + 6] == _COLON
    if not separated or min(hour, minute, second) < 0 or hour > 23 or minute > 59 or second > 59:
        return -1
    return hour * 3600 + minute * 60 + second


@borrowing
def _milliseconds(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """The milliseconds in `.123456`, and the place behind it; 0 and the end where a point has no digits."""
    if text[at] != _DOT:
        return 0, at
    first = at = at + 1
    value, unit = 0, 100
    while at < end and is_digit(text[at]):
        value += (text[at] - _ZERO) * unit
        unit //= 10
        at += 1
    return value, at if at > first else end


@borrowing
def _offset(text: Bytes, at: int, end: int) -> int:
    """Seconds of `+01:30` or `Z`; NEVER if that is not all that is left."""
    if end - at == 1 and text[at] | _LOWER == _Z:
        return 0
    if end - at != len("+01:30") or text[at + 3] != _COLON or (text[at] != _PLUS and text[at] != _DASH):
        return NEVER
    hour, minute = _two_digits(text, at + 1), _two_digits(text, at + 4)
    if min(hour, minute) < 0 or hour > 23 or minute > 59:
        return NEVER
    seconds = hour * 3600 + minute * 60
    return seconds if text[at] == _PLUS else -seconds


@borrowing
def _two_digits(text: Bytes, at: int) -> int:
    if not is_digit(text[at]) or not is_digit(text[at + 1]):
        return _NO_DIGITS
    return int(text[at] - _ZERO) * 10 + int(text[at + 1] - _ZERO)


@borrowing
def is_digit(byte: int) -> bool:
    """Whether a byte is a digit."""
    return _ZERO <= byte <= _NINE
