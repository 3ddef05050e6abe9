"""A folder that is exported to again and again: what stands in it, and files that others only ever see whole."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import msgspec

from handletime.errors import InputError, NotNow
from handletime.files import STAGED, replace_whole, sync

CONTENTS: Final = "export.json"
FILE: Final = "part-0.parquet"
RUNNING: Final = "running"
"""The day of a segment that is still running: a word, because pandas reads no folder whose partition is null."""
FORM: Final = 1
_LOCK: Final = ".lock"
_UNFINISHED: Final = f".{FILE}.new"
"""What a file is called until it is whole: readers of folders pass over it."""
_PLACE: Final = re.compile(r"([a-z_]+)/account=([A-Za-z0-9]+)/day=(\d{4}-\d\d-\d\d|running)")


class Place(NamedTuple):
    """Where the rows of one table, account and day lie. `day` counts from the epoch; None: they are running."""

    table: str
    account: str
    day: int | None

    def __str__(self) -> str:
        """The folder, relative to that of the export."""
        label = RUNNING if self.day is None else str(date(1970, 1, 1) + timedelta(days=self.day))
        return f"{self.table}/account={self.account}/day={label}"


class Rows(msgspec.Struct, frozen=True, array_like=True):
    """What a file has: how many rows, and a digest of all of them; with its size in bytes once it is written."""

    rows: int
    digest: str
    size: int = -1


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the folder, and of what it is an export: `export.json`.

    `files` are by their folder (`Place`). `unsure` are those of an export that has begun: its file is the old one, the
    new one or not there, until the export has ended.
    """

    form: int = FORM
    store: str
    account: str | None
    start: int | None
    end: int | None
    files: dict[str, Rows] = {}
    unsure: list[str] = []

    def replaced(self, files: dict[str, Rows], unsure: list[str]) -> Contents:
        """The same export with other files."""
        return msgspec.structs.replace(self, files=files, unsure=unsure)


class ExportFolder:
    """The folder of an export that is being written; `durable` where others read it meanwhile.

    Files and folders in it may be read by those who may read the folder itself.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self.path, self._durable = path, durable
        self._mode = stat.S_IMODE(path.stat().st_mode)

    def write_contents(self, contents: Contents) -> None:
        """Says what stands in the folder now; durable when this returns. Raises OSError."""
        self.write(CONTENTS, msgspec.json.encode(contents))

    def write(self, name: str, content: bytes) -> None:
        """Replaces a file of the folder itself. Raises OSError."""
        replace_whole(self.path / name, content, self._mode & 0o666)

    def make(self, place: str) -> Path:
        """Makes a folder inside, where it is not there. Raises OSError."""
        folder = self.path / place
        for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
            missing.mkdir()
            if stat.S_IMODE(missing.stat().st_mode) != self._mode:
                missing.chmod(self._mode)
        return folder

    @contextmanager
    def new_file(self, place: str) -> Iterator[Path]:
        """A path to write to, which becomes the file of a place when this is left without an exception.

        Raises OSError.
        """
        folder = self.make(place)
        unfinished = folder / _UNFINISHED
        try:
            yield unfinished
            unfinished.chmod(self._mode & 0o666)
            if self._durable:
                sync(unfinished)
            unfinished.replace(folder / FILE)
        finally:
            unfinished.unlink(missing_ok=True)

    def size(self, place: str) -> int:
        """The size of a place's file in bytes; -1 where there is none."""
        try:
            return (self.path / place / FILE).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return -1

    def remove(self, place: str) -> bool:
        """Removes the file of a place, and folders that are empty then; whether there was one. Raises OSError."""
        folder = self.path / place
        was_there = (folder / FILE).exists()
        for name in (FILE, _UNFINISHED):
            (folder / name).unlink(missing_ok=True)
        for empty in (folder, folder.parent):
            with suppress(OSError):  # Something else may lie in it; then it stays.
                empty.rmdir()
        return was_there

    def sync_names(self, places: list[str]) -> None:
        """Makes the names of written and removed files durable, where files have to be. Raises OSError."""
        if not self._durable:
            return
        paths = {parent for place in places for parent in (PurePosixPath(place), *PurePosixPath(place).parents)}
        for path in sorted(paths):
            if (self.path / path).is_dir():
                sync(self.path / path)


def contents_of(folder: Path) -> Contents | None:
    """What stands in a folder; None where it is not there or empty.

    Raises InputError where it holds something else, OSError.
    """
    path = folder / CONTENTS
    try:
        contents = msgspec.json.decode(path.read_bytes(), type=Contents)
    except (FileNotFoundError, NotADirectoryError):
        if not folder.exists() or (folder.is_dir() and all(map(_is_left, folder.iterdir()))):
            return None
        raise InputError(
            f"{folder} has no {CONTENTS}, so it holds something else than an export; name a new or empty folder"
        ) from None
    except msgspec.MsgspecError as error:
        raise InputError(f"{path} is damaged ({error}); export to a new folder") from error
    if contents.form != FORM:
        raise InputError(f"{folder} was exported by another version of handletime; export to a new folder")
    if strange := [place for place in (*contents.files, *contents.unsure) if not _PLACE.fullmatch(place)]:
        raise InputError(f"{path} is damaged (it names {strange[0]!r}); export to a new folder")
    return contents


def _is_left(path: Path) -> bool:
    """Whether a file may be of an export that was killed before it had written anything."""
    return path.name == _LOCK or _is_unfinished(path)


def _is_unfinished(path: Path) -> bool:
    """Whether a file was to take the place of one of the folder itself; its export was killed."""
    return path.name.startswith(STAGED) and path.is_file()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps others from exporting to a folder. Raises NotNow where somebody does; OSError."""
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotNow(f"another export to {folder} is under way; try again when it has ended") from None
        for left in filter(_is_unfinished, folder.iterdir()):
            left.unlink()
        yield
    finally:
        os.close(handle)
