"""The lines about requests in the log."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

import msgspec

EVERY_S: Final = 0.05
"""Seconds that a line waits at most for others to be logged with."""
MOST: Final = 100
"""Lines that wait at most. So many fit into a pipe."""
_LOG: Final = logging.getLogger("handletime.requests")


class Line(msgspec.Struct, frozen=True):
    """One request in the log. No header, no path, and of the query only `source`: nothing secret, nothing personal.

    `route` is the route's template, `key` the id of the key, `id` the answer's X-Request-Id.
    """

    method: str
    route: str | None
    status: int
    millis: float
    source: str | None
    key: str | None
    id: str

    def __str__(self) -> str:
        more = "".join(f" {name}={value}" for name, value in (("key", self.key), ("source", self.source)) if value)
        return f"{self.method} {self.route or '(no route)'} {self.status} {self.millis} ms{more} id={self.id}"


class RequestLog:
    """Logs the requests of one event loop: those of `EVERY_S` in one record, which costs far less than one record each.

    The record's `requests` are pairs: the time in epoch seconds, and the line.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, Line]] = []
        self._closed = False

    @property
    def wanted(self) -> bool:
        """Whether requests are logged at all."""
        return _LOG.isEnabledFor(logging.INFO)

    def add(self, line: Line) -> None:
        """Logs a request that was just answered."""
        self._waiting.append((time.time(), line))
        if self._closed or len(self._waiting) == MOST:
            self._write()
        elif len(self._waiting) == 1:
            asyncio.get_running_loop().call_later(EVERY_S, self._write)

    def close(self) -> None:
        """Logs what waits, and from now on each request at once: the event loop ends soon."""
        self._closed = True
        self._write()

    def _write(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            _LOG.info("%d requests", len(waiting), extra={"requests": waiting})
