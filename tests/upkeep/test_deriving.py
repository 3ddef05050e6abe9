"""What was stored by an earlier version is derived once more, for what is new in it.

Covers: upkeep/background.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from handletime.errors import NotNow
from handletime.store.reader import StoreReader
from handletime.store.shelf import Shelf
from handletime.store.watch import Stopped, Watch
from handletime.upkeep.check import check
from handletime.upkeep.data_folder import DataFolder
from handletime.upkeep.deriving import DERIVING, Deriving, bring_up_to_date
from handletime.upkeep.rebuild import rebuild
from tests.messy_streams import BASE, RawEvent, messy_stream
from tests.store.worlds import (
    a_store,
    account_of,
    derived_rows,
    of_account,
    requests_of,
    standing_copies,
    stored_rows,
    without_moments,
    without_queues,
)
from tests.upkeep.folders import eventually

QUEUES = "select count(*) from queue_segments"
MOMENTS = "select count(queuedSince) from agent_segments"
Older = Callable[[duckdb.DuckDBPyConnection], None]
OLDER: dict[Older, tuple[list[str], list[str]]] = {
    without_queues: ([QUEUES, MOMENTS], []),
    without_moments: ([MOMENTS], [QUEUES]),
}
"""Older versions: what cannot be asked about for a while, and what can."""


def older_store(folder: Path, events: list[RawEvent], older: Older) -> None:
    """Makes a store of these events as an older version left it."""
    with a_store(folder) as store:
        for request in requests_of(events):
            store.ingest(request.account, request.events)
    with duckdb.connect(str(folder / "store.duckdb")) as file:
        older(file)


@pytest.mark.parametrize("older", OLDER)
@pytest.mark.parametrize("seed", range(1, 30, 7))
def test_an_older_store_becomes_todays_whatever_happens_meanwhile(tmp_path: Path, older: Older, seed: int) -> None:
    """Conversations get more events before it is their turn, or are removed; it is stopped, and asked about."""
    events = standing_copies(messy_stream(seed, accounts=2, events=300, conversations=20))
    account, other = sorted({account_of(event) for event in events})
    older_store(tmp_path, events[:250], older)
    refused, answered = OLDER[older]
    removed = next(str(event["conversationId"]) for event in events if account_of(event) == account)
    with a_store(tmp_path) as store:
        for request in requests_of(events[250:]):
            store.ingest(request.account, request.events)
        store.transact(lambda writer: writer.forget(account, removed))
        for sql in refused:
            with store.reader(account).snapshot() as snapshot, pytest.raises(NotNow, match=r"conversations? left"):
                snapshot.execute(sql)
            with store.reader("nobody").snapshot() as snapshot:
                assert snapshot.execute(sql).fetchall() == [(0,)]
        for sql in (
            *answered,
            "select count(responseMillis) from agent_segments",
            "select count(*) from skill_segments",
        ):
            with store.reader(account).snapshot() as snapshot:
                assert snapshot.execute(sql).fetchall()[0][0]
        stopping = Watch(lambda _what, _done, _of: stopping.stop())
        with pytest.raises(Stopped):
            bring_up_to_date(store, stopping)
        assert store.is_outdated
    with a_store(tmp_path) as store, Shelf(tmp_path / "shelf.sqlite") as shelf:
        with Deriving(DataFolder(tmp_path, store, store.side, shelf)):
            assert eventually(lambda: not store.is_outdated)
        assert bring_up_to_date(store) == 0
        assert stored_rows(store, other) == of_account(derived_rows(events), other)
        assert rebuild(store).differences == 0
        assert check(store) == []


@pytest.mark.parametrize("older", OLDER)
def test_a_state_of_before_the_last_of_them_is_not_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, older: Older
) -> None:
    """A reader took its state, and all conversations got theirs before it looked whether any lacks them."""
    sql = OLDER[older][0][0]
    events = messy_stream(3)
    account = account_of(events[0])
    older_store(tmp_path, events, older)
    with a_store(tmp_path) as store:
        number = StoreReader._number

        def late(reader: StoreReader, cursor: duckdb.DuckDBPyConnection) -> int:
            found = number(reader, cursor)
            bring_up_to_date(store)
            return found

        monkeypatch.setattr(StoreReader, "_number", late)
        with store.reader(account).snapshot() as snapshot, pytest.raises(NotNow, match=r"conversations? left"):
            snapshot.execute(sql)
        with store.reader(account).snapshot() as snapshot:
            assert snapshot.execute(f"{sql} having count(*) > 0").fetchall()


@pytest.mark.parametrize("older", OLDER)
def test_upkeep_derives_them_first(tmp_path: Path, older: Older) -> None:
    """A comparison, or an export, of a store that lacks them would be of half of it."""
    events = messy_stream(3)
    older_store(tmp_path, events, older)
    told: list[tuple[str, int, int]] = []
    with a_store(tmp_path) as store:
        assert rebuild(store, watch=Watch(lambda *step: told.append(step))).differences == 0
        assert not store.is_outdated
    (of,) = {of for what, _done, of in told if what == DERIVING}
    assert (DERIVING, of, of) in told


def test_only_what_lacks_something_is_derived_once_more(tmp_path: Path) -> None:
    """A conversation that nobody was assigned to has no row of the columns that came."""
    events = [*messy_stream(3), {"conversationId": "x", "eventId": "1", "time": BASE, "type": "opened"}]
    older_store(tmp_path, events, without_moments)
    with a_store(tmp_path) as store, store.snapshot() as cursor:
        outdated = cursor.execute("select number from kept.outdated order by number").fetchall()
        assert outdated == cursor.execute("select distinct number from kept.agent_segments order by number").fetchall()
        assert len(outdated) < len(cursor.execute("select number from kept.conversations").fetchall())


def test_a_store_in_the_middle_of_an_earlier_step_takes_both_at_once(tmp_path: Path) -> None:
    """Some of its conversations had no queue segments yet when the next version came."""
    events = standing_copies(messy_stream(3, accounts=1, events=300, conversations=20))
    older_store(tmp_path, events, without_moments)
    with duckdb.connect(str(tmp_path / "store.duckdb")) as file:
        file.execute("insert into kept.without_queues select number, account from kept.conversations where number < 5")
        file.execute("delete from kept.queue_segments where number < 5")
        file.execute("delete from kept.running_queue_segments where number < 5")
    account = account_of(events[0])
    with a_store(tmp_path) as store:
        for sql in (QUEUES, MOMENTS):
            with store.reader(account).snapshot() as snapshot, pytest.raises(NotNow, match=r"conversations? left"):
                snapshot.execute(sql)
        assert bring_up_to_date(store) > 5
        assert stored_rows(store, account) == of_account(derived_rows(events), account)
        assert rebuild(store).differences == 0


def test_a_store_with_all_of_them_has_nothing_to_do(tmp_path: Path) -> None:
    with a_store(tmp_path) as store:
        assert not store.is_outdated
        assert bring_up_to_date(store) == 0
