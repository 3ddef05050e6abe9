"""Rows as an Excel workbook: a sheet with a line of headings that stays in sight, and, where there is something to be
said about it, a second one that says it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

from handletime.clock import DAY

if TYPE_CHECKING:
    from xlsxwriter import Workbook
    from xlsxwriter.format import Format

Unit = Literal["plain", "time", "share"]
"""What the numbers of a column are: as they come; milliseconds, shown as hours, minutes and seconds; percent."""


class Heading(NamedTuple):
    """A column: its name, and what its numbers are."""

    name: str
    unit: Unit = "plain"


About = Sequence[tuple[str, str]]
"""What is to be known of a workbook, line by line: a name, and what there is to say."""

_TIME: Final = "[h]:mm:ss"
_SHARE: Final = "0.0 %"
_PER: Final[dict[Unit, int]] = {"plain": 1, "time": DAY, "share": 100}
"""Excel's time is a number of days, its percentage one of wholes."""
_DIGITS: Final = 10**15
"""Excel keeps 15 digits of a number: larger ids are texts."""
_LONGEST: Final = 32_767
"""So many characters Excel has in a cell."""
_PIECE: Final = 1 << 20
_LOOKED_AT: Final = 200
"""So many rows decide how wide columns are."""
_NARROWEST: Final = 8
_WIDEST: Final = 48
_ONE_LINE: Final = 24
"""A longer name has two lines."""
_BUTTON: Final = 4
"""Room for the button of the filter."""


def workbook(
    title: str, headings: Sequence[Heading], rows: Iterable[Sequence[object]], about: About = ()
) -> Iterator[bytes]:
    """A workbook of one sheet: a line of names, then the rows; and another sheet, where there is something about it.

    Times have no zone; large ids are texts. Plain fractions are shown with one digit. Whatever is shown shortened
    stands there whole. Rows lie in a temporary file until the workbook is made of them.
    """
    from xlsxwriter import Workbook

    with tempfile.TemporaryFile() as file:
        book = Workbook(file, {"constant_memory": True})
        _write(book, title, headings, rows)
        if about:
            _write_about(book, about)
        book.close()
        file.seek(0)
        while piece := file.read(_PIECE):
            yield piece


def _write(book: Workbook, title: str, headings: Sequence[Heading], rows: Iterable[Sequence[object]]) -> None:
    sheet = book.add_worksheet(title)
    head = book.add_format({"bold": True, "text_wrap": True, "valign": "top"})
    moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    fraction = book.add_format({"num_format": "0.0"})
    of_units: dict[Unit, Format] = {
        "time": book.add_format({"num_format": _TIME}),
        "share": book.add_format({"num_format": _SHARE}),
    }
    formats = [of_units.get(each.unit) for each in headings]
    per = [_PER[each.unit] for each in headings]
    given = iter(rows)
    first = list(islice(given, _LOOKED_AT))
    for place, each in enumerate(headings):
        sheet.set_column(place, place, _width(each, (row[place] for row in first)))
        sheet.write_string(0, place, each.name, head)
    sheet.freeze_panes(1, 0)
    line = 0
    for line, row in enumerate(chain(first, given), 1):
        for place, cell in enumerate(row):
            if cell is None:
                continue
            if isinstance(cell, datetime):
                sheet.write_datetime(line, place, cell, moment)
            elif isinstance(cell, bool):
                sheet.write_boolean(line, place, cell)
            elif isinstance(cell, str) or abs(cast("float", cell)) >= _DIGITS:
                sheet.write_string(line, place, _cut(str(cell)))
            elif (shown := formats[place]) is not None:
                sheet.write_number(line, place, cast("float", cell) / per[place], shown)
            elif isinstance(cell, float):
                sheet.write_number(line, place, cell, fraction)
            else:
                sheet.write_number(line, place, cast("int", cell))
    sheet.autofilter(0, 0, line, max(len(headings) - 1, 0))


def _cut(text: str) -> str:
    """A text, as long as a cell may have it."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _width(heading: Heading, cells: Iterable[object]) -> int:
    """How many characters a column is wide: as its cells and its name, of a long name its half."""
    long = len(heading.name)
    name = (long if long <= _ONE_LINE else (long + 1) // 2) + _BUTTON
    return min(max(_NARROWEST, name, *(_length(heading.unit, cell) for cell in cells)), _WIDEST)


def _length(unit: Unit, cell: object) -> int:
    if isinstance(cell, datetime):
        return len("2026-11-20 14:05:31") + 1
    if isinstance(cell, str):
        return len(cell) + 1
    return len("100:00:00") + 1 if unit == "time" else len(f"{cell:.1f}" if isinstance(cell, float) else str(cell)) + 1


def _write_about(book: Workbook, about: About) -> None:
    sheet: Any = book.add_worksheet("About")
    name = book.add_format({"bold": True, "valign": "top"})
    text = book.add_format({"text_wrap": True, "valign": "top"})
    sheet.set_column(0, 0, min(max(len(said) for said, _ in about) + 2, _WIDEST))
    sheet.set_column(1, 1, 100)
    for line, (of, said) in enumerate(about):
        sheet.write_string(line, 0, of, name)
        sheet.write_string(line, 1, said, text)
