"""CSV that a spreadsheet reads as text, at whatever it splits lines.

Covers: segments/files.
"""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Final

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from handletime.events.model import INSTANT
from handletime.segments.cells import FORMULA, GUARDED, csv_lines
from handletime.segments.files import plain

TEXTS: Final = st.text(st.sampled_from("=+-@;,\t\r\n\"' a1＝＠"), max_size=12)  # noqa: RUF001
ROWS: Final = st.lists(st.lists(TEXTS, min_size=3, max_size=3), max_size=5)


def guarded(text: str) -> str:
    return re.sub(FORMULA, GUARDED, text)


@given(ROWS)
def test_what_is_read_is_what_was_written_but_for_apostrophes(rows: list[list[str]]) -> None:
    text = "".join(csv_lines(["a", "b", "c"], rows))
    found = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert found == [["a", "b", "c"], *([guarded(cell) for cell in row] for row in rows)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@given(rows=ROWS)
@example([["x", "a;=1+1", "y"]])
@example([["x", 'a;"=1+1"', "y"]])
@example([["a\t@SUM(1)", "=1;=2;;=3", '" =1']])
def test_no_cell_is_a_formula_wherever_a_line_is_split(delimiter: str, rows: list[list[str]]) -> None:
    text = "".join(csv_lines(["a", "b", "c"], rows))
    # Line by line too, for programs that take the end of a line for the end of a row.
    for pieces in (io.StringIO(text, newline=""), re.split("[\r\n]+", text)):
        for row in csv.reader(pieces, delimiter=delimiter):
            # Quotes too, which other programs may read in another way.
            assert [cell for cell in row if cell.lstrip('" ')[:1] in tuple("=+-@＝＠")] == []  # noqa: RUF001


@given(st.lists(TEXTS))
def test_the_tables_of_derive_are_guarded_alike(texts: list[str]) -> None:
    table = plain(pa.table({"a": pa.array(texts, pa.string())}), cells=True)
    assert table["a"].to_pylist() == [guarded(text) for text in texts]


def test_lists_of_times_read_as_times_do() -> None:
    """Also in a slice, and where they are empty."""
    lists = pa.array([[9], [], [1_795_165_200_000, 1_795_165_200_001], []], pa.list_(INSTANT))
    for rows in (slice(0, 4), slice(1, 4), slice(3, 4), slice(4, 4)):
        table = pa.table({"a": pa.chunked_array([lists[rows], lists[rows]])})
        wanted = [["1970-01-01T00:00:00.009Z"], [], ["2026-11-20T09:00:00.000Z", "2026-11-20T09:00:00.001Z"], []][rows]
        assert plain(table)["a"].to_pylist() == 2 * wanted
        cells = plain(table, cells=True)["a"].to_pylist()
        assert [json.loads(cell) for cell in cells] == 2 * wanted
        assert not any(" " in cell for cell in cells)


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        *[
            (None, ""),
            (-1, "-1"),
            (1.5, "1.5"),
            ("a;b", '"a;b"'),
            ("a\tb", '"a\tb"'),
            ("a\rb", '"a\rb"'),
            ("-1", "'-1"),
        ],
        *[
            ("a,b", '"a,b"'),
            ('a"b', '"a""b"'),
            (" a", '" a"'),
            ("shop-4711", "shop-4711"),
            ("a=b", "a=b"),
            (True, "true"),
        ],
    ],
)
def test_how_a_cell_is_written(cell: object, written: str) -> None:
    assert "".join(csv_lines(["n", "m"], [[cell, 1]])) == f"n,m\r\n{written},1\r\n"
    assert "".join(csv_lines(["n"], [[None]])) == 'n\r\n""\r\n'
