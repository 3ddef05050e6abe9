"""Rows of a report as JSON, NDJSON, CSV, Parquet and Excel workbooks: one shape in each.

Text is made of whole columns at once, for a report may have a million rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handletime.answers.report import DIMENSIONS, PREVIOUS, Column, Question, Rows, number_type
from handletime.answers.sums import By
from handletime.answers.words import Kind, rfc_3339
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
    """What the columns of a report are: names and Arrow types, in order; and how keys become texts."""

    question: Question
    namer: Namer | None = None

    def names(self) -> list[str]:
        """The names of the columns."""
        question = self.question
        names = ["intervalStart", "intervalEnd"] if question.in_intervals else []
        ids = [column for column in DIMENSIONS.values() if column in question.by]
        names += ids
        if self.namer is not None:
            names += [_NAMED[key][0] for key in ids if key in _NAMED]
        for metric in question.metrics:
            names += [metric.key, *([f"{metric.key}{PREVIOUS}"] if question.before is not None else [])]
        return names

    def arrays(self, rows: Rows, times: Sequence[object], time_type: pa.DataType) -> dict[str, pa.Array]:
        """The columns of some rows; `times` are the bounds of the intervals as they are shown."""
        question = self.question
        arrays: dict[str, pa.Array] = {}
        if rows.places is not None:
            moments = pa.array(times, time_type)
            arrays["intervalStart"] = moments.take(pa.array(rows.places))
            arrays["intervalEnd"] = moments.take(pa.array(rows.places + 1))
        for key, column in rows.keys.items():
            arrays[key] = _array(column, pa.string() if column.values.dtype == object else pa.int64())
        if self.namer is not None:
            for key, column in rows.keys.items():
                if key in _NAMED:
                    name, kind = _NAMED[key]
                    arrays[name] = _names(column, kind, self.namer)
        for metric in question.metrics:
            for suffix in ("", PREVIOUS) if question.before is not None else ("",):
                arrays[f"{metric.key}{suffix}"] = _array(rows.metrics[f"{metric.key}{suffix}"], number_type(metric))
        return arrays


def _array(column: Column, kind: pa.DataType) -> pa.Array:
    return pa.array(column.values, kind, mask=None if column.there is None else ~column.there)


def _names(ids: Column, kind: Kind, namer: Namer) -> pa.Array:
    unique, places = np.unique(ids.values, return_inverse=True)
    return pa.array([namer(kind, int(each)) for each in unique], pa.string()).take(pa.array(places))


# --- text ------------------------------------------------------------------------------------------------------------


def texts(rows: Iterable[Rows], shape: Shape, form: Literal["json", "ndjson", "csv"]) -> Iterator[bytes]:
    """Rows as text, some at a time."""
    times = [rfc_3339(bound, shape.question.zone) for bound in shape.question.of.bounds]
    names = shape.names()
    if form == "csv":
        yield (",".join(names) or '""').encode() + b"\r\n"
    before = b"[\n" if form == "json" else b""
    for part in _small(rows):
        arrays = shape.arrays(part, times, pa.string())
        if form == "csv":
            yield _joined(map(_cells, arrays.values()), ",", "\r\n", part.count)
            continue
        members = _joined(_members(arrays), "", ",\n" if form == "json" else "\n", part.count)
        yield before + (members[:-2] if form == "json" else members)
        before = b",\n" if form == "json" else b""
    if form == "json":
        yield b"[]\n" if before == b"[\n" else b"\n]\n"


def _small(rows: Iterable[Rows]) -> Iterator[Rows]:
    for part in rows:
        for begin in range(0, part.count, _AT_ONCE):
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
