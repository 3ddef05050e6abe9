"""What tasks send each other through Spark: packed Arrow tables, each for one target.

Spark sees a few large rows of bytes instead of millions of small ones, and moves them without looking inside. One
target is one partition, and so one task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from handletime.segments.columns import in_one_chunk
from handletime.segments.spill import LZ4, Buckets, by_bucket

DDL: Final = "target int, kind string, number long, content binary"
_SCHEMA: Final = pa.schema(
    [("target", pa.int32()), ("kind", pa.string()), ("number", pa.int64()), ("content", pa.binary())]
)
PARCEL_ROWS: Final = 100_000
"""The most rows that are packed together: a few MB."""
BATCH_BYTES: Final = 8 << 20
"""Bytes of parcels that are handed to Spark together."""


class Parcel(NamedTuple):
    """Rows of one kind for a target. `number` puts those of one target in an order that is the same in each attempt."""

    target: int
    kind: str
    number: int
    rows: pa.Table


Batches = Iterable[pa.RecordBatch]
Stage = Callable[[Batches], Iterator[Parcel]]
"""What a task does: it takes numbers, or what other tasks have sent, and sends parcels."""


def sent(stage: Stage, batches: Batches) -> Iterator[pa.RecordBatch]:
    """The parcels of a stage as rows of `DDL`."""
    waiting: list[tuple[int, str, int, bytes]] = []
    size = 0
    for target, kind, number, rows in stage(batches):
        content = _packed(rows)
        if waiting and size + len(content) > BATCH_BYTES:
            yield _batch(waiting)
            waiting, size = [], 0
        waiting.append((target, kind, number, content))
        size += len(content)
    if waiting:
        yield _batch(waiting)


def _batch(rows: list[tuple[int, str, int, bytes]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    return pa.record_batch(
        [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
    )


def _packed(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=LZ4) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def numbers_in(batches: Batches) -> Iterator[int]:
    """The numbers that a task is given, which say what it works on."""
    for batch in batches:
        yield from batch.column(0).to_pylist()


def received(batches: Batches) -> dict[int, dict[str, pa.Table]]:
    """The received rows by target and kind, each as one table, in the order of the parcels' numbers."""
    found: dict[int, dict[str, list[tuple[int, pa.Table]]]] = {}
    for batch in batches:
        columns = [batch.column(name).to_pylist() for name in ("target", "kind", "number")]
        for target, kind, number, content in zip(*columns, batch.column("content"), strict=True):
            rows = unpacked(content.as_buffer())
            found.setdefault(target, {}).setdefault(kind, []).append((number, rows))
    return {target: {kind: _joined(rows) for kind, rows in kinds.items()} for target, kinds in found.items()}


def unpacked(content: pa.Buffer) -> pa.Table:
    """The rows of a parcel."""
    with pa.ipc.open_stream(content) as reader:
        return reader.read_all()


def _joined(parcels: list[tuple[int, pa.Table]]) -> pa.Table:
    parcels.sort(key=lambda parcel: parcel[0])
    return in_one_chunk(pa.concat_tables([rows for _number, rows in parcels]))


def spread(
    kind: str, tables: Sequence[tuple[pa.Table, Buckets]], targets: int, first_number: int = 0
) -> Iterator[Parcel]:
    """The rows of tables for their targets."""
    number = first_number
    for target, piece in by_bucket(tables, targets):
        for low in range(0, piece.num_rows, PARCEL_ROWS):
            yield Parcel(target, kind, number, pa.Table.from_batches([piece.slice(low, PARCEL_ROWS)]))
            number += 1


def target_of(hashes: Buckets, targets: int) -> Buckets:
    """The target of each 64-bit hash: equal shares of all values, in ascending order."""
    upper = hashes.astype(np.uint64) >> np.uint64(32)
    return ((upper * np.uint64(targets)) >> np.uint64(32)).astype(np.int32)
