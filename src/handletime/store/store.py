"""The store: one writer, any number of readers, in one folder.

    request ─┐
    request ─┼─> queue ─> one transaction ─> commit ─> folder synced ─> number kept ─> answers
    request ─┘

An answer means: durable, and in every snapshot taken from then on. Requests that wait together share a transaction.
If anything fails, nothing of the transaction is acknowledged: the store is closed and opened anew, which checks that
all that was acknowledged is there, and refuses its service (NotNow) until that has worked.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final

import duckdb
import msgspec
import numpy as np
import pyarrow as pa

from handletime.errors import HandletimeError, StoreError
from handletime.events import model
from handletime.segments.columns import I64
from handletime.store.backups import copy
from handletime.store.database import Database
from handletime.store.mending import groups, mend_agents, mend_moves, mend_rows
from handletime.store.observer import Observer, State, Unobserved
from handletime.store.opening import FILE, Commits, FolderLock, StoreSettings, size_of
from handletime.store.reader import Reader
from handletime.store.removing import AT_ONCE, names_of, older_than
from handletime.store.upkeep import Rebuilt, check, compare
from handletime.store.waiting import Job, Queue
from handletime.store.watch import Watch
from handletime.store.writer import Ingested, Outcome, Removed, Request, Writer

PAUSE_S: Final = 0.02
"""So long at least others may write between the transactions of a long command."""
Removing = Callable[[Mapping[str, list[str]]], AbstractContextManager[None]]
"""Around the removal of conversations, named by account."""
_log: Final = logging.getLogger(__name__)


class Store:
    """The open store of one folder. Any thread may use it."""

    def __init__(
        self, folder: Path, commits: Commits, settings: StoreSettings | None = None, observer: Observer | None = None
    ) -> None:
        """Opens the store of a folder that is there, or makes a new one. Raises StoreError, OSError."""
        self._observer = observer or Unobserved()
        self.settings = settings or StoreSettings()
        self._folder = folder
        self._lock = FolderLock(folder)
        try:
            self._database = Database(folder, self.settings, commits, self._observer)
        except BaseException:
            self._lock.release()
            raise
        self._queue = Queue(self.settings.queue_events, self.settings.queue_requests, self.settings.group_events)
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Writes what waits, then closes. Whatever comes later is refused."""
        self._queue.close()
        self._thread.join()
        self._database.close()
        self._lock.release()

    def reader(self, account: str) -> Reader:
        """A reader for an account, which need not have any rows."""
        return Reader(self._database, account, limit_s=self.settings.query_limit_s)

    @property
    def read_only(self) -> str | None:
        """Why no events can be brought here at all: never."""
        return None

    def submit(self, account: str, events: pa.Table) -> Future[Ingested]:
        """Queues a table of `events.model.EVENTS` of one account, all of it or nothing. Raises NotNow.

        The future raises InvalidEvents where a conversation would have more events than it may.
        """
        return _only(self.submit_together(account, events, ()))

    def submit_together(self, account: str, events: pa.Table, sizes: Sequence[int]) -> Future[list[Outcome]]:
        """The same for several requests of one account, which come one after the other, with so many events each."""
        job = Job(Request(account, model.with_schema(events), tuple(sizes)))
        self._queue.put(job)
        return job.answers

    def ingest(self, account: str, events: pa.Table) -> Ingested:
        """The same; returns when the events are durable and visible. Raises NotNow, InvalidEvents where they are not
        stored.
        """
        return self.submit(account, events).result()

    def problem(self) -> str | None:
        """Why the store cannot answer now; None where it can."""
        return self._database.problem

    def state(self) -> State:
        """How it is now, for its metrics. Costs no query."""
        waiting = self._queue.waiting()
        file = self._folder / FILE
        return State(size_of(file), size_of(file.with_name(f"{FILE}.wal")), *waiting, self.problem())

    # --- looking after it; all beside ingest and readers

    @contextmanager
    def snapshot(self, watch: Watch | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """One state of all accounts, in the schema `kept`, for the commands that look after the store. Raises NotNow.

        `watch` may stop its queries.
        """
        with self._database.snapshot() as cursor, (watch or Watch()).over(cursor):
            yield cursor

    def rebuild(self, *, mend: bool = False, memory: int | None = None, watch: Watch | None = None) -> Rebuilt:
        """Derives everything anew and compares it with what is stored, as of now; puts right what differs, if told to.

        Bit by bit: what an interrupted one leaves, the next one finds.
        """
        watch = watch or Watch()
        with self.snapshot(watch) as cursor:
            memory = memory or self.settings.memory_bytes
            found = compare(cursor, self._folder, memory=memory, told=watch.told)
        if not mend or not found.rebuilt.differences:
            return found.rebuilt
        self._database.transact(mend_agents)
        numbers = np.union1d(found.differing, found.misplaced)
        for what, each, work in (
            ("mending focus moves", found.misplaced, mend_moves),
            ("mending", numbers, mend_rows),
        ):
            with self.snapshot(watch) as cursor:
                parts = list(groups(cursor, each, self.settings.part_events))
            done = 0
            for some in parts:
                watch.told(what, done, len(each))
                self._change(partial(_with, work, some), watch)
                done += len(some)
        return msgspec.structs.replace(found.rebuilt, mended=len(numbers))

    def check(self, watch: Watch | None = None) -> list[str]:
        """Reads everything; what is wrong with it, in plain words."""
        watch = watch or Watch()
        with self.snapshot(watch) as cursor:
            return check(cursor, watch.told)

    def newest_event(self, watch: Watch | None = None) -> int | None:
        """The time of the newest event (epoch milliseconds); None where there is none."""
        with self.snapshot(watch) as cursor:
            ((newest,),) = cursor.execute("select max(time) from kept.events").fetchall()
        return None if newest is None else int(newest)

    def count_older(self, before: int, watch: Watch | None = None) -> int:
        """How many conversations' last event is older (epoch milliseconds)."""
        with self.snapshot(watch) as cursor:
            return len(older_than(cursor, before))

    def prune(
        self,
        before: int,
        *,
        at_once: int = AT_ONCE,
        pause_s: float = PAUSE_S,
        removing: Removing = lambda _names: nullcontext(),
        watch: Watch | None = None,
    ) -> int:
        """Removes all conversations whose last event is older (epoch milliseconds); says how many.

        Bit by bit: what an interrupted one leaves, the next one removes. Between bits ingest goes on, for `pause_s`
        at least. Whatever is removed is removed within `removing`, which is told the accounts and conversations.
        """
        watch = watch or Watch()
        with self.snapshot(watch) as cursor:
            numbers = older_than(cursor, before)
        removed = 0
        for first in range(0, len(numbers), at_once):
            watch.told("removing", first, len(numbers))
            some = numbers[first : first + at_once]
            with self.snapshot(watch) as cursor:
                names = names_of(cursor, some)
            with removing(names):
                removed += self._change(partial(_remove_old, before, some), watch, pause_s).conversations
        return removed

    def forget(self, account: str, conversation: str, *, removing: Removing = lambda _names: nullcontext()) -> bool:
        """Removes one conversation, within `removing`; says whether it was there.

        The write-ahead log has nothing of it afterwards. For that it waits for queries that began before, which still
        see it. Raises NotNow where it is removed, but somebody reads for longer: then the log loses it when they end.
        """
        with removing({account: [conversation]}):
            found = self._database.transact(lambda writer: writer.forget(account, conversation)).conversations > 0
        self._database.checkpoint()
        return found

    def copy(self, target: Path, watch: Watch | None = None) -> int:
        """Writes all of it as of now to a new file; gives the number of its last commit. Raises InputError, OSError."""
        cursor = self._database.cursor()
        try:
            with (watch or Watch()).over(cursor):
                return copy(cursor, self._folder, target)
        finally:
            self._database.give_back(cursor)

    def _change(self, work: Callable[[Writer], Removed], watch: Watch, pause_s: float = PAUSE_S) -> Removed:
        done = self._database.transact(work)
        # Ingest is next: a lock is no queue.
        watch.pause(pause_s)
        return done

    # --- the writer's thread

    def _work(self) -> None:
        while jobs := self._queue.take():
            try:
                self._write(jobs)
                self._database.checkpoint_if_due()
            except Exception:  # whatever it was, the next ones wait for this thread
                _log.exception("something failed after a transaction")

    def _write(self, jobs: Sequence[Job]) -> None:
        requests = [job.request for job in jobs]
        begun = time.monotonic()
        try:
            written = self._database.transact(lambda writer: writer.write(requests))
        except HandletimeError as error:
            self._refuse(jobs, error)
        except Exception as error:  # whatever it was, whoever waits is told
            _log.exception("a transaction of %d requests failed; nothing of it is stored", len(jobs))
            self._refuse(jobs, StoreError(f"the events could not be stored: {type(error).__name__}"))
        else:
            seconds = time.monotonic() - begun
            later = []
            answers = iter(written.answers)
            for place, job in enumerate(jobs):
                if place in written.later:
                    job.cost = written.later[place]
                    later.append(job)
                else:
                    job.answers.set_result(list(islice(answers, job.requests)))
            self._queue.put_back(later)
            stored = [answer for answer in written.answers if isinstance(answer, Ingested)]
            self._observer.committed(
                accepted=sum(answer.accepted for answer in stored),
                duplicates=sum(answer.duplicates for answer in stored),
                requests=len(stored),
                touched=written.touched,
                seconds=seconds,
            )

    def _refuse(self, jobs: Sequence[Job], error: HandletimeError) -> None:
        for job in jobs:
            job.answers.set_exception(error)


def _only(answers: Future[list[Outcome]]) -> Future[Ingested]:
    """The one answer of a list that will have one."""
    only: Future[Ingested] = Future()

    def pass_on(done: Future[list[Outcome]]) -> None:
        answer = done.exception() or done.result()[0]
        if isinstance(answer, Ingested):
            only.set_result(answer)
        else:
            only.set_exception(answer)

    answers.add_done_callback(pass_on)
    return only


def _with(work: Callable[[Writer, I64], Removed], numbers: I64, writer: Writer) -> Removed:
    return work(writer, numbers)


def _remove_old(before: int, numbers: I64, writer: Writer) -> Removed:
    """Removes those of these conversations that still have no newer events."""
    return writer.remove(writer.last_events_before(before, numbers))
