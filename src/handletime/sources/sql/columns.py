"""The columns of a mapping become events, or faults that name the row of the input."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from handletime.errors import Fault, InputError
from handletime.events.decode import decode_columns
from handletime.events.model import FIELDS, INTEGER_MAX, INTEGER_MIN
from handletime.sources.sql.engine import Batch
from handletime.sources.sql.statement import NO_ZONE

ROW: Final = "row"
_NAMES: Final = {name.lower(): name for name in (*(field.name for field in FIELDS), ROW)}
_STRINGS: Final = [field.name for field in FIELDS if field.kind in ("id", "text")]
_INTEGERS: Final = [field.name for field in FIELDS if field.kind == "integer"]
_SHORT: Final = r"^-?[0-9]{1,18}$"
_TEXTS: Final = (pa.string(), pa.large_string(), pa.string_view())
_SPREADSHEET: Final = "is no whole number; a spreadsheet may have shortened it (1.23E+17, 12.0): export it as text"

_PARTS: Final = re.compile(r"^-?\d+ (?=looks like )")
"""What the decoder repeats of an input: a number as time."""

Rows = npt.NDArray[np.int64]


class Mapped(NamedTuple):
    """Events of a batch as a table of `model.EVENTS`, the row of each, and what is wrong with the others, by row.

    Rows are those of the input where the mapping passes on `row`, which `by_input` says; else of the result, from 1.
    """

    events: pa.Table
    rows: Rows
    faults: list[Fault]
    by_input: bool


def check_columns(schema: pa.Schema, name: str) -> None:
    """Raises InputError where columns are missing, unknown, twice there, or of a type that no event has.

    `schema` is of the mapping's result, `name` what messages call the mapping.
    """
    wanted = ", ".join(field.name for field in FIELDS)
    lowered = [column.lower() for column in schema.names]
    unknown = [column for column in schema.names if column.lower() not in _NAMES]
    twice = sorted({_NAMES[base] for column in lowered if (base := column.rpartition("_")[0]) in _NAMES})
    if twice:  # DuckDB calls the second skillId_1
        raise InputError(f"{name}: {', '.join(twice)} stands twice")
    if unknown:
        raise InputError(f"{name}: no event has {', '.join(unknown)}; columns of events are {wanted}, and row")
    for column in schema:
        if column.name.lower() == "time" and pa.types.is_timestamp(column.type) and column.type.tz is None:
            raise InputError(f"{name}: time: {NO_ZONE}")
    prepared, _bad = _prepared(schema.empty_table())
    faults = decode_columns(prepared, account="local").faults
    if faults:
        raise InputError("\n".join(f"{name}: {fault}" for fault in faults))


def decoded(batch: Batch, *, account: str, first_row: int = 1) -> Mapped:
    """Decodes rows whose columns were checked. `account` is for events that name none.

    `first_row` is the number of the batch's first row in the result. Never raises for content.
    """
    table, bad = _prepared(batch.rows)
    places, by_input = _row_numbers(batch.rows, first_row)
    for place in _guessed(table["time"], batch.times):
        bad.setdefault(place, []).append(("time", NO_ZONE))
    keep = np.setdiff1d(np.arange(table.num_rows), list(bad))
    good = decode_columns(table.take(keep) if bad else table, account=account)
    for refused in good.refused:
        bad[int(keep[refused.line - 1])] = [(fault.field, _PARTS.sub("", fault.message)) for fault in refused.faults]
    unit = "row" if by_input else "row of the result"
    faults = [Fault(int(places[place]), *what, unit) for place in sorted(bad) for what in bad[place]]
    return Mapped(good.events, places[np.setdiff1d(np.arange(table.num_rows), list(bad))], faults, by_input)


def _row_numbers(table: pa.Table, first_row: int) -> tuple[Rows, bool]:
    """The number of each row, and whether it is that of the input."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name.lower() == ROW and pa.types.is_integer(column.type) and not column.null_count:
            return column.to_numpy().astype(np.int64), True
    return np.arange(first_row, first_row + table.num_rows), False


def _prepared(table: pa.Table) -> tuple[pa.Table, dict[int, list[tuple[str, str]]]]:
    """Columns under their names of rules.md 1, with digits as integers and whole numbers as ids; and what is wrong."""
    table = table.rename_columns([_NAMES[name.lower()] for name in table.column_names])
    bad: dict[int, list[tuple[str, str]]] = {}
    for place, name in enumerate(table.column_names):
        column = table.column(place)
        if name in _INTEGERS and column.type in _TEXTS:
            column, wrong = _whole_numbers(column)
        elif name in (*_INTEGERS, "time") and pa.types.is_decimal(column.type) and column.type.scale == 0:
            column, wrong = _whole_numbers(column.cast(pa.string()))
        elif name in _STRINGS and pa.types.is_integer(column.type):
            column, wrong = column.cast(pa.string()), []
        else:
            continue
        for row in wrong:
            bad.setdefault(row, []).append((name, _SPREADSHEET))
        table = table.set_column(place, name, column)
    return table, bad


def _whole_numbers(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, list[int]]:
    """Texts as integers, null where they are none; and where that is."""
    short = pc.fill_null(pc.match_substring_regex(column, _SHORT), False)
    numbers = pc.if_else(short, column, None).cast(pa.int64())
    others = np.flatnonzero(pc.and_(pc.invert(short), column.is_valid()).to_numpy())
    if not len(others):
        return numbers, []
    values, wrong = numbers.to_pylist(), []
    for place in others.tolist():
        text = column[place].as_py()
        number = int(text) if len(text) <= 20 and text.removeprefix("-").isdecimal() and text.isascii() else None
        if number is None or not INTEGER_MIN <= number <= INTEGER_MAX:
            wrong.append(place)
        else:
            values[place] = number
    return pa.chunked_array([pa.array(values, pa.int64())]), wrong


def _guessed(times: pa.ChunkedArray, others: pa.ChunkedArray) -> list[int]:
    """Rows whose time depends on the session's time zone, or is another one each time."""
    if len(times) != len(others):
        return list(range(len(times)))
    if pa.types.is_timestamp(times.type):
        times, others = times.cast(pa.int64()), others.cast(pa.int64())
    same = pc.fill_null(pc.equal(times, others), True)
    return np.flatnonzero(~same.to_numpy().astype(bool)).tolist()
