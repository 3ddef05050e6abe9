"""The three tables that are derived: their columns, and how compiled rows become Arrow."""

from __future__ import annotations

import hashlib
from binascii import b2a_base64
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from handletime.events import model
from handletime.segments import rules
from handletime.segments.columns import I64, Columns
from handletime.segments.focus import Focused
from handletime.segments.ids import segment_ids
from handletime.segments.sorting import Records

_ACCOUNT: Final = pa.dictionary(pa.int32(), pa.string())


def _schema(*fields: tuple[str, pa.DataType, bool]) -> pa.Schema:
    return pa.schema([pa.field(name, type_, nullable=nullable) for name, type_, nullable in fields])


AGENT_SEGMENTS: Final = _schema(
    ("accountId", _ACCOUNT, False),
    ("conversationId", pa.string(), False),
    ("segmentId", pa.string(), False),
    ("assignedEventId", pa.string(), False),
    ("agentId", pa.int64(), False),
    ("employeeId", pa.string(), True),
    ("groupId", pa.int64(), False),
    ("userType", model.CODES, False),
    ("skillId", pa.int64(), False),
    ("skillSegmentSequence", pa.int32(), False),
    ("source", pa.string(), True),
    ("follows", model.CODES, False),
    ("start", model.INSTANT, False),
    ("end", model.INSTANT, True),
    ("endReason", model.CODES, True),
    ("outcome", model.CODES, True),
    ("agentMessages", pa.int32(), False),
    ("firstResponseMillis", pa.int64(), True),
    ("responseMillis", pa.list_(pa.int64()), False),
    ("totalHandleTimeMillis", pa.int64(), True),
    ("focusData", pa.bool_(), False),
)
"""One row an agent segment (rules.md 2.1); `end`, `endReason` and `outcome` are null while it runs.

Times are UTC with milliseconds, durations integer milliseconds. `assignedEventId` is the event that started it,
`skillSegmentSequence` the skill segment it lies in, `agentMessages` all counted messages of its agent,
`firstResponseMillis` null where there is none that is valid (3.1), `responseMillis` its responses in time order (3.2).
`focusData` is whether there is any focus event of its agent, in any conversation: where there is none, the handle time
is unknown and `totalHandleTimeMillis` null, not 0 (3.3).
"""

SKILL_SEGMENTS: Final = _schema(
    ("accountId", _ACCOUNT, False),
    ("conversationId", pa.string(), False),
    ("sequence", pa.int32(), False),
    ("skillId", pa.int64(), False),
    ("userType", model.CODES, False),
    ("start", model.INSTANT, False),
    ("end", model.INSTANT, True),
    ("endReason", model.CODES, True),
    ("outcome", model.CODES, True),
    ("abandonedInQueue", pa.bool_(), True),
    ("firstResponseMillis", pa.list_(pa.int64()), False),
)
"""One row a skill segment (rules.md 2.2), counted from 1 within its conversation.

`endReason` is that of the close, or skillTransfer; with `end`, `outcome` and `abandonedInQueue` it is null while the
segment runs. `userType` is human, bot, mixed or none; `firstResponseMillis` stands in ascending order.
"""

HANDLE_TIME_UNITS: Final = _schema(
    ("accountId", _ACCOUNT, False),
    ("conversationId", pa.string(), False),
    ("segmentId", pa.string(), False),
    ("agentId", pa.int64(), False),
    ("sequence", pa.int32(), False),
    ("startReason", model.CODES, False),
    ("endReason", model.CODES, False),
    ("start", model.INSTANT, False),
    ("end", model.INSTANT, False),
    ("handleTimeMillis", pa.int64(), False),
)
"""One row a handle-time unit that has ended (rules.md 3.3), counted from 1 within its segment."""


def segment_id(account: str, agent: int, conversation: str, event: str) -> str:
    """The id of an agent segment: of its account, agent, conversation and assigning event (rules.md 2.1)."""
    digest = hashlib.sha256(f"{account}\0{conversation}\0{event}".encode()).digest()
    token = b2a_base64(digest[:16])[:22].translate(_URL_SAFE).decode()
    return f"{account}:{agent}:{conversation}:{token}"


_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def agent_segment_table(
    events: pa.Table, columns: Columns, rows: Records, skill: Records, responses: I64, focused: Focused
) -> pa.Table:
    """Agent segments as a table of `AGENT_SEGMENTS`."""
    place = np.ascontiguousarray(rows["assigned_row"])
    assigned = pa.array(place)
    running = rows["end_reason"] < 0
    sources = np.where(rows["source_row"] < 0, 0, rows["source_row"])
    accounts, agents = _take(events, "accountId", assigned), columns.agent[place]
    conversations, event_ids = _take(events, "conversationId", assigned), _take(events, "eventId", assigned)
    focus_data = focused.among(columns, place)
    return _table(
        AGENT_SEGMENTS,
        accountId=accounts,
        conversationId=conversations,
        segmentId=segment_ids(accounts, agents, conversations, event_ids),
        assignedEventId=event_ids,
        agentId=agents,
        employeeId=_take(events, "employeeId", assigned),
        groupId=columns.group[place],
        userType=codes(columns.user_type[place], model.USER_TYPES),
        skillId=rows["skill"],
        skillSegmentSequence=skill["sequence"][rows["skill_segment"]],
        source=_take(events, "source", pa.array(sources, mask=rows["source_row"] < 0)),
        follows=codes(rows["follows"], rules.FOLLOWS),
        start=instants(columns.time[place]),
        end=instants(rows["end"], running),
        endReason=codes(rows["end_reason"], rules.END_REASONS, running),
        outcome=codes(rows["outcome"], rules.OUTCOMES, running),
        agentMessages=rows["agent_messages"],
        firstResponseMillis=pa.array(rows["first_response"], mask=rows["first_response"] < 0),
        responseMillis=lists(rows["responses_end"], responses),
        totalHandleTimeMillis=pa.array(rows["handle_time"], mask=~focus_data),
        focusData=focus_data,
    )


def skill_segment_table(events: pa.Table, columns: Columns, rows: Records, firsts: I64) -> pa.Table:
    """Skill segments as a table of `SKILL_SEGMENTS`."""
    started = pa.array(rows["row"])
    running = rows["end_reason"] < 0
    return _table(
        SKILL_SEGMENTS,
        accountId=_take(events, "accountId", started),
        conversationId=_take(events, "conversationId", started),
        sequence=rows["sequence"],
        skillId=rows["skill"],
        userType=codes(rows["user_types"], rules.SKILL_USER_TYPES),
        start=instants(columns.time[rows["row"]]),
        end=instants(rows["end"], running),
        endReason=codes(rows["end_reason"], rules.END_REASONS, running),
        outcome=codes(rows["outcome"], rules.OUTCOMES, running),
        abandonedInQueue=pa.array(rows["abandoned_in_queue"], mask=running),
        firstResponseMillis=lists(rows["firsts_end"], firsts),
    )


def unit_table(agent_segments: pa.Table, rows: Records) -> pa.Table:
    """Handle-time units as a table of `HANDLE_TIME_UNITS`; `segment` is a place in the agent segments."""
    segments = pa.array(rows["segment"])
    return _table(
        HANDLE_TIME_UNITS,
        accountId=_take(agent_segments, "accountId", segments),
        conversationId=_take(agent_segments, "conversationId", segments),
        segmentId=_take(agent_segments, "segmentId", segments),
        agentId=_take(agent_segments, "agentId", segments),
        sequence=rows["sequence"],
        startReason=codes(rows["start_reason"], rules.UNIT_STARTS),
        endReason=codes(rows["end_reason"], rules.UNIT_ENDS),
        start=instants(rows["start"]),
        end=instants(rows["end"]),
        handleTimeMillis=rows["end"] - rows["start"],
    )


Column: TypeAlias = Any
"""An Arrow array, or a NumPy array of numbers."""


def _table(schema: pa.Schema, **columns: Column) -> pa.Table:
    arrays = [
        column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(np.ascontiguousarray(column))
        for column in columns.values()
    ]
    return pa.table(dict(zip(columns, arrays, strict=True)), schema=schema)


def _take(table: pa.Table, name: str, rows: pa.Array) -> pa.Array:
    column = table.column(name)
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return array.take(rows)


def instants(milliseconds: I64, missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Moments (epoch milliseconds, UTC); null where `missing`."""
    return pa.array(np.ascontiguousarray(milliseconds), mask=missing).cast(model.INSTANT)


def codes(
    places: npt.NDArray[np.int8], names: tuple[str, ...], missing: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    """Words of a closed list, given by their places in it; null where `missing`."""
    return model.codes(pa.array(np.ascontiguousarray(places), pa.int8(), mask=missing), names)


def lists(ends: I64, values: I64) -> pa.Array:
    """For each row the values up to its end, from the end of the row before on."""
    offsets = np.concatenate([np.zeros(1, np.int64), ends]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
