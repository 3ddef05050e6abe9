"""The store: one writer, any number of readers, in one folder.

    request ─┐
    request ─┼─> queue ─> told apart ─> journal, synced ─> number kept ─> answers
    request ─┘                            │
                                          └─> backlog ─> one transaction ─> commit ─> folder synced ─> journal emptied

An answer means: durable, and in every answer to a question that is asked from then on. Requests that wait together
share a sync of the journal. Later, and at once where somebody asks, what stands in the journal is folded into the
tables, many entries in one transaction. If that fails, the tables are closed and opened anew, which checks that all
that was acknowledged is there; until that has worked, questions are refused (NotNow), while the journal goes on to
take events as long as it has room.

Where an account brings much while it is asked about, its requests are answered when they have been folded, so that its
questions do not wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from handletime.closing import Closing
from handletime.crashpoints import crash_point
from handletime.errors import HandletimeError, NotNow, StoreError
from handletime.events import model
from handletime.scope import WHOLE, Scope
from handletime.store.accept import Accepted, Acceptor
from handletime.store.backlog import Backlog, Fold
from handletime.store.database import RETRY_S, Database
from handletime.store.journal import Journal
from handletime.store.observer import Observer, State
from handletime.store.opening import FILE, Commits, FolderLock, StoreSettings, size_of
from handletime.store.reader import StoreReader
from handletime.store.requests import Ingested, Outcome, Request
from handletime.store.waiting import Job, Queue
from handletime.store.watch import Watch
from handletime.store.writer import Changed, Folded, Writer

AT_ONCE: Final = 10_000
"""The most events that are put into the journal together, and one turn of an account more."""
_log: Final = logging.getLogger(__name__)


class Store(Closing):
    """The open store of one folder. Any thread may use it."""

    def __init__(
        self, folder: Path, commits: Commits, settings: StoreSettings | None = None, observer: Observer | None = None
    ) -> None:
        """Opens the store of a folder that is there, or makes a new one. Raises StoreError, NotNow, OSError."""
        self._observer = observer
        self.settings = settings or StoreSettings()
        self.folder = folder
        with ExitStack() as stack:
            lock = FolderLock(folder)
            stack.callback(lock.release)
            self._database = Database(folder, self.settings, commits, observer)
            stack.callback(self._database.close)
            self.journal = stack.enter_context(Journal(folder))
            self._backlog = Backlog(self.settings.backlog_events, self.settings.fold_events, self.settings.part_events)
            self._acceptor = Acceptor(
                self._database.directory,
                self.journal,
                commits,
                self._database.cursor,
                conversation_events=self.settings.conversation_events,
            )
            self._take_up(commits)
            self._closing = stack.pop_all()
        self._queue = Queue(self.settings.queue_events, self.settings.queue_requests, AT_ONCE, self._backlog.has_room)
        self._accepting = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for work, name in ((self._accept, "store-journal"), (self._fold, "store-fold"))
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Acknowledges what waits, folds what is in the journal, then closes. Later requests are refused."""
        accepting, folding = self._threads
        self._queue.close()
        self._stopping.set()
        accepting.join()
        _give(self._backlog.close())
        folding.join()
        self._closing.close()

    def reader(self, account: str, scope: Scope = WHOLE) -> StoreReader:
        """A reader for an account, which need not have any rows; of these it sees what lies within the scope."""
        return StoreReader(self._database, account, self._settle, scope=scope, limit_s=self.settings.query_limit_s)

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
        """Stores events; returns when they are durable, and in every answer from then on. Raises NotNow, InvalidEvents
        where they are not stored.
        """
        return self.submit(account, events).result()

    def problem(self) -> str | None:
        """Why the store cannot answer now; None where it can."""
        return self._database.problem

    def state(self) -> State:
        """The present state, for metrics. Needs no query."""
        file = self.folder / FILE
        return State(
            size_of(file),
            size_of(file.with_name(f"{FILE}.wal")),
            size_of(self.journal.path) + size_of(self.journal.path.with_name(f"{self.journal.path.name}-wal")),
            *self._queue.waiting(),
            *self._backlog.waiting(),
            self.problem(),
        )

    # --- for the room `upkeep`; all beside ingest and readers

    @contextmanager
    def snapshot(self, watch: Watch | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """One state of all accounts, in the schema `kept`. Raises NotNow. `watch` may stop its queries."""
        self.settle()
        with self._database.snapshot() as cursor, (watch or Watch()).over(cursor):
            yield cursor

    @contextmanager
    def cursor(self, watch: Watch | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the rows of all accounts, without a transaction. Raises NotNow."""
        self.settle()
        with self._database.cursor() as cursor, (watch or Watch()).over(cursor):
            yield cursor

    def transact(self, work: Callable[[Writer], Changed]) -> Changed:
        """Runs work in a transaction, between two of ingest; returns when it is durable. Raises NotNow.

        All that was acknowledged stands in the tables then, and nothing is acknowledged meanwhile.
        """
        self.settle()  # Most of it before others have to wait.
        with self._accepting:
            self.settle()
            try:
                changed = self._database.transact(work)
            except BaseException:
                self._acceptor.known.clear()  # It may have been done all the same.
                raise
            self._acceptor.known.forget(changed.removed.tolist())
            return changed

    @property
    def is_outdated(self) -> bool:
        """Whether some conversations' rows are still of an older derivation (`upkeep.deriving`)."""
        return self._database.is_outdated

    def note_up_to_date(self) -> None:
        """Says that no conversation's rows are so any longer."""
        self._database.is_outdated = False

    def settle(self) -> None:
        """Folds all that is in the journal now. Raises NotNow."""
        self._settle(None, None)

    def checkpoint(self) -> None:
        """Empties the write-ahead log and the journal.

        Raises NotNow where they cannot be written, or where readers hold the log; then it is done when they end.
        """
        self.settle()
        try:
            self._empty_journal()
            self.journal.wipe()
        except StoreError as error:
            raise NotNow(f"what has been folded is still in the journal: {error}") from error
        self._database.checkpoint()

    def _take_up(self, commits: Commits) -> None:
        """Takes up what a process that was killed has left in the journal. Raises StoreError, NotNow."""
        numbers = self.journal.numbers()
        last = commits.last_entry()
        self._database.check_entries(last, numbers)
        self._empty_journal()
        try:
            for entry in list(self.journal.entries()):
                self._backlog.add([self._acceptor.take_up(entry)])
                self._backlog.acknowledge(entry.account, lambda: None)  # It was, before.
        except duckdb.Error as error:
            raise StoreError(f"{self.folder / FILE} cannot be read: {error}") from error
        self._acceptor.next_entry = 1 + max(last, self._database.folded.last(), *numbers)

    def _empty_journal(self) -> None:
        """Takes out of the journal what stands in the tables."""
        self.journal.drop(*self._database.folded)

    def _settle(self, account: str | None, left_s: float | None) -> None:
        self._backlog.wait(account, self.problem, left_s)

    # --- the thread that acknowledges

    def _accept(self) -> None:
        try:
            with self._accepting:
                self._acceptor.begin()
        except Exception:  # whatever it was, they are looked up when they are needed
            _log.exception("the open conversations could not be looked up")
        while jobs := self._queue.take():
            try:
                self._accept_together(jobs)
            except Exception:  # whatever it was, the next jobs wait for this thread
                _log.exception("something failed after requests were acknowledged")

    def _accept_together(self, jobs: Sequence[Job]) -> None:
        begun = time.monotonic()
        try:
            with self._accepting:
                accepted = self._acceptor.accept([job.request for job in jobs], self._backlog.first())
                self._backlog.add(accepted.batches)
        except HandletimeError as error:
            _log.exception("the journal cannot be written; nothing of %d requests is acknowledged", len(jobs))
            _refuse(jobs, error if isinstance(error, NotNow) else NotNow("the store could not write; come again later"))
        except Exception as error:  # whatever it was, whoever waits is told
            _log.exception("%d requests could not be accepted; nothing of them is stored", len(jobs))
            _refuse(jobs, StoreError(f"the events could not be stored: {type(error).__name__}"))
        else:
            self._answer(jobs, accepted, time.monotonic() - begun)

    def _answer(self, jobs: Sequence[Job], accepted: Accepted, seconds: float) -> None:
        stored: list[Ingested] = []
        for job, answer in zip(jobs, accepted.answers, strict=True):
            if isinstance(answer, HandletimeError):
                job.answers.set_exception(answer)
            else:
                give = partial(_acknowledge, job, answer)
                self._backlog.acknowledge(job.request.account, give, at_once=self.problem() is not None)
                stored += [outcome for outcome in answer if isinstance(outcome, Ingested)]
        if self._observer:
            self._observer.acknowledged(
                accepted=sum(each.accepted for each in stored),
                duplicates=sum(each.duplicates for each in stored),
                requests=len(stored),
                seconds=seconds,
            )

    # --- the thread that folds

    def _fold(self) -> None:
        while (fold := self._backlog.take()) is not None:
            begun = time.monotonic()
            try:
                folded = self._database.transact(partial(_fold_into, fold))
            except Exception as error:  # whatever it was: it stands in the journal, and is tried again
                if not isinstance(error, NotNow):
                    _log.exception("%d entries of the journal could not be folded", len(fold.batches))
                _give(self._backlog.failed(fold.batches))
                if not self._wait_until_open():
                    _log.warning("what could not be folded stays in the journal until the next start")
                    return
            else:
                try:
                    self._after(fold, folded, time.monotonic() - begun)
                except Exception:  # whatever it was, the next entries wait for this thread
                    _log.exception("something failed after a fold")
                _give(self._backlog.done(fold.batches))
                self._queue.look_again()

    def _after(self, fold: Fold, folded: Folded, seconds: float) -> None:
        self._empty_journal()
        self._database.checkpoint_if_due()
        if self._observer:
            events = sum(batch.events.num_rows for batch in fold.batches)
            self._observer.folded(events=events, touched=folded.touched, seconds=seconds)

    def _wait_until_open(self) -> bool:
        """Waits until the tables are open again; whoever has no room in the journal is refused meanwhile.

        False where the store is being closed.
        """
        while True:
            refusal = NotNow(self.problem() or "the store could not write; come again later")
            _refuse(self._queue.without_room(), refusal)
            if self._stopping.wait(0 if self.problem() is None else RETRY_S):
                return False
            if self.problem() is None:
                return True


def _acknowledge(job: Job, answer: list[Outcome]) -> None:
    job.answers.set_result(answer)
    crash_point("acknowledged")


def _give(answers: Sequence[Callable[[], None]]) -> None:
    for answer in answers:
        try:
            answer()
        except Exception:  # whatever it was, the next ones wait
            _log.exception("a request could not be answered")


def _refuse(jobs: Sequence[Job], error: HandletimeError) -> None:
    for job in jobs:
        job.answers.set_exception(error)


def _fold_into(fold: Fold, writer: Writer) -> Folded:
    return writer.fold(fold)


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
