"""Rows become tables of `model.EVENTS`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from handletime.events import model
from handletime.simulate.chance import Bools, Integers, hashed
from handletime.simulate.rows import ASSIGNED, BY_AGENT, FOCUSED, KINDS, OPENED, RESUMED, UNFOCUSED, Rows
from handletime.simulate.world import World

_SOURCES: Final = pa.array(["WEB", "APP", "SMS", "FACEBOOK", "WHATSAPP", "APPLE", None], pa.string())
_SOURCE_SHARES: Final = np.array([0.42, 0.67, 0.78, 0.87, 0.94, 0.98])
_HEX: Final = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint16)
_KIND_TYPE: Final = np.array([type_ for type_, _, _ in KINDS], np.int8)
_HAS_AGENT: Final = np.isin(np.arange(len(KINDS)), (ASSIGNED, FOCUSED, UNFOCUSED, BY_AGENT))


def table_of(rows: Rows, world: World) -> pa.Table:
    """Rows as a table of `model.EVENTS`."""
    staff, kind, agent = world.staff, rows["kind"], rows["agent"]
    assigned = kind == ASSIGNED
    accounts, ids, sources = _conversation_columns(rows, world)
    columns = {
        "accountId": accounts,
        "conversationId": ids,
        "eventId": _fixed_strings(_event_ids(rows["id"])),
        "time": _column(rows["time"], model.INSTANT),
        "sequence": _column(rows["sequence"].astype(np.int64), pa.int64()),
        "revision": _column(np.zeros(len(rows), np.int64), pa.int64()),
        "leaseMillis": pa.nulls(len(rows), pa.int64()),
        "type": model.codes(_column(_KIND_TYPE[kind], pa.int8()), model.TYPES),
        "agentId": _column(staff.id[agent], pa.int64(), _HAS_AGENT[kind]),
        "employeeId": _strings(staff.employee, agent, assigned),
        "groupId": _column(staff.group[agent], pa.int64(), assigned),
        "userType": model.codes(
            _column((agent >= staff.humans).astype(np.int8), pa.int8(), assigned), model.USER_TYPES
        ),
        "skillId": _column((rows["skill"].astype(np.int64) + 1) * 10, pa.int64(), rows["skill"] >= 0),
        "source": sources,
        **{
            field.name: _closed_list(field, kind)
            for field in model.FIELDS
            if field.name in ("sentBy", "reason", "closedBy")
        },
    }
    return pa.table([columns[name] for name in model.EVENTS.names], schema=model.EVENTS)


def _closed_list(field: model.Field, kind: NDArray[np.uint8]) -> pa.Array:
    """A field that a row's kind decides."""
    places = np.array([field.choices.index(value) if name == field.name else -1 for _, name, value in KINDS], np.int8)
    chosen = places[kind]
    return model.codes(_column(chosen, pa.int8(), chosen >= 0), field.choices)


def _conversation_columns(rows: Rows, world: World) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Account, id and source, which follow from a conversation's number."""
    first = rows["conversation"].min()
    place = rows["conversation"] - first
    used = np.zeros(int(place.max()) + 1, np.bool_)
    used[place] = True
    place = (np.cumsum(used, dtype=np.int32) - 1)[place]
    numbers = np.flatnonzero(used) + first
    accounts = world.accounts_of(numbers).astype(np.int32)
    dictionary = pa.array(world.centre.accounts, pa.string())
    part = hashed(numbers, world.centre.seed, 2) / 2.0**64
    source = np.searchsorted(_SOURCE_SHARES, part, side="right").astype(np.int8)
    names_it = (rows["kind"] == OPENED) | ((rows["kind"] == RESUMED) & (rows["id"] % 5 > 1))
    return (
        pa.DictionaryArray.from_arrays(_column(accounts[place], pa.int32()), dictionary),
        _fixed_strings(_uuids(numbers, world.centre.seed).take(place)),
        _strings(_SOURCES, source[place], names_it),
    )


def _uuids(numbers: Integers, seed: int) -> NDArray[np.void]:
    """A UUID (version 4) in 36 letters for each number."""
    bits = np.stack([hashed(numbers, seed, salt) for salt in (3, 4)], axis=1).view(np.uint8).reshape(-1, 16)
    bits[:, 6] = bits[:, 6] & 0x0F | 0x40
    bits[:, 8] = bits[:, 8] & 0x3F | 0x80
    digits = _HEX[bits].view(np.uint8).reshape(-1, 32)
    letters = np.full((len(numbers), 36), ord("-"), np.uint8)
    for to, start, stop in ((0, 0, 8), (9, 8, 12), (14, 12, 16), (19, 16, 20), (24, 20, 32)):
        letters[:, to : to + stop - start] = digits[:, start:stop]
    return letters.view("V36").ravel()


def _event_ids(numbers: NDArray[np.uint32]) -> NDArray[np.void]:
    """Eight letters, another for each number."""
    return _HEX[(numbers * np.uint32(2654435761)).view(np.uint8)].view("V8")


def _fixed_strings(letters: NDArray[Any]) -> pa.Array:
    """Rows of letters of one length as strings."""
    length = letters.itemsize
    offsets = np.arange(len(letters) + 1, dtype=np.int32) * length
    data = np.ascontiguousarray(letters)
    return pa.Array.from_buffers(pa.string(), len(letters), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _strings(texts: pa.Array, places: NDArray[Any], there: Bools) -> pa.Array:
    """One of the texts in each row, null where it is not there."""
    # Arrow's `take` with nulls costs five times as much.
    rows = np.flatnonzero(there)
    taken = texts.take(pa.array(places[rows]))
    lengths = np.zeros(len(there) + 1, np.int32)
    lengths[rows + 1] = pc.fill_null(pc.binary_length(taken), 0).to_numpy(zero_copy_only=False)
    valid = np.zeros(len(there), np.bool_)
    valid[rows] = taken.is_valid().to_numpy(zero_copy_only=False)
    buffers = [np.packbits(valid, bitorder="little"), np.cumsum(lengths, dtype=np.int32)]
    return pa.Array.from_buffers(pa.string(), len(there), [*map(pa.py_buffer, buffers), taken.buffers()[2]])


def _column(values: NDArray[Any], type_: pa.DataType, there: Bools | None = None) -> pa.Array:
    """Numbers as an Arrow array, null where they are not there."""
    valid = None if there is None else pa.py_buffer(np.packbits(there, bitorder="little"))
    return pa.Array.from_buffers(type_, len(values), [valid, pa.py_buffer(np.ascontiguousarray(values))])
