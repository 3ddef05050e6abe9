"""Arrow tables into DuckDB and out of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import duckdb
import pyarrow as pa


@contextmanager
def registered(connection: duckdb.DuckDBPyConnection, **tables: pa.Table) -> Iterator[None]:
    """Lets queries name Arrow tables for a while."""
    for name, table in tables.items():
        connection.register(name, table)
    try:
        yield
    finally:
        for name in tables:
            connection.unregister(name)


def query(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
    """The rows of a query."""
    if parameters:
        return connection.sql(sql, params=parameters).to_arrow_table()
    return connection.sql(sql).to_arrow_table()


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Adds rows to a table, by the names of their columns."""
    if rows.num_rows:
        names = ", ".join(f'"{name}"' for name in rows.column_names)
        with registered(connection, new_rows=rows):
            connection.execute(f"insert into {table} ({names}) select {names} from new_rows")  # noqa: S608
