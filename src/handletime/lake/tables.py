"""The tables of a lake: Delta tables in a folder, and which versions of them belong together.

A run of the derivation changes four tables, one commit each. It exists as soon as its row stands in a fifth one,
`runs`: that commit is the one that counts. Readers take the newest row and open the four tables at the versions
that it names. So nobody sees half a run, and an older run can be read for as long as its files are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, Schema, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from handletime.answers.words import rfc_3339
from handletime.clock import HOUR
from handletime.crashpoints import crash_point
from handletime.errors import InputError
from handletime.events.model import EPOCH, EVENTS
from handletime.lake.sums import sum_fields
from handletime.segments.files import SCHEMAS

PARTITIONS: Final = ("accountId", "day")
"""The partitions of files: the account, and the day (UTC) of the end, null for a running segment."""
RUNS: Final = "runs"
FOCUS_MOVES: Final = "focus_moves"
INSTANT: Final = pa.timestamp("us", tz="UTC")
KEEP_HOURS: Final = 24
"""Hours that the files of a run are kept after the next one."""
_APPLICATION: Final = "handletime"


def _plain(type_: pa.DataType) -> pa.DataType:
    """A column's type in Delta: closed lists are strings, times have microseconds."""
    if pa.types.is_dictionary(type_):
        return type_.value_type
    if pa.types.is_list(type_):
        return pa.list_(_plain(type_.value_type))
    return INSTANT if pa.types.is_timestamp(type_) else type_


def _columns(schema: pa.Schema, *more: pa.Field) -> pa.Schema:
    kept = [pa.field(f.name, _plain(f.type), f.nullable) for f in schema if f.name not in PARTITIONS]
    return pa.schema([*kept, *more])


COLUMNS: Final[Mapping[str, pa.Schema]] = {
    "agent_segments": _columns(SCHEMAS["agent_segments"], *sum_fields("agent_segments")),
    "skill_segments": _columns(SCHEMAS["skill_segments"], *sum_fields("skill_segments")),
    "queue_segments": _columns(SCHEMAS["queue_segments"], *sum_fields("queue_segments")),
    "handle_time_units": _columns(
        SCHEMAS["handle_time_units"], pa.field("userType", pa.string(), False), pa.field("segmentEnd", INSTANT)
    ),
    FOCUS_MOVES: pa.schema(
        pa.field(name, _plain(EVENTS.field(name).type), name == "leaseMillis")
        for name in ("conversationId", "eventId", "agentId", "time", "sequence", "type", "leaseMillis")
    ),
}
"""What the Parquet files of each table hold: the columns of `segments.tables` but for those that are partitions.

Segments also have what they add to each sum, units the user type and the end of their segment. `focus_moves` are the
`focused` and `unfocused` events that count, doubles left out: what a later run has to know of conversations that it
does not derive again.
"""
DAY_OF: Final[Mapping[str, str]] = {
    "agent_segments": "end",
    "skill_segments": "end",
    "queue_segments": "end",
    "handle_time_units": "segmentEnd",
    FOCUS_MOVES: "time",
}
"""The column whose day decides the partition of a row."""
_RUN: Final = pa.schema(
    [
        pa.field("run", pa.int64(), False),
        pa.field("finished", INSTANT, False),
        *(pa.field(name, pa.int64(), False) for name in COLUMNS),
        pa.field("events", pa.string(), False),
    ]
)


class Run(NamedTuple):
    """One run: its number from 1, when it was finished (epoch ms), and the version of each table that belongs to it.

    A run of an earlier version of this program lacks the tables that there were not yet.
    `events` is where the next run goes on: the mark of what was read (`lake.spark.source`).
    """

    number: int
    finished: int
    versions: Mapping[str, int]
    events: str


class File(NamedTuple):
    """A Parquet file of a table: its path from the table's folder, its partition, and what the log says of it.

    `modified` is the end of the run that wrote it (epoch ms), `first` and `last` are the bounds of the column of
    `DAY_OF` (epoch ms), None where it is null in all rows.
    """

    path: str
    account: str
    day: date | None
    rows: int
    size: int
    modified: int
    first: int | None
    last: int | None


# --- reading ---------------------------------------------------------------------------------------------------------


def runs(lake: Path) -> list[Run]:
    """All runs, the oldest first; none where there are no tables. Raises InputError where they cannot be read."""
    try:
        rows = DeltaTable(lake / RUNS).to_pyarrow_table().sort_by("run").to_pylist()
    except TableNotFoundError:
        return []
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise InputError(f"{lake / RUNS} cannot be read: {error}") from error
    return [
        Run(
            row["run"],
            millis(row["finished"]),
            {name: row[name] for name in COLUMNS if row.get(name) is not None},
            row["events"],
        )
        for row in rows
    ]


def files(lake: Path, name: str, version: int) -> list[File]:
    """The files of a table at a version. Raises InputError where the version is not there any more."""
    with _at(lake, name, version) as table:
        found = table.get_add_actions(flatten=True)
    return [_file(row, DAY_OF[name]) for row in pa.table(found).to_pylist()]


def lacking(lake: Path, name: str, version: int) -> frozenset[str]:
    """The columns that a table did not have yet at a version. Raises InputError where that is not there any more."""
    with _at(lake, name, version) as table:
        there = {field.name for field in table.schema().fields}
    return frozenset(COLUMNS[name].names) - there


@contextmanager
def _at(lake: Path, name: str, version: int) -> Iterator[DeltaTable]:
    try:
        yield DeltaTable(lake / name, version=version)
    except (DeltaError, OSError) as error:
        raise InputError(f"{lake / name} cannot be read at version {version}: {error}") from error


def _file(row: dict[str, Any], moment: str) -> File:
    first, last = row.get(f"min.{moment}"), row.get(f"max.{moment}")
    return File(
        path=unquote(row["path"]),
        account=row["partition.accountId"],
        day=row["partition.day"],
        rows=row["num_records"],
        size=row["size_bytes"],
        modified=millis(row["modification_time"]),
        first=None if first is None else millis(first),
        last=None if last is None else millis(last),
    )


def millis(moment: datetime | int) -> int:
    """Epoch milliseconds of a time, UTC where it does not say; a number is such already."""
    if isinstance(moment, int):
        return moment
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(milliseconds=1)


# --- writing ---------------------------------------------------------------------------------------------------------


def partition_path(account: str, day: date | None) -> str:
    """The folder of a partition within a table's. Accounts are letters and digits (rules.md 1)."""
    return f"accountId={account}/day={day.isoformat() if day else '__HIVE_DEFAULT_PARTITION__'}"


class StartedRun(NamedTuple):
    """The last run, None where there is none; the number of the next one; and the tables' versions before it.

    The run may write at these versions only: if another run has written meanwhile, only one of the two can win.
    """

    last: Run | None
    number: int
    versions: Mapping[str, int]
    is_older: bool = False
    """Whether the last run's tables have an older form: this run has to write all files anew."""


def begin(lake: Path) -> StartedRun:
    """Makes missing tables, and undoes what a killed run has done.

    Tables of an older form get the present columns. Raises InputError where the folder holds something else.
    """
    lake.mkdir(parents=True, exist_ok=True)
    known = runs(lake)
    last = known[-1] if known else None
    number = last.number + 1 if last else 1
    versions = {}
    try:
        for name, columns in COLUMNS.items():
            whole = pa.schema([*(pa.field(p, _PARTITION_TYPES[p], p == "day") for p in PARTITIONS), *columns])
            table = DeltaTable.create(lake / name, whole, mode="ignore", partition_by=[*PARTITIONS])
            wanted = last.versions.get(name, 0) if last else 0
            if table.version() != wanted and _paths(lake, name, table.version()) != _paths(lake, name, wanted):
                table.restore(wanted)
                table.update_incremental()
            _bring_up_to_date(table, Schema.from_arrow(whole))
            versions[name] = table.version()
            # The number of a run that was killed is not used again.
            number = max(number, (table.transaction_version(_APPLICATION) or 0) + 1)
        known_runs = DeltaTable.create(lake / RUNS, _RUN, mode="ignore")
        _bring_up_to_date(known_runs, Schema.from_arrow(_RUN))
        versions[RUNS] = known_runs.version()
        is_older = last is not None and (
            last.versions.keys() != COLUMNS.keys()
            or any(
                _differences(DeltaTable(lake / name, version=version).schema(), DeltaTable(lake / name).schema())
                for name, version in last.versions.items()
            )
        )
    except (DeltaError, OSError) as error:
        raise InputError(f"{lake} cannot be used for the tables: {error}") from error
    crash_point("lake-begun")
    return StartedRun(last, number, versions, is_older)


def _differences(found: Schema, wanted: Schema) -> list[Field]:
    """The columns that are missing, and those that have to allow null and do not."""
    there = {field.name: field for field in found.fields}
    return [f for f in wanted.fields if f.name not in there or (f.nullable and not there[f.name].nullable)]


def _bring_up_to_date(table: DeltaTable, wanted: Schema) -> None:
    there = {field.name for field in table.schema().fields}
    for field in _differences(table.schema(), wanted):
        if field.name in there:
            table.alter.drop_column_not_null(field.name)
        else:
            table.alter.add_columns([Field(field.name, field.type, nullable=True)])
        table.update_incremental()


def _paths(lake: Path, name: str, version: int) -> set[str]:
    return {file.path for file in files(lake, name, version)}


_PARTITION_TYPES: Final = {"accountId": pa.string(), "day": pa.date32()}


def commit(lake: Path, name: str, begun: StartedRun, added: Iterable[File], removed: Iterable[File]) -> int:
    """Adds files to a table and removes others, in one commit; gives the version.

    Raises InputError where another run has written meanwhile; then nothing is changed.
    """
    actions: list[AddAction | RemoveAction] = [_add(file, DAY_OF[name]) for file in added]
    actions += [_remove(file) for file in removed]
    with _unchanged(lake, name, begun) as table:
        table.create_write_transaction(
            actions, "append", table.schema(), [*PARTITIONS], commit_properties=_properties(begun)
        )
    crash_point("lake-committed")
    return begun.versions[name] + 1


def finish(lake: Path, begun: StartedRun, run: Run) -> None:
    """Records a run: readers see it from now on. Raises InputError as `commit` does."""
    row = {"run": run.number, "finished": EPOCH + timedelta(milliseconds=run.finished), "events": run.events}
    rows = pa.Table.from_pylist([row | {**run.versions}], schema=_RUN)
    with _unchanged(lake, RUNS, begun) as table:
        write_deltalake(table, rows, mode="append", commit_properties=_properties(begun))
    crash_point("lake-finished")


@contextmanager
def _unchanged(lake: Path, name: str, begun: StartedRun) -> Iterator[DeltaTable]:
    """A table to commit to. Raises InputError where another run has written to it, also while this one does."""
    try:
        table = DeltaTable(lake / name)
        if table.version() != begun.versions[name]:
            raise CommitFailedError(f"{name} is at version {table.version()}")
        yield table
    except CommitFailedError as error:
        raise InputError(
            f"another run has written to {lake} meanwhile; nothing of this one counts: start it again"
        ) from error


def _properties(begun: StartedRun) -> CommitProperties:
    """The properties of a commit. It is not retried: it follows the version that was read, or fails."""
    return CommitProperties(app_transactions=[Transaction(_APPLICATION, begun.number)], max_commit_retries=0)


def vacuum(lake: Path, keep_hours: float = KEEP_HOURS) -> int:
    """Removes the files of failed attempts and of runs older than `KEEP_HOURS`; gives their number.

    The newest run always stays.
    """
    known = runs(lake)
    since = millis(datetime.now(UTC)) - keep_hours * HOUR
    # A run is read until the next one is finished.
    ends = [*(run.finished for run in known[1:]), since]
    kept = [run for run, end in zip(known, ends, strict=False) if end >= since]
    removed = 0
    for name in COLUMNS:
        removed += len(
            DeltaTable(lake / name).vacuum(
                retention_hours=int(keep_hours),
                dry_run=False,
                enforce_retention_duration=False,
                full=True,
                keep_versions=[run.versions[name] for run in kept if name in run.versions],
            )
        )
    return removed


def _values(account: str, day: date | None) -> dict[str, str | None]:
    return {"accountId": account, "day": day.isoformat() if day else None}


def _add(file: File, moment: str) -> AddAction:
    bounds = {
        key: {moment: rfc_3339(value)}
        for key, value in (("minValues", file.first), ("maxValues", file.last))
        if value is not None
    }
    statistics = {"numRecords": file.rows, **bounds, "nullCount": {moment: file.rows if file.first is None else 0}}
    return AddAction(
        path=file.path,
        size=file.size,
        partition_values=_values(file.account, file.day),
        modification_time=file.modified,
        data_change=True,
        stats=msgspec.json.encode(statistics).decode(),
    )


def _remove(file: File) -> RemoveAction:
    return RemoveAction(
        path=file.path,
        deletion_timestamp=millis(datetime.now(UTC)),
        data_change=True,
        partition_values=_values(file.account, file.day),
        size=file.size,
    )
