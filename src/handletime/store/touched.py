"""Conversations that events touch: what is stored of them, and the same with what came."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from handletime.segments.columns import I64, NEVER, Bools, Columns, columns_of, losses_by_row
from handletime.segments.order import Ordered, order_numbered
from handletime.store.events import Held, by_arrival
from handletime.store.moves import Moved


class Version(NamedTuple):
    """Conversations at one time: their events in order, and columns that know the losses of focus."""

    columns: Columns
    ordered: Ordered


class Touched(NamedTuple):
    """Whole conversations by their ascending numbers, and their ids: what is stored of them (so many events) and then
    what came, by arrival, as rows of `EVENT_ROW`; each event once in `ordered`. `by_arrival` are the places of all of
    these events in the order of arrival.
    """

    events: pa.Table
    by_arrival: I64
    numbers: I64
    ids: pa.Array
    columns: Columns
    ordered: Ordered
    stored: int

    def is_new(self, arrivals: I64) -> Bools:
        """Whether each of the batch's events, given by arrival, has not come before."""
        there = np.zeros(self.events.num_rows, np.bool_)
        there[self.ordered.rows] = True
        return there[self._places(arrivals)]

    def new_events(self) -> pa.Table:
        """The events that came and stand."""
        rows = self.ordered.rows[self.ordered.rows >= self.stored]
        came = self.events.slice(self.stored)
        return came if len(rows) == came.num_rows else self.events.take(np.sort(rows))

    def replaced(self) -> pa.Table:
        """The stored events that a correction among what came replaces."""
        stands = np.zeros(self.stored, np.bool_)
        stands[self.ordered.rows[self.ordered.rows < self.stored]] = True
        return self.events.take(np.flatnonzero(~stands))

    def ids_of(self, events: pa.Table) -> pa.Array:
        """The ids of the events' conversations, which are among the touched ones."""
        return self.ids.take(pa.array(np.searchsorted(self.numbers, events["number"].to_numpy())))

    def before(self) -> Version:
        """The conversations as stored, without what came."""
        keep = self.ordered.rows < self.stored
        if np.count_nonzero(keep) < self.stored:
            numbers = self.events["number"].to_numpy()
            return Version(self.columns, order_numbered(self.columns, numbers, self.stored))
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep)])[self.ordered.starts]
        stored = self.ordered._replace(rows=self.ordered.rows[keep], starts=starts, records=self.ordered.records[keep])
        return Version(self.columns, stored)

    def after(self, moved: Moved) -> Version:
        """The conversations with what came, and with the losses of focus that are met then."""
        lost_time, lost_sequence = self.columns.lost_time.copy(), self.columns.lost_sequence.copy()
        for changed in (moved.stored, moved.new):
            places = self._places(changed["arrival"].to_numpy())
            lost_time[places] = changed["lost_time"].to_numpy()
            lost_sequence[places] = changed["lost_sequence"].to_numpy()
        return Version(self.columns._replace(lost_time=lost_time, lost_sequence=lost_sequence), self.ordered)

    def met_before(self, moved: Moved) -> pa.Table:
        """The stored `focused` that met a loss of focus and now meet another one, or none."""
        stored = moved.stored.select(["number", "arrival"])
        return stored.filter(self.columns.lost_time[self._places(stored["arrival"].to_numpy())] != NEVER)

    def _places(self, arrivals: I64) -> I64:
        return _places(self.events["arrival"].to_numpy(), self.by_arrival, arrivals)


def touched_by(came: pa.Table, held: Held, numbers: I64, ids: pa.Array) -> Touched:
    """Conversations by their ascending numbers, and their ids: what is stored of them and what came (by arrival)."""
    events = pa.concat_tables([held.events, came]).combine_chunks()
    arrivals = events["arrival"].to_numpy()
    order = by_arrival(arrivals)
    losing = _places(arrivals, order, held.losses["arrival"].to_numpy())
    lost_time, lost_sequence = losses_by_row(losing, held.losses, events.num_rows)
    columns = columns_of(events)._replace(lost_time=lost_time, lost_sequence=lost_sequence)
    ordered = order_numbered(columns, events["number"].to_numpy())
    return Touched(events, order, numbers, ids, columns, ordered, held.events.num_rows)


def _places(arrivals: I64, order: I64, wanted: I64) -> I64:
    """The places of events that are wanted, by arrival; `order` has all places in the order of arrival."""
    return order[np.searchsorted(arrivals, wanted, sorter=order)]


def conversations_of(events: pa.Table, ids: pa.Array, moved: Moved) -> tuple[I64, pa.Array]:
    """The numbers of all conversations that events, and the focus that they move, touch, ascending, and their ids."""
    numbers = np.concatenate([events["number"].to_numpy(), moved.stored["number"].to_numpy()])
    different, first = np.unique(numbers, return_index=True)
    return different, pa.concat_arrays([ids, moved.stored["conversationId"].combine_chunks()]).take(pa.array(first))
