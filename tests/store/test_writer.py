"""The writer against the derivation: whatever comes in whatever pieces, the rows are those of all events at once.

Covers: segments/changes, store/derived, store/recent, store/requests, store/touched.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from handletime.errors import InvalidEvents
from handletime.store import derived, writer
from handletime.store.derived import Rows, write
from handletime.store.opening import StoreSettings
from handletime.store.requests import Request
from handletime.store.schema import migrate
from handletime.store.writer import Writer, Written
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
    monkeypatch.setattr(writer, "RECENT_BYTES", 5_000)
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
        assert written == [expected for _event, expected in TWO_SEGMENTS]
        written.clear()
        segment = {"agent_segments": 1, "gone_agent_segments": 1}
        late = {"eventId": "late", "conversationId": "c", "time": BASE + 95, "type": "message", "sentBy": "agent"}
        store.ingest("A", events_of([late]))
        store.ingest("A", events_of([{**events[-1], "type": "withdrawn", "revision": 1, "closedBy": None}]))
        assert written == [
            # The answer ends the last unit before the end does; the rest stays.
            segment | {"handle_time_units": 1, "gone_handle_time_units": 1},
            # Without its end the segment runs again, and its conversation is open.
            {
                **{"gone_agent_segments": 1, "gone_skill_segments": 1, "gone_handle_time_units": 1},
                "open_conversations": 1,
            },
        ]


TWO_SEGMENTS: list[tuple[RawEvent, dict[str, int]]] = [
    ({"type": "opened", "skillId": 1}, {"open_conversations": 1}),
    ({"type": "message", "sentBy": "consumer"}, {}),
    ({"type": "assigned", "agentId": 1}, {}),
    ({"type": "focused", "agentId": 1}, {}),
    ({"type": "message", "sentBy": "agent"}, {}),
    (
        {"type": "transferred", "reason": "skill", "skillId": 2},
        {
            **{"agent_segments": 1, "skill_segments": 1, "handle_time_units": 1},
            # Another skill segment is running.
            **{"open_conversations": 1, "gone_open_conversations": 1},
        },
    ),
    ({"type": "assigned", "agentId": 2}, {}),
    ({"type": "focused", "agentId": 2}, {}),
    ({"type": "message", "sentBy": "agent"}, {}),
    ({"type": "message", "sentBy": "consumer", "agentId": 2}, {}),
    (
        {"type": "closed", "closedBy": "agent"},
        {"agent_segments": 1, "skill_segments": 1, "handle_time_units": 2, "gone_open_conversations": 1},
    ),
]
"""Events of one conversation, and how many rows each writes and takes out."""


def test_copies_in_one_request_count_once() -> None:
    connection = duckdb.connect()
    migrate(connection)
    events = events_of([{"eventId": "e", "conversationId": "c", "time": BASE, "type": "opened"}] * 3)
    connection.begin()
    written = Writer(connection, StoreSettings()).write(
        [Request("A", events), Request("A", events), Request("B", events)]
    )
    connection.commit()
    assert written.answers == [(1, 2), (0, 3), (1, 2)]


FEW = replace(SMALL, conversation_events=3)


def messages(*names: str, conversation: str = "c", **fields: object) -> list[RawEvent]:
    """Messages, one a second; `fields` are theirs too."""
    return [
        {
            "eventId": name,
            "conversationId": conversation,
            "time": BASE + number,
            "type": "message",
            "sentBy": "consumer",
        }
        | fields
        for number, name in enumerate(names)
    ]


def test_a_conversation_has_no_more_events_than_it_may(tmp_path: Path) -> None:
    """What is beyond is refused with the whole request, and named; what is there already may come again."""
    with a_store(tmp_path, FEW) as store:
        assert store.ingest("A", events_of(messages("1", "2"))) == (2, 0)
        with pytest.raises(InvalidEvents) as refused:
            store.ingest("A", events_of([*messages("x", conversation="d"), *messages("2", "3", "4", "5")]))
        (fault,) = refused.value.faults
        assert str(fault).startswith("event 4: conversationId: conversation c has no room for this event")
        assert "3 events" in fault.message
        assert store.ingest("A", events_of(messages("2", "3"))) == (1, 1)
        assert store.ingest("A", events_of(messages("1", "2", "3"))) == (0, 3)
        assert store.ingest("A", events_of(messages("2", type="withdrawn", revision=1))) == (1, 0)
        assert store.ingest("A", events_of(messages("1", "3", revision=2))) == (2, 0)
        with pytest.raises(InvalidEvents, match="no room"):
            store.ingest("A", events_of(messages("4", revision=1)))
        assert store.ingest("B", events_of(messages("4"))) == (1, 0)
        assert check(store) == []
        assert rebuild(store).differences == 0
    with a_store(tmp_path, replace(FEW, conversation_events=1)) as store:  # it is larger than it may be by now
        assert store.ingest("A", events_of(messages("1", revision=3))) == (1, 0)
        with pytest.raises(InvalidEvents, match="no room"):
            store.ingest("A", events_of(messages("4")))
        assert rebuild(store).differences == 0


def test_a_new_conversation_that_is_too_large_leaves_nothing(tmp_path: Path) -> None:
    with a_store(tmp_path, FEW) as store:
        with pytest.raises(InvalidEvents, match="event 4"):
            store.ingest("A", events_of(messages(*"abcd")))
        assert check(store) == []
        with store.snapshot() as cursor:
            assert cursor.execute("select count(*) from kept.conversations").fetchall() == [(0,)]


def test_only_the_request_that_brings_too_much_is_refused() -> None:
    """Whatever is written together with it, also of its own client."""
    connection = duckdb.connect()
    migrate(connection)
    bounded = Writer(connection, FEW)
    connection.begin()
    together = events_of([*messages(*"abc"), *messages("d"), *messages("a", "b"), *messages("x", conversation="d")])
    written = bounded.write([Request("A", together, (3, 1, 2, 1)), Request("B", events_of(messages(*"abc")))])
    connection.commit()
    refused = written.answers.pop(1)
    assert isinstance(refused, InvalidEvents)
    assert str(refused.faults[0]).startswith("event 1: ")
    assert written.answers == [(3, 0), (0, 2), (1, 0), (3, 0)]
    assert connection.execute("select count(*) from kept.events").fetchall() == [(7,)]


def test_what_is_remembered_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts may be long."""
    monkeypatch.setattr(writer, "RECENT_BYTES", 50_000)
    connection = duckdb.connect()
    migrate(connection)
    wide = Writer(connection, SMALL)
    for number in range(40):
        names = [f"{number}-{place}".ljust(120, "x") for place in range(10)]
        connection.begin()
        wide.write([Request("A", events_of(messages(*names, conversation=f"c{number}")))])
        connection.commit()
        assert sum(part.events.nbytes for part in wide.recent._parts) <= 50_000
    numbers = np.arange(40)
    assert wide.recent.sizes(connection, numbers).tolist() == [10] * 40
    assert 0 < sum(part.events.num_rows for part in wide.recent._parts) < 400


def test_a_request_that_touches_much_goes_alone() -> None:
    """What it touches counts, not what it brings; the others go first, and its account's stay in their order."""
    connection = duckdb.connect()
    migrate(connection)
    bounded = Writer(connection, replace(SMALL, part_events=10))

    def write(*requests: Request) -> Written:
        connection.begin()
        written = bounded.write(requests)
        connection.commit()
        return written

    def one(account: str, event: str, *conversations: str) -> Request:
        return Request(account, events_of([m for c in conversations for m in messages(event, conversation=c)]))

    write(Request("A", events_of([*messages(*"123456", conversation="c"), *messages(*"123456", conversation="d")])))
    large, small, other = one("A", "7", "c", "d"), one("A", "8", "e"), one("B", "1", "c")
    written = write(large, small, other)
    assert written.answers == [(1, 0)]
    assert written.later == {0: 14, 1: 1}
    assert write(large, small).later == {1: 1}
    assert write(small).later == {}
    # Requests for one conversation touch it once.
    assert write(*(one("A", str(number), "c") for number in (10, 11))).later == {}


def test_a_request_without_events_is_answered(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        assert store.ingest("A", events_of([])) == (0, 0)
        assert stored_rows(store, "A") == {"agent_segments": [], "skill_segments": [], "handle_time_units": []}


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
