"""Everything anew, older things out, one conversation forgotten: nothing else changes."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from handletime.store.store import Store
from handletime.store.watch import Stopped, Watch
from handletime.upkeep import mending
from handletime.upkeep.check import check
from handletime.upkeep.rebuild import rebuild
from handletime.upkeep.removing import count_older, forget, prune
from tests.messy_streams import RawEvent, messy_stream
from tests.plain_reading import event_of
from tests.seeds import mostly_long
from tests.segments.tables import events_of
from tests.store.worlds import SMALL, Tables, a_store, derived_rows, standing_copies, stored_rows

SEEDS = mostly_long(range(0, 60, 3), 6)


def a_filled_store(folder: Path, seed: int) -> tuple[Store, list[RawEvent]]:
    events = standing_copies(messy_stream(seed, accounts=1, events=200, conversations=9))
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
        rebuilt = rebuild(store)
        assert (rebuilt.events, rebuilt.differences, rebuilt.shown) == (len(events), 0, [])
        rows = stored_rows(store, "local")
        assert rebuilt.rows == {name: len(rows[name]) for name in rows if rows[name]}
        assert check(store) == []


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
        rebuilt = rebuild(store)
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
            assert forget(store, "local", conversation)
            removed.add(conversation)
            assert stored_rows(store, "local") == without(expected, removed)
            assert not forget(store, "local", conversation)
            assert store.reader("local").prepared(conversation) is None
        assert rebuild(store).differences == 0
        assert check(store) == []
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
        assert prune(store, before) == len(old)
        assert stored_rows(store, "local") == expected
        assert prune(store, before) == 0
        assert rebuild(store).differences == 0
        assert check(store) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_events_go_on_rightly_after_a_removal(seed: int, tmp_path: Path) -> None:
    """Late ones too, right beside the losses that the removed conversation left."""
    events = standing_copies(messy_stream(seed, accounts=1, events=240, conversations=6))
    removed = str(events[0]["conversationId"])
    of_removed = [event for event in events if event["conversationId"] == removed]
    others = [event for event in events if event["conversationId"] != removed]
    late = [event for place, event in enumerate(others) if place % 3 == 0]
    with a_store(tmp_path) as store:
        store.ingest("local", events_of([*of_removed, *(event for event in others if event not in late)]))
        forget(store, "local", removed)
        store.ingest("local", events_of(late[:20]))
        store.ingest("local", events_of(late[20:]))
        assert rebuild(store).differences == 0


# --- mending


@pytest.mark.parametrize("part_events", mostly_long([250_000, 20], 1))
@pytest.mark.parametrize(
    "damage",
    [
        "delete from kept.agent_segments",
        "insert into kept.handle_time_units from kept.handle_time_units",
        "update kept.skill_segments set skillId = skillId - sign(skillId)",
        "update kept.agent_segments set responses = responses + 1",
        "delete from kept.losses where arrival % 2 = 0",
        "update kept.losses set lost_time = lost_time + 1",
        "delete from kept.focus_moves where number is not null and arrival % 3 = 0",
        "update kept.focus_moves set number = number + 1 where arrival % 2 = 0",
        "delete from kept.agents",
    ],
)
def test_a_rebuild_puts_right_what_differs(damage: str, part_events: int, tmp_path: Path) -> None:
    """With everything derived gone wrong, also what the next events rest on; at once, or bit by bit."""
    events = standing_copies(messy_stream(9, accounts=1, events=240, conversations=9))
    late = events[::4]
    with a_store(tmp_path, replace(SMALL, part_events=part_events)) as store:
        store.ingest("local", events_of(event for event in events if event not in late))
        forget(store, "local", str(events[0]["conversationId"]))
        before = stored_rows(store, "local")
        with store._database.snapshot() as cursor:
            cursor.execute(damage)
            cursor.commit()
        found = rebuild(store)
        assert (found.mended, rebuild(store, mend=True).differences) == (0, found.differences)
        assert rebuild(store).differences == 0
        assert check(store) == []
        assert stored_rows(store, "local") == before
        store.ingest("local", events_of(late))
        assert rebuild(store).differences == 0
        assert check(store) == []


@pytest.mark.parametrize("transactions", range(4))
def test_a_rebuild_that_was_interrupted_starts_over(transactions: int, tmp_path: Path) -> None:
    store, _events = a_filled_store(tmp_path, 3)
    steps: list[str] = []

    def told(what: str, _done: int, _of: int) -> None:
        if what.startswith("mending"):
            steps.append(what)
            if len(steps) > transactions:
                watch.stop()

    watch = Watch(told)
    with store:
        before = stored_rows(store, "local")
        with store._database.snapshot() as cursor:
            cursor.execute("delete from kept.agent_segments")
            cursor.execute("delete from kept.focus_moves")
            cursor.commit()
        with patch.object(mending, "AT_ONCE", 3), pytest.raises(Stopped):
            rebuild(store, mend=True, watch=watch)
        assert rebuild(store, mend=True).differences > 0
        assert rebuild(store).differences == 0
        assert check(store) == []
        assert stored_rows(store, "local") == before


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("update kept.conversations set key = key + 1 where number = 0", "have a wrong key"),
        ("insert into kept.events from kept.events where arrival = 3", "events are stored more than once"),
        ("delete from kept.conversations where number = 0", "the directory does not have"),
        ("delete from kept.agents", "not known to have any"),
        ("update kept.meta set arrivals = 3", "newer than the last commit"),
        ("delete from kept.focus_moves where number = 1", "not among the focus moves"),
        ("insert into kept.losses values (0, 0, 0, 0)", "losses of focus are of no event"),
        ("update kept.agent_segments set totalHandleTimeMillis = -1", "another handle time than their units"),
        ("insert into kept.skill_segments from kept.skill_segments", "skill segments are stored more than once"),
        ("insert into kept.accounts from kept.accounts", "numbers are of more than one account"),
    ],
)
def test_a_check_names_what_is_broken(damage: str, problem: str, tmp_path: Path) -> None:
    store, _events = a_filled_store(tmp_path, 3)
    with store:
        assert check(store) == []
        with store._database.snapshot() as cursor:
            cursor.execute(damage)
            cursor.commit()
        assert [found for found in check(store) if problem in found]


def test_pruning_stops_between_two_transactions_and_goes_on(tmp_path: Path) -> None:
    store, _events = a_filled_store(tmp_path, 6)
    named: list[str] = []

    @contextmanager
    def removing(names: Mapping[str, list[str]]) -> Iterator[None]:
        yield
        named.extend(names["local"])
        if len(named) == 4:
            watch.stop()

    watch = Watch()
    with store:
        conversations = count_older(store, 1 << 60)
        assert conversations > 4
        with pytest.raises(Stopped):
            prune(store, 1 << 60, at_once=2, removing=removing, watch=watch)
        assert count_older(store, 1 << 60) == conversations - 4
        assert check(store) == []
        assert prune(store, 1 << 60, at_once=2, removing=removing) == conversations - 4
        assert len(set(named)) == len(named) == conversations
        assert check(store) == []


def test_a_query_can_be_stopped(tmp_path: Path) -> None:
    store, _events = a_filled_store(tmp_path, 3)
    watch = Watch()
    with store:
        timer = threading.Timer(0.3, watch.stop)
        timer.start()
        with pytest.raises(Stopped), store.snapshot(watch) as cursor:
            cursor.execute("select count(*) from range(1000000000000)").fetchall()
        timer.join()
        assert check(store) == []
