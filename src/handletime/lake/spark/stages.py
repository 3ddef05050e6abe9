"""What the tasks of a job do: Arrow in, Arrow out, each on one partition. They run where Spark's workers are.

```
files ──read──> by conversation ──moves──> by agent ──losses──> by conversation ──derive──> by day ──write──> files
```
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from handletime.events import model
from handletime.lake.spark.exchange import Batches, Parcel, numbers_in, received, spread, target_of
from handletime.lake.spark.source import Piece, read
from handletime.lake.tables import COLUMNS, DAY_OF, FOCUS_MOVES
from handletime.segments.columns import I64, U64, columns_of, in_one_chunk
from handletime.segments.derive import Derived, derive_prepared
from handletime.segments.focus import Agents, agent_hashes, moves_of
from handletime.segments.order import hash_all, hash_text
from handletime.segments.parts import (
    PART_LOSSES,
    Prepared,
    agents_of,
    losses_of_agents,
    moves_of_part,
    prepare_part,
)

EVENTS, MOVES, OLD_MOVES, LOSSES = "events", "moves", "old moves", "losses"
AGENTS, MOVERS, ACCOUNTS, QUALITY, REPLACED = "agents", "movers", "accounts", "quality", "replaced"
"""Kinds of parcels, beside the tables of `lake.tables.COLUMNS`.

`old moves` are those of the last run. `agents` have any `focused`, `movers` any focus event or assignment. `accounts`
has the number of events and their first and last time. `replaced` are files whose rows went into others.
"""
HELD_ROWS: Final = 1_000_000
PARCEL_ROWS_LEAST: Final = 10_000
"""Rows are sent as soon as parcels have this many on average, or as `HELD_ROWS` are held.

A parcel of a few rows costs more than its rows. Bringing together many rows at once costs more than few at a time,
because they do not fit into the processor's cache.
"""
RUNNING_DAY: Final = np.iinfo(np.int32).min
"""The day of a row that has none: its segment is running."""
NUMBERS: Final = 1 << 24
"""More than the parcels that a task sends."""


class Selection(NamedTuple):
    """The conversations that are derived: the hashes of their accounts and ids, in ascending order; None is all.

    A hash may be another conversation's too. That one is then derived anew as well, which changes nothing.
    """

    hashes: U64 | None = None

    def is_same(self, other: Selection) -> bool:
        """Whether another selection has the same conversations."""
        if self.hashes is None or other.hashes is None:
            return self.hashes is other.hashes
        return np.array_equal(self.hashes, other.hashes)

    def holds(self, hashes: U64) -> npt.NDArray[np.bool_]:
        """For each hash whether it is selected."""
        assert self.hashes is not None  # noqa: S101
        if not len(self.hashes):
            return np.zeros(len(hashes), np.bool_)
        place = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        found: npt.NDArray[np.bool_] = self.hashes[place] == hashes
        return found

    def has_some(self, ids: pa.Table) -> bool:
        """Whether any row is of a selected conversation. Only the columns of ids are needed."""
        return bool(self.holds(conversation_hashes(as_events(ids))).any())

    def of(self, rows: pa.Table) -> pa.Table:
        """The rows of selected conversations."""
        if self.hashes is None:
            return rows
        return rows.filter(pa.array(self.holds(conversation_hashes(rows))))


def conversation_hashes(rows: pa.Table) -> U64:
    """A hash of account and conversation for each row, the same on every machine."""
    return np.ascontiguousarray(hash_all(rows, columns_of(rows))[:, 0])


def as_events(rows: pa.Table) -> pa.Table:
    """Rows of a table as events, with the fields that they have: for code that works on events."""
    filled = {field.name: _column(rows, field) for field in model.EVENTS}
    return in_one_chunk(model.with_schema(pa.table(filled)))


def _column(rows: pa.Table, field: pa.Field) -> pa.Array | pa.ChunkedArray:
    if field.name in rows.column_names and (field.name in _OF_MOVES or field.type != model.CODES):
        return rows[field.name]
    if field.nullable:
        return pa.nulls(rows.num_rows, field.type)
    stands_in = {pa.string(): "", model.INSTANT: 0, pa.int64(): 0}.get(field.type, model.TYPES[0])
    return pa.repeat(pa.scalar(stands_in, pa.string() if field.type == model.CODES else field.type), rows.num_rows)


_OF_MOVES: Final = {"accountId", *COLUMNS[FOCUS_MOVES].names}


# --- by conversation -------------------------------------------------------------------------------------------------


def read_events(
    pieces: Sequence[Piece], account: str, selection: Selection, targets: int, numbers: Batches
) -> Iterator[Parcel]:
    """Sends the selected events of the pieces that have these numbers to their conversations' targets.

    `account` is for events that name none. Raises InputError.
    """
    enough = min(HELD_ROWS, PARCEL_ROWS_LEAST * targets)
    has_some = None if selection.hashes is None else selection.has_some
    for number in numbers_in(numbers):
        held: list[tuple[pa.Table, npt.NDArray[np.integer]]] = []
        rows, sent_before = 0, number * NUMBERS
        for events in read(pieces[number], account, has_some):
            chosen = in_one_chunk(selection.of(events))
            held.append((chosen, target_of(conversation_hashes(chosen), targets)))
            rows += chosen.num_rows
            if rows >= enough:
                for parcel in spread(EVENTS, held, targets, sent_before):
                    sent_before = parcel.number + 1
                    yield parcel
                held, rows = [], 0
        if rows:
            yield from spread(EVENTS, held, targets, sent_before)


def find_moves(targets: int, tells_movers: bool, batches: Batches) -> Iterator[Parcel]:
    """Sends the focus events of a part's conversations to their agents' targets.

    Also reports the number of events of each account and, if wanted, the agents.
    """
    for part, kinds in received(batches).items():
        events = kinds.pop(EVENTS)
        about = events.group_by("accountId").aggregate([([], "count_all"), ("time", "min"), ("time", "max")])
        yield Parcel(0, ACCOUNTS, part, about.cast(ABOUT))
        if tells_movers:
            acting = events.filter(pc.is_in(events["type"].cast(pa.string()), value_set=_ACTING))
            yield Parcel(0, MOVERS, part, agents_table(agents_of(acting)))
        moves = moves_of_part(events, part)
        if moves.num_rows:
            by_agent = target_of(agent_hashes(moves, columns_of(moves)), targets)
            yield from spread(MOVES, [(moves, by_agent)], targets, part * NUMBERS)


ABOUT: Final = pa.schema(
    [("accountId", pa.string()), ("count_all", pa.int64()), *((f"time_{end}", model.INSTANT) for end in ("min", "max"))]
)
_ACTING: Final = pa.array(["focused", "unfocused", "assigned"])
_AGENT: Final = pa.schema([("accountId", pa.string()), ("agentId", pa.int64())])


# --- by agent --------------------------------------------------------------------------------------------------------


def find_losses(targets: int, batches: Batches) -> Iterator[Parcel]:
    """Sends the losses of focus to the parts that the moves came from, and passes on what is not for parts."""
    for target, kinds in received(batches).items():
        for kind in (ACCOUNTS, MOVERS):
            if kind in kinds:
                yield Parcel(0, kind, 0, kinds[kind])
        moves = _with_old(kinds.pop(MOVES, None), kinds.pop(OLD_MOVES, None))
        if moves is not None:
            found = losses_of_agents(moves)
            losses = found.losses.filter(pc.greater_equal(found.losses["part"], 0))
            yield Parcel(0, AGENTS, target, agents_table(found.focused))
            yield from spread(LOSSES, [(losses, losses["part"].to_numpy())], targets, target * NUMBERS)


def _with_old(moves: pa.Table | None, old: pa.Table | None) -> pa.Table | None:
    """Moves of parts, with those of conversations that are in no part; their part is -1."""
    if old is None:
        return moves
    nowhere = pa.array(np.full(old.num_rows, -1, np.int32))
    old = old.select(model.EVENTS.names).append_column("part", nowhere).append_column("row", nowhere)
    old = old.append_column("conversation", pa.array(-1 - numbers_of(old)))
    return in_one_chunk(old if moves is None else pa.concat_tables([moves, old]))


def numbers_of(rows: pa.Table) -> I64:
    """A number for each row's conversation, the same for rows of the same one in this table."""
    keys = in_one_chunk(rows.select(["accountId", "conversationId"]))
    if not rows.num_rows:
        return np.empty(0, np.int64)
    conversations = keys["conversationId"].chunk(0).dictionary_encode().indices.to_numpy().astype(np.int64)
    accounts = keys["accountId"].chunk(0).indices.to_numpy().astype(np.int64)
    numbers: I64 = accounts << 32 | conversations
    return numbers


def agents_table(agents: Agents) -> pa.Table:
    """Accounts and agents as a table."""
    accounts, numbers = zip(*sorted(agents), strict=True) if agents else ((), ())
    return pa.table([accounts, numbers], schema=_AGENT)


# --- deriving --------------------------------------------------------------------------------------------------------


class DeriveParts(NamedTuple):
    """What deriving needs: the agents with any focus event, the shares of accounts' days, and the targets."""

    focused: Agents
    shares: Mapping[str, int]
    targets: int
    parts: int


def derive_parts(deriving: DeriveParts, batches: Batches) -> Iterator[Parcel]:
    """Derives parts; sends their rows to the targets that write them, and reports the quality of the data."""
    for part, kinds in received(batches).items():
        if EVENTS not in kinds:
            continue
        losses = kinds.pop(LOSSES, PART_LOSSES.empty_table())
        prepared = prepare_part(kinds.pop(EVENTS), losses, deriving.focused)
        moves = _moves(prepared)
        derived = derive_prepared(prepared)
        del prepared
        for name, rows in (*_tables(derived), (FOCUS_MOVES, moves)):
            if rows.num_rows:
                targets = write_targets(name, rows, part, deriving)
                yield from spread(name, [(rows, targets)], deriving.targets, part * NUMBERS)
        quality = msgspec.msgpack.encode(derived.quality)
        yield Parcel(part % deriving.targets, QUALITY, part, pa.table({"quality": pa.array([quality], pa.binary())}))


def _tables(derived: Derived) -> Iterator[tuple[str, pa.Table]]:
    segments, units = derived.agent_segments, derived.handle_time_units
    yield "agent_segments", segments
    yield "skill_segments", derived.skill_segments
    yield "queue_segments", derived.queue_segments
    of = pc.index_in(units["segmentId"], value_set=segments["segmentId"])
    units = units.append_column("userType", in_one_chunk(segments.select(["userType"]))["userType"].take(of))
    yield "handle_time_units", units.append_column("segmentEnd", segments["end"].take(of))


def _moves(prepared: Prepared) -> pa.Table:
    """The focus events that count, as rows of `focus_moves` with their accounts."""
    ordered = prepared.ordered
    found = moves_of(prepared.columns, ordered.records, ordered.starts, 0, len(ordered.starts) - 1)
    return prepared.events.select(["accountId", *COLUMNS[FOCUS_MOVES].names]).take(found["row"])


def days_of(name: str, rows: pa.Table) -> npt.NDArray[np.int32]:
    """The day (since the epoch) that each row belongs to, or `RUNNING_DAY`."""
    days = rows[DAY_OF[name]].cast(pa.date32()).cast(pa.int32())
    found: npt.NDArray[np.int32] = pc.fill_null(days, RUNNING_DAY).to_numpy()
    return found


def write_targets(name: str, rows: pa.Table, part: int, deriving: DeriveParts) -> npt.NDArray[np.int32]:
    """Rows of one table, account and day go to one target, or to several where the account is large."""
    accounts = in_one_chunk(rows.select(["accountId"]))["accountId"].chunk(0)
    names = accounts.dictionary.to_pylist()
    shares = [part * deriving.shares.get(account, 1) // deriving.parts for account in names]
    seeds = [hash_text(f"{name}/{account}/{share}") for account, share in zip(names, shares, strict=True)]
    seed = np.array(seeds, np.uint64)[accounts.indices.to_numpy()]
    # Consecutive days go to different targets, as evenly as can be.
    days = days_of(name, rows).astype(np.int64).astype(np.uint64)
    targets: npt.NDArray[np.int32] = ((seed + days) % np.uint64(deriving.targets)).astype(np.int32)
    return targets
