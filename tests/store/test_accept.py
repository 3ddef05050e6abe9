"""What is told apart before it is acknowledged: new events, copies, corrections, and what is too much.

Covers: store/directory, store/known, store/requests.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from handletime.errors import InvalidEvents, NotNow, StoreError
from handletime.store import accept, known
from handletime.store import events as stored
from handletime.store.accept import Acceptor
from handletime.store.arrow import query
from handletime.store.directory import Directory
from handletime.store.journal import Journal
from handletime.store.opening import StoreSettings
from handletime.store.requests import Request
from handletime.store.schema import migrate
from handletime.upkeep.check import check
from handletime.upkeep.rebuild import rebuild
from tests.messy_streams import BASE, RawEvent, messy_stream
from tests.segments.tables import events_of
from tests.store.worlds import (
    SMALL,
    Key,
    a_store,
    account_of,
    derived_rows,
    of_account,
    standing_copies,
    stored_rows,
    take_what_stands,
)

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


class Numbers:
    """Keeps the number of the last entry; or fails."""

    def __init__(self) -> None:
        self.number = 0
        self.error: Exception | None = None

    def set_last_entry(self, number: int) -> None:
        if self.error is not None:
            raise self.error
        self.number = number


class Bench:
    """An acceptor over empty tables."""

    def __init__(self, folder: Path, most: int = 50_000) -> None:
        connection = duckdb.connect()
        migrate(connection)
        self.numbers = Numbers()
        self.looked_up = 0
        self.problem: NotNow | None = None

        @contextmanager
        def cursor() -> Iterator[duckdb.DuckDBPyConnection]:
            self.looked_up += 1
            if self.problem is not None:
                raise self.problem
            yield connection

        self.journal = Journal(folder)
        self.directory = Directory(connection)
        self.acceptor = Acceptor(self.directory, self.journal, self.numbers, cursor, conversation_events=most)

    def accept(self, *requests: Request) -> list[object]:
        """The answers, one for each part."""
        answers = self.acceptor.accept(requests, 1).answers
        return [part for answer in answers for part in (answer if isinstance(answer, list) else [answer])]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(most: int = 50_000) -> Bench:
        made.append(Bench(tmp_path, most))
        return made[-1]

    yield make
    for each in made:
        each.journal.close()


def test_copies_in_one_request_count_once(bench: Callable[..., Bench]) -> None:
    events = events_of([{"eventId": "e", "conversationId": "c", "time": BASE, "type": "opened"}] * 3)
    answers = bench().accept(Request("A", events), Request("A", events), Request("B", events))
    assert answers == [(1, 2), (0, 3), (1, 2)]


def test_of_copies_in_one_request_only_the_highest_revision_is_accepted(bench: Callable[..., Bench]) -> None:
    here = bench()
    copies = [event for number in (0, 2, 1, 2) for event in messages("e", revision=number)]
    assert here.accept(Request("A", events_of(copies))) == [(1, 3)]
    (entry,) = here.journal.entries()
    assert entry.events["revision"].to_pylist() == [2]
    # In several requests, each that is higher than all before.
    parts = events_of([event for number in (1, 3, 3, 4) for event in messages("e", revision=number)])
    assert here.accept(Request("A", parts, (1, 1, 1, 1))) == [(0, 1), (1, 0), (0, 1), (1, 0)]


def test_a_conversation_has_no_more_events_than_it_may(tmp_path: Path) -> None:
    """What is beyond is refused with the whole request, and named; what is there already may come again."""
    with a_store(tmp_path, FEW) as store:
        assert store.ingest("A", events_of(messages("1", "2"))) == (2, 0)
        with pytest.raises(InvalidEvents) as refused:
            store.ingest("A", events_of([*messages("x", conversation="d"), *messages("2", "3", "4", "5")]))
        (fault,) = refused.value.faults
        assert str(fault).startswith("event 4: conversationId: conversation c has no room for event 4: ")
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
        assert store.journal.numbers() == []
        with store.snapshot() as cursor:
            assert cursor.execute("select count(*) from kept.conversations").fetchall() == [(0,)]
        assert store.ingest("A", events_of(messages(*"abc"))) == (3, 0)


def test_only_the_request_that_brings_too_much_is_refused(bench: Callable[..., Bench]) -> None:
    """Whatever is accepted together with it, also of its own client."""
    here = bench(3)
    together = events_of([*messages(*"abc"), *messages("d"), *messages("a", "b"), *messages("x", conversation="d")])
    answers = here.accept(Request("A", together, (3, 1, 2, 1)), Request("B", events_of(messages(*"abc"))))
    refused = answers.pop(1)
    assert isinstance(refused, InvalidEvents)
    assert str(refused.faults[0]).startswith("event 1: ")
    assert answers == [(3, 0), (0, 2), (1, 0), (3, 0)]
    assert sum(entry.events.num_rows for entry in here.journal.entries()) == 7


@pytest.mark.parametrize("where", ["journal", "number"])
def test_where_it_cannot_be_written_nothing_is_remembered(where: str, bench: Callable[..., Bench]) -> None:
    here = bench()
    assert here.accept(Request("A", events_of(messages("1")))) == [(1, 0)]
    two = [
        Request("A", events_of([*messages("1", revision=1), *messages("2")])),
        Request("B", events_of(messages("1"))),
    ]
    if where == "number":
        here.numbers.error = NotNow("the disk is full")
        with pytest.raises(NotNow):
            here.accept(*two)
        here.numbers.error = None
    else:
        away = here.journal.path.rename(here.journal.path.with_name("away"))
        with pytest.raises(StoreError):
            here.accept(*two)
        away.rename(here.journal.path)
    assert here.numbers.number == 1
    assert here.accept(*two) == [(2, 0), (1, 0)]
    assert here.numbers.number == 3
    assert [entry.number for entry in here.journal.entries()] == [1, 2, 3]
    assert here.acceptor.known._bytes == sum(
        known.CONVERSATION_BYTES + known._bytes_of(each.ids) for each in here.acceptor.known._heard.values()
    )


def test_what_is_in_memory_is_taken_while_the_tables_cannot_be_asked(tmp_path: Path) -> None:
    """And what certainly is new; only what has to be looked up waits."""
    with a_store(tmp_path) as store:
        store.ingest("A", events_of(messages("1")))
        store.ingest("A", events_of(messages("1", conversation="old")))
        store.settle()
        store._acceptor.known.forget([1])
        here = store._acceptor

        @contextmanager
        def closed() -> Iterator[duckdb.DuckDBPyConnection]:
            if here._cursor is closed:
                raise NotNow("the store is being opened anew")
            yield duckdb.connect()

        here._cursor = closed
        assert store.ingest("A", events_of(messages("2"))) == (1, 0)
        assert store.ingest("A", events_of(messages("1", conversation="new"))) == (1, 0)
        with pytest.raises(NotNow, match="opened anew"):
            store.ingest("A", events_of(messages("2", conversation="old")))
        here._cursor = store._database.cursor
        assert store.ingest("A", events_of(messages("1", "2", conversation="old"))) == (1, 1)


def test_a_look_up_that_is_stopped_half_way_makes_nothing_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []

    def stop_once(cursor: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
        if sql.startswith(known._IDS) and not stopped:
            stopped.append(sql)
            raise duckdb.InterruptException("stopped")
        return query(cursor, sql)

    with a_store(tmp_path) as store:
        store.ingest("local", events_of(messages("a", "b")))
    monkeypatch.setattr(stored, "query", stop_once)
    with a_store(tmp_path) as store:
        with pytest.raises(NotNow, match="could not be read"):
            store.ingest("local", events_of(messages("a", "b", "c")))
        assert store.ingest("local", events_of(messages("a", "b", "c"))) == (1, 2)


@pytest.mark.parametrize("seed", range(6))
def test_it_does_not_matter_how_little_is_remembered(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conversations are looked up whole, in part, or one by one; the answers and rows are the same."""
    monkeypatch.setattr(accept, "KNOWN_BYTES", (0, 3_000)[seed % 2])
    monkeypatch.setattr(known, "WHOLE_EVENTS", (0, 5, 2_000)[seed % 3])
    monkeypatch.setattr(known, "WHOLE_AT_ONCE", (10, 100_000)[seed % 2])
    events = messy_stream(seed, accounts=2, conversations=6, events=200)
    dice = random.Random(seed)
    dice.shuffle(events)
    standing: dict[Key, RawEvent] = {}
    with a_store(tmp_path) as store:
        for place in range(0, len(events), 7):
            for account in ("local", *sorted({account_of(event) for event in events} - {"local"})):
                # One copy of an event at a time: a table has no order.
                mine = {event["eventId"]: event for event in events[place : place + 7] if account_of(event) == account}
                new = take_what_stands(standing, mine.values())
                assert store.ingest(account, events_of(list(mine.values()))) == (new, len(mine) - new)
            if dice.random() < 0.3:
                store.settle()
        expected = derived_rows(standing_copies(standing.values()))
        for account in {account_of(event) for event in events}:
            assert stored_rows(store, account) == of_account(expected, account)
        assert rebuild(store).differences == 0
        assert check(store) == []


def test_what_is_remembered_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts may be long. What is not folded stays, whatever it takes."""
    monkeypatch.setattr(accept, "KNOWN_BYTES", 50_000)
    with a_store(tmp_path, StoreSettings(threads=1)) as store:
        for number in range(60):
            names = [f"{number}-{place}".ljust(120, "x") for place in range(10)]
            assert store.ingest("A", events_of(messages(*names, conversation=f"c{number}"))) == (10, 0)
            if number % 5 == 0:
                store.settle()
        here = store._acceptor.known
        assert here._bytes < 80_000
        assert len(here._heard) < 30
        for number in (0, 30, 59):
            names = [f"{number}-{place}".ljust(120, "x") for place in range(11)]
            assert store.ingest("A", events_of(messages(*names, conversation=f"c{number}"))) == (1, 10)
