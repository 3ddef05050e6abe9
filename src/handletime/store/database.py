"""The open DuckDB file: transactions of the one writer, connections for readers, checkpoints, opening it anew."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import duckdb

from handletime.crashpoints import crash_point
from handletime.errors import NotNow, StoreError
from handletime.store.directory import Directory
from handletime.store.journal import FILE as JOURNAL
from handletime.store.observer import Observer
from handletime.store.opening import FILE, Commits, FolderSync, StoreSettings, connect, size_of
from handletime.store.writer import Changed, Folded, Writer

N = TypeVar("N", Folded, Changed)
RETRY_S: Final = 1.0
"""Seconds between attempts to open a store that failed."""
CLOSE_S: Final = 10.0
"""Seconds to wait for readers when the store is closed."""
CHECKPOINT_S: Final = 10.0
"""Seconds that a checkpoint waits for transactions that write, and for those that still see removed rows; DuckDB itself
does not wait. Whoever asks for one also waits for as long as a query may take.
"""
_AGAIN_S: Final = 0.01
_log: Final = logging.getLogger(__name__)


class Database:
    """The store's file. Any thread may use it; transactions come one after the other.

    Where a transaction fails, all connections are closed, and the file is opened anew, with all checks, until that
    works. Until then, `problem` says why nothing can be done. `is_outdated` is whether some conversations'
    rows are still of an older derivation (`upkeep.deriving`). `folded` are the entries of the journal that stand in the
    tables, durably.
    """

    def __init__(self, folder: Path, settings: StoreSettings, commits: Commits, observer: Observer | None) -> None:
        """Opens it. Raises StoreError, OSError."""
        self._folder, self._settings, self._commits, self._observer = folder, settings, commits, observer
        self._writing = threading.Lock()
        self._cursors: set[duckdb.DuckDBPyConnection] = set()
        self._given_back = threading.Condition()
        self._checkpoint: threading.Thread | None = None
        self._closed = threading.Event()
        self._sync = FolderSync(folder)
        self._opened = secrets.token_hex(8)
        self._changed: dict[str, int] = {}
        self._all_changed = 0
        self.problem: str | None = "the store is being opened"
        self._connection: duckdb.DuckDBPyConnection
        self._open(None)

    def transact(self, work: Callable[[Writer], N]) -> N:
        """Runs work in a transaction; returns when its changes are durable and visible.

        Raises what the work raises, and NotNow where the database fails. Then nothing was changed.
        """
        with self._writing:
            if self.problem is not None:
                raise NotNow(self.problem)
            try:
                self._connection.begin()
                done = work(self._writer)
                crash_point("before-commit")
                self._connection.commit()
                self._note(done)
                crash_point("committed")
                self._sync.sync()
                crash_point("folder-synced")
                self._commits.set_last_commit(done.commit_number)
                crash_point("numbered")
                self.folded = self._writer.folded()
            except (duckdb.Error, OSError, StoreError) as error:
                _log.exception("a transaction failed; nothing of it stands in the tables")
                self._fail()
                raise NotNow("the store could not write; come again later") from error
            except BaseException:
                self._fail()
                raise
            return done

    def _note(self, done: Folded | Changed) -> None:
        """Keeps which accounts a commit has changed."""
        if done.accounts is None:
            self._all_changed = done.commit_number
        else:
            self._changed |= dict.fromkeys(done.accounts, done.commit_number)

    def state_of(self, account: str) -> str:
        """Names the state of an account's rows in this process: another state has another name, whatever happens to
        other accounts. Whoever asks before a snapshot is begun gets the snapshot's state, or an earlier one.
        """
        return f"{self._opened}-{max(self._changed.get(account, 0), self._all_changed)}"

    def check_entries(self, last: int, journal: Sequence[int]) -> None:
        """Raises StoreError where an entry up to the last acknowledged one is neither in the tables nor in the
        journal.
        """
        there = set(journal)
        for entry in range(self.folded.up_to + 1, last + 1):
            if not self.folded.has(entry) and entry not in there:
                raise StoreError(
                    f"{self._folder / JOURNAL} lacks entry {entry}, but entries up to {last} were acknowledged: what "
                    "was in it is lost or not here, because the journal is missing, cut short or of another time. "
                    "Put the right file back, or restore a backup and send the events since then once more"
                )

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for this caller alone. Raises NotNow where the store is not open just now."""
        with self._given_back:
            if self.problem is not None:
                raise NotNow(self.problem)
            cursor = self._connection.cursor()
            self._cursors.add(cursor)
        try:
            yield cursor
        finally:
            with self._given_back:
                self._cursors.discard(cursor)
                cursor.close()
                self._given_back.notify_all()

    @contextmanager
    def snapshot(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection in a transaction: everything is as of one moment. Raises NotNow."""
        with self.cursor() as cursor:
            cursor.begin()
            yield cursor

    def checkpoint(self) -> None:
        """Writes the write-ahead log into the file now.

        Raises NotNow where somebody reads for longer than a query may; then it is done as soon as possible.
        """
        try:
            with self.cursor() as cursor:
                self._work_in_log(cursor, CHECKPOINT_S + (self._settings.query_limit_s or 0.0))
        except duckdb.TransactionException as error:
            self._begin(self._catch_up)
            raise NotNow(
                "what was committed is still in the write-ahead log, because others have read since before "
                "(an export, a backup, a rebuild); it is worked into the store as soon as they end"
            ) from error
        except duckdb.Error as error:
            raise NotNow(f"the write-ahead log could not be worked into the store: {error}") from error

    def checkpoint_if_due(self) -> None:
        """Writes the write-ahead log into the file in the background, where it has become large."""
        if size_of(self._folder / f"{FILE}.wal") >= self._settings.checkpoint_bytes:
            self._begin(self._do_checkpoint)

    def _begin(self, checkpoint: Callable[[], object]) -> None:
        """Starts a checkpoint in a thread, unless one is running."""
        with self._given_back:
            if self._checkpoint is None or not self._checkpoint.is_alive():
                self._checkpoint = threading.Thread(target=checkpoint, name="store-checkpoint", daemon=True)
                self._checkpoint.start()

    def _catch_up(self) -> None:
        """Tries to checkpoint until it has worked, or the store is closed."""
        while not self._do_checkpoint() and not self._closed.wait(RETRY_S):
            pass

    def _do_checkpoint(self) -> bool:
        """Checkpoints; says whether it has worked."""
        try:
            start = time.monotonic()
            with self.cursor() as cursor:
                self._work_in_log(cursor, CHECKPOINT_S)
            seconds = time.monotonic() - start
            _log.info("checkpoint in %.2f s", seconds)
            if self._observer:
                self._observer.checkpointed(seconds)
        except NotNow:
            return False
        except duckdb.TransactionException as error:
            _log.warning("a checkpoint has to wait for who reads, or writes: %s", error)
            return False
        except duckdb.Error:
            # The next one does what this one could not; if the file is broken, the next commit says so.
            _log.exception("a checkpoint failed")
            return False
        return True

    def _work_in_log(self, cursor: duckdb.DuckDBPyConnection, wait_s: float) -> None:
        """Checkpoints. Raises duckdb.Error; where somebody writes or checkpoints, only after a while."""
        ends = time.monotonic() + wait_s
        while True:
            try:
                cursor.execute("checkpoint")
            except duckdb.TransactionException:
                if self.problem is not None or time.monotonic() > ends or self._closed.wait(_AGAIN_S):
                    raise
            else:
                return

    def close(self) -> None:
        """Closes it for good. Readers' queries are stopped."""
        self._closed.set()
        with self._writing:
            if self.problem is None:
                self._close("the server is stopping; come again later")
            self._sync.close()

    def _open(self, directory: Directory | None) -> None:
        """Opens the file; what has been numbered stays so where it is opened anew."""
        connection = connect(self._folder, self._settings, self._commits.last_commit())
        try:
            self.directory = directory or Directory(connection)
            self._writer = Writer(connection, self.directory, self._settings.part_events)
            self.folded = self._writer.folded()
            self.is_outdated: bool = connection.execute("select exists(from kept.outdated)").fetchall()[0][0]
            self._sync.close()
            self._sync.sync()
        except duckdb.Error as error:
            connection.close()
            raise StoreError(f"{self._folder / FILE} cannot be read: {error}") from error
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self.problem = None

    def _close(self, problem: str) -> None:
        with self._given_back:
            self.problem = problem
            for cursor in self._cursors:
                cursor.interrupt()
            # While one is open, the file is, and would not be opened anew.
            if not self._given_back.wait_for(lambda: not self._cursors, CLOSE_S):
                _log.error("%d readers do not end", len(self._cursors))
        self._connection.close()

    def _fail(self) -> None:
        try:
            self._close("the store failed and is being opened anew; come again later")
        except duckdb.Error:
            _log.exception("the store could not be closed")
        threading.Thread(target=self._reopen, name="store-reopen", daemon=True).start()

    def _reopen(self) -> None:
        while not self._closed.is_set():
            with self._writing:
                try:
                    self._open(self.directory)
                    _log.warning("the store is open again")
                    return
                except Exception as error:  # whatever it was: nobody else tries again
                    self.problem = f"the store failed and cannot be opened: {error}"
                    _log.exception(self.problem)
            self._closed.wait(RETRY_S)
