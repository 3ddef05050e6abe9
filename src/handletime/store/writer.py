"""Events into the store: many requests in one transaction, and in the same one what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from handletime.crashpoints import crash_point
from handletime.segments.columns import I64, NEVER, Bools, Columns, columns_of_codes
from handletime.segments.order import Ordered, order_numbered
from handletime.store import derived
from handletime.store.derived import Version, differences
from handletime.store.directory import Conversation, Directory, find
from handletime.store.moves import FocusMoves, Moved, move_rows, stored_form, write_losses
from handletime.store.recent import Recent
from handletime.store.removing import remove
from handletime.store.schema import EVENT_ROW
from handletime.store.tables import change, insert, query, registered

RECENT_EVENTS: Final = 1_000_000


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


class Written(NamedTuple):
    """What became of requests that were written together, the number of their commit, the conversations touched."""

    answers: list[Ingested]
    commit_number: int
    touched: int


class Removed(NamedTuple):
    """What was removed, and the number of the commit."""

    conversations: int
    commit_number: int


class Writer:
    """Writes to one open store, within transactions that its caller begins and ends. Not for several threads.

    After a transaction that was rolled back it must not be used again: what it remembers would be wrong.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, recent_events: int = RECENT_EVENTS) -> None:
        """`recent_events` are kept in memory, so that they need not be read again."""
        self._connection = self.connection = connection
        self.directory = Directory(connection)
        self.moves = FocusMoves(connection)
        self.recent = Recent(recent_events)
        meta = connection.execute("select commit_number, arrivals from kept.meta").fetchall()
        self._commit_number, self._arrivals = (int(number) for number in meta[0])

    def write(self, requests: Sequence[Request]) -> Written:
        """Stores what is new in the requests, and what follows from it.

        Of copies of an event the highest revision stands, of several of it the first (rules.md 1, "Copies").
        """
        batch = self._numbered(requests)
        accepted, touched = self._store(batch)
        self._arrivals += len(accepted)
        ends = np.cumsum([0, *(size for request in requests for size in request.parts)]).tolist()
        counts = [int(accepted[low:high].sum()) for low, high in pairwise(ends)]
        answers = [
            Ingested(count, high - low - count) for count, (low, high) in zip(counts, pairwise(ends), strict=True)
        ]
        return Written(answers, self.count_commit(), touched)

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

    # --- numbers for names

    def _numbered(self, requests: Sequence[Request]) -> _Batch:
        """All events of the requests, in order of arrival."""
        requests = [request for request in requests if request.events.num_rows]
        if not requests:
            return _Batch(EVENT_ROW.empty_table(), pa.array([], pa.string()), 0)
        accounts = [self.directory.number_account(self._connection, request.account) for request in requests]
        events = pa.concat_tables([request.events for request in requests])
        account = np.repeat(np.array(accounts, np.int32), [request.events.num_rows for request in requests])
        ids = events.column("conversationId").combine_chunks()
        first_new = self.directory.first_free
        columns = {
            "number": self._numbers(ids, account),
            "arrival": np.arange(self._arrivals, self._arrivals + len(account)),
            "account": account,
            **{name: _plain(events.column(name)) for name in EVENT_ROW.names[3:]},
        }
        return _Batch(pa.table(columns, EVENT_ROW).combine_chunks(), ids, first_new)

    def _numbers(self, ids: pa.Array, account: npt.NDArray[np.int32]) -> I64:
        """The number of each row's conversation; new ones are numbered in order of arrival."""
        encoded = ids.dictionary_encode()
        names = encoded.dictionary.to_pylist()
        pairs = account.astype(np.int64) << 32 | encoded.indices.to_numpy()
        different, first, place = np.unique(pairs, return_index=True, return_inverse=True)
        by_arrival = np.argsort(first)
        wanted: list[Conversation] = [
            (pair >> 32, names[pair & 0xFFFF_FFFF]) for pair in different[by_arrival].tolist()
        ]
        numbers = np.empty(len(different), np.int64)
        numbers[by_arrival] = self.directory.number(self._connection, wanted)
        return numbers[place]

    # --- events and what follows from them

    def _store(self, batch: _Batch) -> tuple[Bools, int]:
        """Stores what is new of a batch; says which rows that are, and how many conversations were touched."""
        if not batch.events.num_rows:
            return np.empty(0, np.bool_), 0
        moves = move_rows(batch.events, batch.ids)
        moved = self.moves.moved(self._connection, moves)
        touched = self._touched(batch, moved)
        replaced = touched.replaced()
        gone = move_rows(replaced, touched.ids_of(replaced))
        doubles = ~touched.is_new(moves["arrival"].to_numpy())
        if doubles.any() or gone.num_rows:
            moves = moves.filter(~doubles)
            moved = self.moves.moved(self._connection, moves, gone)
        if gone.num_rows:
            # What lost the focus to them may be in conversations that nothing else touches. Without doubles alone, no
            # other conversation is touched than with them, at most fewer.
            touched = self._touched(batch, moved)
        rows = differences(touched.source, touched.before(), touched.after(moved))
        accepted = touched.is_new(batch.events["arrival"].to_numpy())
        self._write_events(batch.events.filter(accepted))
        crash_point("events-inserted")
        self._write_moves(moves, moved, touched.met_before(moved))
        self._remove_replaced(replaced, gone)
        derived.write(self._connection, rows)
        self.moves.keep(moves)
        self.recent.trim()
        return accepted, len(touched.source.numbers)

    def _touched(self, batch: _Batch, moved: Moved) -> _Touched:
        """The conversations that a batch touches, with what is stored of them and what came."""
        numbers, first = np.unique(
            np.concatenate([batch.events["number"].to_numpy(), moved.stored["number"].to_numpy()]), return_index=True
        )
        ids = pa.concat_arrays([batch.ids, moved.stored["conversationId"].combine_chunks()]).take(pa.array(first))
        held = self.recent.of(self._connection, numbers, batch.first_new)
        events = pa.concat_tables([held.events, batch.events]).combine_chunks()
        never = np.full(batch.events.num_rows, NEVER, np.int64)
        columns = columns_of_codes(events)._replace(
            lost_time=np.concatenate([held.lost_time, never]), lost_sequence=np.concatenate([held.lost_sequence, never])
        )
        ordered = order_numbered(columns, events["number"].to_numpy())
        return _Touched(derived.Touched(events, numbers, ids), columns, ordered, held.events.num_rows)

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


class _Batch(NamedTuple):
    """Events as rows of `EVENT_ROW`, in order of arrival, the ids of their conversations, and the first new number."""

    events: pa.Table
    ids: pa.Array
    first_new: int


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


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of events as the store has it: places in closed lists, epoch milliseconds."""
    if pa.types.is_dictionary(column.type):
        return pa.chunked_array([chunk.indices for chunk in column.chunks], pa.int8())
    return column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
