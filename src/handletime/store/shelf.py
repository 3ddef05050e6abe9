"""The shelf: files of handle-time units that were listed, one (or a few) an hour.

A file is made when it is first listed, and never changes. When late events change an hour, the next listing makes a
new file, and the old one stays for a day. Files are looked up by their whole path, never on the disk.

SQLite has no checksums, so every file has two: one of its content, one of the rest of its row. A file whose checksum
does not fit counts as missing, and is made again when it is next listed.
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
_VERSION: Final = 2
_SCHEMA: Final = """
create table if not exists files (
    path text primary key, account text not null, hour integer not null, fingerprint text not null,
    made integer not null, replaced integer, parts integer not null, body_sha256 blob not null,
    row_sha256 blob not null, conversations blob not null, content blob not null) without rowid;
create index if not exists files_of_hour on files (account, hour) where replaced is null;
"""
_ROW: Final = """cast(path as blob), cast(account as blob), hour, cast(fingerprint as blob),
    made, replaced, parts, body_sha256"""


class NewFile(NamedTuple):
    """A file to be put on the shelf: its content, gzipped, and the conversations that it names."""

    path: str
    content: bytes
    conversations: Sequence[str]


class ShelvedFile(NamedTuple):
    """A file from the shelf."""

    content: bytes
    conversations: list[str]


class _Row(NamedTuple):
    """The shelf's row of a file, as stored; `parts` is the number of files that the hour was made of."""

    path: bytes
    account: bytes
    hour: int
    fingerprint: bytes
    made: int
    replaced: int | None
    parts: int
    body_sha256: bytes

    def sha256(self) -> bytes:
        """The checksum of the whole row."""
        return hashlib.sha256(b"handletime shelf" + msgspec.msgpack.encode(tuple(self))).digest()


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
        found = self._file.use(lambda db: list(_rows(db, _OF_HOUR, account, hour)))
        wanted = (account.encode(), hour, fingerprint.encode(), None)
        rows = [row for row in found if row and (row.account, row.hour, row.fingerprint, row.replaced) == wanted]
        if not len(found) == len(rows) == (rows[0].parts if rows else 0):
            return []
        return sorted(row.path.decode() for row in rows)

    def put(self, account: str, hour: int, fingerprint: str, made: int, files: Iterable[NewFile]) -> list[str]:
        """Replaces the files of an hour, and removes files that were replaced long ago."""
        bodies = [
            (file.path, gzip.compress(json.dumps(file.conversations).encode(), 1), file.content) for file in files
        ]
        place = (account.encode(), hour, fingerprint.encode(), made, None, len(bodies))

        def work(db: sqlite3.Connection) -> None:
            db.execute("delete from files where replaced < ?", (made - KEPT_MILLIS,))
            _replace(db, account, hour, made)
            for path, named, content in bodies:
                row = _Row(path.encode(), *place, _sha256(named, content))
                db.execute(_NEW, (*row, row.sha256(), named, content))
            if len(bodies) != len(list(_rows(db, _OF_HOUR, account, hour))):
                raise sqlite3.DatabaseError("a row and its index differ")

        self._file.use(work)
        return [path for path, _, _ in bodies]

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


_NEW: Final = """insert into files (path, account, hour, fingerprint, made, replaced, parts, body_sha256,
        row_sha256, conversations, content)
    values (cast(? as text), cast(? as text), ?, cast(? as text), ?, ?, ?, ?, ?, ?, ?)"""


_OF_HOUR: Final = "account = ? and hour = ? and replaced is null"


def _rows(db: sqlite3.Connection, where: str, *values: object) -> Iterator[_Row | None]:
    """The shelf's rows of some files; None for each that is damaged."""
    for *found, sha256 in db.execute(f"select {_ROW}, row_sha256 from files where {where}", values):  # noqa: S608
        row = _Row(*found)
        yield row if row.sha256() == sha256 else None


def _replace(db: sqlite3.Connection, account: str, hour: int, made: int) -> None:
    """Marks the files of an hour as replaced; removes damaged ones."""
    rows = list(_rows(db, _OF_HOUR, account, hour))
    for row in rows:
        if row is not None:
            row = row._replace(replaced=made)
            db.execute(
                "update files set replaced = ?, row_sha256 = ? where path = cast(? as text)",
                (made, row.sha256(), row.path),
            )
    if None in rows:
        db.execute(f"delete from files where {_OF_HOUR}", (account, hour))  # noqa: S608


def _find(db: sqlite3.Connection, account: str, path: str) -> ShelvedFile | None:
    row = next(_rows(db, "account = ? and path = ?", account, path), None)
    if row is None:
        return None
    sql = "select content, conversations from files where path = ?"
    ((content, named),) = db.execute(sql, (path,)).fetchall()
    if not isinstance(content, bytes) or not isinstance(named, bytes) or row.body_sha256 != _sha256(named, content):
        return None
    return ShelvedFile(content, json.loads(gzip.decompress(named)))


def _sha256(named: bytes, content: bytes) -> bytes:
    return hashlib.sha256(len(named).to_bytes(8) + named + content).digest()
