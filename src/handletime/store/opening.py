"""The store's folder: one server at a time, one DuckDB file in it, and nothing that was acknowledged missing."""

from __future__ import annotations

import fcntl
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import duckdb

from handletime.errors import StoreError
from handletime.files import require_writable, sync
from handletime.processors import processors
from handletime.store.schema import migrate, version_of

FILE: Final = "store.duckdb"
LOCK: Final = "lock"
SPILLED: Final = "tmp"
"""The folder, inside the store's, for what does not fit into memory."""
EXPORTS: Final = "exports"
BACKUPS: Final = "backups"
FOLDERS: Final = (EXPORTS, BACKUPS)
"""The folders, inside the store's, that its queries may read and write."""
_SPILLED: Final = "duckdb_temp_*"
_log: Final = logging.getLogger(__name__)


class Entries(Protocol):
    """Where the number of the journal's last acknowledged entry is kept, apart from the journal: the side file."""

    def set_last_entry(self, number: int) -> None:
        """Keeps the number of an entry, before it is acknowledged."""


class Commits(Entries, Protocol):
    """Where the numbers of what was acknowledged last are kept, apart from the store: the side file."""

    def last_commit(self) -> int:
        """The number of the last acknowledged commit; 0 before the first."""

    def set_last_commit(self, number: int) -> None:
        """Keeps the number of a commit, before it is acknowledged."""

    def last_entry(self) -> int:
        """The number of the journal's last acknowledged entry; 0 before the first."""


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """The limits of a store.

    `memory_bytes` is for the database; what is being ingested comes on top. At most `queue_events` events and
    `queue_requests` requests wait to be acknowledged; up to `backlog_events` are in the journal and not yet in the
    tables, into which up to `fold_events` are folded in one transaction.
    A conversation gets no new events beyond `conversation_events`. Up to `part_events`, stored ones included, are
    derived at once; with more, conversations are derived bit by bit within their transaction. When the write-ahead log
    reaches `checkpoint_bytes`, it is written into the file. Queries of readers are stopped after `query_limit_s`.
    """

    memory_bytes: int = 1 << 30
    threads: int = 0
    queue_events: int = 400_000
    queue_requests: int = 10_000
    backlog_events: int = 120_000
    fold_events: int = 50_000
    conversation_events: int = 50_000
    part_events: int = 250_000
    checkpoint_bytes: int = 48 << 20
    query_limit_s: float | None = None


class FolderLock:
    """Holds a folder for one process, until it is released or the process ends."""

    def __init__(self, folder: Path) -> None:
        """Also removes what a killed process has spilled there.

        Raises StoreError where the folder is held by another process, or cannot be written to.
        """
        require_writable(folder)
        self._handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._handle, 20).decode(errors="replace").strip()
            os.close(self._handle)
            raise StoreError(
                f"{folder} is in use by another handletime{f' (process {owner})' if owner else ''}: "
                "stop it first, or use what works beside a server "
                "(`ingest --url`, `report --url`, `connect … --to`, `backup`, `check`, `rebuild` …)"
            ) from None
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)
        _empty(folder / SPILLED)

    def release(self) -> None:
        """Releases the folder. Does nothing the second time: by then the handle may be another file's."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)


class FolderSync:
    """Makes the names of the store's files as durable as the files, whenever there is a new one.

    DuckDB syncs its write-ahead log before a commit returns, but not the folder in which the log may be new.
    Logs whose names are synced are held open: else the next file could get the number of a file that is gone, and be
    taken for the same.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._synced: set[tuple[str, int]] | None = None
        self._held: list[int] = []
        self._file: tuple[int, ...] | None = None

    def sync(self) -> None:
        """Has to be called after each commit, before it is acknowledged. Raises OSError.

        Raises StoreError where the store's file, or its log, is gone or was replaced: later writes would be lost.
        The first time, and after `close`, any file is right.
        """
        with os.scandir(self._folder) as entries:
            there = {(entry.name, entry.inode()) for entry in entries if entry.name.startswith(FILE)}
        before, self._file = self._file, self._written()
        if before is not None:
            if self._file is None or before[0] != self._file[0]:
                raise StoreError(f"{self._folder / FILE} was removed or replaced while it was open")
            # A log goes with a checkpoint, which writes to the file.
            if before == self._file and not any(name == f"{FILE}.wal" for name, _ in there):
                raise StoreError(f"{self._folder / FILE}.wal was removed while it was open")
        if there != self._synced:
            self._let_go()
            # Not the database: closing the file would drop the locks that DuckDB has on it.
            there = {(name, number if name == FILE else self._hold(name)) for name, number in there}
            sync(self._folder)
            self._synced = there

    def close(self) -> None:
        """Closes the files; the next commit syncs again."""
        self._file = None
        self._let_go()

    def _let_go(self) -> None:
        self._synced = None
        while self._held:
            os.close(self._held.pop())

    def _written(self) -> tuple[int, ...] | None:
        """The number of the store's file, and a mark that changes when it is written to; None where it is not there."""
        try:
            status = (self._folder / FILE).stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size

    def _hold(self, name: str) -> int:
        """Opens a file; gives its number, -1 where a checkpoint has just removed it."""
        try:
            self._held.append(os.open(self._folder / name, os.O_RDONLY))
        except FileNotFoundError:
            return -1
        return os.fstat(self._held[-1]).st_ino


def size_of(file: Path) -> int:
    """Bytes of a file that others may make and remove; 0 where it is not there. Raises OSError."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def connect(folder: Path, settings: StoreSettings, last_commit: int) -> duckdb.DuckDBPyConnection:
    """Opens the store in a locked folder, or makes a new one, with the present schema.

    `last_commit` is the last one that was acknowledged. Raises StoreError where the store has not reached it, cannot
    be read, or is of a newer version.
    """
    path = folder / FILE
    if path.is_symlink():
        raise StoreError(f"{path} is a link, and the log would lie beside what it leads to: make the folder a link")
    if last_commit and not path.exists():
        raise StoreError(f"{path} is missing; commits up to {last_commit} were acknowledged: restore a backup")
    for name in FOLDERS:
        (folder / name).mkdir(exist_ok=True)
    for file in (path, folder / f"{FILE}.wal", *folder.glob("*.sqlite*")):
        _close_to_others(file)
    is_new = not path.exists()
    try:
        connection = _open(path, settings)
        if is_new:
            path.chmod(0o600)
    except duckdb.Error as error:
        raise StoreError(f"{path} cannot be opened: {error}") from error
    try:
        _check_commit(connection, folder, last_commit)
        migrate(connection)
    except duckdb.Error as error:
        connection.close()
        raise StoreError(f"{path} cannot be read: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _close_to_others(file: Path) -> None:
    """Lets only its owner read a file that an earlier version, or whoever copied it, left open to others."""
    try:
        mode = file.stat().st_mode
        if mode & 0o077:
            file.chmod(0o600)
            _log.warning("%s was open to others (%o); now it is its owner's only", file, mode & 0o777)
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("%s is open to others, and that cannot be changed: %s", file, error.strerror)


def _empty(spilled: Path) -> None:
    """Removes the database's spilled rows from a locked folder: no living process has written them."""
    # A link leads to a folder that others may spill into as well. The database looks after those itself, later.
    if spilled.is_symlink():
        return
    for path in spilled.glob(_SPILLED):
        try:
            path.unlink()
        except OSError as error:
            _log.warning("%s was left by a process that was killed, and cannot be removed: %s", path, error.strerror)


def _open(path: Path, settings: StoreSettings) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        str(path),
        config={
            "memory_limit": f"{settings.memory_bytes}B",
            "threads": settings.threads or processors(),
            "temp_directory": str(path.parent / SPILLED),
            "checkpoint_threshold": f"{16 * settings.checkpoint_bytes}B",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    folders = ", ".join("'" + str(path.parent / name).replace("'", "''") + "'" for name in FOLDERS)
    connection.execute(f"set allowed_directories = [{folders}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def _check_commit(connection: duckdb.DuckDBPyConnection, folder: Path, last_commit: int) -> None:
    reached = 0
    if version_of(connection):
        ((reached,),) = connection.execute("select commit_number from kept.meta").fetchall()
    if reached >= last_commit:
        return
    log = folder / f"{FILE}.wal"
    why = "is cut short or of another time" if log.exists() else "is missing"
    raise StoreError(
        f"{folder / FILE} has reached commit {reached}, but commits up to {last_commit} were acknowledged: "
        f"what came after is lost or not here, because {log.name} {why}, or the file is an older copy. "
        "Put the right files back, or restore a backup and send the events since then once more"
    )
