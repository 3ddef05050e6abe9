"""`GET …/due`: what is past due or will be soon; who waits, as long as no targets are set (http-api.md 7)."""

from __future__ import annotations

from collections.abc import Callable

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
    assert list(body) == ["at", "count", "conversations", "leftOut"]
    assert body["leftOut"] == 0
    assert (body["at"], body["count"]) == ("2026-11-20T12:00:00Z", 3)
    nothing = dict.fromkeys(["target", "targetMillis", "elapsedMillis", "due", "pastDue"])
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


TARGETS = """\
[calendars.early]
zone = "UTC"
friday = ["08:00-11:52"]

[[targets]]
name = "seven"
accounts = ["ACCOUNT"]
skills = [7]
calendar = "early"
queue-wait = "5min"
first-response = "5min"

[[targets]]
name = "all"
accounts = ["ACCOUNT"]
first-response = "200s"
response = "62s"
"""


def test_the_most_urgent_comes_first(world: World, account: str, set_targets: Callable[[World, str], None]) -> None:
    put_some(world, account)
    message = {"type": "message", "sentBy": "agent"}
    for name, skill in (("again", 8), ("other", 9)):
        world.store.put(
            account,
            story(
                name,
                {"time": NOW - 20 * MINUTE, "type": "assigned", "agentId": 5, "skillId": skill},
                {"time": NOW - 19 * MINUTE, **message},
                {"time": NOW - MINUTE - (skill == 9) * 1000, **message, "sentBy": "consumer"},
            ),
        )
    set_targets(world, TARGETS.replace("ACCOUNT", account))
    body = world.get(f"/api/account/{account}/due?within=2", account).json()
    told = [(each["conversationId"], each["clock"], each["due"], each["pastDue"]) for each in body["conversations"]]
    # In skill 7 it is closed since 11:52: two minutes of the wait elapsed, five never will today.
    assert told == [
        ("other", "response", "2026-11-20T12:00:01Z", False),
        ("again", "response", "2026-11-20T12:00:02Z", False),
    ]
    assert body["count"] == 2
    first = body["conversations"][0]
    assert (first["target"], first["targetMillis"]) == ("all", 62_000)
    assert (first["waitMillis"], first["elapsedMillis"]) == (MINUTE + 1000, MINUTE + 1000)
    set_targets(world, TARGETS.replace("ACCOUNT", account).replace("5min", "90s"))
    late = world.get(f"/api/account/{account}/due?within=0", account).json()["conversations"]
    assert [(each["conversationId"], each["clock"], each["elapsedMillis"], each["due"]) for each in late] == [
        ("queued", "queueWait", 2 * MINUTE, "2026-11-20T11:51:30Z")
    ]
    assert late[0]["pastDue"] is True
    rows = table(world, f"/api/account/{account}/due?within=0&skillIds=7", account)
    assert [(row["target"], row["pastDue"]) for row in rows] == [("seven", "true")]


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
