"""Why the numbers are so, over HTTP (ours)."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.api.test_agent_segments import a_segment
from tests.api.test_breakdown import handled
from tests.api.world import NOW, World

ODD = "a:b/c d%2F"


def test_a_conversation_is_explained_as_the_command_does(world: World, account: str) -> None:
    world.store.put(account, list(handled("mine", NOW - 60_000)))
    answer = world.get(f"/api/account/{account}/conversations/mine/explain", account)
    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == ["accountId", "conversationId", "moments", "agentSegments", "skillSegments", "queueSegments"]
    assert sum(moment.get("handleTimeMillis", 0) for moment in body["moments"]) == 5_000
    assert body["agentSegments"][0]["handleTimeUnits"][0]["handleTimeMillis"] == 5_000


def test_a_segment_is_found_by_its_id_whatever_its_conversation_is_called(world: World, account: str) -> None:
    for number in range(2):
        world.store.put(
            account, list(a_segment(number, NOW - 60_000 * (3 - 2 * number), conversation=ODD, agentId=number))
        )
    listed = world.get(f"/api/account/{account}/agent-segments?source=x", account).json()["segments"]
    assert len(listed) == 2
    for segment in listed:
        path = f"/api/account/{account}/agent-segments/{quote(segment['segmentId'], safe='')}/explain"
        body = world.get(path, account).json()
        assert body["conversationId"] == ODD
        assert [row["segmentId"] for row in body["agentSegments"]] == [segment["segmentId"]]


@pytest.mark.parametrize(
    "path",
    [
        "conversations/none/explain",
        "agent-segments/none/explain",
        "agent-segments/acme:12:twelve-0:AAAAAAAAAAAAAAAAAAAAAA/explain",
        "agent-segments/::::/explain",
    ],
)
def test_what_is_not_there_is_a_404(world: World, path: str) -> None:
    answer = world.get(f"/api/account/acme/{path}")
    assert answer.status_code == 404
    assert set(answer.json()) == {"message"}


def test_nobody_sees_another_accounts_conversation(world: World, account: str) -> None:
    world.store.put(account, list(handled("mine", NOW - 60_000)))
    other = world.get("/api/account/acme/conversations/mine/explain")
    missing = world.get("/api/account/acme/conversations/nobodys/explain")
    assert (other.status_code, other.content) == (404, missing.content)
