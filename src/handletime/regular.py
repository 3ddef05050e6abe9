"""Files that are read whole: they have an end, and are not too large."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

from handletime.errors import InputError

MIB: Final = 1 << 20


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
            raise InputError(f"{path}: must have at most {_told(most)}")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path, most: int) -> bytes:
    """All of such a file. Raises InputError, OSError (with the path)."""
    with open_regular(path, most) as file:
        try:
            content = file.read(most + 1)
        except OSError as error:
            error.filename = str(path)
            raise
    if len(content) > most:  # it has grown
        raise InputError(f"{path}: must have at most {_told(most)}")
    return content


def _told(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB else f"{size:,} bytes"
