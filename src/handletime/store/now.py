"""The conversations of one account that are open, with their events: what is going on now."""

from __future__ import annotations

from typing import Final

import duckdb

from handletime.segments.columns import columns_of
from handletime.segments.order import order
from handletime.segments.parts import Prepared
from handletime.store.tables import query, registered

OPEN_MAX: Final = 20_000
"""Of more open conversations, those that were opened last."""

_OPEN: Final = """
    select number from kept.skill_segments where account = $account and "end" is null
    order by start desc limit $most"""
# Each table by itself: what is asked for is few numbers, and only where it stands alone row groups are skipped.
_EVENTS: Final = """
    select e.*, accountId, conversationId
    from (select * from kept.events where number in (select number from open_now)) e
    join (select number, conversationId from kept.conversations where number in (select number from open_now))
        using (number)
    join kept.accounts using (account)
    order by arrival"""
_LOSSES: Final = """
    select arrival, lost_time, lost_sequence from kept.losses where number in (select number from open_now)"""
_FOCUSED: Final = "select agentId from kept.agents where account = $account and focused"


def open_conversations(cursor: duckdb.DuckDBPyConnection, account: int, name: str) -> Prepared | None:
    """The events of the open conversations, which know their losses of focus. None where none is open.

    `account` is the number of the account, `name` its id.
    """
    from handletime.store.reader import events_table, with_losses

    numbers = query(cursor, _OPEN, {"account": account, "most": OPEN_MAX})
    if numbers.num_rows == 0:
        return None
    with registered(cursor, open_now=numbers):
        rows, losses = query(cursor, _EVENTS), query(cursor, _LOSSES)
    focused = {(name, int(agent)) for (agent,) in cursor.execute(_FOCUSED, {"account": account}).fetchall()}
    events = events_table(rows)
    columns = with_losses(columns_of(events), rows["arrival"].to_numpy(), losses)
    return Prepared(events, columns, order(events, columns), focused)
