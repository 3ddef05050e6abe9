"""Nothing is acknowledged before it is synced, names of files too: a disk that keeps only what was synced has it.

kill −9 cannot show this: the system keeps what a dead process has written.
"""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from handletime.errors import NotNow
from handletime.keys.keys import create
from handletime.store.backlog import STUCK_MAX_S
from handletime.upkeep.client import ask
from handletime.upkeep.commands import Forget, Removed
from tests.crash.client import ACCOUNT, Batch, Client, prepared, resend
from tests.crash.nursery import Nursery
from tests.crash.test_kill import QUIET, a_key, listening, settle
from tests.crash.trace import CALLS, Said, told, traced
from tests.segments.tables import events_of
from tests.store.worlds import a_store

pytestmark = pytest.mark.requires_command("strace")
TRACE = ("-e", f"trace={CALLS}")
CHECKPOINTS = 3


def test_what_is_ingested_is_synced_before_the_answer(tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "store"
    record, token = prepared(seed, 400), a_key(folder)
    with a_store(folder):
        pass
    names = names_in(folder)
    batches = iter(record.batches)
    sent = 0
    # Where something is folded in the background, its files are not yet synced, and it stands in the journal.
    with traced(folder, "serve", "--data", folder, "--port", "0", strace=TRACE, folds=False) as server:
        client = Client(server.address(), token)
        # Each checkpoint folds the journal, and takes the write-ahead log away; the next fold makes a new one.
        for _ in range(1 + CHECKPOINTS):
            for _ in range(3):
                assert resend(client, [next(batches)])[1] == 0
                sent += 1
            ask(folder, Forget(ACCOUNT, "nothing of this name"), Removed, QUIET)
        client.close()
        answers = list(told(server.end(signal.SIGTERM), folder, names, ("HTTP/1.1 200",)))
    assert len(answers) == sent
    assert {kept(answer) for answer in answers} == {frozenset()}
    # The logs were made, written and synced: the rule had something to hold.
    assert {"journal.sqlite-wal", "store.duckdb.wal"} <= answers[-1].made


def kept(said: Said) -> frozenset[str]:
    """What must not be lost and was not yet synced.

    Not the numbers of the last commit and entry: they are written without a sync, and a store may be ahead of them.
    Shared memory and rollback journals of SQLite are rebuilt, sessions and made files can be.
    """
    mine = ("store.duckdb", "secret.key", "side.sqlite", "journal.sqlite")
    done = ("side.sqlite-wal", "side.sqlite-shm", "side.sqlite-journal", "journal.sqlite-shm")
    return frozenset(name for name in said.unsynced if name.startswith(mine) and name not in done)


def test_a_new_key_is_synced_before_it_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir(mode=0o700)
    with traced(folder, "keys", "create", "acme", "--json", "--data", folder, strace=TRACE) as command:
        shown = list(told(command.end(), folder, set(), ('"token"', '\\"token\\"', "{")))
    assert shown
    assert {"side.sqlite", "secret.key"} <= shown[-1].made
    # Here the write-ahead log counts: the key is in it.
    lost = {name for name in shown[-1].unsynced if not name.endswith(("-shm", "-journal"))}
    assert not lost


def test_a_backup_is_synced_before_it_is_told(tmp_path: Path) -> None:
    folder, target = tmp_path / "a" / "store", tmp_path / "a" / "copy"
    folder.parent.mkdir()
    store = a_store(folder)
    with store:
        create(store.side, ACCOUNT)
        store.ingest(ACCOUNT, events_of(prepared(5, 200).batches[0].events))
    names = names_in(tmp_path / "a")
    with traced(folder, "backup", target, "--data", folder, strace=TRACE) as command:
        shown = list(told(command.end(), tmp_path / "a", names, ("everything up to commit",)))
    assert len(shown) == 1
    assert {"copy"} <= shown[0].made
    assert not {name for name in shown[0].unsynced if name.startswith("copy")}


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# --- calls that fail

FAILURES = [
    (call, error, file, number)
    for call, error, file, most in (
        ("fdatasync", "EIO", "store.duckdb.wal", 8),
        ("write", "ENOSPC", "store.duckdb.wal", 8),
        ("fdatasync", "EIO", "journal.sqlite-wal", 4),
        ("pwrite64", "ENOSPC", "journal.sqlite-wal", 8),
        ("pwrite64", "EIO", "journal.sqlite-wal", 8),
        ("fdatasync", "EIO", "journal.sqlite", 1),
        ("pwrite64", "ENOSPC", "journal.sqlite", 2),
        ("pwrite64", "ENOSPC", "store.duckdb", 8),
        ("write", "EROFS", "store.duckdb.wal", 3),
        ("pwrite64", "EROFS", "store.duckdb", 3),
        ("fdatasync", "EIO", "store.duckdb", 4),
        ("pwrite64", "ENOSPC", "side.sqlite-wal", 8),
        ("fsync", "EIO", "", 4),
    )
    for number in range(1, most + 1)
]
"""The n-th call of each thread on a file; "" is the folder."""


def test_a_sync_that_fails_is_told_and_nothing_is_lost(nursery: Nursery, tmp_path: Path, seed: int) -> None:
    fails("fdatasync", "EIO", "store.duckdb.wal", 3, nursery, tmp_path, seed, events=120)


@pytest.mark.long
@pytest.mark.parametrize(("call", "error", "file", "number"), FAILURES)
def test_a_call_that_fails_is_told_and_nothing_is_lost(
    call: str, error: str, file: str, number: int, nursery: Nursery, tmp_path: Path, seed: int
) -> None:
    fails(call, error, file, number, nursery, tmp_path, seed)


def fails(
    call: str, error: str, file: str, number: int, nursery: Nursery, tmp_path: Path, seed: int, events: int = 350
) -> None:
    """The n-th call of each thread fails. What cannot be stored is a 503; the server goes on by itself."""
    folder = tmp_path / "store"
    record, token = prepared(seed, events), a_key(folder)
    with a_store(folder):
        pass
    inject = ("-P", str(folder / file), "-e", f"inject={call}:error={error}:when={number}")
    refused = 0
    with traced(folder, "serve", "--data", folder, "--port", "0", strace=("-e", f"trace={call}", *inject)) as server:
        url = server.address_or_end()
        if url is None:
            # It failed at the start, which is told; and then it starts.
            assert "Error: " in server.log.read_text()
            refused, record.batches = 1, []
        client = Client(url or "http://nowhere", token)
        for place, batch in enumerate(record.batches):
            refused += tries(client, batch, url or "")
            refused += asks(url or "", token)
            # Each thread's calls are counted for themselves, and syncs of a checkpoint are few.
            if place % 3 == 2 or call == "fdatasync":
                refused += checkpoint(folder)
        client.close()
        # What it still has to do at its end may fail as well.
        trace = server.kill()
    assert trace.count("(INJECTED)") >= 1
    assert refused >= 1
    server_again = nursery.start(folder, "serve", "--data", folder, "--port", "0")
    settle(record, folder, listening(server_again), token)
    server_again.kill()


AT_ONCE = 3
RETRY_S = 1.0


def tries(client: Client, batch: Batch, url: str) -> int:
    """Sends a batch until it is acknowledged; gives how often it was refused."""
    batch.sent = True
    for refused in range(20):
        status, answer = client.post(batch.body)
        if status == 200:
            batch.acknowledged = True
            return refused
        assert status == 503, answer
        assert answer["message"]
        wait_until_ready(url)
        if refused >= AT_ONCE:
            time.sleep(RETRY_S)  # As the answer asks; ready comes a moment before room does.
    raise AssertionError("the server does not recover")


def asks(url: str, token: str) -> int:
    """Asks about the account, which has the journal folded; gives how often that was refused."""
    path = f"{url}/operations/api/account/{ACCOUNT}/msgagentsegments?v=1&timeframe=60"
    status = httpx.get(path, headers={"Authorization": f"Bearer {token}"}, timeout=60).status_code
    assert status in (200, 503)
    if status == 503:
        wait_until_ready(url)
    return int(status == 503)


def checkpoint(folder: Path) -> int:
    """Has the write-ahead log worked into the file; gives how often that was refused."""
    with suppress(NotNow):
        ask(folder, Forget(ACCOUNT, "nothing of this name"), Removed, QUIET)
        return 0
    return 1


def wait_until_ready(url: str) -> None:
    """What could not be folded is tried again after 5 s, then 10, then 20 (`backlog.STUCK_S`)."""
    until = time.monotonic() + STUCK_MAX_S
    while time.monotonic() < until:
        if httpx.get(f"{url}/readyz").status_code == 200:
            return
        time.sleep(0.02)
    raise AssertionError("the server does not recover")
