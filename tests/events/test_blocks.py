"""Pieces of any size become numbered lines, of NDJSON and of an array alike."""

from __future__ import annotations

import pytest

from handletime.events.blocks import LINES_MAX, Lines, numbered_lines
from handletime.events.jsonarray import BrokenArray

MARK = b"\xef\xbb\xbf"


def test_lines_are_numbered_from_one_to_the_end() -> None:
    pieces = [b"{}\n" * (LINES_MAX + 1), b"{", b"}\n\n", b"{}"]
    found = list(numbered_lines(pieces, array=False))
    assert [(lines.first, lines.end) for lines in found] == [
        (1, LINES_MAX + 1),
        (LINES_MAX + 1, LINES_MAX + 2),
        (LINES_MAX + 2, LINES_MAX + 4),
        (LINES_MAX + 4, LINES_MAX + 4),
    ]
    assert b"".join(lines.text for lines in found) == b"".join(pieces)


@pytest.mark.parametrize(
    "pieces", [[MARK + b"{}\n"], [MARK[:1], MARK[1:] + b"{}\n"], [b"", MARK, b"{}", b"\n"], [MARK, b"", b"{}\n"]]
)
def test_one_byte_order_mark_before_all_is_left_out_however_it_is_cut(pieces: list[bytes]) -> None:
    assert list(numbered_lines(pieces, array=False)) == [Lines(1, 2, b"{}\n")]
    assert b"".join(lines.text for lines in numbered_lines([MARK, *pieces], array=False)) == MARK + b"{}\n"


def test_elements_are_lines_up_to_where_it_is_no_array_any_more() -> None:
    found: list[Lines] = []
    with pytest.raises(BrokenArray, match=r"byte 8"):
        found.extend(numbered_lines([MARK + b"[1, 2", b"] 3"], array=True))
    assert [(lines.first, lines.text.split()) for lines in found] == [(1, [b"1"]), (2, [b"2"])]
