"""What an address means, and that links say the same again."""

from __future__ import annotations

from datetime import date
from typing import cast
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from handletime.answers.clocks import ISO, Clocks
from handletime.answers.labels import AccountLabels
from handletime.answers.periods import COMPARISONS, Compare
from handletime.api.errors import BadRequest
from handletime.api.parameters import Query
from handletime.clock import DAY, HOUR
from handletime.events.book import instant
from handletime.events.model import MILLIS_MIN
from handletime.web.segments import SegmentsPage, read
from handletime.web.view import BARS_MAX, INTERVALS, SPANS, View, read_view, settled, zone_of

NOW = cast(int, instant("2026-11-21T12:34:56.789Z"))


APIA, CAIRO = Clocks(ZoneInfo("Pacific/Apia")), Clocks(ZoneInfo("Africa/Cairo"))


def view_of(query: str, zone: str = "UTC") -> View:
    read = Query(query.encode())
    view = read_view(read, NOW, Clocks(ZoneInfo(zone)))
    read.check()
    return view


def test_yesterday_is_the_day_before_where_a_zone_left_a_date_out() -> None:
    """In Samoa 29 December 2011 was followed by the 31st."""
    now = cast(int, instant("2011-12-30T22:00:00.000Z"))
    spans = {last: read_view(Query(f"last={last}".encode()), now, APIA) for last in ("today", "yesterday")}
    assert spans["today"].start == instant("2011-12-30T10:00:00.000Z")
    assert (spans["yesterday"].start, spans["yesterday"].end) == (
        instant("2011-12-29T10:00:00.000Z"),
        instant("2011-12-30T10:00:00.000Z"),
    )
    assert spans["yesterday"].span_text == "Yesterday, Thu 2011-12-29"


def test_a_day_begins_where_the_clock_left_midnight_out() -> None:
    """In Cairo the clocks went from midnight to one."""
    now = cast(int, instant("2024-04-26T12:00:00.000Z"))
    spans = {last: read_view(Query(f"last={last}".encode()), now, CAIRO) for last in ("today", "yesterday")}
    assert spans["today"].start == instant("2024-04-25T22:00:00.000Z")
    assert (spans["yesterday"].start, spans["yesterday"].end) == (
        instant("2024-04-24T22:00:00.000Z"),
        instant("2024-04-25T22:00:00.000Z"),
    )


def test_without_anything_it_is_the_last_day_by_the_hour() -> None:
    view = view_of("")
    assert (view.start, view.end, view.cut, view.zone.key) == (NOW - DAY, NOW, "hour", "UTC")
    assert view.bounds[0] == NOW - DAY
    assert view.bounds[-1] == NOW
    assert {bound % HOUR for bound in view.bounds[1:-1]} == {0}
    assert view.href("/agents") == "/agents?tz=UTC"
    assert (view.user_type, view.given_user_type) == ("human", "all")


@pytest.mark.parametrize(
    ("last", "zone", "start", "end"),
    [
        ("today", "UTC", "2026-11-21T00:00:00Z", "2026-11-21T12:34:56.789Z"),
        ("yesterday", "UTC", "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"),
        ("yesterday", "Asia/Tokyo", "2026-11-19T15:00:00Z", "2026-11-20T15:00:00Z"),
        ("8h", "UTC", "2026-11-21T04:34:56.789Z", "2026-11-21T12:34:56.789Z"),
    ],
)
def test_spans(last: str, zone: str, start: str, end: str) -> None:
    view = view_of(f"last={last}&tz={zone}")
    assert (view.start, view.end) == (instant(start), instant(end))


def test_a_link_to_a_span_before_2000_leads_back_to_it() -> None:
    view = view_of("from=1999-12-31T23:00&to=2000-01-01T01:00")
    assert view.parameters()["from"] == "1999-12-31T23:00:00Z"
    assert view.parameters()["to"] == "946688400000"
    assert view_of(view.href("").removeprefix("?")) == view


def test_times_without_an_offset_are_those_of_the_zone() -> None:
    view = view_of("from=2026-11-20T09:00&to=2026-11-20T17:00&tz=Europe/Berlin")
    assert (view.start, view.end) == (instant("2026-11-20T08:00:00Z"), instant("2026-11-20T16:00:00Z"))
    assert (view.start_field.value, view.end_field.value) == ("2026-11-20T09:00", "2026-11-20T17:00")
    assert view_of("from=2026-11-20T09:00Z&to=1795200000000").start == instant("2026-11-20T09:00:00Z")


@pytest.mark.parametrize(
    ("query", "cause"),
    [
        ("last=fortnight", "last: must be one of"),
        ("from=2026-11-20T09:00&to=2026-11-20T09:00", "from: must be before to"),
        ("from=yesterday", "from: must be a date and a time of day (2026-11-20T09:00)"),
        ("from=2026-01-01T00:00&to=2026-11-01T00:00&interval=5", f"interval: must cut the span in at most {BARS_MAX}"),
        ("from=1000-01-01T00:00&to=2000-01-01T00:00", "from: must be at most 1,000 weeks"),
        ("from=1000-01-01T00:00&to=2000-01-01T00:00&interval=week", "from: must be at most 1,000 weeks"),
        ("from=2030-01-01T00:00", "from: must be before now"),
        ("from=0001-01-01T00:00&tz=Asia/Tokyo", "from: must be a moment of the years 2 to 9998"),
        ("to=9999-12-31T23:00&tz=America/New_York", "to: must be a moment of the years 2 to 9998"),
        ("to=0001-01-01T00:00:01Z", "to: must be a moment of the years 2 to 9998"),
        ("from=9999-12-30T00:00&to=9999-12-31T23:59:59.999&interval=day", "to: must be a moment of the years 2"),
        ("fromOffset=two", "fromOffset: must match"),
        ("agent=x", "agent: must be an integer"),
        ("tz=Nowhere", "tz: must be the IANA name"),
        ("long=0", "long: must be greater than or equal to 1"),
        ("userType=robot", "userType: must be one of"),
    ],
)
def test_what_does_not_fit_is_said(query: str, cause: str) -> None:
    with pytest.raises(BadRequest) as raised:
        view_of(query)
    assert [each for each in raised.value.causes if each.startswith(cause)], raised.value.causes


@given(
    last=st.sampled_from(sorted(SPANS)),
    interval=st.sampled_from(sorted(INTERVALS)),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"]),
    agent=st.none() | st.integers(-(2**63), 2**63 - 1),
    source=st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    user_type=st.sampled_from(["all", "human", "bot"]),
    long=st.integers(1, 10_080),
    compare=st.sampled_from([None, *COMPARISONS]),
)
def test_a_link_means_the_view_that_it_is_of(
    last: str,
    interval: str,
    zone: str,
    agent: int | None,
    source: str | None,
    user_type: str,
    long: int,
    compare: Compare | None,
) -> None:
    given_view = view_of(f"last={last}&tz={zone}")
    is_long = last not in ("1h", "8h", "24h", "today", "yesterday")
    first = {"interval": None if is_long else interval, "agent": agent, "source": source, "compare": compare}
    query = given_view.href("", **first, userType=user_type, long=long).lstrip("?")
    view = view_of(query)
    assert (view.agent, view.source, view.user_type, view.long_minutes) == (agent, source, user_type, long)
    assert (view.zone.key, view.compare) == (zone, compare)
    assert view_of(view.href("").lstrip("?")) == view
    assert view_of(view.fixed("").lstrip("?")).bounds == view.bounds
    assert all(a < b for a, b in zip(view.bounds, view.bounds[1:], strict=False))


# --- the clocks ------------------------------------------------------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")
FIRST = cast(int, instant("2026-10-25T00:30:00Z"))
"""02:30 in Berlin, of which there is another one an hour later."""


def applied(view: View) -> View:
    """The view of the form with nothing changed, as a browser sends it."""
    fields = {"from": view.start_field, "to": view.end_field}
    query = {name: field.value for name, field in fields.items()}
    query |= {f"{name}Offset": field.offset for name, field in fields.items() if field.offsets}
    return view_of(urlencode({**query, "tz": view.zone.key}))


@given(
    start=st.integers(MILLIS_MIN, NOW - DAY),
    length=st.integers(1, 400 * DAY),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Africa/Monrovia"]),
)
@example(FIRST + 1, HOUR, "Europe/Berlin")
@example(FIRST + HOUR - 1, 1, "Europe/Berlin")
@example(FIRST + HOUR, 1000, "Europe/Berlin")
def test_a_form_with_nothing_changed_means_the_same_span(start: int, length: int, zone: str) -> None:
    view = view_of(urlencode({"from": start, "to": start + length, "tz": zone}))
    assert (applied(view).start, applied(view).end) == (start, start + length)


def test_of_a_time_that_comes_twice_the_span_has_both_unless_one_is_chosen() -> None:
    typed = "from=2026-10-25T02:30&to=2026-10-25T02:30&tz=Europe/Berlin"
    both = view_of(typed)
    assert (both.start, both.end) == (FIRST, FIRST + HOUR)
    assert both.start_field.offsets == both.end_field.offsets == ("+02:00", "+01:00")
    assert (both.start_field.offset, both.end_field.offset) == ("+02:00", "+01:00")
    later = view_of(f"from=2026-10-25T02:30&fromOffset={quote('+01:00')}&to=2026-10-25T04:00&tz=Europe/Berlin")
    assert later.start == FIRST + HOUR
    # What was chosen for an hour that comes twice says nothing of another one, nor what is no offset of this one.
    other = view_of("from=2026-11-20T02:30&fromOffset=%2B02:00&to=2026-11-20T04:00&tz=Europe/Berlin")
    assert other.start == instant("2026-11-20T01:30:00Z")
    assert view_of(f"{typed}&fromOffset=%2B05:00").start == FIRST


def test_a_time_that_does_not_exist_is_taken_with_the_offset_before() -> None:
    view = view_of("from=2026-03-29T02:30&to=2026-03-29T04:00&tz=Europe/Berlin")
    assert (view.start, view.start_field.value) == (instant("2026-03-29T01:30:00Z"), "2026-03-29T03:30")
    assert view.start_field.offsets == ()


@pytest.mark.parametrize(
    ("query", "count", "parts"),
    [
        ("last=24h", 25, {0, 24}),
        ("last=today", 13, {12}),
        ("last=yesterday", 24, set()),
        ("from=2026-11-20T09:00&to=2026-11-20T12:00&interval=hour", 3, set()),
        ("from=2026-11-20T09:01&to=2026-11-20T12:00&interval=hour", 3, {0}),
        ("from=2026-11-20T09:00&to=2026-11-20T11:59&interval=hour", 3, {2}),
        ("from=2026-11-20T09:01&to=2026-11-20T09:02&interval=hour", 1, {0}),
        ("from=2026-11-21T10:00&to=2026-11-21T15:00&interval=hour", 5, {2, 3, 4}),
        ("from=2026-11-20T09:00&to=2026-11-20T09:10&interval=5", 2, set()),
        ("from=2026-10-25T00:00&to=2026-10-26T00:00&interval=day&tz=Europe/Berlin", 1, set()),
    ],
)
def test_intervals_that_are_not_whole_are_known(query: str, count: int, parts: set[int]) -> None:
    view = view_of(query)
    assert (len(view.bounds) - 1, set(view.parts)) == (count, parts)


# --- what an address leaves open -------------------------------------------------------------------------------------

LABELS = AccountLabels(
    "acme",
    {
        ("", "agent"): {1: "Heron", 2: "Wren", 3: "wren", 4: "Grey heron"},
        ("acme", "agent"): {5: "Straße"},
        ("", "skill"): {10: "Billing", 11: "Heron", 12: "77"},
        ("other", "skill"): {12: "Secret"},
    },
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "tz=Europe%2FBerlin"),
        ("tz=", "tz=Europe%2FBerlin"),
        ("tz=UTC", "tz=UTC"),
        ("TZ=utc&last=7d", "TZ=utc&last=7d"),
        ("agent=heron&skill=HERON&tz=UTC", "agent=1&skill=11&tz=UTC"),
        ("agent=+Grey+Heron+&tz=UTC", "agent=4&tz=UTC"),
        ("agent=her&tz=UTC", "agent=1&tz=UTC"),
        ("agent=y+he&tz=UTC", "agent=4&tz=UTC"),
        ("agent=STRASSE&tz=UTC", "agent=5&tz=UTC"),
        ("agent=7&skill=-1&skill=&tz=UTC", "agent=7&skill=-1&tz=UTC"),
        ("skill=77&tz=UTC", "skill=77&tz=UTC"),
        ("from=&to=2026-10-25T02:30%2B01:00&agent=%20", "to=2026-10-25T02:30%2B01:00&tz=Europe%2FBerlin"),
    ],
)
def test_an_address_says_all_of_it(query: str, expected: str) -> None:
    found = settled(query.encode(), BERLIN, LABELS)
    assert (found.query, found.causes) == (expected, [])
    assert settled(expected.encode(), ZoneInfo("Asia/Tokyo"), LABELS) == found


@pytest.mark.parametrize(
    ("query", "cause"),
    [
        ("agent=wren", "agent: 2 agents are called “wren”: 2, 3; give the id of one"),
        ("agent=ero", "agent: no agent is called “ero”, but there is Heron (1), Grey heron (4)"),
        ("agent=crow", "agent: no agent is called “crow”; give a name of the labels, or an id"),
        ("skill=Secret", "skill: no skill is called “Secret”; give a name of the labels, or an id"),
        ("group=North", "group: no group is called “North”; give a name of the labels, or an id"),
    ],
)
def test_names_of_several_or_nobody_are_said(query: str, cause: str) -> None:
    found = settled(query.encode(), ZoneInfo("UTC"), LABELS)
    assert (found.query, found.causes) == (f"{query}&tz=UTC", [cause])


def test_of_many_names_some_are_told() -> None:
    many = AccountLabels("acme", {("", "agent"): dict.fromkeys(range(30), "Heron")})
    (same,) = settled(b"agent=heron", ZoneInfo("UTC"), many).causes
    assert same.startswith("agent: 30 agents are called “heron”: 0, 1, 2")
    assert "9 and 20 more; give" in same
    (like,) = settled(b"agent=her", ZoneInfo("UTC"), many).causes
    assert like.endswith("Heron (9) and 20 more")


def test_a_session_of_a_zone_that_is_none_is_in_utc() -> None:
    assert settled(b"", zone_of("Mars/Olympus"), LABELS).query == "tz=UTC"


def test_whose_segments_count() -> None:
    human, every, bots = view_of(""), view_of("userType=ALL"), view_of("userType=bot")
    assert "userType = 'human'" in human.agent_segments.condition().where
    assert "userType" not in human.skill_segments.condition().where
    assert "userType" not in every.agent_segments.condition().where + every.skill_segments.condition().where
    assert "userType = 'bot'" in bots.agent_segments.condition().where
    assert "userType = 'bot'" in bots.skill_segments.condition().where
    assert "userType = 'human'" in view_of("userType=human").skill_segments.condition().where


# --- what is compared -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ("last=today&compare=previous", "2026-11-20T00:00:00Z", "2026-11-20T12:34:56.789Z"),
        ("last=today&compare=week", "2026-11-14T00:00:00Z", "2026-11-14T12:34:56.789Z"),
        ("last=24h&compare=previous", "2026-11-19T12:34:56.789Z", "2026-11-20T12:34:56.789Z"),
        ("last=last-week&compare=four-weeks", "2026-10-12T00:00:00Z", "2026-10-19T00:00:00Z"),
        ("last=last-month&compare=previous", "2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z"),
        ("last=this-week&compare=previous", "2026-11-09T00:00:00Z", "2026-11-14T12:34:56.789Z"),
        ("last=this-month&compare=previous", "2026-10-01T00:00:00Z", "2026-10-21T12:34:56.789Z"),
        ("from=2026-11-16T00:00&to=2026-11-23T00:00&compare=year", "2025-11-17T00:00:00Z", "2025-11-22T12:34:56.789Z"),
    ],
)
def test_a_span_is_compared_as_far_as_it_has_passed(query: str, start: str, end: str) -> None:
    view = view_of(query)
    assert (view.compared[0], view.compared[-1]) == (instant(start), instant(end))
    assert len(view.compared) <= len(view.bounds) or "month" in query
    again = view_of(view.href("/").partition("?")[2])
    assert (again.compare, again.compared) == (view.compare, view.compared)
    selection = view.before(view.agent_segments)
    assert selection is not None
    assert (selection.start, selection.end) == (view.compared[0], view.compared[-1])


@pytest.mark.parametrize("last", SPANS)
@pytest.mark.parametrize("compare", COMPARISONS)
def test_a_fixed_span_is_compared_with_the_same(last: str, compare: Compare) -> None:
    """From the borders alone nobody could tell this week from today on a Monday."""
    view = view_of(f"last={last}&compare={compare}")
    again = view_of(view.fixed("/").partition("?")[2])
    assert (again.start, again.end, again.last) == (view.start, view.end, "")
    assert again.compared == view.compared


def test_what_comes_before_is_called_after_the_span_and_stands_but_once() -> None:
    assert [view_of(f"last={last}").comparisons["previous"] for last in ("today", "last-week", "this-month", "8h")] == [
        "yesterday",
        "the week before",
        "last month",
        "the period before",
    ]
    for last in SPANS:
        view = view_of(f"last={last}")
        told = [view_of(f"last={last}&compare={each}").compared for each in view.comparisons]
        assert len(told) - len(set(told)) == (1 if last == "7d" else 0), "a week before the last 7 × 24 h is its name"
    assert "week" in view_of("last=last-week&compare=week").comparisons, "what was chosen is told"


def test_what_has_not_begun_or_is_not_to_be_compared_is_not() -> None:
    for query in ("last=today", "from=2026-11-22T00:00&to=2026-11-23T00:00&compare=week"):
        view = view_of(query)
        assert view.compared == ()
        assert view.before(view.agent_segments) is None
        assert view.compared_text == ""
    assert view_of("last=yesterday&compare=week").compared_text == "Fri 2026-11-13"
    assert view_of("last=last-week&compare=week").compared_text == "Mon 2026-11-02 – Sun 2026-11-08"
    assert view_of("last=today&compare=week").compared_text == "2026-11-14 00:00 – 2026-11-14 12:34"
    with pytest.raises(BadRequest):
        view_of("compare=never")


@pytest.mark.parametrize(
    ("last", "start", "end"),
    [
        ("last-7-days", "2026-11-14T00:00:00Z", "2026-11-21T00:00:00Z"),
        ("this-week", "2026-11-16T00:00:00Z", "2026-11-21T12:34:56.789Z"),
        ("last-week", "2026-11-09T00:00:00Z", "2026-11-16T00:00:00Z"),
        ("this-month", "2026-11-01T00:00:00Z", "2026-11-21T12:34:56.789Z"),
        ("last-month", "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"),
    ],
)
def test_periods_of_the_calendar_are_those_of_reports(last: str, start: str, end: str) -> None:
    view = view_of(f"last={last}")
    assert (view.start, view.end) == (instant(start), instant(end))
    assert view.href("/") == f"/?last={last}&tz=UTC"
    assert view.span_text.startswith(f"{SPANS[last].capitalize()}, {date.fromisoformat(start[:10]):%a %Y-%m-%d} – ")


def segments_page(text: str) -> SegmentsPage:
    query = Query(text.encode())
    return read(query, read_view(query, NOW, ISO, cuts=False), NOW)


@pytest.mark.parametrize(("last", "compare"), [("this-week", "week"), ("this-month", "month"), ("today", "previous")])
def test_a_list_with_its_span_fixed_is_compared_with_the_same(last: str, compare: str) -> None:
    asked = segments_page(f"last={last}&compare=previous&tz=UTC")
    assert f"compare={compare}" in asked.href(offset=50)
    again = segments_page(asked.href(offset=50).partition("?")[2])
    assert again.view.compared == asked.view.compared
