"""Events are told from what has come before, numbered, and put into the journal: then they are acknowledged."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from handletime.crashpoints import crash_point
from handletime.errors import Fault, HandletimeError, InvalidEvents, NotNow
from handletime.segments.columns import I64, Bools, in_one_piece
from handletime.store.backlog import Batch
from handletime.store.directory import Conversation, Directory
from handletime.store.journal import ROW, Entry, Journal
from handletime.store.known import Cursor, Heard, Known
from handletime.store.requests import Ingested, Outcome, Request
from handletime.store.schema import ARRIVING, EVENT_ROW

KNOWN_BYTES: Final = 128 << 20
"""The memory for what is known of conversations."""
NO_LIMIT: Final = 2**62


class Entries(Protocol):
    """Where the number of the journal's last acknowledged entry is kept, apart from the journal: the side file."""

    def set_last_entry(self, number: int) -> None:
        """Keeps the number of an entry, before it is acknowledged."""


class Accepted(NamedTuple):
    """What became of each request, in the same order: an answer for each of its parts, or why it cannot be taken now.

    `batches` are the events that are in the journal now.
    """

    answers: list[list[Outcome] | HandletimeError]
    batches: list[Batch]


class _Asked(NamedTuple):
    """A request, column by column: the names of its conversations, and for each event the place of its conversation
    among these, its id and its revision.
    """

    request: Request
    account: int
    conversations: list[Conversation]
    place: I64
    ids: list[str]
    revisions: list[int]


class _Learned(NamedTuple):
    """Events that were added to what is known: their conversations, ids, and the revisions that were known before."""

    heard: list[Heard]
    ids: list[str]
    before: list[int | None]

    def new_ids(self) -> list[str]:
        """The ids that were not known."""
        return [id_ for id_, before in zip(self.ids, self.before, strict=True) if before is None]


class Acceptor:
    """Accepts requests, one group after the other. Not for several threads.

    `cursor` gives a connection to the tables, for what is not in memory.
    """

    def __init__(
        self, directory: Directory, journal: Journal, entries: Entries, cursor: Cursor, *, conversation_events: int
    ) -> None:
        self._directory, self._journal, self._entries, self._cursor = directory, journal, entries, cursor
        self._most = conversation_events
        self.known = Known(directory, KNOWN_BYTES)
        self.next_entry = 1

    def accept(self, requests: Sequence[Request], first_unfolded: int) -> Accepted:
        """Tells what is new, and puts it into the journal with one sync, as an entry for each request.

        An event is new if its id is, or if its revision is higher than that of the copy that stands (rules.md 1,
        "Copies"). `first_unfolded` is the number of the first entry that does not stand in the tables. Raises NotNow,
        StoreError where the journal cannot be written; then nothing is accepted.
        """
        self.known.trim(first_unfolded)
        asked = [_asked(self._directory, request) for request in requests]
        problem = self._read(asked)
        answers: list[list[Outcome] | HandletimeError] = []
        batches: list[Batch] = []
        learned: list[_Learned] = []
        try:
            for each in asked:
                if problem is not None and self._has_to_look_up(each):
                    answers.append(problem)
                    continue
                outcomes, new = self._tell_apart(each, self._most, learned)
                answers.append(outcomes)
                if new.any():
                    batches.append(self._batch(each, new, self.next_entry + len(batches)))
            if batches:
                self._journal.append([batch.entry for batch in batches])
                self._entries.set_last_entry(batches[-1].entry.number)
                crash_point("journal-numbered")
        except BaseException:
            self._undo(learned)
            for batch in batches:
                for conversation in batch.conversations.values():
                    self.known.of(conversation).number = -1
            raise
        self.next_entry += len(batches)
        return Accepted(answers, batches)

    def take_up(self, entry: Entry) -> Batch:
        """What stands in the journal and not yet in the tables, after a start. Raises NotNow, StoreError."""
        asked = _asked(self._directory, Request(entry.account, entry.events, (1,) * entry.events.num_rows))
        if (problem := self._read([asked])) is not None:
            raise problem
        _outcomes, new = self._tell_apart(asked, NO_LIMIT, [])
        return self._batch(asked, new, entry.number)

    def _read(self, asked: Sequence[_Asked]) -> NotNow | None:
        """Looks up what is not in memory; gives what prevents that."""
        missing = self.known.missing(list(dict.fromkeys(name for each in asked for name in each.conversations)))
        try:
            with ExitStack() as stack:
                cursor = None
                if missing:
                    cursor = stack.enter_context(self._cursor())
                    self.known.read(cursor, missing)
                unknown: dict[int, tuple[Heard, list[str]]] = {}
                for each in asked:
                    self._find_unknown(each, unknown)
                if unknown:
                    self.known.ask(cursor or stack.enter_context(self._cursor()), unknown)
        except NotNow as problem:
            return problem
        return None

    def _has_to_look_up(self, asked: _Asked) -> bool:
        """Whether something of a request is not in memory."""
        unknown: dict[int, tuple[Heard, list[str]]] = {}
        if not self.known.missing(asked.conversations):
            self._find_unknown(asked, unknown)
            return bool(unknown)
        return True

    def _find_unknown(self, asked: _Asked, unknown: dict[int, tuple[Heard, list[str]]]) -> None:
        """Collects the events of conversations of which not all ids are here, if theirs are not."""
        heard = [self.known.of(conversation) for conversation in asked.conversations]
        partial = np.array([not each.whole for each in heard], np.bool_)
        for row in np.flatnonzero(partial[asked.place]).tolist() if partial.any() else ():
            each, id_ = heard[asked.place[row]], asked.ids[row]
            if id_ not in each.ids:
                unknown.setdefault(each.number, (each, []))[1].append(id_)

    def _tell_apart(self, asked: _Asked, most: int, learned: list[_Learned]) -> tuple[list[Outcome], Bools]:
        """What becomes of each part of a request, and which of its events are new and stand."""
        heard = [self.known.of(conversation) for conversation in asked.conversations]
        known = [each.ids for each in heard]
        places = asked.place.tolist()
        new = np.zeros(len(places), np.bool_)
        outcomes: list[Outcome] = []
        end = 0
        for size in asked.request.parts:
            first, end = end, end + size
            rows: list[int] = []
            before: list[int | None] = []
            events = zip(places[first:end], asked.ids[first:end], asked.revisions[first:end], strict=True)
            for row, (place, id_, revision) in enumerate(events, first):
                stands = known[place].get(id_)
                if stands is None or revision > stands:
                    known[place][id_] = revision
                    rows.append(row)
                    before.append(stands)
            here = _Learned([heard[places[row]] for row in rows], [asked.ids[row] for row in rows], before)
            full = self._count(here, most)
            if full:
                self._undo([here])
                outcomes.append(InvalidEvents("body", _too_many(asked, first, rows, full, most)))
                continue
            learned.append(here)
            standing = _last_of_each(rows, here) if any(each is not None for each in before) else rows
            new[standing] = True
            outcomes.append(Ingested(len(standing), size - len(standing)))
        return outcomes, new

    def _count(self, learned: _Learned, most: int) -> list[int]:
        """Counts new events; gives the places of those for which their conversation has no room."""
        self.known.count(learned.new_ids())
        full = []
        for place, (heard, before) in enumerate(zip(learned.heard, learned.before, strict=True)):
            if before is None:
                heard.events += 1
                if heard.events > most:
                    full.append(place)
        return full

    def _undo(self, learned: Sequence[_Learned]) -> None:
        for each in reversed(learned):
            self.known.count(each.new_ids(), -1)
            for heard, id_, before in reversed(list(zip(*each, strict=True))):
                if before is None:
                    del heard.ids[id_]
                    heard.events -= 1
                else:
                    heard.ids[id_] = before

    def _batch(self, asked: _Asked, new: Bools, number: int) -> Batch:
        """The new events of a request, as they go into the journal and into the tables."""
        place = asked.place[new]
        used = np.unique(place)
        heard = [self.known.of(asked.conversations[i]) for i in used.tolist()]
        strangers = [i for i, each in zip(used.tolist(), heard, strict=True) if each.number < 0]
        strangers.sort(key=_first_rows(place).__getitem__)
        names = [asked.conversations[i] for i in strangers]
        conversations = dict(zip(self._directory.number(names), names, strict=True)) if names else {}
        for conversation_number, name in conversations.items():
            self.known.of(name).number = conversation_number
        numbers = np.full(len(asked.conversations), -1, np.int64)
        numbers[used] = [each.number for each in heard]
        for each in heard:
            each.entry = number
        events = asked.request.events if new.all() else asked.request.events.filter(new)
        journalled = pa.table([_plain(events.column(name)) for name in ROW.names], ROW).combine_chunks()
        columns = {name: journalled.column(name) for name in EVENT_ROW.names[3:]}
        account = np.full(len(place), asked.account, np.int32)
        rows = pa.table({"number": numbers[place], "account": account, **columns}, ARRIVING)
        return Batch(
            Entry(number, asked.request.account, journalled),
            asked.account,
            rows,
            in_one_piece(journalled.column("conversationId")),
            conversations,
            {each.number: each.events for each in heard},
        )


def _asked(directory: Directory, request: Request) -> _Asked:
    account = directory.account(request.account)
    encoded = in_one_piece(request.events.column("conversationId")).dictionary_encode()
    return _Asked(
        request,
        account,
        [(account, name) for name in encoded.dictionary.to_pylist()],
        encoded.indices.to_numpy().astype(np.int64),
        request.events.column("eventId").to_numpy().tolist(),
        request.events.column("revision").to_numpy().tolist(),
    )


def _last_of_each(rows: Sequence[int], learned: _Learned) -> list[int]:
    """Of new events of one request those that stand: of several copies of one, each of a higher revision, the last."""
    last = {(id(heard), id_): row for row, heard, id_ in zip(rows, learned.heard, learned.ids, strict=True)}
    return sorted(last.values())


def _first_rows(place: I64) -> dict[int, int]:
    """The first row of each place."""
    places, first = np.unique(place, return_index=True)
    return dict(zip(places.tolist(), first.tolist(), strict=True))


def _too_many(asked: _Asked, first: int, rows: Sequence[int], full: Sequence[int], most: int) -> list[Fault]:
    """What is wrong with a request, of which the first event has this row: the first event too many of each
    conversation, of those at these places among the new ones (`rows`).
    """
    faults: dict[int, Fault] = {}
    for row in (rows[place] for place in full):
        conversation = asked.conversations[asked.place[row]][1]
        fault = Fault(
            row - first + 1,
            "conversationId",
            f"conversation {conversation} has no room for this event: a conversation may have {most:,} events "
            "(--conversation-events); events that it has already may be sent again and corrected",
            "event",
        )
        faults.setdefault(int(asked.place[row]), fault)
    return list(faults.values())


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of events as the store has it: places in closed lists, epoch milliseconds."""
    if pa.types.is_dictionary(column.type):
        return pa.chunked_array([chunk.indices for chunk in column.chunks], pa.int8())
    return column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
