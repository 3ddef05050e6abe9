"""Columns of events become NDJSON."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handletime.events import model

RFC_3339: Final = "%Y-%m-%dT%H:%M:%SZ"
"""How Arrow writes an instant: with the column's milliseconds, and Z."""
_ROWS: Final = 1 << 17


def to_ndjson(events: pa.Table) -> bytes:
    """A table of `model.EVENTS` as NDJSON, a line each: the fields that the event has.

    A `sequence` or `revision` of 0 is left out. Times are UTC with milliseconds and `Z`.
    """
    return b"".join(_lines(chunk) for chunk in events.to_batches(max_chunksize=_ROWS) if chunk.num_rows)


def _lines(events: pa.RecordBatch) -> bytes:
    parts: list[Any] = ['{"time":"', pc.strftime(events.column("time"), format=RFC_3339), '"']
    parts += [_member(events.column(field.name), field) for field in model.FIELDS if field.kind != "time"]
    lines = pc.binary_join_element_wise(*parts, "}\n", "")
    offsets = np.frombuffer(lines.buffers()[1], np.int32)
    return bytes(memoryview(lines.buffers()[2])[offsets[0] : offsets[len(lines)]])


def _member(column: pa.Array, field: model.Field) -> pa.Array:
    """`,"name":value` of each event, empty where it has none."""
    name = f',"{field.name}":'
    if pa.types.is_int64(column.type):
        values = pc.binary_join_element_wise(name, column.cast(pa.string()), "")
    elif pa.types.is_string(column.type) and not pc.any(pc.match_substring_regex(column, _ESCAPED)).as_py():
        values = pc.binary_join_element_wise(f'{name}"', column, '"', "")
    else:
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        texts = [f"{name}{msgspec.json.encode(value).decode()}" for value in encoded.dictionary.to_pylist()]
        values = pa.array(texts, pa.string()).take(encoded.indices.cast(pa.int32()))
    if field.default is not None and field.optional is None:
        values = pc.if_else(pc.equal(column, field.default), "", values)
    return pc.fill_null(values, "")


_ESCAPED: Final = '["\\\\\\x00-\\x1f\\x7f-\\x9f]'
"""What JSON writes in another way, and more."""
