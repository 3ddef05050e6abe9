"""Events written to a file or standard output: NDJSON or Parquet, as the file's name says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from handletime.files import replacing

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


@contextmanager
def event_file(path: str) -> Iterator[Callable[[pa.Table], object]]:
    """Gives a function that adds tables of `model.EVENTS` to a file.

    The file appears under its name only when this is left without an exception, replacing an older one. Raises OSError.
    """
    if path == "-":
        with _written(path, sys.stdout.buffer) as write:
            yield write
        sys.stdout.buffer.flush()
        return
    with replacing(Path(path), 0o644) as file, _written(path, file) as write:
        yield write


@contextmanager
def _written(path: str, file: IO[bytes]) -> Iterator[Callable[[pa.Table], object]]:
    """Writes to an open file; `path` is its name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from handletime.events.encode import to_ndjson
    from handletime.events.model import EVENTS

    if path.endswith(".parquet"):
        with pq.ParquetWriter(file, EVENTS, compression="zstd") as parquet:
            yield lambda events: parquet.write_table(events.unify_dictionaries())
        return
    compression = _COMPRESSIONS.get(Path(path).suffix)
    with pa.CompressedOutputStream(pa.PythonFile(file, "w"), compression) if compression else nullcontext(file) as out:
        yield lambda events: out.write(to_ndjson(events))
