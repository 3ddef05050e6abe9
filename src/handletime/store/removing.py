"""Removing conversations (rules.md 1): everything of them goes except the losses of focus that they caused.

These stay without ids: the numbers of other conversations depend on them.
"""

from __future__ import annotations

from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from handletime.crashpoints import crash_point
from handletime.events import model
from handletime.segments.columns import I64
from handletime.segments.focus import Ties, positions_left
from handletime.store.arrow import insert, query, registered
from handletime.store.moves import EVER
from handletime.store.schema import DERIVED

AT_ONCE: Final = 2_000
"""The number of conversations that are removed in one transaction."""


def older_than(cursor: duckdb.DuckDBPyConnection, before: int) -> I64:
    """The numbers of all conversations whose last event is older than a time (epoch milliseconds), ascending."""
    return np.asarray(query(cursor, _OLDER, {"before": before})["number"].to_numpy(), np.int64)


def names_of(cursor: duckdb.DuckDBPyConnection, numbers: I64) -> dict[str, list[str]]:
    """The ids of conversations, by account."""
    with registered(cursor, asked=pa.table({"number": numbers})):
        rows = cursor.execute(
            """select accountId, list(conversationId) from kept.conversations
            join kept.accounts using (account) where number in (select number from asked) group by all"""
        ).fetchall()
    return dict(rows)


def remove(connection: duckdb.DuckDBPyConnection, numbers: I64, next_arrival: int) -> int:
    """Removes conversations by number; gives the number of losses that it numbered, from `next_arrival` on."""
    with registered(connection, removed=pa.table({"number": numbers})):
        losses = _losses_left(connection, next_arrival)
        for table in ("focus_moves", "losses", "events", *DERIVED, "conversations"):
            connection.execute(f"delete from kept.{table} where number in (select number from removed)")  # noqa: S608
    crash_point("conversations-removed")
    insert(connection, "kept.focus_moves", losses)
    return int(losses.num_rows)


def _losses_left(connection: duckdb.DuckDBPyConnection, next_arrival: int) -> pa.Table:
    """The losses that stay. Removes earlier ones whose position changes; these are among those given."""
    bounds = "select min(time), max(time) from kept.focus_moves where number in (select number from removed)"
    ((low, high),) = connection.execute(bounds).fetchall()
    within = {"low": EVER if low is None else low, "high": EVER if high is None else high}
    ties = query(connection, _TIES, within)
    position = ties["position"].to_numpy()
    left = positions_left(
        Ties(
            ties["place"].to_numpy(),
            position,
            ties["is_removed"].to_numpy(),
            ties["type"].to_numpy() == model.FOCUSED,
        )
    )
    with registered(connection, earlier=ties.filter(position >= 0)):
        connection.execute(
            "delete from kept.focus_moves where number is null and arrival in (select arrival from earlier)"
        )
    rows = ties.select(["account", "agentId", "time", "sequence", "type"]).append_column("position", pa.array(left))
    rows = rows.filter(left >= 0)
    return rows.append_column("arrival", pa.array(np.arange(next_arrival, next_arrival + rows.num_rows)))


_TIES: Final = """
    with gone as (
        select distinct account, agentId, time, sequence from kept.focus_moves
        where time between $low and $high and number in (select number from removed))
    select m.account, m.agentId, m.time, m.sequence, m.type, m.arrival, coalesce(m.position, -1) as position,
        coalesce(m.number in (select number from removed), false) as is_removed,
        dense_rank() over (order by m.account, m.agentId, m.time, m.sequence) as place
    from kept.focus_moves m semi join gone using (account, agentId, time, sequence)
    left join kept.conversations c on c.number = m.number
    where m.time between $low and $high
    order by m.account, m.agentId, m.time, m.sequence, m.position nulls first, m.eventId, c.conversationId"""

# Row groups without older events are not read the first time, those without an older conversation not the second.
_OLDER: Final = """
    with older as (select distinct number from kept.events where time < $before)
    select number from older
    where number not in (
        select number from kept.events where time >= $before and number in (select number from older))
    order by number"""
