"""How commands open a store's folder: for its owner only, and without core dumps."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from handletime.keys.sidefile import SideFile

OWNER_ONLY: Final = 0o077
"""The permissions that others do not get on the files of a store, and on copies of it."""
_NO_CORE: Final = 1
"""The most bytes of a core dump (see `forbid_core_dumps`)."""


def keep_private() -> None:
    """Lets this process make files and folders for its owner only, whatever folder they are in, and no core dumps."""
    os.umask(OWNER_ONLY)
    forbid_core_dumps()


def forbid_core_dumps() -> None:
    """Forbids core dumps of this process and of those that it starts: keys, secrets and events are in its memory.

    With a limit of 0, a program that the system hands core dumps to (`|` in core_pattern, core(5)) would still get one.
    With 1 it gets none, and a file of one byte is too small to be begun.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    most = _NO_CORE if hard == resource.RLIM_INFINITY else min(hard, _NO_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def _private(_context: click.Context, _option: click.Parameter, folder: Path) -> Path:
    keep_private()
    return folder


data_option = click.option(
    "--data",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    envvar="HANDLETIME_DATA",
    metavar="DIR",
    help="Folder of the store.",
    callback=_private,
)


def make_folder(folder: Path) -> None:
    """Makes a store's folder if there is none. It and all files that follow are their owner's only. Raises OSError."""
    keep_private()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def side_file(folder: Path) -> SideFile:
    """The side file of a store, made with a new store only. Raises StoreError, NotNow, OSError."""
    from handletime.keys.sidefile import SideFile
    from handletime.store.opening import FILE

    return SideFile(folder, create=not (folder / FILE).exists())
