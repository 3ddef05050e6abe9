"""Everything anew, older things out, one conversation forgotten: nothing else changes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from handletime.errors import InputError, StoreError
from handletime.store.backups import restore
from handletime.store.sidefile import SideFile
from handletime.store.store import Store
from tests.messy_streams import RawEvent, messy_stream
from tests.plain_reading import event_of
from tests.segments.tables import events_of
from tests.store.worlds import Tables, a_store, derived_rows, first_copies, stored_rows

SEEDS = range(0, 60, 3)


def a_filled_store(folder: Path, seed: int) -> tuple[Store, list[RawEvent]]:
    events = first_copies(messy_stream(seed, accounts=1, events=200, conversations=9))
    store = a_store(folder)
    for place in range(0, len(events), 70):
        store.ingest("local", events_of(events[place : place + 70]))
    return store, events


def without(tables: Tables, removed: set[str]) -> Tables:
    return {name: [row for row in rows if row["conversationId"] not in removed] for name, rows in tables.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rebuild_finds_the_rows_that_are_stored(seed: int, tmp_path: Path) -> None:
    store, events = a_filled_store(tmp_path, seed)
    with store:
        rebuilt = store.rebuild()
        assert (rebuilt.events, rebuilt.differences, rebuilt.shown) == (len(events), 0, [])
        rows = stored_rows(store, "local")
        assert rebuilt.rows == {name: len(rows[name]) for name in rows if rows[name]}
        assert store.check() == []


@pytest.mark.parametrize(
    "damage",
    [
        "update kept.agent_segments set agentMessages = agentMessages + 1 where started = {started}",
        "delete from kept.agent_segments where started = {started}",
        "insert into kept.agent_segments from kept.agent_segments where started = {started}",
        'update kept.agent_segments set "end" = "start" - interval 1 millisecond where started = {started}',
    ],
)
def test_a_rebuild_names_what_differs(damage: str, tmp_path: Path) -> None:
    store, _events = a_filled_store(tmp_path, 3)
    with store, store._database.snapshot() as cursor:
        query = "select started, conversationId from kept.agent_segments order by all limit 1"
        ((started, conversation),) = cursor.execute(query).fetchall()
        cursor.execute(damage.format(started=started))
        cursor.commit()
        rebuilt = store.rebuild()
        assert {difference.conversation_id for difference in rebuilt.shown} == {conversation}


@pytest.mark.parametrize("seed", SEEDS)
def test_forgetting_conversations_changes_no_other(seed: int, tmp_path: Path) -> None:
    store, events = a_filled_store(tmp_path, seed)
    expected = derived_rows(events)
    removed: set[str] = set()
    conversations = sorted({str(event["conversationId"]) for event in events})
    random.Random(seed).shuffle(conversations)
    with store:
        for conversation in conversations[:-1]:
            assert store.forget("local", conversation)
            removed.add(conversation)
            assert stored_rows(store, "local") == without(expected, removed)
            assert not store.forget("local", conversation)
            assert store.reader("local").prepared(conversation) is None
        assert store.rebuild().differences == 0
        assert store.check() == []
        assert store.reader("local").holds_all(conversations[-1:])
        assert not store.reader("local").holds_all(conversations[-2:])


@pytest.mark.parametrize("seed", SEEDS)
def test_pruning_takes_whole_conversations_by_their_last_event(seed: int, tmp_path: Path) -> None:
    store, events = a_filled_store(tmp_path, seed)
    last: dict[str, int] = {}
    for event in events:
        time = event_of(event, "local").time
        last[str(event["conversationId"])] = max(time, last.get(str(event["conversationId"]), time))
    before = sorted(last.values())[len(last) // 2]
    old = {conversation for conversation, time in last.items() if time < before}
    with store:
        expected = without(stored_rows(store, "local"), old)
        assert store.prune(before) == len(old)
        assert stored_rows(store, "local") == expected
        assert store.prune(before) == 0
        assert store.rebuild().differences == 0
        assert store.check() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_events_go_on_rightly_after_a_removal(seed: int, tmp_path: Path) -> None:
    """Late ones too, right beside the losses that the removed conversation left."""
    events = first_copies(messy_stream(seed, accounts=1, events=240, conversations=6))
    removed = str(events[0]["conversationId"])
    of_removed = [event for event in events if event["conversationId"] == removed]
    others = [event for event in events if event["conversationId"] != removed]
    late = [event for place, event in enumerate(others) if place % 3 == 0]
    with a_store(tmp_path) as store:
        store.ingest("local", events_of([*of_removed, *(event for event in others if event not in late)]))
        store.forget("local", removed)
        store.ingest("local", events_of(late[:20]))
        store.ingest("local", events_of(late[20:]))
        assert store.rebuild().differences == 0


# --- copies


def test_a_backup_has_the_store_of_one_moment_and_can_be_put_back(tmp_path: Path) -> None:
    store, events = a_filled_store(tmp_path / "store", 5)
    with store:
        before = stored_rows(store, "local")
        number = store.backup(tmp_path / "copy.duckdb")
        store.ingest("local", events_of([{"eventId": "new", "conversationId": "new", "time": 1, "type": "opened"}]))
        with pytest.raises(InputError, match="there already"):
            store.backup(tmp_path / "copy.duckdb")
    other = tmp_path / "other"
    other.mkdir()
    with SideFile(other) as side:
        assert restore(tmp_path / "copy.duckdb", other, side) == number == side.last_commit()
    with a_store(other) as store:
        assert stored_rows(store, "local") == before
        assert store.rebuild().differences == 0
        assert store.ingest("local", events_of(events)).accepted == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.duckdb", "other", "store"]


def test_a_backup_is_not_put_over_a_store(tmp_path: Path) -> None:
    store, _events = a_filled_store(tmp_path / "store", 5)
    with store, SideFile(tmp_path / "store") as side:
        store.backup(tmp_path / "copy.duckdb")
        with pytest.raises(StoreError, match="in use"):
            restore(tmp_path / "copy.duckdb", tmp_path / "store", side)
    with SideFile(tmp_path / "store") as side, pytest.raises(StoreError, match="move it away first"):
        restore(tmp_path / "copy.duckdb", tmp_path / "store", side)


def test_something_else_is_not_put_back(tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"x" * 10_000)
    with SideFile(tmp_path) as side, pytest.raises(StoreError, match="cannot be read as a backup"):
        restore(tmp_path / "copy", tmp_path, side)
