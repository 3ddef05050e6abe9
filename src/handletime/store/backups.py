"""Copies of a store: made while it is in use, put back when none is."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

import duckdb

from handletime.errors import InputError, StoreError
from handletime.store.opening import BACKUPS, FILE, Commits, FolderLock, sync
from handletime.store.schema import MIGRATIONS, version_of


def backup(cursor: duckdb.DuckDBPyConnection, folder: Path, target: Path) -> int:
    """Writes all of the store as of one moment to a new file; gives the number of the last commit that it has.

    Ingest and readers go on meanwhile. Keys are not in it: they are in the side file. Raises InputError where the
    target is there already, OSError, duckdb.Error; nothing of the name is left then.
    """
    if target.exists():
        raise InputError(f"{target} is there already")
    made = folder / BACKUPS / f".{secrets.token_hex(8)}.duckdb"
    try:
        cursor.execute(f"attach '{_quoted(made)}' as backup")
        try:
            cursor.begin()
            cursor.execute("copy from database store to backup")
            ((number,),) = cursor.execute("select commit_number from backup.kept.meta").fetchall()
            cursor.commit()
        finally:
            cursor.execute("detach backup")
        sync(made)
        _place(made, target)
    finally:
        made.unlink(missing_ok=True)
    return int(number)


def restore(source: Path, folder: Path, commits: Commits) -> int:
    """Puts a backup into a folder that has no store; gives the number of its last commit.

    What was acknowledged later than the backup is not in it: it has to be sent again. Raises StoreError where the
    folder is in use or has a store, or the backup cannot be used; OSError.
    """
    lock = FolderLock(folder)
    try:
        there = sorted(path.name for path in folder.glob(f"{FILE}*"))
        if there:
            raise StoreError(f"{folder} has a store ({', '.join(there)}): move it away first")
        number = _commit_of(source)
        staged = folder / BACKUPS / f".{secrets.token_hex(8)}.duckdb"
        staged.parent.mkdir(exist_ok=True)
        try:
            shutil.copyfile(source, staged)
            sync(staged)
            _place(staged, folder / FILE)
        finally:
            staged.unlink(missing_ok=True)
        commits.set_last_commit(number)
        return number
    finally:
        lock.release()


def _commit_of(path: Path) -> int:
    """Raises StoreError where it is no backup that can be used."""
    if not path.is_file():
        raise StoreError(f"{path}: there is no such file")
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            version = version_of(connection)
            if not 0 < version <= len(MIGRATIONS):
                raise StoreError(f"{path} is of version {version}, this program knows 1 to {len(MIGRATIONS)}")
            ((number,),) = connection.execute("select commit_number from kept.meta").fetchall()
            return int(number)
    except duckdb.Error as error:
        raise StoreError(f"{path} cannot be read as a backup: {error}") from error


def _place(file: Path, target: Path) -> None:
    """Gives a synced file its name, for good; copies it where the name is on another disk."""
    staged = target.with_name(f".{target.name}-{secrets.token_hex(8)}")
    try:
        try:
            file.rename(staged)
        except OSError:
            shutil.copyfile(file, staged)
            sync(staged)
        os.link(staged, target)
    finally:
        staged.unlink(missing_ok=True)
    sync(target.parent)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
