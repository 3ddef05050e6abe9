"""Events written to a file or standard output: NDJSON or Parquet, as the file's name says."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, cast

import click

if TYPE_CHECKING:
    import pyarrow as pa

OUT_HELP = "File to write: .ndjson or .parquet, also .ndjson.gz and .ndjson.zst; `-` is standard output."
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}


def is_known(path: str) -> bool:
    """Whether a file's name says which format to write."""
    name = path.removesuffix(".gz").removesuffix(".zst")
    return path == "-" or name.endswith((".ndjson", ".jsonl")) or path.endswith(".parquet")


def out_path(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Checks the name of a file to write."""
    if not is_known(value):
        raise click.BadParameter(f"{value}: name it .ndjson, .ndjson.gz, .ndjson.zst or .parquet")
    return value


class EventFile:
    """A context manager that takes tables of `model.EVENTS`.

    The file appears under its name only when it is left without an exception, replacing an older one. Raises OSError.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> EventFile:
        if self._path == "-":
            self._file: IO[bytes] = sys.stdout.buffer
            self._stream: Any = self._file
            self._parquet: Any = None
            return self
        target = Path(self._path)
        self._file = cast(
            IO[bytes],
            tempfile.NamedTemporaryFile(dir=target.parent, prefix=".handletime-", delete=False),
        )
        self._stream, self._parquet = self._file, None
        if target.suffix in _COMPRESSIONS:
            import pyarrow as pa

            self._stream = pa.CompressedOutputStream(pa.PythonFile(self._file, "w"), _COMPRESSIONS[target.suffix])
        return self

    def write(self, events: pa.Table) -> None:
        """Adds events."""
        if self._path.endswith(".parquet"):
            import pyarrow.parquet as pq

            events = events.unify_dictionaries()
            self._parquet = self._parquet or pq.ParquetWriter(self._file, events.schema, compression="zstd")
            self._parquet.write_table(events)
        else:
            from handletime.events.encode import to_ndjson

            self._stream.write(to_ndjson(events))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._path == "-":
            self._file.flush()
            return
        staged = Path(self._file.name)
        try:
            if self._parquet is not None:
                self._parquet.close()
            if self._stream is not self._file:
                self._stream.close()
            self._file.close()
            if kind is None:
                staged.chmod(0o644)
                staged.replace(self._path)
        finally:
            staged.unlink(missing_ok=True)
