"""What is known of the conversations that were heard of last, in memory: new events are told from copies without a
look into the file.

An event that has come before is known by its id. Of a conversation either all ids are here, or only those that were
asked for: then the others are looked up in the tables. What stands in the journal alone is always here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from sys import getsizeof
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from handletime.store.arrow import query, registered
from handletime.store.directory import Conversation, Directory, find
from handletime.store.events import of_conversations, sizes_of

WHOLE_EVENTS: Final = 2_000
"""The most events of a conversation all of whose ids are read when it is heard of again."""
WHOLE_AT_ONCE: Final = 300_000
"""The most ids that are read so in one go."""
ID_BYTES: Final = 120
"""What an id takes besides itself: its places in a dictionary, more or less."""
CONVERSATION_BYTES: Final = 600
"""What a conversation takes without its ids."""

Cursor = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]


@dataclass(slots=True, eq=False)
class Heard:
    """What is known of one conversation.

    `number` is -1 before its first event. `ids` are events with the revisions of the copies that stand; all of them
    where it is `whole`. `events` is how many there are, `entry` the journal's last entry with one.
    """

    number: int = -1
    ids: dict[str, int] = field(default_factory=dict)
    events: int = 0
    whole: bool = True
    entry: int = 0

    def is_cut(self) -> bool:
        """Whether not all ids are here, though they are few."""
        return not self.whole and self.events <= WHOLE_EVENTS


class Known:
    """The conversations that were heard of last, by account and id. Not for several threads."""

    def __init__(self, directory: Directory, most_bytes: int) -> None:
        self._directory, self._most_bytes = directory, most_bytes
        self._heard: OrderedDict[Conversation, Heard] = OrderedDict()
        self._bytes = 0

    def missing(self, wanted: Sequence[Conversation]) -> list[Conversation]:
        """Those of these conversations that have to be looked up: of which nothing is here that may be stored, and
        small ones of which not all ids are. What is certainly new is here from now on.
        """
        found = list(map(self._heard.get, wanted))
        if all(found) and all(map(_IS_WHOLE, found)):
            return []
        missing = [each for each, heard in zip(wanted, found, strict=True) if heard is not None and heard.is_cut()]
        strangers = [each for each, heard in zip(wanted, found, strict=True) if heard is None]
        stored = self._directory.may_be_stored(strangers).tolist()
        for conversation, may_be in zip(strangers, stored, strict=True):
            if may_be:
                missing.append(conversation)
            else:
                self._put(conversation, Heard())
        return missing

    def read(self, cursor: duckdb.DuckDBPyConnection, missing: Sequence[Conversation]) -> None:
        """Looks up conversations in the tables: all ids of those that are small, as many as are read in one go."""
        found = find(cursor, missing)
        stored = np.array(list(found.values()), np.int64)
        # Mostly few: they are read without being counted first.
        ids = of_conversations(cursor, _IDS, stored, f"limit {WHOLE_AT_ONCE + 1}")
        fit = ids.num_rows <= WHOLE_AT_ONCE
        counted, counts = np.unique(ids["number"], return_counts=True) if fit else (stored, sizes_of(cursor, stored))
        sizes: dict[int, int] = dict(zip(counted.tolist(), counts.tolist(), strict=True))
        whole: dict[int, Heard] = {}
        left = WHOLE_AT_ONCE
        for conversation in missing:
            if conversation not in self._heard:
                number = found.get(conversation, -1)
                self._put(conversation, Heard(number, {}, sizes.get(number, 0), whole=number < 0))
            heard = self._heard[conversation]
            size = sizes.get(heard.number, 0)
            if heard.is_cut() and size <= left:
                whole[heard.number] = heard
                left -= size
        if whole:
            self._learn(whole, ids if fit else of_conversations(cursor, _IDS, np.array(list(whole), np.int64)))
        for heard in whole.values():
            heard.whole = True

    def begin(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Looks up the open conversations, those opened last first, as many as are read in one go."""
        rows = cursor.execute(_OPEN, [self._most_bytes // (4 * CONVERSATION_BYTES)]).fetchall()
        if missing := self.missing([(account, id_) for account, id_ in rows]):
            self.read(cursor, missing)

    def ask(self, cursor: duckdb.DuckDBPyConnection, unknown: Sequence[tuple[Heard, str]]) -> None:
        """Looks up events of conversations of which not all ids are here."""
        numbers, ids = [heard.number for heard, _id in unknown], [id_ for _heard, id_ in unknown]
        asked = pa.table({"number": pa.array(numbers, pa.int64()), "eventId": pa.array(ids, pa.string())})
        with registered(cursor, asked=asked):
            self._learn({heard.number: heard for heard, _id in unknown}, query(cursor, _ASKED))

    def all_of(self, conversations: Sequence[Conversation]) -> list[Heard] | None:
        """What is known of conversations; None where one is not here."""
        touch, heard = self._heard.move_to_end, self._heard
        try:
            for conversation in conversations:
                touch(conversation)
        except KeyError:
            return None
        return [heard[conversation] for conversation in conversations]

    def count(self, ids: Collection[str], times: int = 1) -> None:
        """Counts the memory of ids that were added to what is known (`times` -1: taken away)."""
        self._bytes += times * _bytes_of(ids)

    def trim(self, first_unfolded: int) -> None:
        """Makes room where there is too much: what was heard of longest ago goes, unless it has events of an entry of
        the journal from this number on.
        """
        if self._bytes <= self._most_bytes:
            return
        gone, room = [], self._bytes - self._most_bytes * 19 // 20
        for conversation, heard in self._heard.items():
            if room <= 0:
                break
            if heard.entry < first_unfolded:
                gone.append(conversation)
                room -= CONVERSATION_BYTES + _bytes_of(heard.ids)
        for conversation in gone:
            self._drop(conversation)

    def forget(self, numbers: Sequence[int]) -> None:
        """Drops conversations."""
        gone = set(numbers)
        for conversation in [each for each, heard in self._heard.items() if heard.number in gone]:
            self._drop(conversation)

    def clear(self) -> None:
        """Drops everything."""
        self._heard.clear()
        self._bytes = 0

    def _put(self, conversation: Conversation, heard: Heard) -> None:
        self._heard[conversation] = heard
        self._bytes += CONVERSATION_BYTES

    def _drop(self, conversation: Conversation) -> None:
        heard = self._heard.pop(conversation)
        self._bytes -= CONVERSATION_BYTES + _bytes_of(heard.ids)

    def _learn(self, heard: Mapping[int, Heard], rows: pa.Table) -> None:
        """Adds events of these conversations; passes over those of others."""
        rows = rows.sort_by("number")
        numbers, first = np.unique(rows["number"].to_numpy(), return_index=True)
        ids, revisions = (rows[name].to_numpy().tolist() for name in ("eventId", "revision"))
        for number, (low, high) in zip(numbers.tolist(), pairwise([*first.tolist(), len(ids)]), strict=True):
            if number not in heard:
                continue
            mine = heard[number].ids
            # What is here already may be newer: a correction in the journal.
            read = {
                id_: revision
                for id_, revision in zip(ids[low:high], revisions[low:high], strict=True)
                if id_ not in mine
            }
            mine.update(read)
            self.count(read)


def _bytes_of(ids: Collection[str]) -> int:
    return sum(map(getsizeof, ids)) + len(ids) * ID_BYTES


_IS_WHOLE: Final = attrgetter("whole")
_OPEN: Final = """
    select account, conversationId from kept.open_conversations join kept.conversations using (number, account)
    order by start desc limit ?"""
_IDS: Final = "select number, eventId, revision from kept.events"
_ASKED: Final = "select number, eventId, revision from kept.events semi join asked using (number, eventId)"
