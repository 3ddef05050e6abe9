"""What a process that was killed has spilled to disk is gone when the folder is opened again; nothing else is."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from handletime.keys.keys import create
from handletime.keys.sidefile import SideFile
from handletime.upkeep.data_folder import open_data_folder
from tests.crash.client import Client, prepared
from tests.crash.nursery import ROOT, Nursery
from tests.crash.test_kill import listening
from tests.segments.tables import events_of
from tests.store.worlds import a_store

SPILLING = """if True:
    import os, signal, sys
    from pathlib import Path
    from handletime.store.opening import StoreSettings
    from handletime.store.watch import Watch
    from handletime.upkeep.rebuild import rebuild
    from tests.store.worlds import a_store

    def told(what, done, of):
        if what == "deriving":
            os.kill(os.getpid(), signal.SIGKILL)

    store = a_store(Path(sys.argv[1]), StoreSettings(memory_bytes=64 << 20, threads=1))
    with store.cursor() as cursor:
        cursor.execute("create temp table much as select range, hash(range) as h from range(8_000_000)")
        rebuild(store, memory=1 << 20, watch=Watch(told))
    """


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose process was killed while the database and a rebuild had rows on disk."""
    folder = tmp_path_factory.mktemp("killed") / "store"
    folder.mkdir(mode=0o700)
    events = [event for batch in prepared(5, 3000).batches for event in batch.events]
    with a_store(folder) as store:
        store.ingest("local", events_of(events))
    command = [sys.executable, "-c", SPILLING, str(folder)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert sum(path.stat().st_size for path in (folder / "tmp").iterdir()) > 10 << 20
    assert [path for path in folder.glob(".handletime-*/**/*") if path.is_file()]
    return folder


EXPORTING = """if True:
    import os, signal, sys
    from pathlib import Path
    from handletime.upkeep.exports import Range, export
    from handletime.upkeep.rebuild import rebuild
    from tests.store.worlds import a_store

    def told(what, done, of):
        if what == "exporting agent segments":
            os.kill(os.getpid(), signal.SIGKILL)

    folder, out = map(Path, sys.argv[1:])
    with a_store(folder) as store, store.snapshot() as cursor:
        export(cursor, out, store.side, Range(), told)
    """


def test_an_export_that_was_killed_is_gone_when_the_store_is_opened(killed: Path, tmp_path: Path) -> None:
    """All events of all accounts lay in a hidden folder, for ever."""
    folder = Path(shutil.copytree(killed, tmp_path / "store"))
    command = [sys.executable, "-c", EXPORTING, str(folder), str(tmp_path / "out")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    (unfinished,) = tmp_path.glob(".out-*")
    assert list(unfinished.rglob("*.parquet"))
    with open_data_folder(folder):
        assert not unfinished.exists()
    assert not list((folder / "backups").iterdir())


@pytest.fixture
def spilled(killed: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(killed, tmp_path / "store"))


def left(folder: Path) -> list[str]:
    """What stands in the folder for rows that are spilled."""
    return sorted(str(path.relative_to(folder)) for name in ("tmp/*", ".handletime-*") for path in folder.glob(name))


def test_a_server_takes_away_what_one_that_was_killed_has_spilled(spilled: Path, nursery: Nursery) -> None:
    (spilled / "tmp" / "notes.txt").write_text("somebody else's")
    token = a_key_of(spilled)
    server = nursery.start(spilled, "serve", "--data", spilled, "--port", "0")
    url = listening(server)
    assert left(spilled) == ["tmp/notes.txt"]
    client = Client(url, token)
    batches = prepared(5, 3000).batches
    count = sum(len(batch.events) for batch in batches)
    assert client.post(b"".join(batch.body for batch in batches)) == (200, {"accepted": 0, "duplicates": count})
    client.close()
    server.kill()
    server.wait()


def test_a_command_takes_it_away_too(spilled: Path, nursery: Nursery) -> None:
    checked = nursery.run(spilled, "check", "--data", spilled)
    assert checked.code == 0, checked.log.read_text()
    assert left(spilled) == []


def test_a_folder_elsewhere_that_others_may_use_is_left_alone(spilled: Path, nursery: Nursery, tmp_path: Path) -> None:
    (spilled / "tmp").rename(tmp_path / "elsewhere")
    (spilled / "tmp").symlink_to(tmp_path / "elsewhere")
    before = left(spilled)
    assert nursery.run(spilled, "check", "--data", spilled).code == 0
    assert left(spilled) == [name for name in before if name.startswith("tmp/")]


def test_what_cannot_be_removed_is_told_and_does_no_harm(spilled: Path, nursery: Nursery) -> None:
    (spilled / "tmp" / "duckdb_temp_1_0_folder").mkdir()
    server = nursery.start(spilled, "serve", "--data", spilled, "--port", "0")
    listening(server)
    assert left(spilled) == ["tmp/duckdb_temp_1_0_folder"]
    assert "cannot be removed" in server.log.read_text()
    server.kill()
    server.wait()


def a_key_of(folder: Path) -> str:
    """The token of a new key of a store that is there."""
    with SideFile(folder, create=False) as side:
        return create(side, "local", ["admin"]).token
