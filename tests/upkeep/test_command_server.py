"""The socket of a running server.

Covers: upkeep/client.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from handletime.errors import NotNow, StoreError
from handletime.upkeep import client as client_module
from handletime.upkeep import command_server as server_module
from handletime.upkeep.backups import Manifest
from handletime.upkeep.check import check
from handletime.upkeep.client import ask
from handletime.upkeep.command_server import CommandServer
from handletime.upkeep.commands import Backup, Check, Checked, Forget, Rebuild, Removed
from handletime.upkeep.data_folder import DataFolder
from handletime.upkeep.messages import SOCKET, address_of
from handletime.upkeep.rebuild import Rebuilt
from tests.upkeep.folders import QUIET, eventually


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


def test_it_is_said_that_the_server_is_who_may_not_write(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "there")

    monkeypatch.setattr(server_module, "perform_beside", refused)
    with CommandServer(data):
        with pytest.raises(OSError, match="Read-only file system: 'there'; the running server writes it"):
            ask(data.folder, Backup(str(tmp_path / "copy"), True), Manifest, QUIET)
        with pytest.raises(OSError, match=r"Read-only file system: 'there'$"):
            ask(data.folder, Check(), Checked, QUIET)


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
