"""Runs a command: through the server that has the folder open, else on the store, which is opened for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from handletime.errors import InputError, NotNow, StoreError
from handletime.segments.parts import Progress
from handletime.store.opening import LOCK, FolderLock
from handletime.store.watch import Watch
from handletime.upkeep.commands import TICK_S, Command, Result, perform_beside
from handletime.upkeep.data_folder import open_data_folder
from handletime.upkeep.messages import SOCKET, Answer, Done, Failed, ProgressMessage, address_of

R = TypeVar("R", bound=Result)
BUSY_S: Final = 10.0
"""Seconds to wait for a server that is just starting or stopping."""


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
        with ExitStack() as stack:
            try:
                data = stack.enter_context(open_data_folder(folder))
            except StoreError:
                if not _is_held(folder) or time.monotonic() > end:
                    raise
            else:
                done = perform_beside(data, command, Watch(progress))
                assert isinstance(done, result)  # noqa: S101 - each command has its result
                return done
        time.sleep(TICK_S)


def _connect(folder: Path) -> socket.socket | None:
    """A connection to the server of a folder; None where no server listens."""
    if not (folder / SOCKET).exists():
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
