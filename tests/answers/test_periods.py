"""Windows by their names, and what they are compared with, on days on which clocks are changed."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handletime.answers.intervals import UNITS, begin_of_day, clock_bounds, month_after, month_before
from handletime.answers.periods import (
    COMPARISONS,
    PERIODS,
    Compare,
    Window,
    compare_of,
    compared_bounds,
    compared_with,
    window_of,
)
from handletime.answers.words import local
from handletime.clock import HOUR
from handletime.events.book import instant

UTC = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")

NOW = instant("2026-03-29T13:30:00Z") or 0
"""A Sunday, in Berlin the day of 23 hours; 15:30 there."""


def at(text: str) -> int:
    return instant(text) or 0


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("today", "2026-03-29T00:00:00+01:00", "2026-03-29T15:30:00+02:00"),
        ("yesterday", "2026-03-28T00:00:00+01:00", "2026-03-29T00:00:00+01:00"),
        ("last-7-days", "2026-03-22T00:00:00+01:00", "2026-03-29T00:00:00+01:00"),
        ("this-week", "2026-03-23T00:00:00+01:00", "2026-03-29T15:30:00+02:00"),
        ("last-week", "2026-03-16T00:00:00+01:00", "2026-03-23T00:00:00+01:00"),
        ("this-month", "2026-03-01T00:00:00+01:00", "2026-03-29T15:30:00+02:00"),
        ("last-month", "2026-02-01T00:00:00+01:00", "2026-03-01T00:00:00+01:00"),
    ],
)
def test_periods_are_those_of_the_calendar(period: str, start: str, end: str) -> None:
    (named,) = [each for each in PERIODS if each == period]
    assert window_of(named, NOW, BERLIN) == (at(start), at(end))


@pytest.mark.parametrize(
    ("window", "before"),
    [
        (("2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00"), "2026-02-01T00:00:00+01:00"),
        (("2026-01-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00"), "2025-10-01T00:00:00+02:00"),
        (("2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"), "2026-03-28T00:00:00+01:00"),
        (("2026-03-30T00:00:00+02:00", "2026-04-06T00:00:00+02:00"), "2026-03-23T00:00:00+01:00"),
        (("2026-03-20T10:00:00+01:00", "2026-03-20T11:30:00+01:00"), "2026-03-20T08:30:00+01:00"),
    ],
)
def test_the_window_before_is_of_the_same_unit_or_length(window: tuple[str, str], before: str) -> None:
    asked_for = Window(*map(at, window))
    assert compared_with(asked_for, "previous", BERLIN) == (at(before), asked_for.start)


@pytest.mark.parametrize(
    ("window", "before"),
    [
        (("2026-03-20T00:00+01:00", "2026-03-20T15:30+01:00"), ("2026-03-19T00:00+01:00", "2026-03-19T15:30+01:00")),
        # The day before has 23 hours, and begins an hour later in UTC.
        (("2026-03-30T00:00+02:00", "2026-03-30T15:30+02:00"), ("2026-03-29T00:00+01:00", "2026-03-29T15:30+02:00")),
        # From Monday to Wednesday, up to the same time; only as a period of that name it is this week.
        (("2026-03-30T00:00+02:00", "2026-04-01T15:30+02:00"), ("2026-03-27T00:00+01:00", "2026-03-29T15:30+02:00")),
    ],
)
def test_what_runs_is_compared_up_to_the_same_time_of_day(window: tuple[str, str], before: tuple[str, str]) -> None:
    asked_for = Window(*map(minute, window))
    assert compared_with(asked_for, "previous", BERLIN) == Window(*map(minute, before))


def minute(text: str) -> int:
    return at(f"{text[:16]}:00{text[16:]}")


@pytest.mark.parametrize(
    ("window", "compare", "before"),
    [
        ("2026-03-30T00:00+02:00 2026-03-31T00:00+02:00", "week", "2026-03-23T00:00+01:00 2026-03-24T00:00+01:00"),
        ("2026-03-29T00:00+01:00 2026-03-29T15:30+02:00", "week", "2026-03-22T00:00+01:00 2026-03-22T15:30+01:00"),
        ("2026-04-05T09:00+02:00 2026-04-06T09:00+02:00", "week", "2026-03-29T09:00+02:00 2026-03-30T09:00+02:00"),
        (
            "2026-04-10T00:00+02:00 2026-04-11T00:00+02:00",
            "four-weeks",
            "2026-03-13T00:00+01:00 2026-03-14T00:00+01:00",
        ),
        ("2026-03-29T00:00+01:00 2026-03-30T00:00+02:00", "year", "2025-03-30T00:00+01:00 2025-03-31T00:00+02:00"),
        ("2024-02-29T00:00+01:00 2024-03-01T00:00+01:00", "year", "2023-03-02T00:00+01:00 2023-03-03T00:00+01:00"),
    ],
)
def test_the_same_days_weeks_before_have_the_same_weekdays_and_times_of_day(
    window: str, compare: Compare, before: str
) -> None:
    asked_for = Window(*map(minute, window.split()))
    found = compared_with(asked_for, compare, BERLIN)
    assert found == Window(*map(minute, before.split()))
    days = [local(moment, BERLIN).weekday() for moment in (asked_for.start, found.start)]
    assert days[0] == days[1]


@pytest.mark.parametrize(
    ("period", "now", "before"),
    [
        # Wednesday to Wednesday; clocks were put forward on Sunday in between.
        ("this-week", "2026-04-01T15:30+02:00", "2026-03-23T00:00+01:00 2026-03-25T15:30+01:00"),
        ("this-week", "2026-03-30T09:00+02:00", "2026-03-23T00:00+01:00 2026-03-23T09:00+01:00"),
        # The time that this Sunday left out was there a week before, and the other way round.
        ("this-week", "2026-03-29T03:00+02:00", "2026-03-16T00:00+01:00 2026-03-22T03:00+01:00"),
        ("this-week", "2026-04-05T02:30+02:00", "2026-03-23T00:00+01:00 2026-03-29T03:00+02:00"),
        ("this-month", "2026-04-10T09:00+02:00", "2026-03-01T00:00+01:00 2026-03-10T09:00+01:00"),
        ("this-month", "2026-04-01T09:00+02:00", "2026-03-01T00:00+01:00 2026-03-01T09:00+01:00"),
        ("this-month", "2026-04-29T02:30+02:00", "2026-03-01T00:00+01:00 2026-03-29T03:00+02:00"),
        # February had 28 days.
        ("this-month", "2026-03-28T23:00+01:00", "2026-02-01T00:00+01:00 2026-02-28T23:00+01:00"),
        ("this-month", "2026-03-31T09:00+02:00", "2026-02-01T00:00+01:00 2026-03-01T00:00+01:00"),
        ("this-month", "2026-01-03T09:00+01:00", "2025-12-01T00:00+01:00 2025-12-03T09:00+01:00"),
        ("today", "2026-03-30T09:00+02:00", "2026-03-29T00:00+01:00 2026-03-29T09:00+02:00"),
        ("last-month", "2026-03-30T09:00+02:00", "2026-01-01T00:00+01:00 2026-02-01T00:00+01:00"),
        ("last-week", "2026-04-01T09:00+02:00", "2026-03-16T00:00+01:00 2026-03-23T00:00+01:00"),
    ],
)
def test_periods_are_compared_with_the_one_before_as_far_as_they_have_come(period: str, now: str, before: str) -> None:
    (named,) = [each for each in PERIODS if each == period]
    compare = compare_of("previous", named)
    assert compare is not None
    assert compared_with(window_of(named, minute(now), BERLIN), compare, BERLIN) == tuple(map(minute, before.split()))


def test_only_what_comes_before_a_period_depends_on_its_name() -> None:
    assert [compare_of("previous", each) for each in ("this-week", "this-month", None)] == ["week", "month", "previous"]
    assert {compare_of(each, "this-week") for each in COMPARISONS} == {*COMPARISONS} - {"previous"}
    assert compare_of(None, "this-week") is None


@pytest.mark.parametrize(
    ("window", "before"),
    [
        ("2026-03-01T00:00+01:00 2026-04-01T00:00+02:00", "2026-02-01T00:00+01:00 2026-03-01T00:00+01:00"),
        ("2026-01-01T00:00+01:00 2026-04-01T00:00+02:00", "2025-12-01T00:00+01:00 2026-03-01T00:00+01:00"),
        ("2026-03-30T00:00+02:00 2026-03-31T12:00+02:00", "2026-02-28T00:00+01:00 2026-03-01T00:00+01:00"),
        # What lies in two months is as many days before.
        ("2026-03-15T00:00+01:00 2026-04-15T09:00+02:00", "2026-02-15T00:00+01:00 2026-03-18T09:00+01:00"),
    ],
)
def test_the_same_dates_of_the_month_before_are_those_that_it_has(window: str, before: str) -> None:
    found = compared_with(Window(*map(minute, window.split())), "month", BERLIN)
    assert found == Window(*map(minute, before.split()))


@given(
    st.dates(date(2010, 1, 1), date(2026, 12, 31)),
    st.integers(1, 24 * HOUR),
    st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "America/Santiago", "Asia/Kathmandu"]),
)
def test_a_month_that_runs_stands_day_by_day_beside_the_one_before(day: date, length: int, name: str) -> None:
    zone = ZoneInfo(name)
    window = window_of("this-month", begin_of_day(day, zone) + length, zone)
    bounds = clock_bounds(*window, "day", zone)
    before = compared_bounds(bounds, "month", "day", zone)
    assert len(before) == len(bounds)
    first = local(window.start, zone).date()
    begin, end = (begin_of_day(each, zone) for each in (month_before(first), month_after(month_before(first))))
    assert before[0] == begin
    assert before == sorted(before)
    assert before[-1] <= end
    for bound, earlier in zip(bounds[:-1], before, strict=False):
        then = local(bound, zone).date()
        if then.day <= (first - month_before(first)).days:
            assert earlier == begin_of_day(month_before(first).replace(day=then.day), zone)
        else:
            assert earlier == end


def test_the_first_month_of_all_is_before_itself() -> None:
    assert month_before(date(1, 1, 31)) == month_before(date(1, 2, 3)) == date(1, 1, 1)
    assert month_before(date(2026, 3, 31)) == date(2026, 2, 1)


@given(
    st.integers(at("2010-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")),
    st.integers(1, 400 * HOUR),
    st.sampled_from(COMPARISONS),
    st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "America/Santiago", "Asia/Kathmandu"]),
)
def test_moments_weeks_before_are_found_as_one_would_by_hand(
    start: int, length: int, compare: Compare, name: str
) -> None:
    zone = ZoneInfo(name)
    window = Window(start, start + length)
    days = {"previous": 0, "month": 0, "week": 7, "four-weeks": 28, "year": 364}[compare]
    found = compared_with(window, compare, zone)
    assert found.start <= found.end
    if compare == "month":
        assert found.start < window.start
        return
    if not days:
        assert found.end <= window.start
        return
    for moment, earlier in zip(window, found, strict=True):
        shown, then = local(moment, zone), local(earlier, zone)
        wanted = shown.replace(tzinfo=None) - timedelta(days=days)
        if then.replace(tzinfo=None) == wanted:
            continue
        # Its time was left out then, and it is the first one after; or a time that comes twice is the later bound.
        assert then.replace(tzinfo=None) > wanted
        assert local(earlier - 1, zone).replace(tzinfo=None) < wanted or earlier == found.start == found.end


def test_intervals_of_both_windows_stand_side_by_side() -> None:
    window = Window(at("2026-03-30T00:00:00+02:00"), at("2026-03-31T00:00:00+02:00"))
    bounds = clock_bounds(*window, "hour", BERLIN)
    before = compared_bounds(bounds, "previous", "hour", BERLIN)
    assert len(bounds) == len(before) == 25
    assert [at for at, (begin, end) in enumerate(pairwise(before)) if begin == end] == [2], "an hour was left out"
    assert {end - begin for begin, end in pairwise(before) if begin < end} == {HOUR}
    odd = Window(at("2026-03-20T09:30:00Z"), at("2026-03-20T11:00:00Z"))
    bounds = clock_bounds(*odd, "hour", UTC)
    assert compared_bounds(bounds, "previous", "hour", UTC) == [bound - 90 * 60_000 for bound in bounds]
    month = clock_bounds(at("2026-03-01T00:00:00Z"), at("2026-04-01T00:00:00Z"), "day", UTC)
    assert len(compared_bounds(month, "previous", "day", UTC)) == 29, "February has 28 days"


def test_months_begin_with_their_first_day() -> None:
    assert UNITS[-1] == "month"
    start, end = at("2026-01-15T00:00:00Z"), at("2026-04-02T00:00:00Z")
    firsts = ["2026-02-01T00:00:00+01:00", "2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00"]
    assert clock_bounds(start, end, "month", BERLIN) == [start, *map(at, firsts), end]


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("America/Santiago", "2026-09-06"),
        ("Africa/Cairo", "2026-04-24"),
        ("America/Havana", "2026-03-08"),
        ("America/Asuncion", "2023-10-01"),
    ],
)
def test_a_day_without_a_midnight_stands_beside_a_whole_day(zone: str, day: str) -> None:
    place, without = ZoneInfo(zone), date.fromisoformat(day)
    days = [begin_of_day(without + timedelta(days=number), place) for number in range(-8, 10)]
    backs: dict[Compare, int] = {"previous": 1, "week": 7}
    for compare, back in backs.items():
        for number in (7, 8, 9):  # The day before it, the day itself, the day after.
            found = compared_with(Window(days[number], days[number + 1]), compare, place)
            assert found == Window(days[number - back], days[number + 1 - back]), (compare, number)
