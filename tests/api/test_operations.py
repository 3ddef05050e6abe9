"""`msgagentsegments` and `msgskillsegments` against LivePerson's pages, http-api.md 3 and rules.md 4."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest

from handletime.events.model import EPOCH
from handletime.metrics.aggregate import Window, aggregate
from handletime.metrics.registry import AGENT_METRICS, METRICS, SKILL_METRICS
from tests.api.conftest import golden
from tests.api.test_agent_segments import a_segment
from tests.api.world import NOW, World
from tests.messy_streams import messy_stream

Json = dict[str, Any]
MINUTE = 60_000
AGENT_NAMES = [metric.name for metric in AGENT_METRICS]
SKILL_NAMES = [metric.name for metric in SKILL_METRICS]
ZEROS = dict.fromkeys(AGENT_NAMES, 0)
SKILL_ZEROS = dict.fromkeys(SKILL_NAMES, 0)


def agents(world: World, query: str, account: str = "acme") -> Json:
    return _asked(world, f"/operations/api/account/{account}/msgagentsegments?v=1&{query}", account)


def skills(world: World, query: str, account: str = "acme") -> Json:
    return _asked(world, f"/operations/api/account/{account}/msgskillsegments?v=1&{query}", account)


def _asked(world: World, path: str, account: str) -> Json:
    answer = world.get(path, account)
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


def test_the_numbers_of_livepersons_agent_page_come_out(world: World) -> None:
    expected: Json = golden()["expected"]  # type: ignore[assignment]
    plain = agents(world, "timeframe=180&agentIds=12,13")
    assert list(plain) == ["agentsMetrics", "metricsTotal"]
    assert plain == {name: expected[name] for name in ("agentsMetrics", "metricsTotal")}
    assert list(plain["metricsTotal"]) == AGENT_NAMES
    by_skill = agents(world, "timeframe=180&agentIds=12,13&skillIds=333,444")
    assert list(by_skill) == ["metricsPerSkill", "agentsMetrics", "metricsTotal"]
    assert by_skill == expected


def test_the_interval_example_of_the_agent_page_has_its_keys(world: World) -> None:
    chosen = (
        "avgTimeToResponseFromAgentAssignment,avgTimetoFirstAgentMessageFromAgentAssignment_AfterTransfer,"
        "avgTimetoFirstAgentMessageFromAgentAssignment_NewConversation"
    )
    answer = agents(world, f"timeframe=180&agentIds=12,13&skillIds=333,444&interval=5&metrics={chosen}")
    assert list(answer) == ["metricsByIntervals", "timeframeSummary"]
    assert list(answer["metricsByIntervals"][0]) == ["timestamp", "metricsData"]
    data = answer["metricsByIntervals"][0]["metricsData"]
    assert list(data) == ["metricsPerSkill", "agentsMetrics", "metricsTotal"]
    names = [
        "totalAgentConversationSegments",
        "avgTimetoFirstAgentMessageFromAgentAssignment_AfterTransfer",
        "avgTimetoFirstAgentMessageFromAgentAssignment_NewConversation",
        "avgTimeToResponseFromAgentAssignment",
    ]
    assert list(data["metricsPerSkill"]["333"]["metricsPerAgent"]["12"]) == names
    assert list(data["agentsMetrics"]["metricsPerAgent"]["13"]) == names
    assert list(data["metricsTotal"]) == names
    assert answer["timeframeSummary"] == data
    stamps = [interval["timestamp"] for interval in answer["metricsByIntervals"]]
    assert stamps == [NOW - 180 * MINUTE + n * 5 * MINUTE for n in range(36)]


def test_the_examples_of_the_skill_page_have_their_keys(world: World) -> None:
    plain = skills(world, "timeframe=180&skillIds=333,444")
    assert list(plain) == ["skillsMetrics", "metricsTotal"]
    assert list(plain["skillsMetrics"]) == ["333", "444"]
    assert list(plain["skillsMetrics"]["333"]) == SKILL_NAMES == list(plain["metricsTotal"])
    assert plain["metricsTotal"]["totalSkillConversationSegments"] == 8
    answer = skills(world, "timeframe=180&skillIds=333,444&interval=60")
    assert list(answer) == ["metricsByIntervals", "timeframeSummary"]
    assert answer["timeframeSummary"] == plain
    stamps = [interval["timestamp"] for interval in answer["metricsByIntervals"]]
    assert stamps == [NOW - 60 * MINUTE, NOW - 120 * MINUTE, NOW - 180 * MINUTE]
    assert [list(i) for i in answer["metricsByIntervals"]] == [["timestamp", "skillsMetrics", "metricsTotal"]] * 3
    newest, _, oldest = answer["metricsByIntervals"]
    assert newest["skillsMetrics"] == {}
    assert newest["metricsTotal"] == SKILL_ZEROS
    assert {name: oldest[name] for name in plain} == plain


def test_nothing_found_is_empty_elements_and_zeros(world: World, account: str) -> None:
    nothing = {"agentsMetrics": {"metricsPerAgent": {}}, "metricsTotal": ZEROS}
    assert agents(world, "timeframe=60", account) == nothing
    assert agents(world, "timeframe=180&agentIds=99") == nothing
    assert agents(world, "timeframe=60&skillIds=all", account) == {"metricsPerSkill": {}, **nothing}
    assert agents(world, "timeframe=60&interval=30", account) == {
        "metricsByIntervals": [{"timestamp": NOW - m * MINUTE, "metricsData": nothing} for m in (60, 30)],
        "timeframeSummary": nothing,
    }
    assert skills(world, "timeframe=60", account) == {"skillsMetrics": {}, "metricsTotal": SKILL_ZEROS}
    chosen = agents(world, "timeframe=60&metrics=interactiveAgentSegments", account)["metricsTotal"]
    assert chosen == {"totalAgentConversationSegments": 0, "interactiveAgentSegments": 0}


def test_agent_ids_filter_elements_skills_and_totals(world: World) -> None:
    answer = agents(world, "timeframe=180&agentIds=13,-5&skillIds=all")
    assert list(answer["agentsMetrics"]["metricsPerAgent"]) == ["13"]
    assert list(answer["metricsPerSkill"]) == ["444"]
    assert answer["metricsTotal"]["totalAgentConversationSegments"] == 3


def test_skill_ids_filter_nothing_but_their_own_element(world: World) -> None:
    answer = agents(world, "timeframe=180&skillIds=444,555")
    assert list(answer["metricsPerSkill"]) == ["444"]
    assert list(answer["agentsMetrics"]["metricsPerAgent"]) == ["12", "13"]
    assert answer["metricsTotal"]["totalAgentConversationSegments"] == 8


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 4),
        ("groupIds=5", 1),
        ("GROUPIDS=5,-1", 3),
        ("groupIds=ALL", 4),
        ("userType=bot", 1),
        ("userType=Human", 3),
        ("usertype=all", 4),
        ("source=app", 2),
        ("source=APP", 2),
        ("source=All", 4),
        ("source=none", 0),
        ("source=", 4),
        ("source=APP&groupIds=6", 1),
    ],
)
def test_groups_user_type_and_source_filter_everything(world: World, account: str, query: str, count: int) -> None:
    kinds: list[Json] = [{"groupId": 5}, {"groupId": 6}, {"userType": "bot"}, {}]
    for number, kind in enumerate(kinds):
        opened, *rest = a_segment(number, NOW - MINUTE, **kind)
        source = {"source": "App"} if number < 2 else {}
        world.store.put(account, [{**opened, **source}, *rest])
    assert agents(world, f"timeframe=60&{query}", account)["metricsTotal"]["totalAgentConversationSegments"] == count


@pytest.mark.parametrize(("user_type", "count"), [("all", 3), ("human", 1), ("bot", 1), ("HUMAN", 1)])
def test_skill_segments_of_both_types_and_of_none_count_with_all_only(
    world: World, account: str, user_type: str, count: int
) -> None:
    world.store.put(account, list(a_segment(0, NOW - MINUTE)))
    world.store.put(account, list(a_segment(1, NOW - MINUTE, userType="bot")))
    opened, _, closed = a_segment(2, NOW - MINUTE)
    world.store.put(account, [opened, closed])
    answer = skills(world, f"timeframe=60&userType={user_type}&agentIds=99&metrics=nonsense&groupIds=x", account)
    assert answer["metricsTotal"]["totalSkillConversationSegments"] == count


BOTH = ["msgagentsegments", "msgskillsegments"]


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["timeframe", "v"]),
        ("timeframe=60", ["v"]),
        ("timeframe=60&v=2", ["v"]),
        ("timeframe=60&v=one", ["v"]),
        ("v=1&timeframe=0", ["timeframe"]),
        ("v=1&timeframe=1441", ["timeframe"]),
        ("v=1&timeframe=x&interval=5", ["timeframe"]),
        ("v=1&timeframe=60&timeframe=60", ["timeframe"]),
        ("v=1&timeframe=60&interval=4", ["interval"]),
        ("v=1&timeframe=60&interval=61", ["interval"]),
        ("v=1&timeframe=60&interval=31", ["interval"]),
        ("v=1&timeframe=60&interval=hour", ["interval"]),
        ("v=1&timeframe=60&interval=x&tz=Nowhere", ["interval", "tz"]),
        ("v=1&timeframe=60&skillIds=a", ["skillIds"]),
        ("v=1&timeframe=60&skillIds=all,1", ["skillIds"]),
        ("v=1&timeframe=60&userType=agent", ["userType"]),
        (f"v=1&timeframe=60&fromMillis={NOW}", ["fromMillis"]),
        (f"v=1&timeframe=60&toMillis={NOW}&to=x", ["to", "toMillis"]),
        (f"v=1&timeframe=44641&to={NOW}", ["timeframe"]),
    ],
)
def test_what_is_not_allowed_is_a_400(world: World, method: str, query: str, names: list[str]) -> None:
    answer = world.get(f"/operations/api/account/acme/{method}?{query}")
    assert answer.status_code == 400
    assert [cause.split(":")[0] for cause in answer.json()["causes"]] == names


@pytest.mark.parametrize("query", ["agentIds=x", "groupIds=1,all", "metrics=avgNonsense", "agentIds=1&agentIds=all"])
def test_so_it_is_with_what_only_the_agent_method_has(world: World, query: str) -> None:
    path = "/operations/api/account/acme/{}?v=1&timeframe=60&" + query
    answer = world.get(path.format("msgagentsegments"))
    assert answer.status_code == 400
    assert [cause.split(":")[0] for cause in answer.json()["causes"]] == [query.split("=")[0]]
    assert world.get(path.format("msgskillsegments")).status_code == 200


def test_with_to_a_report_can_be_repeated_and_reach_further_back(world: World) -> None:
    now = agents(world, "timeframe=180&skillIds=all&interval=60")
    assert agents(world, f"timeframe=180&skillIds=all&interval=60&to={NOW}") == now
    assert agents(world, "timeframe=180&skillIds=all&interval=60&to=2026-11-20T14:00+02:00") == now
    assert agents(world, f"timeframe=180&skillIds=all&interval=60&to={NOW + 10_000_000}") == now
    assert agents(world, f"timeframe=44640&to={NOW}")["metricsTotal"]["totalAgentConversationSegments"] == 8


@pytest.mark.parametrize(
    ("query", "starts"),
    [
        ("timeframe=150&interval=hour", ["09:30", "10:00", "11:00"]),
        ("timeframe=120&interval=HOUR", ["10:00", "11:00"]),
        ("timeframe=90&interval=hour&tz=Asia/Kolkata", ["10:30", "11:30"]),
        ("timeframe=30&interval=day", ["11:30"]),
        ("timeframe=1440&interval=day&tz=europe/berlin", ["19T12:00", "19T23:00"]),
        ("timeframe=2880&interval=day", ["18T12:00", "19T00:00", "20T00:00"]),
        ("timeframe=14400&interval=week", ["10T12:00", "16T00:00"]),
    ],
)
def test_intervals_of_the_calendar_begin_where_it_says(world: World, query: str, starts: list[str]) -> None:
    answer = agents(world, f"to={NOW}&{query}")
    stamps = [interval["timestamp"] for interval in answer["metricsByIntervals"]]
    whole = [start if "T" in start else f"20T{start}" for start in starts]
    assert [instant(stamp) for stamp in stamps] == [f"2026-11-{start}" for start in whole]
    counts = [i["metricsData"]["metricsTotal"]["totalAgentConversationSegments"] for i in answer["metricsByIntervals"]]
    assert sum(counts) == answer["timeframeSummary"]["metricsTotal"]["totalAgentConversationSegments"]


def instant(millis: int) -> str:
    return (EPOCH + timedelta(milliseconds=millis)).strftime("%Y-%m-%dT%H:%M")


@pytest.mark.parametrize("seed", range(5))
def test_all_levels_are_what_the_metrics_say_of_the_same_window(
    world: World, account: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    world.store.put(account, [{**event, "accountId": account} for event in messy_stream(seed, events=400)])
    with world.store.reader(account).snapshot() as connection:
        (last,) = connection.execute('select max(epoch_ms("end")) from agent_segments').fetchone() or (0,)
        now = last + 1
        monkeypatch.setattr(world.clock, "moment", now)
        window = Window(now - 1440 * MINUTE, now, 5 * MINUTE)
        wanted = {
            by: aggregate(connection, AGENT_METRICS, by, window)  # type: ignore[arg-type]
            for by in [(), ("agentId",), ("skillId", "agentId"), ("interval", "agentId")]
        }
    answer = agents(world, "timeframe=1440&skillIds=all&interval=5", account)
    summary = answer["timeframeSummary"]
    assert summary == agents(world, "timeframe=1440&skillIds=all", account)
    assert [summary["metricsTotal"]] == wanted[()]
    per_agent = summary["agentsMetrics"]["metricsPerAgent"]
    assert [{"agentId": int(agent), **values} for agent, values in per_agent.items()] == wanted[("agentId",)]
    assert [
        {"skillId": int(skill), "agentId": int(agent), **values}
        for skill, found in summary["metricsPerSkill"].items()
        for agent, values in found["metricsPerAgent"].items()
    ] == wanted[("skillId", "agentId")]
    assert [
        {"interval": interval["timestamp"], "agentId": int(agent), **values}
        for interval in answer["metricsByIntervals"]
        for agent, values in interval["metricsData"]["agentsMetrics"]["metricsPerAgent"].items()
    ] == wanted[("interval", "agentId")]


def table(world: World, path: str) -> list[Json]:
    answer = world.get(path, Accept="text/csv")
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_as_a_table_the_agent_method_has_the_rows_of_its_json_in_order(world: World) -> None:
    rows = table(world, "/operations/api/account/acme/msgagentsegments?v=1&timeframe=180&interval=90&skillIds=all")
    assert list(rows[0]) == ["timestamp", "skillId", "agentId", *AGENT_NAMES]
    first, second = str(NOW - 180 * MINUTE), str(NOW - 90 * MINUTE)
    assert [(row["timestamp"], row["skillId"], row["agentId"]) for row in rows] == [
        *((first, *ids) for ids in (("333", "12"), ("444", "13"), ("", "12"), ("", "13"), ("", ""))),
        (second, "", ""),
        *(("", *ids) for ids in (("333", "12"), ("444", "13"), ("", "12"), ("", "13"), ("", ""))),
    ]
    assert rows[4]["avgTimeToResponseFromAgentAssignment"] == "2900"
    assert rows[5]["avgTimeToResponseFromAgentAssignment"] == "0"


def test_as_a_table_the_skill_method_has_the_newest_interval_first(world: World) -> None:
    rows = table(world, "/operations/api/account/acme/msgskillsegments?v=1&timeframe=180&interval=90&skillIds=333")
    assert list(rows[0]) == ["timestamp", "skillId", *SKILL_NAMES]
    first, second = str(NOW - 180 * MINUTE), str(NOW - 90 * MINUTE)
    found = [(row["timestamp"], row["skillId"]) for row in rows]
    assert found == [(second, ""), (first, "333"), (first, ""), ("", "333"), ("", "")]
    assert METRICS["totalSkillConversationSegments"].name in rows[0]
