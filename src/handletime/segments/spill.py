"""Tables on disk, each row in one of a number of buckets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from handletime.segments.columns import in_one_chunk

Buckets = npt.NDArray[np.integer]

HELD_BYTES: Final = 32 << 20
"""Bytes of rows that are collected before they are written: a piece of few rows would cost more than its rows."""
LZ4: Final = pa.ipc.IpcWriteOptions(compression="lz4")


def by_bucket(tables: Sequence[tuple[pa.Table, Buckets]], buckets: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of tables, each of which has a bucket, brought together by bucket in ascending order.

    Within a bucket they keep their order. Buckets without rows are left out.
    """
    bucket_of = np.concatenate([of for _table, of in tables])
    ascending = np.argsort(bucket_of, kind="stable")
    rows = in_one_chunk(pa.concat_tables([table for table, _of in tables])).take(ascending)
    bounds = np.searchsorted(bucket_of[ascending], np.arange(buckets + 1)).tolist()
    for batch in rows.to_batches():
        for bucket, (low, high) in enumerate(pairwise(bounds)):
            if low < high:
                yield bucket, batch.slice(low, high - low)


class Spill:
    """Rows in files of a folder, one for each bucket that has any. Rows of one bucket keep their order."""

    def __init__(self, folder: Path, buckets: int, held_bytes: int = HELD_BYTES) -> None:
        self.folder = folder
        folder.mkdir()
        self._paths = [folder / f"{bucket}.arrow" for bucket in range(buckets)]
        self._writers: dict[int, pa.RecordBatchStreamWriter] = {}
        self._sizes = [0] * buckets
        self._held: list[tuple[pa.Table, Buckets]] = []
        self._held_bytes = 0
        self._held_most = min(held_bytes, HELD_BYTES)

    def add(self, table: pa.Table, buckets: Buckets) -> None:
        """Adds each row of a table to its bucket."""
        self._held.append((table, buckets))
        self._held_bytes += table.nbytes
        if self._held_bytes > self._held_most:
            self._write()

    def _write(self) -> None:
        """Writes what is held, the rows of one bucket together."""
        held, self._held, self._held_bytes = self._held, [], 0
        for bucket, piece in by_bucket(held, len(self._paths)):
            self._writer(bucket, piece.schema).write_batch(piece)
            self._sizes[bucket] += piece.nbytes

    def _writer(self, bucket: int, schema: pa.Schema) -> pa.RecordBatchStreamWriter:
        if bucket not in self._writers:
            self._writers[bucket] = pa.ipc.new_stream(self._paths[bucket], schema, options=LZ4)
        return self._writers[bucket]

    def finish(self) -> None:
        """Ends the writing; then rows can be read."""
        if self._held:
            self._write()
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()  # and with them the files

    def groups(self, bytes_: int) -> list[list[int]]:
        """The buckets that have rows in groups of neighbours that take at most so many bytes, or are one bucket."""
        groups: list[list[int]] = []
        for bucket in self._filled():
            if not groups or self.size(groups[-1]) + self._sizes[bucket] > bytes_:
                groups.append([])
            groups[-1].append(bucket)
        return groups

    def _filled(self) -> list[int]:
        return [bucket for bucket, size in enumerate(self._sizes) if size]

    def size(self, buckets: list[int]) -> int:
        """Bytes that some buckets take in memory."""
        return sum(self._sizes[bucket] for bucket in buckets)

    def tables(self, buckets: list[int]) -> Iterator[pa.Table]:
        """The rows of some buckets, piece by piece."""
        for bucket in buckets:
            if self._sizes[bucket]:
                with pa.OSFile(str(self._paths[bucket])) as file, pa.ipc.open_stream(file) as reader:
                    for batch in reader:
                        yield pa.Table.from_batches([batch])

    def read(self, buckets: list[int]) -> pa.Table:
        """The rows of some buckets as one table in one chunk; without columns where there are none."""
        tables = list(self.tables(buckets))
        return in_one_chunk(pa.concat_tables(tables)) if tables else pa.table({})

    def forget(self, buckets: list[int]) -> None:
        """Removes the rows of some buckets."""
        for bucket in buckets:
            self._paths[bucket].unlink()
