"""SQLite files: transactions, and what SQLite's errors mean for whoever asked."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from handletime.errors import NotNow, StoreError


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
        # The low byte is the kind, the rest the special case. What is "not now" is told to clients: no paths.
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                raise NotNow("another process is writing for long; come again later") from error
            case sqlite3.SQLITE_FULL:
                raise NotNow("the disk is full") from error
            case _:
                # SQLite repeats statements of many lines.
                raise StoreError(f"{path}: {' '.join(str(error).split())}") from error
