"""The small SQLite file beside the store: keys, used nonces, sources, the last commit's number (docs/decisions.md)."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Final, Literal

from handletime.closing import Closing
from handletime.crashpoints import crash_point
from handletime.errors import StoreError
from handletime.files import require_writable, sync
from handletime.sqlite import open_existing, sqlite_errors, transaction

FILE: Final = "side.sqlite"
BUSY_S: Final = 5.0
"""Seconds that a writer waits for another one, also of another process."""
_PRUNED_S: Final = 2
"""Seconds' worth of old nonces that are removed with each new one, so that the work per request stays bounded."""

_NEAR_S: Final = 60
"""Seconds up to which two times of forgotten nonces are kept as one."""
_TIMES_MAX: Final = 100
"""The most times that are kept. Beyond it, the two nearest become one, with what lies between: some minutes."""

_MIGRATIONS: Final = (
    (
        # Hashes and sealed secrets only: whoever reads this file cannot sign a request.
        """CREATE TABLE keys (
            id TEXT PRIMARY KEY,
            account TEXT NOT NULL,
            permissions TEXT NOT NULL,
            created_ms INTEGER NOT NULL,
            expires_ms INTEGER,
            last_used_ms INTEGER,
            revoked_ms INTEGER,
            token_sha256 BLOB NOT NULL UNIQUE,
            app_key_sha256 BLOB NOT NULL UNIQUE,
            access_token_sha256 BLOB NOT NULL,
            sealed BLOB NOT NULL)""",
        "CREATE TABLE key_changes (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL)",
        "INSERT INTO key_changes VALUES (1, 0)",
        "CREATE TABLE sealing (one INTEGER PRIMARY KEY CHECK (one = 1), fingerprint BLOB NOT NULL)",
        # By time first: new ones go to the end, forgotten ones leave from the front.
        """CREATE TABLE nonces (
            timestamp INTEGER NOT NULL,
            key_id TEXT NOT NULL,
            nonce TEXT NOT NULL,
            PRIMARY KEY (timestamp, key_id, nonce)) WITHOUT ROWID""",
        "CREATE TABLE commits (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL)",
        "INSERT INTO commits VALUES (1, 0)",
    ),
    (
        # Seals bind more than the id (`keys.sealing`). Older ones stay in form 1 until the secret key is at hand.
        "ALTER TABLE sealing ADD COLUMN form INTEGER NOT NULL DEFAULT 1",
        "UPDATE keys SET sealed = x'' WHERE revoked_ms IS NOT NULL",
    ),
    (
        "CREATE TABLE forgotten (one INTEGER PRIMARY KEY CHECK (one = 1), timestamp INTEGER NOT NULL)",
        "INSERT INTO forgotten VALUES (1, -1)",
    ),
    (
        "CREATE TABLE clock (one INTEGER PRIMARY KEY CHECK (one = 1), seen_ms INTEGER NOT NULL, waited_ms INTEGER)",
        "CREATE TABLE forgotten_times (since INTEGER PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID",
        """INSERT INTO forgotten_times
            SELECT 0, min(timestamp, CAST(strftime('%s', 'now') AS INTEGER)) FROM forgotten WHERE timestamp >= 0""",
        "DROP TABLE forgotten",
    ),
    # The number of the journal's last acknowledged entry.
    ("ALTER TABLE commits ADD COLUMN entry INTEGER NOT NULL DEFAULT 0",),
    # What `handletime connect` has set up (`keys.sources`). A change counts as one of keys.
    (
        """CREATE TABLE sources (
            account TEXT NOT NULL,
            name TEXT NOT NULL,
            described BLOB NOT NULL,
            sealed BLOB NOT NULL,
            PRIMARY KEY (account, name)) WITHOUT ROWID""",
    ),
    # The agent that a key for focus belongs to.
    ("ALTER TABLE keys ADD COLUMN agent_id INTEGER",),
    # What tells this store from others; a copy of it is the same store.
    (
        "CREATE TABLE identity (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL)",
        "INSERT INTO identity VALUES (1, lower(hex(randomblob(16))))",
    ),
    # What of the account a key may see, as JSON; null is all of it.
    ("ALTER TABLE keys ADD COLUMN scope TEXT",),
)
"""What makes each version of the schema from the one before; their number is in PRAGMA user_version."""


class SideFile(Closing):
    """The side file of one folder, open. Any thread may use it, several processes may have it open at once.

    Readers never wait. What `writing` wrote survives kill −9 and costs no sync; what `writing_durably` wrote
    survives a power loss. Whatever is done raises StoreError where the file is missing (and not to be made),
    damaged, no side file or of a newer version, and NotNow where another process writes for long or the disk
    is full; opening it OSError too.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self.folder = folder
        self.path = folder / FILE
        require_writable(folder)
        with sqlite_errors(self.path):
            if not self.path.exists():
                _require(folder, create=create)
                create_whole(self.path, _make)
            _migrate(self.path)
            self._reader, self._writer = _connect(self.path, "NORMAL"), _connect(self.path, "NORMAL")
        self._reader_lock, self._writer_lock = Lock(), Lock()

    def close(self) -> None:
        """Closes the file; what was written stays."""
        with self._reader_lock, self._writer_lock:
            self._reader.close()
            self._writer.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the file, whatever is written meanwhile."""
        with sqlite_errors(self.path), self._reader_lock, transaction(self._reader, "BEGIN") as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that survives kill −9 once it ends. A power loss may undo the last ones."""
        with sqlite_errors(self.path), self._writer_lock, transaction(self._writer, "BEGIN IMMEDIATE") as db:
            yield db

    @contextmanager
    def writing_durably(self) -> Iterator[sqlite3.Connection]:
        """A transaction that survives a power loss once it ends; so do all before it."""
        with (
            sqlite_errors(self.path),
            closing(_connect(self.path, "FULL")) as connection,
            transaction(connection, "BEGIN IMMEDIATE") as db,
        ):
            yield db

    def key_changes(self) -> int:
        """A number that grows with each change of a key. Reading it costs less than a transaction."""
        with sqlite_errors(self.path), self._reader_lock:
            return int(self._reader.execute("SELECT number FROM key_changes").fetchall()[0][0])

    def last_commit(self) -> int:
        """The number of the store's last acknowledged commit; 0 before the first."""
        with self.reading() as db:
            return int(db.execute("SELECT number FROM commits").fetchall()[0][0])

    def set_last_commit(self, number: int) -> None:
        """Keeps the number of a commit (signed 64 bits). To be called before the commit is acknowledged."""
        with self.writing() as db:
            db.execute("UPDATE commits SET number = ?", (number,))

    def last_entry(self) -> int:
        """The number of the journal's last acknowledged entry; 0 before the first."""
        with self.reading() as db:
            return int(db.execute("SELECT entry FROM commits").fetchall()[0][0])

    def set_last_entry(self, number: int) -> None:
        """Keeps the number of an entry of the journal. To be called before the entry is acknowledged."""
        with self.writing() as db:
            db.execute("UPDATE commits SET entry = ?", (number,))

    def clock(self) -> tuple[int, int | None] | None:
        """What `set_clock` kept last; None before the first time."""
        with self.reading() as db:
            found = db.execute("SELECT seen_ms, waited_ms FROM clock").fetchall()
        return found[0] if found else None

    def set_clock(self, seen: int, waited: int | None) -> None:
        """Keeps the clock's time (epoch milliseconds), and for how long it has run since it jumped (milliseconds).

        The latter is None where the clock is believed.
        """
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO clock VALUES (1, ?, ?)", (seen, waited))

    def identity(self) -> str:
        """What tells this store from all others, a random word. A backup that is restored has the same."""
        with self.reading() as db:
            return str(db.execute("SELECT id FROM identity").fetchall()[0][0])

    def copy_to(self, target: Path) -> None:
        """Writes the present content to a new file, for its owner only. Raises OSError."""
        target.touch(mode=0o600, exist_ok=False)
        with (
            sqlite_errors(self.path),
            closing(_connect(self.path, "NORMAL")) as db,
            closing(_connect(target, "FULL")) as other,
        ):
            db.backup(other)

    def has_sealed(self) -> bool:
        """Whether anything was sealed with a secret key."""
        with self.reading() as db:
            return bool(db.execute("SELECT 1 FROM sealing").fetchall())

    def problems(self) -> list[str]:
        """Reads everything; says what is wrong, in plain words."""
        try:
            with self.reading() as db:
                found = db.execute("PRAGMA integrity_check").fetchall()
        except StoreError as error:
            return [str(error)]
        return [f"{self.path}: {text}" for (text,) in found if text != "ok"]

    def use_nonce(self, key_id: str, timestamp: int, nonce: str, *, forget_before: int) -> bool:
        """Records a nonce of a key and says whether it is new (RFC 5849 3.3). Of equal calls at once, one is new.

        Times are epoch seconds. Nonces from before `forget_before` are removed, a few with each call. No nonce is new
        at times of which any were removed: the clock may have been put forward, and back.
        """
        with self.writing() as db:
            sql = """SELECT min(timestamp), max(timestamp) FROM nonces
                WHERE timestamp < min(?, (SELECT min(timestamp) FROM nonces) + ?)"""
            oldest, newest = db.execute(sql, (forget_before, _PRUNED_S)).fetchall()[0]
            if newest is not None:
                db.execute("DELETE FROM nonces WHERE timestamp <= ?", (newest,))
                _forget(db, oldest, newest)
            if db.execute("SELECT 1 FROM forgotten_times WHERE ? BETWEEN since AND until", (timestamp,)).fetchall():
                return False
            row = (timestamp, key_id, nonce)
            return db.execute("INSERT INTO nonces VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row).rowcount == 1


def _forget(db: sqlite3.Connection, since: int, until: int) -> None:
    """Records that nonces of these times were forgotten. Near times become one, so that there are few in all.

    What lies between two times stays free: a clock that was far ahead for a while locks nobody out.
    """
    near = (since - _NEAR_S, until + _NEAR_S)
    sql = "SELECT min(since), max(until) FROM forgotten_times WHERE until >= ? AND since <= ?"
    first, last = db.execute(sql, near).fetchall()[0]
    db.execute("DELETE FROM forgotten_times WHERE until >= ? AND since <= ?", near)
    both = (since, until) if first is None else (min(since, first), max(until, last))
    db.execute("INSERT INTO forgotten_times VALUES (?, ?)", both)
    (count,) = db.execute("SELECT count(*) FROM forgotten_times").fetchall()[0]
    if count > _TIMES_MAX:
        sql = """SELECT since, lead(since) OVER times AS second, lead(until) OVER times AS last
            FROM forgotten_times WINDOW times AS (ORDER BY since) ORDER BY second - until NULLS LAST LIMIT 1"""
        first, second, last = db.execute(sql).fetchall()[0]
        db.execute("DELETE FROM forgotten_times WHERE since = ?", (second,))
        db.execute("UPDATE forgotten_times SET until = ? WHERE since = ?", (last, first))


def set_commit_of_copy(path: Path, number: int, entry: int) -> None:
    """Sets the last commit, and entry of the journal, in a copy of the side file to those of the store's copy.

    Raises StoreError.
    """
    with sqlite_errors(path), closing(_connect(path, "FULL")) as db:
        db.execute("UPDATE commits SET number = ?, entry = ?", (number, entry))
        # Nobody else has it open: it is one file again.
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def create_whole(path: Path, fill: Callable[[Path], None]) -> None:
    """Makes a file for its owner only; it and its folder are synced. A file that is there stays.

    `fill` writes it under another name first, so that nobody ever sees a part of it. Raises OSError.
    """
    # Closed before the file has its name: a close drops SQLite's locks on the same file, whoever holds them.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    try:
        fill(Path(name))
        sync(Path(name))
        crash_point("file-written")
        with suppress(FileExistsError):
            os.link(name, path)
        crash_point("file-named")
    finally:
        Path(name).unlink()
    sync(path.parent)


def _require(folder: Path, *, create: bool) -> None:
    if not folder.is_dir():
        raise StoreError(f"{folder}: there is no such folder")
    if not create:
        raise StoreError(f"{folder / FILE} is missing: it holds the keys and the number of the last commit")


def _make(path: Path) -> None:
    with closing(_connect(path, "FULL")) as db:
        db.execute("PRAGMA journal_mode = WAL")
    _migrate(path, new=True)


def _migrate(path: Path, *, new: bool = False) -> None:
    with closing(_connect(path, "FULL")) as connection:
        version = _version(connection)
        if version == len(_MIGRATIONS):
            return
        if version == 0 and not new:
            raise StoreError(f"{path} is empty or no side file: whatever it held is gone")
        with transaction(connection, "BEGIN IMMEDIATE") as db:
            for statement in _statements_after(path, _version(db)):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchall()[0][0])


def _statements_after(path: Path, version: int) -> Iterator[str]:
    if version > len(_MIGRATIONS):
        known = len(_MIGRATIONS)
        raise StoreError(f"{path} is of version {version} of a newer handletime; this one knows up to {known}")
    for statements in _MIGRATIONS[version:]:
        yield from statements


def _connect(path: Path, synchronous: Literal["NORMAL", "FULL"]) -> sqlite3.Connection:
    return open_existing(path, synchronous, BUSY_S)
