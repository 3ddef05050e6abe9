"""The shelf that files of handle-time units stand on: one file (or a few) an hour.

A file is made when it is first listed, and never changes: late events change an hour, and the next listing makes a
new file, while the old one stays for a day. Files are looked up by their whole path, never on the disk.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

KEPT_MILLIS: Final = 24 * 3_600_000
"""So long a file stays after a newer one took its place."""
_SCHEMA: Final = """
create table if not exists files (
    path text primary key, account text not null, hour integer not null, fingerprint text not null,
    made integer not null, replaced integer, conversations blob not null, content blob not null) without rowid;
create index if not exists files_of_hour on files (account, hour) where replaced is null;
"""


class NewFile(NamedTuple):
    """A file to be put on the shelf: its content, gzipped, and the conversations that it names."""

    path: str
    content: bytes
    conversations: Sequence[str]


class Kept(NamedTuple):
    """A file from the shelf."""

    content: bytes
    conversations: list[str]


class Shelf:
    """The files of all accounts, in one SQLite file; any thread may use it. `:memory:` keeps them in memory."""

    def __init__(self, place: Path | None = None) -> None:
        self._db = sqlite3.connect(place or ":memory:", check_same_thread=False, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma secure_delete = on")
        self._db.executescript(_SCHEMA)
        self._lock = Lock()
        self.making = Lock()
        """Held while files are made, so that two listings do not make the same ones."""

    def close(self) -> None:
        """Closes it; what was put there stays."""
        with self._lock:
            self._db.close()

    def current(self, account: str, hour: int, fingerprint: str) -> list[str]:
        """The paths of an hour (hours since the epoch) whose content still has this fingerprint."""
        sql = """select path from files
            where account = ? and hour = ? and fingerprint = ? and replaced is null order by path"""
        with self._lock:
            return [path for (path,) in self._db.execute(sql, (account, hour, fingerprint))]

    def last_made(self, account: str) -> int:
        """When the newest file of an account was made, in epoch milliseconds."""
        with self._lock:
            row = self._db.execute("select max(made) from files where account = ?", (account,)).fetchone()
        return int(row[0] or 0)

    def put(self, account: str, hour: int, fingerprint: str, made: int, files: Iterable[NewFile]) -> list[str]:
        """Puts the files of an hour in the place of those before, and forgets what was replaced long ago."""
        paths = []
        with self._lock, closing(self._db.cursor()) as cursor:
            cursor.execute("begin immediate")
            cursor.execute("delete from files where replaced < ?", (made - KEPT_MILLIS,))
            cursor.execute(
                "update files set replaced = ? where account = ? and hour = ? and replaced is null",
                (made, account, hour),
            )
            for file in files:
                named = gzip.compress(json.dumps(file.conversations).encode(), 1)
                row = (file.path, account, hour, fingerprint, made, None, named, file.content)
                cursor.execute("insert into files values (?, ?, ?, ?, ?, ?, ?, ?)", row)
                paths.append(file.path)
            cursor.execute("commit")
        return paths

    def find(self, account: str, path: str) -> Kept | None:
        """A file of an account by its path, exactly as it was listed."""
        sql = "select content, conversations from files where account = ? and path = ?"
        with self._lock:
            row = self._db.execute(sql, (account, path)).fetchone()
        return None if row is None else Kept(row[0], json.loads(gzip.decompress(row[1])))

    def remove(self, account: str, path: str) -> None:
        """Takes a file away for good."""
        with self._lock:
            self._db.execute("delete from files where account = ? and path = ?", (account, path))

    def forget(self, account: str, conversations: Iterable[str]) -> None:
        """Takes every file away that names one of these conversations; nothing of it stays in the database's files."""
        gone = set(conversations)
        paths = [path for _, path, named in self.named(account) if not gone.isdisjoint(named)]
        for path in paths:
            self.remove(account, path)
        if paths:
            with self._lock:
                self._db.execute("pragma wal_checkpoint(truncate)").fetchall()

    def named(self, account: str | None = None) -> Iterator[tuple[str, str, list[str]]]:
        """Account, path and named conversations of the files of an account, or of all."""
        sql = "select account, path from files where ?1 is null or account = ?1"
        with self._lock:
            files = self._db.execute(sql, (account,)).fetchall()
        for owner, path in files:
            kept = self.find(owner, path)
            if kept is not None:
                yield owner, path, kept.conversations

    def problems(self) -> list[str]:
        """Reads all of it; what is wrong with it, in plain words."""
        try:
            with self._lock:
                found = self._db.execute("pragma integrity_check").fetchall()
        except sqlite3.DatabaseError as error:
            found = [(str(error),)]
        return [f"the shelf of made files: {text}" for (text,) in found if text != "ok"]
