"""The socket of a running server for commands, in the store's folder. Who may open it may do everything."""

from __future__ import annotations

import contextlib
import errno
import logging
import secrets
import selectors
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import Final

import msgspec

from handletime.closing import Closing
from handletime.errors import HandletimeError, NotNow
from handletime.store.watch import Stopped, Watch
from handletime.upkeep.commands import TICK_S, Backup, Command, Export, perform_beside
from handletime.upkeep.data_folder import DataFolder
from handletime.upkeep.messages import LINE_MAX, SOCKET, Answer, Done, Failed, ProgressMessage, address_of, failed

AT_ONCE: Final = 16
"""The most commands under way, waiting ones included."""
SEND_S: Final = 10.0
"""Seconds after which a client that reads no answer is given up."""
ASK_S: Final = 10.0
"""Seconds after which a client that sends no command is given up."""
STOP_S: Final = 60.0
"""Seconds to wait for commands that were stopped."""
_MAY_NOT: Final = (errno.EROFS, errno.EACCES, errno.EPERM)
_log: Final = logging.getLogger(__name__)


class CommandServer(Closing):
    """Accepts commands while it is entered. Raises StoreError, OSError where the socket cannot be opened."""

    def __init__(self, data: DataFolder) -> None:
        self._data = data
        self._path = data.folder / SOCKET
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._listener = _listen(data.folder)
        self._accepting = threading.Thread(target=self._accept, name="admin-socket", daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Accepts no more commands, stops those under way at their next step, and waits for them."""
        self._path.unlink(missing_ok=True)
        self._closing.set()
        self._accepting.join()
        self._listener.close()
        end = time.monotonic() + STOP_S
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
            if thread.is_alive():
                _log.error("a command does not stop")

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:  # Mostly nobody came for a while.
                continue
            self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            if len(self._threads) >= AT_ONCE:
                _send(connection, Failed("notNow", f"{AT_ONCE} commands are under way; come again later"))
                connection.close()
                return
            thread = threading.Thread(target=self._attend, args=(connection,), name="admin-command", daemon=True)
            self._threads.add(thread)
        thread.start()

    def _attend(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(SEND_S)
                command = _asked(connection)
                _send(connection, command if isinstance(command, Failed) else self._answer(connection, command))
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _answer(self, connection: socket.socket, command: Command) -> Answer:
        """Runs a command until it is done, or stopped: its client has gone, or this server ends."""
        begun, said = time.monotonic(), ("", 0.0)

        def report(what: str, done: int, of: int) -> None:
            nonlocal said
            now = time.monotonic()
            if what == said[0] and now - said[1] < TICK_S:
                return
            said = (what, now)
            if not _send(connection, ProgressMessage(what, done, of)):
                watch.stop()

        watch = Watch(report)
        answer: Answer
        try:
            result = perform_beside(self._data, command, watch, lambda: self._closing.is_set() or _is_gone(connection))
            answer = Done(msgspec.Raw(msgspec.json.encode(result)))
        except Stopped as error:
            why = "the server is stopping: " if self._closing.is_set() else ""
            answer = failed(NotNow(f"{why}{error}"))
        except (HandletimeError, OSError) as error:
            answer = failed(error)
            if isinstance(command, Backup | Export) and isinstance(error, OSError) and error.errno in _MAY_NOT:
                # Whoever asks may well write there: a unit of systemd can keep the server from it.
                told = f"{answer.message}; the running server writes it, and has to be allowed to"
                answer = Failed(answer.kind, told)
        except Exception as error:
            _log.exception("an admin command failed")
            answer = Failed("store", f"{type(error).__name__}: {error}")
        what = "failed" if isinstance(answer, Failed) else "done"
        _log.info("admin command %s %s after %.1f s", type(command).__name__.lower(), what, time.monotonic() - begun)
        return answer


def _listen(folder: Path) -> socket.socket:
    """The listening socket, for this user only. Replaces what an earlier server left."""
    # In a folder that nobody else can enter, until the socket's own permission is set.
    hidden = folder / f".admin-{secrets.token_hex(4)}"
    hidden.mkdir(mode=0o700)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address_of(hidden, SOCKET) as address:
            listener.bind(address)
        (hidden / SOCKET).chmod(0o600)
        listener.listen(AT_ONCE)
        listener.settimeout(TICK_S)
        (hidden / SOCKET).replace(folder / SOCKET)
    except BaseException:
        listener.close()
        raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return listener


def _asked(connection: socket.socket) -> Command | Failed:
    """The command that a client sends."""
    line = b""
    end = time.monotonic() + ASK_S
    with contextlib.suppress(OSError):
        while b"\n" not in line and len(line) <= LINE_MAX and time.monotonic() < end:
            more = connection.recv(65536)
            if not more:
                break
            line += more
    if b"\n" not in line:
        return Failed("input", f"a command is one line of JSON, of at most {LINE_MAX} bytes, within {ASK_S:.0f} s")
    try:
        command: Command = msgspec.json.decode(line.partition(b"\n")[0], type=Command)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Failed("input", f"no command that this server knows: {error}")
    return command


def _is_gone(connection: socket.socket) -> bool:
    """Whether the client has closed its side, which means: stop."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        if not selector.select(0):
            return False
    try:
        return not connection.recv(4096)
    except OSError:
        return True


def _send(connection: socket.socket, answer: Answer) -> bool:
    try:
        connection.sendall(msgspec.json.encode(answer) + b"\n")
    except OSError:
        return False
    return True
