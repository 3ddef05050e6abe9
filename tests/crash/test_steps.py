"""Killed at each named step of what changes the store (`handletime.crashpoints`): all of it is there, or nothing.

Covers: crashpoints.
"""

from __future__ import annotations

import random
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from handletime.clock import DAY as DAY_MS
from handletime.crashpoints import VARIABLE
from handletime.keys.keys import create, list_keys
from handletime.keys.sidefile import SideFile
from handletime.upkeep.client import ask
from handletime.upkeep.commands import Check, Checked, Forget, Prune, Rebuild, Removed
from handletime.upkeep.rebuild import Rebuilt
from tests.crash.client import Client, Senders, lines, prepared
from tests.crash.nursery import LIMIT_S, ROOT, Child, Nursery
from tests.crash.test_kill import QUIET, a_key, listening, settle
from tests.messy_streams import BASE
from tests.segments.tables import events_of
from tests.store.worlds import a_store, without_moments, without_queues

WARM_UP = 2
"""So many transactions a server makes before it listens, on a store that it throws away."""
AT_ONCE = {"handletime.store.backlog.FOLD_S": 0.0}
"""What is in the journal is folded without a pause."""
OLD = 2_500
LONG_AGO = 946_684_800_000  # 2000-01-01
AFTER_ALL = 10**12

JOURNAL = ("journal-appended", "journal-numbered", "acknowledged")
FOLD = ("fold-begun", "events-inserted", "before-commit", "committed", "folder-synced", "numbered", "journal-emptied")
INGEST = (*JOURNAL, *FOLD)
CORRECTION = ("replaced-removed",)
REBUILD = ("rows-deleted:1", "rows-deleted:2", "before-commit:3", "committed:3", "folder-synced:3", "numbered:3")
PRUNE = ("conversations-removed:2", "before-commit:1", "committed:1", "numbered:2")
MIGRATION = ("migrating", "migrated")
UP_TO_DATE = ("brought-up-to-date:1", "brought-up-to-date:2")
BACKUP = ("store-copied", "folder-complete", "folder-named")
EXPORT = ("export-begun", "export-written:1", "export-written:2", "export-named:1", "export-named:2", "export-removed")
KEYS = ("file-written:1", "file-named:1", "file-written:2", "file-named:2", "key-inserted")
DELIVERIES = ("deliveries-kept", "deliveries-stored", "deliveries-settled")
"""Tested in `tests/api/test_sources.py`."""
LAKE = ("lake-begun", "lake-committed", "lake-finished")
"""Tested in `tests/lake/spark` and, from Python, in `tests/lake/test_tables.py`."""


def test_every_step_is_one_that_is_tested() -> None:
    named = {
        name
        for path in (ROOT / "src").rglob("*.py")
        for name in re.findall(r'crash_point\("([\w-]+)"\)', path.read_text())
    }
    steps = (
        *INGEST,
        *CORRECTION,
        *REBUILD,
        *PRUNE,
        *MIGRATION,
        *UP_TO_DATE,
        *BACKUP,
        *EXPORT,
        *KEYS,
        *DELIVERIES,
        *LAKE,
    )
    assert named == {step.partition(":")[0] for step in steps}


def killed(child: Child) -> None:
    """It has ended by itself where it should."""
    assert child.wait() == -signal.SIGKILL, child.log.read_text()


@pytest.mark.parametrize("step", INGEST)
def test_ingest(step: str, nursery: Nursery, tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "store"
    record, token = prepared(seed, 2_000 if step in FOLD else 600), a_key(folder)
    serve = ("serve", "--data", folder, "--port", "0")
    # There are fewer folds than requests: what comes meanwhile goes together.
    for number in (1, random.Random(seed).randint(2, 3 if step in FOLD else 9)):
        crash = {VARIABLE: f"{step}:{WARM_UP + number}"}
        server = nursery.start(folder, *serve, env=crash, constants=AT_ONCE)
        senders = Senders(record, listening(server), token, 10**6)
        senders.join()
        killed(server)
        server = nursery.start(folder, *serve)
        settle(record, folder, listening(server), token)
        server.kill()
        server.wait()
    assert step in FOLD or len(record.acknowledged()) < len(record.batches)


@pytest.mark.parametrize("step", CORRECTION)
def test_correction(step: str, nursery: Nursery, tmp_path: Path) -> None:
    """What it replaces is there, or it is: sent again, it is taken once."""
    folder = tmp_path / "store"
    token, serve = a_key(folder), ("serve", "--data", folder, "--port", "0")
    focus: dict[str, object] = {"eventId": "1", "conversationId": "c", "time": BASE, "type": "focused", "agentId": 1}
    corrected = {**focus, "time": BASE + 1, "revision": 1}
    server = nursery.start(folder, *serve, env={VARIABLE: step})
    client = Client(listening(server), token)
    assert client.post(lines([focus])) == (200, {"accepted": 1, "duplicates": 0})
    assert ask(folder, Check(), Checked, QUIET).problems == []  # It is folded.
    with suppress(OSError, HTTPException):
        client.post(lines([corrected]))
    client.close()
    killed(server)
    server = nursery.start(folder, *serve)
    client = Client(listening(server), token)
    assert client.post(lines([corrected, corrected])) == (200, {"accepted": 0, "duplicates": 2})
    client.close()
    assert ask(folder, Rebuild(), Rebuilt, QUIET).differences == 0
    assert ask(folder, Check(), Checked, QUIET).problems == []
    server.kill()
    server.wait()
    with a_store(folder) as store, store.snapshot() as cursor:
        for table in ("events", "focus_moves"):
            assert cursor.execute(f"select time from kept.{table}").fetchall() == [(BASE + 1,)]  # noqa: S608


@pytest.mark.parametrize("step", MIGRATION)
def test_migration(step: str, nursery: Nursery, tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "store"
    record, token = prepared(seed, 60), a_key(folder)
    serve = ("serve", "--data", folder, "--port", "0")
    killed(nursery.start(folder, *serve, env={VARIABLE: step}))
    server = nursery.start(folder, *serve)
    url = listening(server)
    senders = Senders(record, url, token, 10**6)
    assert senders.enough.wait(LIMIT_S)
    senders.join()
    settle(record, folder, url, token)


@pytest.mark.parametrize("older", [without_queues, without_moments])
@pytest.mark.parametrize("step", UP_TO_DATE)
def test_bringing_an_older_store_up_to_date(
    step: str, older: Callable[[duckdb.DuckDBPyConnection], None], nursery: Nursery, tmp_path: Path
) -> None:
    """It goes on where it was killed."""
    folder = tmp_path / "store"
    with a_store(folder) as store:
        store.ingest("local", events_of(stories()))
    with duckdb.connect(str(folder / "store.duckdb")) as file:
        older(file)
    serve = ("serve", "--data", folder, "--port", "0")
    killed(nursery.start(folder, *serve, env={VARIABLE: step}))
    server = nursery.start(folder, *serve)
    listening(server)
    assert ask(folder, Rebuild(), Rebuilt, QUIET).differences == 0
    assert ask(folder, Check(), Checked, QUIET).problems == []
    server.kill()
    server.wait()
    with a_store(folder) as store:
        assert not store.is_outdated


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A store of old conversations, more than go into one transaction, without their derived rows."""
    folder = tmp_path / "store"
    with a_store(folder) as store:
        store.ingest("local", events_of(stories()))
        store.settle()
        with store.snapshot() as cursor:
            cursor.execute("delete from kept.agent_segments")
            cursor.commit()
    return folder


def stories() -> Iterator[dict[str, object]]:
    for number in range(OLD):
        place = {"conversationId": f"old{number}"}
        at = LONG_AGO + 1000 * number
        yield {**place, "eventId": "1", "time": at, "type": "assigned", "agentId": number % 9}
        yield {**place, "eventId": "2", "time": at + 1, "type": "focused", "agentId": number % 9}
        yield {**place, "eventId": "3", "time": at + 2, "type": "closed", "closedBy": "system"}


@pytest.mark.parametrize("step", REBUILD)
def test_rebuild(step: str, nursery: Nursery, large: Path) -> None:
    killed(nursery.start(large, "rebuild", "--data", large, env={VARIABLE: step}))
    found = ask(large, Rebuild(), Rebuilt, QUIET)
    # Whole transactions of a thousand conversations.
    assert found.events == 3 * OLD
    assert found.differences == found.mended
    assert found.mended % 1000 == OLD % 1000
    assert ask(large, Rebuild(dry_run=True), Rebuilt, QUIET).differences == 0
    assert ask(large, Check(), Checked, QUIET).problems == []


@pytest.mark.parametrize("step", PRUNE)
def test_prune(step: str, nursery: Nursery, large: Path) -> None:
    ask(large, Rebuild(), Rebuilt, QUIET)
    killed(nursery.start(large, "prune", "--before", "2020-01-01", "--data", large, env={VARIABLE: step}))
    found = ask(large, Rebuild(dry_run=True), Rebuilt, QUIET)
    assert (found.differences, found.conversations in (OLD, OLD - 2000, 0)) == (0, True)
    assert ask(large, Check(), Checked, QUIET).problems == []
    assert ask(large, Prune(AFTER_ALL), Removed, QUIET).conversations == found.conversations
    assert ask(large, Rebuild(dry_run=True), Rebuilt, QUIET).events == 0


@pytest.mark.parametrize("step", BACKUP)
def test_backup(step: str, nursery: Nursery, large: Path, tmp_path: Path) -> None:
    with SideFile(large, create=False) as side:
        create(side, "local", ["admin"])
        commit = side.last_commit()
    target, again = tmp_path / "copy", tmp_path / "again"
    killed(nursery.start(large, "backup", target, "--data", large, env={VARIABLE: step}))
    assert target.exists() == (step == "folder-named")
    unfinished = list(tmp_path.glob(".copy-*"))
    assert len(unfinished) == (step != "folder-named")
    # The secret key comes last: it was in an unfinished folder as soon as there was one.
    assert [path.name for path in tmp_path.glob(".copy-*/secret.key")] == ["secret.key"] * (step == "folder-complete")
    assert nursery.run(large, "backup", again, "--data", large).code == 0
    assert list((large / "backups").iterdir()) == []
    assert list(tmp_path.glob(".copy-*")) == []
    for each in (target, again):
        if each.exists():
            restored = tmp_path / f"{each.name}-restored"
            assert nursery.run(restored, "restore", each, "--data", restored).code == 0
            with SideFile(restored, create=False) as side:
                assert side.last_commit() == commit
            assert ask(restored, Check(), Checked, QUIET).problems == []


@pytest.mark.parametrize("step", EXPORT)
def test_export(step: str, nursery: Nursery, large: Path, tmp_path: Path) -> None:
    """Whoever reads sees whole files, old or new ones, and the next export mends what is not right."""
    out = tmp_path / "out"
    again = ("export", "--out", out, "--since", "last", "--data", large)
    with a_store(large) as store:
        store.ingest("local", events_of([a_close("alone", LONG_AGO + 5 * DAY_MS)]))
    assert nursery.run(large, *again).code == 0
    before = rows_of_files(out)
    # Rows that change, a day that is new, and one that becomes empty.
    ask(large, Rebuild(), Rebuilt, QUIET)
    ask(large, Forget("local", "alone"), Removed, QUIET)
    with a_store(large) as store:
        store.ingest("local", events_of([a_close("new", LONG_AGO + 9 * DAY_MS), a_close("late", LONG_AGO)]))
    killed(nursery.start(large, *again, env={VARIABLE: step}))
    meanwhile = rows_of_files(out)
    assert nursery.run(large, "export", "--out", tmp_path / "once", "--data", large).code == 0
    expected = rows_of_files(tmp_path / "once")
    assert all(rows in (before.get(place), expected.get(place)) for place, rows in meanwhile.items())
    assert nursery.run(large, *again).code == 0
    assert rows_of_files(out) == expected
    assert not list(out.rglob("*.new"))


def a_close(conversation: str, at: int) -> dict[str, object]:
    return {"conversationId": conversation, "eventId": "1", "time": at, "type": "closed", "closedBy": "system"}


def rows_of_files(folder: Path) -> dict[str, list[dict[str, object]]]:
    """The rows of each file of an export, by its folder. Fails where one is not whole."""
    return {
        str(file.parent.relative_to(folder)): pq.read_table(file, partitioning=None).to_pylist()
        for file in folder.glob("*/*/*/*.parquet")
    }


@pytest.mark.parametrize("step", KEYS)
def test_keys(step: str, nursery: Nursery, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    create = ("keys", "create", "acme", "--data", folder)
    killed(nursery.start(folder, *create, env={VARIABLE: step}))
    assert not folder.exists() or not (folder / "side.sqlite").exists() or listed(folder) == 0
    assert nursery.run(folder, *create).code == 0
    assert listed(folder) == 1
    server = nursery.start(folder, "serve", "--data", folder, "--port", "0")
    listening(server)
    server.kill(signal.SIGTERM)
    assert server.wait() == 0


def listed(folder: Path) -> int:
    """How many keys there are."""
    with SideFile(folder, create=False) as side:
        return len(list_keys(side))
