"""`GET …/due`: who waits, the longest wait first, as long as no targets are set (http-api.md 7)."""

from __future__ import annotations

import pytest

from tests.api.test_account_metrics import put_some, story
from tests.api.test_operations import table
from tests.api.world import NOW, World

MINUTE = 60_000


def test_the_longest_wait_comes_first_with_whom_it_is_for(world: World, account: str) -> None:
    put_some(world, account)
    message = {"type": "message", "sentBy": "agent"}
    world.store.put(
        account,
        story(
            "again",
            {"time": NOW - 20 * MINUTE, "type": "assigned", "agentId": 5, "skillId": 8},
            {"time": NOW - 19 * MINUTE, **message},
            {"time": NOW - MINUTE, **message, "sentBy": "consumer"},
        ),
    )
    answer = world.get(f"/api/account/{account}/due?within=60", account)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert list(body) == ["at", "count", "conversations"]
    assert (body["at"], body["count"]) == ("2026-11-20T12:00:00Z", 3)
    nothing = {"targetMillis": None, "due": None}
    assert body["conversations"] == [
        {"conversationId": "queued", "skillId": 7, "agentId": None, "clock": "queueWait"}
        | {"waitingSince": "2026-11-20T11:50:00Z", "waitMillis": 10 * MINUTE}
        | nothing,
        {"conversationId": "waits", "skillId": 7, "agentId": 3, "clock": "firstResponse"}
        | {"waitingSince": "2026-11-20T11:57:00Z", "waitMillis": 3 * MINUTE}
        | nothing,
        {"conversationId": "again", "skillId": 8, "agentId": 5, "clock": "response"}
        | {"waitingSince": "2026-11-20T11:59:00Z", "waitMillis": MINUTE}
        | nothing,
    ]


def test_skills_and_a_limit_choose(world: World, account: str) -> None:
    put_some(world, account)
    one = world.get(f"/api/account/{account}/due?limit=1", account).json()
    assert (one["count"], [each["conversationId"] for each in one["conversations"]]) == (2, ["queued"])
    assert world.get(f"/api/account/{account}/due?skillIds=8,9", account).json()["conversations"] == []
    rows = table(world, f"/api/account/{account}/due?skillIds=7", account)
    assert [(row["conversationId"], row["agentId"], row["due"]) for row in rows] == [
        ("queued", "", ""),
        ("waits", "3", ""),
    ]


@pytest.mark.parametrize("query", ["within=-1", "within=x", "within=86401", "limit=0", "limit=1001", "skillIds=a"])
def test_what_is_not_allowed_is_a_400(world: World, query: str) -> None:
    answer = world.get(f"/api/account/acme/due?{query}")
    assert answer.status_code == 400
    assert [cause.split(":")[0] for cause in answer.json()["causes"]] == [query.split("=")[0]]
