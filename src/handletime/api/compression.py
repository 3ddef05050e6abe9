"""Compresses answers where the client offers it: gzip and zstd, by `Accept-Encoding` (RFC 9110 12.5.3).

Litestar's own middleware knows neither zstd nor quality values, and names no `Vary` where it does nothing.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import zlib
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any, Final, Literal, Protocol

import pyarrow as pa
from litestar.types import HTTPScope, Message, Send

from handletime.api.negotiation import named

LEAST: Final = 1 << 10
"""Smaller answers stay as they are."""
_AT_ONCE: Final = 64 << 10
"""Larger bodies are compressed in another thread: that takes a millisecond or longer."""
_GZIP_LEVEL: Final = 4
_ZSTD_LEVEL: Final = 3
_TYPES: Final = frozenset({b"application/json", b"application/x-ndjson", b"image/svg+xml"})
"""Types that are compressed, besides text."""
_FROM_HERE: Final = frozenset({b"", b"same-origin", b"none"})
Headers = list[tuple[bytes, bytes]]
Coding = Literal["gzip", "zstd"]


def coding_of(accept_encoding: str) -> Coding | None:
    """The coding that a client prefers; None where it names none of ours, or prefers the plain answer."""
    offered = named(accept_encoding)
    likes: dict[Coding, float] = {
        "zstd": offered.get("zstd", 0.0),
        "gzip": max(offered.get(name, 0.0) for name in ("gzip", "x-gzip")),
    }
    best = max(likes, key=lambda coding: likes[coding])
    return best if likes[best] > 0 and likes[best] >= offered.get("identity", 0.0) else None


def wanted_coding(headers: Iterable[tuple[bytes, bytes]]) -> Coding | None:
    """How the answer to a request with these headers is compressed, if its type allows it.

    None for what a browser asks for on behalf of another site (`Sec-Fetch-Site`): that site could choose parts of the
    answer, see its length, and so guess what else is in it (BREACH).
    """
    named_ = _by_name(headers)
    if named_.get(b"sec-fetch-site", b"").lower() not in _FROM_HERE:
        return None
    return coding_of(named_.get(b"accept-encoding", b"").decode("latin-1"))


class Compressing:
    """Compresses the answer to a request where that is right.

    Answers stay as they are that are compressed already, or that name `Accept-Encoding` in `Vary` and so have decided
    about it themselves: the breakdown's files.
    """

    def __init__(self, scope: HTTPScope, send: Send) -> None:
        self._send = send
        self._asked = scope["headers"]
        self._start: Any = None
        self._stream: Packer | None = None

    async def __call__(self, message: Message) -> None:
        """Sends a message of ASGI. The first is held back until there is something of the body."""
        if message["type"] == "http.response.start" and self._may_compress(message):
            self._start = message
        elif message["type"] == "http.response.body" and self._start is not None:
            await self._begin(message["body"], more=message.get("more_body", False))
        elif message["type"] == "http.response.body" and self._stream is not None:
            body = self._stream.add(message["body"])
            body += self._stream.flush(last=not message.get("more_body", False))
            await self._send({**message, "body": body})
        else:
            await self._send(message)

    def _may_compress(self, start: Any) -> bool:
        """Whether an answer is compressed. Where its type would allow it, `Vary` names `Accept-Encoding`."""
        headers = _by_name(start["headers"])
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        varies = headers.get(b"vary", b"")
        if not (kind.startswith(b"text/") or kind in _TYPES) or b"accept-encoding" in varies.lower():
            return False
        vary = b", ".join(filter(None, (varies, b"Accept-Encoding")))
        start["headers"] = [*_without(start["headers"], b"vary"), (b"vary", vary)]
        return b"content-encoding" not in headers

    async def _begin(self, body: bytes, *, more: bool) -> None:
        start, self._start = self._start, None
        coding = wanted_coding(self._asked) if more or len(body) >= LEAST else None
        if coding is not None:
            headers: Headers = [*_without(start["headers"], b"content-length"), (b"content-encoding", coding.encode())]
            if more:
                self._stream = packer_for(coding)
                body = self._stream.add(body) + self._stream.flush(last=False)
            else:
                body = await _compressed(body, coding)
                headers.append((b"content-length", str(len(body)).encode()))
            start["headers"] = headers
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The headers by lower-case name, those that came several times as one."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = found[key] + b", " + value if key in found else value
    return found


def _without(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> Headers:
    return [each for each in headers if each[0].lower() != name]


async def _compressed(body: bytes, coding: Coding) -> bytes:
    work: Callable[[bytes], bytes]
    if coding == "gzip":
        work = partial(gzip.compress, compresslevel=_GZIP_LEVEL, mtime=0)
    else:
        work = partial(_codec().compress, asbytes=True)
    return work(body) if len(body) <= _AT_ONCE else await asyncio.to_thread(work, body)


@cache
def _codec() -> pa.Codec:
    return pa.Codec("zstd", compression_level=_ZSTD_LEVEL)


class Packer(Protocol):
    """Compresses an answer piece by piece."""

    def add(self, piece: bytes) -> bytes:
        """Adds a piece. Gives the bytes that can be sent by now, maybe none."""

    def flush(self, *, last: bool) -> bytes:
        """The bytes needed to read all that was added; after the last piece also the end of the answer."""


def packer_for(coding: Coding) -> Packer:
    """A packer for a new answer."""
    return _GzipPacker() if coding == "gzip" else _ZstdPacker()


class _GzipPacker:
    def __init__(self) -> None:
        self._packing = zlib.compressobj(_GZIP_LEVEL, wbits=31)

    def add(self, piece: bytes) -> bytes:
        return self._packing.compress(piece)

    def flush(self, *, last: bool) -> bytes:
        return self._packing.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


class _ZstdPacker:
    """Packs as zstd. Takes some 400 KiB while the answer lasts."""

    def __init__(self) -> None:
        self._sink = _Sink()
        self._packing = pa.CompressedOutputStream(pa.PythonFile(self._sink, "w"), "zstd")

    def add(self, piece: bytes) -> bytes:
        self._packing.write(piece)
        return self._sink.take()

    def flush(self, *, last: bool) -> bytes:
        if last:
            self._packing.close()
        else:
            self._packing.flush()
        return self._sink.take()


class _Sink(io.RawIOBase):
    """What Arrow writes to. The bytes stay until they are taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken
