"""What the store tells of itself, and that it stops queries that take too long."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from handletime.errors import NotNow
from handletime.keys.sidefile import SideFile
from handletime.store.opening import StoreSettings
from handletime.store.store import Store
from tests.messy_streams import BASE
from tests.segments.tables import events_of


class Notes:
    """What it was told."""

    def __init__(self) -> None:
        self.acknowledgements: list[tuple[int, int, int]] = []
        self.folds: list[tuple[int, int]] = []
        self.checkpoint = threading.Event()

    def acknowledged(self, *, accepted: int, duplicates: int, requests: int, seconds: float) -> None:
        assert seconds > 0
        self.acknowledgements.append((accepted, duplicates, requests))

    def folded(self, *, events: int, touched: int, seconds: float) -> None:
        assert seconds > 0
        self.folds.append((events, touched))

    def checkpointed(self, seconds: float) -> None:
        assert seconds > 0
        self.checkpoint.set()


def a_message(conversation: str, number: int) -> dict[str, object]:
    said = {"type": "message", "sentBy": "consumer", "time": BASE + number}
    return {"accountId": "acme", "conversationId": conversation, "eventId": str(number), **said}


def test_its_observer_hears_of_acknowledgements_folds_and_checkpoints(tmp_path: Path) -> None:
    notes = Notes()
    settings = StoreSettings(checkpoint_bytes=256 << 10)
    with SideFile(tmp_path) as side, Store(tmp_path, side, settings, notes) as store:
        store.ingest("acme", events_of([a_message("a", 1), a_message("b", 1)]))
        store.settle()
        store.ingest("acme", events_of([a_message("a", 1), a_message("a", 2)]))
        store.settle()
        assert store.state().log_bytes > 0
        store.ingest("acme", events_of([a_message("c", number) for number in range(3000)]))
        assert notes.checkpoint.wait(30)
        state = store.state()
        assert state.file_bytes > 0
        assert (state.waiting_requests, state.waiting_events, state.oldest_s, state.problem) == (0, 0, 0.0, None)
    assert notes.acknowledgements == [(2, 0, 1), (1, 1, 1), (3000, 0, 1)]
    assert notes.folds == [(2, 2), (1, 1), (3000, 1)]


def test_events_are_stored_whatever_goes_wrong_after_those_before(tmp_path: Path) -> None:
    class Broken(Notes):
        def acknowledged(self, *, accepted: int, duplicates: int, requests: int, seconds: float) -> None:
            super().acknowledged(accepted=accepted, duplicates=duplicates, requests=requests, seconds=seconds)
            raise FileNotFoundError

        def folded(self, *, events: int, touched: int, seconds: float) -> None:
            super().folded(events=events, touched=touched, seconds=seconds)
            raise FileNotFoundError

    notes = Broken()
    with SideFile(tmp_path) as side, Store(tmp_path, side, None, notes) as store:
        for number in range(3):
            assert store.submit("acme", events_of([a_message("a", number)])).result(30) == (1, 0)
            store.settle()
    assert len(notes.acknowledgements) == len(notes.folds) == 3


@pytest.mark.parametrize("error", [NotNow("the disk is full"), RuntimeError("nobody thought of this")])
def test_a_store_that_failed_is_opened_whatever_goes_wrong_meanwhile(error: Exception, tmp_path: Path) -> None:
    with SideFile(tmp_path) as side:
        answers: list[Exception | None] = [None, error, error]

        class Commits:
            set_last_commit = staticmethod(side.set_last_commit)
            last_entry = staticmethod(side.last_entry)
            set_last_entry = staticmethod(side.set_last_entry)

            @staticmethod
            def last_commit() -> int:
                if answers and (broken := answers.pop(0)):
                    raise broken
                return side.last_commit()

        with Store(tmp_path, Commits()) as store:
            store.ingest("acme", events_of([a_message("a", 1)]))
            with pytest.raises(ZeroDivisionError):
                store._database.transact(lambda _writer: 1 // 0)  # type: ignore[type-var]
            for _ in range(500):
                if store.problem() is None:
                    break
                time.sleep(0.02)
            assert not answers
            assert store.ingest("acme", events_of([a_message("a", 2)])) == (1, 0)


def test_what_waits_is_seen_with_its_age(tmp_path: Path) -> None:
    free, entered = threading.Event(), threading.Event()
    with SideFile(tmp_path) as side:

        class SlowEntries:
            last_commit = staticmethod(side.last_commit)
            set_last_commit = staticmethod(side.set_last_commit)
            last_entry = staticmethod(side.last_entry)

            @staticmethod
            def set_last_entry(number: int) -> None:
                entered.set()
                assert free.wait(30)
                side.set_last_entry(number)

        with Store(tmp_path, SlowEntries()) as store:
            first = store.submit("acme", events_of([a_message("a", 1)]))
            assert entered.wait(30)
            second = store.submit("acme", events_of([a_message("a", 2), a_message("a", 3)]))
            state = store.state()
            assert (state.waiting_requests, state.waiting_events) == (2, 3)
            assert state.oldest_s > 0
            free.set()
            assert first.result(30).accepted + second.result(30).accepted == 3


def test_a_query_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    settings = StoreSettings(query_limit_s=0.1)
    with SideFile(tmp_path) as side, Store(tmp_path, side, settings) as store:
        with pytest.raises(NotNow, match="took too long"), store.reader("acme").snapshot() as connection:
            connection.execute("select sum(a.range * b.range) from range(1000000) a, range(1000000) b").fetchall()
        with store.reader("acme").snapshot() as connection:
            assert connection.execute("select count(*) from agent_segments").fetchall() == [(0,)]


def test_time_between_queries_counts_too(tmp_path: Path) -> None:
    """All that is asked for one request, whatever it does meanwhile."""
    settings = StoreSettings(query_limit_s=0.3)
    with SideFile(tmp_path) as side, Store(tmp_path, side, settings) as store:
        store.ingest("acme", events_of([a_message("a", 1)]))
        reader = store.reader("acme")
        assert reader.prepared("a") is not None
        with reader.snapshot() as connection:
            time.sleep(0.4)
            with pytest.raises(NotNow, match="took too long"):
                connection.execute("select 1")
        for ask in (
            lambda: reader.prepared("a"),
            lambda: reader.focus(1, 0, 1),
            lambda: [*reader.open_conversations()],
        ):
            with pytest.raises(NotNow, match="took too long"):
                ask()
        assert store.reader("acme").prepared("a") is not None
