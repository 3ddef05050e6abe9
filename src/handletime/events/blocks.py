"""Pieces of any size become blocks of whole lines: few where the pieces are many, and none with too many lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from handletime.events.book import LINE_MAX

BLOCK_BYTES: Final = 2 << 20
LINES_MAX: Final = 1 << 15
"""So many lines are decoded at once. A line takes some 400 bytes then, and what is wrong with it a thousand, however
short it is.
"""


def gathered(pieces: Iterable[bytes], least: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The same bytes in blocks of at least so many; only the last one may be smaller."""
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


def _of_few_lines(block: bytes) -> Iterator[bytes]:
    if block.count(b"\n") <= LINES_MAX:
        yield block
        return
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
    begin = 0
    for end in (*ends[LINES_MAX - 1 : -1 : LINES_MAX].tolist(), len(block)):
        yield block[begin:end]
        begin = end
