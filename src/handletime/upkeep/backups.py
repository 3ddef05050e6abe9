"""Copies of a store and of what it needs: made while it is in use, put back when none is."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import duckdb
import msgspec

from handletime.crashpoints import crash_point
from handletime.deliveries.file import FILE as DELIVERIES
from handletime.deliveries.file import Deliveries
from handletime.errors import InputError, StoreError
from handletime.files import read_regular, sync
from handletime.keys import sidefile
from handletime.keys.secret import KEY_FILE
from handletime.keys.sidefile import SideFile
from handletime.segments.parts import Progress
from handletime.store.journal import FILE as JOURNAL
from handletime.store.opening import BACKUPS, FILE, FolderLock
from handletime.store.schema import MIGRATIONS, version_of
from handletime.store.store import Store
from handletime.store.watch import Watch
from handletime.upkeep.staging import staged

MANIFEST: Final = "backup.json"
MANIFEST_MAX: Final = 1 << 20
SecretKey = Literal["held", "leftOut", "none"]
"""Whether a backup has the secret key; `none` also where there was no key to leave out."""


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """What a backup holds: the number of its last commit, when it was made, its files and their sizes in bytes."""

    commit: int
    made: datetime
    secret_key: SecretKey
    files: dict[str, int]
    format: Literal[1] = 1

    def lacks_secret_key(self) -> bool:
        """Whether a secret key has to be put beside the keys before they are valid."""
        return self.secret_key == "leftOut"  # noqa: S105 - no password


def back_up(store: Store, side: SideFile, target: Path, *, secret_key: bool, watch: Watch) -> Manifest:
    """Copies a store, its keys and, if wanted, the secret key to a new folder, as of one moment.

    Ingest and readers go on meanwhile. Raises NotNow, duckdb.Error, and what `staged` raises; then no folder is left.
    """
    secret = side.folder / KEY_FILE
    kept: SecretKey = "none" if not secret.exists() else "held" if secret_key else "leftOut"
    with staged(target, store.folder) as folder:
        watch.progress("copying the keys", 0, 2)
        # Before the store, which then has the last commit that it names.
        side.copy_to(folder / sidefile.FILE)
        if (store.folder / DELIVERIES).exists():
            # Before the store too: what is mapped meanwhile is in both, and then a duplicate; never in none.
            with Deliveries(store.folder) as deliveries:
                deliveries.copy_to(folder / DELIVERIES)
        watch.progress("copying the store", 1, 2)
        commit, entry = _copy_store(store, folder / FILE, watch)
        watch.progress("finishing", 2, 2)
        sidefile.set_commit_of_copy(folder / sidefile.FILE, commit, entry)
        for each in folder.iterdir():
            sync(each)
        if kept == "held":
            # Last of all, so that it hardly ever lies in an unfinished folder.
            _copy(secret, folder / KEY_FILE)
        files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        manifest = Manifest(commit, datetime.now(UTC), kept, files)
        path = folder / MANIFEST
        path.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        sync(path)
        sync(folder)
    return manifest


def _copy_store(store: Store, target: Path, watch: Watch) -> tuple[int, int]:
    """Writes all of a store as of one moment to a new file; gives the numbers of its last commit, and of the last entry
    of the journal up to which all stand in it.
    """
    # The store's queries may write nowhere else.
    made = store.folder / BACKUPS / f".{secrets.token_hex(8)}.duckdb"
    try:
        with store.cursor(watch) as cursor:
            numbers = _copy_rows(cursor, made)
        _move(made, target)
    finally:
        for left in made.parent.glob(f"{made.name}*"):
            left.unlink(missing_ok=True)
    return numbers


def _copy_rows(cursor: duckdb.DuckDBPyConnection, target: Path) -> tuple[int, int]:
    cursor.execute(f"attach '{_quoted(target)}' as backup")
    try:
        cursor.begin()
        cursor.execute("copy from database store to backup")
        crash_point("store-copied")
        ((number, entry),) = cursor.execute("select commit_number, folded from backup.kept.meta").fetchall()
        cursor.commit()
    except BaseException:
        with suppress(duckdb.Error):  # It may have ended the transaction itself.
            cursor.rollback()
        raise
    finally:
        cursor.execute("detach backup")
    return int(number), int(entry)


def restore(source: Path, folder: Path, progress: Progress = lambda _what, _done, _of: None) -> Manifest:
    """Puts a backup into a folder that has no store; makes the folder, for its owner only, if there is none.

    Events that were acknowledged after the backup have to be sent again. Raises InputError where it is not a complete
    backup, StoreError where the folder is in use or has a store, OSError.
    """
    manifest = _manifest(source)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FolderLock(folder)
    staging = folder / BACKUPS / f".{secrets.token_hex(8)}"
    try:
        _require_no_store(folder)
        staging.mkdir(mode=0o700, parents=True)
        for done, name in enumerate(manifest.files):
            progress(f"copying {name}", done, len(manifest.files))
            _copy(source / name, staging / name)
        _check_copy(staging / FILE, manifest)
        # The side file is last: a server does not start without it.
        for name in sorted(manifest.files, key=lambda name: name == sidefile.FILE):
            os.link(staging / name, folder / name)
        sync(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        lock.release()
    return manifest


def _manifest(source: Path) -> Manifest:
    path = source / MANIFEST
    if not path.is_file():
        raise InputError(f"{source} is no backup: there is no {MANIFEST} in it")
    try:
        manifest = msgspec.json.decode(read_regular(path, MANIFEST_MAX), type=Manifest)
    except msgspec.MsgspecError as error:
        raise InputError(f"{path} cannot be read, or is of a newer handletime: {error}") from error
    ours = {FILE, sidefile.FILE}
    if not ours <= manifest.files.keys() <= ours | {KEY_FILE, DELIVERIES}:
        raise InputError(f"{path} names other files than a backup has")
    for name, size in manifest.files.items():
        there = (source / name).stat().st_size if (source / name).is_file() else None
        if there != size:
            what = "is missing" if there is None else f"has {there} bytes"
            raise InputError(f"{source / name} {what}, but should have {size}: the backup is not complete")
    return manifest


def _require_no_store(folder: Path) -> None:
    ours = (FILE, sidefile.FILE, JOURNAL, DELIVERIES, KEY_FILE, "shelf.sqlite")
    there = sorted(path.name for name in ours for path in folder.glob(f"{name}*"))
    if there:
        raise StoreError(f"{folder} has a store ({', '.join(there)}): move it away first")


def _check_copy(path: Path, manifest: Manifest) -> None:
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            version = version_of(connection)
            if not 0 < version <= len(MIGRATIONS):
                raise InputError(f"the backup is of version {version}, this program knows 1 to {len(MIGRATIONS)}")
            ((number,),) = connection.execute("select commit_number from kept.meta").fetchall()
    except duckdb.Error as error:
        raise InputError(f"{FILE} of the backup cannot be read: {error}") from error
    if number != manifest.commit:
        raise InputError(f"{FILE} of the backup has commit {number}, not {manifest.commit}: it is of another backup")


def _move(file: Path, target: Path) -> None:
    """Moves a file; copies it where the name is on another disk."""
    try:
        file.chmod(0o600)
        sync(file)
        file.rename(target)
    except OSError:
        _copy(file, target)


def _copy(file: Path, target: Path) -> None:
    shutil.copyfile(file, target)
    target.chmod(0o600)
    sync(target)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
