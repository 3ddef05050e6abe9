"""Runs a command: through the server that has the folder open, else on the store, which is opened for it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from handletime.errors import InputError, NotNow, StoreError
from handletime.segments.parts import Progress
from handletime.store.opening import LOCK, FolderLock
from handletime.store.watch import Watch
from handletime.upkeep.commands import Command, Result, perform
from handletime.upkeep.data_folder import open_data_folder
from handletime.upkeep.messages import SOCKET, Answer, Done, Failed, ProgressMessage, address_of, is_socket

R = TypeVar("R", bound=Result)
BUSY_S: Final = 10.0
"""Seconds to wait for a server that is just starting or stopping."""
_TICK_S: Final = 0.1


def ask(folder: Path, command: Command, result: type[R], progress: Progress) -> R:
    """The result of a command on the store of a folder. Raises what the command raises.

    A KeyboardInterrupt stops the command before it goes on.
    """
    try:
        line = msgspec.json.encode(command) + b"\n"
    except UnicodeEncodeError as error:
        raise InputError("names and paths must be UTF-8") from error
    end = time.monotonic() + BUSY_S
    while True:
        connection = _connect(folder)
        if connection is not None:
            with connection:
                return _through(connection, line, result, progress)
        alone = _Alone(folder, command, progress)
        try:
            done = alone.result()
            assert isinstance(done, result)  # noqa: S101 - each command has its result
            return done
        except StoreError:
            if alone.opened or not _is_held(folder) or time.monotonic() > end:
                raise
        time.sleep(_TICK_S)


def _connect(folder: Path) -> socket.socket | None:
    """A connection to the server of a folder; None where no server listens."""
    if not is_socket(folder / SOCKET):
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address_of(folder, SOCKET) as address:
            connection.connect(address)
    except (ConnectionRefusedError, FileNotFoundError):
        connection.close()
        return None
    except PermissionError as error:
        connection.close()
        raise StoreError(f"{folder / SOCKET}: only the user that runs the server may use it") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _is_held(folder: Path) -> bool:
    if not (folder / LOCK).exists():
        return False
    try:
        FolderLock(folder).release()
    except StoreError:
        return True
    return False


def _through(connection: socket.socket, line: bytes, result: type[R], progress: Progress) -> R:
    connection.sendall(line)
    for answer in _answers(connection):
        match answer:
            case ProgressMessage():
                progress(answer.what, answer.done, answer.of)
            case Done():
                return msgspec.json.decode(answer.result, type=result)
            case Failed():
                raise answer.error()
    raise NotNow("the server ended before it was done; nothing is left half done, run it again")


def _answers(connection: socket.socket) -> Iterator[Answer]:
    with connection.makefile("rb") as lines:
        try:
            for line in lines:
                yield msgspec.json.decode(line, type=Answer)
        except ConnectionError:
            return


class _Alone:
    """Runs a command on a store that it opens, in a thread of its own: so Ctrl-C finds the main thread waiting."""

    def __init__(self, folder: Path, command: Command, progress: Progress) -> None:
        self._folder, self._command = folder, command
        self._watch = Watch(progress)
        self._done: Result | BaseException = NotNow("the command did not run")
        self.opened = False

    def result(self) -> Result:
        """The command's result. Raises what the command raises."""
        worker = threading.Thread(target=self._work, name="admin-work")
        worker.start()
        try:
            while worker.is_alive():
                worker.join(_TICK_S)
        except BaseException:
            while worker.is_alive():
                self._watch.stop()
                worker.join(_TICK_S)
            raise
        if isinstance(self._done, BaseException):
            raise self._done
        return self._done

    def _work(self) -> None:
        try:
            with open_data_folder(self._folder) as house:
                self.opened = True
                self._done = perform(house, self._command, self._watch)
        except BaseException as error:
            self._done = error
