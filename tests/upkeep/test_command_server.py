"""The door of a server that runs, over a real socket, and what goes on without one."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from handletime.clock import DAY as DAY_MS
from handletime.errors import InputError, NotNow, StoreError
from handletime.segments.parts import Progress
from handletime.store.shelf import NewFile, Shelf
from handletime.upkeep import client as client_module
from handletime.upkeep.backups import Manifest, restore
from handletime.upkeep.check import check
from handletime.upkeep.client import ask
from handletime.upkeep.command_server import CommandServer
from handletime.upkeep.commands import Backup, Check, Checked, Export, Forget, Prune, Rebuild, Removed
from handletime.upkeep.data_folder import DataFolder, open_data_folder
from handletime.upkeep.exports import Exported
from handletime.upkeep.messages import SOCKET, address_of
from handletime.upkeep.rebuild import Rebuilt, rebuild
from handletime.upkeep.removing import count_older
from handletime.upkeep.retention import ClockReading, Retention, today
from tests.messy_streams import BASE, RawEvent
from tests.segments.tables import events_of
from tests.store.worlds import a_store, stored_rows

QUIET: Progress = lambda _what, _done, _of: None  # noqa: E731
LONG = Path(*["a-folder-whose-name-is-fifty-letters-long-and-deep-"] * 4)
STORY: tuple[dict[str, object], ...] = (
    {"type": "opened"},
    {"type": "message", "sentBy": "consumer"},
    {"type": "assigned", "agentId": 7},
    {"type": "focused", "agentId": 7},
    {"type": "message", "sentBy": "agent"},
    {"type": "closed", "closedBy": "agent"},
)


def some_events(conversations: int = 12) -> Iterator[dict[str, object]]:
    """Short conversations, one a day, the oldest first."""
    for number in range(conversations):
        day = BASE + DAY_MS * number
        for second, more in enumerate(STORY):
            place = {"eventId": str(second), "conversationId": f"c{number}", "time": day + 1000 * second}
            yield {**place, **more}


@contextmanager
def a_house(folder: Path) -> Iterator[DataFolder]:
    """A store with some conversations and a made file that names two of them, open."""
    folder.mkdir(parents=True, exist_ok=True)
    store = a_store(folder)
    with store:
        store.ingest("local", events_of(some_events()))
        shelf = Shelf(folder / "shelf.sqlite")
        shelf.put("local", 0, "print", 1, [NewFile("/file", b"units", ["c0", "c1"])])
        try:
            yield DataFolder(folder, store, store.side, shelf)
        finally:
            shelf.close()


@pytest.fixture(params=["served", "alone", "long path"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The folder of a store, with a door that is open or without; also where its path is longer than an address."""
    folder = tmp_path / (LONG if request.param == "long path" else "store")
    if request.param == "alone":
        with a_house(folder):
            pass
        yield folder
    else:
        with a_house(folder) as data, CommandServer(data):
            yield folder
        assert not (folder / SOCKET).exists()


def test_every_command_is_done_with_and_without_a_server(folder: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    rebuilt = ask(folder, Rebuild(), Rebuilt, lambda what, _done, _of: steps.append(what))
    assert (rebuilt.events, rebuilt.conversations, rebuilt.differences) == (72, 12, 0)
    assert "reading events" in steps
    assert ask(folder, Check(), Checked, QUIET).problems == []
    made = ask(folder, Backup(str(tmp_path / "copy")), Manifest, QUIET)
    assert sorted(made.files) == ["side.sqlite", "store.duckdb"]
    written = ask(folder, Export(str(tmp_path / "out")), Exported, QUIET)
    assert written.rows == dict.fromkeys(("agent_segments", "skill_segments", "handle_time_units"), 12) | {"events": 72}
    assert ask(folder, Forget("local", "c3"), Removed, QUIET).conversations == 1
    assert ask(folder, Forget("local", "c3"), Removed, QUIET).conversations == 0
    assert ask(folder, Prune(BASE + 3 * DAY_MS, dry_run=True), Removed, QUIET).conversations == 3
    assert ask(folder, Prune(BASE + 3 * DAY_MS), Removed, QUIET).conversations == 3
    assert ask(folder, Rebuild(), Rebuilt, QUIET).conversations == 8
    assert ask(folder, Check(), Checked, QUIET).problems == []
    with pytest.raises(InputError, match="there already"):
        ask(folder, Backup(str(tmp_path / "copy")), Manifest, QUIET)
    with pytest.raises(InputError, match="there is no account nobody"):
        ask(folder, Export(str(tmp_path / "more"), "nobody"), Exported, QUIET)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name not in (LONG.parts[0], "store")) == [
        "copy",
        "out",
    ]


def test_what_is_removed_is_in_no_made_file(folder: Path) -> None:
    assert ask(folder, Forget("local", "c5"), Removed, QUIET).conversations == 1
    shelf = Shelf(folder / "shelf.sqlite")
    assert shelf.find("local", "/file") is not None
    assert ask(folder, Prune(BASE + DAY_MS), Removed, QUIET).conversations == 1
    assert shelf.find("local", "/file") is None
    shelf.close()


def test_a_made_file_that_names_what_is_gone_is_told(folder: Path) -> None:
    shelf = Shelf(folder / "shelf.sqlite")
    shelf.put("local", 1, "print", 2, [NewFile("/older", b"units", ["gone"])])
    shelf.close()
    (problem,) = ask(folder, Check(), Checked, QUIET).problems
    assert problem == "the made file /older names a conversation that was removed"


# --- the socket itself


@pytest.fixture
def data(tmp_path: Path) -> Iterator[DataFolder]:
    """A data without a door."""
    with a_house(tmp_path / "store") as data:
        yield data


def said(folder: Path, line: bytes) -> list[dict[str, object]]:
    """All that the server answers to some bytes."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        with address_of(folder, SOCKET) as address:
            connection.connect(address)
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        return [json.loads(each) for each in connection.makefile("rb")]


def test_only_the_owner_may_use_it_and_a_stale_one_is_replaced(data: DataFolder) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(data.folder / SOCKET))
    stale.close()
    with pytest.raises(StoreError, match="is in use by another handletime"):
        with_little_patience(lambda: ask(data.folder, Check(), Checked, QUIET))
    with CommandServer(data):
        assert stat.S_IMODE((data.folder / SOCKET).stat().st_mode) == 0o600
        assert ask(data.folder, Check(), Checked, QUIET).problems == []
    assert not list(data.folder.glob(".admin*"))


def with_little_patience(work: Callable[[], object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client_module, "BUSY_S", 0.3)
        work()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{",
        b"{}\n",
        b"\xff\n",
        b'{"type":"Drop"}\n',
        b'{"type":"Prune"}\n',
        b'{"type":"Prune","before":"now"}\n',
        b'{"type":"Check","more":1}\n',
        b"x" * 2_000_000,
    ],
)
def test_what_is_no_command_is_refused_and_the_door_stays_open(line: bytes, data: DataFolder) -> None:
    with CommandServer(data):
        try:
            (answer,) = said(data.folder, line)
        except (BrokenPipeError, ConnectionResetError):
            assert len(line) > 1_000_000  # It was not listened to until the end.
        else:
            assert (answer["type"], answer["kind"]) == ("Failed", "input")
        assert ask(data.folder, Check(), Checked, QUIET).problems == []


def test_long_commands_come_one_after_the_other_and_forgetting_does_not_wait(data: DataFolder) -> None:
    waiting = threading.Event()
    results: list[int] = []

    def rebuild() -> None:
        def progress(what: str, _done: int, _of: int) -> None:
            if what.startswith("waiting"):
                waiting.set()

        results.append(ask(data.folder, Rebuild(), Rebuilt, progress).events)

    with CommandServer(data):
        threads = [threading.Thread(target=rebuild) for _ in range(4)]
        with data.long_one:
            for thread in threads:
                thread.start()
            assert waiting.wait(30)
            assert ask(data.folder, Forget("local", "c5"), Removed, QUIET).conversations == 1
            assert results == []
        for thread in threads:
            thread.join(60)
    assert results == [66] * 4


def test_a_client_that_goes_stops_its_command(data: DataFolder) -> None:
    with CommandServer(data), data.long_one:
        for _ in range(20):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(data.folder / SOCKET))
                connection.sendall(msgspec.json.encode(Rebuild()) + b"\n")
                assert b"waiting" in connection.recv(1000)
        assert eventually(lambda: not [each for each in threading.enumerate() if each.name == "admin-work"])
    assert check(data.store) == []


def eventually(there: Callable[[], bool]) -> bool:
    return any(there() or threading.Event().wait(0.02) for _ in range(1000))


def test_a_door_that_closes_stops_what_is_under_way(data: DataFolder) -> None:
    waiting = threading.Event()
    progress: list[str] = []

    def rebuild() -> None:
        try:
            ask(data.folder, Rebuild(), Rebuilt, lambda _what, _done, _of: waiting.set())
        except NotNow as error:
            progress.append(str(error))

    thread = threading.Thread(target=rebuild)
    with data.long_one, CommandServer(data):
        thread.start()
        assert waiting.wait(30)
    thread.join(30)
    assert progress == [
        "the server is stopping: it was stopped before it was done; nothing is left half done, run it again"
    ]


def test_too_many_at_once_are_sent_away(data: DataFolder) -> None:
    with CommandServer(data), data.long_one:
        connections = [socket.socket(socket.AF_UNIX) for _ in range(17)]
        for connection in connections:
            connection.settimeout(30)
            connection.connect(str(data.folder / SOCKET))
        assert b"come again later" in connections[-1].recv(1000)
        for connection in connections:
            connection.close()


# --- without a server


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="has no store"):
        ask(tmp_path, Check(), Checked, QUIET)
    with a_house(tmp_path / "store"):
        pass
    (tmp_path / "store" / "store.duckdb").write_bytes(b"x" * 10_000)
    with pytest.raises(StoreError, match="cannot be opened"):
        ask(tmp_path / "store", Check(), Checked, QUIET)


def test_what_a_killed_command_left_is_taken_away(tmp_path: Path) -> None:
    with a_house(tmp_path):
        pass
    for name in ("backups/.a.duckdb", ".handletime-x", ".admin-y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").write_bytes(b"x")
    with open_data_folder(tmp_path) as data:
        assert not [path for path in data.folder.rglob("*") if path.name == "part"]


# --- retention


class At:
    """A clock that stands."""

    def __init__(self, moment: int) -> None:
        self.moment = moment

    def now(self) -> int:
        return self.moment


def an_event(at: int, conversation: str = "today") -> RawEvent:
    return {"eventId": str(at), "conversationId": conversation, "time": at, "type": "opened"}


def test_retention_removes_what_is_older_round_by_round(data: DataFolder) -> None:
    clock = At(BASE + 14 * DAY_MS)
    data.store.ingest("local", events_of([an_event(BASE + 16 * DAY_MS)]))
    with Retention(data, 10, clock, first_s=0, every_s=0.05):
        assert eventually(lambda: count_older(data.store, BASE + 4 * DAY_MS) == 0)
        assert count_older(data.store, BASE + 99 * DAY_MS) == 9
        assert data.shelf.find("local", "/file") is None
        clock.moment += 2 * DAY_MS
        assert eventually(lambda: count_older(data.store, BASE + 99 * DAY_MS) == 7)
    assert check(data.store) == []
    assert rebuild(data.store).differences == 0


@pytest.mark.parametrize("ahead", [3, 400, 100_000])
def test_a_clock_that_is_far_ahead_removes_no_more_than_the_newest_event_allows(
    data: DataFolder, ahead: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It removed everything. A client whose clock is a day ahead changes nothing either."""
    newest = BASE + 20 * DAY_MS
    data.store.ingest("local", events_of([an_event(newest)]))
    before = count_older(data.store, BASE + 999 * DAY_MS)
    old = count_older(data.store, newest - 11 * DAY_MS)
    assert 0 < old < before - 1
    doubts: list[bool] = []
    retention = Retention(data, 10, At(newest + ahead * DAY_MS), doubted=doubts.append)
    assert retention.round() == old
    assert retention.round() == 0
    data.side.set_clock(newest, None)
    assert count_older(data.store, BASE + 999 * DAY_MS) == before - old
    assert doubts == [True, True]
    assert f"the clock is {ahead} days ahead of the newest stored event" in caplog.text
    caplog.clear()
    later = count_older(data.store, newest - 10 * DAY_MS)
    assert Retention(data, 10, At(newest + DAY_MS), doubted=doubts.append).round() == later
    assert doubts[2:] == [False]
    assert caplog.text == ""


def test_a_clock_that_is_far_behind_removes_no_more_than_it_says(
    data: DataFolder, caplog: pytest.LogCaptureFixture
) -> None:
    data.store.ingest("local", events_of([an_event(BASE + 400 * DAY_MS)]))
    retention = Retention(data, 10, At(BASE + 14 * DAY_MS))
    assert retention.round() == count_older(data.store, BASE + 4 * DAY_MS) + 4
    assert "386 days behind" in caplog.text


def test_a_clock_that_was_put_on_is_not_believed_for_two_days_whatever_is_sent_meanwhile(
    data: DataFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """One account's event of the wrong year made it look right, and everybody's conversations were removed."""
    clock, doubts, hour = At(BASE + 12 * DAY_MS), list[bool](), DAY_MS // 24
    there = count_older(data.store, BASE + 999 * DAY_MS)
    assert Retention(data, 90, clock).round() == 0
    clock.moment += 400 * DAY_MS
    for _ in range(2 * 24):
        data.store.ingest("other", events_of([an_event(clock.moment)]))
        assert Retention(data, 90, clock, doubted=doubts.append).round() == 0  # a server that is started each hour
        clock.moment += hour
    assert count_older(data.store, clock.moment - DAY_MS) == there
    assert all(doubts)
    assert "nothing is removed for the next 48 hours that the server runs" in caplog.text
    assert "nothing is removed for the next 1 hours that" in caplog.text
    clock.moment -= 402 * DAY_MS
    assert Retention(data, 1, clock).round() == 0
    for _ in range(2 * 24):
        clock.moment += hour
        removed = Retention(data, 1, clock).round()
    assert removed == there


def test_a_server_that_was_off_over_a_weekend_is_late_by_two_days() -> None:
    hour = DAY_MS // 24
    seen = ClockReading(0)
    for hours in (1, 30, 48):
        seen = seen.next(seen.at + hours * hour)
        assert seen.waited is None
    seen = seen.next(seen.at + 62 * hour)
    assert seen.waited == 0
    assert seen.next(seen.at + 47 * hour).waited == 47 * hour
    assert seen.next(seen.at + 48 * hour) == ClockReading(seen.at + 2 * DAY_MS)


@pytest.mark.parametrize(("up", "off"), [(9, 7 * 24 - 9), (1, 71), (8, 88)])
def test_a_server_that_is_seldom_up_removes_something_now_and_then(up: int, off: int) -> None:
    """Each start after more than two days began the two days anew, and nothing was ever removed."""
    hour, seen, believed = DAY_MS // 24, ClockReading(0), 0
    for _ in range(100):
        seen = seen.next(seen.at + off * hour)
        for _ in range(up):
            seen = seen.next(seen.at + hour)
            believed += seen.waited is None
    assert believed > 0


def test_days_are_counted_from_the_clock_or_the_newest_event_whichever_is_earlier() -> None:
    for newest in range(0, 10 * DAY_MS, DAY_MS // 3):
        for now in range(0, 10 * DAY_MS, DAY_MS // 3):
            at, doubt = today(now, newest)
            assert at <= min(now, newest)
            assert bool(doubt) == (abs(now - newest) > 2 * DAY_MS)


def test_an_empty_store_has_nothing_to_remove(tmp_path: Path) -> None:
    with a_house(tmp_path) as data:
        assert Retention(data, 1, At(BASE)).round() == 0


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
        new = made.commit - 1  # Each commit since the first brought one conversation.
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
