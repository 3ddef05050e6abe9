"""The store's folder, as the commands of the service open it."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from handletime.keys.sidefile import SideFile

OWNER_ONLY: Final = 0o077
"""What others may not do with the files of a store, and with copies of it."""
_NO_CORE: Final = 1
"""Bytes that a core dump may have."""


def keep_private() -> None:
    """Lets this process make files and folders for its owner only, whatever folder they are in, and no core dumps."""
    os.umask(OWNER_ONLY)
    forbid_core_dumps()


def forbid_core_dumps() -> None:
    """Lets no crash of this process, or of one that it starts, write its memory: keys, secrets and events are in it.

    With 0, a program that the system hands core dumps to (`|` in core_pattern, core(5)) would get one all the same.
    With 1, the kernel hands over none, and a file of a byte is too small to be begun.
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
    """Makes a store's folder, for its owner only, if there is none; so are all files that follow. Raises OSError."""
    keep_private()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def side_file(folder: Path) -> SideFile:
    """The side file of a store, made with a new store only. Raises StoreError, NotNow, OSError."""
    from handletime.keys.sidefile import SideFile
    from handletime.store.opening import FILE

    return SideFile(folder, create=not (folder / FILE).exists())
