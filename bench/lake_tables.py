"""Writes the rows of a store as the tables of a lake. As a program; prints JSON: the files and their bytes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from handletime.lake.tables import COLUMNS, DAY_OF, File, Run, begin, commit, finish, millis, partition_path
from handletime.store.relations import OfStore, composed

GROUP_ROWS: Final = 122_880
_ORDER: Final = {
    "agent_segments": '"end", segmentId',
    "skill_segments": '"end", conversationId, sequence',
    "queue_segments": '"end", conversationId, sequence',
    "handle_time_units": "segmentEnd, segmentId, sequence",
}
# The SQL below is made of constants.
# ruff: noqa: S608


def write(store: Path, lake: Path, account: str, finished: int) -> list[File]:
    """One run with the ended segments of a store's first account."""
    begun = begin(lake)
    number = begun.number
    versions, written = {}, []
    with duckdb.connect(str(store / "store.duckdb"), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        for name in COLUMNS:
            files = list(_files(connection, lake / name, name, account, finished)) if name in _ORDER else []
            versions[name] = commit(lake, name, begun, files, [])
            written += files
    finish(lake, begun, Run(number, finished, versions, ""))
    return written


def _files(
    connection: duckdb.DuckDBPyConnection, folder: Path, name: str, account: str, finished: int
) -> Iterator[File]:
    moment = DAY_OF[name]
    connection.execute(
        f"create or replace temp table found as {composed(f'select * from {name}', OfStore(0, account))}"
    )
    days = connection.execute(
        f'select distinct cast("{moment}" as date) as d from found where d is not null order by d'
    )
    for (day,) in days.fetchall():
        rows = connection.sql(
            f'select * from found where cast("{moment}" as date) = $day order by {_ORDER[name]}', params={"day": day}
        ).to_arrow_table()
        yield _file(_as_stored(rows, name), folder, account, day, moment, finished)


def _as_stored(rows: pa.Table, name: str) -> pa.Table:
    columns = []
    for field in COLUMNS[name]:
        column = rows[field.name]
        plain = column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
        columns.append(plain.cast(field.type))
    return pa.table(columns, names=COLUMNS[name].names)


def _file(rows: pa.Table, folder: Path, account: str, day: date, moment: str, finished: int) -> File:
    path = f"{partition_path(account, day)}/part-000001.parquet"
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, place, compression="zstd", row_group_size=GROUP_ROWS)
    ends = pc.min_max(rows[moment]).as_py()
    return File(
        path, account, day, rows.num_rows, place.stat().st_size, finished, millis(ends["min"]), millis(ends["max"])
    )


if __name__ == "__main__":
    made = write(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    print(json.dumps({"files": len(made), "bytes": sum(file.size for file in made)}))
