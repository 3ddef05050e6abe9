"""Answers of any size: made piece by piece, counted against the server's memory, and sent as fast as they are read.

A method adds bytes to an `Answer`. Up to `PIECE` bytes it becomes an ordinary response. A larger one is compressed
while it grows: as the client wants it, or else, from a few MiB on, until it is sent. That takes a tenth of its size.
All of it is counted until it is sent. An answer that takes long can be sent while it grows (`growing`).
`Counting` also counts large answers that were made as a whole. `Sender` hands
answers to the HTTP server in pieces, and gives up on a client that does not read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from functools import cache, partial
from typing import Any, Final, Literal

import msgspec
import pyarrow as pa
from litestar import Response
from litestar.enums import HttpMethod
from litestar.response import Stream
from litestar.types import Message, Send

from handletime.api.compression import Coding, Packer, packer_for, wanted_coding
from handletime.api.errors import BadRequest, refusal
from handletime.api.limits import LEFT
from handletime.api.service import HttpRequest
from handletime.api.trace import Trace, trace_of
from handletime.deadline import Deadline
from handletime.errors import TooMany
from handletime.store.budget import Share

PIECE: Final = 64 << 10
"""Bytes handed to the HTTP server at once. It keeps up to four pieces of an answer, and one that it writes."""
_KEPT: Final = 4
IN_FLIGHT: Final = 8 * PIECE
"""Bytes that an answer in pieces takes beside what waits to be sent: those five, and the compressor."""
UNREAD_SECONDS: Final = 60.0
"""How long a client may read nothing of its answer."""
_AT_ONCE: Final = 1000
_AS_IT_IS: Final = 4 << 20
"""Bytes of an answer that wait uncompressed. Compressing the rest takes little time beside making it."""
_AT_REST: Final = 1
"""The zstd level for waiting answers: 500 MB a second, and JSON takes a tenth of its size."""


class Answer:
    """An answer while it is made. Its memory is counted for its request until the request ends.

    `coding` is how it is compressed, however small it is. Without it, the client's choice counts, from `PIECE` bytes
    on. Nothing is added after the deadline.
    """

    def __init__(
        self,
        request: HttpRequest,
        coding: Coding | Literal["identity"] | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        self._deadline = deadline or Deadline()
        trace = trace_of(request.scope)
        self._share, self._is_head = trace.share, trace.method == HttpMethod.HEAD
        self._coding = wanted_coding(request.scope["headers"]) if coding is None else coding
        self._packs_always = coding == "gzip"
        self._packer: Packer | None = None
        self._begun, self._reserved = False, 0
        self._plain, self._packed = bytearray(), bytearray()
        self._pieces: deque[_Piece] = deque()
        self._length = 0
        self._trace = trace
        self._left = False

    @property
    def limit(self) -> int:
        """What all answers together may take."""
        return self._share.limit

    def reserve(self, size: int) -> None:
        """Reserves memory that is needed to make the answer, until it is made. Raises TooMany, BadRequest."""
        self._take(size)
        self._reserved += size

    def _take(self, size: int) -> None:
        """Raises TooMany, BadRequest where one request would hold more than all may together."""
        if self._share.held + size > self._share.limit:
            raise BadRequest(
                [
                    f"answer: would take more than {self._share.limit >> 20} MiB of the server's memory; "
                    "ask for less at once: a shorter time, a longer interval, fewer ids"
                ]
            )
        self._share.take(size)

    def add(self, text: bytes) -> None:
        """Adds bytes. Raises TooMany, BadRequest, NotNow."""
        self._plain += text
        if len(self._plain) >= PIECE:
            self._deadline.check()
            view = memoryview(self._plain)
            whole = len(view) // PIECE * PIECE
            for begin in range(0, whole, PIECE):
                self._pack(bytes(view[begin : begin + PIECE]))
            view.release()
            del self._plain[:whole]

    def add_struct(self, value: msgspec.Struct) -> None:
        """Adds a struct as JSON, its lists some elements at a time. Raises TooMany, BadRequest."""
        before = b"{"
        for field in msgspec.structs.fields(value):
            of_field = getattr(value, field.name)
            self.add(b"%s%s:" % (before, msgspec.json.encode(field.encode_name)))
            if isinstance(of_field, list):
                self.add(b"[")
                for begin in range(0, len(of_field), _AT_ONCE):
                    some = msgspec.json.encode(of_field[begin : begin + _AT_ONCE])
                    self.add((b"," if begin else b"") + some[1:-1])
                self.add(b"]")
            else:
                self.add(msgspec.json.encode(of_field))
            before = b","
        self.add(b"}")

    def response(self, media_type: str, headers: Mapping[str, str] | None = None) -> Response[Any]:
        """All of it. Raises TooMany, BadRequest."""
        named = dict(headers or {})
        self._share.give_back(self._reserved)
        if not self._begun and not self._packs_always:
            return Response(bytes(self._plain), media_type=media_type, headers=named)
        self._end()
        if self._packer is not None:
            named["Content-Encoding"] = str(self._coding)
        named["Content-Length"] = str(self._length)
        if self._is_head:
            return Response(b"", media_type=media_type, headers=named)
        return Stream(_sent(self._pieces, self._share), media_type=media_type, headers=named)

    def growing(
        self, pieces: Generator[bytes, None, None], media_type: str, headers: Mapping[str, str]
    ) -> Response[Any]:
        """An answer that is sent while it is made of these pieces, which another thread does: it does not wait for the
        client. Where there is little of it, it is an ordinary one.

        Raises what the first pieces raise. After these the connection breaks off where the others raise something.
        """
        for piece in pieces:
            self.add(piece)
            if self._pieces:
                break
        else:
            return self.response(media_type, headers)
        named = dict(headers) | ({"Content-Encoding": str(self._coding)} if self._packer is not None else {})
        if self._is_head:
            pieces.close()
            return Response(b"", media_type=media_type, headers=named)
        return Stream(self._grown(pieces), media_type=media_type, headers=named)

    async def _grown(self, pieces: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
        loop, more, has_left = asyncio.get_running_loop(), asyncio.Event(), LEFT.get()
        tell = partial(loop.call_soon_threadsafe, more.set)
        making = loop.run_in_executor(None, self._make, pieces, tell, has_left)
        making.add_done_callback(lambda _: more.set())
        try:
            while True:
                more.clear()
                while self._pieces:
                    piece = self._pieces.popleft()
                    yield piece.as_sent()
                    self._share.give_back(len(piece.content))
                if making.done() and not self._pieces:
                    break
                await more.wait()
            making.result()
        except Exception as error:
            self._trace.broke_off = True
            raise BrokenOff from error
        finally:
            self._left = True

    def _make(
        self, pieces: Generator[bytes, None, None], tell: Callable[[], object], has_left: Callable[[], bool]
    ) -> None:
        """Makes the rest. Raises BrokenOff where the client has left."""
        try:
            for piece in pieces:
                if self._left or has_left():
                    raise BrokenOff
                self.add(piece)
                if self._pieces:
                    tell()
            self._end()
        finally:
            pieces.close()

    def _end(self) -> None:
        """Packs what is left."""
        self._pack(bytes(self._plain))
        if self._packer is not None:
            self._packed += self._packer.flush(last=True)
            self._keep(bytes(self._packed))

    def _pack(self, piece: bytes) -> None:
        if not self._begun:
            self._begun = True
            self._take(IN_FLIGHT)
            if self._coding in ("gzip", "zstd"):
                self._packer = packer_for(self._coding)
        if self._packer is None:
            self._keep(piece)
            return
        self._packed += self._packer.add(piece)
        if len(self._packed) >= PIECE:
            self._keep(bytes(self._packed))
            self._packed.clear()

    def _keep(self, piece: bytes) -> None:
        if piece:
            kept = _Piece(piece, at_rest=self._packer is None and self._length >= _AS_IT_IS)
            self._take(len(kept.content))
            self._pieces.append(kept)
            self._length += len(piece)


class _Piece:
    """A piece of an answer that waits to be sent. It is compressed meanwhile, unless it is already."""

    __slots__ = ("_size", "content")

    def __init__(self, piece: bytes, *, at_rest: bool) -> None:
        self._size = len(piece) if at_rest else 0
        self.content: bytes = _codec().compress(piece, asbytes=True) if at_rest else piece

    def as_sent(self) -> bytes:
        """As it goes out."""
        plain: bytes = _codec().decompress(self.content, self._size, asbytes=True) if self._size else self.content
        return plain


@cache
def _codec() -> pa.Codec:
    return pa.Codec("zstd", compression_level=_AT_REST)


async def _sent(pieces: deque[_Piece], share: Share) -> AsyncIterator[bytes]:
    """Each piece in turn. Its memory is freed as soon as the next one is asked for."""
    while pieces:
        piece = pieces.popleft()
        yield piece.as_sent()
        share.give_back(len(piece.content))


# --- on its way to the HTTP server


class BrokenOff(Exception):
    """What is left of an answer that has begun cannot be made."""


class Unread(Exception):
    """The client has read nothing of an answer for `UNREAD_SECONDS`."""


class Counting:
    """Counts large answers that were made as a whole: they take memory too, until they are sent.

    An answer for which there is no room is refused before it is begun.
    """

    def __init__(self, trace: Trace, send: Send) -> None:
        self._trace, self._send = trace, send
        self._start: Any = None
        self._refused = False

    async def __call__(self, message: Message) -> None:
        """Sends an ASGI message. The first one is held back until there is a part of the body."""
        if message["type"] == "http.response.start":
            self._start = message
        elif not self._refused:
            start, self._start = self._start, None
            if start is not None:
                try:
                    self._count(message)
                except TooMany as error:
                    self._trace.limit = error.limit
                    self._refused = True
                    start, message = refusal(error)
                await self._send(start)
            await self._send(message)

    def _count(self, message: Any) -> None:
        size = len(message.get("body", b""))
        if size > PIECE and not message.get("more_body", False):
            self._trace.share.take(size + IN_FLIGHT)


class Sender:
    """Hands an answer to the HTTP server piece by piece, so that the server holds little that is not read.

    `gave_up` says whether the client read nothing for `UNREAD_SECONDS`; then Unread was raised.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._in_pieces = False
        self.gave_up = False

    async def __call__(self, message: Message) -> None:
        """Sends an ASGI message. Returns when the HTTP server has taken it. Raises Unread."""
        body: bytes = message.get("body", b"")  # type: ignore[assignment]
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if message["type"] != "http.response.body" or (last and not self._in_pieces and len(body) <= PIECE):
            await self._send(message)
            return
        self._in_pieces = True
        for begin in range(0, len(body), PIECE):
            await self._hand_over(body[begin : begin + PIECE])
        if last:
            for _ in range(_KEPT):  # Taken only when what stands before them is on its way.
                await self._hand_over(b"")
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _hand_over(self, piece: bytes) -> None:
        try:
            async with asyncio.timeout(UNREAD_SECONDS):
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError as error:
            self.gave_up = True
            raise Unread from error
