"""Events into the store: many requests in one transaction, and in the same one what follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from handletime.crashpoints import crash_point
from handletime.segments.columns import I64, NEVER, Bools
from handletime.store import derived
from handletime.store.arrow import delete, insert, query, registered
from handletime.store.derived import differences
from handletime.store.directory import Directory, find
from handletime.store.events import copies_of, groups_of_sizes, sizes_of
from handletime.store.moves import FocusMoves, Moved, move_rows, stored_form, write_losses
from handletime.store.opening import StoreSettings
from handletime.store.recent import Held, Recent
from handletime.store.removing import remove
from handletime.store.requests import Brought, Outcome, Request, answers_to, brought_by, left_for_later, refused_among
from handletime.store.schema import DERIVED, EVENT_ROW
from handletime.store.touched import Touched, conversations_of, touched_by

RECENT_EVENTS: Final = 1_000_000
RECENT_BYTES: Final = 256 << 20
"""What is kept of events in memory, so that they need not be read again."""


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
        brought = brought_by(requests, self._connection, self.directory, self.recent)
        later = left_for_later(brought, self.part_events)
        refused = refused_among(self._connection, brought, later, self._conversation_events)
        kept = ~np.isin(brought.request, [*later]) & ~np.isin(brought.part, [*refused])
        new, touched = self._store(self._numbered(brought, kept))
        self._arrivals += len(new)
        accepted = np.zeros(len(kept), np.bool_)
        accepted[kept] = new
        return Written(answers_to(requests, accepted, later, refused), self.count_commit(), touched, later)

    def _numbered(self, brought: Brought, kept: Bools) -> _Batch:
        """The kept events with the numbers of their conversations; new ones get theirs in order of arrival."""
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
            here = moved if whole else moved.among(touched.numbers)
            rows = differences(touched, touched.before(), touched.after(here))
            self._write_events(touched.new_events())
            derived.write(self._connection, rows)
            outdated.append(touched.met_before(here))
            count += len(touched.numbers)
            del touched, rows
        crash_point("events-inserted")
        # Only now: what was read on the way needs the old losses.
        self._write_moves(moves, moved, pa.concat_tables(outdated))
        self._remove_replaced(replaced, gone)
        self.moves.keep(self._connection, moves)
        self.recent.trim()
        return accepted, count

    def _whole(self, batch: _Batch, moved: Moved) -> Touched | None:
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
        numbers, ids = conversations_of(batch.events, batch.ids, moved)
        held = self.recent.of(self._connection, numbers, batch.first_new)
        return touched_by(batch.events, held, numbers, ids)

    def _copies(self, batch: _Batch) -> Touched:
        """The events that came, and their stored copies alone: these say what is new."""
        stored = copies_of(self._connection, batch.events.filter(batch.events["number"].to_numpy() < batch.first_new))
        never = np.full(stored.num_rows, NEVER, np.int64)
        numbers, first = np.unique(batch.events["number"].to_numpy(), return_index=True)
        return touched_by(batch.events, Held(stored, never, never), numbers, batch.ids.take(pa.array(first)))

    def _bit_by_bit(self, batch: _Batch, moved: Moved) -> Iterator[Touched]:
        """The touched conversations, some at a time. What one holds should be let go before the next is asked for."""
        numbers, ids = conversations_of(batch.events, batch.ids, moved)
        of = batch.events["number"].to_numpy()
        old = numbers < batch.first_new
        sizes = np.bincount(np.searchsorted(numbers, of), minlength=len(numbers))
        sizes[old] += self.recent.sizes(self._connection, numbers[old])
        for low, high in groups_of_sizes(sizes, self.part_events):
            some = numbers[low:high]
            came = batch.events.filter((of >= some[0]) & (of <= some[-1]))
            # Nothing here holds the last part while the next one is read.
            yield touched_by(came, self.recent.passing(self._connection, some[old[low:high]]), some, ids[low:high])

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
        for table in ("events", "focus_moves", "losses") if gone.num_rows else ("events",):
            delete(self._connection, f"kept.{table}", replaced.select(["number", "arrival"]))
        crash_point("replaced-removed")
        if gone.num_rows:
            self.moves.drop(self._connection, gone)
        self.recent.forget(np.unique(replaced["number"].to_numpy()))

    # --- what else changes the store

    def derive_anew(self, numbers: I64, events: pa.Table, ids: pa.Array) -> None:
        """Replaces all that follows from stored events, as if these had just come: the rows, moves and losses of their
        conversations (`numbers`; those without events lose theirs) and the rows of others whose focus they move.

        Events are rows of `EVENT_ROW`, by arrival, with the ids of their conversations.
        """
        for table in ("losses", "focus_moves"):
            delete(self._connection, f"kept.{table}", pa.table({"number": numbers}))
        self._forget_recent()
        moves = move_rows(events, ids)
        moved = self.moves.moved(self._connection, moves)
        touched, touched_ids = conversations_of(events, ids, moved)
        for table in DERIVED:
            delete(self._connection, f"kept.{table}", pa.table({"number": np.union1d(numbers, touched)}))
        crash_point("rows-deleted")
        for low, high in groups_of_sizes(sizes_of(self._connection, touched), self.part_events):
            some = touched[low:high]
            held = self.recent.passing(self._connection, some)
            self._write_anew(touched_by(EVENT_ROW.empty_table(), held, some, touched_ids[low:high]), moved.among(some))
            del held  # Nothing here holds the last part while the next one is read.
        self._write_moves(moves, moved, moved.stored.select(["number", "arrival"]))
        self._forget_recent()

    def _write_anew(self, touched: Touched, moved: Moved) -> None:
        """Writes all rows of conversations that have none, as if nothing of them had been stored before."""
        rows = differences(touched, touched._replace(stored=0).before(), touched.after(moved))
        derived.write(self._connection, rows)

    def _forget_recent(self) -> None:
        self.moves.forget()
        self.recent.clear()

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
        """Which of these conversations have a last event that is older than a time in epoch milliseconds."""
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


class _Batch(NamedTuple):
    """Events as rows of `EVENT_ROW`, in order of arrival, the ids of their conversations, the first new number, and
    how many events are stored of these conversations.
    """

    events: pa.Table
    ids: pa.Array
    first_new: int
    stored: int


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of events as the store has it: places in closed lists, epoch milliseconds."""
    if pa.types.is_dictionary(column.type):
        return pa.chunked_array([chunk.indices for chunk in column.chunks], pa.int8())
    return column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
