"""DuckDB, locked: a mapping reads `input` and nothing else, with limited memory and time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Final, NamedTuple, cast

import duckdb
import pyarrow as pa

from handletime.errors import InputError
from handletime.sources.sql.statement import NO_ZONE, checked, column_missing, told

MACROS: Final = (
    "create macro txt(json_, path_) as json_extract_string(json_, path_)",
    "create macro id53(text_) as ('0x' || left(sha256(cast(text_ as varchar)), 13))::bigint",
    f"""create macro millis(time_) as case when typeof(time_) in ('TIMESTAMP WITH TIME ZONE', '"NULL"')
        then epoch_ms(time_) else error('{NO_ZONE.replace("'", "''")}') end""",
)
"""`txt`: a text or null. `id53`: 52 bits of the text's SHA-256. `millis`: epoch milliseconds of an instant."""
_LOCK: Final = (
    "set python_scan_all_frames = false",
    "set enable_external_access = false",
    "set lock_configuration = true",
)
_ZONES: Final = ("UTC", "Etc/GMT-14")
"""A mapping runs under two session time zones. An instant that differs was guessed from a time without zone."""


class Batch(NamedTuple):
    """Rows that a mapping gave, as its columns are; and its `time` under another session time zone."""

    rows: pa.Table
    times: pa.ChunkedArray


class MappingFailed(InputError):
    """A mapping failed over its input; the message repeats nothing of that. It may work over less of it."""


class ColumnMissing(InputError):
    """A mapping names a column that is not there: `column`."""

    def __init__(self, message: str, column: str) -> None:
        self.column = column
        super().__init__(message)


class Engine:
    """A mapping and the database it runs in, for one thread. Its relations are made first, then it is locked."""

    def __init__(
        self, text: str, name: str, *, memory_bytes: int, spill: str = "", limit_s: float | None = None
    ) -> None:
        """`name` is what messages call the mapping. `spill` is a folder for what does not fit into memory, if any may.

        Raises InputError where the text is not exactly one select.
        """
        self.name, self._select, self._limit_s = name, checked(text, name), limit_s
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": 1,  # the order of rows is the same each time
            "memory_limit": f"{memory_bytes // 1024}KiB",
            "temp_directory": spill,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
        }
        self.database = duckdb.connect(":memory:", config=config)
        for macro in MACROS:
            self.database.execute(macro)
        self._sessions = [self.database.cursor() for _ in _ZONES]
        for session, zone in zip(self._sessions, _ZONES, strict=True):
            session.execute(f"set timezone = '{zone}'")

    def lock(self) -> None:
        """From now on no file is read, no extension loaded, no setting changed."""
        for statement in _LOCK:
            self.database.execute(statement)

    def schema(self) -> pa.Schema:
        """The mapping's columns and their types, over the input as it is declared. Raises InputError, ColumnMissing."""
        with self._limited():
            try:
                self._sessions[0].execute("explain " + self._select.text)  # its errors have the line
                return self._sessions[0].sql(self._select.text).limit(0).to_arrow_table().schema
            except duckdb.Error as error:
                message = f"{self.name}: {told(error, self._select)}"
                if column := column_missing(error):
                    raise ColumnMissing(message, column) from None
                raise InputError(message) from None

    def columns(self, relation: str) -> list[str]:
        """The names of a relation's columns."""
        return [str(row[0]) for row in self.database.execute(f'describe from "{relation}"').fetchall()]

    def run(self, batch_rows: int) -> Iterator[Batch]:
        """The mapping's rows, in its order, in batches; one column is `time`. Raises MappingFailed."""
        with self._limited():
            try:
                first, second = (
                    session.sql(self._select.text).to_arrow_reader(batch_rows) for session in self._sessions
                )
                yield from _side_by_side(first, second)
            except (duckdb.Error, pa.ArrowException, OSError, MemoryError) as error:
                raise MappingFailed(f"{self.name}: {told(error, self._select)}") from None

    def whole(self, most: int) -> Batch:
        """All of the mapping's rows, which may be `most`; one column is `time`. Raises MappingFailed."""
        with self._limited():
            try:  # one after the other: each needs memory
                first, second = (self._read(session, most) for session in self._sessions)
            except (duckdb.Error, pa.ArrowException, OSError, MemoryError) as error:
                raise MappingFailed(f"{self.name}: {told(error, self._select)}") from None
        return Batch(first, second.column(_time(second.schema)))

    def _read(self, session: duckdb.DuckDBPyConnection, most: int) -> pa.Table:
        batches, rows = [], 0
        with (
            warnings.catch_warnings()
        ):  # A relation spares a copy of the rows, but is planned twice, which takes longer.
            warnings.simplefilter("ignore", UserWarning)
            reader = cast("pa.RecordBatchReader", session.execute(self._select.text).to_arrow_reader(most + 1))
        for batch in reader:
            batches.append(batch)
            rows += batch.num_rows
            if rows > most:
                raise MappingFailed(f"{self.name}: the mapping makes more than {most:,} rows of its input")
        return pa.Table.from_batches(batches, reader.schema)

    def close(self) -> None:
        """Frees all of it."""
        for session in self._sessions:
            session.close()
        self.database.close()

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Stops what takes too long."""
        timer = Timer(self._limit_s, self._interrupt) if self._limit_s else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            yield
        finally:
            if timer:
                timer.cancel()

    def _interrupt(self) -> None:
        for session in self._sessions:
            session.interrupt()


def _side_by_side(first: pa.RecordBatchReader, second: pa.RecordBatchReader) -> Iterator[Batch]:
    """Batches of the first, each with the times of the same rows of the second."""
    place = _time(second.schema)
    waiting = second.schema.empty_table()
    for batch in first:
        while waiting.num_rows < batch.num_rows and (more := next(second, None)) is not None:
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([more])])
        yield Batch(pa.Table.from_batches([batch]), waiting.column(place).slice(0, batch.num_rows))
        waiting = waiting.slice(batch.num_rows)


def _time(schema: pa.Schema) -> int:
    return [name.lower() for name in schema.names].index("time")
