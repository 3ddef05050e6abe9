"""What the server logs: one JSON object a line, on standard error."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

REQUESTS = "handletime.requests"
"""The logger whose messages are JSON already."""


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message (or request), traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": moment.replace("+00:00", "Z"), "level": record.levelname.lower()}
        line["logger"] = record.name
        text = record.getMessage()
        if record.name == REQUESTS:
            line["request"] = msgspec.Raw(text.encode())
        else:
            line["message"] = _clean(text)
        if record.exc_info:
            line["traceback"] = _clean(self.formatException(record.exc_info))
        return msgspec.json.encode(line).decode()


def log_to_stderr() -> None:
    """Sends whatever is logged to standard error: our own from `info` on, the libraries' from `warning` on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("handletime").setLevel(logging.INFO)
    logging.captureWarnings(True)


def _clean(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
