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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from handletime.closing import Closing
from handletime.errors import HandletimeError, StoreError
from handletime.events import model
from handletime.store.database import Database
from handletime.store.observer import Observer, State
from handletime.store.opening import FILE, Commits, FolderLock, StoreSettings, size_of
from handletime.store.reader import StoreReader
from handletime.store.requests import Ingested, Outcome, Request
from handletime.store.waiting import Job, Queue
from handletime.store.watch import Watch
from handletime.store.writer import Removed, Writer

_log: Final = logging.getLogger(__name__)


class Store(Closing):
    """The open store of one folder. Any thread may use it."""

    def __init__(
        self, folder: Path, commits: Commits, settings: StoreSettings | None = None, observer: Observer | None = None
    ) -> None:
        """Opens the store of a folder that is there, or makes a new one. Raises StoreError, OSError."""
        self._observer = observer
        self.settings = settings or StoreSettings()
        self.folder = folder
        self._lock = FolderLock(folder)
        try:
            self._database = Database(folder, self.settings, commits, observer)
        except BaseException:
            self._lock.release()
            raise
        self._queue = Queue(self.settings.queue_events, self.settings.queue_requests, self.settings.group_events)
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Writes what waits, then closes. Later requests are refused."""
        self._queue.close()
        self._thread.join()
        self._database.close()
        self._lock.release()

    def reader(self, account: str) -> StoreReader:
        """A reader for an account, which need not have any rows."""
        return StoreReader(self._database, account, limit_s=self.settings.query_limit_s)

    @property
    def read_only(self) -> str | None:
        """None: a store accepts events."""
        return None

    def submit(self, account: str, events: pa.Table) -> Future[Ingested]:
        """Queues a table of `events.model.EVENTS` of one account, all of it or nothing. Raises NotNow.

        The future raises InvalidEvents where a conversation would have more events than it may.
        """
        return _only(self.submit_together(account, events, ()))

    def submit_together(self, account: str, events: pa.Table, sizes: Sequence[int]) -> Future[list[Outcome]]:
        """Queues several requests of one account, one after the other; `sizes` are their numbers of events."""
        job = Job(Request(account, model.with_schema(events), tuple(sizes)))
        self._queue.put(job)
        return job.answers

    def ingest(self, account: str, events: pa.Table) -> Ingested:
        """Stores events; returns when they are durable and visible. Raises NotNow, InvalidEvents where they are not
        stored.
        """
        return self.submit(account, events).result()

    def problem(self) -> str | None:
        """Why the store cannot answer now; None where it can."""
        return self._database.problem

    def state(self) -> State:
        """The present state, for metrics. Needs no query."""
        waiting = self._queue.waiting()
        file = self.folder / FILE
        return State(size_of(file), size_of(file.with_name(f"{FILE}.wal")), *waiting, self.problem())

    # --- for the room `upkeep`; all beside ingest and readers

    @contextmanager
    def snapshot(self, watch: Watch | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """One state of all accounts, in the schema `kept`. Raises NotNow. `watch` may stop its queries."""
        with self._database.snapshot() as cursor, (watch or Watch()).over(cursor):
            yield cursor

    @contextmanager
    def cursor(self, watch: Watch | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the rows of all accounts, without a transaction. Raises NotNow."""
        with self._database.cursor() as cursor, (watch or Watch()).over(cursor):
            yield cursor

    def transact(self, work: Callable[[Writer], Removed]) -> Removed:
        """Runs work in a transaction, between two of ingest; returns when it is durable. Raises NotNow."""
        return self._database.transact(work)

    def checkpoint(self) -> None:
        """Empties the write-ahead log. Raises NotNow where readers hold it; then it is done when they end."""
        self._database.checkpoint()

    # --- the writer's thread

    def _work(self) -> None:
        while jobs := self._queue.take():
            try:
                self._write(jobs)
                self._database.checkpoint_if_due()
            except Exception:  # whatever it was, the next jobs wait for this thread
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
            if self._observer:
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
    """A future for the only answer of a future list."""
    only: Future[Ingested] = Future()

    def pass_on(done: Future[list[Outcome]]) -> None:
        answer = done.exception() or done.result()[0]
        if isinstance(answer, Ingested):
            only.set_result(answer)
        else:
            only.set_exception(answer)

    answers.add_done_callback(pass_on)
    return only
