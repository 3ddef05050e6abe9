"""`msgagentsegments` and `msgskillsegments` against LivePerson's pages, http-api.md 3 and rules.md 4.

Covers: api/series.
"""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest

from handletime.answers.registry import AGENT_METRICS, SKILL_METRICS
from handletime.events.model import EPOCH
from tests.answers.oracle import Window, aggregate
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
        (f"v=1&timeframe=60&to={NOW // 1000}", ["to"]),
        (f"v=1&from={NOW // 1000 - 60}&to={NOW // 1000}", ["from", "to"]),
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
        window = Window(now - 1440 * MINUTE, now, range(now - 1440 * MINUTE, now, 5 * MINUTE))
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


def table(world: World, path: str, account: str = "acme") -> list[dict[str, str]]:
    answer = world.get(path, account, Accept="text/csv")
    assert answer.headers["content-type"].startswith("text/csv"), answer.text
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["x-total-count"] == str(len(rows))
    assert "link" not in answer.headers
    return rows


AGENT_TABLE = "/operations/api/account/acme/msgagentsegments?v=1&timeframe=180&"
SKILL_TABLE = "/operations/api/account/acme/msgskillsegments?v=1&timeframe=180&"


def test_as_a_table_the_agent_method_has_the_finest_rows_of_its_json_in_order(world: World) -> None:
    rows = table(world, AGENT_TABLE + "interval=90&skillIds=all")
    assert list(rows[0]) == ["timestamp", "intervalStart", "skillId", "agentId", *AGENT_NAMES]
    first = (str(NOW - 180 * MINUTE), "2026-11-20T09:00:00Z")
    leading = [(row["timestamp"], row["intervalStart"], row["skillId"], row["agentId"]) for row in rows]
    assert leading == [(*first, "333", "12"), (*first, "444", "13")]
    assert rows[0]["avgTimeToResponseFromAgentAssignment"] == "2428"
    of_444 = table(world, AGENT_TABLE + "skillIds=444")
    assert [(row["skillId"], row["agentId"]) for row in of_444] == [("444", "13")]
    assert [row["agentId"] for row in table(world, AGENT_TABLE)] == ["12", "13"]


def test_as_a_table_the_skill_method_has_the_newest_interval_first(world: World, account: str) -> None:
    for number, (skill, minutes) in enumerate([(8, 80), (7, 80), (7, 10), (9, 10)]):
        world.store.put(account, list(a_segment(number, NOW - minutes * MINUTE, skill=skill)))
    path = f"/operations/api/account/{account}/msgskillsegments?v=1&timeframe=120&interval=60&skillIds=7,8"
    rows = table(world, path, account)
    assert list(rows[0]) == ["timestamp", "intervalStart", "skillId", *SKILL_NAMES]
    first, second = str(NOW - 120 * MINUTE), str(NOW - 60 * MINUTE)
    assert [(row["timestamp"], row["skillId"]) for row in rows] == [(second, "7"), (first, "7"), (first, "8")]


def test_as_a_table_an_average_over_nothing_is_an_empty_cell(world: World) -> None:
    after_transfer = "avgTimetoFirstAgentMessageFromAgentAssignment_AfterTransfer"
    assert [row[after_transfer] for row in table(world, AGENT_TABLE)] == ["1800", ""]
    assert "-1" not in world.get(AGENT_TABLE + "format=csv").text


def test_as_a_table_nothing_found_is_a_header_alone(world: World, account: str) -> None:
    for method in BOTH:
        path = f"/operations/api/account/{account}/{method}?v=1&timeframe=60&interval=30"
        assert table(world, path, account) == []


@pytest.mark.parametrize(
    ("zone", "starts"),
    [
        ("UTC", ["2026-11-19T12:00:00.007Z", "2026-11-20T00:00:00Z"]),
        ("Asia/Kolkata", ["2026-11-19T17:30:00.007+05:30", "2026-11-20T00:00:00+05:30"]),
        ("America/St_Johns", ["2026-11-19T08:30:00.007-03:30", "2026-11-20T00:00:00-03:30"]),
    ],
)
def test_as_a_table_an_interval_begins_when_the_clocks_of_its_zone_say(
    world: World, account: str, zone: str, starts: list[str]
) -> None:
    for number, hours in enumerate((1, 23)):
        world.store.put(account, list(a_segment(number, NOW - hours * 60 * MINUTE)))
    window = f"from={NOW - 1440 * MINUTE + 7}&to={NOW}&interval=day&tz={zone}"
    path = f"/operations/api/account/{account}/msgagentsegments?v=1&{window}"
    rows = table(world, path, account)
    assert [row["intervalStart"] for row in rows] == starts
    stamps = [i["timestamp"] for i in world.get(path, account).json()["metricsByIntervals"]]
    assert [int(row["timestamp"]) for row in rows] == stamps


@pytest.mark.parametrize("method", BOTH)
def test_the_file_of_a_table_is_named_after_account_method_and_window(world: World, method: str) -> None:
    path = f"/operations/api/account/acme/{method}?v=1&format=csv&"
    of_an_hour = world.get(path + "timeframe=60").headers["content-disposition"]
    assert of_an_hour == f'attachment; filename="acme_{method}_20261120T110000Z_20261120T120000Z.csv"'
    of_a_range = world.get(path + f"from={NOW - 1}&to={NOW + MINUTE}").headers["content-disposition"]
    assert of_a_range == f'attachment; filename="acme_{method}_20261120T115959.999Z_20261120T120000Z.csv"'


@pytest.mark.parametrize("interval", ["", "&interval=5", "&interval=60"])
@pytest.mark.parametrize("seed", range(3))
def test_whoever_sums_a_column_of_counts_gets_the_total(
    world: World, account: str, monkeypatch: pytest.MonkeyPatch, seed: int, interval: str
) -> None:
    world.store.put(account, [{**event, "accountId": account} for event in messy_stream(seed, events=400)])
    with world.store.reader(account).snapshot() as connection:
        (last,) = connection.execute('select max(epoch_ms("end")) from agent_segments').fetchone() or (0,)
    monkeypatch.setattr(world.clock, "moment", last + 1)
    query = f"v=1&timeframe=1440{interval}"
    for method, more, metrics in (
        ("msgagentsegments", "", AGENT_METRICS),
        ("msgagentsegments", "&skillIds=all", AGENT_METRICS),
        ("msgskillsegments", "", SKILL_METRICS),
    ):
        path = f"/operations/api/account/{account}/{method}?{query}{more}"
        answer = world.get(path, account).json()
        total = answer.get("timeframeSummary", answer)["metricsTotal"]
        rows = table(world, path, account)
        counts = [metric.name for metric in metrics if not metric.per]
        assert total[counts[0]] > 5
        assert {name: sum(int(row[name]) for row in rows) for name in counts} == {name: total[name] for name in counts}


def test_from_and_to_replace_the_timeframe_to_the_millisecond(world: World, account: str) -> None:
    ends = [NOW - 30 * MINUTE, NOW - 20 * MINUTE, NOW - 20 * MINUTE + 1, NOW - 10 * MINUTE]
    for number, end in enumerate(ends):
        world.store.put(account, list(a_segment(number, end)))

    def counted(query: str) -> int:
        total = agents(world, query, account)["metricsTotal"]["totalAgentConversationSegments"]
        assert skills(world, query, account)["metricsTotal"]["totalSkillConversationSegments"] == total
        return int(total)

    assert counted(f"from={ends[0]}&to={ends[3]}") == 3
    assert counted(f"from={ends[0] + 1}&to={ends[2]}") == 1
    assert counted(f"from={ends[1]}&to={ends[1] + 1}") == 1
    assert counted(f"from={ends[1]}&to={ends[1]}") == 0
    assert counted("from=2026-11-20T14:30:00%2B03:00&to=2026-11-20T11:50:00.001Z") == 4
    assert counted(f"from={NOW - 44_640 * MINUTE}&to={NOW + 99 * MINUTE}") == 4


def test_from_and_to_give_what_the_timeframe_gives(world: World) -> None:
    query = "skillIds=all&interval=60"
    assert agents(world, f"from={NOW - 180 * MINUTE}&to={NOW}&{query}") == agents(world, f"timeframe=180&{query}")
    assert skills(world, f"from={NOW - 180 * MINUTE}&to={NOW}&interval=60") == skills(
        world, "timeframe=180&interval=60"
    )


def test_intervals_of_a_range_are_cut_from_its_start_and_end_now_at_the_latest(world: World) -> None:
    start = NOW - 90 * MINUTE - 7
    whole = agents(world, f"from={start}&to={start + 90 * MINUTE}&interval=45")
    assert [i["timestamp"] for i in whole["metricsByIntervals"]] == [start, start + 45 * MINUTE]
    until_tonight = agents(world, f"from={start}&to={start + 600 * MINUTE}&interval=60")
    assert [i["timestamp"] for i in until_tonight["metricsByIntervals"]] == [start, start + 60 * MINUTE]
    by_hour = skills(world, f"from={start}&to={NOW}&interval=hour")
    assert [i["timestamp"] for i in by_hour["metricsByIntervals"]] == [NOW - 60 * MINUTE, start]


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize(
    ("query", "causes"),
    [
        (f"from={NOW - MINUTE}&to={NOW}&timeframe=1", ["from: must not be given together with timeframe"]),
        (f"from={NOW - MINUTE}", ["from: needs the parameter to"]),
        (
            f"from={NOW - MINUTE}&timeframe=1",
            ["from: must not be given together with timeframe", "from: needs the parameter to"],
        ),
        (f"to={NOW}", ["timeframe: is required, or from and to"]),
        (f"from={NOW + 1}&to={NOW + 2}", ["from: must not be after to, nor in the future"]),
        (f"from={NOW - 1}&to={NOW - 2}", ["from: must not be after to, nor in the future"]),
        (
            f"from={NOW + 1}&to=x",
            [
                "to: must be RFC 3339 with an offset (2026-11-20T09:00:00Z), or epoch milliseconds",
                "from: must not be after to, nor in the future",
            ],
        ),
        (
            f"from={NOW - 44_640 * MINUTE - 1}&to={NOW}&interval=5",
            ["from: must not be more than 44640 minutes before to"],
        ),
        (
            "from=0100-01-01T00:00Z&to=2026-11-20T00:00Z&interval=5",
            ["from: must not be more than 44640 minutes before to"],
        ),
        (
            f"from={NOW - 60 * MINUTE}&to={NOW}&interval=25",
            ["interval: must be a divisor of the time between from and to"],
        ),
        (
            f"from={NOW - 60 * MINUTE}&to={NOW}&interval=61",
            ["interval: must be a divisor of the time between from and to"],
        ),
        (
            f"from={NOW - 60 * MINUTE - 1}&to={NOW}&interval=5",
            ["interval: must be a divisor of the time between from and to"],
        ),
        (f"from={NOW}&to={NOW}&interval=5", ["interval: must be a divisor of the time between from and to"]),
        ("timeframe=1441", ["timeframe: must be less than or equal to 1440"]),
        ("timeframe=50000", ["timeframe: must be less than or equal to 1440"]),
        (f"timeframe=50000&to={NOW}", ["timeframe: must be less than or equal to 44640"]),
        (
            "timeframe=60&to=0001-01-09T00:59Z&interval=day",
            ["to: is too early: the timeframe must begin after 0001-01-09"],
        ),
        (
            "from=0001-01-01T00:00Z&to=0001-01-03T00:00Z",
            ["from: is too early: the timeframe must begin after 0001-01-09"],
        ),
        (
            "timeframe=x&interval=hour&tz=Mars&userType=x&skillIds=x",
            [
                "timeframe: must be an integer",
                "tz: must be the IANA name of a time zone (Europe/Berlin)",
                "interval: hour, day and week need the parameter to",
                "userType: must be one of human, bot, all",
                "skillIds: must be all, or integers separated by commas",
            ],
        ),
    ],
)
def test_a_fault_says_what_is_allowed_and_all_are_told_at_once(
    world: World, method: str, query: str, causes: list[str]
) -> None:
    answer = world.get(f"/operations/api/account/acme/{method}?v=1&{query}")
    assert answer.status_code == 400
    assert answer.json()["causes"] == causes


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/New_York"])
def test_the_earliest_timeframe_is_answered_in_every_zone(world: World, zone: str) -> None:
    for interval in ("hour", "day", "week"):
        path = f"/operations/api/account/acme/msgagentsegments?v=1&timeframe=1440&to=0001-01-10T00:00Z&tz={zone}"
        for form in ("json", "csv"):
            assert world.get(f"{path}&interval={interval}&format={form}").status_code == 200
