"""The last tasks of a job: rows become Parquet files, which nobody sees until they are committed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from handletime.events.model import EPOCH, INSTANT
from handletime.lake.spark.exchange import Batches, Parcel, received
from handletime.lake.spark.stages import QUALITY, REPLACED, RUNNING_DAY, days_of
from handletime.lake.sums import with_sums
from handletime.lake.tables import COLUMNS, DAY_OF, File, partition_path
from handletime.segments.columns import in_one_chunk

FILES: Final = "files"
GROUP_ROWS: Final = 122_880
"""Rows in a group: what DuckDB reads with one thread."""
_VARIED: Final = {"conversationId", "segmentId", "assignedEventId", "eventId", "start", "end", "time", "segmentEnd"}
"""Columns with too many different values for a dictionary to be worth it."""
_FILES: Final = pa.schema(
    [
        pa.field("table", pa.string()),
        *(pa.field(name, pa.string()) for name in ("path", "account")),
        pa.field("day", pa.date32()),
        *(pa.field(name, pa.int64()) for name in ("rows", "size", "modified", "first", "last")),
    ]
)


class Writing(NamedTuple):
    """Where the tables are, and the run that is written."""

    lake: str
    run: int


Written = tuple[str, File]
"""A table, and a file that was written for it."""


def write_rows(writing: Writing, batches: Batches) -> Iterator[Parcel]:
    """Writes a file for each table, account and day among the rows, and reports them. Raises OSError."""
    for target, kinds in received(batches).items():
        for kind in (QUALITY, REPLACED):
            if kind in kinds:
                yield Parcel(0, kind, target, kinds.pop(kind))
        files = [written for name, rows in kinds.items() for written in _write_table(writing, name, rows)]
        if files:
            rows = [{"table": name, **file._asdict()} for name, file in files]
            yield Parcel(0, FILES, target, pa.Table.from_pylist(rows, schema=_FILES))


def files_of(tables: Iterable[pa.Table]) -> list[Written]:
    """The files that tasks have reported."""
    return [(row.pop("table"), File(**row)) for table in tables for row in table.to_pylist()]


def _write_table(writing: Writing, name: str, rows: pa.Table) -> Iterator[Written]:
    """A file for each account and day."""
    rows = with_sums(name, rows)
    days = days_of(name, rows)
    accounts = in_one_chunk(rows.select(["accountId"]))["accountId"].chunk(0)
    key = accounts.indices.to_numpy().astype(np.int64) << 32 | (days.astype(np.int64) - RUNNING_DAY)
    # By time within a day: readers skip what lies outside their window.
    moments = pc.fill_null(rows[DAY_OF[name]].cast(pa.int64()), 0).to_numpy()
    ascending = np.lexsort((moments, key))
    bounds = np.flatnonzero(np.diff(key[ascending], prepend=-1, append=-1)).tolist()
    together = in_one_chunk(rows.select(COLUMNS[name].names)).take(ascending)
    for low, high in pairwise(bounds):
        first = int(ascending[low])
        day = None if days[first] == RUNNING_DAY else EPOCH.date() + timedelta(days=int(days[first]))
        yield _write_file(writing, name, accounts[first].as_py(), day, together.slice(low, high - low))


def _write_file(writing: Writing, name: str, account: str, day: date | None, rows: pa.Table) -> Written:
    rows = rows.cast(_stored(rows.schema, name))
    path = f"{partition_path(account, day)}/part-{writing.run:06}-{uuid.uuid4().hex}.parquet"
    place = Path(writing.lake) / name / path
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as file:
        pq.write_table(
            rows,
            file,
            row_group_size=GROUP_ROWS,
            compression="zstd",
            use_dictionary=[name for name in rows.column_names if name not in _VARIED],
            coerce_timestamps="us",
            store_schema=False,
            write_page_checksum=True,
        )
        file.flush()
        os.fsync(file.fileno())
    bounds = pc.min_max(rows[DAY_OF[name]].cast(INSTANT).cast(pa.int64())).as_py()
    size = place.stat().st_size
    return name, File(path, account, day, rows.num_rows, size, 0, bounds["min"], bounds["max"])


def _stored(schema: pa.Schema, name: str) -> pa.Schema:
    """The columns as the table has them, with or without nulls. Dictionaries stay."""
    return pa.schema([field.with_nullable(COLUMNS[name].field(field.name).nullable) for field in schema])
