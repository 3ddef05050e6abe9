"""The journal: events that were acknowledged and do not yet stand in the store's tables, in an SQLite file of its own.

What `append` has written is durable: one sync for all entries that are appended together. An entry is what came
together for one account, under a number that counts up. Every part of one has a checksum, which SQLite lacks.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

import pyarrow as pa

from handletime.closing import Closing
from handletime.crashpoints import crash_point
from handletime.errors import StoreError
from handletime.sqlite import Place, make, open_existing, sqlite_errors, transaction
from handletime.store.schema import EVENT_ROW

FILE: Final = "journal.sqlite"
ROW: Final = pa.schema([("conversationId", pa.string()), *list(EVENT_ROW)[3:]])
"""An event in the journal: as the store has it, with its conversation's id in place of the store's own numbers."""
PART_ROWS: Final = 50_000
"""The most events of one part, so that none is too large for SQLite."""
_PARTS: Final = 1 << 16
"""The most parts of an entry: their ids are the entry's number times this, and their place."""
_VERSION: Final = 1
_SCHEMA: Final = """create table parts (
    id integer primary key, parts integer not null, account text not null, events blob not null, sha256 blob not null)
"""


class Entry(NamedTuple):
    """What came together for one account: rows of `ROW`, in order of arrival."""

    number: int
    account: str
    events: pa.Table


class Journal(Closing):
    """The open journal of a folder. Any thread may use it.

    Whatever is done raises StoreError where the file is missing, damaged, replaced or of a newer version, and NotNow
    where the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        """Opens the journal, or makes an empty one. Raises OSError too."""
        self.path = folder / FILE
        with sqlite_errors(self.path):
            make(self.path, "journal", _VERSION, _SCHEMA)
            self._durable, self._quick = open_existing(self.path, "FULL"), open_existing(self.path, "NORMAL")
        self._place = Place(self.path)
        self._lock = Lock()

    def close(self) -> None:
        """Closes the file; what stands in it stays."""
        with self._lock:
            self._durable.close()
            self._quick.close()

    def append(self, entries: Iterable[Entry]) -> None:
        """Adds entries, all of them or none; they are durable when this returns.

        What stands there under their numbers and later ones was never acknowledged, and goes.
        """
        rows = [row for entry in entries for row in _rows(entry)]
        with self._lock, sqlite_errors(self.path), transaction(self._durable, "BEGIN IMMEDIATE") as db:
            self._place.check()
            db.execute("delete from parts where id >= ?", (rows[0][0],))
            db.executemany("insert into parts values (?, ?, ?, ?, ?)", rows)
        crash_point("journal-appended")

    def drop(self, up_to: int, ahead: Iterable[int] = ()) -> None:
        """Removes the entries that stand in the tables: all up to one, and some ahead of others. A power cut may bring
        them back.
        """
        ranges = [(0, up_to), *((entry, entry) for entry in ahead)]
        parts = [(first * _PARTS, (last + 1) * _PARTS) for first, last in ranges]
        with self._lock, sqlite_errors(self.path), transaction(self._quick, "BEGIN IMMEDIATE") as db:
            removed = db.executemany("delete from parts where id >= ? and id < ?", parts).rowcount
        if removed:
            crash_point("journal-emptied")

    def wipe(self) -> None:
        """Makes the file anew from what stands in it: nothing of what was removed is left, nor in its log."""
        with self._lock, sqlite_errors(self.path):
            self._durable.execute("vacuum")
            self._durable.execute("pragma wal_checkpoint(truncate)").fetchall()

    def numbers(self) -> list[int]:
        """The numbers of all entries, ascending."""
        with self._lock, sqlite_errors(self.path):
            found = self._quick.execute("select distinct id / ? from parts order by 1", (_PARTS,)).fetchall()
        return [number for (number,) in found]

    def entries(self) -> Iterator[Entry]:
        """All entries, by number. Nothing else may be done with the journal until all are taken.

        Raises StoreError where one does not have its checksum, or lacks a part.
        """
        with self._lock, sqlite_errors(self.path):
            parts = self._quick.execute("select id, parts, account, events, sha256 from parts order by id")
            for number, rows in groupby(parts, key=lambda row: int(row[0]) // _PARTS):
                yield _entry(self.path, number, list(rows))

    def problems(self) -> list[str]:
        """Reads everything; what is wrong, in plain words."""
        try:
            with self._lock, sqlite_errors(self.path):
                found = self._quick.execute("pragma integrity_check").fetchall()
            deque(self.entries(), maxlen=0)
        except StoreError as error:
            return [str(error)]
        return [f"{self.path}: {text}" for (text,) in found if text != "ok"]


def _rows(entry: Entry) -> Iterator[tuple[int, int, str, bytes, bytes]]:
    batches = entry.events.combine_chunks().to_batches(PART_ROWS)
    for place, batch in enumerate(batches):
        id_, events = entry.number * _PARTS + place, batch.serialize().to_pybytes()
        yield id_, len(batches), entry.account, events, _sha256(id_, len(batches), entry.account, events)


def _entry(path: Path, number: int, rows: Sequence[tuple[int, int, str, bytes, bytes]]) -> Entry:
    wanted = range(number * _PARTS, number * _PARTS + rows[0][1])
    if [row[0] for row in rows] != list(wanted) or any(_sha256(*row[:4]) != row[4] for row in rows):
        raise StoreError(f"{path}: entry {number} is damaged; events in it were acknowledged: restore a backup")
    batches = [pa.ipc.read_record_batch(row[3], ROW) for row in rows]
    return Entry(number, rows[0][2], pa.Table.from_batches(batches, ROW))


def _sha256(id_: int, parts: int, account: str, events: bytes) -> bytes:
    hasher = hashlib.sha256(f"{id_} {parts} {account}\0".encode())
    hasher.update(events)
    return hasher.digest()
