"""Makers of events as producers write them, and a way to look at what came of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta

import pyarrow as pa

from handletime.events.book import LINE_MAX, event_of_line
from handletime.events.decode import Decoded, decode_lines
from handletime.events.model import EPOCH, REASONS

NOON = 1_795_176_000_000  # 2026-11-20T12:00:00Z
OWN_FIELDS: dict[str, dict[str, object]] = {
    "opened": {},
    "resumed": {},
    "transferred": {"reason": REASONS[0]},
    "assigned": {"agentId": 7},
    "focused": {"agentId": 7},
    "unfocused": {"agentId": 7},
    "message": {"sentBy": "consumer"},
    "closed": {"closedBy": "agent"},
    "withdrawn": {},
}
"""What each type of event has to have."""

Event = dict[str, object]


def an_event(type_: str = "opened", /, **fields: object) -> Event:
    """An event that is right, but for what is given."""
    common = {"eventId": "e1", "conversationId": "c1", "time": NOON, "type": type_}
    return {**common, **OWN_FIELDS.get(type_, {}), **fields}


def a_line(type_: str = "opened", /, **fields: object) -> bytes:
    """The same as a line of NDJSON, without its end."""
    return json.dumps(an_event(type_, **fields), ensure_ascii=False).encode()


def with_value(field: str, value: bytes, type_: str = "opened") -> bytes:
    """A line that says `value`, which need not be JSON, in a field."""
    return a_line(type_, **{field: "HERE"}).replace(b'"HERE"', value)


def events_of(table: pa.Table) -> list[Event]:
    """The rows of a table of `model.EVENTS`, in an order of their own, without what is not there; `time` in ms."""
    return in_order({k: _plain(v) for k, v in row.items() if v is not None} for row in table.to_pylist())


def in_order(events: Iterable[Event]) -> list[Event]:
    """The same events in an order that depends on them alone."""
    return sorted(events, key=lambda event: json.dumps(event, sort_keys=True))


def _plain(value: object) -> object:
    return (value - EPOCH) // timedelta(milliseconds=1) if isinstance(value, datetime) else value


def faults_of(decoded: Decoded) -> list[str]:
    """All faults as they are shown."""
    return [str(fault) for refused in decoded.refused for fault in refused.faults]


def decode(block: bytes, account: str = "local") -> Decoded:
    """Decodes NDJSON both ways, by blocks and one by one by the book, and holds one to the other."""
    decoded = decode_lines(block, account=account)
    decoded.events.validate(full=True)
    events, refused = [], []
    for number, line in enumerate(block.split(b"\n"), start=1):
        text = line.removesuffix(b"\r")
        if text.strip(b" \t\r"):
            event, problems = event_of_line(text, account)
            if problems:
                refused.append((number, [(number, *problem) for problem in problems], text[:LINE_MAX]))
            else:
                events.append(event)
    assert events_of(decoded.events) == in_order(events)
    assert [(r.line, [(f.line, f.field, f.message) for f in r.faults], r.text) for r in decoded.refused] == refused
    return decoded
