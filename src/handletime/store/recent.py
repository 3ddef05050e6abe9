"""The events of the conversations that were touched last, in memory: a batch need not read them from the file.

Conversations are here with all their events or not at all. Whatever a commit changes is changed here too, so what is
here is always what the tables have.
"""

from __future__ import annotations

from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from handletime.segments.columns import I64, NEVER
from handletime.store.events import events_of, losses_of, met_by, sizes_of
from handletime.store.schema import EVENT_ROW

Slots = npt.NDArray[np.int64]
"""Places of conversations in memory."""


class Held(NamedTuple):
    """Events of whole conversations as rows of `EVENT_ROW`, by arrival, and the losses that their `focused` meet."""

    events: pa.Table
    lost_time: I64
    lost_sequence: I64


class _Part(NamedTuple):
    """Some of the events: like `Held`, and each one's slot. Losses are changed in place."""

    events: pa.Table
    arrivals: I64
    slots: Slots
    lost_time: I64
    lost_sequence: I64


class Recent:
    """The recent events of one open store. For longer it keeps at most so many of them, and so many bytes.

    Not for several threads.
    """

    def __init__(self, most_events: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most_events, most_bytes
        self.clear()

    def sizes(self, connection: duckdb.DuckDBPyConnection, numbers: I64) -> I64:
        """How many events are stored of each of these conversations; reads none of them."""
        slots = self._slots_of(numbers.tolist())
        sizes = np.where(slots < 0, 0, self._counts[slots])
        strangers = np.flatnonzero(slots < 0)
        if len(strangers):
            sizes[strangers] = sizes_of(connection, numbers[strangers])
        return sizes

    def of(self, connection: duckdb.DuckDBPyConnection, numbers: I64, first_new: int) -> Held:
        """The stored events of conversations; those from `first_new` on have none."""
        slots = self._slots_of(numbers.tolist())
        strangers = numbers[slots < 0]
        if len(strangers):
            self._read(connection, strangers, first_new)
            slots = self._slots_of(numbers.tolist())
        self._turn += 1
        self._touched[slots] = self._turn
        return self._gathered(slots)

    def passing(self, connection: duckdb.DuckDBPyConnection, numbers: I64) -> Held:
        """The stored events of conversations that are too many to be kept: others are read, and none has to go."""
        slots = self._slots_of(numbers.tolist())
        here = self._gathered(slots[slots >= 0])
        return _by_arrival(here, _read(connection, numbers[slots < 0]))

    def add(self, events: pa.Table) -> None:
        """Keeps newly stored events of those conversations that are here; no loss of theirs is known yet."""
        numbers, place = np.unique(events["number"].to_numpy(), return_inverse=True)
        here = self._slots_of(numbers.tolist()) >= 0
        events = events if here.all() else events.filter(here[place])
        if events.num_rows:
            never = np.full(events.num_rows, NEVER, np.int64)
            self._append(Held(events, never, never.copy()))

    def lose(self, arrivals: I64, lost_time: I64, lost_sequence: I64) -> None:
        """Keeps the losses that these events meet now."""
        for part in self._parts:
            places = np.minimum(np.searchsorted(part.arrivals, arrivals), len(part.arrivals) - 1)
            here = part.arrivals[places] == arrivals
            part.lost_time[places[here]] = lost_time[here]
            part.lost_sequence[places[here]] = lost_sequence[here]

    def forget(self, numbers: I64) -> None:
        """Drops conversations."""
        slots = self._slots_of(numbers.tolist())
        keep = np.ones(len(self._touched), np.bool_)
        keep[slots[slots >= 0]] = False
        self._keep_only(np.flatnonzero(keep[: len(self._numbers)]))

    def trim(self) -> None:
        """Makes room where there is too much: conversations that were touched longest ago go."""
        while self._is_full():
            counts = self._counts[: len(self._numbers)]
            latest = np.argsort(-self._touched[: len(counts)], kind="stable")
            self._keep_only(latest[np.cumsum(counts[latest]) <= min(self._most, int(counts.sum())) // 2])

    def _is_full(self) -> bool:
        events = sum(part.events.num_rows for part in self._parts)
        return events > self._most or sum(int(part.events.nbytes) for part in self._parts) > self._most_bytes

    def clear(self) -> None:
        """Drops everything; it is read again when needed."""
        self._parts: list[_Part] = []
        self._numbers: dict[int, int] = {}
        self._touched: I64 = np.zeros(1024, np.int64)
        self._counts: I64 = np.zeros(1024, np.int64)
        """The number of events in each slot."""
        self._turn = 0

    def _slots_of(self, numbers: list[int]) -> Slots:
        get = self._numbers.get
        return np.array([get(number, -1) for number in numbers], np.int64)

    def _read(self, connection: duckdb.DuckDBPyConnection, strangers: I64, first_new: int) -> None:
        for number in strangers.tolist():
            self._numbers[number] = len(self._numbers)
        if len(self._numbers) > len(self._touched):
            room = np.zeros(len(self._numbers), np.int64)
            self._touched, self._counts = (np.concatenate([each, room]) for each in (self._touched, self._counts))
        stored = strangers[strangers < first_new]
        if len(stored):
            self._append(_read(connection, stored))

    def _append(self, more: Held) -> None:
        numbers, place = np.unique(more.events["number"].to_numpy(), return_inverse=True)
        slots = self._slots_of(numbers.tolist())
        self._counts[slots] += np.bincount(place, minlength=len(slots))
        part = _Part(more.events, more.events["arrival"].to_numpy(), slots[place], *more[1:])
        # As many parts as the number of events has digits, more or less; each event is copied as often.
        while self._parts and self._parts[-1].events.num_rows < 2 * part.events.num_rows:
            part = _joined(self._parts.pop(), part)
        self._parts.append(part)

    def _gathered(self, slots: Slots) -> Held:
        wanted = np.zeros(len(self._numbers), np.bool_)
        wanted[slots] = True
        found = [_taken(part, np.flatnonzero(wanted[part.slots])) for part in self._parts]
        return _by_arrival(*found)

    def _keep_only(self, slots: Slots) -> None:
        kept = self._gathered(slots)
        names = np.array(list(self._numbers), np.int64)[slots]
        touched = self._touched[slots]
        self.clear()
        self._numbers = {number: slot for slot, number in enumerate(names.tolist())}
        room = np.zeros(1024, np.int64)
        self._touched, self._counts = np.concatenate([touched, room]), np.zeros(len(touched) + len(room), np.int64)
        self._turn = int(touched.max(initial=0))
        if kept.events.num_rows:
            self._append(kept)


def _by_arrival(*held: Held) -> Held:
    """All of it together."""
    events = pa.concat_tables([EVENT_ROW.empty_table(), *(each.events for each in held)]).combine_chunks()
    lost_time = np.concatenate([np.empty(0, np.int64), *(each.lost_time for each in held)])
    lost_sequence = np.concatenate([np.empty(0, np.int64), *(each.lost_sequence for each in held)])
    arrivals = events["arrival"].to_numpy()
    if (np.diff(arrivals) < 0).any():
        order = np.argsort(arrivals)
        return Held(events.take(order), lost_time[order], lost_sequence[order])
    return Held(events, lost_time, lost_sequence)


def _read(connection: duckdb.DuckDBPyConnection, numbers: I64) -> Held:
    """The stored events of conversations, from the file."""
    events = events_of(connection, numbers)
    return Held(events, *met_by(events["arrival"].to_numpy(), losses_of(connection, numbers)))


def _taken(part: _Part, places: I64) -> Held:
    if len(places) == part.events.num_rows:
        return Held(part.events, part.lost_time, part.lost_sequence)
    return Held(part.events.take(places), part.lost_time[places], part.lost_sequence[places])


def _joined(a: _Part, b: _Part) -> _Part:
    """Both, by arrival."""
    arrivals = np.concatenate([a.arrivals, b.arrivals])
    events = pa.concat_tables([a.events, b.events]).combine_chunks()
    rest = [np.concatenate(pair) for pair in zip(a[2:], b[2:], strict=True)]
    if len(a.arrivals) and len(b.arrivals) and a.arrivals[-1] > b.arrivals[0]:
        order = np.argsort(arrivals)
        arrivals, events, rest = arrivals[order], events.take(order), [each[order] for each in rest]
    return _Part(events, arrivals, *rest)
