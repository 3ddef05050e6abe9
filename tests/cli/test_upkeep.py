"""The upkeep as a user runs it: real processes, beside a server and without one, and interrupted."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from handletime.keys.keys import READING, create
from handletime.keys.sidefile import SideFile
from handletime.segments.parts import Progress
from handletime.upkeep.client import ask
from handletime.upkeep.commands import Check, Checked, Prune, Rebuild, Removed
from handletime.upkeep.rebuild import Rebuilt
from tests.cli.test_serve import COMMAND, SEGMENTS, bearer, example, handletime, lines, serving, wait_until
from tests.seeds import mostly_long
from tests.segments.tables import events_of, in_order, rows_of
from tests.store.worlds import a_store

QUIET: Progress = lambda _what, _done, _of: None  # noqa: E731
BEFORE = 1_577_836_800_000
TABLES = ("agent_segments", "skill_segments", "handle_time_units")
OLD = 5_000
LONG_AGO = 946_684_800_000  # 2000-01-01
IDENTICAL = "13 events of 1 conversation give 8 rows\nAll rows are identical with those that are stored.\n"
FORGET = ("forget", "--account", "acme", "--conversation", "c1")


def stories(conversations: int) -> Iterator[dict[str, object]]:
    """Short conversations of long ago."""
    for number in range(conversations):
        place = {"conversationId": f"old{number}"}
        at = LONG_AGO + 1000 * number
        yield {**place, "eventId": "1", "time": at, "type": "assigned", "agentId": 7}
        yield {**place, "eventId": "2", "time": at + 1, "type": "focused", "agentId": 7}
        yield {**place, "eventId": "3", "time": at + 2, "type": "closed", "closedBy": "system"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with one of the examples, that ended just now, and a key."""
    folder = tmp_path / "store"
    store = a_store(folder)
    with store:
        create(store.side, "acme")
        store.ingest("acme", events_of(example("04-bot-to-human")[0]))
    return folder


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A store with many old conversations, all of whose derived rows are gone."""
    folder = tmp_path / "store"
    with a_store(folder) as store:
        store.ingest("local", events_of(stories(OLD)))
        with store.snapshot() as cursor:
            cursor.execute("delete from kept.agent_segments")
            cursor.commit()
    return folder


def upkeep(*arguments: object, folder: Path, code: int = 0) -> str:
    """Runs a command on a folder; gives what it said, all of it."""
    done = handletime(*arguments, "--data", folder, code=code)
    return done.stdout + done.stderr


def rows_under(folder: Path, table: str) -> list[dict[str, object]]:
    """All rows of a table that was exported."""
    return in_order(row for file in folder.glob(f"{table}/*/*/*.parquet") for row in rows_of(pq.read_table(file)))


def test_every_command_works_without_a_server(folder: Path, tmp_path: Path) -> None:
    assert upkeep("rebuild", "--memory", "256MiB", folder=folder) == IDENTICAL
    assert upkeep("check", folder=folder) == "Nothing is broken.\n"
    without = upkeep("backup", tmp_path / "without", "--without-secret-key", folder=folder)
    assert "does not hold secret.key" in without
    assert not (tmp_path / "without" / "secret.key").exists()
    assert "put it into the folder, too" in upkeep("restore", tmp_path / "without", folder=tmp_path / "restored")
    assert "has a store" in upkeep("restore", tmp_path / "without", folder=folder, code=1)
    assert upkeep("prune", "--before", "2020-01-01", folder=folder) == "0 conversations removed\n"
    assert " 0 events, " in upkeep("export", "--out", tmp_path / "out", "--to", "2020-01-01", folder=folder)
    assert upkeep(*FORGET, folder=folder) == "1 conversation removed\n"


def test_every_command_works_beside_a_server_and_what_is_put_back_answers_alike(folder: Path, tmp_path: Path) -> None:
    with SideFile(folder, create=False) as side:
        key = {"token": create(side, "acme", READING).token}
    with serving(folder) as server:
        answer = httpx.get(server.url + SEGMENTS, headers=bearer(key)).json()["segments"]
        assert upkeep("rebuild", folder=folder) == IDENTICAL
        assert upkeep("check", folder=folder) == "Nothing is broken.\n"
        assert "holds secret.key" in upkeep("backup", tmp_path / "copy", folder=folder)
        assert "copy is there already" in upkeep("backup", tmp_path / "copy", folder=folder, code=1)
        assert "is in use" in upkeep("restore", tmp_path / "copy", folder=folder, code=1)
        export_and_derive(folder, tmp_path)
        counted = upkeep("prune", "--before", "2100-01-01", "--dry-run", folder=folder)
        assert counted == "1 conversation would be removed\n"
        assert upkeep(*FORGET, folder=folder) == "1 conversation removed\n"
        assert "account acme has no conversation c1" in upkeep(*FORGET, folder=folder, code=1)
        assert httpx.get(server.url + SEGMENTS, headers=bearer(key)).json()["segments"] == []
        assert server.stop() == 0
    assert "everything up to commit 1" in upkeep("restore", tmp_path / "copy", folder=tmp_path / "restored")
    with serving(tmp_path / "restored") as server:
        assert httpx.get(server.url + SEGMENTS, headers=bearer(key)).json()["segments"] == answer
        assert server.stop() == 0


def export_and_derive(folder: Path, tmp_path: Path) -> None:
    """What is exported is what `derive` makes of the exported events."""
    out = tmp_path / "out"
    progress = upkeep("export", "--out", out, folder=folder)
    assert progress.startswith(
        f"{out}: 13 events, 2 agent segments, 2 skill segments, 2 queue segments, 2 handle time units, in "
    )
    assert "has an export already" in upkeep("export", "--out", out, folder=folder, code=1)
    events = sorted(map(str, out.glob("events/account=acme/day=*/part-0.parquet")))
    handletime("derive", *events, "--out", tmp_path / "derived")
    for table in TABLES:
        assert rows_under(out, table) == in_order(rows_of(pq.read_table(tmp_path / "derived" / f"{table}.parquet")))


def test_an_export_is_by_account_day_and_range(tmp_path: Path) -> None:
    folder, day = tmp_path / "store", 86_400_000
    running = {"conversationId": "runs", "eventId": "1", "time": LONG_AGO + day, "type": "assigned", "agentId": 9}
    with a_store(folder) as store:
        for account in ("acme", "00123"):
            store.ingest(account, events_of([*stories(3), running]))
            moved = [{**event, "time": event["time"] + 3 * day, "conversationId": "later"} for event in stories(1)]  # type: ignore[operator]
            store.ingest(account, events_of(moved))
    assert "in 18 files" in upkeep("export", "--out", tmp_path / "all", folder=folder)
    days = {
        "events": ("2000-01-01", "2000-01-02", "2000-01-04"),
        "agent_segments": ("2000-01-01", "2000-01-04", "running"),
        "skill_segments": ("2000-01-01", "2000-01-04", "running"),
    }
    assert {str(path.parent.relative_to(tmp_path / "all")) for path in (tmp_path / "all").rglob("*.parquet")} == {
        f"{table}/account={account}/day={day}" for table in days for account in ("00123", "acme") for day in days[table]
    }
    chosen = ("export", "--account", "00123", "--from", "2000-01-02", "--to", "2000-01-04")
    upkeep(*chosen, "--out", tmp_path / "some", folder=folder)
    assert [row["conversationId"] for row in rows_under(tmp_path / "some", "events")] == ["runs"]
    assert [(row["accountId"], row["end"]) for row in rows_under(tmp_path / "some", "agent_segments")] == [
        ("00123", None)
    ]


def test_an_export_again_says_what_it_wrote(folder: Path, tmp_path: Path) -> None:
    """Beside a server and without one, in one folder."""
    again = ("export", "--out", tmp_path / "out", "--since", "last")
    first = upkeep(*again, folder=folder).splitlines()
    assert first[0].startswith(f"{tmp_path / 'out'}: 13 events, 2 agent segments, ")
    assert first[1] == "5 of 5 files were written anew, 0 removed"
    with SideFile(folder, create=False) as side:
        key = {"token": create(side, "acme", ["admin"]).token}
    with serving(folder) as server:
        assert upkeep(*again, folder=folder).endswith("\n0 of 5 files were written anew, 0 removed\n")
        event = {"eventId": "1", "conversationId": "c9", "time": LONG_AGO, "type": "opened"}
        answer = httpx.post(f"{server.url}/api/account/acme/events", content=lines([event]), headers=bearer(key))
        assert answer.json() == {"accepted": 1, "duplicates": 0}
        assert upkeep(*again, folder=folder).endswith("\n3 of 8 files were written anew, 0 removed\n")
        assert len(pq.read_table(tmp_path / "out" / "events")) == 14
        assert upkeep(*FORGET, folder=folder) == "1 conversation removed\n"
    assert upkeep(*again, folder=folder).endswith("\n0 of 3 files were written anew, 5 removed\n")
    assert "of all accounts: ask for the same" in upkeep(*again, "--account", "acme", folder=folder, code=1)
    assert "'yesterday' is not 'last'" in upkeep("export", "--out", "x", "--since", "yesterday", folder=folder, code=2)


def test_a_rebuild_names_what_differs_and_puts_it_right(large: Path) -> None:
    progress = upkeep("rebuild", "--dry-run", folder=large, code=1)
    assert "5,000 differences" in progress
    assert "  agent_segments  local old0: 0 stored, 1 derived\n" in progress
    assert "without --dry-run they are put right" in progress
    assert "5,000 conversations put right" in upkeep("rebuild", folder=large, code=1)
    assert "identical" in upkeep("rebuild", folder=large)


def test_a_check_names_what_is_broken(folder: Path) -> None:
    with a_store(folder) as store, store.snapshot() as cursor:
        cursor.execute("delete from kept.focus_moves")
        cursor.commit()
    progress = upkeep("check", folder=folder, code=1)
    assert "focus events are not among the focus moves" in progress
    assert "put right" in upkeep("rebuild", folder=folder, code=1)
    assert upkeep("check", folder=folder) == "Nothing is broken.\n"


def test_blocks_that_are_damaged_are_told(large: Path) -> None:
    """DuckDB has a checksum for each; whatever is read of it is refused."""
    file = large / "store.duckdb"
    with file.open("r+b") as blocks:
        for place in range(20_000, file.stat().st_size, 50_000):
            blocks.seek(place)
            blocks.write(b"damage" * 100)
    for command in ("check", "rebuild"):
        assert "cannot be" in upkeep(command, folder=large, code=1)


def test_a_damaged_side_file_or_shelf_is_told(folder: Path) -> None:
    (folder / "shelf.sqlite").write_bytes(b"damage" * 1000)
    assert "shelf.sqlite" in upkeep("check", folder=folder, code=1)
    assert "Nothing is broken" in upkeep("check", folder=folder)
    (folder / "side.sqlite").write_bytes(b"damage" * 1000)
    assert "side.sqlite" in upkeep("check", folder=folder, code=1)


# --- interrupted


def commits(folder: Path) -> int:
    with SideFile(folder, create=False) as side:
        return side.last_commit()


@contextmanager
def begun(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A command that runs, and is killed where the test has not seen it end."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_commit(folder: Path, number: int, process: subprocess.Popen[str]) -> None:
    """Waits until a command has written so much."""
    for _ in range(6000):
        if commits(folder) >= number:
            return
        assert process.poll() is None
        threading.Event().wait(0.01)
    raise AssertionError("nothing was written")


def interrupted(folder: Path, arguments: list[object], stop: Callable[[subprocess.Popen[str]], None]) -> str:
    """Starts a command, stops it, or what does it, after its first transactions; gives what it said."""
    before = commits(folder)
    with begun(*arguments, "--data", folder) as process:
        wait_for_commit(folder, before + 2, process)
        stop(process)
        _, progress = process.communicate(timeout=60)
        assert process.returncode in (1, 130, -signal.SIGKILL)
    assert "Traceback" not in progress
    return progress


def put_right(folder: Path) -> None:
    """What was interrupted is neither done nor half done: the same command goes on, and then all is well."""
    assert 0 < ask(folder, Rebuild(), Rebuilt, QUIET).mended < OLD
    assert ask(folder, Rebuild(), Rebuilt, QUIET).differences == 0
    assert ask(folder, Check(), Checked, QUIET).problems == []


@pytest.mark.parametrize("how", mostly_long([signal.SIGINT, signal.SIGKILL], 1))
def test_an_interrupted_rebuild_starts_over(how: signal.Signals, large: Path) -> None:
    progress = interrupted(large, ["rebuild"], lambda process: process.send_signal(how))
    assert how == signal.SIGKILL or "nothing was left half done" in progress
    put_right(large)


@pytest.mark.parametrize("how", mostly_long([signal.SIGKILL, signal.SIGTERM], 1))
def test_a_server_that_ends_in_the_middle_leaves_nothing_half_done(how: signal.Signals, large: Path) -> None:
    with serving(large) as server:
        progress = interrupted(large, ["rebuild"], lambda _process: os.kill(server.process.pid, how))
        assert "nothing is left half done, run it again" in progress
        server.process.wait(60)
    assert (large / "admin.sock").exists() == (how == signal.SIGKILL)
    with serving(large) as server:
        put_right(large)
        assert server.stop() == 0


def test_pruning_goes_on_after_the_server_was_killed(large: Path) -> None:
    ask(large, Rebuild(), Rebuilt, QUIET)
    with serving(large) as server:
        before = commits(large)
        with begun("prune", "--before", "2020-01-01", "--data", large) as process:
            wait_for_commit(large, before + 1, process)
            server.stop(signal.SIGKILL)
            process.communicate(timeout=60)
    assert 0 < ask(large, Prune(BEFORE, dry_run=True), Removed, QUIET).conversations < OLD
    assert ask(large, Check(), Checked, QUIET).problems == []
    ask(large, Prune(BEFORE), Removed, QUIET)
    assert ask(large, Rebuild(), Rebuilt, QUIET).events == 0


def test_ctrl_c_stops_what_the_server_does(large: Path) -> None:
    with serving(large) as server:
        progress = interrupted(large, ["rebuild"], lambda process: process.send_signal(signal.SIGINT))
        assert "nothing was left half done" in progress
        wait_until(lambda: "admin command rebuild failed" in server.log.read_text())
        put_right(large)


@pytest.mark.parametrize(
    ("arguments", "code", "progress"),
    [
        (["rebuild", "--data", "nowhere"], 1, "nowhere has no store"),
        (["rebuild", "--data", "nowhere", "--memory", "1"], 2, "at least 64MiB"),
        (["check"], 2, "--data"),
        (["forget", "--data", "nowhere", "--account", "a", "--conversation", "\udcff"], 1, "must be UTF-8"),
        (["prune", "--data", "nowhere"], 2, "--before"),
        (["prune", "--data", "nowhere", "--before", "yesterday"], 2, "is no time"),
        (["prune", "--data", "nowhere", "--before", "1795820410"], 2, "1795820410 looks like seconds; epoch millise"),
        (["export", "--data", "nowhere", "--out", "x", "--from", "0"], 2, "0 is before 1 January 2000"),
        (["forget", "--data", "nowhere", "--account", "a"], 2, "--conversation"),
        (["backup", "--data", "nowhere"], 2, "TARGET"),
        (["restore", "nothing", "--data", "new"], 1, "nothing is no backup"),
        (["export", "--data", "nowhere", "--out", "x", "--from", "2026-01-02", "--to", "2026-01-01"], 2, "before --to"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], code: int, progress: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert progress in " ".join(handletime(*arguments, code=code).stderr.split())
    assert not list(tmp_path.iterdir())


def test_a_server_keeps_conversations_as_long_as_it_is_told(large: Path) -> None:
    """The setting is read, and the thread stops with the server."""
    with serving(large, "--retain", "30") as server:
        assert server.stop() == 0


@pytest.mark.long
def test_a_server_whose_clock_is_years_ahead_empties_no_store(tmp_path: Path) -> None:
    """All events are of the year 2000: for the store that is a clock that is decades ahead. Some seconds after the
    first round only those are gone that were old then.
    """
    day = 86_400_000
    folder = tmp_path / "store"
    store = a_store(folder)
    with store:
        at = [LONG_AGO + days * day for days in (0, 50, 99, 100)]
        names = ("old", "young", "younger", "youngest")
        place = [{"conversationId": name, "eventId": "1", "time": time} for name, time in zip(names, at, strict=True)]
        store.ingest("local", events_of([{**each, "type": "opened"} for each in place]))
        key = {"token": create(store.side, "local", READING).token}
    with serving(folder, "--retain", "90") as server:
        for _ in range(240):
            if "removed 1 conversations" in server.log.read_text():
                break
            time.sleep(0.5)
        time.sleep(5)
        assert "days ahead of the newest stored event" in server.log.read_text()
        metrics = httpx.get(f"{server.url}/metrics").text
        assert "handletime_clock_doubted 1.0" in metrics
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        answers = {
            name: httpx.get(f"{server.url}/api/account/local/conversations/{name}/explain", headers=bearer(key))
            for name in names
        }
        assert {name for name, answer in answers.items() if answer.status_code == 200} == {*names} - {"old"}


def open_to_others(*folders: Path) -> list[str]:
    """Files and folders in these that anybody but their owner may do anything with."""
    found = [path for folder in folders for path in folder.rglob("*")]
    return [str(path) for path in found if not path.is_symlink() and path.stat().st_mode & 0o077]


def test_all_files_are_their_owners_only_in_a_folder_that_is_everybodys(tmp_path: Path) -> None:
    """Those of the store, of a backup and of an export, by the commands and by the server; also what an earlier
    version has made.
    """
    before = os.umask(0o022)
    try:
        folder = tmp_path / "store"
        folder.mkdir(mode=0o755)
        created = json.loads(
            handletime("keys", "create", "acme", "--data", folder, "--json", "--permission", "admin").stdout
        )
        assert open_to_others(folder) == []
        with serving(folder) as server:
            body = lines(example("01-one-answer")[0])
            answer = httpx.post(f"{server.url}/api/account/acme/events", content=body, headers=bearer(created))
            assert answer.status_code == 200
            assert (folder / "store.duckdb.wal").exists()
            assert open_to_others(folder) == []
            upkeep("backup", tmp_path / "copy", folder=folder)
            upkeep("export", "--out", tmp_path / "out", folder=folder)
            assert open_to_others(folder, tmp_path / "copy", tmp_path / "out") == []
            server.stop(signal.SIGKILL)
        for name in ("store.duckdb", "store.duckdb.wal", "side.sqlite", "shelf.sqlite", "sessions.sqlite"):
            (folder / name).chmod(0o644)
        upkeep("backup", tmp_path / "copy2", folder=folder)
        upkeep("export", "--out", tmp_path / "out2", folder=folder)
        upkeep("restore", tmp_path / "copy2", folder=tmp_path / "restored")
        with serving(folder) as server:
            assert server.stop() == 0
        assert open_to_others(*(path for path in tmp_path.iterdir() if path.is_dir())) == []
        assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o700
        assert folder.stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(before)


def test_events_go_in_while_it_is_looked_after(folder: Path) -> None:
    with SideFile(folder) as side:
        key = {"token": create(side, "acme", ["admin"]).token}
    with serving(folder) as server:
        with begun("rebuild", "--data", folder) as process:
            body = lines([{**event, "conversationId": "c2"} for event in example("01-one-answer")[0]])
            answer = httpx.post(f"{server.url}/api/account/acme/events", content=body, headers=bearer(key), timeout=60)
            assert answer.json() == {"accepted": 8, "duplicates": 0}
            process.communicate(timeout=60)
            assert process.returncode == 0
        assert "21 events of 2 conversations" in upkeep("rebuild", folder=folder)
