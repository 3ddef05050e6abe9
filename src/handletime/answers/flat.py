"""Rows of a report as JSON, NDJSON, CSV, Parquet and Excel workbooks: one shape in each.

Text is made of whole columns at once, for a report may have a million rows.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from handletime.answers.report import DIMENSIONS, PREVIOUS, Column, Question, Rows, number_type
from handletime.answers.sums import By
from handletime.answers.words import Kind, local, rfc_3339
from handletime.answers.workbook import Heading, workbook
from handletime.segments.cells import text_cell

Format = Literal["json", "ndjson", "csv", "parquet", "xlsx"]
FORMATS: Final[tuple[Format, ...]] = ("json", "ndjson", "csv", "parquet", "xlsx")
MEDIA_TYPES: Final[Mapping[Format, str]] = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
Namer = Callable[[Kind, int], str | None]
"""The name of an agent, skill or group; None where it has none."""
_NAMED: Final[Mapping[By, tuple[str, Kind]]] = {
    "skillId": ("skillName", "skill"),
    "agentId": ("agentName", "agent"),
    "groupId": ("groupName", "group"),
}
_AT_ONCE: Final = 5_000
"""Rows that are text at a time."""


class Shape(NamedTuple):
    """What the columns of a report are: what `leading` names, intervals, ids, names where there is a namer, metrics."""

    question: Question
    namer: Namer | None = None
    leading: tuple[str, ...] = ()

    def schema(self, time_type: pa.DataType) -> pa.Schema:
        """The columns with their types."""
        question = self.question
        texts = [(name, pa.string()) for name in self.leading]
        times = [(name, time_type) for name in ("intervalStart", "intervalEnd") if question.in_intervals]
        ids = [column for column in DIMENSIONS.values() if column in question.by]
        keys = [(key, pa.string() if key in ("source", "userType") else pa.int64()) for key in ids]
        names = [(_NAMED[key][0], pa.string()) for key in ids if key in _NAMED and self.namer is not None]
        metrics = [(f"{metric.key}{suffix}", number_type(metric)) for metric in question.metrics for suffix in self._of]
        return pa.schema([*texts, *times, *keys, *names, *metrics])

    @property
    def _of(self) -> tuple[str, ...]:
        return ("",) if self.question.before is None else ("", PREVIOUS)

    def arrays(self, rows: Rows, times: Sequence[object], time_type: pa.DataType) -> dict[str, pa.Array]:
        """The columns of some rows; `times` are the bounds of the intervals as they are shown."""
        question = self.question
        arrays = {name: _array(rows.leading[name], pa.string()) for name in self.leading}
        if rows.places is not None:
            moments = pa.array(times, time_type)
            arrays["intervalStart"] = moments.take(pa.array(rows.places))
            arrays["intervalEnd"] = moments.take(pa.array(rows.places + 1))
        keys = {key: column for key, column in rows.keys.items() if key != "conversation"}
        for key, column in keys.items():
            arrays[key] = _array(column, pa.string() if column.values.dtype == object else pa.int64())
        if self.namer is not None:
            for key, column in keys.items():
                if key in _NAMED:
                    name, kind = _NAMED[key]
                    arrays[name] = _names(column, kind, self.namer)
        for metric in question.metrics:
            for suffix in self._of:
                arrays[f"{metric.key}{suffix}"] = _array(rows.metrics[f"{metric.key}{suffix}"], number_type(metric))
        return arrays


def _array(column: Column, kind: pa.DataType) -> pa.Array:
    return pa.array(column.values, kind, mask=None if column.there is None else ~column.there)


def _names(ids: Column, kind: Kind, namer: Namer) -> pa.Array:
    unique, places = np.unique(ids.values, return_inverse=True)
    return pa.array([namer(kind, int(each)) for each in unique], pa.string()).take(pa.array(places))


def written(rows: Iterable[Rows], shape: Shape, form: Format) -> Iterator[bytes]:
    """Rows in one of the formats, piece by piece."""
    match form:
        case "parquet":
            return _parquet(rows, shape)
        case "xlsx":
            return _workbook(rows, shape)
        case _:
            return texts(rows, shape, form)


# --- text ------------------------------------------------------------------------------------------------------------


def texts(rows: Iterable[Rows], shape: Shape, form: Literal["json", "ndjson", "csv"]) -> Iterator[bytes]:
    """Rows as text, some at a time."""
    times = [rfc_3339(bound, shape.question.zone) for bound in shape.question.of.bounds]
    names = shape.schema(pa.string()).names
    if form == "csv":
        yield ",".join(names).encode() + b"\r\n"
    before = b"[\n" if form == "json" else b""
    for part in in_small(rows):
        arrays = shape.arrays(part, times, pa.string())
        if form == "csv":
            yield _joined(map(_cells, arrays.values()), ",", "\r\n", part.number)
            continue
        members = _joined(_members(arrays), "", ",\n" if form == "json" else "\n", part.number)
        yield before + (members[:-2] if form == "json" else members)
        before = b",\n" if form == "json" else b""
    if form == "json":
        yield b"[]\n" if before == b"[\n" else b"\n]\n"


def in_small(rows: Iterable[Rows]) -> Iterator[Rows]:
    """The same rows, few enough at a time to be text."""
    for part in rows:
        for begin in range(0, part.number, _AT_ONCE):
            yield part.part(begin, begin + _AT_ONCE)


def _members(arrays: Mapping[str, pa.Array]) -> Iterator[pa.Array | str]:
    """The pieces of JSON objects: the names of members, with what is the same in all rows, and values."""
    before = "{"
    for name, array in arrays.items():
        before += msgspec.json.encode(name).decode() + ":"
        if array.null_count == len(array):
            before += "null,"
            continue
        yield before
        yield (_quoted(array) if pa.types.is_string(array.type) else array.cast(pa.string())).fill_null("null")
        before = ","
    yield before.removesuffix(",") + "}"


def _quoted(array: pa.Array) -> pa.Array:
    """Texts as JSON. There are few different ones."""
    encoded = array.dictionary_encode()
    texts = [msgspec.json.encode(text).decode() for text in encoded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(encoded.indices)


def _cells(array: pa.Array) -> pa.Array | str:
    """Values as cells of CSV, as `segments.cells` has them."""
    if array.null_count == len(array):
        return ""
    if not pa.types.is_string(array.type):
        return array.cast(pa.string()).fill_null("")
    encoded = array.dictionary_encode()
    guarded = [text_cell(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(guarded, pa.string()).take(encoded.indices).fill_null("")


def _joined(pieces: Iterable[pa.Array | str], between: str, end: str, count: int) -> bytes:
    """The pieces of each row behind each other, as bytes: what is the same in all rows stands as one text."""
    parts: list[pa.Array | str] = []
    for place, piece in enumerate(pieces):
        glued = between if place else ""
        if isinstance(piece, str):
            parts += [glued + piece]
        else:
            parts += [*([glued] if glued else []), piece]
    parts.append(end)
    together: list[pa.Array | pa.Scalar] = []
    constant = ""
    for part in parts:
        if isinstance(part, str):
            constant += part
        else:
            together += [pa.scalar(constant), part] if constant else [part]
            constant = ""
    together.append(pa.scalar(constant))
    if not any(isinstance(part, pa.Array) for part in together):
        return (constant * count).encode()
    lines = pc.binary_join_element_wise(*together, pa.scalar(""))
    return b"".join(_content(chunk) for chunk in (lines.chunks if isinstance(lines, pa.ChunkedArray) else [lines]))


def _content(lines: pa.Array) -> bytes:
    """The bytes of texts without nulls, one behind the other."""
    _, offsets, content = lines.buffers()
    places = np.frombuffer(offsets, np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return bytes(memoryview(content)[int(places[0]) : int(places[-1])])


# --- files -----------------------------------------------------------------------------------------------------------


class _Sink(io.RawIOBase):
    """What is written, until it is taken."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._kept += content
        return len(content)

    def take(self) -> bytes:
        taken = bytes(self._kept)
        self._kept.clear()
        return taken


def _parquet(rows: Iterable[Rows], shape: Shape) -> Iterator[bytes]:
    """A Parquet file; times are timestamps of the zone."""
    time_type = pa.timestamp("ms", tz=shape.question.zone.key)
    schema, sink = shape.schema(time_type), _Sink()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        for part in rows:
            arrays = shape.arrays(part, shape.question.of.bounds, time_type)
            writer.write_table(pa.table(arrays, schema))
            yield sink.take()
    yield sink.take()


def _workbook(rows: Iterable[Rows], shape: Shape) -> Iterator[bytes]:
    """A workbook of a report: the values as they are."""
    return workbook("report", [Heading(name) for name in names_of(shape)], cells_of(rows, shape))


def names_of(shape: Shape) -> list[str]:
    """The names of a report's columns."""
    names: list[str] = shape.schema(pa.timestamp("ms")).names
    return names


def cells_of(rows: Iterable[Rows], shape: Shape) -> Iterator[Sequence[object]]:
    """The rows of a report as cells of a workbook. Times stand as the clock of the zone shows them."""
    zone = shape.question.zone
    times = [local(bound, zone).replace(tzinfo=None) for bound in shape.question.of.bounds]
    for part in in_small(rows):
        yield from zip(
            *(array.to_pylist() for array in shape.arrays(part, times, pa.timestamp("us")).values()), strict=True
        )
