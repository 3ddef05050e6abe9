"""The methods over the real store: the same answers, byte for byte, as over the one in memory.

Covers: api/ports.
"""

from __future__ import annotations

import json

import pytest

from tests.api.world import NOW, Event, World
from tests.messy_streams import messy_stream

DAY = 86_400_000
PATHS = [
    "/api/account/{}/agent-segments?source=test&limit=500&from={}&to={}",
    "/api/account/{}/agent-segments?source=test&limit=7&offset=20&sort=employee:desc&from={}&to={}",
    "/operations/api/account/{}/msgagentsegments?v=1&timeframe=1440&skillIds=all&interval=60&userType=human",
    "/operations/api/account/{}/msgskillsegments?v=1&timeframe=1440&interval=60&userType=bot",
    "/operations/api/account/{}/msgskillsegments?v=1&timeframe=1440&format=csv",
    "/operations/api/account/{}/msgconversation?v=1&timeframe=1440&skillIds=all&agentIds=all&interval=60",
    "/operations/api/account/{}/msgconversation?v=1&timeframe=60&skillIds=all",
    "/operations/api/account/{}/msgqueuehealth?v=2&timeframe=1440&interval=60&skillIds=all",
    "/operations/api/account/{}/msgqueuehealth?v=2&timeframe=1440&format=csv",
    "/operations/api/account/{}/msgqueuehealth/current?v=1",
    "/api/account/{}/due?limit=1000",
    "/api/account/{}/metrics",
]


def test_answers_are_those_of_the_store_in_memory(stored: World, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {event["eventId"]: event for event in messy_stream(3, events=400)}
    events = [{**event, "accountId": "both"} for event in seen.values()]
    body = b"\n".join(json.dumps(event).encode() for event in events)
    for server in (stored, world):
        answer = server.post("/api/account/both/events", body, "both")
        assert answer.status_code == 200, answer.text
    with world.store.reader("both").snapshot() as connection:
        (last,) = connection.execute('select max(epoch_ms("end")) from agent_segments').fetchone() or (NOW,)
    monkeypatch.setattr(world.clock, "moment", last + 1)
    monkeypatch.setattr(stored.clock, "moment", last + 1)
    for path in PATHS:
        asked = path.format("both", last - DAY, last + 1)
        wanted = world.get(asked, "both").text.replace(world.url, stored.url)
        assert stored.get(asked, "both").text == wanted
    segment = world.get(PATHS[0].format("both", last - DAY, last + 1), "both").json()["segments"][0]
    explained = f"/api/account/both/agent-segments/{segment['segmentId']}/explain"
    assert stored.get(explained, "both").json() == world.get(explained, "both").json()


def test_files_hold_the_same_units(stored: World, world: World, account: str) -> None:
    from tests.api.test_breakdown import handled, listed, units

    events = [*handled("a", NOW - 90 * 60_000), *handled("b", NOW - 30 * 60_000)]
    body = b"\n".join(json.dumps(event).encode() for event in events)
    found = []
    for server in (stored, world):
        server.post(f"/api/account/{account}/events", body, account)
        found.append([unit for path in listed(server, account) for unit in units(server, account, path)])
    assert found[0] == found[1]
    assert len(found[0]) == 2


def test_late_events_change_the_files_of_their_hour_alone(
    stored: World, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.api.test_breakdown import handled, listed

    def post(*events: Event) -> None:
        body = b"\n".join(json.dumps(event).encode() for event in events)
        assert stored.post(f"/api/account/{account}/events", body, account).status_code == 200

    post(*handled("a", NOW - 90 * 60_000), *handled("b", NOW - 30 * 60_000))
    first = listed(stored, account)
    monkeypatch.setattr(stored.clock, "moment", NOW + 60_000)
    assert listed(stored, account) == first
    post(*handled("c", NOW - 200 * 60_000))
    earliest, *others = listed(stored, account)
    assert others == first
    post(*handled("late", NOW - 29 * 60_000))
    assert listed(stored, account)[:2] == [earliest, first[0]]
    assert listed(stored, account)[2] != first[1]
