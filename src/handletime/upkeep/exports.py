"""Everything as Parquet: a folder for each table, account and day, in memory that does not grow with the store.

Once, or again and again into one folder: then only files whose rows have changed are written (`export_folder`).
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import chain, groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from handletime.answers.selection import instant_of
from handletime.answers.words import utc
from handletime.clock import DAY
from handletime.crashpoints import crash_point
from handletime.errors import InputError
from handletime.events.model import EVENTS, FIELDS, with_schema
from handletime.keys.sidefile import SideFile
from handletime.segments.files import SCHEMAS
from handletime.segments.ids import segment_ids
from handletime.segments.parts import Progress
from handletime.segments.tables import AGENT_SEGMENTS
from handletime.store.arrow import registered
from handletime.store.events import NAMED_EVENTS
from handletime.store.now import running_rows
from handletime.upkeep.dbt import FILE as DBT
from handletime.upkeep.dbt import sources_of
from handletime.upkeep.export_folder import CONTENTS, Contents, ExportFolder, Place, Rows, contents_of, held
from handletime.upkeep.staging import staged

BATCH_ROWS: Final = 100_000
ROWS_FORM: Final = 1
"""To be counted up where the same rows are to be written in another way: then all files are written anew."""


class Range(NamedTuple):
    """What is exported: of all accounts or of one; of all times or from a moment on, or before one (epoch ms)."""

    account: str | None = None
    start: int | None = None
    end: int | None = None


class Exported(msgspec.Struct, frozen=True):
    """How many rows of each table, and how many files; how many of these were written, and how many others removed."""

    rows: dict[str, int]
    files: int
    written: int
    removed: int


def export(
    cursor: duckdb.DuckDBPyConnection,
    out: Path,
    side: SideFile,
    asked: Range,
    progress: Progress = lambda _what, _done, _of: None,
) -> Exported:
    """Writes `events` and the derived tables to a new folder, as of one moment; all of it or nothing.

    `TABLE/account=…/day=YYYY-MM-DD/part-0.parquet`: an event has the day of its `time`, a segment or unit that of
    its `end` (UTC). Segments that are running have `day=running`; with `asked.end` only those that had started by then.
    Columns as in docs/tables.md and rules.md 1. `cursor` is in a transaction; `side` is the store's side file. Raises
    InputError where the folder is there and not empty, or the account is unknown; OSError.
    """
    if (out / CONTENTS).is_file():
        raise InputError(f"{out} has an export already: --since last brings it up to date, or name a new folder")
    with staged(out, side.folder) as folder:
        done = _bring_up_to_date(cursor, ExportFolder(folder, durable=False), out, _nothing_yet(side, asked), progress)
        # Once for all: there may be very many small files.
        os.sync()
    return done


def export_again(
    cursor: duckdb.DuckDBPyConnection,
    out: Path,
    side: SideFile,
    asked: Range,
    progress: Progress = lambda _what, _done, _of: None,
) -> Exported:
    """Brings the folder of an export up to date: writes files whose rows have changed, removes those without rows.

    What has changed is known from digests of all rows, so it does not matter why. Whoever reads meanwhile sees whole
    files, old ones and new ones. If this is interrupted, or killed, the next one mends what it left. Other than that
    as `export`; a folder that is not there, or empty, gets everything. Raises InputError where the folder holds
    something else, or the export of another store, account or range; NotNow where another export to it is under way.
    """
    wanted = _nothing_yet(side, asked)
    _of_the_same(out, contents_of(out), wanted)
    _account(cursor, asked.account)
    if not out.parent.is_dir():
        raise InputError(f"{out.parent}: there is no such folder")
    out.mkdir(mode=0o700, exist_ok=True)
    with held(out):
        before = _of_the_same(out, contents_of(out), wanted)
        return _bring_up_to_date(cursor, ExportFolder(out, durable=True), out, before, progress)


def _nothing_yet(side: SideFile, asked: Range) -> Contents:
    return Contents(store=side.identity(), account=asked.account, start=asked.start, end=asked.end)


def _of_the_same(out: Path, found: Contents | None, wanted: Contents) -> Contents:
    """What was found in a folder, `wanted` where nothing was. Raises InputError where it is another export's."""
    if found is None:
        return wanted
    if found.store != wanted.store:
        raise InputError(f"{out} has the export of another store; name another folder")
    if found.account != wanted.account:
        whose = "all accounts" if found.account is None else f"account {found.account}"
        raise InputError(f"{out} has the export of {whose}: ask for the same, or name another folder")
    if (found.start, found.end) != (wanted.start, wanted.end):
        since, until = (None if moment is None else utc(instant_of(moment)) for moment in (found.start, found.end))
        whole = f"from {since or 'the first event'} to {until or 'now'}"
        raise InputError(f"{out} has an export of another range ({whole}): ask for the same, or name another folder")
    return found


def _bring_up_to_date(
    cursor: duckdb.DuckDBPyConnection, folder: ExportFolder, name: Path, before: Contents, progress: Progress
) -> Exported:
    """Writes what differs from `before`. `name` is what the folder is called in the end."""
    given = {"account": _account(cursor, before.account), "start": before.start, "end": before.end}
    _derive_running(cursor, given["account"], progress)
    found = _found(cursor, given, progress)
    changed = {place for place, rows in found.items() if _differs(folder, str(place), rows, before)}
    kept = {str(place): before.files[str(place)] for place in found.keys() - changed}
    gone = {*before.files, *before.unsure} - {str(place) for place in found}
    unsure = sorted({*map(str, changed), *gone})
    # From here on until the end, nobody may rely on these files.
    folder.write_contents(before.replaced(kept, unsure))
    crash_point("export-begun")
    written = {}
    for table in _SOURCES:
        folder.make(table)
        for place in _write(cursor, folder, table, [each for each in changed if each.table == table], given, progress):
            label = str(place)
            written[label] = Rows(found[place].rows, found[place].digest, folder.size(label))
    removed = sum(folder.remove(place) for place in sorted(gone))
    crash_point("export-removed")
    folder.write(DBT, sources_of(name.absolute(), {place.table for place in found}, _SCHEMAS))
    folder.sync_names(unsure)
    folder.write_contents(before.replaced(dict(sorted({**kept, **written}.items())), []))
    rows = Counter(dict.fromkeys(_SOURCES, 0))
    for place, of_place in found.items():
        rows[place.table] += of_place.rows
    return Exported(dict(rows), len(found), len(written), removed)


def _differs(folder: ExportFolder, place: str, rows: Rows, before: Contents) -> bool:
    """Whether a place's file is not known to have these rows."""
    known = before.files.get(place)
    return known is None or (known.rows, known.digest) != (rows.rows, rows.digest) or known.size != folder.size(place)


def _found(cursor: duckdb.DuckDBPyConnection, given: Mapping[str, object], progress: Progress) -> dict[Place, Rows]:
    """The places that have rows, in order, and what these are."""
    found = {}
    for done, name in enumerate(_SOURCES):
        progress("looking for what has changed", done, len(_SOURCES))
        form = int.from_bytes(hashlib.md5(_form_of(name), usedforsecurity=False).digest())
        for account, day, rows, digest in cursor.execute(_DIGESTS[name], given).fetchall():
            found[Place(name, account, day)] = Rows(rows, f"{digest ^ form:032x}")
    return found


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


def _write(
    cursor: duckdb.DuckDBPyConnection,
    folder: ExportFolder,
    name: str,
    places: list[Place],
    given: Mapping[str, object],
    progress: Progress,
) -> Iterator[Place]:
    """Writes the files of places of a table, day by day; gives each place when its file is there."""
    what = f"exporting {name.replace('_', ' ')}"
    progress(what, 0, 0)
    of_days = defaultdict(list)
    for place in places:
        of_days[place.day].append(place.account)
    for done, day in enumerate(sorted(of_days, key=lambda day: (day is None, day))):
        progress(what, done, len(of_days))
        yield from _write_day(cursor, folder, name, day, {**given, "accounts": of_days[day]})


def _write_day(
    cursor: duckdb.DuckDBPyConnection, folder: ExportFolder, name: str, day: int | None, given: Mapping[str, object]
) -> Iterator[Place]:
    of_day, bounds = "moment is null", {}
    if day is not None:
        of_day, bounds = "moment >= $first and moment < $next", {"first": day * DAY, "next": (day + 1) * DAY}
    sql = f"""select * from ({_SOURCES[name]}) where {of_day} and {_WITHIN} and list_contains($accounts, accountId)
        order by accountId, number, placed"""  # noqa: S608
    batches = cursor.sql(sql, params={**given, **bounds}).to_arrow_reader(BATCH_ROWS)
    tables = (_as_table(name, pa.Table.from_batches([batch])) for batch in batches if batch.num_rows)
    for account, parts in groupby(chain.from_iterable(map(_by_account, tables)), itemgetter(0)):
        place = Place(name, account, day)
        with folder.new_file(str(place)) as path:
            with pq.ParquetWriter(path, _SCHEMAS[name], compression="zstd") as file:
                for _, part in parts:
                    file.write_table(part)
            crash_point("export-written")
        crash_point("export-named")
        yield place


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


# --- what the rows of a file are --------------------------------------------------------------------------------------


def _text_of(field: pa.Field) -> str:
    """SQL for a column as text, empty where it is null. What may hold any character has its length in front."""
    name = f'"{field.name}"'
    if pa.types.is_string(field.type):
        return f"coalesce(strlen({name}) || ':' || {name}, '')"
    if pa.types.is_timestamp(field.type) and field.name != "time":
        name = f"epoch_ms({name})"  # As a text it would depend on a setting.
    elif pa.types.is_list(field.type) and pa.types.is_timestamp(field.type.value_type):
        name = f"list_transform({name}, lambda each: epoch_ms(each))"
    return f"coalesce({name}::varchar, '')"


def _digests_of(name: str) -> str:
    """SQL for what `_found` finds: the digest of a file is that of its rows, in any order, put together.

    A row's order in the file is part of it.
    """
    # The account is the whole file's. A segment's id follows from it, from other columns, and from its event's id.
    fields = [_EVENT if field.name == "segmentId" else field for field in _SCHEMAS[name] if field.name != "accountId"]
    text = f"concat_ws('|', number, coalesce(placed, -1), {', '.join(map(_text_of, fields))})"
    return f"""
        select accountId::varchar, floor(moment / {DAY}.0)::bigint as day, count(*), bit_xor(md5_number({text}))
        from ({_SOURCES[name]}) where {_WITHIN} group by accountId, day
        order by accountId, day nulls last"""  # noqa: S608


def _form_of(name: str) -> bytes:
    """What a table's files look like, whatever the rows: files of an earlier form are written anew."""
    choices = [(field.name, field.choices) for field in FIELDS] if name == "events" else []
    return repr((ROWS_FORM, str(_SCHEMAS[name]), choices)).encode()


_EVENT: Final = AGENT_SEGMENTS.field("assignedEventId")
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
_DIGESTS: Final = {name: _digests_of(name) for name in _SOURCES}
