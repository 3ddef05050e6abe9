"""Answers as a table: CSV of RFC 4180 with one header line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from litestar import Response

TYPE: Final = "text/csv"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def csv_answer(names: Sequence[str], rows: Iterable[Sequence[object]]) -> Response[bytes]:
    """Rows as CSV; what is None is an empty cell, and text that a spreadsheet would take for a formula is quoted.

    Numbers stay numbers, negative ones too.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return Response(text.getvalue().encode(), media_type=TYPE, headers={"Vary": "Accept"})


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
