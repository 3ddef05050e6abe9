"""Transfers between skills, counted from the rows of skill segments; and queues by weekday and hour.

Covers: answers/by_weekday, web/weekdays.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from handletime.answers.by_weekday import SPAN_MAX, Hour, abandoned_by_weekday
from handletime.answers.difference import Difference
from handletime.answers.selection import Selection
from handletime.answers.transfers import Transfer, into_and_out_of, transfers_between
from handletime.api.parameters import Query
from handletime.clock import HOUR, MINUTE
from handletime.events.book import instant
from handletime.segments.derive import derive
from handletime.web.view import View, read_view
from handletime.web.weekdays import Cell, queue_of, transfers_sheet, weekdays_sheet
from tests.api.world import MemoryReader
from tests.segments.tables import events_of, rows_of
from tests.web.test_figures import a_stream

Row = dict[str, Any]
BERLIN = ZoneInfo("Europe/Berlin")


def reader_of(events: list[Row]) -> MemoryReader:
    reader = MemoryReader("local")
    reader.add(events_of(events))
    return reader


@pytest.mark.parametrize("seed", range(6))
def test_a_transfer_is_one_skill_segment_and_the_next(seed: int) -> None:
    reader = MemoryReader("local")
    reader.add(a_stream(seed, events=400, conversations=8))
    rows: list[dict[str, Any]] = rows_of(derive(reader.events).skill_segments)
    following = {(row["conversationId"], row["sequence"]): row for row in rows if row["end"] is not None}
    ends = sorted(cast(int, row["end"]) for row in following.values())
    start, end = ends[len(ends) // 4], ends[-1] + 1
    counted = Counter[tuple[int, int | None]]()
    for row in following.values():
        if row["endReason"] == "skillTransfer" and start <= row["end"] < end:
            then = following.get((row["conversationId"], row["sequence"] + 1))
            counted[row["skillId"], None if then is None else then["skillId"]] += 1
    assert counted
    with reader.snapshot() as snapshot:
        found = transfers_between(snapshot, start, end)
        assert {(each.source, each.target): each.number for each in found} == counted
        assert [each.number for each in found] == sorted((each.number for each in found), reverse=True)
        skill = found[0].source
        mine = transfers_between(snapshot, start, end, skill)
        assert mine == [each for each in found if skill in (each.source, each.target)]
    assert into_and_out_of(mine, skill) == (
        sum(number for (_, target), number in counted.items() if target == skill),
        sum(number for (source, _), number in counted.items() if source == skill),
    )


def test_who_comes_and_who_goes() -> None:
    transfers = [Transfer(1, 2, 5), Transfer(2, 1, 3), Transfer(2, None, 1)]
    assert (into_and_out_of(transfers, 2), into_and_out_of(transfers, 3)) == ((5, 4), (0, 0))


def waited(number: int, at: datetime, *, given_up: bool) -> list[Row]:
    """A conversation that waits in the queue up to a moment."""
    end = int(at.timestamp() * 1000)
    known = {"conversationId": f"c{number}"}
    opened = {**known, "eventId": "o", "time": end - MINUTE, "type": "opened", "skillId": 1 + number % 2}
    closed = {**known, "eventId": "c", "time": end, "type": "closed", "closedBy": "consumer"}
    return [opened, closed if given_up else {**known, "eventId": "c", "time": end, "type": "assigned", "agentId": 7}]


def test_waits_count_on_the_weekday_and_in_the_hour_in_which_they_ended() -> None:
    monday = datetime(2026, 10, 26, 9, 30, tzinfo=BERLIN)
    autumn = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 02:30 for the first time, an hour later for the second
    events = [
        *waited(0, monday, given_up=True),
        *waited(1, monday + timedelta(days=7), given_up=False),
        *waited(2, monday.replace(minute=59, second=59), given_up=False),
        *waited(3, autumn, given_up=True),
        *waited(4, autumn + timedelta(hours=1), given_up=False),
    ]
    reader = reader_of(events)
    start, end = instant("2026-10-20T10:17:00Z") or 0, instant("2026-11-10T10:05:00Z") or 0
    with reader.snapshot() as snapshot:
        found = abandoned_by_weekday(snapshot, Selection((start, end)), BERLIN)
        one = abandoned_by_weekday(snapshot, Selection((start, end), skills=(2,)), BERLIN)
        assert abandoned_by_weekday(snapshot, Selection((start, start + SPAN_MAX + 1)), BERLIN) is None
    assert found is not None
    assert one is not None
    assert (len(found), {len(day) for day in found}) == (7, {24})
    assert {(day, hour): each for day, hours in enumerate(found) for hour, each in enumerate(hours) if each.total} == {
        (0, 9): Hour(1, 3),
        (6, 2): Hour(1, 2),
    }
    assert (one[0][9], one[6][2]) == (Hour(0, 1), Hour(1, 1))
    assert (Hour(1, 4).percent, Hour(0, 0).percent) == (25, None)


def test_the_page_says_shares_with_what_they_are_made_of() -> None:
    friday = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
    events = [each for number in range(200) for each in waited(number, friday, given_up=number < 2)]
    events += [
        each for number in range(200, 210) for each in waited(number, friday + timedelta(hours=3), given_up=True)
    ]
    reader = reader_of(events)
    start = int(friday.timestamp() * 1000) - HOUR
    query = Query(f"from={start}&to={start + 10 * HOUR}&tz=UTC".encode())
    weekdays, transfers = queue_of(reader, read_view(query, start + 20 * HOUR))
    query.check()
    assert (weekdays.abandoned, weekdays.total, transfers.all.number) == (12, 210, 0)
    assert weekdays.lines is not None
    line = weekdays.lines[4]
    assert line.name == "Friday"
    assert line.cells[9] == ("1", 1, "2 of 200 abandoned in queue", None)
    assert line.cells[12] == ("100", 5, "10 of 10 abandoned in queue", None)
    assert line.cells[0] == ("", 0, "no wait ended", None)
    assert line.whole == ("6", 2, "12 of 210 abandoned in queue", None)


def passed_on(number: int, at: datetime, *skills: int) -> list[Row]:
    """A conversation that goes from skill to skill, minute by minute, and is closed."""
    begun = int(at.timestamp() * 1000)
    steps: list[Row] = [{"type": "opened", "skillId": skills[0]}]
    for skill in skills[1:]:
        steps += [{"type": "assigned", "agentId": 7}, {"type": "transferred", "reason": "skill", "skillId": skill}]
    steps += [{"type": "assigned", "agentId": 8}, {"type": "closed", "closedBy": "agent"}]
    return [
        {"conversationId": f"t{number}", "eventId": str(place), "time": begun + place * MINUTE, **step}
        for place, step in enumerate(steps)
    ]


def test_transfers_and_waits_stand_beside_those_of_what_the_page_is_compared_with() -> None:
    today = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
    yesterday = today - timedelta(days=1)
    events = [
        *(each for number in range(3) for each in passed_on(number, today, 1, 2)),
        *passed_on(3, today, 2, 1),
        *(each for number in range(4, 9) for each in passed_on(number, yesterday, 1, 2)),
        *(each for number in range(20, 30) for each in waited(number, today, given_up=number < 25)),
        *(each for number in range(30, 40) for each in waited(number, yesterday, given_up=number < 31)),
    ]
    query = Query(b"last=yesterday&compare=previous&skill=2&tz=UTC")
    view = read_view(query, int((today + timedelta(days=1)).timestamp() * 1000))
    query.check()
    reader = reader_of(events)
    weekdays, transfers = queue_of(reader, view)
    assert [(each.transfer, each.differs) for each in transfers.lines] == [
        (Transfer(1, 2, 3), ("▼", "−2 (−40 %)", "")),
        (Transfer(2, 1, 1), ("▲", "+1", "")),
    ]
    assert [each and (each.number, each.differs) for each in (transfers.all, transfers.into, transfers.out_of)] == [
        (4, ("▼", "−1 (−20 %)", "")),
        (3, ("▼", "−2 (−40 %)", "")),
        (1, ("▲", "+1", "")),
    ]
    assert weekdays.differs is not None
    assert (weekdays.differs.arrow, weekdays.differs.verdict) == ("▲", "worse")
    sheet = transfers_sheet(reader, view, lambda kind, number: f"{kind} {number}")
    assert sheet.names[-2:] == ["transfers", "transfersPrevious"]
    assert [row[-2:] for row in sheet.rows] == [[3, 5], [1, 0]]
    assert len(transfers_sheet(reader, view_of_none(view), lambda kind, number: f"{kind} {number}").names) == 5


def test_hours_of_weekdays_stand_beside_the_same_ones_before() -> None:
    friday = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
    before = friday - timedelta(days=7)
    hour = timedelta(hours=1)
    waits = [
        *((friday, number < 5) for number in range(10)),
        *((before, number < 1) for number in range(10)),
        *((friday + hour, number < 2) for number in range(9)),
        *((before + hour, number < 9) for number in range(20)),
        *((before + 2 * hour, False) for _ in range(10)),
    ]
    reader = reader_of([each for number, (at, gone) in enumerate(waits) for each in waited(number, at, given_up=gone)])
    query = Query(b"from=2026-11-16T00:00&to=2026-11-23T00:00&compare=week&tz=UTC")
    view = read_view(query, int((friday + timedelta(days=9)).timestamp() * 1000))
    query.check()
    weekdays, _ = queue_of(reader, view)
    assert weekdays.lines is not None
    line, whole = weekdays.lines[4], weekdays.lines[7]
    worse = Difference("▲", "+40.0 points", "worse")
    assert line.cells[9] == Cell("50", 5, "5 of 10 abandoned in queue; before 1 of 10", worse)
    few = "2 of 9 abandoned in queue; before 9 of 20"
    assert line.cells[10] == ("22", -1, few, None), "of nine waits a share says little"
    assert line.cells[11] == ("", 0, "no wait ended; before 0 of 10", None)
    assert line.cells[12] == ("", 0, "no wait ended", None)
    worse = Difference("▲", "+11.8 points", "worse")
    assert line.whole == Cell("37", 4, "7 of 19 abandoned in queue; before 10 of 40", worse)
    assert (whole.cells[9], whole.whole) == (line.cells[9], line.whole)
    assert weekdays.differs == line.whole.differs
    sheet = weekdays_sheet(reader, view)
    names = ("totalQueueSegments", "queueSegmentsAbandonedByConsumers", "abandonedQueueSegmentsPercent")
    assert sheet.names == ["weekday", "hour", *(f"{name}{end}" for name in names for end in ("", "Previous"))]
    assert {tuple(row[:2]): row[2:] for row in sheet.rows if row[2] or row[3]} == {
        ("Friday", 9): [10, 10, 5, 1, 50, 10],
        ("Friday", 10): [9, 20, 2, 9, 100 * 2 / 9, 45],
        ("Friday", 11): [0, 10, 0, 0, None, 0],
    }
    assert len(weekdays_sheet(reader, view_of_none(view)).names) == 5


def view_of_none(view: View) -> View:
    """The same, compared with nothing."""
    return replace(view, compare=None, compared=())
