import re
from datetime import UTC, datetime

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from handletime.events import model
from handletime.events.decode import decode_lines
from handletime.events.encode import to_ndjson
from tests.simulate.made import events_of, plain


def test_lines_decode_to_the_same_events() -> None:
    day = events_of(conversations=2000, accounts=("demo", "shop"))
    decoded = decode_lines(to_ndjson(day), account="other")
    assert decoded.refused == []
    assert plain(decoded.events).equals(plain(day))


def test_a_line_has_the_events_own_fields_only() -> None:
    time = re.compile(r"2026-11-1\d[T]\d\d:\d\d:\d\d\.\d{3}Z")
    for line in to_ndjson(events_of()).splitlines():
        event = msgspec.json.decode(line)
        assert time.fullmatch(event["time"])
        assert None not in event.values()
        assert event.get("sequence") != 0
        assert all(field.belongs_to(event["type"]) for field in model.FIELDS if field.name in event)


def test_lines_escape_what_json_escapes() -> None:
    events = events_of(conversations=5)
    odd = pa.array([f'"\\é\U0001f600/{n}' for n in range(len(events))])
    for name in ("conversationId", "eventId", "employeeId", "source"):
        column = pc.if_else(events[name].is_valid(), odd, pa.scalar(None, pa.string()))
        events = events.set_column(events.column_names.index(name), events.schema.field(name), column)
    assert plain(decode_lines(to_ndjson(events), account="x").events).equals(plain(events))


def test_lines_can_tell_the_time_of_any_year() -> None:
    times = [datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)]
    times += [datetime(2028, 2, 29, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)]
    events = events_of(conversations=5).slice(0, len(times))
    place = events.column_names.index("time")
    events = events.set_column(place, events.schema.field("time"), pa.array(times, model.INSTANT))
    decoded = decode_lines(to_ndjson(events), account="x").events
    assert sorted(decoded["time"].to_pylist()) == times


def test_no_events_are_no_lines() -> None:
    assert to_ndjson(model.EVENTS.empty_table()) == b""
