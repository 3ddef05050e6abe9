"""The store's folder, as the commands of the service open it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from handletime.store.sidefile import SideFile

OWNER_ONLY: Final = 0o077
"""What others may not do with the files of a store, and with copies of it."""


def keep_private() -> None:
    """Lets this process make files and folders for its owner only, whatever folder they are in."""
    os.umask(OWNER_ONLY)


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
    from handletime.store.opening import FILE
    from handletime.store.sidefile import SideFile

    return SideFile(folder, create=not (folder / FILE).exists())
