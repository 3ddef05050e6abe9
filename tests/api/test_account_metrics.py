"""`GET …/metrics` of an account: figures that Prometheus reads (http-api.md 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from handletime.answers.times_today import LIMITS_S
from tests.api.world import NOW, Event, World

MINUTE = 60_000
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(world: World, account: str) -> Samples:
    answer = world.get(f"/api/account/{account}/metrics", account)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return samples(answer.text)


def story(conversation: str, *events: dict[str, Any]) -> list[Event]:
    return [{"conversationId": conversation, "eventId": str(i), **event} for i, event in enumerate(events)]


def put_some(world: World, account: str) -> None:
    """Skill 7: one waits in the queue, one for its agent, one was answered. Skill 8: one ended, after a bot."""
    consumer, agent = {"type": "message", "sentBy": "consumer"}, {"type": "message", "sentBy": "agent"}
    opened, assigned = {"type": "opened", "skillId": 7}, {"type": "assigned", "agentId": 3}
    for events in (
        story("queued", {"time": NOW - 10 * MINUTE, **opened}),
        story(
            "waits",
            {"time": NOW - 9 * MINUTE, **opened},
            {"time": NOW - 8 * MINUTE, **assigned},
            {"time": NOW - 3 * MINUTE, **consumer},
        ),
        story("answered", {"time": NOW - 9 * MINUTE, **assigned, "skillId": 7}, {"time": NOW - 8 * MINUTE, **agent}),
        story(
            "ended",
            {"time": NOW - 30 * MINUTE, **assigned, "skillId": 8, "userType": "bot"},
            {"time": NOW - 30 * MINUTE + 1, **agent},
            {"time": NOW - 29 * MINUTE, "type": "transferred", "reason": "backToQueue"},
            {"time": NOW - 27 * MINUTE, **assigned},
            {"time": NOW - 27 * MINUTE + 7000, **agent},
            {"time": NOW - 26 * MINUTE, **consumer},
            {"time": NOW - 26 * MINUTE + 15_000, **agent},
            {"time": NOW - 25 * MINUTE, "type": "closed", "closedBy": "agent"},
        ),
    ):
        world.store.put(account, events)


def test_gauges_say_who_waits_now_by_skill(world: World, account: str) -> None:
    put_some(world, account)
    found = of(world, account)
    seven = (("skill", "7"),)
    assert {name: found[f"handletime_{name}", seven] for name in ("open_conversations", "queue_conversations")} == {
        "open_conversations": 3,
        "queue_conversations": 1,
    }
    assert found["handletime_unanswered_conversations", seven] == 1
    assert found["handletime_queue_longest_wait_seconds", seven] == 600
    assert found["handletime_unanswered_longest_wait_seconds", seven] == 180
    assert found["handletime_open_conversations", (("skill", "8"),)] == 0
    assert found["handletime_open_conversations_left_out", ()] == 0
    assert {names for _, names in found} >= {seven}
    assert "account" not in {label for _, labels in found for label, _ in labels}


def test_histograms_are_of_human_agents_and_of_today(world: World, account: str) -> None:
    put_some(world, account)
    world.store.put(
        account,
        story(
            "yesterday",
            {"time": NOW - 1440 * MINUTE, "type": "assigned", "agentId": 3, "skillId": 9},
            {"time": NOW - 1439 * MINUTE, "type": "message", "sentBy": "agent"},
            {"time": NOW - 1438 * MINUTE, "type": "closed", "closedBy": "agent"},
        ),
    )
    found = of(world, account)
    eight = (("skill", "8"),)
    for name, seconds in (("first_response", 7.0), ("response", 15.0), ("queue_wait", 120.0)):
        assert found[f"handletime_{name}_seconds_count", eight] == 1, name
        assert found[f"handletime_{name}_seconds_sum", eight] == seconds
        for limit in LIMITS_S:
            within = found[f"handletime_{name}_seconds_bucket", (("le", str(float(limit))), ("skill", "8"))]
            assert within == (seconds <= limit)
    assert not [name for name, labels in found if ("skill", "9") in labels]


def test_it_is_open_metrics_for_whoever_asks_for_it(world: World, account: str) -> None:
    put_some(world, account)
    answer = world.get(f"/api/account/{account}/metrics", account, Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = {family.name for family in open_metrics(answer.text)}  # type: ignore[no-untyped-call]
    assert families == {
        "handletime_open_conversations_left_out",
        *("handletime_open_conversations", "handletime_queue_conversations", "handletime_unanswered_conversations"),
        *("handletime_queue_longest_wait_seconds", "handletime_unanswered_longest_wait_seconds"),
        *("handletime_first_response_seconds", "handletime_response_seconds", "handletime_queue_wait_seconds"),
    }


def test_the_servers_own_metrics_know_none_of_it(world: World, account: str) -> None:
    put_some(world, account)
    of(world, account)
    assert "queue_conversations" not in world.client.get("/metrics").text
    assert of(world, f"{account}empty") == {("handletime_open_conversations_left_out", ()): 0}


def test_service_levels_by_target_and_who_is_past_due(
    world: World, account: str, set_targets: Callable[[World, str], None]
) -> None:
    put_some(world, account)
    assert "handletime_past_due" not in world.get(f"/api/account/{account}/metrics", account).text
    set_targets(
        world,
        f"""
        [[targets]]
        name = "seven"
        accounts = ["{account}"]
        skills = [7]
        queue-wait = "9min"
        first-response = "8min"
        [[targets]]
        name = "the rest"
        accounts = ["{account}"]
        first-response = "5s"
        response = "15s"
        """,
    )
    found = of(world, account)
    past_due = {labels: value for (name, labels), value in found.items() if name == "handletime_past_due_conversations"}
    assert past_due == {
        (("clock", "firstResponse"), ("skill", "7")): 0,
        (("clock", "queueWait"), ("skill", "7")): 1,
    }
    counted = {
        labels: value for (name, labels), value in found.items() if name == "handletime_service_level_waits_total"
    }
    rest = {
        (dict(labels)["clock"], dict(labels)["verdict"]): value
        for labels, value in counted.items()
        if dict(labels)["target"] == "the rest" and value
    }
    # The bot's first response took 1 ms, the agent's 7 s and its response 15 s.
    assert rest == {("firstResponse", "met"): 1, ("firstResponse", "missed"): 1, ("response", "met"): 1}
