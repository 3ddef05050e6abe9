"""A disk that takes nothing: told in a sentence, nothing half stored, and all is there when it can be written again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from handletime.keys.keys import create
from handletime.upkeep.check import check
from tests.cli.test_serve import COMMAND
from tests.crash.client import Client, prepared, resend
from tests.crash.nursery import Nursery
from tests.crash.test_kill import a_key, listening, settle
from tests.crash.trace import traced
from tests.messy_streams import BASE
from tests.segments.tables import events_of
from tests.store.worlds import a_store

FOLDERS = ("--data", "{store}")
COMMANDS = (
    ("serve", *FOLDERS, "--port", "0"),
    ("forget", "--account", "local", "--conversation", "c", *FOLDERS),
)
MORE_COMMANDS = (
    ("serve", "--data", "{place}/empty"),
    ("backup", "{place}/copy", *FOLDERS),
    ("keys", "create", "a", "--data", "{place}/empty"),
    ("keys", "create", "local", *FOLDERS),
    ("keys", "list", *FOLDERS),
    ("check", *FOLDERS),
    ("rebuild", *FOLDERS),
    ("prune", "--before", "2030-01-01", *FOLDERS),
    ("export", "--out", "{place}/out", *FOLDERS),
)
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
ALL_CALLS = "write,pwrite64,fdatasync,fsync,ftruncate,unlink,rename"


def on_a_read_only_disk(place: Path) -> list[str]:
    """What a command begins with for which this folder is on a disk that cannot be written to."""
    mapped = ["--map-root-user"] if os.geteuid() else []
    return ["unshare", "--mount", *mapped, "sh", "-c", READ_ONLY, str(place)]


def can_be_made(place: Path) -> bool:
    return subprocess.run([*on_a_read_only_disk(place), "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.requires_command("unshare")
@pytest.mark.parametrize("commands", [COMMANDS, pytest.param(MORE_COMMANDS, marks=pytest.mark.long)])
def test_every_command_says_that_the_disk_is_read_only(commands: tuple[tuple[str, ...], ...], tmp_path: Path) -> None:
    """Also where there is no store yet; and nothing has changed afterwards."""
    if not can_be_made(tmp_path):  # in some containers; there the injected failures below have to do
        return
    folder = tmp_path / "store"
    store = a_store(folder)
    with store:
        create(store.side, "local")
        event = {"eventId": "e", "conversationId": "c", "time": BASE, "type": "opened"}
        store.ingest("local", events_of([event]))
    (tmp_path / "empty").mkdir()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for command in commands:
        arguments = [part.format(store=folder, place=tmp_path) for part in command]
        done = subprocess.run(
            [*on_a_read_only_disk(tmp_path), *map(str, COMMAND), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 1, (command, done.stderr)
        assert "cannot be written to: it is another user's, or its disk is read-only" in done.stderr, command
        assert "Traceback" not in done.stderr, command
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    with a_store(folder) as again:
        assert check(again) == []


@pytest.mark.requires_command("strace")
def test_a_disk_that_becomes_read_only_loses_nothing(nursery: Nursery, tmp_path: Path, seed: int) -> None:
    """From the twelfth call of each thread on. It is a 503, and never a 200 for what is not there."""
    folder = tmp_path / "store"
    record, token = prepared(seed, 300), a_key(folder)
    with a_store(folder):
        pass
    paths = [f"{name}{end}" for name in ("side.sqlite", "journal.sqlite") for end in ("", "-wal")]
    paths += ["store.duckdb", "store.duckdb.wal"]
    only = [word for name in paths for word in ("-P", str(folder / name))]
    inject = (*only, "-e", f"inject={ALL_CALLS}:error=EROFS:when=12+")
    refused = 0
    with traced(
        folder, "serve", "--data", folder, "--port", "0", strace=("-e", f"trace={ALL_CALLS}", *inject)
    ) as server:
        client = Client(server.address(), token)
        for batch in record.batches:
            batch.sent = True
            status, answer = client.post(batch.body)
            batch.acknowledged = status == 200
            assert status in (200, 503), answer
            refused += status == 503
            if refused == 3:
                break
        client.close()
        log = server.log.read_text()
        assert server.kill().count("(INJECTED)") >= 1
    assert refused >= 1
    assert any(batch.acknowledged for batch in record.batches)
    assert "the journal cannot be written; nothing of 1 requests is acknowledged" in log
    record.batches = [batch for batch in record.batches if batch.sent]
    again = nursery.start(folder, "serve", "--data", folder, "--port", "0")
    url = listening(again)
    settle(record, folder, url, token)
    client = Client(url, token)
    assert resend(client, record.batches)[0] == 0
    client.close()
    again.kill(signal.SIGTERM)
    assert again.wait() == 0
    shutil.rmtree(folder)
