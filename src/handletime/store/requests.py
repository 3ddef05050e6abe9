"""Requests that bring events: which of them may be stored, and which of these now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from handletime.errors import Fault, InvalidEvents
from handletime.events.model import EVENTS
from handletime.segments.columns import I64, Bools
from handletime.store.arrow import query, registered
from handletime.store.directory import Conversation, Directory
from handletime.store.recent import Recent


class Request(NamedTuple):
    """Good events of one account, a table of `events.model.EVENTS` (its `accountId` does not count).

    Where it is several requests, one after the other, `sizes` are their numbers of events.
    """

    account: str
    events: pa.Table
    sizes: tuple[int, ...] = ()

    @property
    def parts(self) -> tuple[int, ...]:
        """The number of events of each request."""
        return self.sizes or (self.events.num_rows,)


class Ingested(NamedTuple):
    """What became of a request: how many events are newly stored, and how many had come before."""

    accepted: int
    duplicates: int


Outcome = Ingested | InvalidEvents
"""What became of a request, or why nothing of it was stored."""


class Brought(NamedTuple):
    """All events of some requests, as tables of `model.EVENTS`, in order of arrival, and their conversations.

    For each row the conversation's id, the account's number, the request, its part, and the conversation's place
    among those that are named (`wanted`, in order of arrival). For each of these its number, -1 where it is new, and
    how many events are stored of it.
    """

    events: pa.Table
    ids: pa.Array
    account: npt.NDArray[np.int32]
    request: I64
    part: I64
    place: I64
    wanted: list[Conversation]
    numbers: I64
    stored: I64


def brought_by(
    requests: Sequence[Request], connection: duckdb.DuckDBPyConnection, directory: Directory, recent: Recent
) -> Brought:
    """All events of the requests, in order of arrival, and what is stored of their conversations."""
    accounts = [directory.number_account(connection, request.account) for request in requests]
    counts = [request.events.num_rows for request in requests]
    sizes = [size for request in requests for size in request.parts]
    account = np.repeat(np.array(accounts, np.int32), counts)
    some = [request.events for request in requests if request.events.num_rows]
    events = pa.concat_tables(some) if some else EVENTS.empty_table()
    ids = events.column("conversationId").combine_chunks()
    encoded = ids.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    pairs = account.astype(np.int64) << 32 | encoded.indices.to_numpy()
    different, first, place = np.unique(pairs, return_index=True, return_inverse=True)
    by_arrival = np.argsort(first)
    wanted = [(pair >> 32, names[pair & 0xFFFF_FFFF]) for pair in different[by_arrival].tolist()]
    place_of = np.empty(len(different), np.int64)
    place_of[by_arrival] = np.arange(len(different))
    numbers = np.array(directory.known(connection, wanted), np.int64)
    stored = np.zeros(len(numbers), np.int64)
    stored[numbers >= 0] = recent.sizes(connection, numbers[numbers >= 0])
    return Brought(
        events,
        ids,
        account,
        np.repeat(np.arange(len(counts)), counts),
        np.repeat(np.arange(len(sizes)), sizes),
        place_of[place],
        wanted,
        numbers,
        stored,
    )


def left_for_later(brought: Brought, part_events: int) -> dict[int, int]:
    """The requests that are left for later, and how many events each touches.

    What a request touches, not what it brings, decides which go together; those of an account stay in their order.
    """
    if len(brought.place) + int(brought.stored.sum()) <= part_events:
        return {}
    later: dict[int, int] = {}
    waiting: set[int] = set()
    taken = np.zeros(len(brought.wanted), np.bool_)
    room = part_events
    for rows in _runs(brought.request):
        places = np.unique(brought.place[rows])
        account = int(brought.account[rows[0]])
        cost = len(rows) + int(brought.stored[places[~taken[places]]].sum())
        if account in waiting or cost > room:
            later[int(brought.request[rows[0]])] = len(rows) + int(brought.stored[places].sum())
            waiting.add(account)
        else:
            room -= cost
            taken[places] = True
    if not taken.any():
        del later[min(later)]
    return later


def refused_among(
    connection: duckdb.DuckDBPyConnection, brought: Brought, later: Mapping[int, int], most: int
) -> dict[int, InvalidEvents]:
    """The parts of requests that bring a conversation more new events than it may have (`most` in
    all), and what is wrong.
    """
    fuller = brought.stored + np.bincount(brought.place, minlength=len(brought.wanted))
    full = np.flatnonzero(fuller > most)
    if not len(full):
        return {}
    rows = np.flatnonzero(np.isin(brought.place, full) & ~np.isin(brought.request, [*later]))
    there = _stored_among(connection, brought, rows)
    events = {place: int(brought.stored[place]) for place in full.tolist()}
    refused: dict[int, InvalidEvents] = {}
    for run in _runs(brought.part[rows]):
        mine = rows[run]
        part = int(brought.part[mine[0]])
        first = int(np.searchsorted(brought.part, part))
        new: dict[int, set[str]] = {}
        faults: dict[int, Fault] = {}
        names = zip(brought.place[mine].tolist(), brought.events["eventId"].take(mine).to_pylist(), strict=True)
        for row, (place, event) in zip(mine.tolist(), names, strict=True):
            if (place, event) in there or place in faults:
                continue
            new.setdefault(place, set()).add(event)
            if events[place] + len(new[place]) > most:
                faults[place] = _too_many(brought.wanted[place][1], row - first + 1, most)
        if faults:
            refused[part] = InvalidEvents("body", list(faults.values()))
            continue
        for place, ids in new.items():
            events[place] += len(ids)
            there.update((place, id_) for id_ in ids)
    return refused


def answers_to(
    requests: Sequence[Request], accepted: Bools, later: Mapping[int, int], refused: Mapping[int, InvalidEvents]
) -> list[Outcome]:
    """What became of each part of the requests that were not left for later, given which events are newly stored."""
    ends = np.cumsum([0, *(size for request in requests for size in request.parts)]).tolist()
    of = [place for place, request in enumerate(requests) for _size in request.parts]
    answers: list[Outcome] = []
    for part, (low, high) in enumerate(pairwise(ends)):
        count = int(accepted[low:high].sum())
        if of[part] not in later:
            answers.append(refused.get(part) or Ingested(count, high - low - count))
    return answers


def _too_many(conversation: str, number: int, most: int) -> Fault:
    return Fault(
        number,
        "conversationId",
        f"conversation {conversation} has no room for this event: a conversation may have {most:,} events "
        "(--conversation-events); events that it has already may be sent again and corrected",
        "event",
    )


def _stored_among(connection: duckdb.DuckDBPyConnection, brought: Brought, rows: I64) -> set[tuple[int, str]]:
    """The places of conversations and the ids of those events in these rows that are stored."""
    numbers = brought.numbers[brought.place[rows]]
    asked = pa.table({"number": numbers, "eventId": brought.events["eventId"].take(rows)})
    with registered(connection, asked=asked.filter(numbers >= 0)):
        found = query(connection, _STORED_AMONG)
    places = {int(number): place for place, number in enumerate(brought.numbers.tolist())}
    return {
        (places[number], id_)
        for number, id_ in zip(found["number"].to_pylist(), found["eventId"].to_pylist(), strict=True)
    }


def _runs(values: I64) -> list[I64]:
    """The places of equal values, which stand together."""
    runs = np.split(np.arange(len(values)), np.flatnonzero(np.diff(values)) + 1)
    return runs if len(values) else []


_STORED_AMONG: Final = "select number, eventId from kept.events semi join asked using (number, eventId)"
