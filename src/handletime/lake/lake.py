"""The tables of a lake, open for reading: always as of one run, and of a newer one as soon as there is one."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Final

import duckdb
import msgspec
import pyarrow as pa

from handletime.answers.relations import limited
from handletime.closing import Closing
from handletime.errors import HandletimeError, InputError, NotHere, NotNow
from handletime.lake.reader import EventFiles, LakeReader
from handletime.lake.state import UNITS, State, state_of
from handletime.lake.tables import RUNS, Run, runs
from handletime.scope import WHOLE, Scope
from handletime.store.requests import Ingested, Outcome

CHECK_S: Final = 1.0
"""Seconds between two looks for a newer run."""
OLD_RUNS: Final = 8
"""The number of earlier runs whose files stay known, where they are asked for: they were listed before."""
_GLOB: Final = frozenset("*?[]{}")
_log: Final = logging.getLogger(__name__)


class LakeSettings(msgspec.Struct, frozen=True):
    """The memory and threads that reading may take. `threads` None is one for each processor."""

    memory_bytes: int = 1 << 30
    query_limit_s: float = 60.0
    threads: int | None = None


class Lake(Closing):
    """All accounts of the tables in a folder. Any thread may use it; it writes nothing there."""

    def __init__(
        self,
        folder: Path,
        settings: LakeSettings | None = None,
        *,
        events: EventFiles | None = None,
        events_folder: Path | None = None,
    ) -> None:
        """Opens the newest run. `events`, files below `events_folder`, are needed to explain conversations.

        Raises InputError where there is no run to open, StoreError where the logs are not what they should be.
        """
        self.folder, self._settings, self._events = folder.absolute(), settings or LakeSettings(), events
        for place in filter(None, (self.folder, events_folder)):
            if not _GLOB.isdisjoint(str(place)):
                raise InputError(f"{place}: the path of the tables may have none of {' '.join(sorted(_GLOB))} in it")
        self._log = self._newest_log()
        self._runs = self._read_runs()
        self._state = state_of(self.folder, self._runs[-1])
        self._earlier = lru_cache(OLD_RUNS)(self._read_earlier)
        self._trouble: str | None = None
        self._spill = tempfile.TemporaryDirectory(prefix="handletime-lake-")
        folders = [self.folder, *([events_folder.absolute()] if events_folder else [])]
        self._database = _database(self._settings, folders, self._spill.name)
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._look, name="lake", daemon=True)
        self._watch.start()

    def close(self) -> None:
        """Closes the lake; queries under way are stopped."""
        self._closed.set()
        self._watch.join()
        self._database.interrupt()
        self._database.close()
        self._spill.cleanup()

    @property
    def run(self) -> Run:
        """The run that is served."""
        return self._state.run

    def reader(self, account: str, scope: Scope = WHOLE) -> LakeReader:
        """A reader for an account, which need not have any rows; of these it sees what lies within the scope.

        It stays with the run that is newest now.
        """
        return self._reader(self._state, account, scope)

    def reader_of(self, finished: int, account: str, day: date) -> LakeReader | None:
        """A reader of the run that ended at a time (epoch ms), to ask about the units of a day.

        None where there is no such run, or its files of the day are gone.
        """
        state = self._state
        try:
            state = state if finished == state.run.finished else self._earlier(finished)
        except InputError:
            return None
        of_day = [file for file in state.of(account)[UNITS] if file.day == day]
        if not all((self.folder / UNITS / file.path).is_file() for file in of_day):
            return None
        return self._reader(state, account)

    def _reader(self, state: State, account: str, scope: Scope = WHOLE) -> LakeReader:
        limit_s = self._settings.query_limit_s
        return LakeReader(self.folder, state, account, self._cursor, self._events, limit_s, scope)

    @property
    def read_only(self) -> str:
        """Why this server accepts no events."""
        return "This server takes no events: it reads tables that `handletime derive --spark` makes."

    def submit(self, account: str, events: pa.Table) -> Future[Ingested]:  # noqa: ARG002
        """Raises NotHere."""
        raise NotHere(self.read_only)

    def submit_together(
        self,
        account: str,  # noqa: ARG002
        events: pa.Table,  # noqa: ARG002
        sizes: Sequence[int],  # noqa: ARG002
    ) -> Future[list[Outcome]]:
        """Raises NotHere."""
        raise NotHere(self.read_only)

    def problem(self) -> str | None:
        """Why the tables cannot be read now; None where they can."""
        return self._trouble

    @contextmanager
    def _cursor(self, limit_s: float | None) -> Iterator[duckdb.DuckDBPyConnection]:
        if self._closed.is_set():
            raise NotNow("the server is stopping; come again later")
        try:
            with self._database.cursor() as cursor, limited(cursor, limit_s or self._settings.query_limit_s):
                yield cursor
        except duckdb.IOException as error:
            _log.exception("the files of run %d cannot be read", self.run.number)
            raise NotNow("the files of the tables cannot be read now; the log says which") from error

    # --- runs

    def _look(self) -> None:
        """Looks for newer runs until it is closed."""
        while not self._closed.wait(CHECK_S):
            try:
                self._follow()
            except (HandletimeError, OSError) as error:
                if self._trouble is None:
                    _log.error("%s; run %d is served on", error, self.run.number)
                self._trouble = f"the tables cannot be read: {error}"
            except Exception:
                _log.exception("looking for a newer run failed; run %d is served on", self.run.number)

    def _follow(self) -> None:
        log = self._newest_log()
        if log == self._log and self._trouble is None:
            return
        known = self._read_runs()
        state = state_of(self.folder, known[-1], self._state)
        if state.run != self._state.run:
            _log.info("run %d is served, after run %d", state.run.number, self.run.number)
        self._runs, self._state, self._log, self._trouble = known, state, log, None

    def _newest_log(self) -> str:
        """The name of the newest commit of the table of runs. Read before the rows, so none is missed."""
        place = self.folder / RUNS / "_delta_log"
        try:
            return max(entry.name for entry in place.iterdir() if entry.suffix == ".json")
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:
            raise InputError(
                f"{self.folder}: there are no tables of handletime; `handletime derive --spark` makes them"
            ) from error

    def _read_runs(self) -> list[Run]:
        found = runs(self.folder)
        if not found:
            raise InputError(f"{self.folder}: no run is finished yet; `handletime derive --spark` writes the tables")
        return found

    def _read_earlier(self, finished: int) -> State:
        """The run that ended at a time. Raises InputError where there is none, or its files are gone."""
        for run in reversed(self._runs):
            if run.finished == finished:
                return state_of(self.folder, run, self._state)
        raise InputError(f"{self.folder}: no run ended at {finished}")


def _database(settings: LakeSettings, folders: Sequence[Path], spill: str) -> duckdb.DuckDBPyConnection:
    """An empty database that reads files below some folders, and nothing else."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{settings.memory_bytes}B",
        "temp_directory": spill,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    if settings.threads:
        config["threads"] = settings.threads
    connection = duckdb.connect(config=config)
    # Times of the tables are instants in UTC: so they compare and divide as those of a store.
    connection.execute("set global TimeZone = 'UTC'")
    connection.execute("set global parquet_metadata_cache = true")
    allowed = ", ".join("'" + str(folder).replace("'", "''") + "'" for folder in folders)
    connection.execute(f"set allowed_directories = [{allowed}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection
