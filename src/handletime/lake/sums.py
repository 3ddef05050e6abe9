"""The sums of segments as columns of their tables (`answers.terms.KEPT`), as a store keeps them too."""

from __future__ import annotations

from typing import Final

import duckdb
import pyarrow as pa

from handletime.answers.terms import KEPT, RELATIONS

_MILLIS: Final = {"duration", "firstResponse", "firstResponseAfterTransfer", "firstResponseNew", "response"} | {
    "wait",
    "abandonedWait",
}
"""Sums of durations; the others are counts."""
_NAMES: Final[dict[pa.DataType, str]] = {pa.int64(): "bigint", pa.int32(): "integer"}
_TERMS: Final = {RELATIONS[table]: terms for table, terms in KEPT.items()}


def sum_fields(name: str) -> list[pa.Field]:
    """The columns of a table of segments; null where a segment still runs and they depend on its end."""
    return [pa.field(sum_, pa.int64() if sum_ in _MILLIS else pa.int32()) for sum_ in _TERMS[name]]


def with_sums(name: str, rows: pa.Table) -> pa.Table:
    """Rows of a table of `segments.tables`, with these columns after their own; other tables have none."""
    if name not in _TERMS:
        return rows
    fields = sum_fields(name)
    terms = [f'cast({_TERMS[name][field.name]} as {_NAMES[field.type]}) as "{field.name}"' for field in fields]
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("given", rows)
        sums = connection.sql(f"select {', '.join(terms)} from given").to_arrow_table()  # noqa: S608
    for field in fields:
        rows = rows.append_column(field, sums[field.name].cast(field.type))
    return rows
