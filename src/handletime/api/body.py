"""Request bodies: received within limits, unpacked in pieces that are counted, cut into lines (http-api.md 5)."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from threading import Lock
from typing import Any, Final, Literal, cast

import pyarrow as pa
from litestar.exceptions import InternalServerException
from litestar.types import HTTPReceiveMessage, HTTPScope, Receive

from handletime.api.errors import BadRequest, Refused, TooMany
from handletime.api.service import HttpRequest
from handletime.errors import Fault, InvalidEvents
from handletime.events.decode import LINE_MAX
from handletime.events.jsonarray import ArrayToLines, BrokenArray
from handletime.store.waiting import may_hold

SENT_MAX: Final = 32 << 20
UNPACKED_MAX: Final = 256 << 20
PIECE: Final = 4 << 20
RATE_LEAST: Final = 16 << 10
"""So many bytes of a body have to come a second, on the whole, after a time that each may be late."""
_DRAIN_MAX: Final = 64 << 20
"""So much of a body that is too large is still read, so that its sender gets to see the answer."""
IGNORED_MAX: Final = 1 << 20
"""So much of a body that nobody wants is read, so that the connection stays usable."""
IGNORED_SECONDS: Final = 2.0
"""So long it is waited for, with the answer at hand."""
LINGER_SECONDS: Final = 5.0
_BOM: Final = b"\xef\xbb\xbf"
Coding = Literal["identity", "gzip", "zstd"]


class Budget:
    """Bytes that all requests together may hold, and of those one account its share. One request alone has room."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._of: Counter[str] = Counter()
        self._lock = Lock()

    def share(self, account: str = "") -> Share:
        """The part of one request of an account; to be closed at its end."""
        return Share(self, account)

    def take(self, size: int, own: int, account: str) -> None:
        """Raises TooMany where others hold so much, or other requests of the account, that there is no room."""
        with self._lock:
            free = self._limit - self._held - size
            others, others_of_account = self._held - own, self._of[account] - own
            if (others and free < 0) or (others_of_account and not may_hold(self._of[account] + size, free)):
                raise TooMany(limit="ingest-memory")
            self._held += size
            self._of[account] += size

    def give_back(self, size: int, account: str) -> None:
        """Makes room."""
        with self._lock:
            self._held -= size
            self._of[account] -= size
            if not self._of[account]:
                del self._of[account]


class Share:
    """What one request holds of a budget."""

    def __init__(self, budget: Budget, account: str) -> None:
        self._budget = budget
        self._account = account
        self._own = 0

    def take(self, size: int) -> None:
        """Takes more. Raises TooMany."""
        self._budget.take(size, self._own, self._account)
        self._own += size

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.give_back(self._own, self._account)


async def receive(request: HttpRequest, share: Share, idle_seconds: float) -> list[bytes]:
    """The body as it was sent. Raises Refused (413; 408 where it comes more slowly than `RATE_LEAST`), TooMany."""
    chunks: list[bytes] = []
    size = 0
    begun = time.monotonic()
    full: TooMany | None = None
    stream = request.stream()
    try:
        while True:
            left = begun + idle_seconds + size / RATE_LEAST - time.monotonic()
            chunk = await asyncio.wait_for(anext(stream, b""), min(left, idle_seconds))
            if not chunk:
                break
            size += len(chunk)
            if size > SENT_MAX or full:
                chunks.clear()
                if size > _DRAIN_MAX:
                    break
                continue
            chunks.append(chunk)
            try:
                share.take(len(chunk))
            except TooMany as error:
                full = error
    except TimeoutError as error:
        raise Refused(408) from error
    except InternalServerException as error:  # Litestar's word for a client that is gone
        raise Refused(400, "The body ended before it was whole.") from error
    if full:
        raise full
    if size > SENT_MAX:
        raise Refused(413, f"The body is larger than {SENT_MAX >> 20} MiB.")
    return chunks


class Incoming:
    """The body of one request as it comes in, which knows whether all of it has come."""

    def __init__(self, scope: HTTPScope, receive: Receive) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        length = headers.get(b"content-length", b"")
        self._receive = receive
        self._length = int(length) if length.isdigit() else 0
        self.ended = _is_http_1(scope) and not self._length and b"transfer-encoding" not in headers
        """Whether nothing of it will come any more."""
        self.can_end_connection = _is_http_1(scope)
        """Whether an answer can say that the connection ends. In HTTP/2 it goes on, and clients send all they have."""
        self._ignored = False

    async def __call__(self) -> HTTPReceiveMessage:
        """The next message, as ASGI has it."""
        message: Any = await self._receive()
        self.ended = self.ended or not message.get("more_body", False)
        return cast("HTTPReceiveMessage", message)

    async def ignore(self) -> None:
        """Reads and forgets what nobody wants, if it is at most `IGNORED_MAX` (or the answer could not say that the
        connection ends) and comes within `IGNORED_SECONDS`: then the connection can be used for the next request.
        """
        most = IGNORED_MAX if self.can_end_connection else _DRAIN_MAX
        if not self._ignored and self._length <= most:
            self._ignored = True
            await self._discard(most, IGNORED_SECONDS)

    async def linger(self) -> None:
        """Reads on after the answer, for a while: whoever still sends would else see a broken connection instead."""
        await self._discard(_DRAIN_MAX, LINGER_SECONDS)

    async def _discard(self, most: int, seconds: float) -> None:
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.ended and size <= most:
                    message: Any = await self()
                    size += len(message.get("body", b""))


def _is_http_1(scope: HTTPScope) -> bool:
    return scope["http_version"].startswith("1")


def coding_of(request: HttpRequest) -> Coding:
    """How the body is packed. Raises Refused (415) for another coding, and for codings inside each other."""
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


def unpacked(chunks: Iterable[bytes], coding: Coding) -> Iterator[bytes]:
    """The body in pieces of a few MiB. Raises BadRequest where it is broken or cut off, Refused (413)."""
    size = 0
    for piece in _pieces(chunks, coding):
        size += len(piece)
        if size > UNPACKED_MAX:
            raise Refused(413, f"The body is larger than {UNPACKED_MAX >> 20} MiB when unpacked.")
        yield piece


def _pieces(chunks: Iterable[bytes], coding: Coding) -> Iterator[bytes]:
    match coding:
        case "gzip":
            return _gunzipped(chunks)
        case "zstd":
            return _unzstd(chunks)
        case _:
            return iter(chunks)


def _gunzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Every member of a gzip stream, which has to be whole."""
    member, fresh = zlib.decompressobj(31), True
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                fresh = False
                if piece := member.decompress(rest, PIECE):
                    yield piece
                rest = member.unconsumed_tail
                if member.eof:
                    rest, member, fresh = member.unused_data, zlib.decompressobj(31), True
    except zlib.error as error:
        raise _broken("gzip") from error
    if not fresh:
        raise _broken("gzip")


def _unzstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    packed = b"".join(chunks)
    try:
        with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
            # Not `read`: of a broken stream, it never gives back the memory that it took for the piece.
            while piece := stream.read_buffer(PIECE).to_pybytes():
                yield piece
    except (OSError, pa.ArrowInvalid) as error:
        raise _broken("zstd") from error


def _broken(coding: str) -> BadRequest:
    return BadRequest([f"body: must be one whole {coding} stream, as Content-Encoding says"])


def lines_of(pieces: Iterable[bytes], *, array: bool) -> Iterator[bytes]:
    """Blocks of whole lines, one event each. Raises InvalidEvents where there is no array, or a line has no end."""
    rest = b""
    for piece in _as_lines(pieces) if array else _without_bom(pieces):
        end = piece.rfind(b"\n") + 1
        if end:
            yield rest + piece[:end]
            rest = piece[end:]
        else:
            rest += piece
        if len(rest) > LINE_MAX + PIECE:
            raise InvalidEvents("body", [Fault(0, "", f"a line is longer than {LINE_MAX} bytes")])
    if rest:
        yield rest


def _without_bom(pieces: Iterable[bytes]) -> Iterator[bytes]:
    first = True
    for piece in pieces:
        yield piece.removeprefix(_BOM) if first else piece
        first = False


def _as_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    splitter = ArrayToLines()
    try:
        for piece in pieces:
            yield splitter.feed(piece)
        splitter.close()
    except BrokenArray as error:
        raise InvalidEvents("body", [Fault(0, "body", str(error))]) from error
