"""Looking after a store while it is in use: nothing is lost, and all answers are of one moment."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx
import pytest

from handletime.errors import NotNow
from handletime.keys.keys import create
from handletime.store import database
from handletime.store.store import Store
from handletime.upkeep.check import check
from handletime.upkeep.client import ask
from handletime.upkeep.commands import Check, Checked, Forget, Rebuild, Removed
from handletime.upkeep.rebuild import Rebuilt
from handletime.upkeep.removing import forget
from tests.cli.test_serve import serving
from tests.crash.client import Record, prepared, send_at_once
from tests.crash.test_kill import QUIET, settle
from tests.messy_streams import BASE, RawEvent
from tests.segments.tables import events_of
from tests.store.worlds import StoreAndSide, a_store

FORGOTTEN = "conversation-that-is-forgotten"


def test_a_rebuild_that_mends_while_events_come_in(tmp_path: Path, seed: int) -> None:
    """Half of the events are there, with all their rows wrong; the others come while it puts them right."""
    folder = tmp_path / "store"
    record = prepared(seed, 700)
    half = len(record.batches) // 2
    store = a_store(folder)
    with store:
        token = create(store.side, "local", ["admin"]).token
        for batch in record.batches[:half]:
            store.ingest("local", events_of(batch.events))
            batch.sent = batch.acknowledged = True
        spoil(store)
    late = Record(record.batches[half:])
    with serving(folder) as server:
        senders = send_at_once(late, server.url, token, 3)
        assert senders.enough.wait(60)
        mended = ask(folder, Rebuild(), Rebuilt, QUIET)
        senders.join()
        assert mended.differences > 0
        assert mended.mended > 0
        assert all(batch.acknowledged for batch in record.batches)
        settle(record, folder, server.url, token)
        assert server.stop() == 0


def spoil(store: StoreAndSide) -> None:
    """Takes away or changes derived rows, losses and what is known of agents."""
    with store.snapshot() as cursor:
        for change in (
            "delete from kept.agent_segments",
            "update kept.skill_segments set sequence = sequence + 1",
            "delete from kept.losses",
            "delete from kept.agents",
            "delete from kept.focus_moves where arrival % 3 = 0",
        ):
            cursor.execute(change)
        cursor.commit()


def talks(count: int) -> list[RawEvent]:
    """Conversations of one answered message each; one of them is that which will be forgotten."""
    story: tuple[tuple[str, RawEvent], ...] = (
        ("opened", {"skillId": 1}),
        ("assigned", {"agentId": 7}),
        ("closed", {"closedBy": "agent"}),
    )
    return [
        {"eventId": type_, "conversationId": name, "time": BASE + 1000 * number + place, "type": type_, **fields}
        for number, name in enumerate([FORGOTTEN, *(f"c{number}" for number in range(count))])
        for place, (type_, fields) in enumerate(story)
    ]


def test_a_forget_while_an_answer_is_read(tmp_path: Path) -> None:
    """Whoever asked before goes on reading what was there, to the end; the log has nothing of the conversation."""
    folder = tmp_path / "store"
    with a_store(folder) as store:
        store.ingest("local", events_of(talks(5_000)))
        with store.reader("local").snapshot() as snapshot:
            rows = snapshot.execute("select conversationId from agent_segments order by start desc")
            found = rows.fetchmany(100)
            forgotten = threading.Thread(target=forget, args=(store, "local", FORGOTTEN))
            forgotten.start()
            wait_until_gone(store)
            while more := rows.fetchmany(100):
                found += more
        forgotten.join(60)
        assert not forgotten.is_alive()
        assert leaves_no_trace(folder)
        assert len(found) == 5_001
        assert (FORGOTTEN,) in found
        assert check(store) == []


def test_a_forget_beside_who_reads_for_long_is_done_and_says_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export may take minutes. The conversation is gone at once, and from the log when the export has ended."""
    monkeypatch.setattr(database, "CHECKPOINT_S", 0.3)
    folder = tmp_path / "store"
    with a_store(folder) as store:
        store.ingest("local", events_of(talks(20)))
        with store.snapshot() as cursor:
            cursor.execute("select count(*) from kept.events").fetchall()
            with pytest.raises(NotNow, match="still in the write-ahead log"):
                forget(store, "local", FORGOTTEN)
            assert store.reader("local").prepared(FORGOTTEN) is None
        for _ in range(300):
            if leaves_no_trace(folder):
                break
            time.sleep(0.05)
        assert leaves_no_trace(folder)


def wait_until_gone(store: Store) -> None:
    for _ in range(1000):
        if store.reader("local").prepared(FORGOTTEN) is None:
            return
        time.sleep(0.01)
    raise AssertionError("it is still there")


@pytest.mark.parametrize("pace_s", [0.0, 0.002])
def test_a_forget_while_a_server_sends_a_large_answer(tmp_path: Path, pace_s: float) -> None:
    """However slowly it is read: no 500, never half an answer."""
    folder = tmp_path / "store"
    store = a_store(folder)
    with store:
        token = create(store.side, "local", ["admin"]).token
        store.ingest("local", events_of(talks(5_000)))
    pause = threading.Event()
    times = f"from={BASE - 1}&to={BASE + 6 * 86_400_000}"
    url = f"/api/account/local/agent-segments?source=test&format=csv&limit=10000&{times}"
    with serving(folder) as server, httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        with client.stream("GET", server.url + url) as answer:
            assert answer.status_code == 200, answer.read()
            body = b""
            for part in answer.iter_bytes(16_384):
                if not body:
                    assert ask(folder, Forget("local", FORGOTTEN), Removed, QUIET).conversations == 1
                    assert leaves_no_trace(folder)
                body += part
                pause.wait(pace_s)
        assert body.count(b"\n") == 1 + 5_001
        assert FORGOTTEN.encode() in body
        later = client.get(server.url + url)
        assert later.status_code == 200
        assert later.content.count(b"\n") == 1 + 5_000
        assert FORGOTTEN.encode() not in later.content
        assert ask(folder, Check(), Checked, QUIET).problems == []
        assert server.stop() == 0
        assert '"status":500' not in server.log.read_text()


def leaves_no_trace(folder: Path) -> bool:
    """Whether the write-ahead log has nothing of the conversation."""
    log = folder / "store.duckdb.wal"
    return not log.exists() or FORGOTTEN.encode() not in log.read_bytes()
