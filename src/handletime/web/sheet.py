"""A table of the page as columns and rows, before anybody says whether as CSV or as a workbook (`web.export`).

Each view makes its own of what it shows, with the fields' names: ids beside names, durations in milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from handletime.answers.report import PREVIOUS

Form = Literal["csv", "xlsx"]
FORMS: Final[tuple[Form, ...]] = ("csv", "xlsx")


class At(int):
    """A moment in epoch milliseconds, in a cell: each form writes it in its own way."""

    __slots__ = ()


Cells = Sequence[object]
"""A row. None is an empty cell: unknown, or nothing to average."""


class Sheet(NamedTuple):
    """A table: what it is of and the span of time [start, end), for the file's name; its columns, and all its rows."""

    of: str
    start: int
    end: int
    names: Sequence[str]
    rows: Sequence[Cells]


def compared_names(names: Sequence[str], *, compared: bool) -> list[str]:
    """The names of columns, each with that of the same in what a view is compared with, if it is."""
    return [f"{name}{end}" for name in names for end in (("", PREVIOUS) if compared else ("",))]


def compared_cells(*windows: Cells) -> list[object]:
    """The cells of such columns: of each first the window's own, then that of the other one."""
    return [cell for cells in zip(*windows, strict=True) for cell in cells]


def at_if_any(millis: int | None) -> At | None:
    """A moment that may be missing."""
    return None if millis is None else At(millis)
