"""What the server logs, on standard error: a JSON object a line, or text for people."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

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


FORMATS: Final = {"json": JsonLines, "text": TextLines}


def log_to_stderr(level: str = "info", form: str = "json") -> None:
    """Sends to standard error what is logged: our own from `level` on, the libraries' from `warning` on at most."""
    ours = logging.getLevelNamesMapping()[level.upper()]
    handler = logging.StreamHandler()
    handler.setFormatter(FORMATS[form]())
    logging.basicConfig(level=max(logging.WARNING, ours), handlers=[handler], force=True)
    logging.getLogger("handletime").setLevel(ours)
    logging.captureWarnings(True)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


def _clean(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
