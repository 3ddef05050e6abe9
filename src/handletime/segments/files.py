"""The derived tables as files: Parquet, CSV or NDJSON, all of them or none."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Literal, Protocol, get_args

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from handletime.events import model
from handletime.events.encode import RFC_3339
from handletime.segments import tables
from handletime.segments.cells import FORMULA, GUARDED
from handletime.segments.derive import Derived

Format = Literal["parquet", "csv", "ndjson"]
REFUSED: Final = "refused.ndjson"
"""The file for what is no event and was set aside."""
SCHEMAS: Final = {
    "agent_segments": tables.AGENT_SEGMENTS,
    "skill_segments": tables.SKILL_SEGMENTS,
    "queue_segments": tables.QUEUE_SEGMENTS,
    "handle_time_units": tables.HANDLE_TIME_UNITS,
}


class Writer(Protocol):
    """Writes tables of one schema, one after the other, as Arrow's own writers do."""

    def write_table(self, table: pa.Table) -> None:
        """Adds the rows of a table."""

    def close(self) -> None:
        """Ends the file."""


class TableFiles:
    """Writes derived tables to a folder, each to a file of its name in `SCHEMAS`.

    A context manager: when it is left without an exception, and not before, the files appear under their names, one
    after the other, and files of an earlier run go. The folder is made if it is not there. Raises OSError.

    Tables are written side by side, while the next ones are derived: an error may come with the next call.
    """

    def __init__(self, folder: Path, format_: Format) -> None:
        self._folder, self._format = folder, format_
        self._threads = ThreadPoolExecutor(len(SCHEMAS))
        self._writing: list[Future[None]] = []

    def __enter__(self) -> TableFiles:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.staging = Path(tempfile.mkdtemp(prefix=".handletime-", dir=self._folder))
        self._writers = {
            name: _writer(self.staging / f"{name}.{self._format}", schema, self._format)
            for name, schema in SCHEMAS.items()
        }
        return self

    def add(self, name: str, content: bytes) -> None:
        """Adds another file, which appears with the tables; so does any file that is written to `staging`."""
        (self.staging / name).write_bytes(content)

    def write(self, derived: Derived) -> None:
        """Adds the rows of the tables."""
        self._wait()
        self._writing = [
            self._threads.submit(self._write, writer, getattr(derived, name)) for name, writer in self._writers.items()
        ]

    def _write(self, writer: Writer, table: pa.Table) -> None:
        is_parquet = self._format == "parquet"
        writer.write_table(table.unify_dictionaries() if is_parquet else plain(table, cells=self._format == "csv"))

    def _wait(self) -> None:
        """Until the tables before are written."""
        while self._writing:
            self._writing.pop(0).result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._threads.shutdown()
            for writer in self._writers.values():
                writer.close()
            if kind is None:
                self._wait()
                self._publish()
        finally:
            shutil.rmtree(self.staging, ignore_errors=True)

    def _publish(self) -> None:
        """Moves the files into the folder, and removes what an earlier run left under other names."""
        made = {file.name for file in self.staging.iterdir()}
        for name in sorted(made):
            (self.staging / name).replace(self._folder / name)
        ours = {f"{name}.{format_}" for name in SCHEMAS for format_ in get_args(Format)} | {REFUSED}
        for name in ours - made:
            (self._folder / name).unlink(missing_ok=True)


def _writer(path: Path, schema: pa.Schema, format_: Format) -> Writer:
    match format_:
        case "parquet":
            return pq.ParquetWriter(path, schema, compression="zstd")  # type: ignore[no-any-return]
        case "csv":
            return pcsv.CSVWriter(path, plain(schema.empty_table(), cells=True).schema)  # type: ignore[no-any-return]
        case "ndjson":
            return _Ndjson(path)


class _Ndjson:
    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("wb")
        self._encoder = msgspec.json.Encoder()

    def write_table(self, table: pa.Table) -> None:
        for batch in table.to_batches(max_chunksize=50_000):
            self._file.write(self._encoder.encode_lines(batch.to_pylist()))

    def close(self) -> None:
        self._file.close()


def instants(milliseconds: Sequence[int]) -> list[str]:
    """Epoch milliseconds as RFC 3339 in UTC, with milliseconds and Z."""
    texts: list[str] = pc.strftime(pa.array(milliseconds, model.INSTANT), format=RFC_3339).to_pylist()
    return texts


def plain(table: pa.Table, *, cells: bool = False) -> pa.Table:
    """Rows as they stand in text: times as RFC 3339 with milliseconds and Z, closed lists as strings.

    With `cells` for CSV: lists as JSON, and text that a spreadsheet would take for a formula behind an apostrophe.
    """
    columns = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
        elif pa.types.is_timestamp(column.type):
            column = pc.strftime(column, format=RFC_3339)
        elif pa.types.is_list(column.type) and pa.types.is_timestamp(column.type.value_type):
            column = _lists_of_texts(column)
        elif cells and pa.types.is_string(column.type):
            column = pc.replace_substring_regex(column, FORMULA, GUARDED)
        if cells and pa.types.is_list(column.type):
            texts = [msgspec.json.encode(values).decode() for values in column.to_pylist()]
            column = pa.array(texts, pa.string())
        columns[name] = column
    return pa.table(columns)


def _lists_of_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Lists of times, none of which is null, as lists of texts."""
    chunks = [
        pa.ListArray.from_arrays(chunk.offsets, pc.strftime(chunk.values, format=RFC_3339)) for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, pa.list_(pa.string()))
