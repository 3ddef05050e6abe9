"""How moments are written: in ISO 8601, and as the language of a browser writes them."""

from __future__ import annotations

from typing import cast
from zoneinfo import ZoneInfo

import pytest
from babel import Locale
from babel.localedata import locale_identifiers
from hypothesis import given
from hypothesis import strategies as st

from handletime.answers.clocks import ISO, Clocks, language_of
from handletime.clock import HOUR
from handletime.events.book import instant
from handletime.events.model import TIME_MAX, TIME_MIN

AT = cast(int, instant("2026-11-03T13:04:31.250Z"))
BERLIN = ZoneInfo("Europe/Berlin")
FIRST = cast(int, instant("2026-10-25T00:30:00Z"))
"""02:30 in Berlin, for the first time."""


def clocks(accepted: str) -> Clocks:
    return Clocks(BERLIN, language_of(accepted))


@pytest.mark.parametrize(
    ("accepted", "moment", "exactly", "day", "of_year"),
    [
        ("", "2026-11-03 14:04:31", "2026-11-03 14:04:31.250", "Tue 2026-11-03", "11-03"),
        ("de-AT,de;q=0.9", "3.11.2026, 14:04:31", "3.11.2026, 14:04:31.250", "Di., 3.11.2026", "3.11."),
        ("en-GB", "03/11/2026, 14:04:31", "03/11/2026, 14:04:31.250", "Tue, 03/11/2026", "03/11"),
        (
            "en-US,en;q=0.8",
            "11/3/2026, 2:04:31 PM",
            "11/3/2026, 2:04:31.250 PM",
            "Tue, 11/3/2026",
            "11/3",
        ),
        ("sv", "2026-11-03 14:04:31", "2026-11-03 14:04:31.250", "tis, 2026-11-03", "3/11"),
        ("da", "3.11.2026 14.04.31", "3.11.2026 14.04.31.250", "tirs. 3.11.2026", "3.11"),
        # `14 h 04 min 31 s` would be a duration here.
        ("fr-CA", "2026-11-03 14:04:31", "2026-11-03 14:04:31.250", "mar. 2026-11-03", "11-03"),
        ("zh-TW", "2026/11/3\u2009下午2:04:31", "2026/11/3\u2009下午2:04:31.250", "2026/11/3\uff08週二\uff09", "11/3"),
        # From right to left, each piece for itself.
        (
            "he",
            "\u20683.11.2026\u2069, \u206814:04:31\u2069",
            "\u20683.11.2026\u2069, \u206814:04:31.250\u2069",
            "\u2068\u05d9\u05d5\u05dd \u05d2\u05f3, 3.11.2026\u2069",
            "\u20683.11\u2069",
        ),
    ],
)
def test_a_moment_is_written_as_the_language_writes_it(
    accepted: str, moment: str, exactly: str, day: str, of_year: str
) -> None:
    found = clocks(accepted)
    assert found.moment(AT) == moment
    assert found.exactly(AT) == exactly
    assert found.day(AT, weekday=True) == day
    assert found.day_of_year(AT) == of_year


def test_a_moment_beside_another_one_has_a_date_where_it_is_another_day() -> None:
    assert clocks("").beside(AT, AT + HOUR) == "15:04:31"
    assert clocks("en-US").beside(AT, AT + 10 * HOUR) == "11/4/2026, 12:04:31 AM"


@pytest.mark.parametrize(
    ("accepted", "tag"),
    [
        ("", ""),
        ("*", ""),
        ("tlh", ""),
        ("root,und-x", ""),
        ("x" * 5000, ""),
        ("," * 5000, ""),
        ("en-US", "en-US"),
        ("de-XX", "de"),
        ("tlh, sv;q=0.5", "sv"),
        ("en;q=0.3, de;q=0.7,fr ; q=0.5", "de"),
        ("en;q=0", ""),
        ("en;q=nan, fr", "fr"),
        ("zh-TW", "zh-Hant-TW"),
        ("en-u-ca-buddhist", "en"),
        ("de@euro, fr", "fr"),
        ("de@" + "x" * 60_000, ""),
        ("de.UTF-8,fr;q=0.1", "fr"),
        ("ca-ES-valencia", "ca-ES-VALENCIA"),
        ("tlh," * 200 + "de", ""),
    ],
)
def test_the_first_language_counts_whose_dates_are_known(accepted: str, tag: str) -> None:
    assert clocks(accepted).tag == tag


@given(st.text(max_size=100))
def test_whatever_a_browser_accepts_a_moment_can_be_written(accepted: str) -> None:
    assert clocks(accepted).moment(AT)


def test_each_language_that_is_known_writes_everything() -> None:
    for name in locale_identifiers():
        found = Clocks(BERLIN, Locale.parse(name))
        for at in (AT, TIME_MIN, TIME_MAX - 1):
            assert found.moment(at)
            assert found.exactly(at)
            assert found.clock(at)
            assert found.time(at, seconds=False)
            assert found.day(at)
            assert found.day(at, weekday=True)
            assert found.day_of_year(at)
        assert sorted(day for day, _ in found.weekdays()) == [*range(7)]
        # So that nothing reads as a duration.
        assert not {"h", "min", "s"} & set(found.time(AT).split())


def test_a_week_begins_as_in_the_country_of_the_reader() -> None:
    assert ISO.weekdays()[0] == (0, "Monday")
    assert clocks("de-DE").weekdays()[0] == (0, "Montag")
    assert clocks("en-US").weekdays()[0] == (6, "Sunday")
    assert clocks("en-US").weekdays()[1] == (0, "Monday")


@pytest.mark.parametrize(
    ("accepted", "first"), [("", "2026-10-25 02:30:00 +02:00"), ("de", "25.10.2026, 02:30:00 +02:00")]
)
def test_a_time_that_comes_twice_has_its_offset(accepted: str, first: str) -> None:
    found = clocks(accepted)
    assert found.moment(FIRST) == first
    assert found.moment(FIRST + HOUR, seconds=False).endswith("02:30 +01:00")
    assert found.clock(FIRST + HOUR) == "02:30:00.000 +01:00"
    assert found.moment(FIRST + 2 * HOUR).endswith("03:30:00")
    assert found.time(cast(int, instant("2026-03-29T01:30:00Z"))) == "03:30:00"
