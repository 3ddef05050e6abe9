"""Arrow tables in queries, small and large, also where a query fails."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from handletime.store.arrow import SLOT_ROWS, delete, query, registered

SIZES = (1, SLOT_ROWS, SLOT_ROWS + 1, 5 * SLOT_ROWS, 2, 3 * SLOT_ROWS)


def numbers(count: int) -> pa.Table:
    return pa.table({"number": np.arange(count)})


def test_a_name_stands_for_the_table_of_now_whatever_size_it_had_before() -> None:
    with duckdb.connect() as connection:
        for size in SIZES:
            with registered(connection, asked=numbers(size)):
                assert query(connection, "select count(*) as n from asked")["n"].to_pylist() == [size]


@pytest.mark.parametrize("size", SIZES)
def test_what_failed_is_said_and_not_that_it_could_not_be_tidied_up(size: int) -> None:
    """A query that was stopped was told as an aborted transaction, and so was a 500."""
    with duckdb.connect() as connection:
        connection.begin()
        with pytest.raises(duckdb.ConversionException), registered(connection, asked=numbers(size)):
            connection.execute("select cast(number || 'x' as integer) from asked").fetchall()


def test_the_size_of_a_large_table_is_known() -> None:
    """Else it is taken for small, and a join looks through all of both sides."""
    join = "explain select * from asked asof join other on asked.number >= other.number"
    plans = {}
    with duckdb.connect() as connection:
        connection.execute("create table other as select range as number from range(100000)")
        for size in (10, 50_000):
            with registered(connection, asked=numbers(size)):
                plans[size] = str(connection.execute(join).fetchall())
    assert plans[10].lower() != plans[50_000].lower()


@pytest.mark.parametrize("size", SIZES)
def test_rows_are_deleted_that_are_alike_in_all_columns_that_are_given(size: int) -> None:
    with duckdb.connect() as connection:
        connection.execute("create table rows as select range as number, range % 2 as part from range(10000)")
        delete(connection, "rows", pa.table({"number": np.arange(size), "part": np.zeros(size, np.int64)}))
        ((left,),) = connection.execute("select count(*) from rows").fetchall()
        assert left == 10_000 - (size + 1) // 2
        delete(connection, "rows", numbers(0))
        assert connection.execute("select count(*) from rows").fetchall() == [(left,)]
