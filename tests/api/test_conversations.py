"""`msgconversation`: closed conversations, in the shapes of LivePerson's page (http-api.md 3)."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from handletime.answers.registry import CLOSE_METRICS
from handletime.clock import DAY, MINUTE
from handletime.events.book import instant
from tests.answers.closes_oracle import closes, metrics_of
from tests.api.test_operations import table
from tests.api.world import NOW, Event, World, token
from tests.messy_streams import messy_stream

Json = dict[str, Any]
NAMES = [metric.name for metric in CLOSE_METRICS]
ZEROS = dict.fromkeys(NAMES, 0)


def path(account: str, query: str) -> str:
    return f"/operations/api/account/{account}/msgconversation?{query}"


def asked(world: World, account: str, query: str) -> Json:
    answer = world.get(path(account, f"v=1&{query}"), account)
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


def moment(text: str) -> int:
    return cast(int, instant(f"2026-11-20T{text}Z"))


def story(number: int, end: int, by: str, *, minutes: int = 5, **assigned: object) -> list[Event]:
    """A conversation of skill 7, open for some minutes; `agentId` and others are of who is assigned, if anybody."""
    begin = end - minutes * MINUTE
    events: list[Json] = [{"eventId": "o", "time": begin, "type": "opened", "skillId": assigned.pop("skill", 7)}]
    if assigned:
        events.append({"eventId": "a", "time": begin + 1, "type": "assigned", **assigned})
    events.append({"eventId": "z", "time": end, "type": "closed", "closedBy": by})
    return [{"conversationId": f"c{number}", **event} for event in events]


@pytest.fixture
def four(world: World, account: str) -> str:
    """Four closes of three skills, two agents and nobody."""
    ago = NOW - 2 * MINUTE
    for events in (
        story(1, ago, "agent", agentId=3, groupId=5, minutes=10),
        story(2, ago, "consumer", agentId=4, minutes=5),
        story(3, ago - 7 * MINUTE, "consumer", minutes=2, skill=8),
        story(4, ago, "system", agentId=3, groupId=5, minutes=3, skill=9),
    ):
        world.store.put(account, events)
    return account


def test_without_ids_there_are_totals_alone(world: World, four: str) -> None:
    answer = asked(world, four, "timeframe=60")
    assert list(answer) == ["metricsTotals"]
    assert list(answer["metricsTotals"]) == NAMES
    assert answer["metricsTotals"] == {
        "resolvedConversations_byCCP": 1,
        "resolvedConversations_byConsumer": 2,
        "resolvedConversations_bySystem": 1,
        "totalResolvedConversations": 4,
        "totalHandlingTime_resolvedConversations": 20 * MINUTE,
        "totalHandlingTime_resolvedConversations_byCCP": 10 * MINUTE,
        "totalHandlingTime_resolvedConversations_byConsumer": 7 * MINUTE,
        "totalHandlingTime_resolvedConversations_bySystem": 3 * MINUTE,
        "avgTime_resolvedConversations": 300_000.0,
        "avgTime_resolvedConversations_byCCP": 600_000.0,
        "avgTime_resolvedConversations_byConsumer": 210_000.0,
        "avgTime_resolvedConversations_bySystem": 180_000.0,
    }


def test_with_agent_ids_closes_of_nobody_count_in_the_totals_only(world: World, four: str) -> None:
    answer = asked(world, four, "timeframe=60&agentIds=all")
    assert list(answer) == ["agentsMetrics"]
    assert list(answer["agentsMetrics"]) == ["metricsPerAgent", "metricsTotals"]
    assert list(answer["agentsMetrics"]["metricsPerAgent"]) == ["3", "4"]
    assert answer["agentsMetrics"]["metricsPerAgent"]["3"]["totalResolvedConversations"] == 2
    assert answer["agentsMetrics"]["metricsTotals"]["totalResolvedConversations"] == 4
    of_three = asked(world, four, "timeframe=60&agentIds=3,99")["agentsMetrics"]
    assert list(of_three["metricsPerAgent"]) == ["3"]
    assert of_three["metricsTotals"] == of_three["metricsPerAgent"]["3"]


def test_with_skill_ids_every_skill_has_its_agents_and_its_totals(world: World, four: str) -> None:
    answer = asked(world, four, "timeframe=60&skillIds=all")
    assert list(answer) == ["skillsMetricsPerAgent"]
    by_skill = answer["skillsMetricsPerAgent"]
    assert list(by_skill) == ["metricsPerSkill", "metricsTotals"]
    assert list(by_skill["metricsPerSkill"]) == ["7", "8", "9"]
    assert list(by_skill["metricsPerSkill"]["7"]) == ["metricsPerAgent", "metricsTotals"]
    assert list(by_skill["metricsPerSkill"]["7"]["metricsPerAgent"]) == ["3", "4"]
    assert by_skill["metricsPerSkill"]["8"]["metricsPerAgent"] == {}
    assert by_skill["metricsPerSkill"]["8"]["metricsTotals"]["totalResolvedConversations"] == 1
    some = asked(world, four, "timeframe=60&skillIds=8,9")["skillsMetricsPerAgent"]
    assert list(some["metricsPerSkill"]) == ["8", "9"]
    assert some["metricsTotals"]["totalResolvedConversations"] == 2


def test_both_kinds_of_ids_give_both_parts_and_filter_both(world: World, four: str) -> None:
    answer = asked(world, four, "timeframe=60&skillIds=7,8&agentIds=all")
    assert list(answer) == ["skillsMetricsPerAgent", "agentsMetrics"]
    assert answer["agentsMetrics"]["metricsTotals"] == answer["skillsMetricsPerAgent"]["metricsTotals"]
    assert answer["agentsMetrics"]["metricsTotals"]["totalResolvedConversations"] == 3
    of_group = asked(world, four, "timeframe=60&groupIds=5")
    assert of_group["metricsTotals"]["totalResolvedConversations"] == 2


def test_an_average_over_nothing_is_0(world: World, four: str) -> None:
    of_eight = asked(world, four, "timeframe=60&skillIds=8")["skillsMetricsPerAgent"]["metricsTotals"]
    assert of_eight["avgTime_resolvedConversations_byCCP"] == 0
    assert of_eight["avgTime_resolvedConversations"] == 2 * MINUTE
    assert asked(world, four, "timeframe=60&agentIds=99") == {
        "agentsMetrics": {"metricsPerAgent": {}, "metricsTotals": ZEROS}
    }
    assert asked(world, four, "timeframe=60&skillIds=99") == {
        "skillsMetricsPerAgent": {"metricsPerSkill": {}, "metricsTotals": ZEROS}
    }


def test_an_average_is_not_truncated(world: World, account: str) -> None:
    for number, open_for in enumerate((1, 2, 2)):
        begin, end = NOW - MINUTE - open_for, NOW - MINUTE
        both = [
            {"eventId": "o", "time": begin, "type": "opened"},
            {"eventId": "z", "time": end, "type": "closed", "closedBy": "agent"},
        ]
        world.store.put(account, [{"conversationId": str(number), **event} for event in both])
    assert asked(world, account, "timeframe=5")["metricsTotals"]["avgTime_resolvedConversations"] == 5 / 3


def test_a_conversation_that_was_resumed_is_opened_anew(world: World, account: str) -> None:
    events: list[Json] = [
        {"eventId": "1", "time": NOW - 9 * DAY, "type": "opened", "skillId": 1},
        {"eventId": "2", "time": NOW - 8 * DAY, "type": "closed", "closedBy": "agent"},
        {"eventId": "3", "time": NOW - 7 * DAY, "type": "resumed"},
        {"eventId": "4", "time": NOW - 6 * DAY, "type": "assigned", "agentId": 1},
        {"eventId": "5", "time": NOW - 5 * DAY, "type": "transferred", "reason": "skill", "skillId": 2},
        {"eventId": "6", "time": NOW - 1, "type": "closed", "closedBy": "consumer"},
    ]
    world.store.put(account, [{"conversationId": "c", **event} for event in events])
    answer = asked(world, account, "timeframe=1&skillIds=all")["skillsMetricsPerAgent"]
    assert list(answer["metricsPerSkill"]) == ["2"]
    assert answer["metricsPerSkill"]["2"]["metricsPerAgent"] == {}
    assert answer["metricsTotals"]["totalHandlingTime_resolvedConversations"] == 7 * DAY - 1


@pytest.mark.parametrize(
    ("now", "query", "start"),
    [
        ("13:29:00", "timeframe=7", "13:20:00"),
        ("13:25:00", "timeframe=5", "13:20:00"),
        ("13:24:59.999", "timeframe=5", "13:15:00"),
    ],
)
def test_the_window_starts_where_its_first_bucket_does(
    world: World, account: str, monkeypatch: pytest.MonkeyPatch, now: str, query: str, start: str
) -> None:
    monkeypatch.setattr(world.clock, "moment", moment(now))
    for number, end in enumerate((moment(start) - 1, moment(start), moment(now) - 1, moment(now))):
        world.store.put(account, story(number, end, "agent"))
    assert asked(world, account, query)["metricsTotals"]["totalResolvedConversations"] == 2
    disposition = world.get(path(account, f"v=1&format=csv&{query}"), account).headers["content-disposition"]
    assert start.replace(":", "") in disposition


@pytest.mark.parametrize(
    ("now", "query", "ends", "last"),
    [
        ("08:07:00", "timeframe=20&interval=10", ["07:50", "08:00", "08:10"], "07:45:00"),
        ("08:05:00", "timeframe=20&interval=10", ["07:55", "08:05"], "07:45:00"),
        ("08:07:00", "timeframe=21&interval=7", ["07:50", "08:00", "08:05", "08:10"], "07:45:00"),
        ("08:07:00", "timeframe=5&interval=5", ["08:05", "08:10"], "08:00:00"),
    ],
)
def test_the_timestamp_of_an_interval_is_its_end_rounded_up(
    world: World, account: str, monkeypatch: pytest.MonkeyPatch, now: str, query: str, ends: list[str], last: str
) -> None:
    monkeypatch.setattr(world.clock, "moment", moment(now))
    world.store.put(account, story(1, moment(last), "agent", agentId=3))
    world.store.put(account, story(2, moment(now) - 1, "agent", agentId=3))
    answer = asked(world, account, query)
    assert list(answer) == ["metricsByIntervals", "timeframeSummary"]
    assert [each["timestamp"] for each in answer["metricsByIntervals"]] == [moment(f"{end}:00") for end in ends]
    counted = [
        each["metricsData"]["metricsTotals"]["totalResolvedConversations"] for each in answer["metricsByIntervals"]
    ]
    assert counted == [1, *[0] * (len(ends) - 2), 1]
    assert answer["timeframeSummary"]["metricsTotals"]["totalResolvedConversations"] == 2
    assert answer["metricsByIntervals"][0]["metricsData"]["metricsTotals"] != ZEROS


def test_from_and_to_are_meant_to_the_millisecond_and_hours_to_the_clock(world: World, four: str) -> None:
    end = NOW - 2 * MINUTE
    for start, to, count in ((end, end + 1, 3), (end + 1, NOW, 0), (end - 7 * MINUTE, end, 1)):
        total = asked(world, four, f"from={start}&to={to}")["metricsTotals"]
        assert total["totalResolvedConversations"] == count
    by_hour = asked(world, four, f"from={NOW - 90 * MINUTE}&to={NOW}&interval=hour&tz=Asia/Kolkata")
    stamps = [each["timestamp"] for each in by_hour["metricsByIntervals"]]
    assert stamps == [NOW - 30 * MINUTE, NOW]


@pytest.mark.parametrize("seed", range(4))
def test_every_level_is_what_the_events_say(
    world: World, account: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    seen = {(e["conversationId"], e["eventId"]): {**e, "accountId": account} for e in messy_stream(seed, events=400)}
    events = [{**event, "revision": 0} for event in seen.values()]
    world.store.put(account, events)
    found = closes(events, account)
    now = sorted(close.at for close in found)[len(found) * 2 // 3] + 1
    monkeypatch.setattr(world.clock, "moment", now)
    start = (now - DAY) // (5 * MINUTE) * 5 * MINUTE
    chosen = [close for close in found if start <= close.at < now]
    assert asked(world, account, "timeframe=1440")["metricsTotals"] == metrics_of(chosen)
    answer = asked(world, account, "timeframe=1440&skillIds=all&agentIds=all&interval=480")["timeframeSummary"]
    assert answer["agentsMetrics"]["metricsPerAgent"] == {
        str(agent): metrics_of([close for close in chosen if close.agent == agent])
        for agent in {close.agent for close in chosen} - {None}
    }
    assert answer["skillsMetricsPerAgent"]["metricsPerSkill"] == {
        str(skill): {
            "metricsPerAgent": {
                str(agent): metrics_of([c for c in chosen if c.agent == agent and c.skill == skill])
                for agent in {c.agent for c in chosen if c.skill == skill} - {None}
            },
            "metricsTotals": metrics_of([c for c in chosen if c.skill == skill]),
        }
        for skill in {close.skill for close in chosen}
    }


# --- as a POST -------------------------------------------------------------------------------------------------------


def posted(world: World, account: str, query: str, body: object, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return world.post(path(account, query), content, account, **({"Content_Type": "application/json"} | headers))


def test_a_post_answers_like_a_get_and_its_body_wins(world: World, four: str) -> None:
    wanted = asked(world, four, "timeframe=60&skillIds=7,8&interval=30")
    for query, body in (
        ("", {"timeframe": "60", "v": "1", "skillIds": "7,8", "interval": "30"}),
        ("v=1&timeframe=60", {"skillIds": "7,8", "INTERVAL": 30}),
        ("v=7&timeframe=5&skillIds=99&interval=30", {"timeframe": 60, "v": "1", "skillids[]": "7,8"}),
        ("v=1&timeframe=60&skillIds=7,8&interval=30", {"skillIds": "", "interval": None}),
        ("v=1&timeframe=60&skillIds=7,8&interval=30", b""),
        ("v=1&timeframe=60&skillIds=7,8&interval=30", b"{}"),
    ):
        answer = posted(world, four, query, body)
        assert answer.status_code == 200, answer.text
        assert answer.json() == wanted
    as_table = posted(world, four, "", {"timeframe": "60", "v": "1", "format": "csv"})
    assert as_table.headers["content-type"].startswith("text/csv")


@pytest.mark.parametrize(
    ("body", "causes"),
    [
        (b"[]", ["body"]),
        (b"x", ["body"]),
        (b'{"timeframe": ["60"]}', ["body"]),
        (b'{"timeframe": true}', ["body"]),
        (b"\xff", ["body"]),
        (b"[" * 10_000, ["body"]),
        ({"timeframe": "60", "v": "2"}, ["v"]),
        ({"timeframe": 1.5, "v": "1", "skillIds": "x"}, ["timeframe", "skillIds"]),
        ({"timeframe": "60", "Timeframe": "60", "v": "1"}, ["timeframe"]),
    ],
)
def test_a_body_that_is_wrong_is_a_400(world: World, body: object, causes: list[str]) -> None:
    answer = posted(world, "acme", "", body)
    assert answer.status_code == 400
    assert [cause.split(":")[0] for cause in answer.json()["causes"]] == causes


def test_a_large_body_is_a_413_and_a_key_is_asked_for_first(world: World) -> None:
    assert posted(world, "acme", "v=1&timeframe=60", b" " * (64 << 10)).status_code == 200
    assert posted(world, "acme", "v=1&timeframe=60", b" " * ((64 << 10) + 1)).status_code == 413
    assert world.client.post(path("acme", "")).status_code == 401
    assert world.client.post(path("acme", ""), headers=token("acme", "ingest")).status_code == 403
    assert world.client.put(path("acme", ""), headers=token("acme")).status_code == 405


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["timeframe", "v"]),
        ("v=1&timeframe=1441&agentIds=x&groupIds=1,all", ["timeframe", "agentIds", "groupIds"]),
        ("v=2&timeframe=60", ["v"]),
        ("v=1&timeframe=60&interval=7", ["interval"]),
        (f"v=1&timeframe=60&fromMillis={NOW}", ["fromMillis"]),
    ],
)
def test_what_is_not_allowed_is_a_400(world: World, query: str, names: list[str]) -> None:
    answer = world.get(path("acme", query))
    assert answer.status_code == 400
    assert [cause.split(":")[0] for cause in answer.json()["causes"]] == names
    assert world.get(f"/operations/api/account/acme/msgconversation/?{query}").status_code == 404


# --- as a table ------------------------------------------------------------------------------------------------------


def test_as_a_table_it_has_a_row_of_nobody_so_that_sums_are_whole(world: World, four: str) -> None:
    rows = table(world, path(four, "v=1&timeframe=60&skillIds=all"), four)
    assert list(rows[0]) == ["skillId", "agentId", *NAMES]
    assert [(row["skillId"], row["agentId"]) for row in rows] == [("7", "3"), ("7", "4"), ("8", ""), ("9", "3")]
    assert rows[2]["avgTime_resolvedConversations_byCCP"] == ""
    assert sum(int(row["totalResolvedConversations"]) for row in rows) == 4
    (whole,) = table(world, path(four, "v=1&timeframe=60"), four)
    assert list(whole) == NAMES
    assert table(world, path(four, "v=1&timeframe=60&agentIds=99"), four) == []


def test_as_a_table_an_interval_has_the_timestamp_of_the_json_and_its_start(world: World, four: str) -> None:
    rows = table(world, path(four, "v=1&timeframe=20&interval=10&agentIds=3"), four)
    assert [(row["timestamp"], row["intervalStart"], row["agentId"]) for row in rows] == [
        (str(NOW), "2026-11-20T11:50:00Z", "3")
    ]
