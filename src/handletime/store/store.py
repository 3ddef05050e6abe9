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
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np
import pyarrow as pa

from handletime.errors import HandletimeError, StoreError
from handletime.events import model
from handletime.segments.columns import I64
from handletime.segments.parts import Told
from handletime.store.backups import backup
from handletime.store.database import Database
from handletime.store.opening import Commits, FolderLock, StoreSettings
from handletime.store.reader import Reader
from handletime.store.removing import AT_ONCE
from handletime.store.tables import query
from handletime.store.upkeep import Rebuilt, check, rebuild
from handletime.store.waiting import Job, Queue
from handletime.store.writer import Ingested, Removed, Request, Writer

_log: Final = logging.getLogger(__name__)


class Store:
    """The open store of one folder. Any thread may use it."""

    def __init__(self, folder: Path, commits: Commits, settings: StoreSettings | None = None) -> None:
        """Opens the store of a folder that is there, or makes a new one. Raises StoreError, OSError."""
        self.settings = settings or StoreSettings()
        self._folder = folder
        self._lock = FolderLock(folder)
        try:
            self._database = Database(folder, self.settings, commits)
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
        return Reader(self._database, account)

    def submit(self, account: str, events: pa.Table) -> Future[Ingested]:
        """Queues a table of `events.model.EVENTS` of one account, all of it or nothing. Raises NotNow."""
        job = Job(Request(account, model.with_schema(events)))
        self._queue.put(job)
        return job.answer

    def ingest(self, account: str, events: pa.Table) -> Ingested:
        """The same; returns when the events are durable and visible. Raises NotNow where they are not stored."""
        return self.submit(account, events).result()

    def problem(self) -> str | None:
        """Why the store cannot answer now; None where it can."""
        return self._database.problem

    # --- looking after it; all beside ingest and readers

    def rebuild(self, *, told: Told = lambda _what, _done, _of: None) -> Rebuilt:
        """Derives everything anew and compares it with what is stored, as of now."""
        with self._database.snapshot() as cursor:
            return rebuild(cursor, self._folder, memory=self.settings.memory_bytes, told=told)

    def check(self) -> list[str]:
        """Reads everything; what is wrong with it, in plain words."""
        with self._database.snapshot() as cursor:
            return check(cursor)

    def prune(self, before: int) -> int:
        """Removes all conversations whose last event is older (epoch milliseconds); says how many.

        Bit by bit: what an interrupted one leaves, the next one removes.
        """
        with self._database.snapshot() as cursor:
            found = query(
                cursor,
                "select number from kept.events group by number having max(time) < $before order by number",
                {"before": before},
            )
        numbers = np.asarray(found["number"].to_numpy(), np.int64)
        removed = 0
        for first in range(0, len(numbers), AT_ONCE):
            removed += self._database.transact(
                partial(_remove_old, before, numbers[first : first + AT_ONCE])
            ).conversations
        return removed

    def forget(self, account: str, conversation: str) -> bool:
        """Removes one conversation; says whether it was there."""
        return self._database.transact(lambda writer: writer.forget(account, conversation)).conversations > 0

    def backup(self, target: Path) -> int:
        """Writes all of it as of now to a new file; gives the number of its last commit. Raises InputError, OSError."""
        cursor = self._database.cursor()
        try:
            return backup(cursor, self._folder, target)
        finally:
            self._database.give_back(cursor)

    # --- the writer's thread

    def _work(self) -> None:
        while jobs := self._queue.take():
            self._write(jobs)
            self._database.checkpoint_if_due()

    def _write(self, jobs: Sequence[Job]) -> None:
        requests = [job.request for job in jobs]
        try:
            written = self._database.transact(lambda writer: writer.write(requests))
        except HandletimeError as error:
            self._refuse(jobs, error)
        except Exception as error:  # whatever it was, whoever waits is told
            _log.exception("a transaction of %d requests failed; nothing of it is stored", len(jobs))
            self._refuse(jobs, StoreError(f"the events could not be stored: {type(error).__name__}"))
        else:
            for job, answer in zip(jobs, written.answers, strict=True):
                job.answer.set_result(answer)

    def _refuse(self, jobs: Sequence[Job], error: HandletimeError) -> None:
        for job in jobs:
            job.answer.set_exception(error)


def _remove_old(before: int, numbers: I64, writer: Writer) -> Removed:
    """Removes those of these conversations that still have no newer events."""
    return writer.remove(writer.last_events_before(before, numbers))
