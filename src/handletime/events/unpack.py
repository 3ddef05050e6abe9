"""The bytes of files and of standard input, unpacked where they are compressed.

Whether they are is seen from the first bytes, not from a file's name. Compressed data that are broken, end too early
or are followed by something else are an error, never a short read.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple

import pyarrow as pa

from handletime.errors import InputError

STANDARD_INPUT: Final = "-"
_PIECE: Final = 1 << 16
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

Progress = Callable[[int], None]
"""Is called with the number of further bytes of the input, as they lie on disk, that have been read."""


class Unpacked(NamedTuple):
    """An open source: its bytes, how far they have been read, and its file if that can be sought in as it is."""

    stream: Peekable
    counted: Counted
    file: str | None


@contextmanager
def unpacked(source: str, progress: Progress) -> Iterator[Unpacked]:
    """Opens a file (`-` is standard input). What cannot be read is an OSError, also later."""
    with _raw(source) as raw:
        counted = Counted(raw, progress, size_of([source]) or 0)
        stream = Peekable(counted)
        compression = _compression(stream)
        if compression:
            stream = Peekable(pa.CompressedInputStream(pa.PythonFile(stream, "r"), compression))
            if _compression(stream):
                raise OSError("it is compressed twice")
        as_it_is = not compression and source != STANDARD_INPUT and raw.seekable()
        yield Unpacked(stream, counted, source if as_it_is else None)


@contextmanager
def opened(source: str) -> Iterator[IO[bytes]]:
    """The unpacked bytes of a file (`-` is standard input). Raises InputError, also while they are read."""
    with ExitStack() as stack:
        with input_errors(source):
            stream = stack.enter_context(unpacked(source, lambda _bytes: None)).stream
        yield io.BufferedReader(_Telling(stream, source), _PIECE)


@contextmanager
def input_errors(source: str) -> Iterator[None]:
    """Raises InputError where a source cannot be read."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{name_of(source)}: {_why(error)}") from error


def name_of(source: str) -> str:
    """What a source is called in messages."""
    return "standard input" if source == STANDARD_INPUT else source


def size_of(sources: Iterable[str]) -> int | None:
    """Bytes of all files together, None where one has no size: standard input, a pipe. Raises InputError."""
    sizes = [_size(source) for source in sources]
    return None if None in sizes else sum(size or 0 for size in sizes)


def _size(source: str) -> int | None:
    if source == STANDARD_INPUT:
        return None
    with input_errors(source):
        size = Path(source).stat().st_size
    return size if Path(source).is_file() else None


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "is a folder; name the files in it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"cannot be read: {error}"


@contextmanager
def _raw(source: str) -> Iterator[IO[bytes]]:
    if source == STANDARD_INPUT:
        yield sys.stdin.buffer
    elif Path(source).is_dir():  # not every system says so when it is opened
        raise IsADirectoryError(source)
    else:
        with Path(source).open("rb", buffering=0) as file:
            yield file


def _compression(stream: Peekable) -> str | None:
    if stream.peek(2) == _GZIP:
        return "gzip"
    return "zstd" if stream.peek(4) == _ZSTD else None


class Counted(io.RawIOBase):
    """A stream that tells how much of it has been read."""

    def __init__(self, raw: IO[bytes], progress: Progress, size: int) -> None:
        self._raw, self._progress, self._size = raw, progress, size
        self._reported = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._raw.read(size) or b""
        self._report(len(data))
        return data

    def reached(self, share: float) -> None:
        """Tells progress where the stream itself is not what is read."""
        self._report(int(self._size * share) - self._reported)

    def _report(self, more: int) -> None:
        if more > 0:
            self._reported += more
            self._progress(more)


class Peekable(io.RawIOBase):
    """A stream whose first bytes can be looked at before they are read."""

    def __init__(self, stream: Counted | pa.NativeFile) -> None:
        self._stream = stream
        self._ahead = b""

    def readable(self) -> bool:
        return True

    def peek(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end."""
        while len(self._ahead) < size and (more := self._stream.read(_PIECE)):
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            ahead, self._ahead = self._ahead, b""
            return ahead + bytes(self._stream.read())
        if self._ahead:
            ahead, self._ahead = self._ahead[:size], self._ahead[size:]
            return ahead
        return bytes(self._stream.read(size))


class _Telling(io.RawIOBase):
    """A stream that raises InputError where it cannot be read."""

    def __init__(self, stream: Peekable, source: str) -> None:
        self._stream, self._source = stream, source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        with input_errors(self._source):
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
