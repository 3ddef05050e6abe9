"""Lets long commands report their progress, and be stopped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import duckdb

from handletime.errors import NotNow, StoreError
from handletime.segments.parts import Progress

PAUSE_S: Final = 0.02
"""Seconds between the transactions of a long command, in which others may write."""


class Stopped(NotNow):
    """A command was stopped before it was done."""

    def __init__(self) -> None:
        super().__init__("it was stopped before it was done; nothing is left half done, run it again")


class Watch:
    """Watches one command, which runs in one thread; any other thread may stop it."""

    def __init__(self, progress: Progress = lambda _what, _done, _of: None) -> None:
        self._progress = progress
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._cursors: set[duckdb.DuckDBPyConnection] = set()

    def progress(self, what: str, done: int, of: int) -> None:
        """Has to be called between steps, with what is done and how many steps of how many. Raises Stopped."""
        if self._stopped.is_set():
            raise Stopped
        self._progress(what, done, of)

    def pause(self, seconds: float = PAUSE_S) -> None:
        """Waits, so that ingest gets its turn: a lock has no queue. Raises Stopped."""
        if self._stopped.wait(seconds):
            raise Stopped

    def stop(self) -> None:
        """Stops the command at its next step, and the query that it runs now. May be called again and again."""
        self._stopped.set()
        with self._lock:
            for cursor in self._cursors:
                cursor.interrupt()

    @contextmanager
    def over(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Makes the queries of a connection stoppable. Raises Stopped where they are, StoreError where they fail."""
        with self._lock:
            self._cursors.add(cursor)
        try:
            yield
        except Exception as error:
            # A query that is interrupted fails in several ways.
            if self._stopped.is_set() and not isinstance(error, Stopped):
                raise Stopped from error
            if isinstance(error, duckdb.Error):
                raise StoreError(f"the store cannot be read: {error}") from error
            raise
        finally:
            with self._lock:
                self._cursors.discard(cursor)
