"""The conversations of one account that are open, with their events: what is going on now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import duckdb
import numpy as np

from handletime.segments.parts import Prepared
from handletime.store.arrow import query
from handletime.store.events import groups_of_sizes, ids_of, prepared_of, sizes_of

OPEN_MAX: Final = 20_000
"""The most open conversations that are read; where there are more, those opened last."""
EVENTS_AT_ONCE: Final = 250_000
"""Conversations are read together up to so many events, which bounds the memory that they take."""

_OPEN: Final = """
    select number from kept.skill_segments where account = $account and "end" is null
    order by start desc limit $most"""


def open_conversations(cursor: duckdb.DuckDBPyConnection, account: int, name: str) -> Iterator[Prepared]:
    """The events of the open conversations, which know their losses of focus, some conversations at a time.

    `account` is the number of the account, `name` its id.
    """
    numbers = np.sort(query(cursor, _OPEN, {"account": account, "most": OPEN_MAX})["number"].to_numpy())
    for low, high in groups_of_sizes(sizes_of(cursor, numbers), EVENTS_AT_ONCE):
        yield prepared_of(cursor, name, ids_of(cursor, numbers[low:high]))
