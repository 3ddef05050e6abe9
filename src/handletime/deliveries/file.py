"""Deliveries as they came, until they are mapped; and for a week those that could not be, without texts.

An SQLite file of its own. Deliveries that came together are written with one sync. What is removed is overwritten
with zeros (`secure_delete`), and the log, which repeats what was written, is emptied by `tidy`.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar

from handletime.clock import DAY
from handletime.closing import Closing
from handletime.crashpoints import crash_point
from handletime.errors import HandletimeError, StoreError
from handletime.events.model import MILLIS_MIN
from handletime.sqlite import Place, make, open_existing, sqlite_errors, transaction

T = TypeVar("T")
FILE: Final = "deliveries.sqlite"
KEPT_MS: Final = 7 * DAY
"""How long a body that could not be mapped is kept, from when it came."""
AGAIN_MAX: Final = 50
"""The most deliveries that are tried again together: each is mapped many times, and others may come meanwhile."""
_ROWS: Final = 500
"""The most rows of one statement."""
_VERSION: Final = 1
_SCHEMA: Final = (
    # A negative number is that of a delivery that is tried again.
    """create table waiting (
        number integer primary key autoincrement, account text not null, source text not null,
        received integer not null, body blob not null)""",
    """create table refused (
        number integer primary key, account text not null, source text not null,
        received integer not null, problem text not null, body blob not null)""",
    """create table counts (
        account text not null, source text not null, mapped integer not null, empty integer not null,
        refused integer not null, last integer not null, primary key (account, source)) without rowid""",
)


class Came(NamedTuple):
    """A delivery that has come, at `received` (epoch milliseconds)."""

    account: str
    source: str
    received: int
    body: bytes


class Delivery(NamedTuple):
    """A body as it came, at `received` (epoch milliseconds), under a number that counts up.

    Where it is tried again, the number is that times -1, and the body without texts.
    """

    number: int
    received: int
    body: bytes

    @property
    def is_again(self) -> bool:
        """Whether it is tried again."""
        return self.number < 0


class RefusedBody(NamedTuple):
    """A delivery that could not be mapped, why, and what is kept of its body (b"" where nothing)."""

    delivery: Delivery
    problem: str
    body: bytes


class Done(NamedTuple):
    """What became of deliveries: those that became events, that hold none, and that could not be mapped."""

    mapped: Sequence[int] = ()
    empty: Sequence[int] = ()
    refused: Sequence[RefusedBody] = ()


class Standing(NamedTuple):
    """A source's deliveries: how many wait, since when; how many were mapped, held no event, were refused, in all, and
    when that was last.

    `problems` says of the refused ones that are remembered why, and how many of each; of `kept` ones there is a body,
    so that they can be tried again. Times are epoch milliseconds.
    """

    account: str
    source: str
    waiting: int
    oldest: int | None
    mapped: int
    empty: int
    refused: int
    last: int | None
    kept: int
    problems: dict[str, int]


class Deliveries(Closing):
    """The open file of a folder. Any thread may use it, and several processes may have it open at once.

    Whatever is done raises StoreError where the file is missing, damaged, replaced or of a newer version, and NotNow
    where the disk is full or another process writes for long.
    """

    def __init__(self, folder: Path) -> None:
        """Opens the file, or makes an empty one. Raises OSError too."""
        self.path = folder / FILE
        self.arrived: Callable[[], None] = lambda: None
        """Called, by any thread, when something waits."""
        with sqlite_errors(self.path):
            make(self.path, "file of deliveries", _VERSION, *_SCHEMA)
            self._durable = self._open("FULL")
            self._quick, self._reader = self._open("NORMAL"), self._open("NORMAL")
        self._place = Place(self.path)
        self._lock, self._reading = threading.Lock(), threading.Lock()

    def _open(self, synchronous: Literal["FULL", "NORMAL"]) -> sqlite3.Connection:
        db = open_existing(self.path, synchronous)
        db.execute("pragma secure_delete = on")
        return db

    def close(self) -> None:
        """Closes the file; what waits stays."""
        with suppress(HandletimeError):
            self.tidy()
        with self._lock, self._reading:
            for db in (self._durable, self._quick, self._reader):
                db.close()

    # --- coming in

    def keep(self, came: Sequence[Came]) -> None:
        """Keeps deliveries, all of them or none; they are durable when this returns."""
        with self._lock, sqlite_errors(self.path), transaction(self._durable, "BEGIN IMMEDIATE") as db:
            self._place.check()
            for some in _parts(came):
                rows = ", ".join(["(?, ?, ?, ?)"] * len(some))
                # One statement for many rows: between two, this thread would wait for the interpreter, which is busy.
                db.execute(
                    f"insert into waiting (account, source, received, body) values {rows}",  # noqa: S608 - only `?`
                    [value for each in some for value in each],
                )
        crash_point("deliveries-kept")
        self.arrived()

    # --- going out

    def lines(self) -> list[tuple[str, str]]:
        """The accounts and names of sources of which deliveries wait."""
        return list(self._read("select distinct account, source from waiting"))

    def waiting(self, account: str, source: str, most: int, most_bytes: int) -> list[Delivery]:
        """The oldest deliveries of a source that wait, at least one if there is any.

        Only where none came anew they are those that are tried again, and fewer of them.
        """
        sql = """select number, received, body from (
            select *, sum(length(body)) over (order by abs(number)) - length(body) as before from (
                select * from waiting where account = ? and source = ? and {} order by {} limit ?))
            where before < ? order by abs(number)"""
        anew, again = sql.format("number > 0", "number"), sql.format("number < 0", "number desc")
        found = self._read(anew, (account, source, most, most_bytes))
        found = found or self._read(again, (account, source, min(most, AGAIN_MAX), most_bytes))
        return [Delivery(*row) for row in found]

    def settle(self, account: str, source: str, done: Done, now: int) -> None:
        """Removes what is done with, all of it or nothing. A power cut may bring it back."""
        numbers = [*done.mapped, *done.empty, *(refused.delivery.number for refused in done.refused)]
        kept = [
            (abs(each.delivery.number), account, source, each.delivery.received, each.problem, each.body)
            for each in done.refused
        ]
        counts = (account, source, len(done.mapped), len(done.empty), len(done.refused), now)
        with self._lock, sqlite_errors(self.path), transaction(self._quick, "BEGIN IMMEDIATE") as db:
            for some in _parts(numbers):
                places = ", ".join("?" * len(some))
                db.execute(f"delete from waiting where number in ({places})", some)  # noqa: S608 - only `?`
            db.executemany("insert or replace into refused values (?, ?, ?, ?, ?, ?)", kept)
            db.execute(
                """insert into counts values (?, ?, ?, ?, ?, ?) on conflict do update set
                mapped = mapped + excluded.mapped, empty = empty + excluded.empty,
                refused = refused + excluded.refused, last = excluded.last""",
                counts,
            )
        crash_point("deliveries-settled")

    def tidy(self) -> None:
        """Empties the log, in which removed bodies still stand. Does nothing while another process reads."""
        with self._lock, sqlite_errors(self.path), suppress(sqlite3.OperationalError):
            self._quick.execute("pragma wal_checkpoint(truncate)").fetchall()

    def expire(self, now: int) -> None:
        """Removes what was refused over a week ago. What came while the clock was wrong counts as coming now."""
        with self._lock, sqlite_errors(self.path), transaction(self._quick, "BEGIN IMMEDIATE") as db:
            for table in ("waiting", "refused"):
                db.execute(f"update {table} set received = ? where received < ?", (now, MILLIS_MIN))  # noqa: S608 - ours
            db.execute("delete from refused where received < ?", (now - KEPT_MS,))

    # --- for people

    def retry(self, source: str | None = None) -> list[int]:
        """Lets refused deliveries, of one source or of all, wait to be mapped again; gives their numbers.

        Those of which no body was kept stay refused. They count again when they are done with.
        """
        which = "length(body) > 0 and (? is null or source = ?)"
        with self._lock, sqlite_errors(self.path), transaction(self._durable, "BEGIN IMMEDIATE") as db:
            rows = db.execute(
                f"""insert into waiting select -number, account, source, received, body from refused
                where {which} returning -number""",  # noqa: S608 - it is ours
                (source, source),
            ).fetchall()
            db.execute(
                f"""update counts set refused = refused - again.number from (
                    select account, source, count(*) as number from refused where {which} group by 1, 2
                ) as again where counts.account = again.account and counts.source = again.source""",  # noqa: S608
                (source, source),
            )
            db.execute(f"delete from refused where {which}", (source, source))  # noqa: S608
        return [number for (number,) in rows]

    def discard(self, source: str | None = None) -> int:
        """Removes refused deliveries, of one source or of all, for good; gives how many."""
        with self._lock, sqlite_errors(self.path), transaction(self._durable, "BEGIN IMMEDIATE") as db:
            return db.execute("delete from refused where ? is null or source = ?", (source, source)).rowcount

    def still_waiting(self, numbers: Iterable[int]) -> int:
        """How many of these deliveries are not yet mapped or refused again."""
        waiting = {number for (number,) in self._read("select abs(number) from waiting")}
        return len(waiting.intersection(numbers))

    def still_refused(self, numbers: Iterable[int]) -> int:
        """How many of these deliveries are kept because they could not be mapped."""
        refused = {number for (number,) in self._read("select number from refused")}
        return len(refused.intersection(numbers))

    def standings(self) -> list[Standing]:
        """How each source stands, by account and name."""
        waiting = self._read("select account, source, count(*), min(received) from waiting group by account, source")
        counts = self._read("select account, source, mapped, empty, refused, last from counts")
        reasons = self._read(
            """select account, source, problem, count(*), count(*) filter (where length(body) > 0) from refused
            group by 1, 2, 3 order by 4 desc"""
        )
        waiting_of = {(account, source): (number, oldest) for account, source, number, oldest in waiting}
        counts_of = {(account, source): tuple(rest) for account, source, *rest in counts}
        why_of: dict[tuple[str, str], dict[str, int]] = {}
        kept_of: dict[tuple[str, str], int] = {}
        for account, source, problem, number, kept in reasons:
            why_of.setdefault((account, source), {})[problem] = number
            kept_of[account, source] = kept_of.get((account, source), 0) + kept
        found = []
        for key in sorted({*waiting_of, *counts_of, *why_of}):
            number, oldest = waiting_of.get(key, (0, None))
            mapped, empty, refused, last = counts_of.get(key, (0, 0, 0, None))
            kept, why = kept_of.get(key, 0), why_of.get(key, {})
            found.append(Standing(*key, number, oldest, mapped, empty, refused, last, kept, why))
        return found

    def backlog(self) -> tuple[int, int | None]:
        """How many deliveries wait, and when the oldest came (epoch milliseconds)."""
        ((number, oldest),) = self._read("select count(*), min(received) from waiting")
        return number, oldest

    def copy_to(self, target: Path) -> None:
        """Writes the present content to a new file, for its owner only. Raises OSError."""
        target.touch(mode=0o600, exist_ok=False)
        with self._lock, sqlite_errors(self.path), sqlite3.connect(target) as other:
            self._quick.backup(other)
        other.close()

    def problems(self) -> list[str]:
        """Reads everything; what is wrong, in plain words."""
        try:
            found = self._read("pragma integrity_check")
        except StoreError as error:
            return [str(error)]
        return [f"{self.path}: {text}" for (text,) in found if text != "ok"]

    def _read(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        with self._reading, sqlite_errors(self.path):
            return self._reader.execute(sql, values).fetchall()


def _parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Some values at a time."""
    return (values[first : first + _ROWS] for first in range(0, len(values), _ROWS))
