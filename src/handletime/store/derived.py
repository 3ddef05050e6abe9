"""Derived rows in the store: those that differ from the stored ones replace them.

Only segments that have ended are rows, and units of these. What is running changes with every event and is in no
metric: of it only the open conversations are kept, and the queue segments that run, which seldom change and are asked
about most of all. The rest is derived where it is asked for (`store.now`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from handletime.answers.terms import KEPT
from handletime.segments.changes import Changes, changes_between
from handletime.segments.columns import I64, Columns
from handletime.segments.derive import walk
from handletime.segments.rules import Out
from handletime.segments.tables import (
    Source,
    TableRows,
    agent_segments,
    handle_time_units,
    queue_segments,
    running_queue_segments,
    skill_segments,
)
from handletime.store.arrow import change, delete, insert, registered
from handletime.store.schema import QUEUES
from handletime.store.touched import Touched, Version


class Rows(NamedTuple):
    """Rows for the derived tables, and those that have to go: by the arrival of the event that starts their segment,
    open conversations by their number.
    """

    agent_segments: pa.Table
    gone_agent_segments: pa.Table
    skill_segments: pa.Table
    gone_skill_segments: pa.Table
    queue_segments: pa.Table
    gone_queue_segments: pa.Table
    handle_time_units: pa.Table
    gone_handle_time_units: pa.Table
    open_conversations: pa.Table
    gone_open_conversations: pa.Table
    running_queue_segments: pa.Table
    gone_running_queue_segments: pa.Table


def differences(touched: Touched, before: Version, after: Version) -> Rows:
    """The rows to put into the derived tables, and those to take out, when conversations change their version.

    Both versions have all the conversations, in the order of their numbers; new ones had no events before.
    """
    parts = []
    for old, new in zip(walk(*before), walk(*after), strict=True):
        parts.append(_rows_of(touched, after.columns, new, changes_between(old, new, touched.events.num_rows)))
    return Rows(*(pa.concat_tables(tables) for tables in zip(*parts, strict=True)))


def write(connection: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    """Takes out what has to go and puts in what is new."""
    delete(connection, "kept.agent_segments", rows.gone_agent_segments)
    delete(connection, "kept.skill_segments", rows.gone_skill_segments)
    if rows.gone_handle_time_units.num_rows:
        with registered(connection, gone=rows.gone_handle_time_units):
            change(
                connection,
                """delete from kept.handle_time_units t using gone
                where t.number = gone.number and t.started = gone.started and t.sequence >= gone.sequence""",
            )
    delete(connection, "kept.open_conversations", rows.gone_open_conversations)
    for name in QUEUES:
        delete(connection, f"kept.{name}", getattr(rows, f"gone_{name}"))
    insert(connection, "kept.agent_segments", rows.agent_segments, KEPT["agentSegments"])
    insert(connection, "kept.skill_segments", rows.skill_segments, KEPT["skillSegments"])
    insert(connection, "kept.handle_time_units", rows.handle_time_units)
    insert(connection, "kept.open_conversations", rows.open_conversations)
    insert(connection, "kept.queue_segments", rows.queue_segments, KEPT["queueSegments"])
    insert(connection, "kept.running_queue_segments", rows.running_queue_segments)


_OPEN: Final = ["number", "account", "start", "skillId"]
"""The columns of `kept.open_conversations`."""


# --- from compiled rows to Arrow -------------------------------------------------------------------------------------


def _rows_of(touched: Touched, columns: Columns, out: Out, changes: Changes) -> tuple[pa.Table, ...]:
    source = Source(touched.events, columns)

    def table(rows: TableRows) -> pa.Table:
        return _table(touched, source, rows)

    def gone(rows: I64) -> pa.Table:
        return pa.table({"number": source.take("number", rows), "started": source.take("arrival", rows)})

    return (
        table(agent_segments(source, out, changes.segments)),
        gone(changes.gone_segments),
        table(skill_segments(source, out, changes.skill_segments)),
        gone(changes.gone_skill_segments),
        table(queue_segments(source, out, changes.queue_segments)),
        gone(changes.gone_queue_segments),
        table(handle_time_units(source, out, changes.units)).drop_columns("conversationId"),
        gone(changes.gone_units[:, 0]).append_column("sequence", pa.array(changes.gone_units[:, 1].astype(np.int32))),
        table(skill_segments(source, out, changes.running)).select(_OPEN),
        gone(changes.gone_running).select(["number"]),
        table(running_queue_segments(source, out, changes.running_queues)),
        gone(changes.gone_running_queues),
    )


def _table(touched: Touched, source: Source, rows: TableRows) -> pa.Table:
    return pa.table({**_keys(touched, source, rows), **rows.columns})


def _keys(touched: Touched, source: Source, rows: TableRows) -> dict[str, pa.Array]:
    """The columns that name a segment, or the segment of a unit."""
    number = source.take("number", rows.started)
    return {
        "number": number,
        "account": source.take("account", rows.started),
        "started": source.take("arrival", rows.started),
        "conversationId": touched.ids.take(pa.array(np.searchsorted(touched.numbers, number.to_numpy()))),
    }
