"""The conversations of one account that are open, with their events: what is going on now.

What is still running is not stored. Here it is derived from these events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from handletime.events.model import ASSIGNED
from handletime.segments.derive import derive_prepared
from handletime.segments.parts import Prepared
from handletime.store.arrow import query
from handletime.store.events import groups_of_sizes, ids_of, of_conversations, prepared_of, sizes_of

I64 = npt.NDArray[np.int64]
OPEN_MAX: Final = 20_000
"""The most open conversations that are shown; where there are more, those opened last."""
EVENTS_AT_ONCE: Final = 250_000
"""Conversations are read together up to so many events, which bounds the memory that they take."""

_OPEN: Final = """
    select number from kept.open_conversations where account = $account
    order by start desc limit $most"""
_COUNT: Final = "select count(*) from kept.open_conversations where account = $account"


def open_conversations(cursor: duckdb.DuckDBPyConnection, account: int, name: str) -> Iterator[Prepared]:
    """The events of the open conversations, which know their losses of focus, some conversations at a time.

    `account` is the number of the account, `name` its id.
    """
    for ids in _some(cursor, _open(cursor, account, OPEN_MAX)):
        yield prepared_of(cursor, name, ids)


def open_left_out(cursor: duckdb.DuckDBPyConnection, account: int) -> int:
    """How many open conversations of an account `open_conversations` leaves out."""
    ((count,),) = cursor.execute(_COUNT, {"account": account}).fetchall()
    return max(int(count) - OPEN_MAX, 0)


def running_rows(cursor: duckdb.DuckDBPyConnection, account: int, name: str) -> Iterator[dict[str, pa.Table]]:
    """The running segments of all open conversations, and their units so far, some conversations at a time.

    Tables of `segments.files.SCHEMAS`, which also have the conversation's `number`.
    """
    for ids in _some(cursor, _open(cursor, account, None)):
        derived = derive_prepared(prepared_of(cursor, name, ids))
        segments, units = _running(derived.agent_segments), derived.handle_time_units
        rows = {
            "agent_segments": segments,
            "skill_segments": _running(derived.skill_segments),
            "queue_segments": _running(derived.queue_segments),
            "handle_time_units": units.filter(pc.is_in(units["segmentId"], value_set=segments["segmentId"])),
        }
        yield {table: _with_numbers(found, ids) for table, found in rows.items()}


def running_segments(
    cursor: duckdb.DuckDBPyConnection, account: int, name: str, numbers: Iterable[int], agent: int
) -> Iterator[pa.Table]:
    """The running agent segments, and skill segments without group and agent, some at a time: of those of these
    conversations that are open, and of those that the agent may have.
    """
    found = _open(cursor, account, None)
    assigned = f"and agentId = {agent} and type = {ASSIGNED}"
    theirs = of_conversations(cursor, "select distinct number from kept.events", found, assigned)["number"].to_numpy()
    for ids in _some(cursor, np.intersect1d(found, np.union1d(np.fromiter(numbers, np.int64), theirs))):
        derived = derive_prepared(prepared_of(cursor, name, ids))
        yield _running(derived.agent_segments)
        skills = _running(derived.skill_segments)
        for column in ("groupId", "agentId"):
            skills = skills.append_column(column, pa.nulls(skills.num_rows, pa.int64()))
        yield skills


def _open(cursor: duckdb.DuckDBPyConnection, account: int, most: int | None) -> I64:
    """The numbers of the open conversations, ascending: of those opened last, or all."""
    numbers: I64 = np.sort(query(cursor, _OPEN, {"account": account, "most": most})["number"].to_numpy())
    return numbers


def _some(cursor: duckdb.DuckDBPyConnection, numbers: I64) -> Iterator[pa.Table]:
    """The numbers and ids of conversations, some at a time."""
    for low, high in groups_of_sizes(sizes_of(cursor, numbers), EVENTS_AT_ONCE):
        yield ids_of(cursor, numbers[low:high])


def _running(segments: pa.Table) -> pa.Table:
    return segments.filter(pc.is_null(segments["end"]))


def _with_numbers(rows: pa.Table, ids: pa.Table) -> pa.Table:
    places = pc.index_in(rows["conversationId"], value_set=ids["conversationId"])
    return rows.append_column("number", ids["number"].take(places))
