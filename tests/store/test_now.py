"""The open conversations of an account: all of them, with their events and losses of focus, and nobody else's.

Covers: store/events.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from handletime.segments.derive import derive, derive_prepared
from handletime.store import now
from tests.messy_streams import messy_stream
from tests.segments.tables import events_of, in_order, rows_of
from tests.store.worlds import a_store, account_of, requests_of, standing_copies

TABLES = ("agent_segments", "skill_segments", "handle_time_units")


@pytest.mark.parametrize("seed", range(5))
def test_open_conversations_are_those_that_the_derivation_leaves_open(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few of them are read at a time."""
    at_once = (250_000, 60, 1)[seed % 3]
    monkeypatch.setattr(now, "EVENTS_AT_ONCE", at_once)
    events = messy_stream(seed, events=400, conversations=20, accounts=1 + seed % 3)
    first = standing_copies(events)
    accounts = {account_of(event) for event in first}
    with a_store(tmp_path / "store") as store:
        for request in requests_of(first):
            store.ingest(request.account, request.events)
        found = {account: [*store.reader(account).open_conversations()] for account in accounts}
        assert [*store.reader("nobody").open_conversations()] == []
    derived = derive(events_of(first))
    rows = {name: rows_of(getattr(derived, name)) for name in TABLES}
    for account in accounts:
        is_open = {
            row["conversationId"]
            for row in rows["skill_segments"]
            if row["accountId"] == account and row["end"] is None
        }
        again = [derive_prepared(prepared) for prepared in found[account]]
        assert len(again) == len(is_open) if at_once == 1 else len(again) >= bool(is_open)
        for name in TABLES:
            wanted = [row for row in rows[name] if row["accountId"] == account and row["conversationId"] in is_open]
            assert in_order(row for each in again for row in rows_of(getattr(each, name))) == in_order(wanted)


def test_of_too_many_those_are_given_that_opened_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(now, "OPEN_MAX", 2)
    opened = [
        {"conversationId": name, "eventId": "1", "time": f"2026-11-20T09:0{minute}:00Z", "type": "opened"}
        for minute, name in enumerate(("first", "second", "third"))
    ]
    with a_store(tmp_path / "store") as store:
        store.ingest("local", events_of(opened))
        (prepared,) = store.reader("local").open_conversations()
        assert [store.reader(name).open_left_out() for name in ("local", "another")] == [1, 0]
    assert set(prepared.events["conversationId"].to_pylist()) == {"second", "third"}
