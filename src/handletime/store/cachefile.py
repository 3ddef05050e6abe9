"""SQLite files whose content can be made again: damaged ones are removed and begun anew, and the log says so."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

from handletime.sqlite import sqlite_errors, transaction

T = TypeVar("T")
_DAMAGE: Final = frozenset(
    (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT)
)
"""SQLite's errors for a damaged file; the last two where the table's columns or its rows are damaged."""
CHECKED_MAX: Final = 16 << 20
"""The bytes up to which a file is read and checked when it is opened."""
_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""Errors that may mean damage; the last one where SQLite's message repeats damaged text."""
_log: Final = logging.getLogger(__name__)


class CacheFile:
    """One such file, or a database in memory where there is none. Any thread may use it.

    A file with another `version` of the schema is begun anew. `remedy` says, for the log, how its content is made
    again. All methods raise NotNow where another process writes for long or the disk is full, and StoreError where the
    file cannot be used; opening it raises OSError too.
    """

    def __init__(self, place: Path | None, schema: str, version: int, remedy: str) -> None:
        self._place, self._schema, self._version, self._remedy = place, schema, version, remedy
        self._lock = Lock()
        self._lost: list[str] = []
        with sqlite_errors(place or Path(":memory:")):
            try:
                self._db = self._opened()
            except _ERRORS as error:
                self._throw_away(error)
                self._db = self._opened()

    def close(self) -> None:
        """Closes the file; what was written stays."""
        with self._lock:
            self._db.close()

    def use(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs work in a transaction; once more on an empty file, where this one is damaged."""
        with self._lock, sqlite_errors(self._place or Path(":memory:")):
            try:
                with transaction(self._db, "BEGIN IMMEDIATE"):
                    return work(self._db)
            except _ERRORS as error:
                self._throw_away(error)
                self._db = self._opened()
                with transaction(self._db, "BEGIN IMMEDIATE"):
                    return work(self._db)

    def checkpoint(self) -> None:
        """Writes the write-ahead log into the file: nothing of what was removed is left in either."""
        with self._lock, sqlite_errors(self._place or Path(":memory:")):
            self._db.execute("pragma wal_checkpoint(truncate)").fetchall()

    def problems(self) -> list[str]:
        """Reads all of it; what is wrong, in SQLite's words. What was wrong before it was begun anew is said once."""
        with self._lock:
            lost, self._lost = self._lost, []
            try:
                found = self._db.execute("pragma integrity_check").fetchall()
            except _ERRORS as error:
                found = [(str(error),)]
        return [*lost, *(text for (text,) in found if text != "ok")]

    def _opened(self) -> sqlite3.Connection:
        if self._place is not None:
            os.close(os.open(self._place, os.O_CREAT | os.O_RDWR, 0o600))
        db = sqlite3.connect(self._place or ":memory:", check_same_thread=False, isolation_level=None)
        try:
            db.execute("pragma journal_mode = wal")
            db.execute("pragma secure_delete = on")
            ((version,),) = db.execute("pragma user_version").fetchall()
            ((tables,),) = db.execute("select count(*) from sqlite_master").fetchall()
            if tables and version != self._version:
                raise sqlite3.DatabaseError(f"it is of version {version}, not {self._version}")
            if self._place is not None and self._place.stat().st_size <= CHECKED_MAX:
                # A page may be damaged so that SQLite writes into it and finds nothing there any more.
                ((found,),) = db.execute("pragma quick_check(1)").fetchall()
                if found != "ok":
                    raise sqlite3.DatabaseError(found)
            db.executescript(self._schema)
            db.execute(f"pragma user_version = {self._version}")
        except BaseException:
            db.close()
            raise
        return db

    def _throw_away(self, error: sqlite3.Error | UnicodeDecodeError) -> None:
        """Removes the file. Raises the error where it does not mean damage, or there is no file."""
        code = getattr(error, "sqlite_errorcode", None)
        # Python's own have no code: a text that is none, or another version. What was closed is no damage.
        damaged = code & 0xFF in _DAMAGE if code is not None else not isinstance(error, sqlite3.ProgrammingError)
        if self._place is None or not (damaged or _says_it_is_read_only(self._place, code)):
            raise error
        if code is not None:
            self._lost.append(f"{self._place} could not be read ({error}) and was begun anew")
        _log.warning("%s cannot be read (%s) and is begun anew: %s", self._place, error, self._remedy)
        with suppress(AttributeError):  # There is none yet where it is only being opened.
            self._db.close()
        for end in ("", "-wal", "-shm"):
            self._place.with_name(self._place.name + end).unlink(missing_ok=True)


def _says_it_is_read_only(place: Path, code: int | None) -> bool:
    """Whether a file forbids to be written to by its own header, which is damage, and neither the disk nor its mode."""
    is_refused = code is not None and code & 0xFF == sqlite3.SQLITE_READONLY
    return is_refused and os.access(place, os.W_OK) and os.access(place.parent, os.W_OK)
