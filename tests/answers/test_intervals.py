"""Names of time zones, and the intervals of their clocks, on the days on which clocks are changed."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo, available_timezones

import pytest

from handletime.answers.intervals import Interval, begin_of, begin_of_day, bounds, clock_bounds
from handletime.clock import DAY, HOUR, MINUTE, zone_named
from handletime.events.model import EPOCH, TIME_MAX, TIME_MIN


def at(time: str) -> int:
    return (datetime.fromisoformat(time) - EPOCH) // timedelta(milliseconds=1)


def shown(millis: int, zone: ZoneInfo) -> str:
    return (EPOCH + timedelta(milliseconds=millis)).astimezone(zone).strftime("%d %H:%M%z")


@pytest.mark.parametrize(
    ("zone", "interval", "start", "end", "begins"),
    [
        # Samoa left out 30 December 2011.
        (
            "Pacific/Apia",
            "day",
            "2011-12-28T10:00Z",
            "2012-01-01T10:00Z",
            ["28 00:00-1000", "29 00:00-1000", "31 00:00+1400", "01 00:00+1400"],
        ),
        (
            "Pacific/Apia",
            "hour",
            "2011-12-30T08:00Z",
            "2011-12-30T12:00Z",
            ["29 22:00-1000", "29 23:00-1000", "31 00:00+1400", "31 01:00+1400"],
        ),
        # Chile's clocks go from 24:00 to 01:00, and from 24:00 to 23:00.
        (
            "America/Santiago",
            "day",
            "2025-09-06T04:00Z",
            "2025-09-08T10:00Z",
            ["06 00:00-0400", "07 01:00-0300", "08 00:00-0300"],
        ),
        (
            "America/Santiago",
            "day",
            "2025-04-05T03:00Z",
            "2025-04-07T10:00Z",
            ["05 00:00-0300", "06 00:00-0400", "07 00:00-0400"],
        ),
        (
            "America/Santiago",
            "hour",
            "2025-04-06T01:00Z",
            "2025-04-06T05:00Z",
            ["05 22:00-0300", "05 23:00-0300", "05 23:00-0400", "06 00:00-0400"],
        ),
        # Lord Howe's go by half an hour: from 02:00 to 02:30, and from 02:00 to 01:30.
        (
            "Australia/Lord_Howe",
            "hour",
            "2025-10-04T13:30Z",
            "2025-10-04T17:00Z",
            ["05 00:00+1030", "05 01:00+1030", "05 02:30+1100", "05 03:00+1100"],
        ),
        (
            "Australia/Lord_Howe",
            "hour",
            "2025-04-05T13:00Z",
            "2025-04-05T17:00Z",
            ["06 00:00+1100", "06 01:00+1100", "06 02:00+1030", "06 03:00+1030"],
        ),
        (
            "Australia/Lord_Howe",
            30,
            "2025-04-05T14:00Z",
            "2025-04-05T16:00Z",
            ["06 01:00+1100", "06 01:30+1100", "06 01:30+1030", "06 02:00+1030"],
        ),
        # An hour that comes twice.
        (
            "Europe/Berlin",
            "hour",
            "2025-10-25T23:10Z",
            "2025-10-26T02:30Z",
            ["26 01:10+0200", "26 02:00+0200", "26 02:00+0100", "26 03:00+0100"],
        ),
        # Newfoundland's went from 00:01 to 23:01 of the day before, which is no day a second time.
        (
            "America/St_Johns",
            "day",
            "2006-10-28T02:30Z",
            "2006-10-30T04:00Z",
            ["28 00:00-0230", "29 00:00-0230", "30 00:00-0330"],
        ),
        (
            "America/St_Johns",
            "hour",
            "2006-10-29T01:30Z",
            "2006-10-29T04:00Z",
            ["28 23:00-0230", "29 00:00-0230", "28 23:01-0330", "29 00:00-0330"],
        ),
        # Toronto's once went from 23:30 to 00:30.
        ("America/Toronto", "day", "1919-03-30T05:00Z", "1919-03-31T12:00Z", ["30 00:00-0500", "31 00:30-0400"]),
        ("Europe/Berlin", "week", "2025-10-22T10:00Z", "2025-11-01T10:00Z", ["22 12:00+0200", "27 00:00+0100"]),
        (
            "Asia/Kathmandu",
            30,
            "2025-10-15T10:00Z",
            "2025-10-15T11:00Z",
            ["15 15:45+0545", "15 16:00+0545", "15 16:30+0545"],
        ),
        (
            "Europe/Berlin",
            1440,
            "2025-10-25T10:00Z",
            "2025-10-27T10:00Z",
            ["25 12:00+0200", "26 00:00+0200", "27 00:00+0100"],
        ),
    ],
)
def test_intervals_are_those_of_the_clock(
    zone: str, interval: Interval, start: str, end: str, begins: list[str]
) -> None:
    found = clock_bounds(at(start), at(end), interval, ZoneInfo(zone))
    assert [shown(begin, ZoneInfo(zone)) for begin in found[:-1]] == begins
    assert found[-1] == at(end)


@pytest.mark.parametrize(("day", "hours"), [("2025-03-30", 23), ("2025-10-26", 25), ("2025-06-01", 24)])
def test_a_day_has_as_many_hours_as_its_clock_says(day: str, hours: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    start = begin_of_day(date.fromisoformat(day), zone)
    end = begin_of_day(date.fromisoformat(day) + timedelta(days=1), zone)
    assert end - start == hours * HOUR
    assert clock_bounds(start, end, "day", zone) == [start, end]
    assert len(clock_bounds(start, end, "hour", zone)) == hours + 1


def test_a_date_that_a_zone_left_out_begins_with_the_next_one() -> None:
    zone = ZoneInfo("Pacific/Apia")
    assert begin_of_day(date(2011, 12, 30), zone) == begin_of_day(date(2011, 12, 31), zone) == at("2011-12-30T10:00Z")


@pytest.mark.parametrize("interval", ["hour", "day", "week", 15, 45, 240, 1440])
def test_intervals_cover_the_time_without_gaps_and_each_says_one_clock_time(interval: Interval) -> None:
    """In zones and times chosen at random: ascending, no two alike, and each moment is in the interval it shows."""
    dice = Random(str(interval))
    step = {"hour": HOUR, "day": DAY, "week": 7 * DAY}.get(str(interval)) or int(interval) * MINUTE
    for name in dice.sample(sorted(available_timezones()), 40):
        zone = ZoneInfo(name)
        start = dice.randrange(at("1900-01-01T00:00Z"), at("2040-01-01T00:00Z"))
        end = start + dice.randrange(1, 20 * step)
        found = clock_bounds(start, end, interval, zone)
        assert all(first < second for first, second in pairwise(found)), name
        for begin, until in pairwise(found):
            assert begin_of(begin, interval, zone) <= begin, name
            for moment in (begin, (begin + until) // 2, until - 1):
                assert begin_of(moment, interval, zone) == (begin_of(begin, interval, zone)), (name, moment)


def test_the_edges_of_the_years_are_cut_too() -> None:
    tokyo, lima = ZoneInfo("Asia/Tokyo"), ZoneInfo("America/Lima")
    for start, end in ((TIME_MIN - 5 * DAY, TIME_MIN + 2 * DAY), (TIME_MAX - 2 * DAY, TIME_MAX)):
        for zone in (tokyo, lima):
            found = bounds(start, end, "day", zone)
            assert (found[0], found[-1]) == (start, end)
            assert {second - first for first, second in pairwise(found[1:-1])} <= {DAY}
            assert 0 < found[1] - start <= DAY
            assert 0 < end - found[-2] <= DAY
    assert begin_of_day(date(1, 1, 1), ZoneInfo("UTC")) == TIME_MIN


# --- names -----------------------------------------------------------------------------------------------------------

NO_NAMES = [
    *("localtime", "LocalTime", "posixrules", "Factory", "factory"),
    *(
        "posix/Europe/Berlin",
        "right/UTC",
        "posix",
        "leapseconds",
        "tzdata.zi",
        "zone.tab",
        "zone1970.tab",
        "iso3166.tab",
    ),
    *("Europe", "Europe/", "/Europe/Berlin", "Europe//Berlin", "Europe/../UTC", "./UTC", "../zoneinfo/UTC"),
    *("/etc/localtime", "/usr/share/zoneinfo/UTC", "UTC\0", "", " ", "+01:00", "Berlin", "CEST", "Etc/Unknown"),
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_only_a_zones_name_names_a_zone(name: str) -> None:
    assert zone_named(name) is None


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        (" europe/berlin ", "Europe/Berlin"),
        ("UTC", "UTC"),
        ("Etc/GMT+5", "Etc/GMT+5"),
        ("US/Pacific", "US/Pacific"),
        ("America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
    ],
)
def test_zones_are_named_in_any_letter_case(name: str, key: str) -> None:
    zone = zone_named(name)
    assert zone is not None
    assert zone.key == key
