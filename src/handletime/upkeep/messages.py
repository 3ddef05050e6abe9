"""What goes through the socket of a running server: one command a connection, a JSON object a line, in UTF-8.

    client: {"type":"Prune","before":1763200000000,"dry_run":false}
    server: {"type":"Progress","what":"removing","done":2000,"of":10000}     any number of these
            {"type":"Done","result":{…}}    or    {"type":"Failed","kind":"input","message":"…"}

A client that closes its side stops its command.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec

from handletime.errors import HandletimeError, InputError, NotNow, StoreError

SOCKET: Final = "admin.sock"
LINE_MAX: Final = 1 << 20
ADDRESS_MAX: Final = 100
"""The most bytes of a socket's address; systems cut it off at 104 or 108."""
_LINKS: Final = Path("/proc/self/fd")

Kind = Literal["input", "notNow", "store", "disk"]


class ProgressMessage(msgspec.Struct, frozen=True, tag="Progress"):
    """How far a command is; `of` is 0 where the total is not known."""

    what: str
    done: int
    of: int


class Done(msgspec.Struct, frozen=True, tag=True):
    """The result of a command."""

    result: msgspec.Raw


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Why a command has no result."""

    kind: Kind
    message: str

    def error(self) -> HandletimeError | OSError:
        """The message as an exception."""
        return _ERRORS[self.kind](self.message)


_ERRORS: Final[dict[Kind, type[HandletimeError | OSError]]] = {
    "input": InputError,
    "notNow": NotNow,
    "store": StoreError,
    "disk": OSError,
}
Answer = ProgressMessage | Done | Failed


def failed(error: HandletimeError | OSError) -> Failed:
    """An exception as a message."""
    kind: Kind = next((kind for kind, type_ in _ERRORS.items() if isinstance(error, type_)), "store")
    return Failed(kind, str(error))


@contextmanager
def address_of(folder: Path, name: str) -> Iterator[str]:
    """A socket's address, short enough while this is not left. Raises StoreError where there is none; OSError."""
    path = folder.absolute() / name
    if len(os.fsencode(path)) <= ADDRESS_MAX:
        yield str(path)
        return
    if not _LINKS.is_dir():
        raise StoreError(f"{path} is too long for a socket's address ({ADDRESS_MAX} bytes): choose a shorter folder")
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield str(_LINKS / str(handle) / name)
    finally:
        os.close(handle)
