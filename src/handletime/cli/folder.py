"""The store's folder, as the commands of the service open it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from handletime.store.sidefile import SideFile

data_option = click.option(
    "--data",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    envvar="HANDLETIME_DATA",
    metavar="DIR",
    help="Folder of the store.",
)


def make_folder(folder: Path) -> None:
    """Makes a store's folder, for its owner only, if there is none. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def side_file(folder: Path) -> SideFile:
    """The side file of a store, made with a new store only. Raises StoreError, NotNow, OSError."""
    from handletime.store.opening import FILE
    from handletime.store.sidefile import SideFile

    return SideFile(folder, create=not (folder / FILE).exists())
