"""From the journal into the tables: many entries in one transaction, and in the same one what follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from handletime.crashpoints import crash_point
from handletime.errors import StoreError
from handletime.segments.columns import I64
from handletime.store import derived
from handletime.store.arrow import delete, insert, query, registered
from handletime.store.backlog import Batch, Fold
from handletime.store.derived import differences
from handletime.store.directory import Directory, find, insert_conversations
from handletime.store.events import (
    ANY_NUMBER,
    copies_of,
    groups_of_sizes,
    held_of,
    ids_of,
    of_conversations,
    sizes_of,
)
from handletime.store.moves import FocusMoves, Moved, move_rows, stored_form, write_losses
from handletime.store.removing import remove
from handletime.store.schema import DERIVED, EVENT_ROW
from handletime.store.touched import Touched, Version, conversations_of, touched_by

NOTHING: Final = np.empty(0, np.int64)


class Folded(NamedTuple):
    """The number of the commit, how many conversations were touched, and the accounts whose entries were folded."""

    commit_number: int
    touched: int = 0
    accounts: frozenset[str] = frozenset()


class Standing(NamedTuple):
    """The entries of the journal that stand in the tables: all up to one, and some ahead of others."""

    up_to: int
    ahead: frozenset[int]

    def has(self, entry: int) -> bool:
        """Whether an entry stands in them."""
        return entry <= self.up_to or entry in self.ahead

    def last(self) -> int:
        """The highest number of an entry that does; 0 where there is none."""
        return max(self.up_to, *self.ahead, 0)


class Changed(NamedTuple):
    """The number of the commit, how many conversations were changed, the accounts of these (None: any), and the numbers
    of those that were removed.
    """

    commit_number: int
    conversations: int
    accounts: frozenset[str] | None = None
    removed: I64 = NOTHING


class Writer:
    """Writes to one open store, within transactions that its caller begins and ends. Not for several threads.

    After a transaction that was rolled back it must not be used again: what it remembers would be wrong.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, directory: Directory, part_events: int) -> None:
        self._connection = self.connection = connection
        self._directory, self.part_events = directory, part_events
        self.moves = FocusMoves()
        meta = connection.execute("select commit_number, folded from kept.meta").fetchall()
        self._commit_number, self._folded = (int(number) for number in meta[0])
        self._ahead = {int(number) for (number,) in connection.execute("select entry from kept.ahead").fetchall()}
        accounts = connection.execute("select account, accountId from kept.accounts").fetchall()
        self._accounts: dict[int, str] = {int(account): name for account, name in accounts}

    def folded(self) -> Standing:
        """Which entries of the journal stand in the tables, once the transaction is committed."""
        return Standing(self._folded, frozenset(self._ahead))

    def fold(self, fold: Fold) -> Folded:
        """Stores what entries of the journal bring, and what follows from it."""
        stands = self.folded()
        batches = [batch for batch in fold.batches if not stands.has(batch.number)]
        touched = 0
        if batches:
            crash_point("fold-begun")
            touched = self._store(self._together(batches, fold.touched))
        self._keep_place(fold.up_to, {batch.number for batch in batches})
        return Folded(self.count_commit(), touched, frozenset(batch.entry.account for batch in batches))

    def _together(self, batches: Sequence[Batch], touched: int) -> _Batch:
        """The events of batches in order of arrival; new accounts and conversations are in the tables from here on."""
        for account, name in {(batch.account, batch.entry.account) for batch in batches}:
            if account not in self._accounts:
                self._connection.execute("insert into kept.accounts values (?, ?)", [account, name])
                self._accounts[account] = name
            elif self._accounts[account] != name:
                raise StoreError(f"the number of account {name} is taken by {self._accounts[account]}")
        conversations = {number: each for batch in batches for number, each in batch.conversations.items()}
        insert_conversations(self._connection, conversations)
        in_order = sorted(batches, key=lambda batch: batch.number)
        events = pa.concat_tables([batch.events for batch in in_order]).combine_chunks()
        first = self._directory.arrive(events.num_rows)
        arrivals = np.arange(first, first + events.num_rows)
        events = events.add_column(1, EVENT_ROW.field("arrival"), pa.array(arrivals))
        ids = pa.concat_arrays([batch.ids for batch in in_order])
        return _Batch(events, ids, np.array(sorted(conversations), np.int64), touched)

    def _keep_place(self, up_to: int, folded: set[int]) -> None:
        """Keeps which entries stand in the tables: all up to one, and some ahead of others."""
        ahead = {entry for entry in self._ahead | folded if entry > up_to}
        self._folded = max(self._folded, up_to)
        if ahead != self._ahead:
            self._connection.execute("delete from kept.ahead")
            insert(self._connection, "kept.ahead", pa.table({"entry": pa.array(sorted(ahead), pa.int64())}))
            self._ahead = ahead

    def _store(self, batch: _Batch) -> int:
        """Stores what stands of a batch; gives how many conversations were touched."""
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
        return count

    def _whole(self, batch: _Batch, moved: Moved) -> Touched | None:
        """The conversations that a batch touches, with what is stored of them and what came; None: they are too much
        to be derived at once.
        """
        numbers, ids = conversations_of(batch.events, batch.ids, moved)
        most = self.part_events if len(numbers) > 1 else ANY_NUMBER
        if batch.touched > most:
            return None
        # How many events those have that only lose the focus turns out when they are read.
        held = held_of(self._connection, np.setdiff1d(numbers, batch.new), most)
        if held.events.num_rows + batch.events.num_rows > most:
            return None
        return touched_by(batch.events, held, numbers, ids)

    def _copies(self, batch: _Batch) -> Touched:
        """The events that came, and their stored copies alone: these say what is new."""
        stored = copies_of(
            self._connection, batch.events.filter(~np.isin(batch.events["number"].to_numpy(), batch.new))
        )
        numbers, first = np.unique(batch.events["number"].to_numpy(), return_index=True)
        return touched_by(batch.events, stored, numbers, batch.ids.take(pa.array(first)))

    def _bit_by_bit(self, batch: _Batch, moved: Moved) -> Iterator[Touched]:
        """The touched conversations, some at a time. What one holds should be let go before the next is asked for."""
        numbers, ids = conversations_of(batch.events, batch.ids, moved)
        of = batch.events["number"].to_numpy()
        old = ~np.isin(numbers, batch.new)
        sizes = np.bincount(np.searchsorted(numbers, of), minlength=len(numbers))
        sizes[old] += sizes_of(self._connection, numbers[old])
        for low, high in groups_of_sizes(sizes, self.part_events):
            some = numbers[low:high]
            came = batch.events.filter((of >= some[0]) & (of <= some[-1]))
            # Nothing here holds the last part while the next one is read.
            yield touched_by(came, held_of(self._connection, some[old[low:high]]), some, ids[low:high])

    def _write_events(self, events: pa.Table) -> None:
        number = pa.array(np.full(events.num_rows, self._commit_number + 1))
        insert(self._connection, "kept.events", events.append_column("commit_number", number))

    def _write_moves(self, moves: pa.Table, moved: Moved, outdated: pa.Table) -> None:
        insert(self._connection, "kept.focus_moves", stored_form(moves))
        insert(self._connection, "kept.agents", moved.agents)
        write_losses(self._connection, moved, outdated)

    def _remove_replaced(self, replaced: pa.Table, gone: pa.Table) -> None:
        """Takes out stored events that a correction replaced, with all that only they left (`gone`: their moves)."""
        if not replaced.num_rows:
            return
        for table in ("events", "focus_moves", "losses") if gone.num_rows else ("events",):
            delete(self._connection, f"kept.{table}", replaced.select(["number", "arrival"]))
        crash_point("replaced-removed")
        if gone.num_rows:
            self.moves.drop(self._connection, gone)

    # --- what else changes the store

    def derive_anew(self, numbers: I64, events: pa.Table, ids: pa.Array) -> None:
        """Replaces all that follows from stored events, as if these had just come: the rows, moves and losses of their
        conversations (`numbers`; those without events lose theirs) and the rows of others whose focus they move.

        Events are rows of `EVENT_ROW`, by arrival, with the ids of their conversations.
        """
        for table in ("losses", "focus_moves"):
            delete(self._connection, f"kept.{table}", pa.table({"number": numbers}))
        self.moves.forget()
        moves = move_rows(events, ids)
        moved = self.moves.moved(self._connection, moves)
        touched, touched_ids = conversations_of(events, ids, moved)
        for table in DERIVED:
            delete(self._connection, f"kept.{table}", pa.table({"number": np.union1d(numbers, touched)}))
        crash_point("rows-deleted")
        for low, high in groups_of_sizes(sizes_of(self._connection, touched), self.part_events):
            some = touched[low:high]
            held = held_of(self._connection, some)
            anew = touched_by(EVENT_ROW.empty_table(), held, some, touched_ids[low:high])
            self._write_anew(anew, anew.after(moved.among(some)))
            del held, anew  # Nothing here holds the last part while the next one is read.
        self._write_moves(moves, moved, moved.stored.select(["number", "arrival"]))
        self.moves.forget()

    def bring_up_to_date(self, numbers: I64) -> None:
        """Derives stored conversations anew whose rows are of an older derivation; they are so no longer."""
        for table in DERIVED:
            delete(self._connection, f"kept.{table}", pa.table({"number": numbers}))
        known = ids_of(self._connection, numbers)
        there = np.asarray(known["number"].to_numpy(), np.int64)
        held = held_of(self._connection, there)
        touched = touched_by(EVENT_ROW.empty_table(), held, there, known["conversationId"].combine_chunks())
        self._write_anew(touched, touched.before())
        delete(self._connection, "kept.outdated", pa.table({"number": numbers}))
        crash_point("brought-up-to-date")

    def _write_anew(self, touched: Touched, version: Version) -> None:
        """Writes all rows of conversations that have none, as if nothing of them had been stored before."""
        rows = differences(touched, touched._replace(stored=0).before(), version)
        derived.write(self._connection, rows)

    def remove(self, numbers: I64) -> Changed:
        """Removes conversations, so that no other one's numbers change (rules.md 1, "Removing")."""
        accounts = self.accounts_of(numbers)
        self._directory.arrive(remove(self._connection, numbers, self._directory.next_arrival))
        self.moves.forget()
        return Changed(self.count_commit(), len(numbers), accounts, numbers)

    def forget(self, account: str, conversation: str) -> Changed:
        """Removes one conversation, if it is there."""
        number = self._directory.accounts.get(account)
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

    def accounts_of(self, numbers: I64) -> frozenset[str]:
        """The accounts of conversations."""
        found = of_conversations(self._connection, "select distinct account from kept.conversations", numbers)
        return frozenset(self._accounts[account] for account in found["account"].to_pylist())

    def count_commit(self) -> int:
        """Numbers the transaction."""
        self._commit_number += 1
        new = [self._commit_number, self._directory.next_arrival, self._folded]
        self._connection.execute("update kept.meta set commit_number = ?, arrivals = ?, folded = ?", new)
        return self._commit_number


class _Batch(NamedTuple):
    """Events as rows of `EVENT_ROW`, in order of arrival, the ids of their conversations, the numbers of the new ones,
    and how many events all of them have, more or less.
    """

    events: pa.Table
    ids: pa.Array
    new: I64
    touched: int
