"""The shipped mappings: each with what its platform gives, and the events that a person expects of it.

Covers: sources/sql/shipped.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from handletime.errors import InputError
from handletime.events.decode import decode_lines
from handletime.segments.derive import derive
from handletime.sources.sql.columns import check_columns, decoded
from handletime.sources.sql.engine import Engine
from handletime.sources.sql.files import Csv, load
from handletime.sources.sql.shipped import NAMES, mapping_text, shipped
from handletime.sources.sql.webhook import Webhook

HERE = Path(__file__).parent
INPUTS = {file.stem: file for file in HERE.iterdir() if file.suffix in (".csv", ".json", ".ndjson")}

# Agent segments of each: agent (its place among the agents), what they follow, how they end.
SEGMENTS = {
    "csv": [
        ("c-1", "newConversation", "skillTransfer", "nonResponsiveConsumer"),
        ("c-1", "transfer", "closedByAgent", "nonResponsiveConsumer"),
    ],
    "zendesk": [
        ("301", "transfer", "agentTransfer", "nonResponsiveConsumer"),
        ("301", "transfer", "closedByAgent", "nonResponsiveConsumer"),
        ("302", "newConversation", "skillTransfer", "nonResponsiveConsumer"),
        ("302", "transfer", "closedByAgent", "nonResponsiveAgent"),
    ],
    "rocketchat": [("zRgLk4yHdQmTqk9aB", "newConversation", "closedByAgent", "nonResponsiveConsumer")],
    "intercom": [
        ("1295", "transfer", "agentTransfer", "nonResponsiveConsumer"),
        ("1295", "transfer", "closedByAgent", "nonResponsiveConsumer"),
        ("1295", "resume", "closedByAgent", "nonResponsiveConsumer"),
    ],
    "twilio": [
        ("WT00000000000000000000000000000001", "newConversation", "agentTransfer", "nonResponsiveAgent"),
        ("WT00000000000000000000000000000001", "transfer", "closedByAgent", "nonResponsiveAgent"),
    ],
    "genesys": [
        ("c0000000-0000-4000-8000-000000000001", "newConversation", "skillTransfer", "nonResponsiveAgent"),
        ("c0000000-0000-4000-8000-000000000001", "transfer", "closedByAgent", "nonResponsiveAgent"),
    ],
}


def imported(name: str) -> pa.Table:
    """The events of a shipped mapping's file."""
    engine = Engine(shipped(name), name, memory_bytes=256 << 20)
    load(engine, {"input": [str(INPUTS[name])]}, Csv())
    engine.lock()
    check_columns(engine.schema(), name)
    mapped = [decoded(batch, account="acme") for batch in engine.run(1000)]
    engine.close()
    assert [each.faults for each in mapped if each.faults] == []
    assert all(each.by_input for each in mapped)
    return pa.concat_tables([each.events for each in mapped]).unify_dictionaries().combine_chunks()


def rows_of(events: pa.Table) -> list[dict[str, object]]:
    """Events in an order of their own, as often as they are there."""
    return sorted(events.to_pylist(), key=lambda row: json.dumps(row, default=str))


def expected(name: str) -> pa.Table:
    """The events that stand in the file beside the input."""
    return decode_lines((HERE / "expected" / f"{name}.ndjson").read_bytes(), account="acme").good_events(name)


def test_each_shipped_mapping_has_an_input() -> None:
    assert sorted(INPUTS) == sorted(NAMES)
    assert sorted(SEGMENTS) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_mapping_gives_the_expected_events(name: str) -> None:
    assert rows_of(imported(name)) == rows_of(expected(name))


@pytest.mark.parametrize("name", NAMES)
def test_no_text_and_no_name_is_in_the_events(name: str) -> None:
    told = json.dumps(imported(name).to_pylist(), default=str).lower().replace(" ", "")
    assert "madeup" not in told
    assert "made.up" not in told
    assert "guest" not in told


@pytest.mark.parametrize("name", NAMES)
def test_the_events_derive_the_segments_that_a_person_expects(name: str) -> None:
    segments = derive(imported(name)).agent_segments.to_pylist()
    ended = [segment for segment in segments if segment["end"] is not None]
    ended.sort(key=lambda segment: (segment["conversationId"], segment["start"]))
    found = [
        (segment["conversationId"], segment["follows"], segment["endReason"], segment["outcome"]) for segment in ended
    ]
    assert found == SEGMENTS[name]


@pytest.mark.parametrize("name", ["rocketchat", "intercom", "twilio", "genesys"])
def test_what_is_mapped_of_a_file_is_mapped_of_webhooks_too(name: str) -> None:
    text = INPUTS[name].read_text()
    content = json.loads(text) if INPUTS[name].suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    bodies = [json.dumps(body).encode() for body in (content if isinstance(content, list) else [content])]
    with Webhook(shipped(name), name) as webhook:
        batch = webhook.map_bodies([(body, 1_795_600_000_000) for body in bodies], account="acme")
        alone = [webhook.map_bodies([(body, 1_795_600_000_000)], account="acme").events for body in bodies]
    assert batch.problems == {}
    assert rows_of(batch.events) == rows_of(expected(name))
    assert rows_of(pa.concat_tables(alone).unify_dictionaries()) == rows_of(expected(name))


def test_a_chat_that_is_forwarded_and_one_that_was_silent() -> None:
    room = {"_id": "r", "createdAt": "2026-11-20T09:00:00.000Z", "messages": []}
    served = {"_id": "bea", "username": "made up", "ts": "2026-11-20T09:03:00.000Z"}
    bodies: list[dict[str, object]] = [
        {**room, "type": "LivechatSessionForwarded", "departmentId": "b", "oldDepartmentId": "a", "servedBy": served},
        {**room, "type": "LivechatSessionForwarded", "departmentId": "c", "oldDepartmentId": "b"},
        {
            **{**room, "type": "LivechatSession", "departmentId": "c", "closedAt": "2026-11-20T09:05:00.000Z"},
            **{"closer": "user", "closedBy": {"_id": "rocket.cat"}},
        },
        {**room, "type": "LivechatEdit"},
        {"type": "LivechatOfflineMessage", "sentAt": "2026-11-20T09:00:00.000Z", "message": "made up"},
    ]
    with Webhook(shipped("rocketchat"), "rocketchat") as webhook:
        batch = webhook.map_bodies([(json.dumps(body).encode(), 1_795_600_000_000) for body in bodies], account="acme")
    assert batch.problems == {}
    found = {(row["type"], row["reason"], row["closedBy"], row["time"].isoformat()) for row in batch.events.to_pylist()}
    assert found == {
        ("transferred", "skill", None, "2026-11-20T09:03:00+00:00"),
        ("assigned", None, None, "2026-11-20T09:03:00+00:00"),
        ("transferred", "skill", None, "2026-11-25T09:46:40+00:00"),
        ("closed", None, "system", "2026-11-20T09:05:00+00:00"),
    }


def test_a_mapping_is_a_file_or_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "my.sql").write_bytes("\ufeffselect 1".encode())
    assert mapping_text(str(tmp_path / "my.sql")) == "select 1"
    assert mapping_text("csv") == shipped("csv")
    with pytest.raises(InputError, match=r"no mapping of this name is shipped \(csv, zendesk, rocketchat"):
        mapping_text("nothing")
    (tmp_path / "my.sql").write_bytes(b"\xff")
    with pytest.raises(InputError, match="SQL in UTF-8"):
        mapping_text(str(tmp_path / "my.sql"))
