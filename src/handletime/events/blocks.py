"""Pieces of any size become blocks of whole lines: few where the pieces are many, and none with too many lines.

Files and requests alike: whatever brings JSON becomes lines here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np

from handletime.events.book import BYTE_ORDER_MARK, LINE_MAX
from handletime.events.jsonarray import elements

BLOCK_BYTES: Final = 2 << 20
LINES_MAX: Final = 1 << 15
"""The most lines that are decoded at once. However short a line is, it takes some 400 bytes then, and a fault of it a
thousand.
"""


class Lines(NamedTuple):
    """Whole lines, one event each: the number of the first one (from 1), that of the one after them, their bytes."""

    first: int
    end: int
    text: bytes


def numbered_lines(pieces: Iterable[bytes], *, array: bool) -> Iterator[Lines]:
    """The lines of NDJSON, or the elements of a JSON array; a byte-order mark may stand before.

    Raises BrokenArray where it is no array, but gives the elements before.
    """
    pieces = _without_mark(pieces)
    first = 1
    for text in whole_lines(elements(pieces) if array else pieces):
        end = first + text.count(b"\n")
        yield Lines(first, end, text)
        first = end


def gathered(pieces: Iterable[bytes], least: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Puts pieces together to blocks of at least so many bytes; only the last one may be smaller."""
    held = bytearray()
    for piece in pieces:
        if not held and len(piece) >= least:
            yield piece
            continue
        held += piece
        if len(held) >= least:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Cuts a stream after line ends, at most `LINES_MAX` lines in a block.

    Of a line that is too long it may keep only as much as shows that.
    """
    rest = b""
    for block in blocks:
        end = block.rfind(b"\n") + 1
        if end:
            yield from _of_few_lines(rest + block[:end])
            rest = block[end:]
        else:
            rest += block
        rest = rest[: LINE_MAX + len(b".\r")]
    if rest:
        yield rest


def _without_mark(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = iter(pieces)
    start = b""
    while len(start) < len(BYTE_ORDER_MARK) and (piece := next(rest, None)) is not None:
        start += piece
    yield start.removeprefix(BYTE_ORDER_MARK)
    yield from rest


def _of_few_lines(block: bytes) -> Iterator[bytes]:
    if block.count(b"\n") <= LINES_MAX:
        yield block
        return
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
    begin = 0
    for end in (*ends[LINES_MAX - 1 : -1 : LINES_MAX].tolist(), len(block)):
        yield block[begin:end]
        begin = end
