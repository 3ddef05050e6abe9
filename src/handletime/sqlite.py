"""SQLite files: opening one, transactions, and what SQLite's errors mean for whoever asked."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Literal

from handletime.errors import NotNow, StoreError
from handletime.files import sync

_PAGE_BYTES: Final = 16_384


def make(path: Path, what: str, version: int, *schema: str) -> None:
    """Makes a file for its owner only, with a write-ahead log, where there is none.

    Raises StoreError where one is there that is not `what`, or not of this version; sqlite3.Error, OSError.
    """
    if not path.exists():  # Else closing it would drop the locks on it that this process may hold.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        ((found,),) = db.execute("pragma user_version").fetchall()
        if found == version:
            return
        ((tables,),) = db.execute("select count(*) from sqlite_master").fetchall()
        if found or tables:
            raise StoreError(f"{path} is no {what}, or one of a newer handletime: it is of version {found}")
        db.execute(f"pragma page_size = {_PAGE_BYTES}")
        db.execute("pragma journal_mode = wal")
        with transaction(db, "BEGIN IMMEDIATE"):
            for statement in schema:
                db.execute(statement)
            db.execute(f"pragma user_version = {version}")
    sync(path.parent)


class Place:
    """The place of an open file: whether its name still leads to it."""

    def __init__(self, path: Path) -> None:
        self._path, self._inode = path, path.stat().st_ino

    def check(self) -> None:
        """Raises StoreError where the file is not the one that was opened: what is written now would be lost."""
        try:
            there = self._path.stat().st_ino
        except FileNotFoundError:
            there = 0
        if there != self._inode:
            raise StoreError(f"{self._path} was removed or replaced while it was open")


def open_existing(path: Path, synchronous: Literal["NORMAL", "FULL"], busy_s: float = 5.0) -> sqlite3.Connection:
    """A connection to a file that is there, for any thread; it waits `busy_s` for others. Raises sqlite3.Error."""
    # Read-write only: SQLite must not make an empty file where ours is gone.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    db = sqlite3.connect(uri, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        db.execute(f"PRAGMA synchronous = {synchronous}")
        db.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def transaction(db: sqlite3.Connection, begin: Literal["BEGIN", "BEGIN IMMEDIATE"]) -> Iterator[sqlite3.Connection]:
    """All of it, or nothing."""
    db.execute(begin)
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Says in our words what SQLite says of a file. Raises NotNow, StoreError."""
    try:
        yield
    except UnicodeDecodeError as error:  # In SQLite's own message, which repeats what is damaged.
        raise StoreError(f"{path} is damaged") from error
    except sqlite3.Error as error:
        said = " ".join(str(error).split())  # SQLite repeats statements of many lines.
        # The low byte is the kind, the rest the special case. What is "not now" is told to clients: no paths.
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                raise NotNow("another process is writing for long; come again later") from error
            case sqlite3.SQLITE_FULL:
                raise NotNow("the disk is full") from error
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                raise StoreError(f"{path} is damaged ({said}): restore a backup") from error
            case _:
                raise StoreError(f"{path}: {said}") from error
