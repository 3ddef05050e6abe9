"""Between tables and plain rows, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import pyarrow as pa

from handletime.events.decode import decode_lines
from handletime.segments.focus import LOSSES

Row = dict[str, object]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def events_of(events: Iterable[Mapping[str, object]]) -> pa.Table:
    """Events as the decoder makes them; all must be good."""
    lines = b"".join(msgspec.json.encode(dict(event)) + b"\n" for event in events)
    decoded = decode_lines(lines, account="local")
    assert decoded.refused == []
    return decoded.events


def losses_table(losses: Iterable[Row]) -> pa.Table:
    """Anonymous losses as the derivation takes them."""
    return pa.Table.from_pylist([dict(loss) for loss in losses], schema=LOSSES)


def rows_of(table: pa.Table) -> list[Row]:
    """Rows as dicts, times in epoch milliseconds."""
    return [{name: _plain(value) for name, value in row.items()} for row in table.to_pylist()]


def agent_segments_of(table: pa.Table) -> list[Row]:
    """The same of agent segments, with 0 as handle time where it is unknown, as in the golden cases.

    Unknown it has to be exactly where there is no focus data.
    """
    rows = rows_of(table)
    assert [row["totalHandleTimeMillis"] is None for row in rows] == [not row["focusData"] for row in rows]
    return [{**row, "totalHandleTimeMillis": row["totalHandleTimeMillis"] or 0} for row in rows]


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return (value - EPOCH) // timedelta(milliseconds=1) if isinstance(value, datetime) else value


def in_order(rows: Iterable[Row], like: Iterable[Row] = ()) -> list[Row]:
    """Rows in an order of their own, with the columns of others."""
    names = next((set(row) for row in like), None)
    chosen = [{name: row[name] for name in row if names is None or name in names} for row in rows]
    return sorted(chosen, key=lambda row: repr(sorted(row.items())))
