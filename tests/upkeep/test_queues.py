"""Queue segments for what was stored before there were any.

Covers: upkeep/background.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from handletime.errors import NotNow
from handletime.store.reader import StoreReader
from handletime.store.shelf import Shelf
from handletime.store.watch import Stopped, Watch
from handletime.upkeep.check import check
from handletime.upkeep.data_folder import DataFolder
from handletime.upkeep.queues import DerivingQueues, derive_queues
from handletime.upkeep.rebuild import rebuild
from tests.messy_streams import RawEvent, messy_stream
from tests.store.worlds import (
    a_store,
    account_of,
    derived_rows,
    of_account,
    requests_of,
    standing_copies,
    stored_rows,
    without_queues,
)
from tests.upkeep.folders import eventually

COUNT = "select count(*) from queue_segments"


def older_store(folder: Path, events: list[RawEvent]) -> None:
    """Makes a store of these events as it was before there were queue segments."""
    with a_store(folder) as store:
        for request in requests_of(events):
            store.ingest(request.account, request.events)
    with duckdb.connect(str(folder / "store.duckdb")) as file:
        without_queues(file)


@pytest.mark.parametrize("seed", range(1, 30, 7))
def test_an_older_store_gets_them_whatever_happens_meanwhile(tmp_path: Path, seed: int) -> None:
    """Conversations get more events before it is their turn, or are removed; it is stopped, and asked about."""
    events = standing_copies(messy_stream(seed, accounts=2, events=300, conversations=20))
    account, other = sorted({account_of(event) for event in events})
    older_store(tmp_path, events[:250])
    removed = next(str(event["conversationId"]) for event in events if account_of(event) == account)
    with a_store(tmp_path) as store:
        for request in requests_of(events[250:]):
            store.ingest(request.account, request.events)
        store.transact(lambda writer: writer.forget(account, removed))
        with store.reader(account).snapshot() as snapshot, pytest.raises(NotNow, match=r"conversations? left"):
            snapshot.execute(COUNT)
        with store.reader(account).snapshot() as snapshot:
            assert snapshot.execute("select count(*) > 0 from skill_segments").fetchall() == [(True,)]
        with store.reader("nobody").snapshot() as snapshot:
            assert snapshot.execute(COUNT).fetchall() == [(0,)]
        stopping = Watch(lambda _what, _done, _of: stopping.stop())
        with pytest.raises(Stopped):
            derive_queues(store, stopping)
        assert store.lacks_queues
    with a_store(tmp_path) as store, Shelf(tmp_path / "shelf.sqlite") as shelf:
        with DerivingQueues(DataFolder(tmp_path, store, store.side, shelf)):
            assert eventually(lambda: not store.lacks_queues)
        assert derive_queues(store) == 0
        assert stored_rows(store, other) == of_account(derived_rows(events), other)
        assert rebuild(store).differences == 0
        assert check(store) == []


def test_a_state_of_before_the_last_of_them_is_not_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader took its state, and all conversations got theirs before it looked whether any lacks them."""
    events = messy_stream(3)
    account = account_of(events[0])
    older_store(tmp_path, events)
    with a_store(tmp_path) as store:
        number = StoreReader._number

        def late(reader: StoreReader, cursor: duckdb.DuckDBPyConnection) -> int:
            found = number(reader, cursor)
            derive_queues(store)
            return found

        monkeypatch.setattr(StoreReader, "_number", late)
        with store.reader(account).snapshot() as snapshot, pytest.raises(NotNow, match=r"conversations? left"):
            snapshot.execute(COUNT)
        with store.reader(account).snapshot() as snapshot:
            assert snapshot.execute(f"{COUNT} having count(*) > 0").fetchall()


def test_upkeep_derives_them_first(tmp_path: Path) -> None:
    """A comparison, or an export, of a store that lacks them would be of half of it."""
    events = messy_stream(3)
    older_store(tmp_path, events)
    told: list[tuple[str, int, int]] = []
    with a_store(tmp_path) as store:
        assert rebuild(store, watch=Watch(lambda *step: told.append(step))).differences == 0
        assert not store.lacks_queues
    (of,) = {of for what, _done, of in told if what == "deriving queue segments"}
    assert ("deriving queue segments", of, of) in told


def test_a_store_with_all_of_them_has_nothing_to_do(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        assert not store.lacks_queues
        assert derive_queues(store) == 0
