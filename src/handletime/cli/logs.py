"""What the server logs, on standard error: a JSON object a line, or text for people."""

from __future__ import annotations

import logging
import os
import re
import select
import socket
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

WAIT_MS: Final = 500
"""Milliseconds that a line waits for a reader."""
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")


class JsonLines(logging.Formatter):
    """A record as a line of JSON: time, level, logger, message, traceback. One of requests has a line for each."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, or the lines."""
        requests = getattr(record, "requests", None)
        if requests is not None:
            return "\n".join(_json(record, at, {"request": request}) for at, request in requests)
        said = {"message": _clean(record.getMessage())}
        if record.exc_info:
            said["traceback"] = _clean(self.formatException(record.exc_info))
        return _json(record, record.created, said)


def _json(record: logging.LogRecord, at: float, said: dict[str, Any]) -> str:
    line = {"time": _time(at), "level": record.levelname.lower(), "logger": record.name, **said}
    return msgspec.json.encode(line).decode()


class TextLines(logging.Formatter):
    """A record as a line of text; a traceback follows on lines of its own. One of requests has a line for each."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, or the lines."""
        requests = getattr(record, "requests", None)
        if requests is not None:
            return "\n".join(_text(record, at, str(request)) for at, request in requests)
        traceback = "\n" + _clean(self.formatException(record.exc_info)) if record.exc_info else ""
        return _text(record, record.created, record.getMessage()) + traceback


def _text(record: logging.LogRecord, at: float, said: str) -> str:
    text = _CONTROL.sub(lambda found: repr(found[0])[1:-1], _clean(said))
    return f"{_time(at)} {record.levelname:<7} {record.name}: {text}"


class WhileRead(logging.Handler):
    """Writes lines to a descriptor as long as somebody reads them.

    A pipe or a terminal that nobody reads would hold up the whole server. Lines that would wait longer than `WAIT_MS`
    are dropped, and the next line that can be written says how many.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._write = _without_waiting(descriptor)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._dropped, self._is_torn = 0, False

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the lines of a record. Counts those as dropped that are not written."""
        try:
            lines = self._lines(record)
        except Exception:
            self.handleError(record)
            return
        rest = self._unwritten(self._told() + lines)
        if len(rest) <= len(lines):
            self._dropped = 0
        self._dropped += rest[-len(lines) :].count(b"\n")

    def _told(self) -> bytes:
        """The line that says how many were dropped, if any were."""
        if not self._dropped:
            return b""
        told = f"{self._dropped} lines were dropped here, because nobody read them"
        return self._lines(logging.LogRecord(__name__, logging.WARNING, "", 0, told, None, None))

    def _lines(self, record: logging.LogRecord) -> bytes:
        return self.format(record).encode(errors="backslashreplace") + b"\n"

    def _unwritten(self, lines: bytes) -> bytes:
        """Writes lines, and gives what there was no room for, or no reader."""
        rest = b"\n" + lines if self._is_torn else lines
        whole = len(rest)
        while rest:
            # Waited for once: what comes then meets a reader, or finds out at once that there is none.
            try:
                has_room = self._poll.poll(0 if self._dropped else WAIT_MS)
                written = self._write(rest[: select.PIPE_BUF]) if has_room else 0
            except OSError:  # There was no room after all, or whoever read it is gone.
                written = 0
            if not written:
                self._is_torn = self._is_torn or len(rest) < whole
                return rest
            rest = rest[written:]
        self._is_torn = False
        return rest


def _without_waiting(descriptor: int) -> Callable[[bytes], int]:
    """Writes what there is room for, and says how much; raises BlockingIOError where there is none, other OSError.

    Not by the descriptor itself where that would have to be changed: who else has it, has it changed too.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        own = socket.socket(fileno=os.dup(descriptor))
        return lambda text: own.send(text, socket.MSG_DONTWAIT)
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        # Where it cannot be opened again, a pipe still has room for `PIPE_BUF` bytes whenever it has some.
        with suppress(OSError):
            again = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            return lambda text: os.write(again, text)
    return lambda text: os.write(descriptor, text)


FORMATS: Final = {"json": JsonLines, "text": TextLines}


def log_to_stderr(level: str = "info", form: str = "json") -> None:
    """Logs to standard error: our own lines from `level` on, those of libraries from `warning` on or higher."""
    ours = logging.getLevelNamesMapping()[level.upper()]
    handler = _to_stderr()
    handler.setFormatter(FORMATS[form]())
    logging.basicConfig(level=max(logging.WARNING, ours), handlers=[handler], force=True)
    logging.getLogger("handletime").setLevel(ours)
    logging.captureWarnings(True)


def _to_stderr() -> logging.Handler:
    try:
        return WhileRead(sys.stderr.fileno())
    except (AttributeError, OSError):  # It is closed, or no file.
        return logging.StreamHandler()


def _time(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


def _clean(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
