"""`msgqueuehealth/current` and `msgqueuehealth`: the queue now and over intervals (http-api.md 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from handletime.answers.queue_health import COUNTS, WAITS
from handletime.api.queue_health import OVERDUE
from tests.answers.queue_oracle import Row, is_there, now_of, over
from tests.api.test_operations import table
from tests.api.world import NOW, World
from tests.messy_streams import messy_stream
from tests.plain_reading import read
from tests.segments.tables import events_of

Json = dict[str, Any]
MINUTE: Final = 60_000
NAMES: Final = [*COUNTS, *WAITS]
NOBODY: Final = {name: 0 if name in COUNTS[:-1] else -1 for name in NAMES}


def path(account: str, query: str, method: str = "msgqueuehealth") -> str:
    return f"/operations/api/account/{account}/{method}?{query}"


def current(world: World, account: str, query: str = "v=1") -> Json:
    return answered(world, account, path(account, query, "msgqueuehealth/current"))


def over_time(world: World, account: str, query: str) -> Json:
    return answered(world, account, path(account, query))


def answered(world: World, account: str, where: str) -> Json:
    answer = world.get(where, account)
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


@pytest.fixture
def queue(world: World, account: str) -> str:
    """Skill 7 with a conversation that waits for ten minutes, and one that a human gave back a minute ago. Skill 8 with
    one that was assigned after two minutes.
    """
    events: dict[str, list[Json]] = {
        "new": [
            {"time": NOW - 10 * MINUTE, "type": "opened", "skillId": 7},
            {"time": NOW - 9 * MINUTE, "type": "message", "sentBy": "consumer"},
        ],
        "back": [
            {"time": NOW - 8 * MINUTE, "type": "assigned", "agentId": 3, "skillId": 7},
            {"time": NOW - 7 * MINUTE, "type": "message", "sentBy": "agent"},
            {"time": NOW - MINUTE, "type": "transferred", "reason": "backToQueue"},
        ],
        "assigned": [
            {"time": NOW - 12 * MINUTE, "type": "opened", "skillId": 8},
            {"time": NOW - 10 * MINUTE, "type": "assigned", "agentId": 3},
        ],
    }
    for name, story in events.items():
        world.store.put(account, [{"conversationId": name, "eventId": str(i), **e} for i, e in enumerate(story)])
    return account


# --- now -------------------------------------------------------------------------------------------------------------


def test_now_has_every_key_by_skill_with_the_time_and_in_all(world: World, queue: str) -> None:
    answer = current(world, queue)
    assert list(answer) == ["skillsMetrics", "metricsTotal"]
    assert list(answer["metricsTotal"]) == NAMES
    assert list(answer["skillsMetrics"]) == ["7", "8"]
    assert answer["skillsMetrics"]["8"] == NOBODY | {"time": NOW}, "a conversation is open there"
    assert answer["skillsMetrics"]["7"] == answer["metricsTotal"] | {"time": NOW}
    assert answer["metricsTotal"] == NOBODY | {
        "unassignedConversations": 2,
        "actionableConversations": 2,
        "actionableAndConsumerLastMessage": 1,
        "actionableAndDuringTransfer": 1,
        "avgWaitTimeForAgentAssignment_NewConversation": 10 * MINUTE,
        "avgWaitTimeForAgentAssignment_AfterTransfer": MINUTE,
        "avgWaitTimeForAgentAssignment_AfterTransferFromAgent": MINUTE,
        "maxWaitTimeForAgentAssignment": 10 * MINUTE,
        "maxWaitTimeForAgentAssignment_AfterTransferFromAgent": MINUTE,
        "waitTimeForAgentAssignment_50thPercentile": MINUTE,
        "waitTimeForAgentAssignment_90thPercentile": 10 * MINUTE,
    }
    assert {type(value) for value in answer["metricsTotal"].values()} == {int}


def test_a_skill_without_an_open_conversation_is_there_only_where_it_was_asked_for(world: World, queue: str) -> None:
    answer = current(world, queue, "v=1&skillIds=8,9,7")
    assert list(answer["skillsMetrics"]) == ["7", "8", "9"]
    assert answer["skillsMetrics"]["8"] == answer["skillsMetrics"]["9"] == NOBODY | {"time": NOW}
    assert answer["metricsTotal"]["unassignedConversations"] == 2
    assert current(world, queue, "v=1&skillIds=9")["metricsTotal"] == NOBODY
    assert current(world, queue, "v=1&skillIds=all") == current(world, queue)


def test_of_nothing_counts_are_0_and_times_are_not(world: World, account: str) -> None:
    assert current(world, account) == {"skillsMetrics": {}, "metricsTotal": NOBODY}


def test_it_can_be_written_with_a_slash_at_the_end(world: World, queue: str) -> None:
    slashed = f"/operations/api/account/{queue}/msgqueuehealth/current/"
    assert answered(world, queue, f"{slashed}?v=1&skillIds=7") == current(world, queue, "v=1&skillIds=7")
    assert answered(world, queue, f"{slashed}?v=1".replace(queue, f"%{ord(queue[0]):x}{queue[1:]}"))
    for wrong in (f"{slashed}/", slashed.replace("/current", ""), slashed + "%2F"):
        assert world.get(f"{wrong}?v=1&timeframe=60", queue).status_code == 404
    assert world.client.get(f"{slashed}?v=1").status_code == 401
    assert world.client.head(f"{slashed}?v=1").status_code == 401


def test_breakdown_metrics_and_overdue_say_what_is_shown(world: World, queue: str) -> None:
    assert list(current(world, queue, "v=1&breakdown=false")) == ["metricsTotal"]
    for query, names in (
        ("metrics=queue", [*COUNTS]),
        ("metrics=WAITTIMES", [*WAITS]),
        ("metrics=overdue", [*OVERDUE]),
        ("metrics=all", [*NAMES, *OVERDUE]),
        ("overdueConversations=true&metrics=queue", [*COUNTS, *OVERDUE]),
        ("overdueConversations=false&groupIds=5", NAMES),
    ):
        answer = current(world, queue, f"v=1&{query}")
        assert list(answer["metricsTotal"]) == names
        assert list(answer["skillsMetrics"]["7"]) == [*names, "time"]
    assert {
        answer["metricsTotal"][name] for answer in [current(world, queue, "v=1&metrics=all")] for name in OVERDUE
    } == {-1}


def test_overdue_is_what_waits_past_its_target(
    world: World, account: str, set_targets: Callable[[World, str], None]
) -> None:
    four_days = 4 * 1440 * MINUTE
    for number, opened in enumerate((NOW - four_days - 1, NOW - four_days, NOW - MINUTE - 1, NOW - MINUTE)):
        event = {"conversationId": f"q{number}", "eventId": "o", "time": opened, "type": "opened", "skillId": 1}
        world.store.put(account, [event])
    for number, group in enumerate((5, 6)):
        at = {"conversationId": f"a{number}", "time": NOW - 2 * MINUTE}
        world.store.put(
            account, [{**at, "eventId": "a", "type": "assigned", "agentId": 3, "groupId": group, "skillId": 2}]
        )
    set_targets(
        world, f'[[targets]]\nname = "all"\naccounts = ["{account}"]\nqueue-wait = "60s"\nfirst-response = "119s"'
    )
    query = "v=1&metrics=overdue"
    answer = current(world, account, query)
    assert answer["metricsTotal"] == dict(zip(OVERDUE, (2, 2, 4), strict=True))
    told = {skill: [of[name] for name in OVERDUE] for skill, of in answer["skillsMetrics"].items()}
    assert told == {"1": [2, 0, 2], "2": [0, 2, 2]}
    grouped = current(world, account, f"{query}&groupIds=5")["metricsTotal"]
    assert grouped == dict(zip(OVERDUE, (2, 1, 3), strict=True))
    assert current(world, account, f"{query}&skillIds=2,9")["metricsTotal"][OVERDUE[2]] == 2
    rows = table(world, path(account, f"{query}&skillIds=2", "msgqueuehealth/current"), account)
    assert [row[OVERDUE[1]] for row in rows] == ["2"]


def test_version_2_takes_a_time_and_answers_about_now(world: World, queue: str) -> None:
    assert current(world, queue, f"v=2&fromMillis={NOW - 999 * MINUTE}&toMillis={NOW - 990 * MINUTE}") == current(
        world, queue
    )


def test_a_wait_counts_only_where_the_conversation_was_opened_in_the_last_24_hours(world: World, account: str) -> None:
    day = 1440 * MINUTE
    for number, opened in enumerate((NOW - day - 1, NOW - day, NOW - 5 * MINUTE, NOW + 3)):
        event = {"conversationId": f"c{number}", "eventId": "o", "time": opened, "type": "opened", "skillId": 1}
        world.store.put(account, [event])
    whole = current(world, account)["metricsTotal"]
    assert whole["unassignedConversations"] == 4
    assert whole["maxWaitTimeForAgentAssignment"] == day
    assert whole["waitTimeForAgentAssignment_50thPercentile"] == 5 * MINUTE
    assert whole["avgWaitTimeForAgentAssignment_NewConversation"] == (day + 5 * MINUTE) // 3


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["v"]),
        ("v=3", ["v"]),
        ("v=1&skillIds=x&breakdown=maybe&metrics=waits", ["skillIds", "breakdown", "metrics"]),
        ("v=1&overdueConversations=1&groupIds=all,1", ["overdueConversations", "groupIds"]),
        (f"v=1&fromMillis={NOW}", ["fromMillis"]),
        ("v=2&toMillis=yesterday", ["toMillis"]),
    ],
)
def test_what_is_not_allowed_now_is_a_400(world: World, query: str, names: list[str]) -> None:
    answer = world.get(path("acme", query, "msgqueuehealth/current"))
    assert answer.status_code == 400
    assert [cause.split(":")[0] for cause in answer.json()["causes"]] == names


def test_now_as_a_table_has_a_row_for_each_skill(world: World, queue: str) -> None:
    rows = table(world, path(queue, "v=1&skillIds=7,8&metrics=all", "msgqueuehealth/current"), queue)
    assert list(rows[0]) == ["skillId", *NAMES, *OVERDUE]
    assert [(row["skillId"], row["unassignedConversations"]) for row in rows] == [("7", "2"), ("8", "0")]
    assert rows[1]["maxWaitTimeForAgentAssignment"] == rows[0]["overdueConversationsTotal"] == ""
    (whole,) = table(world, path(queue, "v=1&breakdown=false", "msgqueuehealth/current"), queue)
    assert list(whole) == NAMES


# --- intervals -------------------------------------------------------------------------------------------------------


def test_without_an_interval_there_is_the_whole_timeframe(world: World, queue: str) -> None:
    answer = over_time(world, queue, "v=1&timeframe=20")
    assert list(answer) == ["skillsMetrics", "metricsTotal"]
    assert list(answer["skillsMetrics"]) == ["7", "8"]
    assert list(answer["skillsMetrics"]["7"]) == NAMES == list(answer["metricsTotal"])
    assert answer["skillsMetrics"]["8"] == NOBODY | {
        "unassignedConversations": 2 / 20,
        "avgWaitTimeForAgentAssignment_NewConversation": 2 * MINUTE,
        "maxWaitTimeForAgentAssignment": 2 * MINUTE,
        "waitTimeForAgentAssignment_50thPercentile": 2 * MINUTE,
        "waitTimeForAgentAssignment_90thPercentile": 2 * MINUTE,
    }
    total = answer["metricsTotal"]
    assert total["unassignedConversations"] == 13 / 20
    assert total["actionableAndDuringTransfer"] == 1 / 20
    assert (total["actionableConversations"], total["actionableAndConsumerLastMessage"]) == (2, 1)


def test_with_an_interval_each_is_wrapped_and_the_newest_comes_first(world: World, queue: str) -> None:
    answer = over_time(world, queue, "v=2&timeframe=20&interval=5&skillIds=all")
    assert list(answer) == ["metricsByIntervals", "timeframeSummary"]
    assert [each["timestamp"] for each in answer["metricsByIntervals"]] == [NOW - m * MINUTE for m in (5, 10, 15, 20)]
    assert {tuple(each) for each in answer["metricsByIntervals"]} == {("timestamp", "metricsData")}
    newest, second, third, oldest = (each["metricsData"] for each in answer["metricsByIntervals"])
    assert newest["metricsTotal"]["unassignedConversations"] == 1.2
    assert newest["metricsTotal"]["actionableAndDuringTransfer"] == 0.2
    assert second["metricsTotal"]["unassignedConversations"] == 1.0
    assert list(third["skillsMetrics"]) == ["8"]
    assert list(second["skillsMetrics"]) == ["7", "8"]  # The one of 8 ended with the interval's first millisecond.
    assert second["skillsMetrics"]["8"]["maxWaitTimeForAgentAssignment"] == 2 * MINUTE
    assert oldest == {"skillsMetrics": {}, "metricsTotal": NOBODY}
    assert answer["timeframeSummary"] == over_time(world, queue, "v=1&timeframe=20")


def test_skills_that_were_asked_for_and_have_no_data_are_0_everywhere(world: World, queue: str) -> None:
    zeros = {"skillsMetrics": {}, "metricsTotal": dict.fromkeys(NAMES, 0)}
    assert over_time(world, queue, "v=1&timeframe=20&skillIds=99") == zeros
    answer = over_time(world, queue, "v=1&timeframe=20&interval=10&skillIds=8")
    newest, oldest = (each["metricsData"] for each in answer["metricsByIntervals"])
    assert list(newest["skillsMetrics"]) == list(oldest["skillsMetrics"]) == ["8"]
    assert over_time(world, queue, f"v=1&timeframe=20&skillIds=8&to={NOW - 30 * MINUTE}") == zeros


def test_version_2_takes_a_window_in_milliseconds(world: World, queue: str) -> None:
    start = NOW - 20 * MINUTE
    expected = over_time(world, queue, "v=1&timeframe=20&interval=5")
    assert over_time(world, queue, f"v=2&fromMillis={start}&toMillis={NOW}&interval=5") == expected
    assert over_time(world, queue, f"v=1&from={start}&to={NOW}&interval=5") == expected
    hours = over_time(world, queue, f"v=2&fromMillis={start}&toMillis={NOW}&interval=hour&tz=Asia/Kolkata")
    assert [each["timestamp"] for each in hours["metricsByIntervals"]] == [start]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["v", "timeframe"]),
        ("v=3&timeframe=5", ["v"]),
        ("v=2&timeframe=1441", ["timeframe"]),
        ("v=2&timeframe=60&interval=7&skillIds=x", ["interval", "skillIds"]),
        ("v=2&timeframe=60&interval=hour", ["interval"]),
        (f"v=1&fromMillis={NOW - MINUTE}&toMillis={NOW}", ["timeframe", "fromMillis", "toMillis"]),
        (f"v=2&fromMillis={NOW - MINUTE}", ["fromMillis"]),
        (f"v=2&fromMillis={NOW - MINUTE}&toMillis={NOW}&from={NOW}", ["fromMillis"]),
        (f"v=2&fromMillis={NOW - MINUTE}&toMillis={NOW}&timeframe=1", ["fromMillis"]),
        (f"v=2&fromMillis={NOW // 1000}&toMillis={NOW}", ["fromMillis"]),
        (f"v=2&fromMillis={NOW + 2}&toMillis={NOW + 3}", ["fromMillis"]),
    ],
)
def test_what_is_not_allowed_over_time_is_a_400(world: World, query: str, names: list[str]) -> None:
    answer = world.get(path("acme", query))
    assert answer.status_code == 400
    assert [cause.split(":")[0] for cause in answer.json()["causes"]] == names


def test_over_time_as_a_table_has_the_skills_of_each_interval(world: World, queue: str) -> None:
    rows = table(world, path(queue, "v=1&timeframe=20&interval=5"), queue)
    assert list(rows[0]) == ["timestamp", "intervalStart", "skillId", *NAMES]
    assert [(int(row["timestamp"]), row["skillId"]) for row in rows] == [
        (NOW - 5 * MINUTE, "7"),
        (NOW - 10 * MINUTE, "7"),
        (NOW - 10 * MINUTE, "8"),
        (NOW - 15 * MINUTE, "8"),
    ]
    assert rows[0]["intervalStart"] == "2026-11-20T11:55:00Z"
    assert rows[0]["unassignedConversations"] == "1.2"
    assert rows[0]["unassignedConversationsAndFirstTimeConsumer"] == rows[3]["maxWaitTimeForAgentAssignment"] == ""
    assert [row["skillId"] for row in table(world, path(queue, "v=1&timeframe=20"), queue)] == ["7", "8"]


@pytest.mark.parametrize("seed", range(4))
def test_every_level_is_what_the_events_say(
    world: World, account: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    events = [{**event, "accountId": account} for event in messy_stream(seed, events=300)]
    world.store.reader(account).events = events_of(events)
    reading = read(events)
    rows: list[Row] = reading.queue_segments
    now = max([*(row["start"] for row in rows), *(row["end"] or 0 for row in rows)]) + 1
    monkeypatch.setattr(world.clock, "moment", now)
    skills = sorted({int(str(row["skillId"])) for row in reading.skill_segments if row["end"] is None})

    def of(skill: int) -> list[Row]:
        return [row for row in rows if row["skillId"] == skill]

    assert current(world, account) == {
        "skillsMetrics": {str(skill): now_of(of(skill), now) | {"time": now} for skill in skills},
        "metricsTotal": now_of(rows, now),
    }
    answer = over_time(world, account, "v=2&timeframe=60&interval=5")
    start = now - 60 * MINUTE
    assert answer["timeframeSummary"]["metricsTotal"] == pytest.approx(over(rows, start, now, until_now=True))
    for each in answer["metricsByIntervals"]:
        begin, end = each["timestamp"], each["timestamp"] + 5 * MINUTE
        data = each["metricsData"]
        assert data["metricsTotal"] == pytest.approx(over(rows, begin, end, until_now=end == now))
        there = sorted({row["skillId"] for row in rows if is_there(row, begin, end)})
        assert list(data["skillsMetrics"]) == [str(skill) for skill in there]
        for skill in there:
            expected = over(of(skill), begin, end, until_now=end == now)
            assert data["skillsMetrics"][str(skill)] == pytest.approx(expected)
