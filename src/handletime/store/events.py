"""Stored events as they came: tables of `events.model.EVENTS`, and columns that know their losses of focus."""

from __future__ import annotations

import pyarrow as pa

from handletime.events import model
from handletime.events.model import EVENTS
from handletime.segments.columns import I64, Columns
from handletime.store.recent import met_by


def events_table(rows: pa.Table) -> pa.Table:
    """Rows of `kept.events` with `accountId` and `conversationId`, as a table of `events.model.EVENTS`."""
    columns = {}
    for field in model.FIELDS:
        column = rows[field.name]
        if field.kind == "choice":
            chunks = [model.codes(chunk.cast(pa.int8()), field.choices) for chunk in column.chunks]
            columns[field.name] = pa.chunked_array(chunks, model.CODES)
        else:
            columns[field.name] = column.cast(EVENTS.field(field.name).type)
    return pa.table(columns, EVENTS)


def with_losses(columns: Columns, arrivals: I64, *losses: pa.Table) -> Columns:
    """Columns of events, by arrival, that know the losses of focus; of rows for the same `focused` the last counts."""
    lost_time, lost_sequence = met_by(arrivals, *losses)
    return columns._replace(lost_time=lost_time, lost_sequence=lost_sequence)
