"""Copies of a store, and putting them back."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from handletime.errors import InputError, StoreError
from handletime.upkeep.backups import Manifest, restore
from handletime.upkeep.client import ask
from handletime.upkeep.command_server import CommandServer
from handletime.upkeep.commands import Backup, Forget, Removed
from handletime.upkeep.data_folder import DataFolder
from handletime.upkeep.rebuild import rebuild
from tests.messy_streams import BASE
from tests.segments.tables import events_of
from tests.store.worlds import a_store, stored_rows
from tests.upkeep.folders import QUIET, some_events

# --- copies


def test_a_backup_has_one_moment_and_can_be_put_back(data: DataFolder, tmp_path: Path) -> None:
    """Also while events come in: what it has is what was there at its last commit."""
    going = threading.Event()
    stop = threading.Event()

    def ingest() -> None:
        for number in range(10_000):
            if stop.is_set():
                return
            event = {"eventId": "e", "conversationId": f"new{number}", "time": BASE + number, "type": "opened"}
            data.store.ingest("local", events_of([event]))
            going.set()

    thread = threading.Thread(target=ingest)
    thread.start()
    assert going.wait(30)
    with CommandServer(data):
        made = ask(data.folder, Backup(str(tmp_path / "copy")), Manifest, QUIET)
    stop.set()
    thread.join(30)
    other = tmp_path / "other"
    other.mkdir()
    assert restore(tmp_path / "copy", other) == made
    store = a_store(other)
    with store:
        assert store.side.last_commit() == made.commit
        assert rebuild(store).differences == 0
        new = store.side.last_entry() - 1  # Each entry since the first brought one conversation.
        assert rebuild(store).conversations == 12 + new
        old, now = stored_rows(data.store, "local"), stored_rows(store, "local")
        assert now["agent_segments"] == old["agent_segments"]
        assert len(now["skill_segments"]) == 12 + new
    for path in [tmp_path / "copy", *(tmp_path / "copy").iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or path.name == "backup.json"


@pytest.mark.parametrize(
    ("damage", "progress"),
    [
        (lambda copy: (copy / "backup.json").unlink(), "is no backup"),
        (lambda copy: (copy / "backup.json").write_text("{}"), "cannot be read, or is of a newer"),
        (lambda copy: (copy / "side.sqlite").unlink(), "the backup is not complete"),
        (lambda copy: os.truncate(copy / "store.duckdb", 20_000), "has 20000 bytes"),
        (lambda copy: garbage(copy / "store.duckdb"), "cannot be read"),
    ],
)
def test_what_is_no_whole_backup_is_not_put_back(
    damage: Callable[[Path], object], progress: str, data: DataFolder, tmp_path: Path
) -> None:
    ask_alone = Backup(str(tmp_path / "copy"))
    with CommandServer(data):
        ask(data.folder, ask_alone, Manifest, QUIET)
    damage(tmp_path / "copy")
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(InputError, match=progress):
        restore(tmp_path / "copy", other)
    assert {path.name for path in other.iterdir()} <= {"lock", "backups"}
    assert not list(other.glob("backups/.*"))


def garbage(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def test_a_backup_is_not_put_over_a_store(data: DataFolder, tmp_path: Path) -> None:
    with CommandServer(data):
        ask(data.folder, Backup(str(tmp_path / "copy")), Manifest, QUIET)
    with pytest.raises(StoreError, match="in use"):
        restore(tmp_path / "copy", data.folder)
    other = tmp_path / "other"
    other.mkdir()
    restore(tmp_path / "copy", other)
    with pytest.raises(StoreError, match="move it away first"):
        restore(tmp_path / "copy", other)


def test_a_restored_store_has_nothing_of_what_was_forgotten(data: DataFolder, tmp_path: Path) -> None:
    """The store's own file may keep it in blocks that are free; a copy of it has none of these."""
    data.store.ingest("local", events_of([{**event, "conversationId": "PERSON"} for event in some_events(1)]))
    data.store._database.checkpoint()
    with CommandServer(data):
        ask(data.folder, Forget("local", "PERSON"), Removed, QUIET)
        assert not (log := data.folder / "store.duckdb.wal").exists() or b"PERSON" not in log.read_bytes()
        ask(data.folder, Backup(str(tmp_path / "copy")), Manifest, QUIET)
    assert not [path for path in (tmp_path / "copy").iterdir() if b"PERSON" in path.read_bytes()]
