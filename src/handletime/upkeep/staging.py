"""Folders that get their name when they are complete. If the process that makes one is killed, the next removes it."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from handletime.crashpoints import crash_point
from handletime.errors import InputError
from handletime.files import sync
from handletime.store.opening import BACKUPS


@contextmanager
def staged(target: Path, store: Path) -> Iterator[Path]:
    """A new folder beside `target`, for its owner only, which gets that name at the end; after an error it is removed.

    `store` is the folder of the store. It gets a note of where the unfinished folder lies: should this process be
    killed, the next one that opens the store finds it (`remove_leftover`). Raises InputError where there is something
    of that name, other than an empty folder that can be replaced, or no folder to put it in; OSError.
    """
    _require_room(target)
    name = secrets.token_hex(8)
    folder = target.with_name(f".{target.name}-{name}")
    note = store / BACKUPS / f".{name}"
    note.symlink_to(folder.absolute(), target_is_directory=True)
    try:
        folder.mkdir(mode=0o700)
        yield folder
        _require_room(target)
        crash_point("folder-complete")
        folder.rename(target)
        crash_point("folder-named")
        sync(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        note.unlink(missing_ok=True)


def _require_room(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is there already; name a folder that is not, or is empty")
    if target.is_symlink() or os.path.ismount(target):
        raise InputError(f"{target} is a link or a mounted disk, whose place no folder can take; name one inside it")
    if not target.parent.is_dir():
        raise InputError(f"{target.parent}: there is no such folder")


def remove_leftover(path: Path) -> None:
    """Removes what a killed command left in the folder of backups; also the unfinished folder that a note there names.

    Raises OSError.
    """
    if path.is_symlink():
        unfinished = path.readlink()
        # Of nothing but what was made with this note.
        if unfinished.name.startswith(".") and unfinished.name.endswith(f"-{path.name[1:]}"):
            shutil.rmtree(unfinished, ignore_errors=True)
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
