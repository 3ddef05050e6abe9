"""The conversations of one account that are open, with their events: what is going on now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import duckdb
import numpy as np

from handletime.segments.columns import columns_of
from handletime.segments.order import order
from handletime.segments.parts import Prepared
from handletime.store.arrow import query, registered
from handletime.store.events import events_table, with_losses
from handletime.store.moves import focused_among
from handletime.store.recent import groups_of_sizes

OPEN_MAX: Final = 20_000
"""Of more open conversations, those that were opened last."""
EVENTS_AT_ONCE: Final = 250_000
"""Of so many events conversations are together: what they take is bounded, however large they are."""

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
_SIZES: Final = """
    select number, count(*) as size from kept.events where number in (select number from open_now)
    group by number order by number"""
_LOSSES: Final = """
    select arrival, lost_time, lost_sequence from kept.losses where number in (select number from open_now)"""


def open_conversations(cursor: duckdb.DuckDBPyConnection, account: int, name: str) -> Iterator[Prepared]:
    """The events of the open conversations, which know their losses of focus, some conversations at a time.

    `account` is the number of the account, `name` its id.
    """
    open_now = query(cursor, _OPEN, {"account": account, "most": OPEN_MAX})
    if open_now.num_rows == 0:
        return
    with registered(cursor, open_now=open_now):
        sizes = query(cursor, _SIZES)
    for low, high in groups_of_sizes(np.asarray(sizes["size"].to_numpy(), np.int64), EVENTS_AT_ONCE):
        with registered(cursor, open_now=sizes.slice(low, high - low)):
            rows, losses = query(cursor, _EVENTS), query(cursor, _LOSSES)
        focused = {(name, agent) for agent in focused_among(cursor, rows)}
        events = events_table(rows)
        columns = with_losses(columns_of(events), rows["arrival"].to_numpy(), losses)
        yield Prepared(events, columns, order(events, columns), focused)
