"""The breakdown list and its files (http-api.md 2).

Covers: api/files, api/unit_files.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from handletime.api.negotiation import named, wants_gzip, wants_json
from tests.api.world import NOW, Event, World

Json = dict[str, Any]
HOUR = 3_600_000
LIVEPERSONS = re.compile(
    r"^/year=\d{4}/month=\d{1,2}/day=\d{1,2}/hour=\d{1,2}/accountId=[a-zA-Z0-9]+/[a-zA-Z0-9_.-]+\.json\.gz$"
)


def handled(conversation: str, end: int) -> Iterator[Event]:
    """A conversation with one handle-time unit of five seconds."""
    steps: list[tuple[int, Json]] = [
        (10_000, {"type": "opened", "skillId": 1}),
        (10_000, {"type": "message", "sentBy": "consumer"}),
        (9_000, {"type": "assigned", "agentId": 5}),
        (8_000, {"type": "focused", "agentId": 5}),
        (3_000, {"type": "message", "sentBy": "agent"}),
        (1_000, {"type": "unfocused", "agentId": 5}),
        (0, {"type": "closed", "closedBy": "agent"}),
    ]
    for number, (before, fields) in enumerate(steps):
        yield {
            "conversationId": conversation,
            "eventId": f"e{number}",
            "time": end - before,
            "sequence": number,
            **fields,
        }


@pytest.fixture
def filled(world: World, account: str) -> str:
    """An account with units in two hours."""
    for conversation, end in {"a": NOW - 90 * 60_000, "b": NOW - 80 * 60_000, "c": NOW - 30 * 60_000}.items():
        world.store.put(account, list(handled(conversation, end)))
    return account


def listed(world: World, account: str, query: str = "") -> list[str]:
    answer = world.get(f"/api/account/{account}/agent-segments/breakdown?source=test&{query}", account)
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["timeframe", "files"]
    files: list[str] = answer.json()["files"]
    return files


def fetch(world: World, account: str, path: str, **headers: str) -> Any:
    return world.get(f"/api/account/{account}/agent-segments/files?source=test&path={path}", account, **headers)


def units(world: World, account: str, path: str) -> list[Json]:
    answer = fetch(world, account, path, Accept="application/json")
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()
    return found


def test_files_cover_an_hour_each_and_are_named_as_on_livepersons_page(world: World, filled: str) -> None:
    first, second = listed(world, filled)
    assert LIVEPERSONS.match(first)
    assert first.startswith(
        f"/year=2026/month=11/day=20/hour=10/accountId={filled}/sequences.{NOW}.20261120120000.00000"
    )
    assert second.startswith("/year=2026/month=11/day=20/hour=11/")


def test_a_line_has_the_keys_and_types_of_livepersons_sample(world: World, filled: str) -> None:
    (path, _) = listed(world, filled)
    raw = fetch(world, filled, path, Accept="*/*")
    assert raw.headers["content-type"] == "application/gzip"
    assert "content-encoding" not in raw.headers
    lines = gzip.decompress(raw.content).splitlines()
    unit = json.loads(lines[0])
    assert len(lines) == 2
    assert list(unit) == [
        "segmentId",
        "sequence",
        "startReason",
        "endReason",
        "startTimestamp",
        "endTimestamp",
        "handleTimeMillis",
        "insertTimestamp",
    ]
    end = NOW - 90 * 60_000
    assert unit | {"segmentId": ""} == {
        "segmentId": "",
        "sequence": 1,
        "startReason": "conversationEntered",
        "endReason": "agentResponse",
        "startTimestamp": end - 8_000,
        "endTimestamp": end - 3_000,
        "handleTimeMillis": 5_000,
        "insertTimestamp": NOW,
    }
    assert unit["segmentId"].startswith(f"{filled}:5:a:")
    assert [json.loads(line) for line in lines] == units(world, filled, path)


def test_only_hours_with_units_of_the_window_are_listed_and_none_is_an_empty_list(world: World, filled: str) -> None:
    everything = listed(world, filled)
    assert listed(world, filled, f"from={NOW - HOUR}") == everything[1:]
    assert listed(world, filled, f"from={NOW - 85 * 60_000}&to={NOW - 70 * 60_000}") == everything[:1]
    assert listed(world, filled, f"from={NOW - 70 * 60_000}&to={NOW - 40 * 60_000}") == []
    assert listed(world, filled + "x") == []


def test_a_path_never_changes_its_content_and_late_events_make_a_new_one(
    world: World, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, other = listed(world, filled)
    content = fetch(world, filled, old).content
    assert listed(world, filled) == [old, other]
    world.store.put(filled, list(handled("late", NOW - 85 * 60_000)))
    monkeypatch.setattr(world.clock, "moment", NOW + 60_000)
    new, same = listed(world, filled)
    assert same == other
    assert new != old
    assert len(units(world, filled, new)) == 3
    assert {unit["insertTimestamp"] for unit in units(world, filled, new)} == {NOW + 60_000}
    assert fetch(world, filled, old).content == content


def test_a_file_that_names_a_removed_conversation_is_gone_at_once(world: World, filled: str) -> None:
    gone, kept = listed(world, filled)
    world.store.reader(filled).remove("a")
    assert fetch(world, filled, gone).status_code == 404
    assert fetch(world, filled, kept).status_code == 200
    again, _ = listed(world, filled)
    assert again != gone
    assert len(units(world, filled, again)) == 1


def test_the_shelf_forgets_files_of_removed_conversations(world: World, filled: str) -> None:
    gone, kept = listed(world, filled)
    world.shelf.forget(filled, ["b"])
    assert world.shelf.find(filled, gone) is None
    assert world.shelf.find(filled, kept) is not None


def test_another_accounts_file_looks_like_one_that_does_not_exist(world: World, filled: str) -> None:
    path = listed(world, filled)[0]
    other = fetch(world, "acme", path)
    missing = fetch(world, "acme", path.replace("sequences", "nothing"))
    assert other.status_code == missing.status_code == 404
    assert other.content == missing.content


def test_a_path_has_to_be_spelled_as_it_was_listed(world: World, filled: str) -> None:
    path = listed(world, filled)[0]
    assert fetch(world, filled, path.replace("/", "%2F").replace("=", "%3D")).status_code == 200
    assert fetch(world, filled, path.replace("month=11", "month=011")).status_code == 400
    assert fetch(world, filled, path.replace("sequences", "Sequences")).status_code == 404
    assert fetch(world, filled, path.replace("hour=10", "hour=9")).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "/year=2026/month=11/day=20/hour=10/accountId=A/../x.json.gz",
        "/year=2026/month=11/day=20/hour=10/accountId=A/x.json.gz%0A",
        "/year=2026/month=11/day=20/hour=10/accountId=A/x.json.gz%00",
        "/year=2026/month=11/day=20/hour=10/accountId=A/%2e%2e%2fx.json.gz",
        "/year=2026/month=11/day=20/hour=10/accountId=A/%252e%252e.json.gz",
        "/year=%D9%A22026/month=11/day=20/hour=10/accountId=A/x.json.gz",
        "/year=2026/month=11/day=20/hour=10/accountId=../x.json.gz",
        "//year=2026/month=11/day=20/hour=10/accountId=A/x.json.gz",
    ],
)
def test_what_is_no_path_is_a_400(world: World, path: str) -> None:
    head = (
        f"GET /api/account/acme/agent-segments/files?source=t&path={path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    )
    answer = world.raw(head.encode() + b"Authorization: Bearer key-acme-admin\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"path: " in answer


def test_breakdown_and_files_need_a_source(world: World) -> None:
    assert world.get("/api/account/acme/agent-segments/breakdown").json()["causes"] == ["source: is required"]
    causes = world.get("/api/account/acme/agent-segments/files").json()["causes"]
    assert causes == ["source: is required", "path: is required"]


@pytest.mark.parametrize(
    ("accept", "json_"),
    [
        ("application/json", True),
        ("Application/JSON", True),
        ("application/json, text/plain, */*", True),
        ("application/json;q=0.9, */*;q=0.8", True),
        ("text/html, application/json;q=0.9", False),
        ("application/json;q=0.5, application/gzip;q=0.6", False),
        ("application/json;q=0", False),
        ("application/json; Q=0.5, application/x-gzip;q=0.5", True),
        ("application/json;q=nonsense", True),
        ("*/*", False),
        ("", False),
        ("application/*", False),
        ("image/png", False),
        (",,;q=1", False),
    ],
)
def test_json_is_given_where_it_is_named_and_nothing_is_preferred(
    world: World, filled: str, accept: str, json_: bool
) -> None:
    assert wants_json(accept) == json_
    answer = fetch(world, filled, listed(world, filled)[0], Accept=accept)
    assert answer.status_code == 200
    assert (answer.headers["content-type"] == "application/json") == json_


@pytest.mark.parametrize(
    ("accept_encoding", "packed"),
    [("gzip", True), ("GZIP;q=0.1, br", True), ("gzip;q=0", False), ("identity", False), ("*", False), ("", False)],
)
def test_the_json_is_packed_only_for_who_names_gzip(
    world: World, filled: str, accept_encoding: str, packed: bool
) -> None:
    assert wants_gzip(accept_encoding) == packed
    path = listed(world, filled)[0]
    answer = fetch(world, filled, path, Accept="application/json", Accept_Encoding=accept_encoding)
    assert ("content-encoding" in answer.headers) == packed
    assert len(answer.json()) == 2


def test_a_type_that_is_named_twice_has_the_better_q() -> None:
    assert named("a;q=0.2, a;q=0.7,b;level=1;q=0.3") == {"a": 0.7, "b": 0.3}
