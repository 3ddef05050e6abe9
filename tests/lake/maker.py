"""Makes the tables of a lake out of events, without Spark: the same contract (`lake.tables`), in the simplest way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from handletime.lake.sums import with_sums
from handletime.lake.tables import (
    COLUMNS,
    DAY_OF,
    FOCUS_MOVES,
    File,
    Run,
    begin,
    commit,
    files,
    finish,
    millis,
    partition_path,
)
from handletime.segments.derive import derive
from handletime.segments.parts import prepare

Partition = tuple[str, date | None]
ORDER = {
    "agent_segments": ("end", "segmentId"),
    "skill_segments": ("end", "conversationId", "sequence"),
    "queue_segments": ("end", "conversationId", "sequence"),
    "handle_time_units": ("segmentEnd", "segmentId", "sequence"),
    FOCUS_MOVES: ("time", "sequence", "conversationId", "eventId"),
}


def write_run(lake: Path, events: pa.Table, finished: int) -> Run:
    """One more run over all events there are; partitions that stay as they are keep their files."""
    begun = begin(lake)
    before, number = begun.last, begun.number
    versions = {}
    for name, rows in stored(events).items():
        old = by_partition(files(lake, name, before.versions[name])) if before and name in before.versions else {}
        new = dict(partitions(name, rows))
        stays = {
            key
            for key, part in new.items()
            if not begun.is_older and key in old and read(lake / name, old[key], name).equals(part)
        }
        added = [write(lake / name, name, key, new[key], number, finished) for key in new.keys() - stays]
        removed = [file for key in old.keys() - stays for file in old[key]]
        versions[name] = commit(lake, name, begun, added, removed)
    run = Run(number, finished, versions, "")
    finish(lake, begun, run)
    return run


def stored(events: pa.Table) -> dict[str, pa.Table]:
    """The rows of each table, with `accountId`."""
    derived = derive(events)
    of_segment = derived.agent_segments.select(["segmentId", "userType", "end"]).rename_columns(
        ["segmentId", "userType", "segmentEnd"]
    )
    plain = of_segment.set_column(1, "userType", of_segment["userType"].cast(pa.string()))
    units = derived.handle_time_units
    units = units.append_column("place", pa.array(range(units.num_rows), pa.int64()))
    for place, field in enumerate(units.schema):
        if pa.types.is_dictionary(field.type):
            units = units.set_column(place, field.name, units[field.name].cast(pa.string()))
    units = units.join(plain, "segmentId").sort_by("place").drop_columns(["place"])
    moves = events.take(prepare(events).ordered.rows)
    moves = moves.filter(pc.is_in(moves["type"].cast(pa.string()), pa.array(["focused", "unfocused"])))
    segments = ("agent_segments", "skill_segments", "queue_segments")
    rows: dict[str, pa.Table] = {name: getattr(derived, name) for name in segments}
    found = {**rows, "handle_time_units": units, FOCUS_MOVES: moves}
    return {name: _as_stored(found[name], name) for name in COLUMNS}


def _as_stored(rows: pa.Table, name: str) -> pa.Table:
    rows = with_sums(name, rows)
    accounts = rows["accountId"].cast(pa.string())
    return rows.select(COLUMNS[name].names).cast(COLUMNS[name]).append_column("accountId", accounts)


def partitions(name: str, rows: pa.Table) -> Iterator[tuple[Partition, pa.Table]]:
    """The rows of each account and day."""
    days = pc.cast(rows[DAY_OF[name]], pa.date32())
    keys = zip(rows["accountId"].to_pylist(), days.to_pylist(), strict=True)
    places: dict[Partition, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    order = [(column, "ascending") for column in ORDER[name]]
    for key, chosen in places.items():
        yield key, rows.take(chosen).select(COLUMNS[name].names).sort_by(order).combine_chunks()


def read(folder: Path, of: list[File], name: str) -> pa.Table:
    """The rows of a partition as they were written."""
    return pq.ParquetFile(folder / of[0].path).read().cast(COLUMNS[name]).combine_chunks()


def write(folder: Path, name: str, key: Partition, rows: pa.Table, run: int, finished: int) -> File:
    """Writes the rows of a partition to a file."""
    path = f"{partition_path(*key)}/part-{run:06}.parquet"
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, place, compression="zstd")
    ends = pc.min_max(rows[DAY_OF[name]]).as_py()
    first, last = (None if end is None else millis(end) for end in (ends["min"], ends["max"]))
    return File(path, *key, rows.num_rows, place.stat().st_size, finished, first, last)


def by_partition(all_files: Sequence[File]) -> dict[tuple[str, date | None], list[File]]:
    """Files by account and day."""
    found: dict[tuple[str, date | None], list[File]] = {}
    for file in all_files:
        found.setdefault((file.account, file.day), []).append(file)
    return found
