"""Events are told from what has come before, numbered, and put into the journal: then they are acknowledged."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from handletime.crashpoints import crash_point
from handletime.errors import Fault, HandletimeError, InvalidEvents, NotNow
from handletime.segments.columns import I64, Bools, in_one_piece
from handletime.store.backlog import Batch
from handletime.store.directory import Conversation, Directory
from handletime.store.journal import ROW, Entry, Journal
from handletime.store.known import Cursor, Heard, Known
from handletime.store.opening import Entries
from handletime.store.requests import Ingested, Outcome, Request
from handletime.store.schema import ARRIVING, EVENT_ROW

KNOWN_BYTES: Final = 128 << 20
"""The memory for what is known of conversations."""
NO_LIMIT: Final = 2**62
_log: Final = logging.getLogger(__name__)


class Accepted(NamedTuple):
    """What became of each request, in the same order: an answer for each of its parts, or why it cannot be taken now.

    `batches` are the events that are in the journal now.
    """

    answers: list[list[Outcome] | HandletimeError]
    batches: list[Batch]


class _Asked(NamedTuple):
    """A request, column by column: its conversations, and for each event the place of its conversation among these, its
    id and its revision.
    """

    request: Request
    account: int
    conversations: list[Conversation]
    place: I64
    ids: list[str]
    revisions: list[int]


class _Learned(NamedTuple):
    """What was added to what is known of a request's conversations: its new events, by row, and its corrections, with
    the revisions of the copies that stood before.
    """

    asked: _Asked
    heard: Sequence[Heard]
    new: list[int]
    corrected: list[tuple[int, int]]


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
        known, problem = self._known_of(asked)
        answers: list[list[Outcome] | HandletimeError] = []
        batches: list[Batch] = []
        learned: list[_Learned] = []
        first_free = self._directory.next_conversation
        try:
            for each, heard in zip(asked, known, strict=True):
                if problem is not None and (not heard or _find_unknown(each, heard)):
                    answers.append(problem)
                    continue
                outcomes, new = self._tell_apart(each, heard, self._most, learned)
                answers.append(outcomes)
                if new.any():
                    batches.append(self._batch(each, heard, new, self.next_entry + len(batches)))
            if batches:
                self._journal.append([batch.entry for batch in batches])
                self._entries.set_last_entry(batches[-1].entry.number)
                crash_point("journal-numbered")
        except BaseException:
            self._undo(learned)
            for heard in known:
                for stranger in heard:
                    if stranger.number >= first_free:
                        stranger.number = -1
            raise
        self.next_entry += len(batches)
        return Accepted(answers, batches)

    def begin(self) -> None:
        """Looks up the conversations that events are likely to come for. Raises NotNow, duckdb.Error."""
        with self._cursor() as cursor:
            self.known.begin(cursor)

    def take_up(self, entry: Entry) -> Batch:
        """What stands in the journal and not yet in the tables, after a start. Raises NotNow, duckdb.Error."""
        asked = _asked(self._directory, Request(entry.account, entry.events))
        (heard,) = self._look_up([asked])
        self._tell_apart(asked, heard, NO_LIMIT, [])
        # All were accepted; of several copies of one the highest revision stands when they are folded.
        return self._batch(asked, heard, np.ones(len(asked.ids), np.bool_), entry.number)

    def _known_of(self, asked: Sequence[_Asked]) -> tuple[list[list[Heard]], NotNow | None]:
        """What is known of each request's conversations, and what prevents that the rest is looked up.

        Of a request that has a conversation of which nothing is known then: an empty list.
        """
        try:
            return self._look_up(asked), None
        except NotNow as error:
            problem = error
        except duckdb.Error:
            _log.exception("what is stored of conversations cannot be read")
            problem = NotNow("the store could not be read; come again later")
        return [self.known.all_of(each.conversations) or [] for each in asked], problem

    def _look_up(self, asked: Sequence[_Asked]) -> list[list[Heard]]:
        """What is known of each request's conversations; what is not in memory is looked up.

        Raises NotNow, duckdb.Error.
        """
        missing = list(dict.fromkeys(name for each in asked for name in self.known.missing(each.conversations)))
        with ExitStack() as stack:
            cursor = None
            if missing:
                cursor = stack.enter_context(self._cursor())
                self.known.read(cursor, missing)
            known = [self.known.all_of(each.conversations) or [] for each in asked]
            unknown = [pair for each, heard in zip(asked, known, strict=True) for pair in _find_unknown(each, heard)]
            if unknown:
                self.known.ask(cursor or stack.enter_context(self._cursor()), unknown)
        return known

    def _tell_apart(
        self, asked: _Asked, heard: Sequence[Heard], most: int, learned: list[_Learned]
    ) -> tuple[list[Outcome], Bools]:
        """What becomes of each part of a request, and which of its events are new and stand."""
        known = [each.ids for each in heard]
        places, ids, revisions = asked.place.tolist(), asked.ids, asked.revisions
        stands_now = np.zeros(len(places), np.bool_)
        outcomes: list[Outcome] = []
        end = 0
        for size in asked.request.parts:
            first, end = end, end + size
            new: list[int] = []
            corrected: list[tuple[int, int]] = []
            events = zip(places[first:end], ids[first:end], revisions[first:end], strict=True)
            for row, (place, id_, revision) in enumerate(events, first):
                before = known[place].get(id_)
                if before is None:
                    known[place][id_] = revision
                    new.append(row)
                elif revision > before:
                    known[place][id_] = revision
                    corrected.append((row, before))
            learned.append(_Learned(asked, heard, new, corrected))
            self.known.count([ids[row] for row in new])
            full = set()
            for place, count in Counter([places[row] for row in new]).items():
                heard[place].events += count
                if heard[place].events > most:
                    full.add(place)
            if full:
                self._undo([learned.pop()])
                outcomes.append(InvalidEvents("body", _too_many(asked, heard, first, new, full, most)))
                continue
            # Of several copies of one, each of a higher revision, the last stands.
            rows = [*new, *(row for row, _before in corrected)]
            stand = list({(places[row], ids[row]): row for row in sorted(rows)}.values()) if corrected else new
            stands_now[stand] = True
            outcomes.append(Ingested(len(stand), size - len(stand)))
        return outcomes, stands_now

    def _undo(self, learned: Sequence[_Learned]) -> None:
        for each in reversed(learned):
            places, ids = each.asked.place.tolist(), each.asked.ids
            for row, before in reversed(each.corrected):
                each.heard[places[row]].ids[ids[row]] = before
            for row in each.new:
                heard = each.heard[places[row]]
                del heard.ids[ids[row]]
                heard.events -= 1
            self.known.count([ids[row] for row in each.new], -1)

    def _batch(self, asked: _Asked, heard: Sequence[Heard], new: Bools, number: int) -> Batch:
        """The new events of a request, as they go into the journal and into the tables."""
        place = asked.place[new]
        used, first = np.unique(place, return_index=True)
        # Those that are new are numbered in the order in which they came.
        strangers = [i for i in used[np.argsort(first)].tolist() if heard[i].number < 0]
        conversations: dict[int, Conversation] = {}
        for i, free in zip(strangers, self._directory.number([asked.conversations[i] for i in strangers]), strict=True):
            heard[i].number = free
            conversations[free] = asked.conversations[i]
        mine = [heard[i] for i in used.tolist()]
        for each in mine:
            each.entry = number
        numbers = np.full(len(heard), -1, np.int64)
        numbers[used] = [each.number for each in mine]
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
            {each.number: each.events for each in mine},
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


def _find_unknown(asked: _Asked, heard: Sequence[Heard]) -> list[tuple[Heard, str]]:
    """The events of conversations of which not all ids are here, if theirs are not."""
    if all(each.whole for each in heard):
        return []
    events = ((heard[place], id_) for place, id_ in zip(asked.place.tolist(), asked.ids, strict=True))
    return [(each, id_) for each, id_ in events if not each.whole and id_ not in each.ids]


def _too_many(
    asked: _Asked, heard: Sequence[Heard], first: int, new: Sequence[int], full: set[int], most: int
) -> list[Fault]:
    """What is wrong with a request, of which the first event has this row: of each conversation that would be too large
    the first event for which there is no room, among the new ones.
    """
    faults = []
    left = {place: most - heard[place].events for place in full}
    for row in new:
        place = int(asked.place[row])
        if place not in left:
            continue
        left[place] -= 1
        if left[place] < 0:
            del left[place]
            faults.append(
                Fault(
                    row - first + 1,
                    "conversationId",
                    f"conversation {asked.conversations[place][1]} has no room for event {asked.ids[row]}: a "
                    f"conversation may have {most:,} events (conversation-events); events that it has already may be "
                    "sent again and corrected",
                    "event",
                )
            )
    return faults


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of events as the store has it: places in closed lists, epoch milliseconds."""
    if pa.types.is_dictionary(column.type):
        return pa.chunked_array([chunk.indices for chunk in column.chunks], pa.int8())
    return column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
