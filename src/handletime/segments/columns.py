"""Events as the flat arrays that compiled code reads."""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Compiled code: its integers are NumPy's, and records are seen as Any.

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from handletime.compiled import borrowing
from handletime.errors import InputError
from handletime.events import model

I64: TypeAlias = npt.NDArray[np.int64]
I32: TypeAlias = npt.NDArray[np.int32]
I8: TypeAlias = npt.NDArray[np.int8]
U8: TypeAlias = npt.NDArray[np.uint8]
U64: TypeAlias = npt.NDArray[np.uint64]
Bools: TypeAlias = npt.NDArray[np.bool_]

NEVER: Final = np.iinfo(np.int64).max
RANKS: Final = np.array(model.RANKS, np.int8)


class Strings(NamedTuple):
    """UTF-8 strings: string i is `data[offsets[i]:offsets[i + 1]]`."""

    offsets: I32
    data: U8


class Columns(NamedTuple):
    """A table of `model.EVENTS`, column by column, row i at place i.

    Integers that are absent hold anything: `has_…` says which are there. `type`, `user_type`, `sent_by`, `reason`
    and `closed_by` are places in the lists of `model`; `lease` is in milliseconds. `lost_time` and `lost_sequence` say
    of a `focused` when the agent's focus went to another conversation (`NEVER`: it did not, or another event of its own
    comes before); they are empty until `focus` has found that out.
    """

    account: I32
    conversation: Strings
    event: Strings
    time: I64
    sequence: I64
    revision: I64
    type: I8
    agent: I64
    has_agent: Bools
    skill: I64
    has_skill: Bools
    has_source: Bools
    group: I64
    lease: I64
    has_lease: Bools
    user_type: I8
    sent_by: I8
    reason: I8
    closed_by: I8
    lost_time: I64
    lost_sequence: I64


def in_one_chunk(events: pa.Table) -> pa.Table:
    """A table with each column in one piece. Raises InputError where the ids of all events take 2 GiB or more."""
    if all(column.num_chunks == 1 for column in events.columns):
        return events
    table = events.unify_dictionaries().combine_chunks()
    if any(column.num_chunks > 1 for column in table.columns):
        raise InputError("too many events at once: their ids take more than 2 GiB; give them in parts")
    return table


def columns_of(events: pa.Table) -> Columns:
    """The columns of a table of `model.EVENTS` of fewer than 2^31 rows; no loss of focus is known yet.

    Or of events as a store has them: closed lists are places in those of `model`, accounts numbers (`account`). A
    column that is missing has no values.
    """
    table = in_one_chunk(events)
    arrays = {name: in_one_piece(column) for name, column in zip(table.column_names, table.columns, strict=True)}
    if "conversationId" not in arrays:
        arrays["conversationId"] = pa.nulls(table.num_rows, pa.string())

    def integers(name: str) -> I64:
        return _values(arrays.get(name), np.int64)

    def places(name: str) -> I8:
        return _values(arrays.get(name), np.int8)

    def has(name: str) -> Bools:
        return flags(arrays[name]) if name in arrays else np.empty(0, np.bool_)

    return Columns(
        account=_values(arrays.get("account", arrays.get("accountId")), np.int32),
        conversation=strings(arrays["conversationId"]),
        event=strings(arrays["eventId"]),
        time=integers("time"),
        sequence=integers("sequence"),
        revision=integers("revision"),
        type=places("type"),
        agent=integers("agentId"),
        has_agent=has("agentId"),
        skill=integers("skillId"),
        has_skill=has("skillId"),
        has_source=has("source"),
        group=integers("groupId"),
        lease=integers("leaseMillis"),
        has_lease=has("leaseMillis"),
        user_type=places("userType"),
        sent_by=places("sentBy"),
        reason=places("reason"),
        closed_by=places("closedBy"),
        lost_time=np.empty(0, np.int64),
        lost_sequence=np.empty(0, np.int64),
    )


def losses_by_row(rows: I64, losses: pa.Table, count: int) -> tuple[I64, I64]:
    """`lost_time` and `lost_sequence` of `count` events, out of losses with columns of these names, and their rows."""
    lost_time, lost_sequence = np.full(count, NEVER, np.int64), np.full(count, NEVER, np.int64)
    lost_time[rows], lost_sequence[rows] = losses["lost_time"].to_numpy(), losses["lost_sequence"].to_numpy()
    return lost_time, lost_sequence


def without_records_columns(columns: Columns) -> Columns:
    """Columns without those of which nothing is read once events are records (`sorting.EVENT`)."""
    integers, codes, no_flags = np.frombuffer(b"", np.int64), np.frombuffer(b"", np.int8), np.empty(0, np.bool_)
    return columns._replace(
        sequence=integers,
        revision=integers,
        skill=integers,
        lease=integers,
        type=codes,
        sent_by=codes,
        reason=codes,
        closed_by=codes,
        has_agent=no_flags,
        has_skill=no_flags,
        has_source=no_flags,
        has_lease=no_flags,
    )


def in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    """A column as an array."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _buffer(array: pa.Array, which: int, dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """What lies in memory, never to be written: code is compiled anew for arrays that may be."""
    buffer = array.buffers()[which]
    values = np.frombuffer(buffer if buffer is not None else b"", dtype)
    values.flags.writeable = False
    return values


def _values(array: pa.Array | None, dtype: npt.DTypeLike) -> Any:
    """The values, or places in a dictionary, as they lie in memory, without a copy; where absent they are anything."""
    if array is None:
        return np.frombuffer(b"", dtype)
    if pa.types.is_dictionary(array.type):
        array = array.indices
    values = _buffer(array, 1, dtype)[array.offset : array.offset + len(array)]
    if len(values) == len(array):
        return values
    nothing = np.zeros(len(array), dtype)
    nothing.flags.writeable = False
    return nothing


def flags(array: pa.Array) -> Bools:
    """Where a column has a value."""
    valid: Bools = array.is_valid().to_numpy(zero_copy_only=False)
    return valid


def strings(array: pa.Array) -> Strings:
    """Strings as they lie in memory."""
    offsets = _buffer(array, 1, np.int32)[array.offset : array.offset + len(array) + 1]
    if not len(offsets):
        offsets = np.frombuffer(bytes(4), np.int32)
    return Strings(offsets.astype(np.int32, copy=False), _buffer(array, 2, np.uint8).astype(np.uint8, copy=False))


def count_codes(codes: I8, size: int) -> I64:
    """How often each place of a closed list occurs."""
    counts = np.zeros(size, np.int64)
    count_each(codes, counts)
    return counts


@borrowing
def count_each(codes: I8, counts: I64) -> None:
    """Adds how often each place occurs."""
    for code in codes:
        counts[code] += 1


@borrowing
def compare_strings(strings: Strings, a: int, b: int) -> int:
    """Below, at or above 0 as string a comes before, is, or comes after string b by its UTF-8 bytes."""
    start_a, start_b = strings.offsets[a], strings.offsets[b]
    length_a, length_b = strings.offsets[a + 1] - start_a, strings.offsets[b + 1] - start_b
    for i in range(min(length_a, length_b)):
        difference = np.int64(strings.data[start_a + i]) - np.int64(strings.data[start_b + i])
        if difference != 0:
            return difference
    return np.int64(length_a) - np.int64(length_b)


@borrowing
def same_string(strings: Strings, a: int, b: int) -> bool:
    """Whether string a and string b are equal."""
    start_a, start_b = strings.offsets[a], strings.offsets[b]
    length = strings.offsets[a + 1] - start_a
    if strings.offsets[b + 1] - start_b != length:
        return False
    for i in range(length):
        if strings.data[start_a + i] != strings.data[start_b + i]:
            return False
    return True


@borrowing
def hash_string(strings: Strings, row: int, seed: np.uint64) -> np.uint64:
    """A 64-bit hash of a string, the same on every machine."""
    value = seed
    at, end = np.int64(strings.offsets[row]), np.int64(strings.offsets[row + 1])
    length = np.uint64(end - at)
    while at < end:
        value = mix(value ^ word_at(strings.data, at, end))
        at += 8
    return mix(value ^ length)


@borrowing
def hash_string_twice(
    strings: Strings, row: int, seed: np.uint64, other_seed: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Two hashes of a string, by two seeds, at about the price of one."""
    value, other = seed, other_seed
    at, end = np.int64(strings.offsets[row]), np.int64(strings.offsets[row + 1])
    length = np.uint64(end - at)
    while at < end:
        word = word_at(strings.data, at, end)
        value, other = mix(value ^ word), mix(other ^ word)
        at += 8
    return mix(value ^ length), mix(other ^ length)


@borrowing
def word_at(data: U8, at: np.int64, end: np.int64) -> np.uint64:
    """The next eight bytes, or as many as there are before the end, as a number."""
    word = np.uint64(0)
    if end - at >= 8:
        for i in range(8):  # becomes one load
            word |= np.uint64(data[at + i]) << np.uint64(8 * i)
    else:
        for i in range(end - at):
            word |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return word


@borrowing
def mix(value: np.uint64) -> np.uint64:
    """Spreads a 64-bit value over all bits (the finalizer of MurmurHash3)."""
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))
