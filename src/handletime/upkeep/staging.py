"""Folders that get their name when they are complete. If the process that makes one is killed, the next removes it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from handletime.store.opening import BACKUPS


@contextmanager
def staged(target: Path, store: Path) -> Iterator[Path]:
    """A new folder beside `target`, for its owner only, to be renamed to it when it is complete; else it is removed.

    `store` is the folder of the store. It gets a note of where the unfinished folder lies: should this process be
    killed, the next one that opens the store finds it (`remove_leftover`). Raises OSError.
    """
    name = secrets.token_hex(8)
    folder = target.with_name(f".{target.name}-{name}")
    note = store / BACKUPS / f".{name}"
    note.symlink_to(folder.absolute(), target_is_directory=True)
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        note.unlink(missing_ok=True)


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
