"""Bytes become columns of events, or a list of faults (rules.md 1). Pure: no file, no clock, no state.

There is one meaning and two speeds. `book` reads one event by the book and names its faults. `plain` reads whole
blocks, takes the events that are beyond doubt, and leaves the others to `book`; a test holds both to the same
answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handletime.errors import Fault, InvalidEvents
from handletime.events import model, plain
from handletime.events.book import LINE_MAX, Event, event_of, event_of_line
from handletime.events.model import EVENTS, FIELDS, Field
from handletime.events.rows import DOUBTFUL, GOOD, Bools, Bytes, Int64s, Rows, rows_of


class Refused(NamedTuple):
    """An event that was not taken: where it stood, what is wrong, and its bytes (none of a Parquet row).

    Of a line that is too long `text` has only the first `LINE_MAX` bytes.
    """

    line: int
    faults: list[Fault]
    text: bytes


class Decoded(NamedTuple):
    """Good events as a table of `model.EVENTS`, in the order they came; the others with their faults, in order."""

    events: pa.Table
    refused: list[Refused]

    @property
    def faults(self) -> list[Fault]:
        """All that is wrong, in order."""
        return [fault for refused in self.refused for fault in refused.faults]

    def good_events(self, source: str) -> pa.Table:
        """The events. Raises InvalidEvents where any was refused."""
        if self.refused:
            raise InvalidEvents(source, self.faults)
        return self.events


_BLANK: Final = b" \t\r\n"


def decode_lines(block: bytes, *, account: str, first_line: int = 1, unit: str = "line") -> Decoded:
    """Decodes NDJSON: whole lines, one event each; blank lines are skipped.

    `account` is for events that name none. `first_line` is the number of the block's first line and `unit` what
    faults call it. Of a key that stands twice in an event the last counts, as in msgspec. Never raises for
    content.
    """
    if not block.lstrip(_BLANK):
        return Decoded(EVENTS.empty_table(), [])
    if not block.endswith(b"\n"):
        block += b"\n"
    text = np.frombuffer(block, np.uint8)
    line_ends = np.flatnonzero(text == ord("\n"))
    begins = np.concatenate([[0], line_ends[:-1] + 1])
    rows = rows_of(len(begins))
    rows.state[line_ends - begins > LINE_MAX] = DOUBTFUL
    if not _is_utf8(block):
        rows.state[np.searchsorted(line_ends, np.flatnonzero(text > 0x7F))] = DOUBTFUL
    plain.read_lines(text, begins, rows)

    def lines(numbers: list[int]) -> list[bytes]:
        return [block[begins[row] : line_ends[row]].removesuffix(b"\r") for row in numbers]

    return _decoded(rows, [text] * len(FIELDS), lines, account, first_line, unit)


def _is_utf8(block: bytes) -> bool:
    try:
        return block.isascii() or bool(block.decode())
    except UnicodeDecodeError:
        return False


def decode_columns(table: pa.Table, *, account: str, first_line: int = 1) -> Decoded:
    """Decodes rows that have columns already, as of a Parquet file.

    Columns of rules.md 1 by name, others are ignored: strings (also as dictionaries), integers of any width,
    `time` also as a timestamp with a time zone. A column of another type, or a required one that is missing, is a
    fault of the whole table (line 0), and nothing is taken.
    """
    columns, faults = _known_columns(table)
    if faults or not table.num_rows:
        return Decoded(EVENTS.empty_table(), [Refused(0, faults, b"")] if faults else [])
    rows = rows_of(table.num_rows)
    texts = [_read_column(columns.get(field.name), place, rows) for place, field in enumerate(FIELDS)]
    plain.settle(rows)

    def events(numbers: list[int]) -> list[Event]:
        taken = {name: _written(column.take(numbers)) for name, column in columns.items()}
        items: list[Event] = pa.table(taken).to_pylist()
        return items

    return _decoded(rows, texts, events, account, first_line, "row")


# --- columns into rows ---------------------------------------------------------------------------------------

_NO_TEXT: Final = np.frombuffer(b"\n", np.uint8)
_TEXTS: Final = (pa.string(), pa.large_string(), pa.string_view())
_SECONDS_MAX: Final = 10**15
"""Far beyond the years that a time may have, and no overflow in milliseconds."""
_NO_ZONE: Final = (
    "must be timestamps with a time zone, strings or integer milliseconds; these timestamps have no time zone "
    "(INT96 never has one). Spark writes one with spark.sql.parquet.outputTimestampType=TIMESTAMP_MILLIS"
)


def _known_columns(table: pa.Table) -> tuple[dict[str, pa.Array], list[Fault]]:
    """The columns of rules.md 1 as strings or integers, `time` in milliseconds; and what is wrong with them."""
    columns, faults = {}, []
    for field in FIELDS:
        same = [column for column, name in zip(table.columns, table.column_names, strict=True) if name == field.name]
        try:
            if len(same) == 1:
                columns[field.name] = _known_column(same[0].combine_chunks(), field)
            elif same or field.required is None:
                raise TypeError("this column stands twice" if same else "this column is missing")
        except (TypeError, pa.ArrowException) as error:
            faults.append(Fault(0, field.name, str(error), "row"))
    return columns, faults


def _known_column(column: pa.Array, field: Field) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    type_ = column.type
    if pa.types.is_null(type_):
        return column.cast(pa.int64() if field.kind == "integer" else pa.string())
    if field.kind in ("integer", "time") and pa.types.is_integer(type_):
        return column if type_ == pa.uint64() else column.cast(pa.int64())
    if field.kind == "time" and pa.types.is_timestamp(type_):
        return _milliseconds(column).cast(model.INSTANT)
    if field.kind != "integer" and type_ in _TEXTS:
        column.validate(full=True)
        return column.cast(pa.string())
    allowed = {"integer": "integers", "time": "timestamps with a time zone, strings or integer milliseconds"}
    raise TypeError(f"must be a column of {allowed.get(field.kind, 'strings')}, not of {type_}")


def _milliseconds(column: pa.Array) -> pa.Array:
    """Timestamps as epoch milliseconds, what is finer cut off. Raises TypeError without a time zone."""
    if column.type.tz is None:
        raise TypeError(_NO_ZONE)
    values = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
    match column.type.unit:
        case "s":
            values = values.clip(-_SECONDS_MAX, _SECONDS_MAX) * 1000
        case "us":
            values = values // 1000
        case "ns":
            values = values // 1_000_000
    return pa.array(values, mask=column.is_null().to_numpy(zero_copy_only=False))


def _read_column(column: pa.Array | None, place: int, rows: Rows) -> Bytes:
    """Reads a known column into the rows; gives the text that they refer to."""
    if column is None:
        return _NO_TEXT
    rows.there[place] = column.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_string(column.type):
        _validity, offsets, data = column.buffers()
        text = np.frombuffer(data, np.uint8) if data else _NO_TEXT
        text.flags.writeable = False
        first = np.frombuffer(offsets, np.int32)[column.offset :]
        plain.read_strings(text, first, place, rows)
        return text
    if pa.types.is_timestamp(column.type):
        rows.values[place] = times = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
        rows.state[(times < model.TIME_MIN) | (times > model.TIME_MAX)] = DOUBTFUL
        return _NO_TEXT
    values = pc.fill_null(column, 0).to_numpy()
    rows.state[values > model.INTEGER_MAX] = DOUBTFUL
    plain.read_integers(values.astype(np.int64), place, rows)
    return _NO_TEXT


def _written(column: pa.Array) -> pa.Array:
    """A known column as `book` takes it: timestamps, which may be from before 2000, as texts."""
    if not pa.types.is_timestamp(column.type):
        return column
    times = column.cast(pa.int64()).to_pylist()
    return pa.array([None if time is None else _text_of(time) for time in times], pa.string())


def _text_of(time: int) -> str:
    """A time in RFC 3339, or where that has none what is no time either."""
    return (model.EPOCH + timedelta(milliseconds=time)).isoformat() if model.TIME_MIN <= time <= model.TIME_MAX else ""


# --- rows into a table ---------------------------------------------------------------------------------------


def _decoded(
    rows: Rows,
    texts: list[Bytes],
    read_again: Callable[[list[int]], Iterable[bytes | Event]],
    account: str,
    first_line: int,
    unit: str,
) -> Decoded:
    """The good rows, and by the book the doubtful ones."""
    events = _table_of_rows(rows, texts, account)
    doubtful = np.flatnonzero(rows.state == DOUBTFUL).tolist()
    if not doubtful:
        return Decoded(events, [])
    good, good_rows, refused = [], [], []
    for row, item in zip(doubtful, read_again(doubtful), strict=True):
        event, problems = event_of_line(item, account) if isinstance(item, bytes) else event_of(item, account)
        if problems:
            text = item[:LINE_MAX] if isinstance(item, bytes) else b""
            faults = [Fault(first_line + row, field, message, unit) for field, message in problems]
            refused.append(Refused(first_line + row, faults, text))
        else:
            good.append(event)
            good_rows.append(row)
    if not good:
        return Decoded(events, refused)
    places = np.argsort(np.concatenate([np.flatnonzero(rows.state == GOOD), good_rows]))
    all_events = pa.concat_tables([events, _table_of_events(good)]).unify_dictionaries().combine_chunks()
    return Decoded(all_events.take(places), refused)


def _table_of_rows(rows: Rows, texts: list[Bytes], account: str) -> pa.Table:
    good = np.flatnonzero(rows.state == GOOD)
    columns = []
    for place, field in enumerate(FIELDS):
        there, values = rows.there[place][good], rows.values[place][good]
        if field.kind in ("account", "id", "text"):
            column = _strings(texts[place], values, rows.ends[place][good], there)
            columns.append(_accounts(column, account) if field.kind == "account" else column)
        else:
            columns.append(_numbers(values, there, field))
    return pa.table(columns, schema=EVENTS)


def _strings(text: Bytes, starts: Int64s, ends: Int64s, there: Bools) -> pa.Array:
    if not there.any():
        return pa.nulls(len(there), pa.string())
    offsets = np.empty(len(there) + 1, np.int32)
    data = np.empty(np.sum(ends - starts, where=there), np.uint8)
    plain.gather(text, starts, ends, there, offsets, data)
    return pa.StringArray.from_buffers(len(there), pa.py_buffer(offsets), pa.py_buffer(data), _bitmap(there))


def _accounts(column: pa.Array, account: str) -> pa.Array:
    if column.null_count == len(column):
        return pa.DictionaryArray.from_arrays(np.zeros(len(column), np.int32), [account])
    return pc.fill_null(column, account).dictionary_encode()


def _numbers(numbers: Int64s, there: Bools, field: Field) -> pa.Array:
    if field.kind == "choice":
        places = pa.Array.from_buffers(pa.int8(), len(there), [_bitmap(there), pa.py_buffer(numbers.astype(np.int8))])
        return model.codes(places, field.choices)
    type_ = EVENTS.field(field.name).type
    return pa.Array.from_buffers(type_, len(there), [_bitmap(there), pa.py_buffer(numbers)])


def _bitmap(there: Bools) -> pa.Buffer | None:
    return None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))


def _table_of_events(events: list[Event]) -> pa.Table:
    return pa.table([_column_of([event.get(f.name) for event in events], f) for f in FIELDS], schema=EVENTS)


def _column_of(values: list[object], field: Field) -> pa.Array:
    if field.kind == "choice":
        places = [None if value is None else field.choices.index(str(value)) for value in values]
        return model.codes(pa.array(places, pa.int8()), field.choices)
    if field.kind == "account":
        return pa.array(values, pa.string()).dictionary_encode()
    if field.kind == "time":
        return pa.array(values, pa.int64()).cast(model.INSTANT)
    return pa.array(values, EVENTS.field(field.name).type)
