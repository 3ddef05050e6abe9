"""The writer against the derivation: whatever comes in whatever pieces, the rows are those of all events at once.

Covers: segments/changes, store/derived, store/touched.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from handletime.segments.files import SCHEMAS
from handletime.store import accept, derived
from handletime.store.derived import Rows, write
from handletime.upkeep.check import check
from handletime.upkeep.rebuild import rebuild
from handletime.upkeep.removing import forget
from tests.messy_streams import BASE, RawEvent, messy_stream
from tests.seeds import mostly_long
from tests.segments.tables import events_of
from tests.store.worlds import (
    SMALL,
    a_store,
    a_stream,
    account_of,
    derived_rows,
    in_batches,
    of_account,
    requests_of,
    standing_copies,
    stored_rows,
    take_what_stands,
)


@pytest.mark.parametrize("first", mostly_long(range(0, 60, 10), 1))
def test_pieces_in_any_order_give_the_rows_of_all_events_at_once(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 10):
        agrees(seed, tmp_path / str(seed))


@pytest.mark.long
@pytest.mark.parametrize("first", range(60, 3_000, 20))
def test_so_they_do_in_three_thousand_streams(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 20):
        agrees(seed, tmp_path / str(seed))


@pytest.mark.parametrize("first", mostly_long(range(0, 30, 10), 1))
def test_so_they_do_where_conversations_are_derived_bit_by_bit(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One conversation at a time, or a few; and hardly any stays in memory."""
    monkeypatch.setattr(accept, "KNOWN_BYTES", 5_000)
    for seed in range(first, first + 10):
        agrees(seed, tmp_path / str(seed), part_events=(1, 20, 60)[seed % 3])


@pytest.mark.long
@pytest.mark.parametrize("first", range(30, 1_000, 10))
def test_so_they_do_in_a_thousand_streams(first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test_so_they_do_where_conversations_are_derived_bit_by_bit(first, tmp_path, monkeypatch)


def agrees(seed: int, folder: Path, part_events: int = 250_000) -> None:
    """One stream in random batches; between some of them the store is closed and opened, or has to drop what it
    remembers of focus.
    """
    events = a_stream(seed)
    dice = random.Random(seed)
    settings = replace(SMALL, part_events=part_events)
    store = a_store(folder, settings)
    accepted = 0
    for batch in in_batches(events, seed):
        answers = [store.submit(request.account, request.events) for request in requests_of(batch)]
        accepted += sum(answer.result().accepted for answer in answers)
        if dice.random() < 0.05:
            store.close()
            store = a_store(folder, settings)
        elif dice.random() < 0.1:
            assert not forget(store, "local", "a conversation that is not there")
    expected = derived_rows(standing_copies(events))
    assert accepted == take_what_stands({}, events), seed
    assert rebuild(store).differences == 0, seed
    assert check(store) == [], seed
    for account in {account_of(event) for event in events}:
        assert stored_rows(store, account) == of_account(expected, account), f"a_stream({seed})"
    store.close()


@pytest.mark.parametrize("seed", range(0, 40, 5))
def test_a_second_delivery_of_everything_changes_nothing(seed: int, tmp_path: Path) -> None:
    events = standing_copies(messy_stream(seed, accounts=1))
    table = events_of(events)
    with a_store(tmp_path) as store:
        assert store.ingest("local", table) == (len(events), 0)
        before = stored_rows(store, "local")
        assert store.ingest("local", table.take(list(range(table.num_rows))[::-1])) == (0, len(events))
        assert stored_rows(store, "local") == before


def test_only_rows_that_differ_are_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a conversation with two segments: those that end, when they end, and what changes of them later."""
    written: list[dict[str, int]] = []

    def watched(connection: duckdb.DuckDBPyConnection, rows: Rows) -> None:
        written.append({name: table.num_rows for name, table in rows._asdict().items() if table.num_rows})
        write(connection, rows)

    monkeypatch.setattr(derived, "write", watched)
    events = [
        {"eventId": f"e{number:02}", "conversationId": "c", "time": BASE + 10 * number, **event}
        for number, (event, _written) in enumerate(TWO_SEGMENTS)
    ]
    with a_store(tmp_path) as store:
        for event in events:
            store.ingest("A", events_of([event]))
            store.settle()
        assert written == [expected for _event, expected in TWO_SEGMENTS]
        written.clear()
        segment = {"agent_segments": 1, "gone_agent_segments": 1}
        late = {"eventId": "late", "conversationId": "c", "time": BASE + 95, "type": "message", "sentBy": "agent"}
        store.ingest("A", events_of([late]))
        store.settle()
        store.ingest("A", events_of([{**events[-1], "type": "withdrawn", "revision": 1, "closedBy": None}]))
        store.settle()
        assert written == [
            # The answer ends the last unit before the end does; the rest stays.
            segment | {"handle_time_units": 1, "gone_handle_time_units": 1},
            # Without its end the segment runs again, and its conversation is open.
            {
                # The agent still had it: no queue segment changes.
                **{"gone_agent_segments": 1, "gone_skill_segments": 1, "gone_handle_time_units": 1},
                "open_conversations": 1,
            },
        ]


TWO_SEGMENTS: list[tuple[RawEvent, dict[str, int]]] = [
    ({"type": "opened", "skillId": 1}, {"open_conversations": 1, "running_queue_segments": 1}),
    # Whose the last message is stands with a queue segment that runs.
    (
        {"type": "message", "sentBy": "consumer"},
        {"running_queue_segments": 1, "gone_running_queue_segments": 1},
    ),
    ({"type": "assigned", "agentId": 1}, {"queue_segments": 1, "gone_running_queue_segments": 1}),
    ({"type": "focused", "agentId": 1}, {}),
    ({"type": "message", "sentBy": "agent"}, {}),
    (
        {"type": "transferred", "reason": "skill", "skillId": 2},
        {
            **{"agent_segments": 1, "skill_segments": 1, "handle_time_units": 1},
            # Another skill segment is running.
            **{"open_conversations": 1, "gone_open_conversations": 1, "running_queue_segments": 1},
        },
    ),
    ({"type": "assigned", "agentId": 2}, {"queue_segments": 1, "gone_running_queue_segments": 1}),
    ({"type": "focused", "agentId": 2}, {}),
    ({"type": "message", "sentBy": "agent"}, {}),
    ({"type": "message", "sentBy": "consumer", "agentId": 2}, {}),
    (
        {"type": "closed", "closedBy": "agent"},
        {"agent_segments": 1, "skill_segments": 1, "handle_time_units": 2, "gone_open_conversations": 1},
    ),
]
"""Events of one conversation, and how many rows each writes and takes out."""


def test_a_request_without_events_is_answered(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        assert store.ingest("A", events_of([])) == (0, 0)
        assert stored_rows(store, "A") == {name: [] for name in SCHEMAS}


@pytest.mark.parametrize("seed", mostly_long(range(0, 30, 3), 3))
def test_focus_events_that_come_years_late_are_placed_right(seed: int, tmp_path: Path) -> None:
    """Their agents' windows lie far from what the writer remembers, beyond every span that it tries."""
    events = standing_copies(messy_stream(seed, accounts=1, events=200))
    years = 400 * 86_400_000
    dice = random.Random(seed)
    for event in events:
        event["time"] = 1_000_000_000_000 + dice.choice((0, 1, 2, 5)) * years + dice.randrange(100_000_000)
    for place in range(0, len(events), 40):
        with a_store(tmp_path) as store:
            store.ingest("local", events_of(events[place : place + 20]))
            store.ingest("local", events_of(events[place + 20 : place + 40]))
    with a_store(tmp_path) as store:
        assert stored_rows(store, "local") == derived_rows(events)


def test_what_is_remembered_of_an_agent_begins_with_a_focus(tmp_path: Path) -> None:
    """A `focused` that comes late, with an `unfocused` of before the store forgot: this ends it, nothing later."""

    def event(number: int, conversation: str, kind: str, second: int) -> RawEvent:
        time = f"2026-11-20T10:00:{second:02}Z"
        return {"eventId": str(number), "conversationId": conversation, "time": time, "type": kind, "agentId": 1}

    batches = [
        [event(1, "one", "unfocused", 20)],
        [event(2, "one", "focused", 10), event(3, "two", "unfocused", 30)],
        [event(4, "two", "focused", 40)],
    ]
    with a_store(tmp_path) as store:
        store.ingest("local", events_of(batches[0]))
        forget(store, "local", "a conversation that is not there")
        for batch in batches[1:]:
            store.ingest("local", events_of(batch))
        assert rebuild(store).differences == 0
