"""What mends a broken store: an earlier backup, and all events sent once more. Afterwards every row is as it was."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from handletime.upkeep.client import ask
from handletime.upkeep.commands import Check, Checked, Rebuild
from handletime.upkeep.rebuild import Rebuilt
from tests.crash.client import ACCOUNT, Batch, Client, Record, prepared
from tests.crash.nursery import Nursery
from tests.crash.test_kill import QUIET, a_key, listening
from tests.store.worlds import Tables, a_store, stored_rows


@dataclass
class Kept:
    """A store of a server that was killed, an earlier backup of it, what was sent, and the rows that follow."""

    folder: Path
    backup: Path
    record: Record
    token: str
    rows: Tables


@pytest.fixture(scope="module")
def kept(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("kept") / "store"
    record, token = prepared(11, 600), a_key(folder)
    server = nursery.start(folder, "serve", "--data", folder, "--port", "0")
    url = listening(server)
    half = len(record.batches) // 2
    assert sent(url, token, record.batches[:half]) == (events_in(record.batches[:half]), 0)
    backup = folder.with_name("backup")
    assert nursery.run(backup, "backup", backup, "--data", folder).code == 0
    assert sent(url, token, record.batches[half:]) == (events_in(record.batches[half:]), 0)
    server.kill()
    server.wait()
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.sock"))
    with a_store(copy) as store:
        rows = stored_rows(store, ACCOUNT)
    assert all(rows.values())
    return Kept(folder, backup, record, token, rows)


def sent(url: str, token: str, batches: list[Batch]) -> tuple[object, object]:
    """Sends events in one request: how many were new, and how many were there."""
    client = Client(url, token)
    status, answer = client.post(b"".join(batch.body for batch in batches))
    client.close()
    assert status == 200, answer
    return answer["accepted"], answer["duplicates"]


def events_in(batches: list[Batch]) -> int:
    return sum(len(batch.events) for batch in batches)


def break_it(folder: Path, name: str) -> None:
    """Damages a file so that the server refuses to start."""
    path = folder / name
    content = path.read_bytes()
    match name:
        case "store.duckdb.wal":
            path.unlink()
        case "secret.key":
            path.write_bytes(content[:-2] + (b"0" if content[-2:-1] != b"0" else b"1") + b"\n")
        case _:
            path.write_bytes(bytes(100) + content[100:])


@pytest.mark.parametrize("name", ["store.duckdb", "store.duckdb.wal", "side.sqlite", "secret.key"])
def test_a_backup_and_all_events_again_give_the_same_rows(
    name: str, kept: Kept, nursery: Nursery, tmp_path: Path
) -> None:
    broken, mended = tmp_path / "broken", tmp_path / "mended"
    shutil.copytree(kept.folder, broken, ignore=shutil.ignore_patterns("*.sock"))
    break_it(broken, name)
    for command in (("serve", "--port", "0"), ("check",)):
        refused = nursery.run(broken, *command, "--data", broken)
        said = refused.log.read_text()
        assert refused.code == 1, said
        assert "Traceback" not in said
        # The loss of a log shows in its store, which lacks what was acknowledged.
        assert str(broken / name.removesuffix(".wal")) in said.splitlines()[-1]
        assert name in said.splitlines()[-1]
    assert nursery.run(mended, "restore", kept.backup, "--data", mended).code == 0
    server = nursery.start(mended, "serve", "--data", mended, "--port", "0")
    url = listening(server)
    half = len(kept.record.batches) // 2
    counts = events_in(kept.record.batches[half:]), events_in(kept.record.batches[:half])
    assert sent(url, kept.token, kept.record.batches) == counts
    found = ask(mended, Rebuild(dry_run=True), Rebuilt, QUIET)
    assert (found.events, found.differences) == (sum(counts), 0)
    assert ask(mended, Check(), Checked, QUIET).problems == []
    server.kill(signal.SIGTERM)
    assert server.wait() == 0
    with a_store(mended) as store:
        assert stored_rows(store, ACCOUNT) == kept.rows


def test_a_key_whose_row_was_changed_is_refused_named_and_got_over(
    kept: Kept, nursery: Nursery, tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    shutil.copytree(kept.folder, folder, ignore=shutil.ignore_patterns("*.sock"))
    key_id = kept.token.split("_")[1]
    with closing(sqlite3.connect(folder / "side.sqlite", isolation_level=None)) as db:
        assert db.execute("update keys set account = 'rival' where id = ?", (key_id,)).rowcount == 1
    server = nursery.start(folder, "serve", "--data", folder, "--port", "0")
    url = listening(server)
    wrong = f"{kept.token[:-1]}{'0' if kept.token[-1] != '0' else '1'}"
    answers = [
        httpx.get(f"{url}/api/account/{account}/conversations/x/explain", headers={"Authorization": f"Bearer {token}"})
        for account in (ACCOUNT, "rival")
        for token in (kept.token, wrong)
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
    said = server.log.read_text()
    assert f"key {key_id} is refused" in said
    assert kept.token not in said
    (problem,) = ask(folder, Check(), Checked, QUIET).problems
    assert f"key {key_id} is refused" in problem
    assert nursery.run(folder.with_name("revoke"), "keys", "revoke", key_id, "--data", folder).code == 0
    assert ask(folder, Check(), Checked, QUIET).problems == []
    server.kill()
    server.wait()
