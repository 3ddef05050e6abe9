"""Request bodies: received within limits, unpacked in pieces that are counted, cut into lines (http-api.md 5)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, Literal, cast

import pyarrow as pa
from litestar.exceptions import InternalServerException
from litestar.types import HTTPReceiveMessage, HTTPScope, Receive

from handletime.api.errors import BadRequest, Refused
from handletime.api.service import HttpRequest
from handletime.errors import Fault, InvalidEvents, TooMany
from handletime.events.blocks import Lines, numbered_lines
from handletime.events.jsonarray import BrokenArray
from handletime.store.budget import Share

SENT_MAX: Final = 32 << 20
UNPACKED_MAX: Final = 256 << 20
PIECE: Final = 4 << 20
CHUNKS_FREE: Final = 1 << 14
CHUNK_LEAST: Final = 16
"""Bytes that chunks must have on average, where there are more than `CHUNKS_FREE`. Each chunk costs some 50 us,
whatever is in it; an event has more than 32 bytes.
"""
RATE_LEAST: Final = 16 << 10
"""Bytes of a body that have to arrive a second, on average, after a time that each may be late."""
_DEADLINES: Final = 64
"""How often a body's deadline is set anew at most, in the time that the body may be silent."""
_COUNTED: Final = 64 << 10
"""A body's memory is counted in steps of so many bytes."""
_DRAIN_MAX: Final = 64 << 20
"""Bytes of a body that is too large which are still read, so that its sender gets to see the answer."""
IGNORED_MAX: Final = 1 << 20
"""Bytes of an unwanted body that are read, so that the connection stays usable."""
IGNORED_SECONDS: Final = 2.0
"""How long the answer waits for an unwanted body."""
LINGER_SECONDS: Final = 5.0
_DIGITS: Final = 20
"""The most digits that a length may have; thousands of zeros may stand before them."""
LINES_MAX: Final = 5_000_000
"""The most lines that a body may have, empty ones too: more than the largest body has events."""
_GZIP: Final = b"\x1f\x8b"
Coding = Literal["identity", "gzip", "zstd"]


async def receive(request: HttpRequest, share: Share, idle_seconds: float, most: int = SENT_MAX) -> bytearray:
    """The body as it was sent. Raises TooMany, Refused (413 over `most` bytes; 408 slower than `RATE_LEAST`)."""
    body = bytearray()  # Not a list: a chunk may be a few bytes, and a `bytes` object takes dozens.
    size = chunks = counted = 0
    full: TooMany | None = None
    now = asyncio.get_running_loop().time
    begun = renewed = now()
    try:
        async with asyncio.timeout(idle_seconds) as limit:
            async for chunk in request.stream():
                size, chunks = size + len(chunk), chunks + 1
                # Not with each chunk: there may be thousands a second.
                if (moment := now()) - renewed > idle_seconds / _DEADLINES:
                    renewed = moment
                    limit.reschedule(min(moment, begun + size / RATE_LEAST) + idle_seconds)
                if chunks > CHUNKS_FREE and size < chunks * CHUNK_LEAST:
                    raise Refused(413, f"The body comes in chunks of less than {CHUNK_LEAST} bytes; send larger ones.")
                if size > most or full:
                    body.clear()
                    share.give_back(share.held)
                    if size > _DRAIN_MAX:
                        break
                    continue
                body += chunk
                if size - counted >= _COUNTED:
                    full = _full(share, size - counted)
                    counted = size
    except TimeoutError as error:
        raise Refused(408) from error
    except InternalServerException as error:  # Litestar's word for a client that is gone
        raise BadRequest(["body: ended before it was whole"]) from error
    if size > most:
        told = f"{most >> 20} MiB" if most >> 20 else f"{most >> 10} KiB"
        raise Refused(413, f"The body is larger than {told}.")
    if full or (full := _full(share, size - counted)):
        body.clear()  # What is raised keeps what is here, for a while.
        raise full
    return body


def _full(share: Share, size: int) -> TooMany | None:
    try:
        share.take(size)
    except TooMany as error:
        return error
    return None


class Incoming:
    """The body of one request as it arrives. Knows whether all of it has come."""

    def __init__(self, scope: HTTPScope, receive: Receive) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        length = headers.get(b"content-length", b"")
        self._receive = receive
        self._length = int(length.lstrip(b"0")[:_DIGITS] or 0) if length.isdigit() else 0
        self.ended = not self._length and b"transfer-encoding" not in headers
        """Whether nothing of it will come any more."""
        self._ignored = False

    async def __call__(self) -> HTTPReceiveMessage:
        """The next message, as ASGI has it."""
        message: Any = await self._receive()
        self.ended = self.ended or not message.get("more_body", False)
        return cast("HTTPReceiveMessage", message)

    async def ignore(self) -> None:
        """Reads and drops an unwanted body of at most `IGNORED_MAX` that comes within `IGNORED_SECONDS`.

        The connection can be used for the next request then.
        """
        if not self.ended and not self._ignored and self._length <= IGNORED_MAX:
            self._ignored = True
            await self._discard(IGNORED_MAX, IGNORED_SECONDS)

    async def linger(self) -> None:
        """Reads on after the answer for a while. A client that is still sending would else see a broken connection."""
        await self._discard(_DRAIN_MAX, LINGER_SECONDS)

    async def _discard(self, most: int, seconds: float) -> None:
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.ended and size <= most:
                    message: Any = await self()
                    size += len(message.get("body", b""))


def coding_of(request: HttpRequest) -> Coding:
    """How the body is compressed. Raises Refused (415) for another coding, and for several."""
    given = ",".join(request.headers.getall("content-encoding", [])).strip().lower()
    match given:
        case "" | "identity":
            return "identity"
        case "gzip" | "x-gzip":
            return "gzip"
        case "zstd":
            return "zstd"
        case _:
            raise Refused(415, "Content-Encoding must be gzip or zstd, and only one of them.")


def unpacked(body: bytes | bytearray, coding: Coding, most: int = UNPACKED_MAX) -> Iterator[bytes]:
    """The body in pieces of a few MiB. Raises BadRequest where it is broken or cut off, Refused (413) over `most`."""
    size = 0
    for piece in _pieces(body, coding):
        size += len(piece)
        if size > most:
            raise Refused(413, f"The body is larger than {most >> 20} MiB when unpacked.")
        yield piece


def _pieces(body: bytes | bytearray, coding: Coding) -> Iterator[bytes]:
    if coding == "identity":
        view = memoryview(body)
        return (bytes(view[begin : begin + PIECE]) for begin in range(0, len(body), PIECE))
    return _decompressed(body, coding)


def _decompressed(body: bytes | bytearray, coding: Coding) -> Iterator[bytes]:
    """What all gzip members or zstd frames hold together. Each has to be whole."""
    if coding == "gzip" and body and not body.startswith(_GZIP):
        raise _broken(coding)  # Arrow would take zlib's own format too.
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), coding) as stream:
            # Not `read`: of a broken stream, it never gives back the memory that it took for the piece.
            while piece := stream.read_buffer(PIECE).to_pybytes():
                yield piece
    except (OSError, pa.ArrowInvalid) as error:
        raise _broken(coding) from error


WINDOW_MAX: Final = 128 << 20
"""The largest window that a zstd frame may need; Arrow refuses more."""
_FRAME: Final = re.compile(
    rb"\x28\xb5\x2f\xfd(?=[\x00-\x1f\x40-\x5f\x80-\x9f\xc0-\xdf](?P<window>[\x50-\xff])"
    rb"|(?P<single>[\xa0-\xbf\xe0-\xff])(?P<rest>.{8,12}))",
    re.DOTALL,
)
"""The header of a frame (RFC 8878 3.1.1) that has a window of 1 MiB or more, or may have: one segment is its own."""


def window_of(body: bytes | bytearray, coding: Coding) -> int:
    """The bytes that have to be kept to unpack more; 0 where they are less than 1 MiB.

    What only looks like a header counts too: in random bytes, one body in a hundred.
    """
    return max((_window(match_) for match_ in _FRAME.finditer(body)), default=0) if coding == "zstd" else 0


def _window(header: re.Match[bytes]) -> int:
    if header["window"] is not None:
        exponent, eighths = divmod(header["window"][0], 8)
        return min((1 << (10 + exponent)) // 8 * (8 + eighths), WINDOW_MAX)
    flags = header["single"][0]
    before, length = (0, 1, 2, 4)[flags & 3], 8 if flags >> 6 == 3 else 4
    return min(int.from_bytes(header["rest"][before : before + length], "little"), WINDOW_MAX)


def _broken(coding: str) -> BadRequest:
    return BadRequest([f"body: must be one whole {coding} stream, as Content-Encoding says"])


def lines_of(pieces: Iterable[bytes], *, array: bool) -> Iterator[Lines]:
    """The lines of a body, one event each. Raises InvalidEvents where there is no array, Refused (413)."""
    try:
        for lines in numbered_lines(pieces, array=array):
            if lines.end > LINES_MAX + 1:
                raise Refused(413, f"The body has more than {LINES_MAX:,} lines.")
            yield lines
    except BrokenArray as error:
        raise InvalidEvents("body", [Fault(0, "body", str(error))]) from error
