"""Arrow tables into DuckDB and out of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final
from weakref import WeakKeyDictionary

import duckdb
import pyarrow as pa

_NOTHING: Final = pa.table({})
SLOT_ROWS: Final = 1_000
"""The most rows of a table whose size DuckDB need not know: it takes these for small, and reads them row by row."""


class _Slot:
    """The table that a name stands for now. DuckDB asks for it when a statement runs, so it is registered only once."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


_slots: Final[WeakKeyDictionary[duckdb.DuckDBPyConnection, dict[str, _Slot]]] = WeakKeyDictionary()

_statements: Final[WeakKeyDictionary[duckdb.DuckDBPyConnection, dict[str, duckdb.Statement]]] = WeakKeyDictionary()


@contextmanager
def registered(connection: duckdb.DuckDBPyConnection, **tables: pa.Table) -> Iterator[None]:
    """Lets queries name Arrow tables for a while."""
    slots = _slots.setdefault(connection, {})
    large = {name: table for name, table in tables.items() if table.num_rows > SLOT_ROWS}
    for name, table in tables.items():
        if name in large:
            slots.pop(name, None)
            connection.register(name, table)
        elif name in slots:
            slots[name].table = table
        else:
            slot = _Slot(table)
            connection.register(name, slot)
            slots[name] = slot
    try:
        yield
    finally:
        for name in tables:
            if name in large:
                with suppress(duckdb.Error):  # In a transaction that failed it can not; the connection is closed then.
                    connection.unregister(name)
            else:
                slots[name].table = _NOTHING


def query(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
    """The rows of a query."""
    if parameters:
        return connection.sql(sql, params=parameters).to_arrow_table()
    return connection.sql(sql).to_arrow_table()


def insert(
    connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table, computed: Mapping[str, str] | None = None
) -> None:
    """Adds rows to a table, by the names of their columns, with columns that are computed from those by SQL."""
    if rows.num_rows:
        terms = {f'"{name}"': f'"{name}"' for name in rows.column_names}
        terms |= {f'"{name}"': term for name, term in (computed or {}).items()}
        sql = f"insert into {table} ({', '.join(terms)}) select {', '.join(terms.values())} from new_rows"  # noqa: S608
        with registered(connection, new_rows=rows):
            change(connection, sql)


def delete(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Deletes the rows of a table that equal one of the given rows, in the columns that these have."""
    if rows.num_rows:
        alike = " and ".join(f"t.{name} = gone.{name}" for name in rows.column_names)
        with registered(connection, gone=rows):
            change(connection, f"delete from {table} t using gone where {alike}")  # noqa: S608


def change(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Runs a statement that is used many times; it is parsed only once."""
    statements = _statements.setdefault(connection, {})
    if sql not in statements:
        (statements[sql],) = connection.extract_statements(sql)
    connection.execute(statements[sql])
