"""Reads stored events and the losses of focus that they meet, and prepares them for the derivation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from handletime.events.model import with_schema
from handletime.segments.columns import I64, columns_of, losses_by_row
from handletime.segments.order import order
from handletime.segments.parts import Prepared
from handletime.store.arrow import query, registered
from handletime.store.moves import focused_among
from handletime.store.schema import EVENT_ROW, LOSS_ROW

NAMED_EVENTS: Final = """select e.*, accountId, conversationId from kept.events e
    join kept.conversations using (number) join kept.accounts a on a.account = e.account"""
"""All stored events, with the ids of their accounts and conversations."""
ANY_NUMBER: Final = 2**62


def events_of(connection: duckdb.DuckDBPyConnection, numbers: I64) -> pa.Table:
    """The stored events of conversations as rows of `EVENT_ROW`, by arrival."""
    events = of_conversations(connection, _EVENTS, numbers).cast(EVENT_ROW).combine_chunks()
    return events.take(by_arrival(events["arrival"].to_numpy()))


class Held(NamedTuple):
    """Stored events of whole conversations as rows of `EVENT_ROW`, in any order, and the losses that their `focused`
    meet, as rows of `kept.losses`.
    """

    events: pa.Table
    losses: pa.Table


def held_of(connection: duckdb.DuckDBPyConnection, numbers: I64, most: int = ANY_NUMBER) -> Held:
    """All that is stored of conversations; of those with more than `most` events together, any `most` and one more."""
    events = of_conversations(connection, _EVENTS, numbers, f"limit {most + 1}").cast(EVENT_ROW)
    return Held(events, losses_of(connection, numbers))


def copies_of(connection: duckdb.DuckDBPyConnection, events: pa.Table) -> Held:
    """The stored events that are copies of these (`number`, `eventId`), without losses."""
    with registered(connection, asked=events.select(["number", "eventId"])):
        arrivals = query(connection, "select arrival from kept.events semi join asked using (number, eventId)")
    with registered(connection, asked=arrivals):
        stored = query(connection, f"{_EVENTS} where arrival in (select arrival from asked)")  # noqa: S608
    return Held(stored.cast(EVENT_ROW), LOSS_ROW.empty_table())


def losses_of(connection: duckdb.DuckDBPyConnection, numbers: I64) -> pa.Table:
    """The stored losses of conversations, rows of `kept.losses`."""
    return of_conversations(connection, "select * from kept.losses", numbers)


def ids_of(connection: duckdb.DuckDBPyConnection, numbers: I64) -> pa.Table:
    """The numbers, ascending, and ids of those conversations that the directory has."""
    found = of_conversations(connection, "select number, conversationId from kept.conversations", numbers)
    return found.sort_by("number").combine_chunks()


def sizes_of(connection: duckdb.DuckDBPyConnection, numbers: I64) -> I64:
    """How many events are stored of each of these different conversations."""
    counted = "select number, count(*) as size from kept.events"
    found = of_conversations(connection, counted, numbers, "group by number")
    ascending = np.argsort(numbers)
    sizes = np.zeros(len(numbers), np.int64)
    sizes[ascending[np.searchsorted(numbers[ascending], found["number"].to_numpy())]] = found["size"].to_numpy()
    return sizes


def prepared_of(connection: duckdb.DuckDBPyConnection, account: str, ids: pa.Table) -> Prepared:
    """The events of conversations (`ids_of`) of one account, which know their losses of focus."""
    numbers = ids["number"].to_numpy()
    rows = events_of(connection, numbers)
    focused = {(account, agent) for agent in focused_among(connection, rows)}
    lost_time, lost_sequence = met_by(rows["arrival"].to_numpy(), losses_of(connection, numbers))
    named = rows.append_column("accountId", pa.repeat(account, rows.num_rows))
    events = with_schema(named.append_column("conversationId", named_by(ids, rows)))
    columns = columns_of(events)._replace(lost_time=lost_time, lost_sequence=lost_sequence)
    return Prepared(events, columns, order(events, columns), focused)


def named_by(ids: pa.Table, events: pa.Table) -> pa.Array:
    """The id of each event's conversation, which is among these (`ids_of`)."""
    places = np.searchsorted(ids["number"].to_numpy(), events["number"].to_numpy())
    return ids["conversationId"].combine_chunks().take(pa.array(places)).cast(pa.string())


def groups_of_sizes(sizes: I64, most: int) -> Iterator[tuple[int, int]]:
    """Neighbours that are at most so large together, or one alone: from where to where they stand."""
    low, total = 0, 0
    for place, size in enumerate(sizes.tolist()):
        if place > low and total + size > most:
            yield low, place
            low, total = place, 0
        total += size
    if len(sizes):
        yield low, len(sizes)


def met_by(arrivals: I64, losses: pa.Table) -> tuple[I64, I64]:
    """The time and sequence of the loss that each event meets (`NEVER`: none), of events by arrival.

    Losses are rows of `kept.losses`.
    """
    return losses_by_row(np.searchsorted(arrivals, losses["arrival"].to_numpy()), losses, len(arrivals))


def of_conversations(connection: duckdb.DuckDBPyConnection, sql: str, numbers: I64, after: str = "") -> pa.Table:
    """The rows of a table that are of conversations. It stands alone: only then row groups are skipped."""
    with registered(connection, asked=pa.table({"number": numbers})):
        return query(connection, f"{sql} where number in (select number from asked) {after}")  # noqa: S608


def by_arrival(arrivals: I64) -> I64:
    """The places of events, given by arrival, in the order of arrival; fast where they are in order, more or less."""
    return np.argsort(arrivals, kind="stable")


_EVENTS: Final = f"select {', '.join(EVENT_ROW.names)} from kept.events"  # noqa: S608
