"""Inputs of any size in the memory that a setting allows.

Events are collected until they fill their share of the memory. If they never do, they are one part. Otherwise they
are spilled to disk in parts by a hash of the conversation; the losses of focus, which cross conversations, are found
agent by agent in between, and then each part is derived alone. The rows come out the same, in the same order.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handletime.events.model import EVENTS
from handletime.segments.columns import U64, Columns, columns_of, in_one_chunk, losses_by_row
from handletime.segments.focus import Agents, agent_hashes, losses_of_moves, moves_of, with_losses
from handletime.segments.order import Ordered, hash_all, order
from handletime.segments.spill import Buckets, Spill

NEEDS: Final = 4
"""Deriving takes at most so many times the memory of the events themselves (`make bench` prints it)."""
PART_NEEDS: Final = 10
"""What a part takes in the same sense, while the next one is read and the tables of the last one are written."""
FIXED_BYTES: Final = 96 << 20
"""What the blocks take that are being read, and what compressing the tables takes, whatever the setting."""
DEFAULT_MEMORY: Final = 2 << 30
BUCKET_BITS: Final = 6
"""Events are spilled to 2^6 files; the events of a file that is larger than a part to as many again."""
LEVELS_MOST: Final = 3
"""Files are spilled again at most so many times: what is too large after that is one conversation."""
LOSS_FILES: Final = 64

Progress = Callable[[str, int, int], None]
"""Is called with progress: what is being done, how many of its steps are done, and of how many."""


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
    columns, focused = with_losses(events, columns, ordered, losses)
    agents = agents_of(events.select(_AGENT).take(focused)) | (agents_of(losses) if losses is not None else set())
    return Prepared(events, columns, ordered, agents)


_AGENT: Final = ["accountId", "agentId"]


def agents_of(rows: pa.Table) -> Agents:
    """The accounts and agents of events or segments."""
    pairs = rows.select(_AGENT).unify_dictionaries().group_by(_AGENT).aggregate([])
    return set(zip(pairs["accountId"].to_pylist(), pairs["agentId"].to_pylist(), strict=True))


def prepared_parts(
    tables: Iterable[pa.Table],
    *,
    memory: int = DEFAULT_MEMORY,
    folder: Path | None = None,
    progress: Progress = lambda _what, _done, _of: None,
    losses: pa.Table | None = None,
) -> Iterator[Prepared]:
    """Reads all tables, then gives their events in parts of whole conversations, in about `memory` bytes.

    `losses` as in `derive`. Whoever takes a part has to let go of the one before, or both are in memory.

    What does not fit is spilled to a new folder inside `folder` (default: the system's for temporary files), which is
    removed at the end. One conversation is never cut, however long. Nothing is given before everything is read.
    """
    collected: list[pa.Table] = []
    size = 0
    with tempfile.TemporaryDirectory(prefix=".handletime-", dir=folder) as name:
        room = max(memory - FIXED_BYTES, memory // 4)
        disk = _Disk(Path(name), room // PART_NEEDS)
        spill: Spill | None = None
        for table in tables:
            collected.append(table)
            size += table.nbytes
            if spill or size > room // NEEDS:
                spill = spill or disk.spill("events")
                while collected:
                    _spill_events(spill, collected.pop(0))
        if spill is None:
            yield prepare(_joined(collected), losses)
        else:
            yield from _spilled_parts(_parts(spill, disk), disk, progress, losses)


def give_back_memory() -> None:
    """Gives the system what Arrow's and the C library's allocators have kept of memory that is free."""
    for pool in (pa.default_memory_pool(), pa.system_memory_pool()):
        pool.release_unused()


def _joined(collected: list[pa.Table]) -> pa.Table:
    """The tables as one; what was collected goes."""
    table = in_one_chunk(pa.concat_tables([EVENTS.empty_table(), *collected]))
    collected.clear()
    return table


# --- parts on disk ---------------------------------------------------------------------------------------------------


class _Disk(NamedTuple):
    """Where parts are spilled to, and how many bytes one may take."""

    folder: Path
    part_bytes: int

    def spill(self, name: str, buckets: int = 1 << BUCKET_BITS) -> Spill:
        return Spill(self.folder / name, buckets, 2 * self.part_bytes)


class _Part(NamedTuple):
    """Events of whole conversations on disk."""

    spill: Spill
    buckets: list[int]

    def read(self) -> pa.Table:
        return self.spill.read(self.buckets)


def _spill_events(spill: Spill, table: pa.Table, level: int = 0) -> None:
    table = in_one_chunk(table)
    spill.add(table, _bucket_of(hash_all(table, columns_of(table))[:, 0], level))


def _bucket_of(hashes: U64, level: int = 0) -> Buckets:
    """The first bits of hashes, or at a further level the bits that follow these."""
    return ((hashes << np.uint64(level * BUCKET_BITS)) >> np.uint64(64 - BUCKET_BITS)).astype(np.int16)


def _parts(spill: Spill, disk: _Disk, level: int = 0) -> list[_Part]:
    """All that was spilled in parts, in the order of conversations."""
    spill.finish()
    parts: list[_Part] = []
    for buckets in spill.groups(disk.part_bytes):
        if spill.size(buckets) <= disk.part_bytes or level == LEVELS_MOST:
            parts.append(_Part(spill, buckets))
        else:
            finer = disk.spill(f"{spill.folder.name}-{buckets[0]}")
            for table in spill.tables(buckets):
                _spill_events(finer, table, level + 1)
            spill.forget(buckets)
            parts += _parts(finer, disk, level + 1)
    return parts


def _spilled_parts(
    parts: list[_Part], disk: _Disk, progress: Progress, anonymous: pa.Table | None
) -> Iterator[Prepared]:
    losses = disk.spill("losses", LOSS_FILES)
    focused = _spill_losses(parts, losses, disk, progress, anonymous)
    for number, events in enumerate(_read_ahead(parts)):
        give_back_memory()
        progress("deriving", len(parts) + number, 2 * len(parts))
        yield prepare_part(events, _losses_of(losses, number), focused)
        del events


def _read_ahead(parts: list[_Part]) -> Iterator[pa.Table]:
    """The parts' events in order; the next ones are read while one's are worked on."""
    with ThreadPoolExecutor(1) as thread:
        coming: deque[Future[pa.Table]] = deque()
        for part in parts:
            coming.append(thread.submit(part.read))
            if len(coming) > 1:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _spill_losses(
    parts: list[_Part], losses: Spill, disk: _Disk, progress: Progress, anonymous: pa.Table | None
) -> Agents:
    """Finds the losses of focus in all parts, agent by agent; gives the agents with any `focused`."""
    by_agent = disk.spill("focus")
    for number, events in enumerate(_read_ahead(parts)):
        give_back_memory()
        progress("finding focus", number, 2 * len(parts))
        moves = moves_of_part(events, number)
        by_agent.add(moves, _bucket_of(agent_hashes(moves, columns_of(moves))))
        del events, moves
    by_agent.finish()
    focused: Agents = agents_of(anonymous) if anonymous is not None else set()
    for agents in by_agent.groups(disk.part_bytes):
        moves = by_agent.read(agents)
        found = losses_of_agents(moves, anonymous)
        focused |= found.focused
        losses.add(found.losses, moves["part"].to_numpy() % LOSS_FILES)
    losses.finish()
    return focused


def _losses_of(losses: Spill, number: int) -> pa.Table:
    """The losses of focus in one part."""
    found = losses.read([number % LOSS_FILES])
    return found.filter(pc.equal(found["part"], number)) if found.num_rows else PART_LOSSES.empty_table()


# --- what parts know of each other -----------------------------------------------------------------------------------

PART_LOSSES: Final = pa.schema(
    {"part": pa.int32(), "row": pa.int32(), "lost_time": pa.int64(), "lost_sequence": pa.int64()}
)
"""When the `focused` in a row of a part loses the focus to another conversation."""


def moves_of_part(events: pa.Table, part: int) -> pa.Table:
    """The focus events of a part, doubles left out, with their part, row and the number of their conversation."""
    events = in_one_chunk(events)
    columns = columns_of(events)
    ordered = order(events, columns)
    found = moves_of(columns, ordered.records, ordered.starts, 0, len(ordered.starts) - 1)
    moves = events.take(found["row"])
    moves = moves.append_column("part", pa.array(np.full(len(found), part, np.int32)))
    moves = moves.append_column("row", pa.array(found["row"]))
    return moves.append_column("conversation", pa.array(found["conversation"] + (part << 32)))


class AgentsLosses(NamedTuple):
    """Losses of focus by part and row (`PART_LOSSES`), and which of the agents have any `focused`."""

    losses: pa.Table
    focused: Agents


def losses_of_agents(moves: pa.Table, anonymous: pa.Table | None = None) -> AgentsLosses:
    """What the moves of whole agents, as `moves_of_part` gives them, mean for the parts they come from."""
    columns, rows = losses_of_moves(moves, columns_of(moves), moves["conversation"].to_numpy(), anonymous)
    found = pa.table([moves["part"], moves["row"], columns.lost_time, columns.lost_sequence], schema=PART_LOSSES)
    return AgentsLosses(found, agents_of(moves.take(rows)))


def prepare_part(events: pa.Table, losses: pa.Table, focused: Agents) -> Prepared:
    """A part that knows its losses of focus; its rows stand as they did in `moves_of_part`."""
    columns = columns_of(events)
    lost_time, lost_sequence = losses_by_row(losses["row"].to_numpy(), losses, events.num_rows)
    known = columns._replace(lost_time=lost_time, lost_sequence=lost_sequence)
    return Prepared(events, known, order(events, columns), focused)
