"""Older things out, one conversation forgotten: nothing else changes.

Covers: store/removing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from handletime.store.watch import Stopped, Watch
from handletime.upkeep.check import check
from handletime.upkeep.rebuild import rebuild
from handletime.upkeep.removing import count_older, forget, prune
from tests.messy_streams import messy_stream
from tests.plain_reading import event_of
from tests.segments.tables import events_of
from tests.store.worlds import Tables, a_store, derived_rows, standing_copies, stored_rows
from tests.upkeep.folders import SEEDS, a_filled_store


def without(tables: Tables, removed: set[str]) -> Tables:
    return {name: [row for row in rows if row["conversationId"] not in removed] for name, rows in tables.items()}


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
