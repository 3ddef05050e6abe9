"""Inputs of any size in the memory that a setting allows.

Events are collected until they fill their share of the memory. If they never do, they are one part. Otherwise they
are spilled to disk in parts by a hash of the conversation; the losses of focus, which cross conversations, are found
agent by agent in between, and then each part is derived alone. The rows come out the same, in the same order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from handletime.events import model
from handletime.events.model import EVENTS
from handletime.segments.columns import NEVER, Columns, columns_of, in_one_chunk
from handletime.segments.focus import agent_hashes, conversation_of_rows, focus_rows, losses_of_moves, with_losses
from handletime.segments.order import Ordered, hash_all, order

PART_BITS: Final = 8
"""2^8 parts: enough for some 60 GiB of events with 1 GiB of memory."""
NEEDS: Final = 4
"""Deriving takes at most so many times the memory of the events themselves (`make bench` prints it)."""
DEFAULT_MEMORY: Final = 2 << 30

Told = Callable[[str, int, int], None]
"""Is told of progress: what is done, how many steps of it, of how many."""
Buckets = npt.NDArray[np.integer]


Agents = set[tuple[str, int]]
"""Accounts and agents."""


class Prepared(NamedTuple):
    """Events of whole conversations, in order, that know their losses of focus: all that `derive_prepared` needs.

    `focused` are the agents of whom there is any focus event, also in conversations that are not among these.
    """

    events: pa.Table
    columns: Columns
    ordered: Ordered
    focused: Agents


def prepare(events: pa.Table, losses: pa.Table | None = None) -> Prepared:
    """Orders a table of `model.EVENTS` and finds its losses of focus; `losses` as in `derive`."""
    events = in_one_chunk(events)
    columns = columns_of(events)
    ordered = order(events, columns)
    focused = focused_agents(events, ordered) | (agents_of(losses) if losses is not None else set())
    return Prepared(events, with_losses(events, columns, ordered, losses), ordered, focused)


def focused_agents(events: pa.Table, ordered: Ordered) -> Agents:
    """The accounts and agents of whom there is any `focused`, doubles aside."""
    focused = ordered.rows[ordered.records["type"] == model.FOCUSED]
    return agents_of(events.select(["accountId", "agentId"]).take(focused))


def agents_of(rows: pa.Table) -> Agents:
    """The accounts and agents of events or segments."""
    pairs = rows.select(["accountId", "agentId"]).unify_dictionaries().group_by(["accountId", "agentId"]).aggregate([])
    return set(zip(pairs["accountId"].to_pylist(), pairs["agentId"].to_pylist(), strict=True))


def prepared_parts(
    tables: Iterable[pa.Table],
    *,
    memory: int = DEFAULT_MEMORY,
    folder: Path | None = None,
    told: Told = lambda _what, _done, _of: None,
    losses: pa.Table | None = None,
) -> Iterator[Prepared]:
    """Reads all tables, then gives their events in parts of whole conversations, in about `memory` bytes.

    `losses` as in `derive`.

    What does not fit is spilled to a new folder inside `folder` (default: the system's for temporary files), which is
    removed at the end. One conversation is never cut, however long. Nothing is given before everything is read.
    """
    budget = memory // NEEDS
    collected: list[pa.Table] = [EVENTS.empty_table()]
    size = 0
    with tempfile.TemporaryDirectory(prefix=".handletime-", dir=folder) as place:
        spill: _Spill | None = None
        for table in tables:
            collected.append(table)
            size += table.nbytes
            if size > (budget // 2 if spill else budget):
                spill = spill or _Spill(Path(place), "events", 1 << PART_BITS)
                _spill_events(spill, collected)
                collected, size = [EVENTS.empty_table()], 0
        if spill is None:
            table = in_one_chunk(pa.concat_tables(collected))
            collected.clear()
            yield prepare(table, losses)
        else:
            _spill_events(spill, collected)
            collected.clear()
            yield from _parts_of(spill, Path(place), budget, told, losses)


def _spill_events(spill: _Spill, collected: list[pa.Table]) -> None:
    table = in_one_chunk(pa.concat_tables(collected))
    hashes = hash_all(table, columns_of(table))[:, 0]
    spill.add(table, (hashes >> np.uint64(64 - PART_BITS)).astype(np.int16))


def _parts_of(spill: _Spill, place: Path, budget: int, told: Told, anonymous: pa.Table | None) -> Iterator[Prepared]:
    parts = spill.finish(budget)
    by_agent = _Spill(place, "focus", 1 << PART_BITS)
    for number, part in enumerate(parts):
        told("finding focus", number, 2 * len(parts))
        moves = _moves(spill.read(part), number)
        by_agent.add(moves, (agent_hashes(moves, columns_of(moves)) >> np.uint64(64 - PART_BITS)).astype(np.int16))
    losses = _Spill(place, "losses", len(parts))
    focused: Agents = agents_of(anonymous) if anonymous is not None else set()
    for agents in by_agent.finish(budget):
        moves = by_agent.read(agents)
        assert moves is not None  # noqa: S101 - groups hold what was written
        focused |= agents_of(moves.filter(pc.equal(moves["type"].cast(pa.string()), "focused")))
        found = _losses(moves, anonymous)
        losses.add(found, found["part"].to_numpy())
    losses.finish(0)
    for number, part in enumerate(parts):
        told("deriving", len(parts) + number, 2 * len(parts))
        events = in_one_chunk(spill.read(part))
        columns = columns_of(events)
        ordered = order(events, columns)
        yield Prepared(events, _with_losses_of(columns, losses.read([number])), ordered, focused)


def _moves(events: pa.Table, part: int) -> pa.Table:
    """The focus events of a part, doubles left out, with their part, row and the number of their conversation."""
    events = in_one_chunk(events)
    columns = columns_of(events)
    ordered = order(events, columns)
    conversations = conversation_of_rows(ordered.rows, ordered.starts, len(columns.time))
    rows = focus_rows(columns.type, conversations)
    moves = events.take(rows)
    moves = moves.append_column("part", pa.array(np.full(len(rows), part, np.int16)))
    moves = moves.append_column("row", pa.array(rows))
    return moves.append_column("conversation", pa.array(conversations[rows] + (part << 32)))


def _losses(moves: pa.Table, anonymous: pa.Table | None) -> pa.Table:
    """Part, row and loss of the focus events of whole agents."""
    everything = np.arange(moves.num_rows, dtype=np.int32)
    found = losses_of_moves(moves, columns_of(moves), everything, moves["conversation"].to_numpy(), anonymous)
    return pa.table(
        {
            "part": moves["part"],
            "row": moves["row"],
            "lost_time": found.lost_time,
            "lost_sequence": found.lost_sequence,
        }
    )


def _with_losses_of(columns: Columns, losses: pa.Table | None) -> Columns:
    lost_time = np.full(len(columns.time), NEVER, np.int64)
    lost_sequence = lost_time.copy()
    if losses is not None:
        rows = losses["row"].to_numpy()
        lost_time[rows] = losses["lost_time"].to_numpy()
        lost_sequence[rows] = losses["lost_sequence"].to_numpy()
    return columns._replace(lost_time=lost_time, lost_sequence=lost_sequence)


class _Spill:
    """Tables on disk, row by row in one of a number of buckets."""

    def __init__(self, folder: Path, name: str, buckets: int) -> None:
        self._paths = [folder / f"{name}-{bucket:03d}.arrow" for bucket in range(buckets)]
        self._writers: dict[int, pa.RecordBatchStreamWriter] = {}
        self._sizes = [0] * buckets

    def add(self, table: pa.Table, buckets: Buckets) -> None:
        """Writes each row to its bucket; rows of one bucket keep their order."""
        by_bucket = np.argsort(buckets, kind="stable")
        table = table.unify_dictionaries().take(by_bucket).combine_chunks()
        bounds = np.searchsorted(buckets[by_bucket], np.arange(len(self._paths) + 1))
        for bucket, (low, high) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
            if low < high:
                piece = table.slice(low, high - low)
                self._writer(bucket, table.schema).write_table(piece)
                self._sizes[bucket] += piece.nbytes

    def _writer(self, bucket: int, schema: pa.Schema) -> pa.RecordBatchStreamWriter:
        if bucket not in self._writers:
            options = pa.ipc.IpcWriteOptions(compression="lz4", emit_dictionary_deltas=False)
            self._writers[bucket] = pa.ipc.new_stream(self._paths[bucket], schema, options=options)
        return self._writers[bucket]

    def finish(self, budget: int) -> list[list[int]]:
        """Ends the writing; gives the buckets in groups of neighbours that fit the budget, in order."""
        for writer in self._writers.values():
            writer.close()
        groups: list[list[int]] = []
        size = 0
        for bucket in sorted(self._writers):
            if not groups or size + self._sizes[bucket] > budget:
                groups.append([])
                size = 0
            groups[-1].append(bucket)
            size += self._sizes[bucket]
        return groups

    def read(self, buckets: list[int]) -> pa.Table | None:
        """The rows of some buckets as one table; None where they have none."""
        tables = []
        for bucket in buckets:
            if bucket in self._writers:
                with pa.OSFile(str(self._paths[bucket])) as file, pa.ipc.open_stream(file) as reader:
                    tables.append(reader.read_all())
        return pa.concat_tables(tables) if tables else None
