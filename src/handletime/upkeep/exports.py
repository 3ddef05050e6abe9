"""Everything as Parquet: a folder for each table, account and day, in memory that does not grow with the store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from itertools import chain, groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from handletime.clock import DAY
from handletime.errors import InputError
from handletime.events.model import EVENTS, with_schema
from handletime.segments.files import SCHEMAS
from handletime.segments.ids import segment_ids
from handletime.segments.parts import Progress
from handletime.store.arrow import registered
from handletime.store.events import NAMED_EVENTS
from handletime.store.now import running_rows
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


def export(
    cursor: duckdb.DuckDBPyConnection,
    out: Path,
    store: Path,
    asked: Range,
    progress: Progress = lambda _what, _done, _of: None,
) -> Exported:
    """Writes `events` and the derived tables to a new folder, as of one moment; all of it or nothing.

    `TABLE/accountId=…/day=YYYY-MM-DD/part-0.parquet`: an event has the day of its `time`, a segment or unit that of
    its `end` (UTC). Segments that are running have none; with `asked.end` only those that had started by then.
    Columns as in docs/tables.md and rules.md 1. `cursor` is in a transaction; `store` is the store's folder. Raises
    InputError where the folder is there and not empty, or the account is unknown; OSError.
    """
    with staged(out, store) as folder:
        given = {"account": _account(cursor, asked.account), "start": asked.start, "end": asked.end}
        files, rows = 0, dict.fromkeys(_SOURCES, 0)
        _derive_running(cursor, given["account"], progress)
        for name in _SOURCES:
            (folder / name).mkdir()
            for day in _days(cursor, name, given, progress):
                for number in _day_files(cursor, folder, name, day, given):
                    rows[name] += number
                    files += 1
        # Once for all: there may be very many small files.
        os.sync()
    return Exported(rows, files)


def _account(cursor: duckdb.DuckDBPyConnection, name: str | None) -> int | None:
    if name is None:
        return None
    found = cursor.execute("select account from kept.accounts where accountId = ?", [name]).fetchall()
    if not found:
        raise InputError(f"there is no account {name} in the store")
    return int(found[0][0])


def _derive_running(cursor: duckdb.DuckDBPyConnection, account: int | None, progress: Progress) -> None:
    """Puts what is still running beside what is stored, in tables of the cursor's own: DuckDB bounds their memory."""
    asked = {"account": account}
    for name, stored in _STORED.items():
        cursor.execute(f"create temp table running_{name} as select * from ({stored}) limit 0", asked)  # noqa: S608
    accounts = cursor.execute(_WITH_OPEN, asked).fetchall()
    for done, of_account in enumerate(accounts):
        progress("deriving what is running", done, len(accounts))
        for rows in running_rows(cursor, *of_account):
            with registered(cursor, **{f"run_{name}": table for name, table in rows.items()}):
                for name, running in _RUNNING.items():
                    cursor.execute(f"insert into running_{name} by name {running}")


def _days(
    cursor: duckdb.DuckDBPyConnection, name: str, given: Mapping[str, object], progress: Progress
) -> Iterator[int | None]:
    """The days (since the epoch) that a table has rows of; None where they have no day."""
    what = f"exporting {name.replace('_', ' ')}"
    progress(what, 0, 0)
    sql = f"select distinct floor(moment / {DAY}.0)::bigint as day from ({_SOURCES[name]}) where {_WITHIN}"  # noqa: S608
    found = cursor.execute(f"{sql} order by day nulls last", given).fetchall()
    for done, (day,) in enumerate(found):
        progress(what, done, len(found))
        yield day


def _day_files(
    cursor: duckdb.DuckDBPyConnection, folder: Path, name: str, day: int | None, given: Mapping[str, object]
) -> Iterator[int]:
    """Writes a day's rows, a file for each account; gives the number of rows of each file."""
    of_day, bounds, label = "moment is null", {}, NO_DAY
    if day is not None:
        of_day, bounds = "moment >= $first and moment < $next", {"first": day * DAY, "next": (day + 1) * DAY}
        label = str(date(1970, 1, 1) + timedelta(days=day))
    sql = f"select * from ({_SOURCES[name]}) where {of_day} and {_WITHIN} order by accountId, number, placed"  # noqa: S608
    batches = cursor.sql(sql, params={**given, **bounds}).to_arrow_reader(BATCH_ROWS)
    tables = (_as_table(name, pa.Table.from_batches([batch])) for batch in batches if batch.num_rows)
    for account, parts in groupby(chain.from_iterable(map(_by_account, tables)), itemgetter(0)):
        place = folder / name / f"accountId={account}" / f"day={label}"
        place.mkdir(parents=True)
        rows = 0
        with pq.ParquetWriter(place / FILE, _SCHEMAS[name], compression="zstd") as file:
            for _, part in parts:
                file.write_table(part)
                rows += part.num_rows
        yield rows


def _by_account(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each account; they come account by account."""
    codes = table["accountId"].combine_chunks()
    bounds = [0, *(np.flatnonzero(np.diff(codes.indices.to_numpy())) + 1).tolist(), table.num_rows]
    for low, high in pairwise(bounds):
        yield codes[low].as_py(), table.slice(low, high - low)


# --- rows ------------------------------------------------------------------------------------------------------------


def _as_table(name: str, rows: pa.Table) -> pa.Table:
    """The rows of a table's query with its columns."""
    if name == "events":
        return with_schema(rows)
    schema = _SCHEMAS[name]
    if "segmentId" in schema.names:
        ids = segment_ids(*(rows[name] for name in ("accountId", "agentId", "conversationId", "assignedEventId")))
        rows = rows.append_column("segmentId", ids)
    return pa.table([_as(rows[field.name], field.type) for field in schema], schema=schema)


def _as(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    """A column as another type; what was a closed list in DuckDB has places of another width."""
    return (column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column).cast(type_)


_OF_ACCOUNT: Final = "($account is null or t.account = $account)"
_SCHEMAS: Final = {"events": EVENTS, **SCHEMAS}
_STORED: Final = {
    "agent_segments": f"""
        select * replace (case when focusData then totalHandleTimeMillis end as totalHandleTimeMillis) from (
            select accountId, t.*, epoch_ms("end") as moment, started as placed, exists (
                from kept.agents f where f.account = t.account and f.agentId = t.agentId and focused) as focusData
            from kept.agent_segments t join kept.accounts using (account) where {_OF_ACCOUNT})""",  # noqa: S608
    "skill_segments": f"""
        select accountId, t.*, epoch_ms("end") as moment, t.sequence as placed
        from kept.skill_segments t join kept.accounts using (account) where {_OF_ACCOUNT}""",  # noqa: S608
    "queue_segments": f"""
        select accountId, t.*, epoch_ms("end") as moment, t.sequence as placed
        from kept.queue_segments t join kept.accounts using (account) where {_OF_ACCOUNT}""",  # noqa: S608
    "handle_time_units": f"""
        select accountId, s.conversationId, s.assignedEventId, t.*, epoch_ms(t."end") as moment,
            epoch_ms(t.start) as placed
        from kept.handle_time_units t join kept.accounts using (account)
        join kept.agent_segments s on s.number = t.number and s.started = t.started
        where {_OF_ACCOUNT}""",  # noqa: S608
}
"""The rows that are stored: of what has ended."""
_RUNNING: Final = {
    "agent_segments": "select * exclude (segmentId) from run_agent_segments",
    "skill_segments": "from run_skill_segments",
    "queue_segments": "from run_queue_segments",
    "handle_time_units": """
        select u.* exclude (segmentId), assignedEventId, epoch_ms(u."end") as moment, epoch_ms(u.start) as placed
        from run_handle_time_units u join run_agent_segments a using (segmentId)""",
}
"""The rows of `running_rows`, with columns of `_STORED`. Segments have no moment; a conversation has at most one."""
_WITH_OPEN: Final = """
    select account, accountId from kept.accounts semi join kept.open_conversations using (account)
    where $account is null or account = $account order by account"""
_SOURCES: Final = {
    "events": f"""
        select *, time as moment, arrival as placed from ({NAMED_EVENTS}) t where {_OF_ACCOUNT}""",  # noqa: S608
    **{
        name: f"from ({stored}) union all by name from running_{name} t where $end is null or epoch_ms(start) < $end"
        for name, stored in _STORED.items()
    },
}
"""Where a table's rows come from. `moment`, in epoch milliseconds, decides their day, `placed` their order."""
_WITHIN: Final = "(moment is null or (($start is null or moment >= $start) and ($end is null or moment < $end)))"
