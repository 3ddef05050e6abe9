"""Files and folders: those that are read whole, those that can be written to, those that are durable."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Final

from handletime.errors import InputError, StoreError

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
