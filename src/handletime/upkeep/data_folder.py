"""What upkeep works on: the open store of a folder, its side file and its shelf."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from handletime.errors import StoreError
from handletime.keys.sidefile import SideFile
from handletime.store.opening import FILE, FOLDERS, StoreSettings
from handletime.store.shelf import Shelf
from handletime.store.store import Store
from handletime.upkeep.staging import remove_leftover

SHELF: Final = "shelf.sqlite"
_LEFTOVERS: Final = (*(f"{name}/.*" for name in FOLDERS), ".handletime-*", ".admin-*")
"""Names that a killed command may leave in the folder."""


class DataFolder:
    """The open data folder of this process. Any thread may use it."""

    def __init__(self, folder: Path, store: Store, side: SideFile, shelf: Shelf) -> None:
        """Also removes what killed commands have left."""
        self.folder, self.store, self.side, self.shelf = folder, store, side, shelf
        self.long_one = threading.Lock()
        """Held by the one command that takes long."""
        for pattern in _LEFTOVERS:
            for path in folder.glob(pattern):
                remove_leftover(path)

    @contextmanager
    def removing(self, names: Mapping[str, list[str]]) -> Iterator[None]:
        """Surrounds the removal of conversations: no unit file names one of them from now on."""
        # No file is made meanwhile, and none is left should the process end here.
        with ExitStack() as stack:
            for account in sorted(names):  # in one order, or two could wait for each other
                stack.enter_context(self.shelf.making(account))
            for account, conversations in names.items():
                self.shelf.forget(account, conversations)
            yield


@contextmanager
def open_data_folder(folder: Path) -> Iterator[DataFolder]:
    """Opens a folder that nobody else has open. Raises StoreError, also where there is no store; NotNow, OSError."""
    if not (folder / FILE).exists():
        raise StoreError(f"{folder} has no store: there is no {FILE} in it")
    with (
        SideFile(folder, create=False) as side,
        Store(folder, side, StoreSettings()) as store,
        Shelf(folder / SHELF) as shelf,
    ):
        yield DataFolder(folder, store, side, shelf)
