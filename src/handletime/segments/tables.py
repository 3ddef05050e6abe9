"""The tables that are derived: their columns, and how compiled rows become Arrow."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from handletime.events import model
from handletime.segments import rules
from handletime.segments.columns import I64, NEVER, Columns, in_one_piece
from handletime.segments.focus import Focused
from handletime.segments.ids import segment_ids
from handletime.segments.rules import Out
from handletime.segments.sorting import Records

Places: TypeAlias = npt.NDArray[np.integer]
Column: TypeAlias = Any
"""An Arrow array, or a NumPy array of numbers."""

MOMENTS: Final = ("queuedSince", "responseWaitingSince", "firstMessageIsResponse")
"""The columns of agent segments that rows of earlier versions of this program lack."""
_ACCOUNT: Final = pa.dictionary(pa.int32(), pa.string())
_OF_ENDED: Final = {"toUserType", "end", "endReason"}


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
    ("queuedSince", model.INSTANT, True),
    ("responseWaitingSince", pa.list_(model.INSTANT), False),
    ("firstMessageIsResponse", pa.bool_(), False),
)
"""One row an agent segment (rules.md 2.1); `end`, `endReason` and `outcome` are null while it runs.

Times are UTC with milliseconds, durations integer milliseconds. `assignedEventId` is the event that started it,
`skillSegmentSequence` the skill segment it lies in, `agentMessages` all counted messages of its agent,
`firstResponseMillis` null where there is none that is valid (3.1), `responseMillis` its responses in time order (3.2).
`focusData` is whether there is any focus event of its agent, in any conversation: where there is none, the handle time
is unknown and `totalHandleTimeMillis` null, not 0 (3.3). `queuedSince` is the start of the queue segment that its
`assigned` ended, null where it ended none; `responseWaitingSince` when the wait for each response began (3.2), in the
order of `responseMillis`; `firstMessageIsResponse` whether the first message of its agent is the first of these.
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

QUEUE_SEGMENTS: Final = _schema(
    ("accountId", _ACCOUNT, False),
    ("conversationId", pa.string(), False),
    ("sequence", pa.int32(), False),
    ("skillId", pa.int64(), False),
    ("skillSegmentSequence", pa.int32(), False),
    ("source", pa.string(), True),
    ("follows", model.CODES, False),
    ("fromUserType", model.CODES, False),
    ("toUserType", model.CODES, True),
    ("start", model.INSTANT, False),
    ("end", model.INSTANT, True),
    ("endReason", model.CODES, True),
)
"""One row a queue segment (rules.md 2.5), counted from 1 within its conversation: nobody was assigned.

`follows` is what brought it to the queue, `fromUserType` who had the conversation before (human, bot or none),
`toUserType` who got it: null where nobody did. The wait is `end` - `start`. `end` and `endReason` are null while it
runs.
"""

RUNNING_QUEUE_SEGMENTS: Final = _schema(
    *((field.name, field.type, field.nullable) for field in QUEUE_SEGMENTS if field.name not in _OF_ENDED),
    ("opened", model.INSTANT, False),
    ("consumerLast", pa.bool_(), False),
)
"""One row a queue segment that runs, as far as it is known: without its end and whom it was assigned to.

`opened` is the latest opening of the conversation, `consumerLast` whether its last counted message is the consumer's.
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


class Source(NamedTuple):
    """What rows take from the events that they name: a table with `eventId`, `employeeId`, `source` and whatever else
    is asked for, and its columns.
    """

    events: pa.Table
    columns: Columns

    def take(self, name: str, rows: Places) -> pa.Array:
        """A column of the events in these rows; null where the row is -1."""
        return in_one_piece(self.events.column(name)).take(pa.array(rows, mask=rows < 0))


class TableRows(NamedTuple):
    """Rows for one of the tables: of each the row of the event that started its segment, and all columns but those
    that name its account, conversation and segment.
    """

    started: Places
    columns: dict[str, Column]


def agent_segments(source: Source, out: Out, places: I64 | None = None) -> TableRows:
    """All agent segments, or those at some places. Their handle time is a number even where it is unknown."""
    rows = _at(out.agent_segments[: out.counts[rules.SEGMENTS]], places)
    started, running, columns = rows["assigned_row"], rows["end_reason"] < 0, source.columns
    ends = out.agent_segments["responses_end"][: out.counts[rules.SEGMENTS]]
    return TableRows(
        started,
        {
            "assignedEventId": source.take("eventId", started),
            "agentId": columns.agent[started],
            "employeeId": source.take("employeeId", started),
            "groupId": columns.group[started],
            "userType": _codes(columns.user_type[started], model.USER_TYPES),
            "skillId": rows["skill"],
            "skillSegmentSequence": out.skill_segments["sequence"][rows["skill_segment"]],
            "source": source.take("source", rows["source_row"]),
            "follows": _codes(rows["follows"], rules.FOLLOWS),
            "start": _instants(columns.time[started]),
            "end": _instants(rows["end"], running),
            "endReason": _codes(rows["end_reason"], rules.END_REASONS, running),
            "outcome": _codes(rows["outcome"], rules.OUTCOMES, running),
            "agentMessages": rows["agent_messages"],
            "firstResponseMillis": pa.array(rows["first_response"], mask=rows["first_response"] < 0),
            "responseMillis": _lists(ends, pa.array(out.responses[: out.counts[rules.RESPONSES]]), places),
            "totalHandleTimeMillis": rows["handle_time"],
            "queuedSince": _instants(rows["queued_since"], rows["queued_since"] == NEVER),
            "responseWaitingSince": _lists(ends, _instants(out.responded_since[: out.counts[rules.RESPONSES]]), places),
            "firstMessageIsResponse": rows["first_is_response"],
        },
    )


def skill_segments(source: Source, out: Out, places: I64 | None = None) -> TableRows:
    """All skill segments, or those at some places."""
    rows = _at(out.skill_segments[: out.counts[rules.SKILL_SEGMENTS]], places)
    started, running = rows["row"], rows["end_reason"] < 0
    return TableRows(
        started,
        {
            "sequence": rows["sequence"],
            "skillId": rows["skill"],
            "userType": _codes(rows["user_types"], rules.SKILL_USER_TYPES),
            "start": _instants(source.columns.time[started]),
            "end": _instants(rows["end"], running),
            "endReason": _codes(rows["end_reason"], rules.END_REASONS, running),
            "outcome": _codes(rows["outcome"], rules.OUTCOMES, running),
            "abandonedInQueue": pa.array(rows["abandoned_in_queue"], mask=running),
            "firstResponseMillis": _lists(
                out.skill_segments["firsts_end"][: out.counts[rules.SKILL_SEGMENTS]],
                pa.array(out.firsts[: out.counts[rules.FIRSTS]]),
                places,
            ),
        },
    )


def queue_segments(source: Source, out: Out, places: I64 | None = None) -> TableRows:
    """All queue segments, or those at some places."""
    rows = _at(out.queue_segments[: out.counts[rules.QUEUE_SEGMENTS]], places)
    running = rows["end_reason"] < 0
    written = _queue_columns(source, out, rows)
    ended = {
        "toUserType": _codes(rows["to_user_type"], model.USER_TYPES, rows["to_user_type"] < 0),
        "end": _instants(rows["end"], running),
        "endReason": _codes(rows["end_reason"], rules.QUEUE_ENDS, running),
    }
    return written._replace(columns={**written.columns, **ended})


def running_queue_segments(source: Source, out: Out, places: I64 | None = None) -> TableRows:
    """All queue segments that run, or those at some places."""
    rows = out.queue_segments[: out.counts[rules.QUEUE_SEGMENTS]]
    rows = rows[rows["end_reason"] < 0] if places is None else rows[places]
    written = _queue_columns(source, out, rows)
    state = {"opened": _instants(rows["opened"]), "consumerLast": rows["consumer_last"]}
    return written._replace(columns={**written.columns, **state})


def _queue_columns(source: Source, out: Out, rows: Records) -> TableRows:
    """What is known of queue segments from their start on."""
    started = rows["row"]
    return TableRows(
        started,
        {
            "sequence": rows["sequence"],
            "skillId": rows["skill"],
            "skillSegmentSequence": out.skill_segments["sequence"][rows["skill_segment"]],
            "source": source.take("source", rows["source_row"]),
            "follows": _codes(rows["follows"], rules.QUEUE_FOLLOWS),
            "fromUserType": _codes(rows["from_user_type"], rules.QUEUE_USER_TYPES),
            "start": _instants(source.columns.time[started]),
        },
    )


def handle_time_units(source: Source, out: Out, places: I64 | None = None) -> TableRows:
    """All handle-time units, or those at some places."""
    rows = _at(out.units[: out.counts[rules.UNITS]], places)
    started = out.agent_segments["assigned_row"][rows["segment"]]
    return TableRows(
        started,
        {
            "agentId": source.columns.agent[started],
            "sequence": rows["sequence"],
            "startReason": _codes(rows["start_reason"], rules.UNIT_STARTS),
            "endReason": _codes(rows["end_reason"], rules.UNIT_ENDS),
            "start": _instants(rows["start"]),
            "end": _instants(rows["end"]),
            "handleTimeMillis": rows["end"] - rows["start"],
        },
    )


def derived_tables(source: Source, out: Out, focused: Focused) -> tuple[pa.Table, ...]:
    """Tables of `AGENT_SEGMENTS`, `SKILL_SEGMENTS`, `QUEUE_SEGMENTS`, `HANDLE_TIME_UNITS` and `RUNNING_QUEUE_SEGMENTS`;
    the events have what `EVENTS` has.
    """
    segments = agent_segments(source, out)
    keys = _keys(source, segments)
    ids = segment_ids(
        keys["accountId"],
        pa.array(segments.columns["agentId"]),
        keys["conversationId"],
        segments.columns["assignedEventId"],
    )
    focus_data = focused.among(source.columns, np.ascontiguousarray(segments.started))
    known = {
        "segmentId": ids,
        "totalHandleTimeMillis": pa.array(segments.columns["totalHandleTimeMillis"], mask=~focus_data),
        "focusData": focus_data,
    }
    skills, units = skill_segments(source, out), handle_time_units(source, out)
    queues, running = queue_segments(source, out), running_queue_segments(source, out)
    of_unit = {"segmentId": ids.take(pa.array(out.units["segment"][: out.counts[rules.UNITS]]))}
    return (
        pa.table({**keys, **segments.columns, **known}, AGENT_SEGMENTS),
        pa.table({**_keys(source, skills), **skills.columns}, SKILL_SEGMENTS),
        pa.table({**_keys(source, queues), **queues.columns}, QUEUE_SEGMENTS),
        pa.table({**_keys(source, units), **units.columns, **of_unit}, HANDLE_TIME_UNITS),
        pa.table({**_keys(source, running), **running.columns}, RUNNING_QUEUE_SEGMENTS),
    )


def _keys(source: Source, written: TableRows) -> dict[str, pa.Array]:
    return {name: source.take(name, written.started) for name in ("accountId", "conversationId")}


def _at(rows: Records, places: I64 | None) -> Records:
    return rows if places is None else rows[places]


def _instants(milliseconds: I64, missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Moments (epoch milliseconds, UTC); null where `missing`."""
    return pa.array(np.ascontiguousarray(milliseconds), mask=missing).cast(model.INSTANT)


def _codes(
    places: npt.NDArray[np.int8], names: tuple[str, ...], missing: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    """Words of a closed list, given by their places in it; null where `missing`."""
    return model.codes(pa.array(np.ascontiguousarray(places), pa.int8(), mask=missing), names)


def _lists(ends: I64, values: pa.Array, places: I64 | None) -> pa.Array:
    """For each row, or each of those at some places, the values up to its end, from the end of the row before on."""
    offsets = np.concatenate([np.zeros(1, np.int64), ends]).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), values)
    return lists if places is None else lists.take(pa.array(places))
