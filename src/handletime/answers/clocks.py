"""How moments are written: by the clocks of a time zone, as a reader's language writes dates and times.

The page asks the browser which language that is (`Accept-Language`, RFC 9110 12.5.4). Files, APIs and the command line
have no language: they write ISO 8601.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import parse_pattern

from handletime.answers.words import local, which_of_two

WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LENGTH_MAX: Final = 500
"""So many characters of what a browser accepts are looked at."""
_TAG: Final = re.compile(r"[A-Za-z0-9]{1,8}(-[A-Za-z0-9]{1,8}){0,3}")
"""A language as BCP 47 writes it, with script, region and variant. Babel takes more: `de@euro`."""
_NARROW: Final = "\u202f"
"""The narrow space before `PM`; browsers write a plain one."""
_SECONDS: Final = re.compile("s+")
_ISOLATED: Final = "\u2068{}\u2069"
"""What is written from right to left stands in text from left to right as one piece (Unicode, UAX 9)."""


class Clocks(NamedTuple):
    """The clocks of a zone, and the language that writes what they show; without one as ISO 8601 does.

    A time that the clocks show twice always has its offset from UTC. Years are those of the Gregorian calendar, digits
    are 0 to 9, as in the numbers beside them.
    """

    zone: ZoneInfo
    language: Locale | None = None

    @property
    def tag(self) -> str:
        """The language as HTML and JavaScript name it (BCP 47): `de-DE`; "" for none."""
        return "" if self.language is None else str(self.language).replace("_", "-")

    @property
    def has_foreign_words(self) -> bool:
        """Whether what it writes may have words that are not English."""
        return self.language is not None and self.language.language != "en"

    def moment(self, millis: int, *, seconds: bool = True, weekday: bool = False) -> str:
        """A moment of epoch milliseconds: `2026-11-20 09:04:31`, `20.11.2026, 09:04:31`, `11/20/2026, 9:04:31 AM`."""
        return self._joined(millis, "s" if seconds else "", weekday=weekday)

    def exactly(self, millis: int) -> str:
        """A moment to the millisecond: `2026-11-20 09:04:31.250`."""
        return self._joined(millis, "ms")

    def clock(self, millis: int) -> str:
        """The time of day to the millisecond: `09:04:31.250`."""
        return self._time(local(millis, self.zone), "ms")

    def time(self, millis: int, *, seconds: bool = True) -> str:
        """The time of day: `09:04:31`, or `09:04`."""
        return self._time(local(millis, self.zone), "s" if seconds else "")

    def day(self, millis: int, *, weekday: bool = False) -> str:
        """The date of a moment: `2026-11-20`, `20.11.2026`; with its weekday `Fri 2026-11-20`, `Fr., 20.11.2026`."""
        return self.on(local(millis, self.zone).date(), weekday=weekday)

    def on(self, day: date, *, weekday: bool = False) -> str:
        """A date, as `day` writes it."""
        if self.language is None:
            return f"{day:%a %Y-%m-%d}" if weekday else f"{day:%Y-%m-%d}"
        return _date(day, "yMEd" if weekday else "yMd", self.language)

    def day_of_year(self, millis: int) -> str:
        """The date of a moment without its year: `11-20`, `20.11.`, `11/20`."""
        day = local(millis, self.zone).date()
        return f"{day:%m-%d}" if self.language is None else _date(day, "Md", self.language)

    def beside(self, known: int, millis: int) -> str:
        """A moment beside one that is known: the time alone where the date is the same."""
        same = local(known, self.zone).date() == local(millis, self.zone).date()
        return self.time(millis) if same else self.moment(millis)

    def weekdays(self) -> list[tuple[int, str]]:
        """The days of a week and their names, in the order of the reader's calendar: 0 is Monday."""
        names = dict(enumerate(WEEKDAYS)) if self.language is None else self.language.days["stand-alone"]["wide"]
        first = 0 if self.language is None else self.language.first_week_day
        return [(day, str(names[day])) for day in (*range(first, 7), *range(first))]

    def _joined(self, millis: int, to: str, *, weekday: bool = False) -> str:
        day, clock = self.day(millis, weekday=weekday), self._time(local(millis, self.zone), to)
        if self.language is None:
            return f"{day} {clock}"
        return str(self.language.datetime_formats["short"]).replace("{1}", day).replace("{0}", clock)

    def _time(self, at: datetime, to: str) -> str:
        if self.language is None:
            form = {"": "%H:%M", "s": "%H:%M:%S", "ms": "%H:%M:%S.%f"}[to]
            text = at.strftime(form)
            return (text[:-3] if to == "ms" else text) + which_of_two(at)
        pattern = str(self.language.time_formats["medium" if to else "short"].pattern)
        if "'" in pattern:
            pattern = "HH:mm:ss" if to else "HH:mm"  # `14 h 05 min` would read as a duration
        if to == "ms":
            pattern = _SECONDS.sub(r"\g<0>.SSS", pattern)
        return _written(at, pattern, self.language) + which_of_two(at)


def _date(day: date, skeleton: str, language: Locale) -> str:
    return _written(datetime.combine(day, time()), str(language.datetime_skeletons[skeleton].pattern), language)


def _written(at: datetime, pattern: str, language: Locale) -> str:
    text = parse_pattern(pattern).apply(at, language).replace(_NARROW, " ")
    return _ISOLATED.format(text) if language.text_direction == "rtl" else text


ISO: Final = Clocks(ZoneInfo("UTC"))
"""UTC, in no language."""


def language_of(accepted: str) -> Locale | None:
    """The first language that a browser accepts whose dates are known; None where there is none.

    `accepted` is the header's value: `de-AT,de;q=0.9,en;q=0.8`. Of an unknown region the language counts. What stands
    far behind in a long one does not.
    """
    return _language_of(accepted[:_LENGTH_MAX])


@lru_cache(maxsize=1024)
def _language_of(accepted: str) -> Locale | None:
    given = [_weighed(part) for part in accepted.split(",")]
    for tag, weight in sorted(given, key=lambda each: -each[1]):
        for name in (tag, tag.partition("-")[0]):
            if weight > 0 and (found := _locale(name)) is not None:
                return found
    return None


def _weighed(part: str) -> tuple[str, float]:
    tag, _, parameters = part.partition(";")
    weight = parameters.replace(" ", "").lower().removeprefix("q=")
    try:
        return tag.strip(), float(weight) if weight else 1.0
    except ValueError:
        return tag.strip(), 0.0


def _locale(tag: str) -> Locale | None:
    if not _TAG.fullmatch(tag):
        return None
    try:
        found = Locale.parse(tag, sep="-")
    except (ValueError, TypeError, UnknownLocaleError):
        return None
    return None if found.language == "root" or tag.lower().startswith("und") else found
