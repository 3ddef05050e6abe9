"""Closed conversations: as a plain reading of the events has them, however far back they were opened."""

from __future__ import annotations

from typing import Any, Final

import pytest

from handletime.answers.closes import closes_of
from handletime.answers.registry import CLOSE_METRICS
from handletime.answers.relations import Rows, Snapshot
from handletime.answers.selection import Selection
from handletime.answers.sums import By, Sums
from handletime.clock import DAY, MINUTE
from handletime.scope import WHOLE, Scope
from tests.answers.closes_oracle import Close, closes, metrics_of
from tests.api.world import NOW, MemoryReader
from tests.messy_streams import messy_stream
from tests.segments.tables import events_of


def reader_of(events: list[dict[str, object]]) -> MemoryReader:
    """A reader of these events, copies and corrections among them."""
    reader = MemoryReader("local")
    reader.events = events_of([{"accountId": "local", **event} for event in events])
    return reader


KEYS: Final[list[tuple[By, ...]]] = [
    (),
    ("skillId",),
    ("assigned", "agentId"),
    ("interval", "skillId", "assigned", "agentId"),
]


def shown(sums: Sums) -> dict[tuple[int, ...], dict[str, int | float]]:
    """The metrics of each group by its keys."""
    keys = [values.tolist() for values in sums.keys.values()]
    columns = {metric.name: sums.values_of(metric) for metric in CLOSE_METRICS}
    return {
        tuple(key[i] for key in keys): {name: values[i] for name, values in columns.items()} for i in range(len(sums))
    }


def expected(found: list[Close], by: tuple[By, ...], bounds: list[int]) -> dict[tuple[int, ...], Any]:
    """The same of closes one by one."""
    groups: dict[tuple[int, ...], list[Close]] = {}
    for close in found:
        if bounds[0] <= close.at < bounds[-1]:
            key = {
                "interval": sum(close.at >= bound for bound in bounds) - 1,
                "skillId": close.skill,
                "assigned": int(close.agent is not None),
                "agentId": close.agent or 0,
            }
            groups.setdefault(tuple(key[name] for name in by), []).append(close)
    return {key: metrics_of(each) for key, each in groups.items()}


@pytest.mark.parametrize("seed", range(60))
def test_closes_are_what_the_events_say_in_any_window(seed: int) -> None:
    events = [event for event in messy_stream(seed, events=300) if event.get("accountId", "local") == "local"]
    found = closes(events)
    times = sorted(close.at for close in found)
    some = times[len(times) // 2] if times else 0
    with reader_of(events).snapshot() as snapshot:
        for bounds in (
            [some - 400 * DAY, some + 400 * DAY],
            [some - 1, some + 1],
            [some - 7, some, some + 5, some + 9],
        ):
            for by in KEYS:
                assert shown(closes_of(snapshot, by, Selection(bounds))) == expected(found, by, bounds)


def test_filters_are_of_what_was_current_at_the_close() -> None:
    events = messy_stream(5, events=600)
    mine = [{**event, "accountId": "local"} for event in events]
    found = closes(mine)
    bounds = [min(close.at for close in found), max(close.at for close in found) + 1]
    a_skill, an_agent, a_group = next((c.skill, c.agent, c.group) for c in found if c.agent is not None and c.group)
    chosen = [
        (Selection(bounds, skills=[a_skill]), [c for c in found if c.skill == a_skill]),
        (Selection(bounds, agents=[an_agent or 0, 4711]), [c for c in found if c.agent in (an_agent, 4711)]),
        (Selection(bounds, groups=[a_group or 0]), [c for c in found if c.agent is not None and c.group == a_group]),
    ]
    with reader_of(mine).snapshot() as snapshot:
        for selection, wanted in chosen:
            assert wanted
            assert shown(closes_of(snapshot, ("skillId",), selection)) == expected(wanted, ("skillId",), bounds)


class Counting:
    """A snapshot that counts its queries and how far back the last one looked."""

    keeps_sums = False

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.starts: list[Any] = []

    def execute(self, sql: str, parameters: dict[str, object]) -> Rows:
        self.starts.append(parameters["start"])
        return self._snapshot.execute(sql, parameters)


@pytest.mark.parametrize(("transfers", "days", "queries"), [(0, 9, 1), (1, 0, 1), (1, 9, 2), (300, 9, 5)])
def test_it_looks_back_in_few_steps_and_no_further_than_it_must(transfers: int, days: int, queries: int) -> None:
    opened = NOW - days * DAY - 2 * MINUTE
    moves = [
        {"eventId": f"t{i}", "time": opened + i * (NOW - opened) // (transfers + 1), "type": "transferred"}
        | {"reason": "skill", "skillId": i}
        for i in range(1, transfers + 1)
    ]
    story: list[dict[str, object]] = [
        {"eventId": "o", "time": opened, "type": "opened", "skillId": 0},
        *moves,
        {"eventId": "z", "time": NOW, "type": "closed", "closedBy": "consumer"},
    ]
    with reader_of([{"conversationId": "c", **event} for event in story]).snapshot() as snapshot:
        counting = Counting(snapshot)
        sums = closes_of(counting, (), Selection([NOW - 5 * MINUTE, NOW + 1]))  # type: ignore[arg-type]
    assert sums.sums["time"].tolist() == [NOW - opened]
    assert len(counting.starts) <= queries


def test_within_a_scope_of_skills_a_conversation_is_opened_where_it_comes_into_them() -> None:
    """And not where it was last time: that it was closed elsewhere in between is not seen."""
    script: list[tuple[str, int, dict[str, object]]] = [
        ("opened", 0, {"skillId": 10}),
        ("transferred", 10, {"skillId": 20, "reason": "skill"}),
        ("closed", 20, {"closedBy": "agent"}),
        ("resumed", 100, {"skillId": 20}),
        ("transferred", 101, {"skillId": 10, "reason": "skill"}),
        ("closed", 105, {"closedBy": "consumer"}),
        ("resumed", 200, {"skillId": 10}),
        ("closed", 207, {"closedBy": "system"}),
    ]
    base = 1_795_165_200_000
    events: list[dict[str, object]] = [
        {"eventId": str(place), "conversationId": "c", "type": type_, "time": base + 1000 * at, **more}
        for place, (type_, at, more) in enumerate(script)
    ]
    reader = reader_of(events)

    def told(scope: Scope) -> dict[str, list[int]]:
        with reader.within(scope).snapshot() as snapshot:
            found = closes_of(snapshot, ("skillId",), Selection((base, base + 1_000_000)))
        both = [*found.keys.items(), *found.sums.items()]
        return {name: values.tolist() for name, values in both if name in WANTED}

    assert told(WHOLE) == {"skillId": [10, 20], "closes": [2, 1], "time": [5000 + 7000, 20_000]}
    assert told(Scope(None, (10,))) == {"skillId": [10], "closes": [2], "time": [4000 + 7000]}
    assert told(Scope(None, (20,))) == {"skillId": [20], "closes": [1], "time": [10_000]}
    assert told(Scope((51,))) == {"skillId": [], "closes": [], "time": []}


WANTED: Final = ("skillId", "closes", "time")
