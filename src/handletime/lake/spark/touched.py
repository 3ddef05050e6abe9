"""What a run that continues an earlier one derives again, and what it leaves as it is.

New events touch their own conversations; those that lose an agent's focus to them, or did before; and, where an agent
has focus events for the first time, all that this agent was assigned to (`focusData`). The rows of all others stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from handletime.events import model
from handletime.events.model import EVENTS
from handletime.lake.spark.exchange import Batches, Parcel, numbers_in, received, spread, target_of
from handletime.lake.spark.source import Piece, read
from handletime.lake.spark.stages import (
    AGENTS,
    MOVES,
    NUMBERS,
    OLD_MOVES,
    REPLACED,
    DeriveParts,
    Selection,
    agents_table,
    as_events,
    conversation_hashes,
    numbers_of,
    write_targets,
)
from handletime.lake.tables import COLUMNS, FOCUS_MOVES, File
from handletime.segments.columns import I64, U64, columns_of, in_one_chunk
from handletime.segments.files import SCHEMAS
from handletime.segments.focus import Agents, agent_hashes, losses_of_moves
from handletime.segments.parts import agents_of

CONVERSATIONS, FLIPPED = "conversations", "flipped"
"""Kinds of parcels: conversations that are touched, agents whose `focusData` changes."""


def find_conversations(
    pieces: Sequence[Piece], account: str, first: int | None, last: int | None, numbers: Batches
) -> Iterator[Parcel]:
    """Reports the conversations of the events in pieces, from `first` up to `last` (epoch ms) if these are given."""
    for number in numbers_in(numbers):
        for events in read(pieces[number], account):
            if first is not None:
                times = events["time"].cast(pa.int64())
                events = events.filter(pc.and_(pc.greater_equal(times, first), pc.less(times, last)))
            yield _hashes_parcel(np.unique(conversation_hashes(in_one_chunk(events))))


def _hashes_parcel(hashes: U64) -> Parcel:
    return Parcel(0, CONVERSATIONS, 0, pa.table({"hash": pa.array(hashes)}))


# --- what the last run left ------------------------------------------------------------------------------------------


class FileOfLastRun(NamedTuple):
    """A file of a table at the last run."""

    table: str
    lake: str
    file: File

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """The file's rows, with their account."""
        rows = pq.read_table(
            f"{self.lake}/{self.table}/{self.file.path}",
            columns=columns,
            partitioning=None,
            page_checksum_verification=True,
        )
        accounts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(rows), np.int32)), [self.file.account])
        return rows.append_column("accountId", accounts)


Files = Sequence[FileOfLastRun]


def find_agents(selection: Selection, files: Files, numbers: Batches) -> Iterator[Parcel]:
    """Reports the agents of the chosen conversations' moves."""
    for number in numbers_in(numbers):
        moves = selection.of(as_events(files[number].read()))
        yield Parcel(0, AGENTS, 0, agents_table(agents_of(moves)))


def find_old_moves(
    agents: Agents, selection: Selection, selected: bool, targets: int, files: Files, numbers: Batches
) -> Iterator[Parcel]:
    """Sends the moves of these agents to their targets; those in the chosen conversations only with `selected`."""
    for number in numbers_in(numbers):
        moves = as_events(_of_agents(files[number].read(), agents))
        mine = selection.holds(conversation_hashes(moves))
        if not selected:
            moves, mine = moves.filter(pa.array(~mine)), mine[~mine]
        if moves.num_rows:
            moves = in_one_chunk(moves.append_column("selected", pa.array(mine)))
            by_agent = target_of(agent_hashes(moves, columns_of(moves)), targets)
            yield from spread(OLD_MOVES, [(moves, by_agent)], targets)


def find_assigned(agents: Agents, files: Files, numbers: Batches) -> Iterator[Parcel]:
    """Reports the conversations that these agents were assigned to."""
    for number in numbers_in(numbers):
        rows = _of_agents(files[number].read(["conversationId", "agentId"]), agents)
        yield _hashes_parcel(np.unique(conversation_hashes(as_events(rows))))


def _of_agents(rows: pa.Table, agents: Agents) -> pa.Table:
    if not rows.num_rows:
        return rows
    account = rows["accountId"][0].as_py()
    mine = pa.array([agent for name, agent in agents if name == account], pa.int64())
    return rows.filter(pc.is_in(rows["agentId"], value_set=mine))


# --- by agent --------------------------------------------------------------------------------------------------------


def find_touched(batches: Batches) -> Iterator[Parcel]:
    """Reports conversations whose losses of focus differ from the last run, and agents whose `focusData` has changed.

    Takes the moves of the conversations that are derived again, and the old moves of the same agents (`selected`: of
    the same conversations).
    """
    for kinds in received(batches).values():
        none = EVENTS.empty_table()
        new = kinds.get(MOVES, none).select(EVENTS.names)
        old = kinds.get(OLD_MOVES)
        mine = old["selected"].combine_chunks() if old is not None else pa.array([], pa.bool_())
        old = old.select(EVENTS.names) if old is not None else none
        others = in_one_chunk(old.filter(pc.invert(mine)))
        before, had = _losses(others, old.filter(mine))
        after, has = _losses(others, new)
        changed = (before != after).any(axis=1)
        yield _hashes_parcel(np.unique(conversation_hashes(others)[changed]))
        yield Parcel(0, FLIPPED, 0, agents_table(had ^ has))


def _losses(others: pa.Table, moves: pa.Table) -> tuple[I64, Agents]:
    """When the other conversations lose the focus, given these moves too; and the agents with any `focused`."""
    together = in_one_chunk(pa.concat_tables([others, moves]))
    columns, focused = losses_of_moves(together, columns_of(together), numbers_of(together))
    found = np.column_stack([columns.lost_time, columns.lost_sequence])[: others.num_rows]
    return found, agents_of(together.take(focused))


# --- rows that stay --------------------------------------------------------------------------------------------------


def keep_rows(selection: Selection, deriving: DeriveParts, files: Files, numbers: Batches) -> Iterator[Parcel]:
    """Sends the rows of others, in files that also hold rows of the chosen conversations, to be written anew."""
    for number in numbers_in(numbers):
        left = files[number]
        chosen = selection.holds(conversation_hashes(as_events(left.read(["conversationId"]))))
        if not chosen.any():
            continue
        path = pa.table({"table": [left.table], "path": [left.file.path]})
        yield Parcel(number % deriving.targets, REPLACED, number, path)
        rows = as_derived(left.table, left.read().filter(pa.array(~chosen)))
        if rows.num_rows:
            targets = write_targets(left.table, rows, 0, deriving)
            yield from spread(left.table, [(rows, targets)], deriving.targets, -(number + 1) * NUMBERS)


def as_derived(name: str, rows: pa.Table) -> pa.Table:
    """Rows of a file in the form in which they were derived."""
    columns = {}
    for field in FORMS[name]:
        column = rows[field.name]
        if field.type == model.CODES:
            column = column.dictionary_encode()
        columns[field.name] = column.cast(field.type)
    return in_one_chunk(pa.table(columns, schema=FORMS[name]))


FORMS: Final = {
    **{name: SCHEMAS[name] for name in ("agent_segments", "skill_segments", "queue_segments")},
    "handle_time_units": pa.schema(
        [
            *SCHEMAS["handle_time_units"],
            pa.field("userType", model.CODES),
            pa.field("segmentEnd", model.INSTANT),
        ]
    ),
    FOCUS_MOVES: pa.schema([EVENTS.field(name) for name in ("accountId", *COLUMNS[FOCUS_MOVES].names)]),
}
"""The schemas of what is derived, before it is stored."""
