"""A job: what the driver does. It asks Spark for the stages, and commits what they wrote."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handletime.answers.words import count
from handletime.clock import DAY
from handletime.errors import InputError
from handletime.events.model import DEFAULT_ACCOUNT, EPOCH
from handletime.lake import tables
from handletime.lake.spark import stages, touched
from handletime.lake.spark.exchange import DDL, Batches, Parcel, Stage, sent, unpacked
from handletime.lake.spark.source import EventFile, Mark, Source, find, newer, pieces, rows_of
from handletime.lake.spark.stages import DeriveParts, Selection
from handletime.lake.spark.touched import FileOfLastRun, Files
from handletime.lake.spark.write import FILES, Writing, files_of, write_rows
from handletime.lake.tables import FOCUS_MOVES, Run, StartedRun
from handletime.segments.columns import U64
from handletime.segments.derive import Quality
from handletime.segments.focus import Agents
from handletime.segments.parts import agents_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PART_EVENTS: Final = 1_000_000
"""The number of events that a task derives, about: a few hundred MB of memory in a worker."""
SHARE_EVENTS: Final = 50_000_000
"""The days of accounts with more events than this are written by several tasks, in as many files."""
OLD_TIMES: Final = 10
"""An estimate: touched conversations have at most this many times the events of the files that touch them. Where they
have more, parts are larger.
"""
PARTS_LEAST: Final = 8
LOOK_FILES: Final = 16
"""The number of files of the last run that a task looks through."""
LAST: Final = "last"
_SETTINGS: Final = {
    # Rows are parcels of a few MB here.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "4",
    # As many partitions as were asked for, and not what Spark thinks is better.
    "spark.sql.adaptive.enabled": "false",
}

PACKED: Final = {
    "spark.shuffle.compress": "false",
    "spark.shuffle.spill.compress": "false",
    "spark.rdd.compress": "false",
}
"""Settings for sessions of one's own: Spark need not compress again what a job sends."""

Progress = Callable[[str], None]


class JobRequest(NamedTuple):
    """What a job derives; see `derive`."""

    events: Path
    out: Path
    account: str
    since: Mark | str | None
    days: tuple[date, date] | None
    part_events: int

    @property
    def is_whole(self) -> bool:
        """Whether all is derived."""
        return self.since is None and self.days is None


class Done(NamedTuple):
    """What a job did.

    `run` is None where there was nothing new. `quality` is that of the events that were derived. `rows` is the number
    of rows written to each table, in `files` files; `replaced` files were taken out. `first` and `last` are the times
    of the first and last event (epoch ms).
    """

    run: Run | None
    quality: Quality = Quality()
    rows: Mapping[str, int] = {}
    files: int = 0
    replaced: int = 0
    first: int | None = None
    last: int | None = None


def derive(
    spark: SparkSession,
    events: Path | str,
    out: Path | str,
    *,
    account: str = DEFAULT_ACCOUNT,
    since: Mark | str | None = None,
    days: tuple[date, date] | None = None,
    part_events: int = PART_EVENTS,
    progress: Progress = lambda _what: None,
) -> Done:
    """Derives the tables of a lake from events, as one run; readers see all of it or nothing.

    `events` is a Parquet file, a folder of such or a Delta table, `out` the folder of the tables (`lake.tables`);
    workers see both under the same path. `account` is for events that name none. Without `since` and `days` all is
    derived; with `since` what is touched by events that came since then (`LAST`: since the last run); with `days` what
    is touched by those from the first to the last of two days (UTC). A task derives about `part_events` events.
    `progress` is called with each step. Raises InputError (InvalidEvents: which file, row and field), OSError.
    """
    asked = JobRequest(Path(events), Path(out), account, since, days, part_events)
    source = find(asked.events)
    begun = tables.begin(asked.out)
    with _settings(spark):
        job = _Job(spark, asked, source, begun, progress)
        try:
            return job.run()
        finally:
            job.forget()


class _Known(NamedTuple):
    """The events of a run by part, and what was found about them."""

    events: DataFrame
    moves: DataFrame
    movers: Agents
    about: pa.Table


class _Job:
    """One job, from the files to the commit."""

    def __init__(
        self, spark: SparkSession, asked: JobRequest, source: Source, begun: StartedRun, progress: Progress
    ) -> None:
        self._spark, self._asked, self._source, self._begun, self._progress = spark, asked, source, begun, progress
        self._kept: list[DataFrame] = []
        self._read: tuple[Selection, _Known] | None = None
        rows = rows_of(source.files)
        self._parts = self._parts_of(rows)
        progress(f"{count(len(source.files), 'file')}, about {rows:,} events, in {count(self._parts, 'part')}")

    def _parts_of(self, rows: int) -> int:
        return max(-(-rows // self._asked.part_events), 1)

    def run(self) -> Done:
        """Does the whole job."""
        selection = Selection() if self._asked.is_whole else self._touched()
        if selection.hashes is not None and not len(selection.hashes):
            return Done(None)
        known = self._known(selection)
        old_moves = self._old_moves(known.movers, selection)
        by_agent = _union(known.moves, old_moves).repartitionById(self._parts, "target")
        losses = self._keep(_staged(by_agent, partial(stages.find_losses, self._parts)))
        self._progress("finding whose focus went where")
        found = self._collected(losses.where(f"kind = '{stages.AGENTS}'"))
        deriving = DeriveParts(_agents(found), _shares(known.about), self._parts, self._parts)
        rows = _staged(
            known.events.union(losses.where(f"kind = '{stages.LOSSES}'")).repartitionById(self._parts, "target"),
            partial(stages.derive_parts, deriving),
        )
        rows = _union(rows, self._rows_left(selection, deriving, known.about))
        writing = Writing(str(self._asked.out.absolute()), self._begun.number)
        self._progress("deriving")
        results = self._collected(_staged(rows.repartitionById(self._parts, "target"), partial(write_rows, writing)))
        self._progress("committing")
        return self._committed(results, selection, known.about)

    def forget(self) -> None:
        """Frees what is kept on the workers' disks."""
        for frame in self._kept:
            frame.unpersist()

    # --- stages ---

    def _tasks(self, count: int, each: int = 1) -> DataFrame:
        """A row for each number below a count, some of them in each task."""
        return self._spark.range(0, count, 1, max(-(-count // each), 1))

    def _keep(self, frame: DataFrame) -> DataFrame:
        from pyspark import StorageLevel

        self._kept.append(frame.persist(StorageLevel.DISK_ONLY))
        return frame

    def _collected(self, frame: DataFrame) -> dict[str, list[pa.Table]]:
        """Runs a stage; gives its parcels by kind. Raises InputError where a task did."""
        from pyspark.errors import PySparkException

        try:
            rows = frame.select("kind", "content").collect()
        except PySparkException as error:
            of_task = _TASK_ERROR.search(str(error))
            if of_task:
                raise InputError(of_task[1].strip()) from None
            raise
        found: dict[str, list[pa.Table]] = {}
        for kind, content in rows:
            found.setdefault(kind, []).append(unpacked(pa.py_buffer(content)))
        return found

    def _known(self, selection: Selection) -> _Known:
        """The events of the chosen conversations, and their focus moves."""
        if self._read is not None and self._read[0].is_same(selection):
            return self._read[1]
        to_read = pieces(self._source.files)
        read = partial(stages.read_events, to_read, self._asked.account, selection, self._parts)
        self._progress("reading events")
        events = self._keep(_staged(self._tasks(len(to_read)), read).repartitionById(self._parts, "target"))
        find = partial(stages.find_moves, self._parts, selection.hashes is not None)
        moves = self._keep(_staged(events, find))
        found = self._collected(moves.where(f"kind in ('{stages.MOVERS}', '{stages.ACCOUNTS}')"))
        about = pa.concat_tables(found[stages.ACCOUNTS]) if stages.ACCOUNTS in found else _NOTHING
        known = _Known(events, moves.where(f"kind = '{stages.MOVES}'"), _agents(found, stages.MOVERS), about)
        self._read = (selection, known)
        return known

    # --- what is touched ---

    def _touched(self) -> Selection:
        """The conversations that are derived again."""
        last = self._begun.last
        if last is None:
            raise InputError(f"{self._asked.out} has no tables yet: derive all events once, without --since or --day")
        if self._begun.is_older:
            raise InputError(
                f"the tables in {self._asked.out} were made by an earlier version: derive all events once, without "
                "--since or --day"
            )
        new = self._new()
        first, end = _bounds(self._asked.days)
        to_read = pieces(new)
        look = partial(touched.find_conversations, to_read, self._asked.account, first, end)
        self._progress(f"looking for touched conversations in {len(new):,} files")
        if not new:
            return Selection(np.empty(0, np.uint64))
        self._parts = min(self._parts, max(self._parts_of(OLD_TIMES * rows_of(new)), PARTS_LEAST))
        direct = _hashes(self._collected(_staged(self._tasks(len(to_read)), look)))
        if not len(direct):
            return Selection(direct)
        return Selection(np.union1d(direct, self._touched_by_focus(last, Selection(direct))))

    def _new(self) -> list[EventFile]:
        """The files in which touched conversations are looked for."""
        if self._asked.days is not None:
            first, last = (day.isoformat() for day in self._asked.days)
            return [file for file in self._source.files if file.day is None or first <= file.day <= last]
        since, last_run = self._asked.since, self._begun.last
        if since == LAST and last_run is not None:
            since = _mark_of(last_run)
        assert isinstance(since, Mark)  # noqa: S101
        return newer(self._asked.events, self._source, since)

    def _touched_by_focus(self, last: Run, direct: Selection) -> U64:
        """Conversations whose focus goes elsewhere now, or whose agents have focus data only now."""
        self._progress("looking for conversations whose focus they take")
        known = self._known(direct)
        lost = self._looked_back(last, FOCUS_MOVES, partial(touched.find_agents, direct))
        movers = known.movers | _agents(self._collected(lost))
        old = self._old_moves(movers, direct, selected=True)
        both = _union(known.moves, old).repartitionById(self._parts, "target")
        found = self._collected(_staged(both, touched.find_touched))
        flipped = _agents(found, touched.FLIPPED)
        hashes = _hashes(found)
        if flipped:
            find = partial(touched.find_assigned, flipped)
            assigned = self._looked_back(last, "agent_segments", find, flipped)
            hashes = np.union1d(hashes, _hashes(self._collected(assigned)))
        return hashes

    def _old_moves(self, movers: Agents, selection: Selection, *, selected: bool = False) -> DataFrame | None:
        """The moves that these agents had at the last run; of the chosen conversations only if `selected`."""
        if selection.hashes is None or self._begun.last is None:
            return None
        find = partial(touched.find_old_moves, movers, selection, selected, self._parts)
        return self._looked_back(self._begun.last, FOCUS_MOVES, find, movers)

    def _looked_back(
        self, last: Run, name: str, stage: Callable[[Files, Batches], Iterator[Parcel]], agents: Agents | None = None
    ) -> DataFrame:
        """A stage over the files of a table at the last run; only over those of the accounts of some agents."""
        accounts = None if agents is None else {account for account, _agent in agents}
        lefts = [left for left in self._left(last, name) if accounts is None or left.file.account in accounts]
        return _staged(self._tasks(len(lefts), LOOK_FILES), partial(stage, lefts))

    def _left(self, last: Run, name: str) -> list[FileOfLastRun]:
        """The files of a table at the last run."""
        lake = str(self._asked.out.absolute())
        return [FileOfLastRun(name, lake, file) for file in tables.files(self._asked.out, name, last.versions[name])]

    # --- what stays, and the end ---

    def _rows_left(self, selection: Selection, deriving: DeriveParts, about: pa.Table) -> DataFrame | None:
        """The rows of other conversations in files that are replaced."""
        last = self._begun.last
        if selection.hashes is None or last is None:
            return None
        since = _first_days(about)
        # No row of a conversation is of a day before its first event.
        lefts = [
            left
            for name in tables.COLUMNS
            for left in self._left(last, name)
            if left.file.account in since and (left.file.day is None or left.file.day >= since[left.file.account])
        ]
        return _staged(self._tasks(len(lefts), LOOK_FILES), partial(touched.keep_rows, selection, deriving, lefts))

    def _committed(self, results: Mapping[str, list[pa.Table]], selection: Selection, about: pa.Table) -> Done:
        out, begun = self._asked.out, self._begun
        written = files_of(results.get(FILES, []))
        replaced = {tuple(row.values()) for part in results.get(stages.REPLACED, []) for row in part.to_pylist()}
        finished = max(time.time_ns() // 1_000_000, begun.last.finished + 1 if begun.last else 0)
        versions = {}
        for name in tables.COLUMNS:
            added = [file._replace(modified=finished) for table, file in written if table == name]
            last = begun.last.versions.get(name) if begun.last else None
            before = tables.files(out, name, last) if last is not None else []
            gone = [file for file in before if selection.hashes is None or (name, file.path) in replaced]
            versions[name] = tables.commit(out, name, begun, added, gone)
        mark = self._source.mark if self._asked.days is None else _mark_of(begun.last)
        run = Run(begun.number, finished, versions, msgspec.json.encode(mark).decode())
        tables.finish(out, begun, run)
        tables.vacuum(out)
        rows = {name: sum(file.rows for table, file in written if table == name) for name in tables.COLUMNS}
        told = (each for part in results.get(stages.QUALITY, []) for each in part["quality"].to_pylist())
        quality = sum((msgspec.msgpack.decode(each, type=Quality) for each in told), Quality())
        times = pc.min_max(pa.chunked_array([*about["time_min"].chunks, *about["time_max"].chunks])).as_py()
        return Done(
            *(run, quality, rows, len(written), len(replaced)),
            *(None if times[end] is None else tables.millis(times[end]) for end in ("min", "max")),
        )


# --- what stages tell ------------------------------------------------------------------------------------------------

_NOTHING: Final = stages.ABOUT.empty_table()


def _staged(frame: DataFrame, stage: Stage) -> DataFrame:
    return frame.mapInArrow(partial(sent, stage), DDL)


def _union(frame: DataFrame, other: DataFrame | None) -> DataFrame:
    return frame if other is None else frame.union(other)


def _agents(found: Mapping[str, list[pa.Table]], kind: str = stages.AGENTS) -> Agents:
    return agents_of(pa.concat_tables(found[kind])) if kind in found else set()


def _hashes(found: Mapping[str, list[pa.Table]]) -> U64:
    parts = [part["hash"].to_numpy() for part in found.get(touched.CONVERSATIONS, [])]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.uint64)


def _by_account(about: pa.Table, what: str, how: str) -> dict[str, Any]:
    grouped = about.group_by("accountId").aggregate([(what, how)])
    return dict(zip(grouped["accountId"].to_pylist(), grouped[f"{what}_{how}"].to_pylist(), strict=True))


def _shares(about: pa.Table) -> dict[str, int]:
    sizes = _by_account(about, "count_all", "sum")
    return {account: 1 + count // SHARE_EVENTS for account, count in sizes.items() if count >= SHARE_EVENTS}


def _first_days(about: pa.Table) -> dict[str, date]:
    return {account: first.date() for account, first in _by_account(about, "time_min", "min").items()}


def _bounds(days: tuple[date, date] | None) -> tuple[int | None, int | None]:
    if days is None:
        return None, None
    first, last = ((datetime(d.year, d.month, d.day, tzinfo=UTC) - EPOCH).days * DAY for d in days)
    return first, last + DAY


def _mark_of(run: Run | None) -> Mark:
    return msgspec.json.decode(run.events, type=Mark) if run else Mark()


# --- Spark -----------------------------------------------------------------------------------------------------------


@contextmanager
def _settings(spark: SparkSession) -> Iterator[None]:
    """Sets the session's settings as a job needs them, and puts them back afterwards."""
    before = {name: spark.conf.get(name, None) for name in _SETTINGS}
    try:
        for name, value in _SETTINGS.items():
            spark.conf.set(name, value)
        yield
    finally:
        for name, old in before.items():
            if old is None:
                spark.conf.unset(name)
            else:
                spark.conf.set(name, old)


_TASK_ERROR: Final = re.compile(
    r"^handletime\.errors\.(?:InputError|InvalidEvents): (.*?)(?=^\s+at |^\s*$|\Z)", re.MULTILINE | re.DOTALL
)
"""What a task says of its input, in an error of Spark's."""
