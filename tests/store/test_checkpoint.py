"""Working the write-ahead log into the store's file while others write."""

from __future__ import annotations

import threading
from pathlib import Path

import duckdb
import pytest

from handletime.upkeep.removing import forget
from tests.messy_streams import messy_stream
from tests.segments.tables import events_of
from tests.store.worlds import a_store, standing_copies

HELD_S = 0.3


def test_a_conversation_is_forgotten_while_another_transaction_writes(tmp_path: Path) -> None:
    events = standing_copies(messy_stream(3, accounts=1, events=200, conversations=9))
    asked, other, *_ = sorted({str(event["conversationId"]) for event in events})
    with a_store(tmp_path) as store:
        store.ingest("local", events_of(events))
        with store._database.snapshot() as writer:
            writer.execute("update kept.agents set agentId = agentId")
            with store._database.cursor() as alone, pytest.raises(duckdb.TransactionException):
                alone.execute("checkpoint")
            held = threading.Timer(HELD_S, writer.commit)
            held.start()
            assert forget(store, "local", asked)
            held.join()
            log = tmp_path / "store.duckdb.wal"
            assert not log.exists() or asked.encode() not in log.read_bytes()
            assert store.reader("local").prepared(asked) is None
            assert store.reader("local").prepared(other) is not None
