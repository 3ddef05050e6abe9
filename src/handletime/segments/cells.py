"""Tables as CSV (RFC 4180), in cells that no spreadsheet takes for anything but their text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

FORMULA: Final = r"""(^|[;\t\r\n])(["' ]*[=+\-@＝＋－＠])"""  # noqa: RUF001 — these begin formulas too
"""Where a formula could begin: in front, and behind what some spreadsheets split a line at, quoted or not.

Whether it is `,` or `;` depends on the country. For Python and for Arrow.
"""
GUARDED: Final = r"\1'\2"
"""What stands there instead: with an apostrophe in front, it is a text."""
_FORMULA: Final = re.compile(FORMULA)
_QUOTED: Final = re.compile(r"""[",;\t\r\n]|^\s|\s$""")
_PLAIN: Final = re.compile(r"""[A-Za-z0-9_](?:[^",;\t\r\n]*[A-Za-z0-9_])?""").fullmatch
"""Most texts by far, and text that has neither of these."""


def csv_lines(names: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """A table with one header line. What is None is an empty cell; numbers stay numbers, negative ones too; `true` and
    `false` are as in JSON.
    """
    return map(_line, chain([names], rows))


def _line(row: Sequence[object]) -> str:
    line = ",".join([text_cell(cell) if isinstance(cell, str) else _other(cell) for cell in row])
    return f"{line or _EMPTY}\r\n"


def _other(cell: object) -> str:
    return "" if cell is None else str(cell).lower() if isinstance(cell, bool) else str(cell)


_EMPTY: Final = '""'
"""A line of one empty cell, which would be no line."""


def text_cell(text: str) -> str:
    """A text as a cell."""
    if _PLAIN(text):
        return text
    text = _FORMULA.sub(GUARDED, text)
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text
