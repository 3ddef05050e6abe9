"""Everything as Parquet: a folder for each table, account and day, in memory that does not grow with the store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from handletime.clock import DAY
from handletime.errors import InputError
from handletime.events.model import with_schema
from handletime.files import sync
from handletime.segments.files import SCHEMAS
from handletime.segments.ids import segment_ids
from handletime.segments.parts import Progress
from handletime.store.events import NAMED_EVENTS
from handletime.upkeep.staging import staged

BATCH_ROWS: Final = 100_000
NO_DAY: Final = "__HIVE_DEFAULT_PARTITION__"
"""The day of a segment that is still running: what readers of partitioned tables know as null."""
FILE: Final = "part-0.parquet"


class Range(NamedTuple):
    """What is exported: of all accounts or of one; of all times or from a moment on, or before one (epoch ms)."""

    account: str | None = None
    start: int | None = None
    end: int | None = None


class Exported(msgspec.Struct, frozen=True):
    """How many rows of each table, and how many files."""

    rows: dict[str, int]
    files: int


class _Source(NamedTuple):
    """Where a table's rows come from, and the SQL of the moment in epoch milliseconds that decides their day."""

    sql: str
    moment: str
    table: Callable[[pa.Table], pa.Table]


def export(
    cursor: duckdb.DuckDBPyConnection,
    out: Path,
    store: Path,
    asked: Range,
    progress: Progress = lambda _what, _done, _of: None,
) -> Exported:
    """Writes `events` and the three derived tables to a new folder, as of one moment; all of it or nothing.

    `TABLE/accountId=…/day=YYYY-MM-DD/part-0.parquet`: an event has the day of its `time`, a segment or unit that of
    its `end` (UTC). Segments that are running have none; with `asked.end` only those that had started by then.
    Columns as in docs/tables.md and rules.md 1. `cursor` is in a transaction; `store` is the store's folder. Raises
    InputError where the folder is there and not empty, or the account is unknown; OSError.
    """
    _require_empty(out)
    account = _account(cursor, asked.account)
    with staged(out, store) as folder:
        files = 0
        rows = {}
        for name, source in _SOURCES.items():
            of_table = folder / name
            of_table.mkdir()
            rows[name] = 0
            for day in _days(cursor, source, account, asked, progress, name):
                written = _write_day(cursor, of_table, source, day, account, asked)
                rows[name] += written[0]
                files += written[1]
        # Once for all: there may be very many small files.
        os.sync()
        _require_empty(out)
        folder.rename(out)
        sync(out.parent)
    return Exported(rows, files)


def _require_empty(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already; name a folder that is not, or is empty")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent}: there is no such folder")


def _account(cursor: duckdb.DuckDBPyConnection, name: str | None) -> int | None:
    if name is None:
        return None
    found = cursor.execute("select account from kept.accounts where accountId = ?", [name]).fetchall()
    if not found:
        raise InputError(f"there is no account {name} in the store")
    return int(found[0][0])


def _days(
    cursor: duckdb.DuckDBPyConnection, source: _Source, account: int | None, asked: Range, progress: Progress, name: str
) -> Iterator[int | None]:
    """The days (since the epoch) that a table has rows of; None where they have no day."""
    progress(f"exporting {name.replace('_', ' ')}", 0, 0)
    found = cursor.execute(
        f"""select distinct floor({source.moment} / {DAY}.0)::bigint as day
        from ({source.sql}) where {_WITHIN.format(moment=source.moment)} order by day nulls last""",  # noqa: S608
        _parameters(account, asked),
    ).fetchall()
    for done, (day,) in enumerate(found):
        progress(f"exporting {name.replace('_', ' ')}", done, len(found))
        yield day


def _write_day(
    cursor: duckdb.DuckDBPyConnection,
    folder: Path,
    source: _Source,
    day: int | None,
    account: int | None,
    asked: Range,
) -> tuple[int, int]:
    """Writes a day's rows, a file for each account; says how many rows and files."""
    parameters = _parameters(account, asked)
    if day is None:
        of_day = f"{source.moment} is null"
    else:
        of_day = f"{source.moment} >= $first and {source.moment} < $next"
        parameters |= {"first": day * DAY, "next": (day + 1) * DAY}
    where = f"{of_day} and {_WITHIN.format(moment=source.moment)}"
    sql = f"select * from ({source.sql}) where {where} order by accountId, number, placed"  # noqa: S608
    rows, files = 0, _Files(folder, NO_DAY if day is None else _date(day))
    try:
        for batch in cursor.sql(sql, params=parameters).to_arrow_reader(BATCH_ROWS):
            if batch.num_rows:
                files.write(source.table(pa.Table.from_batches([batch])))
                rows += batch.num_rows
    finally:
        files.close()
    return rows, files.count


def _date(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def _parameters(account: int | None, asked: Range) -> dict[str, Any]:
    return {"account": account, "start": asked.start, "end": asked.end}


class _Files:
    """The files of one table and day; rows come account by account."""

    def __init__(self, folder: Path, day: str) -> None:
        self._folder, self._day = folder, day
        self._account: str | None = None
        self._writer: pq.ParquetWriter | None = None
        self.count = 0

    def write(self, table: pa.Table) -> None:
        """Adds rows."""
        codes = table["accountId"].combine_chunks()
        bounds = [0, *(np.flatnonzero(np.diff(codes.indices.to_numpy())) + 1).tolist(), table.num_rows]
        for low, high in pairwise(bounds):
            self._open(codes[low].as_py(), table.schema).write_table(table.slice(low, high - low))

    def _open(self, account: str, schema: pa.Schema) -> pq.ParquetWriter:
        if self._writer is None or account != self._account:
            self.close()
            place = self._folder / f"accountId={account}" / f"day={self._day}"
            place.mkdir(parents=True)
            self._writer = pq.ParquetWriter(place / FILE, schema, compression="zstd")
            self._account = account
            self.count += 1
        return self._writer

    def close(self) -> None:
        """Ends the file that is open."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


# --- rows ------------------------------------------------------------------------------------------------------------


def _derived_table(name: str) -> Callable[[pa.Table], pa.Table]:
    """What makes rows of a derived table out of those of its query."""
    schema = SCHEMAS[name]

    def table(rows: pa.Table) -> pa.Table:
        if "segmentId" in schema.names:
            ids = segment_ids(*(rows[name] for name in ("accountId", "agentId", "conversationId", "assignedEventId")))
            rows = rows.append_column("segmentId", ids)
        return pa.table([_as(rows[field.name], field.type) for field in schema], schema=schema)

    return table


def _as(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    """A column as another type; what was a closed list in DuckDB has places of another width."""
    return (column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column).cast(type_)


_OF_ACCOUNT: Final = "($account is null or t.account = $account)"
_STARTED: Final = "($end is null or epoch_ms(t.start) < $end)"
_SOURCES: Final[dict[str, _Source]] = {
    "events": _Source(
        f"select *, arrival as placed from ({NAMED_EVENTS}) t where {_OF_ACCOUNT}",  # noqa: S608
        "time",
        with_schema,
    ),
    "agent_segments": _Source(
        f"""select * replace (case when focusData then totalHandleTimeMillis end as totalHandleTimeMillis) from (
                select accountId, t.*, started as placed, exists (
                    from kept.agents f where f.account = t.account and f.agentId = t.agentId and focused) as focusData
                from kept.agent_segments t join kept.accounts using (account) where {_OF_ACCOUNT} and {_STARTED})""",  # noqa: S608
        'epoch_ms("end")',
        _derived_table("agent_segments"),
    ),
    "skill_segments": _Source(
        f"""select accountId, t.*, t.sequence as placed from kept.skill_segments t join kept.accounts using (account)
            where {_OF_ACCOUNT} and {_STARTED}""",  # noqa: S608
        'epoch_ms("end")',
        _derived_table("skill_segments"),
    ),
    "handle_time_units": _Source(
        f"""select accountId, s.conversationId, s.assignedEventId, t.*, epoch_ms(t.start) as placed
            from kept.handle_time_units t join kept.accounts using (account)
            join kept.agent_segments s on s.number = t.number and s.started = t.started
            where {_OF_ACCOUNT} and {_STARTED}""",  # noqa: S608
        'epoch_ms("end")',
        _derived_table("handle_time_units"),
    ),
}
_WITHIN: Final = "({moment} is null or (($start is null or {moment} >= $start) and ($end is null or {moment} < $end)))"
