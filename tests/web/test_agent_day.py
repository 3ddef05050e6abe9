"""A day of an agent: what of it was whose, and how it is drawn.

Covers: answers/agent_day.
"""

from __future__ import annotations

from datetime import date
from typing import cast
from zoneinfo import ZoneInfo

import pytest

from handletime.answers.agent_day import AgentDay, Stretch, Unit, day_bounds, day_of, total, units_of
from handletime.answers.clocks import ISO
from handletime.api.parameters import Query
from handletime.clock import DAY, HOUR, MINUTE
from handletime.events.book import instant
from handletime.segments.agent_focus import Focus
from handletime.web import agent_day
from handletime.web.agent_day import DAY as DAY_PARAMETER
from handletime.web.agent_day import draw
from tests.api.world import MemoryReader
from tests.segments.tables import events_of

BERLIN = ZoneInfo("Europe/Berlin")
START = cast(int, instant("2026-11-20T00:00:00Z"))
NINE = START + 9 * HOUR


def a_day(*focus: Focus, units: tuple[Unit, ...] = (), end: int = START + DAY) -> AgentDay:
    return day_of(focus, units, START, end)


FOCUS = (
    Focus(START, NINE, None, known=False),
    Focus(NINE, NINE + 10 * MINUTE, "b"),
    Focus(NINE + 10 * MINUTE, NINE + 12 * MINUTE, None),
    Focus(NINE + 12 * MINUTE, NINE + 20 * MINUTE, "a"),
    Focus(NINE + 20 * MINUTE, NINE + 30 * MINUTE, "b"),
    Focus(NINE + 30 * MINUTE, NINE + 3 * HOUR, None),
)
UNITS = (Unit("b", NINE + MINUTE, NINE + 3 * MINUTE), Unit("c", START - HOUR, START + MINUTE))


def test_the_parts_of_a_day_make_up_the_whole() -> None:
    found = a_day(*FOCUS, units=UNITS)
    assert [(each.id, each.focus_ms // MINUTE, each.handle_time_ms // MINUTE) for each in found.conversations] == [
        ("c", 0, 1),
        ("b", 20, 2),
        ("a", 8, 0),
    ]
    assert found.unknown == [Stretch(START, NINE), Stretch(NINE + 3 * HOUR, START + DAY)], "it ended early"
    assert found.idle == [Stretch(NINE + 10 * MINUTE, NINE + 12 * MINUTE)]
    assert found.apart == [Stretch(NINE + 30 * MINUTE, NINE + 3 * HOUR)], "after the last look nobody is idle"
    assert found.focus_ms + total(found.idle) + total(found.apart) + total(found.unknown) == DAY
    assert (found.handle_time_ms, found.has_focus_data) == (3 * MINUTE, True)
    assert not a_day().has_focus_data, "unknown is not zero"


def test_idle_is_between_the_first_look_and_the_last_also_at_what_others_have() -> None:
    moments = [(None, 0, 8), ("", 8, 9), (None, 9, 12), ("a", 12, 13), (None, 13, 14), ("", 14, 15), (None, 15, 24)]
    found = a_day(*(Focus(START + begin * HOUR, START + end * HOUR, on) for on, begin, end in moments))
    hours = [[(each.start - START) // HOUR for each in of] for of in (found.apart, found.idle, found.outside)]
    assert hours == [[0, 15], [9, 13], [8, 14]]
    asleep = a_day(Focus(START, START + DAY, None))
    assert (asleep.idle, asleep.apart, asleep.has_focus_data) == ([], [Stretch(START, START + DAY)], True)


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-20", 24), ("2026-10-24", 24)]
)
def test_a_day_is_as_long_as_its_clock_says(day: str, hours: int) -> None:
    start, end = day_bounds(date.fromisoformat(day), BERLIN)
    assert end - start == hours * HOUR


def test_a_day_that_a_zone_left_out_is_none() -> None:
    start, end = day_bounds(date(2011, 12, 30), ZoneInfo("Pacific/Apia"))
    assert start == end


def test_bars_lie_where_they_belong_within_the_hours_of_work() -> None:
    gap = Focus(NINE + 30 * MINUTE, NINE + 50 * MINUTE, None)
    back, gone = Focus(gap.end, gap.end + MINUTE, "b"), Focus(gap.end + MINUTE, NINE + 3 * HOUR, None)
    found = a_day(*FOCUS[:-1], gap, back, gone, units=UNITS[:1])
    picture = draw(found, found.conversations, ISO)
    assert [line.name for line in picture.lines] == ["b", "a", "idle", "unknown where"]
    first, second, _, unit = picture.lines[0].bars
    assert (first.x, round(first.width, 3)) == (150.0, round(1034 / 6, 3)), "ten minutes of the hour from 9 to 10"
    assert second.x == pytest.approx(150 + 1034 / 3)
    assert first.x < unit.x < unit.x + unit.width < first.x + first.width
    assert first.says == "focus: 09:00:00.000 – 09:10:00.000 · 10 min"
    assert picture.lines[0].totals == "21 min · 2 min"
    assert picture.lines[1].totals == "8 min · –"
    gaps = [bar.width for bar in picture.lines[2].bars]
    assert gaps == pytest.approx([1034 / 30, 1034 / 3]), "idle gaps, up to the last look"
    assert [bar.text for bar in picture.lines[2].bars] == ["", "20 min"], "as long as it is, where there is room"
    assert picture.lines[3].bars == [], "what lies outside is in the totals alone"


def test_what_is_not_drawn_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_day, "BARS_MAX", 2)
    found = a_day(*FOCUS)
    picture = draw(found, found.conversations, ISO)
    assert sum(len(line.bars) for line in picture.lines) == 2
    assert picture.more_bars == 2


def test_units_are_those_that_touch_the_day_of_humans_segments_that_ended_at_any_time_after() -> None:
    at = {name: f"2026-11-{when}Z" for name, when in (("before", "19T23:59:50"), ("after", "21T00:00:10"))}

    def conversation(name: str, agent: int, close: str, user_type: str = "human") -> list[dict[str, object]]:
        kinds: list[dict[str, object]] = [
            {"type": "assigned", "agentId": agent, "userType": user_type, "time": at["before"]},
            {"type": "message", "sentBy": "consumer", "time": at["before"]},
            {"type": "focused", "agentId": agent, "time": at["before"]},
            {"type": "message", "sentBy": "agent", "agentId": agent, "time": "2026-11-20T00:00:30Z"},
            {"type": "unfocused", "agentId": agent, "time": "2026-11-20T00:00:30Z"},
        ]
        if close:
            kinds.append({"type": "closed", "closedBy": "agent", "time": close})
        return [{"conversationId": name, "eventId": str(i), "sequence": i, **each} for i, each in enumerate(kinds)]

    reader = MemoryReader("local")
    reader.add(
        events_of(
            [
                *conversation("mine", 7, at["after"]),
                *conversation("theirs", 8, at["after"]),
                *conversation("running", 9, ""),
                *conversation("bots", 10, at["after"], "bot"),
            ]
        )
    )
    with reader.snapshot() as snapshot:
        assert units_of(snapshot, 7, START, START + DAY) == [Unit("mine", START - 10_000, START + 30_000)]
        assert units_of(snapshot, 7, START + 30_000, START + DAY) == []
        assert units_of(snapshot, 10, START, START + DAY) == []
        assert len(units_of(snapshot, 7, START - DAY, START)) == 1
    of_day = day_of([], [Unit("mine", START - 10_000, START + 30_000)], START, START + DAY)
    assert of_day.handle_time_ms == 30_000, "only what lies in the day"


@pytest.mark.parametrize("text", ["2026-02-30", "20261120", "1999-12-31", "9999-01-01", "x"])
def test_a_wrong_day_is_told(text: str) -> None:
    query = Query(f"day={text}".encode())
    assert query.get(DAY_PARAMETER) is None
    assert query.causes == ["day: must be a date such as 2026-11-20, from 2000-01-01 to 9998-12-31"]
