"""The shelf: files of handle-time units that were listed, one (or a few) an hour.

A file is made when it is first listed, and never changes. When late events change an hour, the next listing makes a
new file, and the old one stays for a day. Files are looked up by their whole path, never on the disk.

SQLite has no checksums. So every file has one, and every hour one over its fingerprint and its files. What does not
fit its checksum counts as missing; an hour that does not is made again when it is next listed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

import msgspec

from handletime.clock import DAY
from handletime.closing import Closing
from handletime.errors import NotNow
from handletime.store.cachefile import CacheFile

KEPT_MILLIS: Final = DAY
"""Milliseconds that a file stays after a newer one took its place."""
_VERSION: Final = 3
_SCHEMA: Final = """
create table if not exists files (
    path text primary key, account text not null, hour integer not null, replaced integer, sha256 blob not null,
    hour_sha256 blob not null, conversations blob not null, content blob not null) without rowid;
create index if not exists files_of_hour on files (account, hour) where replaced is null;
"""


class NewFile(NamedTuple):
    """A file to be put on the shelf: its content, gzipped, and the conversations that it names."""

    path: str
    content: bytes
    conversations: Sequence[str]


class ShelvedFile(NamedTuple):
    """A file from the shelf."""

    content: bytes
    conversations: list[str]


class Shelf(Closing):
    """The files of all accounts, in one SQLite file; any thread may use it. `:memory:` keeps them in memory.

    Raises what CacheFile raises.
    """

    def __init__(self, place: Path | None = None) -> None:
        self._file = CacheFile(place, _SCHEMA, _VERSION, "made files are made again when they are next listed")
        self._making: dict[str, Lock] = {}

    def close(self) -> None:
        """Closes the shelf; its files stay."""
        self._file.close()

    @contextmanager
    def making(self, account: str, wait_s: float | None = None) -> Iterator[None]:
        """A lock to hold while files of an account are made, or none may be made. Raises NotNow after some seconds."""
        lock = self._making.setdefault(account, Lock())
        if not lock.acquire(timeout=-1 if wait_s is None else wait_s):
            raise NotNow("files of this account are still being made; come again later")
        try:
            yield
        finally:
            lock.release()

    def current(self, account: str, hour: int, fingerprint: str) -> list[str]:
        """The paths of an hour (hours since the epoch) whose content still has this fingerprint; none, or all."""
        return self._file.use(lambda db: _current(db, account, hour, fingerprint))

    def put(self, account: str, hour: int, fingerprint: str, made: int, files: Iterable[NewFile]) -> list[str]:
        """Replaces the files of an hour, and removes files that were replaced long ago."""
        bodies = {
            path: (gzip.compress(json.dumps(conversations).encode(), 1), content)
            for path, content, conversations in files
        }
        sums = {path: _sha256(account, hour, path, *body) for path, body in bodies.items()}
        of_hour = _sha256(account, hour, fingerprint, sorted((path.encode(), sha256) for path, sha256 in sums.items()))

        def work(db: sqlite3.Connection) -> None:
            db.execute("delete from files where replaced < ?", (made - KEPT_MILLIS,))
            db.execute(f"update files set replaced = ? where {_OF_HOUR}", (made, account, hour))  # noqa: S608
            for path, body in bodies.items():
                row = (path, account, hour, None, sums[path], of_hour, *body)
                db.execute("insert into files values (?, ?, ?, ?, ?, ?, ?, ?)", row)
            if _current(db, account, hour, fingerprint) != sorted(bodies):
                raise sqlite3.DatabaseError("a row and its index differ")

        self._file.use(work)
        return list(bodies)

    def find(self, account: str, path: str) -> ShelvedFile | None:
        """A file of an account by its path, exactly as it was listed; None where it is damaged too."""
        return self._file.use(lambda db: _find(db, account, path))

    def remove(self, account: str, path: str) -> None:
        """Removes a file for good."""
        self._file.use(lambda db: db.execute("delete from files where account = ? and path = ?", (account, path)))

    def forget(self, account: str, conversations: Iterable[str]) -> None:
        """Removes every file that names one of these conversations; nothing of it stays in the database's files.

        Damaged files go too: they may name any conversation.
        """
        gone = set(conversations)
        paths = [path for path in self._paths(account) if self._may_name(account, path, gone)]
        for path in paths:
            self.remove(account, path)
        if paths:
            self._file.checkpoint()

    def accounts(self) -> list[str]:
        """The accounts that have files."""
        sql = "select distinct account from files"
        return self._file.use(lambda db: [account for (account,) in db.execute(sql)])

    def named(self, account: str) -> Iterator[tuple[str, list[str]]]:
        """Path and named conversations of all files of an account."""
        for path in self._paths(account):
            kept = self.find(account, path)
            if kept is not None:
                yield path, kept.conversations

    def problems(self) -> list[str]:
        """Reads everything; says what is wrong, in plain words."""
        found = self._file.problems()
        if not found:
            rows = self._file.use(lambda db: db.execute("select account, path from files").fetchall())
            found = [f"{path} is damaged" for account, path in rows if self.find(account, path) is None]
        return [f"the shelf of made files: {text}" for text in found]

    def _paths(self, account: str) -> list[str]:
        sql = "select path from files where account = ?"
        return self._file.use(lambda db: [path for (path,) in db.execute(sql, (account,))])

    def _may_name(self, account: str, path: str, conversations: set[str]) -> bool:
        kept = self.find(account, path)
        return kept is None or not conversations.isdisjoint(kept.conversations)


_OF_HOUR: Final = "account = ? and hour = ? and replaced is null"


def _current(db: sqlite3.Connection, account: str, hour: int, fingerprint: str) -> list[str]:
    # As bytes: a damaged path may be no text.
    sql = f"select cast(path as blob), sha256, hour_sha256 from files where {_OF_HOUR} order by path"  # noqa: S608
    rows = db.execute(sql, (account, hour)).fetchall()
    of_hour = _sha256(account, hour, fingerprint, [row[:2] for row in rows])
    return [path.decode() for path, _, _ in rows] if all(row[2] == of_hour for row in rows) else []


def _find(db: sqlite3.Connection, account: str, path: str) -> ShelvedFile | None:
    sql = "select hour, sha256, conversations, content from files where account = ? and path = ?"
    for hour, sha256, conversations, content in db.execute(sql, (account, path)).fetchall():
        if isinstance(content, bytes) and _sha256(account, hour, path, conversations, content) == sha256:
            return ShelvedFile(content, json.loads(gzip.decompress(conversations)))
    return None


def _sha256(*values: object) -> bytes:
    return hashlib.sha256(b"handletime shelf" + msgspec.msgpack.encode(values)).digest()
