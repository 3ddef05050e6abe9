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
    """A record as one line of JSON: time, level, logger, message (or request), traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name}
        if (request := getattr(record, "request", None)) is not None:
            line["request"] = request
        else:
            line["message"] = _clean(record.getMessage())
        if record.exc_info:
            line["traceback"] = _clean(self.formatException(record.exc_info))
        return msgspec.json.encode(line).decode()


class TextLines(logging.Formatter):
    """A record as a line of text; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        text = _CONTROL.sub(lambda found: repr(found[0])[1:-1], _clean(record.getMessage()))
        traceback = "\n" + _clean(self.formatException(record.exc_info)) if record.exc_info else ""
        return f"{_time(record)} {record.levelname:<7} {record.name}: {text}{traceback}"


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
        """Writes the line of a record, or counts it as dropped."""
        try:
            lines = self._line(record)
            if self._dropped:
                told = f"{self._dropped} lines were dropped here, because nobody read them"
                lines = self._line(logging.LogRecord(__name__, logging.WARNING, "", 0, told, None, None)) + lines
            if self._has_written(lines):
                self._dropped = 0
            else:
                self._dropped += 1
        except OSError:  # Whoever read it is gone.
            self._dropped += 1
        except Exception:
            self.handleError(record)

    def _line(self, record: logging.LogRecord) -> bytes:
        return self.format(record).encode(errors="backslashreplace") + b"\n"

    def _has_written(self, lines: bytes) -> bool:
        """Whether a line was written whole. Nothing, or a part, is written where there is no room."""
        rest = b"\n" + lines if self._is_torn else lines
        whole = len(rest)
        while rest:
            # Waited for once: what comes then meets a reader, or finds out at once that there is none.
            try:
                has_room = self._poll.poll(0 if self._dropped else WAIT_MS)
                written = self._write(rest[: select.PIPE_BUF]) if has_room else 0
            except BlockingIOError:
                written = 0
            if not written:
                self._is_torn = self._is_torn or len(rest) < whole
                return False
            rest = rest[written:]
        self._is_torn = False
        return True


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


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


def _clean(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
