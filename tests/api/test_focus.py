"""Focus from browsers: whose it is, what is taken, what is refused, and which pages may send it (http-api.md 5.2)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handletime.api.focus import BYTES_MAX, EVENTS_MAX
from handletime.api.service import ApiSettings
from tests.api.world import NOW, World

PATH: Final = "/api/account/acme/focus"
AGENT: Final = "acme@12"
PAGE: Final = "https://chat.example.com"
JSON: Final = "application/json"
MAX: Final = 2**63 - 1


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(ApiSettings(focus_origins=(PAGE,))) as world:
        yield world


def move(event: str, **more: object) -> dict[str, object]:
    return {"eventId": event, "conversationId": "c1", "time": NOW - 1000, "type": "focused", **more}


def send(world: World, *events: object, account: str = AGENT, **headers: str) -> httpx.Response:
    body = json.dumps(events).encode()
    return world.post(PATH, body, account, **{"Content_Type": JSON, **headers})


def stored(world: World, event: str) -> dict[str, Any]:
    rows = world.store.readers["acme"].events.to_pylist()
    (found,) = [row for row in rows if row["eventId"] in (event, f"focus:12:{event}")]
    return dict(found)


def test_the_keys_agent_is_filled_in(world: World) -> None:
    answer = send(world, move("fills", leaseMillis=45_000, sequence=7))
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 1, "duplicates": 0, "now": NOW}
    row = stored(world, "fills")
    assert (row["agentId"], row["leaseMillis"], row["sequence"]) == (12, 45_000, 7)
    assert send(world, move("fills", leaseMillis=45_000, sequence=7)).json()["duplicates"] == 1


@pytest.mark.parametrize("own", [{"agentId": 12}, {"agentId": None}, {}])
def test_ones_own_agent_may_be_named(world: World, own: dict[str, object]) -> None:
    name = f"own{json.dumps(own)}"
    assert send(world, move(name, **own)).status_code == 200
    assert stored(world, name)["agentId"] == 12


def test_lines_are_taken_too_and_an_empty_body_tells_the_time(world: World) -> None:
    lines = b"\n".join(json.dumps(move(f"line{i}")).encode() for i in range(3))
    assert world.post(PATH, lines, AGENT).json()["accepted"] == 3
    assert send(world).json() == {"accepted": 0, "duplicates": 0, "now": NOW}
    assert world.post(PATH, b"", AGENT).json() == {"accepted": 0, "duplicates": 0, "now": NOW}


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        (move("x", agentId=13), "element 2: agentId: must be absent, or the agent that the key belongs to"),
        (move("x", agentId="12"), "element 2: agentId: must be absent, or the agent that the key belongs to"),
        (move("x", agentId=12.0), "element 2: agentId: must be absent, or the agent that the key belongs to"),
        (move("x", agentId=True), "element 2: agentId: must be absent, or the agent that the key belongs to"),
        (move("x", type="assigned"), "element 2: type: must be focused or unfocused: nothing else is taken here"),
        (move("x", type=["focused"]), "element 2: type: must be focused or unfocused: nothing else is taken here"),
        (move("x", time=NOW + 60_001), "element 2: time: must not be more than 60 seconds in the future"),
        (move("x", time=NOW // 1000), "element 2: time: "),
        (move("x", revision=1), "element 2: revision: must be absent"),
        (move("x" * 101), "element 2: eventId: must have 1 to 100 characters"),
        (move(""), "element 2: eventId: "),
        (move("x", leaseMillis=0), "element 2: leaseMillis: "),
        (move("x", accountId="other"), "element 2: accountId: must be the account of the address, or absent"),
        ({"type": "focused"}, "element 2: conversationId: "),
        ([], "element 2: "),
        (17, "element 2: "),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_stored(world: World, event: object, cause: str) -> None:
    answer = send(world, move("beside"), event)
    assert answer.status_code == 400
    assert any(each.startswith(cause) for each in answer.json()["causes"]), answer.json()
    reader = world.store.readers.get("acme")
    rows = reader.events.to_pylist() if reader else []
    assert not [row for row in rows if row["eventId"] in ("beside", "x")]


def test_what_is_a_minute_ahead_or_of_yesterday_is_taken(world: World) -> None:
    assert send(world, move("ahead", time=NOW + 60_000), move("old", time=NOW - 86_400_000)).json()["accepted"] == 2


def test_no_key_touches_an_event_that_is_not_its_own(world: World) -> None:
    assert send(world, move("theirs"), account="acme@13").json()["accepted"] == 1
    assert send(world, move("theirs")).json() == {"accepted": 1, "duplicates": 0, "now": NOW}
    desk = {"eventId": "m1", "conversationId": "c1", "time": NOW, "type": "message", "sentBy": "consumer"}
    assert send(world, move("m1")).json()["accepted"] == 1
    answer = world.post("/api/account/acme/events", json.dumps([desk]).encode(), Content_Type=JSON)
    assert answer.json() == {"accepted": 1, "duplicates": 0}


@pytest.mark.parametrize("depth", [500, 5_000, 25_000])
def test_what_is_nested_deeply_is_a_400(world: World, depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    event = json.dumps(move("deep")).encode()[:-1]
    for field in (b"x", b"agentId", b"type", b"eventId", b"revision"):
        answer = world.post(PATH, event + b',"' + field + b'":' + deep + b"}", AGENT)
        assert answer.status_code in (200, 400)
        assert answer.status_code == 400 or field == b"x"
    assert beacon(world, b'{"key":"key-acme@12-focus","events":[],"z":' + deep + b"}").status_code in (200, 400)
    objects = b'{"a":' * (depth // 4)
    assert beacon(world, objects + b"1" + b"}" * (depth // 4)).status_code == 400


def test_faults_come_in_the_order_of_the_events(world: World) -> None:
    wrong = [move("x", time=1), move("x", agentId=13), move("x", time=1), move("x", type="closed")]
    causes = send(world, *wrong).json()["causes"]
    assert [each.split(":")[0] for each in causes] == [f"element {i}" for i in (1, 2, 3, 4)]


def test_a_key_that_stands_twice_cannot_smuggle_another_agent_in(world: World) -> None:
    twice = json.dumps(move("twice")).encode()[:-1] + b', "agentId": 13, "agentId": 12}'
    assert world.post(PATH, twice, AGENT).status_code == 200
    assert stored(world, "twice")["agentId"] == 12
    escaped = json.dumps(move("escaped")).encode()[:-1] + b', "agent\\u0049d": 13}'
    assert world.post(PATH, escaped, AGENT).status_code == 400


@given(st.recursive(st.none() | st.integers() | st.text() | st.floats(), lambda more: st.lists(more, max_size=3)))
def test_no_value_of_agent_id_makes_it_another_ones(world: World, value: object) -> None:
    answer = send(world, move("any", agentId=value))
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        assert stored(world, "any")["agentId"] == 12


@pytest.mark.parametrize("body", [b"[", b"{}", b'"x"', b"\xff\xfe", b'[{"a":NaN}]', b'[{"a":"\\ud800"}]', b"[]]"])
def test_what_is_no_array_is_a_400(world: World, body: bytes) -> None:
    assert world.post(PATH, body, AGENT, Content_Type=JSON).status_code == 400


def test_focus_on_a_conversation_that_nobody_knows_is_in_no_figure() -> None:
    with World() as world:
        assert send(world, move("unknown")).json()["accepted"] == 1
        segments = world.get("/api/account/acme/agent-segments?source=test").json()
        assert segments["segments"] == []
        totals = world.get("/operations/api/account/acme/msgskillsegments?v=1&timeframe=60").json()["metricsTotal"]
        assert not any(totals.values())


def test_an_administrators_key_names_the_agent_of_each_event(world: World) -> None:
    assert send(world, move("admins", agentId=99), account="acme").status_code == 200
    assert stored(world, "admins")["agentId"] == 99
    refused = send(world, move("nobodys"), account="acme")
    assert refused.status_code == 400
    assert refused.json()["causes"] == ["element 1: agentId: is required"] or "agentId" in refused.text


def test_too_many_and_too_much_is_a_413(world: World) -> None:
    short = [{"eventId": str(i), "conversationId": "c", "time": NOW, "type": "focused"} for i in range(EVENTS_MAX + 1)]
    body = json.dumps(short[:-1], separators=(",", ":")).encode()
    assert len(body) < 2 * BYTES_MAX
    assert world.post(PATH, b" " * (BYTES_MAX + 1), AGENT, Content_Type=JSON).status_code == 413
    tiny = b'{"eventId":"%d","conversationId":"c","time":%d,"type":"focused"}\n'
    lines = b"".join(tiny % (i, NOW) for i in range(EVENTS_MAX + 1))
    assert world.post(PATH, lines, AGENT).status_code == 413


def test_nothing_is_taken_compressed_or_as_another_type(world: World) -> None:
    assert send(world, move("gzip"), Content_Encoding="gzip").status_code == 415
    assert send(world, move("form"), Content_Type="application/x-www-form-urlencoded").status_code == 415


# --- A body that holds its key ---------------------------------------------------------------------------------------


def beacon(world: World, body: object, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return world.client.post(PATH, content=content, headers={"Content-Type": "text/plain;charset=UTF-8", **headers})


def test_a_body_may_hold_its_key(world: World) -> None:
    answer = beacon(world, {"key": "key-acme@12-focus", "events": [move("beacon")]})
    assert answer.json() == {"accepted": 1, "duplicates": 0, "now": NOW}
    assert stored(world, "beacon")["agentId"] == 12


def test_a_key_in_a_body_is_checked_like_one_in_a_header(world: World) -> None:
    event = [move("no")]
    assert beacon(world, {"key": "wrong", "events": event}).status_code == 401
    assert beacon(world, {"key": "", "events": event}).status_code == 401
    assert beacon(world, {"key": "key-other@12-focus", "events": event}).status_code == 401
    assert beacon(world, {"key": "key-acme-ingest+operations", "events": event}).status_code == 403
    bad: list[object] = [{"events": event}, {"key": 1, "events": event}, [], b"\xff", b"{", {"key": "x"}]
    for wrong in bad:
        assert beacon(world, wrong).status_code == 400
    wrong_event = beacon(world, {"key": "key-acme@12-focus", "events": [move("x", agentId=13)]})
    assert wrong_event.json()["causes"][0].startswith("element 1: agentId")


# --- Pages of other origins ------------------------------------------------------------------------------------------


def test_only_listed_pages_may_read_the_answers(world: World) -> None:
    listed = send(world, Origin=PAGE)
    assert listed.headers["access-control-allow-origin"] == PAGE
    assert "access-control-allow-credentials" not in listed.headers
    for other in ("https://evil.example.com", "null", "https://chat.example.com.evil.example", PAGE.upper(), "*"):
        answer = send(world, Origin=other)
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers
        assert "origin" in answer.headers["vary"]


def test_a_browser_that_asks_first_is_told(world: World) -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    answer = world.client.options(PATH, headers=asked | {"Access-Control-Request-Headers": "authorization"})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-headers"] == "authorization, content-type"
    assert "access-control-allow-origin" not in world.client.options(PATH, headers={"Origin": "https://a.b"}).headers
    # A page may read why it was refused; and no other method lets any page in.
    refused = world.client.post(PATH, headers={"Origin": PAGE, "Content-Type": JSON})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)
    elsewhere = world.get("/api/account/acme/agent-segments?source=x", Origin=PAGE)
    assert "access-control-allow-origin" not in elsewhere.headers


def test_by_default_no_page_may() -> None:
    with World() as world:
        answer = send(world, Origin=PAGE)
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers
        assert "origin" not in answer.headers["vary"]


# --- How much one browser may bring ----------------------------------------------------------------------------------


def test_ten_thousand_moves_in_a_minute_are_too_many() -> None:
    with World(ApiSettings(focus_rate=1)) as world:
        answers = [send(world, *(move(f"wild{i}.{j}") for j in range(100))) for i in range(5)]
        assert [answer.status_code for answer in answers] == [200] + [429] * 4
        assert int(answers[-1].headers["retry-after"]) > 10
        assert 'handletime_refused_requests_total{limit="focus-rate"} 4' in world.client.get("/metrics").text


def test_many_moves_of_an_hour_offline_are_let_in_and_waited_off() -> None:
    with World(ApiSettings(focus_rate=10)) as world:
        many = [move(f"late{i}") for i in range(200)]
        assert send(world, *many).json()["accepted"] == 200
        refused = send(world, move("after"))
        assert refused.status_code == 429
        assert 5 <= int(refused.headers["retry-after"]) <= 11
