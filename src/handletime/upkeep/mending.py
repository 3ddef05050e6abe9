"""Putting right what a rebuild found: rows anew from the events, as if these had just come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from handletime.crashpoints import crash_point
from handletime.segments.columns import I64, columns_of_codes
from handletime.segments.order import order_numbered
from handletime.store import derived
from handletime.store.arrow import insert, query, registered
from handletime.store.derived import Touched, Version, differences
from handletime.store.events import with_losses
from handletime.store.moves import Moved, move_rows, stored_form, write_losses
from handletime.store.recent import events_of, groups_of_sizes, losses_of, stored_sizes
from handletime.store.schema import DERIVED
from handletime.store.writer import Removed, Writer

AT_ONCE: Final = 1_000
"""So many conversations are put right in one transaction, or fewer that have many events."""

MISSING_AGENTS: Final = """
    select distinct account, agentId, type = 4 as focused
    from (select account, agentId, type from kept.events where type in (4, 5)
        union all select account, agentId, type from kept.focus_moves) t
    where not exists (from kept.agents o
        where o.account = t.account and o.agentId = t.agentId and o.focused >= (t.type = 4))"""
"""Rows that `kept.agents` lacks."""


def groups(connection: duckdb.DuckDBPyConnection, numbers: I64, most_events: int) -> Iterator[I64]:
    """Conversations by number, as many at a time as are put right in one transaction."""
    sizes = np.maximum(stored_sizes(connection, numbers), -(-most_events // AT_ONCE))
    return (numbers[low:high] for low, high in groups_of_sizes(sizes, most_events))


def mend_agents(writer: Writer) -> Removed:
    """Adds the agents that are missing among those with focus events."""
    writer.connection.execute(f"insert into kept.agents {MISSING_AGENTS}")
    writer.moves.forget()
    return Removed(0, writer.count_commit())


def mend_moves(writer: Writer, numbers: I64) -> Removed:
    """Puts the focus events of conversations, and nothing else of theirs, among the focus moves."""
    moves = move_rows(*_events(writer, numbers))
    _delete(writer, "focus_moves", numbers)
    insert(writer.connection, "kept.focus_moves", stored_form(moves))
    writer.moves.forget()
    return Removed(len(numbers), writer.count_commit())


def mend_rows(writer: Writer, numbers: I64) -> Removed:
    """Derives conversations anew, from events and focus moves that are right."""
    connection = writer.connection
    new, ids = _events(writer, numbers)
    for table in ("losses", "focus_moves"):
        _delete(writer, table, numbers)
    moves = move_rows(new, ids)
    writer.moves.forget()
    moved = writer.moves.moved(connection, moves)
    touched, first = np.unique(
        np.concatenate([new["number"].to_numpy(), moved.stored["number"].to_numpy()]), return_index=True
    )
    all_ids = pa.concat_arrays([ids, moved.stored["conversationId"].combine_chunks()]).take(pa.array(first))
    for table in DERIVED:
        _delete(writer, table, np.union1d(numbers, touched))
    crash_point("rows-deleted")
    for low, high in groups_of_sizes(stored_sizes(connection, touched), writer.part_events):
        some = touched[low:high]
        _derive(writer, Touched(events_of(connection, some), some, all_ids[low:high]), moved.among(some))
    insert(connection, "kept.focus_moves", stored_form(moves))
    write_losses(connection, moved, moved.stored.select(["number", "arrival"]))
    writer.moves.forget()
    writer.recent.clear()
    return Removed(len(numbers), writer.count_commit())


def _derive(writer: Writer, touched: Touched, moved: Moved) -> None:
    """Writes all derived rows of conversations that have none."""
    columns = columns_of_codes(touched.events)
    ordered = order_numbered(columns, touched.events["number"].to_numpy())
    nothing = ordered._replace(rows=ordered.rows[:0], starts=np.zeros_like(ordered.starts), records=ordered.records[:0])
    losses = losses_of(writer.connection, touched.numbers)
    now = with_losses(columns, touched.events["arrival"].to_numpy(), losses, moved.stored, moved.new)
    derived.write(writer.connection, differences(touched, Version(columns, nothing), Version(now, ordered)))


def _events(writer: Writer, numbers: I64) -> tuple[pa.Table, pa.Array]:
    """The events of conversations that are in the directory, by arrival, and the ids of their conversations."""
    with registered(writer.connection, asked=pa.table({"number": numbers})):
        known = query(
            writer.connection, "select number, conversationId from kept.conversations semi join asked using (number)"
        ).sort_by("number")
    found = np.asarray(known["number"].to_numpy(), np.int64)
    events = events_of(writer.connection, found).combine_chunks()
    places = np.searchsorted(found, events["number"].to_numpy())
    return events, known["conversationId"].combine_chunks().take(pa.array(places)).cast(pa.string())


def _delete(writer: Writer, table: str, numbers: I64) -> None:
    with registered(writer.connection, gone=pa.table({"number": numbers})):
        writer.connection.execute(f"delete from kept.{table} where number in (select number from gone)")  # noqa: S608
