"""What an address means, and that links say the same again."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handletime.api.errors import BadRequest
from handletime.api.parameters import Query
from handletime.events.decode import instant
from handletime.web.view import BARS_MAX, DAY, HOUR, INTERVALS, SPANS, View, read_view

NOW = cast(int, instant("2026-11-21T12:34:56.789Z"))


def view_of(query: str, zone: str = "UTC") -> View:
    read = Query(query.encode())
    view = read_view(read, NOW, zone)
    read.check()
    return view


def test_without_anything_it_is_the_last_day_by_the_hour() -> None:
    view = view_of("")
    assert (view.start, view.end, view.cut, view.zone.key) == (NOW - DAY, NOW, "hour", "UTC")
    assert view.bounds[0] == NOW - DAY
    assert view.bounds[-1] == NOW
    assert {bound % HOUR for bound in view.bounds[1:-1]} == {0}
    assert view.href("/agents") == "/agents"


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
    assert (view.start_local, view.end_local) == ("2026-11-20T09:00", "2026-11-20T17:00")
    assert view_of("from=2026-11-20T09:00Z&to=1795200000000").start == instant("2026-11-20T09:00:00Z")


@pytest.mark.parametrize(
    ("query", "cause"),
    [
        ("last=fortnight", "last: must be one of"),
        ("from=2026-11-20T09:00&to=2026-11-20T09:00", "from: must be before to"),
        ("from=yesterday", "from: must be RFC 3339"),
        ("from=2026-01-01T00:00&to=2026-11-01T00:00&interval=5", f"interval: must cut the span in at most {BARS_MAX}"),
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
)
def test_a_link_means_the_view_that_it_is_of(
    last: str, interval: str, zone: str, agent: int | None, source: str | None, user_type: str, long: int
) -> None:
    given_view = view_of(f"last={last}&tz={zone}")
    first = {"interval": interval if last not in ("7d", "31d") else None, "agent": agent, "source": source}
    query = given_view.href("", **first, userType=user_type, long=long).lstrip("?")
    view = view_of(query)
    assert (view.agent, view.source, view.user_type, view.long_minutes) == (agent, source, user_type, long)
    assert view_of(view.href("").lstrip("?")) == view
    assert view_of(view.fixed("").lstrip("?")).bounds == view.bounds
    assert all(a < b for a, b in zip(view.bounds, view.bounds[1:], strict=False))
