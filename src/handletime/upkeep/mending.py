"""Putting right what a rebuild found: rows anew from the events, as if these had just come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from handletime.events import model
from handletime.segments.columns import I64
from handletime.store.arrow import delete, insert
from handletime.store.events import events_of, groups_of_sizes, ids_of, named_by, sizes_of
from handletime.store.moves import move_rows, stored_form
from handletime.store.writer import Changed, Writer

AT_ONCE: Final = 1_000
"""The most conversations that are put right in one transaction; fewer where they have many events."""

MISSING_AGENTS: Final = f"""
    select distinct account, agentId, type = {model.FOCUSED} as focused
    from (select account, agentId, type from kept.events where type in {model.FOCUS_TYPES}
        union all select account, agentId, type from kept.focus_moves) t
    where not exists (from kept.agents o
        where o.account = t.account and o.agentId = t.agentId and o.focused >= (t.type = {model.FOCUSED}))"""  # noqa: S608
"""Rows that `kept.agents` lacks."""


def groups(connection: duckdb.DuckDBPyConnection, numbers: I64, most_events: int) -> Iterator[I64]:
    """Conversations by number, as many at a time as are put right in one transaction."""
    sizes = np.maximum(sizes_of(connection, numbers), -(-most_events // AT_ONCE))
    return (numbers[low:high] for low, high in groups_of_sizes(sizes, most_events))


def mend_agents(writer: Writer) -> Changed:
    """Adds the agents that are missing among those with focus events."""
    writer.connection.execute(f"insert into kept.agents {MISSING_AGENTS}")
    writer.moves.forget()
    return Changed(writer.count_commit(), 0)


def mend_moves(writer: Writer, numbers: I64) -> Changed:
    """Puts the focus events of conversations, and nothing else of theirs, among the focus moves."""
    moves = move_rows(*_events(writer, numbers))
    delete(writer.connection, "kept.focus_moves", pa.table({"number": numbers}))
    insert(writer.connection, "kept.focus_moves", stored_form(moves))
    writer.moves.forget()
    return Changed(writer.count_commit(), len(numbers))


def mend_rows(writer: Writer, numbers: I64) -> Changed:
    """Derives conversations anew, from events and focus moves that are right."""
    writer.derive_anew(numbers, *_events(writer, numbers))
    return Changed(writer.count_commit(), len(numbers), writer.accounts_of(numbers))


def _events(writer: Writer, numbers: I64) -> tuple[pa.Table, pa.Array]:
    """The events of conversations that are in the directory, by arrival, and the ids of their conversations."""
    known = ids_of(writer.connection, numbers)
    events = events_of(writer.connection, np.asarray(known["number"].to_numpy(), np.int64))
    return events, named_by(known, events)
