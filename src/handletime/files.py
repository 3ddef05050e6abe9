"""Files and folders: those that are read whole, or watched, those that can be written to, those that are durable."""

from __future__ import annotations

import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import IO, BinaryIO, Final, Generic, TypeVar

from handletime.errors import InputError, StoreError

T = TypeVar("T")
MIB: Final = 1 << 20
STAGED: Final = ".handletime-"
"""How the names of files begin that are to take the place of others; whoever is killed leaves them."""


def open_regular(path: Path, most: int) -> BinaryIO:
    """Opens a regular file of at most so many bytes to be read, and does not wait.

    A pipe or a device would hang whoever reads it, or never end. Raises InputError; OSError as `open` does.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise InputError(f"{path}: must be a file, no folder, pipe or device")
        if about.st_size > most:
            raise InputError(f"{path}: must have at most {_size_in_words(most)}")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path, most: int) -> bytes:
    """All bytes of such a regular file. Raises InputError, OSError (with the path)."""
    with open_regular(path, most) as file:
        try:
            content = file.read(most + 1)
        except OSError as error:
            error.filename = str(path)
            raise
    if len(content) > most:  # it has grown
        raise InputError(f"{path}: must have at most {_size_in_words(most)}")
    return content


def require_writable(folder: Path) -> None:
    """Raises StoreError where nothing can be written to a folder that is there, whatever it is for."""
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(f"{folder} cannot be written to: it is another user's, or its disk is read-only")


def sync(path: Path) -> None:
    """Makes a file, or the names in a folder, durable. Raises OSError, which names it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: it cannot be synced to the disk", str(path)) from error
    finally:
        os.close(handle)


def replace_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replaces a file durably: whoever reads it, and whenever this is killed, it is the old one or the new one.

    Raises OSError.
    """
    with replacing(path, mode) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


@contextmanager
def replacing(path: Path, mode: int) -> Iterator[IO[bytes]]:
    """A file to write, which takes the name of another when this is left without an exception. Raises OSError."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=STAGED, delete=False) as file:
        staged = Path(file.name)
        try:
            yield file
            file.close()
            staged.chmod(mode)
            staged.replace(path)
        finally:
            staged.unlink(missing_ok=True)


def _size_in_words(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB else f"{size:,} bytes"


LOOK_EVERY_S: Final = 1.0
"""Seconds between two looks at whether a watched file has changed."""


class Watched(Generic[T]):
    """What a file of the operator's says, read again when it changes. Any thread may use it.

    If it cannot be read then, or is wrong, all stays as it was, and the log says so once.
    """

    def __init__(self, path: Path, read: Callable[[Path], T], what: str, log: logging.Logger) -> None:
        """`what` is what the file is of, for the log: `the names`. Raises InputError, OSError."""
        self._path, self._read, self._what, self._log = path, read, what, log
        self._lock, self._told = Lock(), ""
        self._looked = time.monotonic()
        self.stamp: tuple[int, ...] | None = _stamp(path)
        """Another one, as soon as the file is another; None while it cannot be read."""
        self._content = read(path)

    def now(self) -> T:
        """What it says."""
        with self._lock:
            if time.monotonic() - self._looked >= LOOK_EVERY_S:
                self._looked = time.monotonic()
                self._look()
            return self._content

    def _look(self) -> None:
        try:
            stamp = _stamp(self._path)
            if stamp == self.stamp:
                return
            self.stamp = stamp
            self._content = self._read(self._path)
            self._told = ""
            self._log.info("read %s anew", self._what)
        except (InputError, OSError) as error:
            if isinstance(error, OSError):
                self.stamp = None  # It is tried again: rights are changed without another time or size.
            if str(error) != self._told:
                self._log.warning("%s stay as they were: %s", self._what, error)
            self._told = str(error)


def _stamp(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
