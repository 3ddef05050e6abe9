"""Events into the store: many requests in one transaction, and in the same one what follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from handletime.crashpoints import crash_point
from handletime.errors import FAULTS_SHOWN, Fault, InvalidEvents
from handletime.events.model import EVENTS
from handletime.segments.columns import I64, NEVER, Bools, Columns, columns_of_codes
from handletime.segments.order import Ordered, order_numbered
from handletime.store import derived
from handletime.store.arrow import change, insert, query, registered
from handletime.store.derived import Version, differences
from handletime.store.directory import Conversation, Directory, find
from handletime.store.moves import FocusMoves, Moved, move_rows, stored_form, write_losses
from handletime.store.opening import StoreSettings
from handletime.store.recent import Held, Recent, groups_of_sizes
from handletime.store.removing import remove
from handletime.store.schema import EVENT_ROW

RECENT_EVENTS: Final = 1_000_000
RECENT_BYTES: Final = 256 << 20
"""So much is kept in memory, so that it need not be read again."""


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


class Written(NamedTuple):
    """What became of requests that were written together, the number of their commit, the conversations touched.

    `later` are those that were not written, by place, and how many events each of them touches: they have no answer.
    """

    answers: list[Outcome]
    commit_number: int
    touched: int
    later: Mapping[int, int] = {}


class Removed(NamedTuple):
    """What was removed, and the number of the commit."""

    conversations: int
    commit_number: int


class Writer:
    """Writes to one open store, within transactions that its caller begins and ends. Not for several threads.

    After a transaction that was rolled back it must not be used again: what it remembers would be wrong.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, settings: StoreSettings) -> None:
        self._connection = self.connection = connection
        self._conversation_events, self.part_events = settings.conversation_events, settings.part_events
        self.directory = Directory(connection)
        self.moves = FocusMoves()
        self.recent = Recent(RECENT_EVENTS, RECENT_BYTES)
        meta = connection.execute("select commit_number, arrivals from kept.meta").fetchall()
        self._commit_number, self._arrivals = (int(number) for number in meta[0])

    def write(self, requests: Sequence[Request]) -> Written:
        """Stores what is new in the requests, and what follows from it.

        Of copies of an event the highest revision stands, of several of it the first (rules.md 1, "Copies"). Where
        the requests together touch more than can be derived at once, some are left for later, but never all.
        """
        brought = self._brought(requests)
        later = self._later(brought)
        refused = self._refused(brought, later)
        kept = ~np.isin(brought.request, [*later]) & ~np.isin(brought.part, [*refused])
        batch = self._numbered(brought, kept)
        new, touched = self._store(batch)
        self._arrivals += len(new)
        accepted = np.zeros(len(kept), np.bool_)
        accepted[kept] = new
        ends = np.cumsum([0, *(size for request in requests for size in request.parts)]).tolist()
        of = [place for place, request in enumerate(requests) for _size in request.parts]
        answers: list[Outcome] = []
        for part, (low, high) in enumerate(pairwise(ends)):
            count = int(accepted[low:high].sum())
            if of[part] not in later:
                answers.append(refused.get(part) or Ingested(count, high - low - count))
        return Written(answers, self.count_commit(), touched, later)

    def remove(self, numbers: I64) -> Removed:
        """Removes conversations, so that no other one's numbers change (rules.md 1, "Removing")."""
        self._arrivals += remove(self._connection, numbers, self._arrivals)
        self.directory.forget(numbers.tolist())
        self.moves.forget()
        self.recent.forget(numbers)
        return Removed(len(numbers), self.count_commit())

    def forget(self, account: str, conversation: str) -> Removed:
        """Removes one conversation, if it is there."""
        number = self.directory.account(account)
        found = find(self._connection, [(number, conversation)]) if number is not None else {}
        return self.remove(np.array(list(found.values()), np.int64))

    def last_events_before(self, time: int, numbers: I64) -> I64:
        """Those of these conversations whose last event is older than a time in epoch milliseconds."""
        with registered(self._connection, asked=pa.table({"number": numbers})):
            found = query(
                self._connection,
                """select number from kept.events where number in (select number from asked)
                group by number having max(time) < $time""",
                {"time": time},
            )
        return np.asarray(found["number"].to_numpy(), np.int64)

    def count_commit(self) -> int:
        """Numbers the transaction."""
        self._commit_number += 1
        new = [self._commit_number, self._arrivals]
        self._connection.execute("update kept.meta set commit_number = ?, arrivals = ?", new)
        return self._commit_number

    # --- what may be stored, and now

    def _brought(self, requests: Sequence[Request]) -> _Brought:
        """All events of the requests, in order of arrival, and what is stored of their conversations."""
        accounts = [self.directory.number_account(self._connection, request.account) for request in requests]
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
        numbers = np.array(self.directory.known(self._connection, wanted), np.int64)
        stored = np.zeros(len(numbers), np.int64)
        stored[numbers >= 0] = self.recent.sizes(self._connection, numbers[numbers >= 0])
        return _Brought(
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

    def _later(self, brought: _Brought) -> dict[int, int]:
        """The requests that are left for later, and how many events each touches.

        What a request touches, not what it brings, decides which go together; those of an account stay in their order.
        """
        if len(brought.place) + int(brought.stored.sum()) <= self.part_events:
            return {}
        later: dict[int, int] = {}
        waiting: set[int] = set()
        taken = np.zeros(len(brought.wanted), np.bool_)
        room = self.part_events
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

    def _refused(self, brought: _Brought, later: Mapping[int, int]) -> dict[int, InvalidEvents]:
        """The parts of requests that bring a conversation more new events than it may have, and what is wrong."""
        fuller = brought.stored + np.bincount(brought.place, minlength=len(brought.wanted))
        full = np.flatnonzero(fuller > self._conversation_events)
        if not len(full):
            return {}
        rows = np.flatnonzero(np.isin(brought.place, full) & ~np.isin(brought.request, [*later]))
        there = self._stored_among(brought, rows)
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
                if events[place] + len(new[place]) > self._conversation_events:
                    faults[place] = self._too_many(brought.wanted[place][1], row - first + 1)
            if faults:
                shown = list(faults.values())
                refused[part] = InvalidEvents("body", shown[:FAULTS_SHOWN], more=len(shown) > FAULTS_SHOWN)
                continue
            for place, ids in new.items():
                events[place] += len(ids)
                there.update((place, id_) for id_ in ids)
        return refused

    def _too_many(self, conversation: str, number: int) -> Fault:
        most = f"{self._conversation_events:,}"
        return Fault(
            number,
            "conversationId",
            f"conversation {conversation} has no room for this event: a conversation may have {most} events "
            "(--conversation-events); events that it has already may be sent again and corrected",
            "event",
        )

    def _stored_among(self, brought: _Brought, rows: I64) -> set[tuple[int, str]]:
        """The places of conversations and the ids of those events in these rows that are stored."""
        numbers = brought.numbers[brought.place[rows]]
        asked = pa.table({"number": numbers, "eventId": brought.events["eventId"].take(rows)})
        with registered(self._connection, asked=asked.filter(numbers >= 0)):
            found = query(self._connection, _STORED_AMONG)
        places = {int(number): place for place, number in enumerate(brought.numbers.tolist())}
        return {
            (places[number], id_)
            for number, id_ in zip(found["number"].to_pylist(), found["eventId"].to_pylist(), strict=True)
        }

    def _numbered(self, brought: _Brought, kept: Bools) -> _Batch:
        """Those events that are kept, by number; new conversations are numbered in order of arrival."""
        events, ids, place, account = brought.events, brought.ids, brought.place, brought.account
        if not kept.all():
            events, ids, place, account = events.filter(kept), ids.filter(kept), place[kept], account[kept]
        first_new = self.directory.first_free
        numbers = brought.numbers.copy()
        used = np.zeros(len(numbers), np.bool_)
        used[place] = True
        new = np.flatnonzero((numbers < 0) & used)
        numbers[new] = self.directory.add(self._connection, [brought.wanted[i] for i in new.tolist()])
        columns = {
            "number": numbers[place],
            "arrival": np.arange(self._arrivals, self._arrivals + len(account)),
            "account": account,
            **{name: _plain(events.column(name)) for name in EVENT_ROW.names[3:]},
        }
        return _Batch(pa.table(columns, EVENT_ROW).combine_chunks(), ids, first_new, int(brought.stored[used].sum()))

    # --- events and what follows from them

    def _store(self, batch: _Batch) -> tuple[Bools, int]:
        """Stores what is new of a batch; says which rows that are, and how many conversations were touched."""
        if not batch.events.num_rows:
            return np.empty(0, np.bool_), 0
        moves = move_rows(batch.events, batch.ids)
        moved = self.moves.moved(self._connection, moves)
        whole = self._whole(batch, moved)
        copies = whole or self._copies(batch)
        replaced = copies.replaced()
        gone = move_rows(replaced, copies.ids_of(replaced))
        doubles = ~copies.is_new(moves["arrival"].to_numpy())
        if doubles.any() or gone.num_rows:
            moves = moves.filter(~doubles)
            moved = self.moves.moved(self._connection, moves, gone)
        if gone.num_rows and whole:
            # What lost the focus to them may be in conversations that nothing else touches. Without doubles alone, no
            # other conversation is touched than with them, at most fewer.
            whole = self._whole(batch, moved)
        accepted = copies.is_new(batch.events["arrival"].to_numpy())
        outdated, count = [], 0
        for touched in [whole] if whole else self._bit_by_bit(batch, moved):
            here = moved if whole else moved.among(touched.source.numbers)
            rows = differences(touched.source, touched.before(), touched.after(here))
            self._write_events(touched.new_events())
            derived.write(self._connection, rows)
            outdated.append(touched.met_before(here))
            count += len(touched.source.numbers)
            del touched, rows
        crash_point("events-inserted")
        # Only now: what was read on the way has the losses of before.
        self._write_moves(moves, moved, pa.concat_tables(outdated))
        self._remove_replaced(replaced, gone)
        self.moves.keep(self._connection, moves)
        self.recent.trim()
        return accepted, count

    def _whole(self, batch: _Batch, moved: Moved) -> _Touched | None:
        """The conversations that a batch touches, with what is stored of them and what came; None: they are too much
        to be derived at once.
        """
        known = batch.events["number"].to_numpy()
        others = np.setdiff1d(moved.stored["number"].to_numpy(), known)
        events = batch.stored + batch.events.num_rows
        if len(others):
            events += int(self.recent.sizes(self._connection, others).sum())
        if events > self.part_events and len(np.unique(known)) + len(others) > 1:
            return None
        numbers, ids = _conversations(batch, moved)
        held = self.recent.of(self._connection, numbers, batch.first_new)
        return _touched(numbers, ids, held, batch.events)

    def _copies(self, batch: _Batch) -> _Touched:
        """The events that came, and of what is stored only the copies of them: these say what is new."""
        asked = batch.events.select(["number", "eventId"]).filter(batch.events["number"].to_numpy() < batch.first_new)
        with registered(self._connection, asked=asked):
            arrivals = query(self._connection, _COPIES)
        with registered(self._connection, asked=arrivals):
            stored = query(self._connection, _OF_ARRIVALS).cast(EVENT_ROW).combine_chunks().sort_by("arrival")
        never = np.full(stored.num_rows, NEVER, np.int64)
        numbers, first = np.unique(batch.events["number"].to_numpy(), return_index=True)
        return _touched(numbers, batch.ids.take(pa.array(first)), Held(stored, never, never), batch.events)

    def _bit_by_bit(self, batch: _Batch, moved: Moved) -> Iterator[_Touched]:
        """The touched conversations, some at a time. What one holds should be let go before the next is asked for."""
        numbers, ids = _conversations(batch, moved)
        of = batch.events["number"].to_numpy()
        old = numbers < batch.first_new
        sizes = np.bincount(np.searchsorted(numbers, of), minlength=len(numbers))
        sizes[old] += self.recent.sizes(self._connection, numbers[old])
        for low, high in groups_of_sizes(sizes, self.part_events):
            some = numbers[low:high]
            came = batch.events.filter((of >= some[0]) & (of <= some[-1]))
            # Nothing here holds the last part while the next one is read.
            yield _touched(some, ids[low:high], self.recent.passing(self._connection, some[old[low:high]]), came)

    def _write_events(self, events: pa.Table) -> None:
        number = pa.array(np.full(events.num_rows, self._commit_number + 1))
        insert(self._connection, "kept.events", events.append_column("commit_number", number))
        self.recent.add(events)

    def _write_moves(self, moves: pa.Table, moved: Moved, outdated: pa.Table) -> None:
        insert(self._connection, "kept.focus_moves", stored_form(moves))
        insert(self._connection, "kept.agents", moved.agents)
        write_losses(self._connection, moved, outdated)
        for changed in (moved.stored, moved.new):
            self.recent.lose(*(changed[name].to_numpy() for name in ("arrival", "lost_time", "lost_sequence")))

    def _remove_replaced(self, replaced: pa.Table, gone: pa.Table) -> None:
        """Takes out stored events that a correction replaced, with all that only they left (`gone`: their moves)."""
        if not replaced.num_rows:
            return
        with registered(self._connection, replaced=replaced.select(["number", "arrival"])):
            for table in ("events", "focus_moves", "losses") if gone.num_rows else ("events",):
                change(
                    self._connection,
                    f"delete from kept.{table} t using replaced "  # noqa: S608
                    "where t.number = replaced.number and t.arrival = replaced.arrival",
                )
        crash_point("replaced-removed")
        if gone.num_rows:
            self.moves.drop(self._connection, gone)
        self.recent.forget(np.unique(replaced["number"].to_numpy()))


class _Brought(NamedTuple):
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


class _Batch(NamedTuple):
    """Events as rows of `EVENT_ROW`, in order of arrival, the ids of their conversations, the first new number, and
    how many events are stored of these conversations.
    """

    events: pa.Table
    ids: pa.Array
    first_new: int
    stored: int


class _Touched(NamedTuple):
    """The touched conversations: what is stored of them and what came, by arrival; each event once in `ordered`."""

    source: derived.Touched
    columns: Columns
    ordered: Ordered
    stored: int

    def is_new(self, arrivals: I64) -> Bools:
        """Whether the batch's events of these arrivals are none that came before."""
        there = np.zeros(self.source.events.num_rows, np.bool_)
        there[self.ordered.rows] = True
        return there[self._places(arrivals)]

    def new_events(self) -> pa.Table:
        """The events that came and stand."""
        rows = self.ordered.rows[self.ordered.rows >= self.stored]
        return self.source.events.take(np.sort(rows))

    def replaced(self) -> pa.Table:
        """The stored events that a correction among what came replaces."""
        stands = np.zeros(self.stored, np.bool_)
        stands[self.ordered.rows[self.ordered.rows < self.stored]] = True
        return self.source.events.take(np.flatnonzero(~stands))

    def ids_of(self, events: pa.Table) -> pa.Array:
        """The ids of the events' conversations, which are among the touched ones."""
        return self.source.ids.take(pa.array(np.searchsorted(self.source.numbers, events["number"].to_numpy())))

    def before(self) -> Version:
        """Without what came."""
        keep = self.ordered.rows < self.stored
        if np.count_nonzero(keep) < self.stored:
            numbers = self.source.events["number"].to_numpy()
            return Version(self.columns, order_numbered(self.columns, numbers, self.stored))
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep)])[self.ordered.starts]
        stored = self.ordered._replace(rows=self.ordered.rows[keep], starts=starts, records=self.ordered.records[keep])
        return Version(self.columns, stored)

    def after(self, moved: Moved) -> Version:
        """With it."""
        lost_time, lost_sequence = self.columns.lost_time.copy(), self.columns.lost_sequence.copy()
        for changed in (moved.stored, moved.new):
            places = self._places(changed["arrival"].to_numpy())
            lost_time[places] = changed["lost_time"].to_numpy()
            lost_sequence[places] = changed["lost_sequence"].to_numpy()
        return Version(self.columns._replace(lost_time=lost_time, lost_sequence=lost_sequence), self.ordered)

    def met_before(self, moved: Moved) -> pa.Table:
        """Those of the stored `focused` that met a loss and now meet another, or none."""
        stored = moved.stored.select(["number", "arrival"])
        return stored.filter(self.columns.lost_time[self._places(stored["arrival"].to_numpy())] != NEVER)

    def _places(self, arrivals: I64) -> I64:
        return np.searchsorted(self.source.events["arrival"].to_numpy(), arrivals)


def _touched(numbers: I64, ids: pa.Array, held: Held, came: pa.Table) -> _Touched:
    """Conversations by their ascending numbers, and their ids, with what is stored of them and what came."""
    events = pa.concat_tables([held.events, came]).combine_chunks()
    never = np.full(came.num_rows, NEVER, np.int64)
    columns = columns_of_codes(events)._replace(
        lost_time=np.concatenate([held.lost_time, never]), lost_sequence=np.concatenate([held.lost_sequence, never])
    )
    ordered = order_numbered(columns, events["number"].to_numpy())
    return _Touched(derived.Touched(events, numbers, ids), columns, ordered, held.events.num_rows)


def _conversations(batch: _Batch, moved: Moved) -> tuple[I64, pa.Array]:
    """The numbers of all conversations that a batch touches, ascending, and their ids."""
    numbers, first = np.unique(
        np.concatenate([batch.events["number"].to_numpy(), moved.stored["number"].to_numpy()]), return_index=True
    )
    return numbers, pa.concat_arrays([batch.ids, moved.stored["conversationId"].combine_chunks()]).take(pa.array(first))


def _runs(values: I64) -> list[I64]:
    """The places of equal values, which stand together."""
    runs = np.split(np.arange(len(values)), np.flatnonzero(np.diff(values)) + 1)
    return runs if len(values) else []


_STORED_AMONG: Final = "select number, eventId from kept.events semi join asked using (number, eventId)"
_COPIES: Final = "select arrival from kept.events semi join asked using (number, eventId)"
_OF_ARRIVALS: Final = (
    f"select {', '.join(EVENT_ROW.names)} from kept.events where arrival in (select arrival from asked)"  # noqa: S608
)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of events as the store has it: places in closed lists, epoch milliseconds."""
    if pa.types.is_dictionary(column.type):
        return pa.chunked_array([chunk.indices for chunk in column.chunks], pa.int8())
    return column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
