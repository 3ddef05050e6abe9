"""Opening hours against what others published and what was worked out by hand (rules.md 5.1)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handletime.clock import DAY, HOUR, MINUTE
from handletime.targets.hours import ALWAYS, Calendar, Minutes

BERLIN = ZoneInfo("Europe/Berlin")
WORKDAYS = range(5)
EVERY_DAY = range(7)


def at(text: str) -> int:
    """A moment in UTC, or with an offset of its own."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def calendar(
    *spans: str,
    days: range = EVERY_DAY,
    zone: ZoneInfo = BERLIN,
    closed: tuple[str, ...] = (),
    dates: Mapping[str, tuple[str, ...]] | None = None,
) -> Calendar:
    week = tuple(tuple(map(minutes, spans)) if day in days else () for day in EVERY_DAY)
    own = {date.fromisoformat(day): tuple(map(minutes, each)) for day, each in (dates or {}).items()}
    return Calendar("made-up", zone, week, frozenset(map(date.fromisoformat, closed)), own)


def minutes(span: str) -> Minutes:
    begin, end = (int(clock[:2]) * 60 + int(clock[3:]) for clock in span.split("-"))
    return begin, end


# --- published: the tests of Zammad ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "start", "target", "due"),
    [
        (calendar("09:00-17:00", days=WORKDAYS), "2013-03-21T09:30", 60, "2013-03-21T10:30"),
        (calendar("09:00-17:00", days=WORKDAYS), "2013-03-21T09:30", 120, "2013-03-21T11:30"),
        (calendar("09:00-17:00", days=WORKDAYS), "2013-03-21T09:30", 180, "2013-03-21T12:30"),
        (calendar("09:00-17:00", days=WORKDAYS), "2013-03-21T09:30", 240, "2013-03-21T13:30"),
        (calendar("08:00-17:00"), "2013-10-21T05:30", 120, "2013-10-21T08:00"),
        (calendar("08:00-17:00"), "2013-10-21T05:30", 180, "2013-10-21T09:00"),
        (calendar("08:00-17:00"), "2013-10-21T05:30", 240, "2013-10-21T10:00"),
        *(
            (calendar("08:00-17:00", closed=("2015-09-22", "2015-09-24")), "2015-09-21T14:30", target, due)
            for target, due in (
                (120, "2015-09-23T07:30"),
                (180, "2015-09-23T08:30"),
                (240, "2015-09-23T09:30"),
            )
        ),
    ],
)
def test_a_target_is_due_when_zammads_tests_say(hours: Calendar, start: str, target: int, due: str) -> None:
    assert hours.due(at(start), target * MINUTE) == at(due)


@pytest.mark.parametrize(("end", "elapsed"), [("2013-03-21T10:00", 30), ("2013-03-21T14:00", 270)])
def test_as_much_has_elapsed_as_zammads_tests_say(end: str, elapsed: int) -> None:
    hours = calendar("08:00-18:00", days=WORKDAYS)
    assert hours.elapsed(at("2013-03-21T09:30"), at(end)) == elapsed * MINUTE


# --- worked out by hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "after", "hours"), [("2026-03-29", "2026-03-30", 23), ("2026-10-25", "2026-10-26", 25)]
)
def test_a_day_has_as_many_hours_as_the_clocks_leave_it(day: str, after: str, hours: int) -> None:
    start, end = (int(datetime.fromisoformat(each).replace(tzinfo=BERLIN).timestamp() * 1000) for each in (day, after))
    assert ALWAYS.elapsed(start, end) == hours * HOUR
    assert calendar("00:00-24:00").elapsed(start, end) == hours * HOUR
    assert ALWAYS.due(start, hours * HOUR) == end


@pytest.mark.parametrize(
    ("begins", "ends", "hours"),
    [
        ("2026-03-28T21:00", "2026-03-29T04:00", 7),
        ("2026-10-24T20:00", "2026-10-25T05:00", 9),
        ("2026-11-10T21:00", "2026-11-11T05:00", 8),
    ],
)
def test_a_night_shift_has_seven_or_nine_hours_where_clocks_are_changed(begins: str, ends: str, hours: int) -> None:
    shift = calendar("22:00-30:00")
    around = at(begins) - 3 * HOUR, at(ends) + 3 * HOUR
    assert shift.elapsed(*around) == hours * HOUR
    assert shift.counted(*around) == [(at(begins), at(ends))]
    assert shift.due(at(begins), hours * HOUR) == at(ends)


def test_what_lies_in_the_gap_of_spring_is_moved_past_it() -> None:
    # 02:30 and 02:45 do not exist: with the offset before the gap they are 03:30 and 03:45.
    hours = calendar("02:30-02:45")
    assert hours.counted(at("2026-03-28T23:00"), at("2026-03-29T20:00")) == [
        (at("2026-03-29T01:30"), at("2026-03-29T01:45"))
    ]


def test_what_comes_twice_in_autumn_counts_the_first_time() -> None:
    hours = calendar("02:30-02:45")
    assert hours.counted(at("2026-10-24T22:00"), at("2026-10-25T20:00")) == [
        (at("2026-10-25T00:30"), at("2026-10-25T00:45"))
    ]


def test_an_interval_that_the_gap_turns_round_is_none() -> None:
    # 02:30 becomes 03:30, 03:15 stays: the interval ends before it begins on that day alone.
    hours = calendar("02:30-03:15")
    assert hours.elapsed(at("2026-03-28T23:00"), at("2026-03-29T20:00")) == 0
    assert hours.elapsed(at("2026-03-29T23:00"), at("2026-03-30T20:00")) == 45 * MINUTE


def test_a_lunch_break_does_not_count() -> None:
    hours = calendar("09:00-12:30", "13:00-17:00", days=WORKDAYS)
    start = at("2026-11-10T12:25+01:00")
    assert hours.elapsed(start, at("2026-11-10T13:10+01:00")) == 15 * MINUTE
    assert hours.due(start, 15 * MINUTE) == at("2026-11-10T13:10+01:00")
    # Reached at the very end of an interval it is due then, not when the next one begins.
    assert hours.due(start, 5 * MINUTE) == at("2026-11-10T12:30+01:00")


def test_nothing_elapses_in_a_wait_wholly_outside() -> None:
    hours = calendar("09:00-17:00", days=WORKDAYS)
    start, end = at("2026-11-13T17:00+01:00"), at("2026-11-16T09:00+01:00")  # Friday evening to Monday morning
    assert hours.elapsed(start, end) == 0
    assert hours.counted(start, end) == []
    assert hours.due(start, 1) == end + 1


def test_santiagos_day_without_a_midnight_begins_an_hour_later() -> None:
    # On 2024-09-08 the clocks go from 24:00 of the day before to 01:00: 00:00 becomes 01:00, 23 hours are left.
    hours = calendar("00:00-24:00", zone=ZoneInfo("America/Santiago"), days=range(6, 7))
    assert hours.counted(at("2024-09-07T00:00"), at("2024-09-10T00:00")) == [
        (at("2024-09-08T04:00"), at("2024-09-09T03:00"))
    ]


def test_lord_howes_clocks_are_changed_by_half_an_hour() -> None:
    lord_howe = ZoneInfo("Australia/Lord_Howe")
    night = calendar("22:00-30:00", zone=lord_howe)
    # In spring (2026-10-04, 02:00 becomes 02:30) the night is 7.5 hours long, in autumn (2026-04-05) 8.5.
    assert night.elapsed(at("2026-10-03T20:00+10:30"), at("2026-10-04T12:00+11:00")) == 7 * HOUR + 30 * MINUTE
    assert night.elapsed(at("2026-04-04T20:00+11:00"), at("2026-04-05T12:00+10:30")) == 8 * HOUR + 30 * MINUTE
    gap = calendar("02:10-02:20", zone=lord_howe)
    assert gap.counted(at("2026-10-03T12:00"), at("2026-10-04T12:00")) == [
        (at("2026-10-03T15:40"), at("2026-10-03T15:50"))  # 02:40 to 02:50 of +11:00
    ]


def test_a_night_shift_runs_into_a_holiday() -> None:
    # The shift of the 24th belongs to the 24th; that of the 25th, which is closed, is left out.
    hours = calendar("22:00-30:00", closed=("2026-12-25",))
    assert hours.counted(at("2026-12-24T20:00+01:00"), at("2026-12-26T20:00+01:00")) == [
        (at("2026-12-24T22:00+01:00"), at("2026-12-25T06:00+01:00"))
    ]


def test_christmas_eve_has_short_hours_even_if_it_is_among_the_closed_dates() -> None:
    hours = calendar("09:00-17:00", closed=("2026-12-24", "2026-12-25"), dates={"2026-12-24": ("09:00-12:00",)})
    assert hours.elapsed(at("2026-12-24T00:00+01:00"), at("2026-12-26T00:00+01:00")) == 3 * HOUR
    assert hours.due(at("2026-12-24T11:00+01:00"), 2 * HOUR) == at("2026-12-26T10:00+01:00")


def test_a_date_with_hours_of_its_own_that_are_none_is_closed() -> None:
    hours = calendar("09:00-17:00", dates={"2026-12-24": ()})
    assert hours.elapsed(at("2026-12-24T00:00+01:00"), at("2026-12-25T00:00+01:00")) == 0


def test_a_date_that_its_zone_left_out_has_no_hours() -> None:
    # Samoa went from the 29th to the 31st of December 2011, from Thursday to Saturday.
    fridays = calendar("09:00-17:00", zone=ZoneInfo("Pacific/Apia"), days=range(4, 5))
    assert fridays.elapsed(at("2011-12-27T00:00"), at("2012-01-04T00:00")) == 0


def test_hours_that_overlap_or_touch_are_one() -> None:
    hours = calendar("09:00-12:00", "11:00-14:00", "14:00-15:00", "22:00-33:00")
    day = at("2026-11-10T00:00+01:00"), at("2026-11-11T10:00+01:00")
    assert hours.counted(*day) == [
        (at("2026-11-10T00:00+01:00"), at("2026-11-10T15:00+01:00")),  # the night before, then the day
        (at("2026-11-10T22:00+01:00"), at("2026-11-11T10:00+01:00")),
    ]


def test_a_target_that_no_hours_reach_is_never_due() -> None:
    own = {"2026-11-10": ("09:00-10:00",), "2030-01-01": ("09:00-10:00",)}
    hours = calendar(days=range(0), dates=own)
    assert hours.due(at("2026-01-01T00:00"), 2 * HOUR) == at("2030-01-01T10:00+01:00")
    assert hours.due(at("2026-01-01T00:00"), 2 * HOUR + 1) is None
    assert hours.due(at("2031-01-01T00:00"), 1) is None
    assert calendar(days=range(0)).due(at("2026-01-01T00:00"), 1) is None


@pytest.mark.parametrize("moment", ["0001-01-01T00:00", "9999-12-31T23:00"])
def test_the_edges_of_the_calendar_are_no_fault(moment: str) -> None:
    hours = calendar("09:00-17:00", zone=ZoneInfo("Pacific/Apia"))
    assert hours.elapsed(at(moment), at(moment) + 30 * MINUTE) == 0
    hours.due(at("9999-12-01T00:00"), 400 * DAY)


# --- for any hours ---------------------------------------------------------------------------------------------------

ZONES = st.sampled_from(["Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "Pacific/Apia", "UTC"])
SPANS = st.tuples(st.integers(0, 1439), st.integers(1, 2880)).filter(lambda span: span[0] < span[1])
DAYS = st.lists(SPANS, max_size=3).map(tuple)


@st.composite
def calendars(draw: st.DrawFn) -> Calendar:
    dates = st.dates(date(2026, 3, 1), date(2026, 4, 30))
    return Calendar(
        "any",
        ZoneInfo(draw(ZONES)),
        tuple(draw(st.lists(DAYS, min_size=7, max_size=7))),
        draw(st.frozensets(dates, max_size=5)),
        draw(st.dictionaries(dates, DAYS, max_size=5)),
    )


MOMENTS = st.integers(at("2026-03-10T00:00"), at("2026-04-20T00:00"))


@given(calendars(), st.lists(MOMENTS, min_size=3, max_size=3).map(sorted))
def test_what_elapses_adds_up_and_is_due_when_it_has(hours: Calendar, moments: list[int]) -> None:
    start, middle, end = moments
    whole = hours.elapsed(start, end)
    assert hours.elapsed(start, middle) + hours.elapsed(middle, end) == whole
    assert 0 <= whole <= end - start
    opened = hours.hours(start, end).open_before(np.array([start, end], np.int64))
    assert opened[1] - opened[0] == whole
    if whole:
        due = hours.due(start, whole)
        assert due is not None
        assert due <= end
        assert hours.elapsed(start, due) == whole
        assert hours.elapsed(start, due - 1) == whole - 1
