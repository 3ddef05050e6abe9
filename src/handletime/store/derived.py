"""Derived rows in the store: those that differ from what is stored replace it."""

from __future__ import annotations

from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from handletime.answers.terms import KEPT
from handletime.events import model
from handletime.segments import rules
from handletime.segments.changes import Changes, changes_between
from handletime.segments.columns import I64, Columns
from handletime.segments.derive import walk
from handletime.segments.order import Ordered
from handletime.segments.rules import Out
from handletime.segments.tables import codes, instants, lists
from handletime.store.arrow import change, insert, registered

Places = npt.NDArray[np.integer]


class Touched(NamedTuple):
    """Events of whole conversations, as rows of `schema.EVENT_ROW`; the conversations' numbers, ascending, and ids."""

    events: pa.Table
    numbers: I64
    ids: pa.Array


class Version(NamedTuple):
    """Conversations at one time: their events in order, and columns that know the losses of focus."""

    columns: Columns
    ordered: Ordered


class Rows(NamedTuple):
    """Rows for the derived tables, and those that have to go, by the arrival of the event that starts their segment."""

    agent_segments: pa.Table
    gone_agent_segments: pa.Table
    skill_segments: pa.Table
    gone_skill_segments: pa.Table
    handle_time_units: pa.Table
    gone_handle_time_units: pa.Table


def differences(touched: Touched, before: Version, after: Version) -> Rows:
    """What the derived tables lack, and have too much, when conversations go from one version to another.

    Both versions have all the conversations, in the order of their numbers; new ones had no events before.
    """
    parts = []
    source = _Source(touched, after.columns)
    for old, new in zip(walk(*before), walk(*after), strict=True):
        parts.append(_rows_of(source, new, changes_between(old, new, touched.events.num_rows)))
    return Rows(*(pa.concat_tables(tables) for tables in zip(*parts, strict=True)))


def write(connection: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    """Takes out what has to go and puts in what is new."""
    for name, gone in (("agent_segments", rows.gone_agent_segments), ("skill_segments", rows.gone_skill_segments)):
        if gone.num_rows:
            with registered(connection, gone=gone):
                change(
                    connection,
                    f"delete from kept.{name} t using gone where t.number = gone.number and t.started = gone.started",  # noqa: S608
                )
    if rows.gone_handle_time_units.num_rows:
        with registered(connection, gone=rows.gone_handle_time_units):
            change(
                connection,
                """delete from kept.handle_time_units t using gone
                where t.number = gone.number and t.started = gone.started and t.sequence >= gone.sequence""",
            )
    insert(connection, "kept.agent_segments", rows.agent_segments, KEPT["agentSegments"])
    insert(connection, "kept.skill_segments", rows.skill_segments, KEPT["skillSegments"])
    insert(connection, "kept.handle_time_units", rows.handle_time_units)


# --- from compiled rows to Arrow -------------------------------------------------------------------------------------


class _Source(NamedTuple):
    """What rows take from the events that they name."""

    touched: Touched
    columns: Columns

    def take(self, name: str, rows: Places) -> pa.Array:
        """A column of the events in these rows; null where the row is -1."""
        column = self.touched.events.column(name)
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        return array.take(pa.array(np.maximum(rows, 0), mask=rows < 0))

    def keys(self, rows: Places) -> dict[str, pa.Array]:
        """What names the segments that start with the events in these rows."""
        number = self.take("number", rows)
        return {
            "number": number,
            "account": self.take("account", rows),
            "started": self.take("arrival", rows),
            "conversationId": self.touched.ids.take(pa.array(np.searchsorted(self.touched.numbers, number.to_numpy()))),
        }


def _rows_of(source: _Source, out: Out, changes: Changes) -> tuple[pa.Table, ...]:
    return (
        _agent_segments(source, out, changes.segments),
        _gone(source, changes.gone_segments),
        _skill_segments(source, out, changes.skill_segments),
        _gone(source, changes.gone_skill_segments),
        _units(source, out, changes.units),
        _gone(source, changes.gone_units[:, 0]).append_column(
            "sequence", pa.array(changes.gone_units[:, 1].astype(np.int32))
        ),
    )


def _gone(source: _Source, rows: I64) -> pa.Table:
    return pa.table({"number": source.take("number", rows), "started": source.take("arrival", rows)})


def _agent_segments(source: _Source, out: Out, places: I64) -> pa.Table:
    all_responses = lists(
        out.agent_segments["responses_end"][: out.counts[rules.SEGMENTS]], out.responses[: out.counts[rules.RESPONSES]]
    )
    rows = out.agent_segments[places]
    started = rows["assigned_row"]
    running = rows["end_reason"] < 0
    columns = source.columns
    return pa.table(
        {
            **source.keys(started),
            "assignedEventId": source.take("eventId", started),
            "agentId": columns.agent[started],
            "employeeId": source.take("employeeId", started),
            "groupId": columns.group[started],
            "userType": codes(columns.user_type[started], model.USER_TYPES),
            "skillId": rows["skill"],
            "skillSegmentSequence": out.skill_segments["sequence"][rows["skill_segment"]],
            "source": source.take("source", rows["source_row"]),
            "follows": codes(rows["follows"], rules.FOLLOWS),
            "start": instants(columns.time[started]),
            "end": instants(rows["end"], running),
            "endReason": codes(rows["end_reason"], rules.END_REASONS, running),
            "outcome": codes(rows["outcome"], rules.OUTCOMES, running),
            "agentMessages": rows["agent_messages"],
            "firstResponseMillis": pa.array(rows["first_response"], mask=rows["first_response"] < 0),
            "responseMillis": all_responses.take(pa.array(places)),
            "totalHandleTimeMillis": rows["handle_time"],
        }
    )


def _skill_segments(source: _Source, out: Out, places: I64) -> pa.Table:
    all_firsts = lists(
        out.skill_segments["firsts_end"][: out.counts[rules.SKILL_SEGMENTS]], out.firsts[: out.counts[rules.FIRSTS]]
    )
    rows = out.skill_segments[places]
    started = rows["row"]
    running = rows["end_reason"] < 0
    return pa.table(
        {
            **source.keys(started),
            "sequence": rows["sequence"],
            "skillId": rows["skill"],
            "userType": codes(rows["user_types"], rules.SKILL_USER_TYPES),
            "start": instants(source.columns.time[started]),
            "end": instants(rows["end"], running),
            "endReason": codes(rows["end_reason"], rules.END_REASONS, running),
            "outcome": codes(rows["outcome"], rules.OUTCOMES, running),
            "abandonedInQueue": pa.array(rows["abandoned_in_queue"], mask=running),
            "firstResponseMillis": all_firsts.take(pa.array(places)),
        }
    )


def _units(source: _Source, out: Out, places: I64) -> pa.Table:
    rows = out.units[places]
    started = out.agent_segments["assigned_row"][rows["segment"]]
    keys = source.keys(started)
    del keys["conversationId"]
    return pa.table(
        {
            **keys,
            "agentId": source.columns.agent[started],
            "sequence": rows["sequence"],
            "startReason": codes(rows["start_reason"], rules.UNIT_STARTS),
            "endReason": codes(rows["end_reason"], rules.UNIT_ENDS),
            "start": instants(rows["start"]),
            "end": instants(rows["end"]),
            "handleTimeMillis": rows["end"] - rows["start"],
        }
    )
