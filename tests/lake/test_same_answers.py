"""What is served from the tables equals what the store answers, method by method; but for the paths of files."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from tests.lake.conftest import ACCOUNTS, DAY, Places, Site

HOUR = 3_600_000
HANDLE_TIME = "/api/account/{account}/agent-segments?source=test&from={start}&to={end}"
AGENTS = "/operations/api/account/{account}/msgagentsegments?v=1&timeframe=4000&to={end}"
SKILLS = "/operations/api/account/{account}/msgskillsegments?v=1&timeframe=4000&to={end}"
CLOSES = "/operations/api/account/{account}/msgconversation?v=1&timeframe=4000&to={end}"
QUEUES = "/operations/api/account/{account}/msgqueuehealth?v=1&timeframe=4000&to={end}"
REPORT = "/api/account/{account}/report?from={start}&to={end}"
ASKED = (
    HANDLE_TIME,
    HANDLE_TIME + "&limit=500",
    HANDLE_TIME + "&limit=7&offset=11&sort=Agent",
    HANDLE_TIME + "&limit=50&offset=3&sort=Employee:desc",
    HANDLE_TIME + "&sort=Conversation&limit=20",
    HANDLE_TIME + "&sort=Skill:desc&limit=20",
    HANDLE_TIME + "&sort=Group&limit=20&offset=1",
    HANDLE_TIME + "&AgentId={agent}",
    HANDLE_TIME + "&SkillId={skill}&limit=5",
    HANDLE_TIME + "&GroupId=-1",
    HANDLE_TIME + "&ConversationId={conversation}",
    HANDLE_TIME + "&format=csv&limit=500",
    "/api/account/{account}/agent-segments?source=test&from={middle}&to={end}",
    "/api/account/{account}/agent-segments?source=test&from={early}&to={start}",
    AGENTS,
    AGENTS + "&agentIds=all&skillIds=all",
    AGENTS + "&agentIds={agent}&skillIds={skill}",
    AGENTS + "&interval=500",
    AGENTS + "&interval=hour&tz=Europe/Berlin",
    AGENTS + "&interval=day&skillIds=all&tz=Asia/Kolkata",
    AGENTS + "&userType=bot",
    AGENTS + "&source=app&groupIds=-1",
    AGENTS + "&metrics=avgHandleTimeMillis,p90HandleTimeMillis,medianResponseMillis&interval=day",
    AGENTS + "&format=csv&interval=day",
    "/operations/api/account/{account}/msgagentsegments?v=1&timeframe=600&to={end}&interval=60",
    "/operations/api/account/{account}/msgagentsegments?v=1&timeframe=60&to={early}",
    SKILLS,
    SKILLS + "&skillIds={skill}",
    SKILLS + "&interval=hour",
    SKILLS + "&interval=week&format=csv",
    CLOSES,
    QUEUES,
    QUEUES + "&skillIds={skill}",
    QUEUES + "&interval=hour&tz=Europe/Berlin",
    QUEUES + "&interval=day&format=csv",
    "/operations/api/account/{account}/msgqueuehealth?v=2&fromMillis={early}&toMillis={middle}&skillIds=all",
    "/operations/api/account/{account}/msgqueuehealth?v=1&timeframe=600&to={middle}&interval=5",
    CLOSES + "&skillIds=all&agentIds={agent}",
    CLOSES + "&skillIds=all&interval=day&format=csv",
    CLOSES + "&interval=hour&tz=Asia/Kolkata",
    "/operations/api/account/{account}/msgconversation?v=1&timeframe=5&to={early}&skillIds=all",
    "/operations/api/account/{account}/msgconversation?v=1&timeframe=600&to={middle}&agentIds=all",
    REPORT,
    REPORT + "&by=skill,agent,group,source,userType&interval=hour&tz=Europe/Berlin",
    REPORT + "&by=source&interval=30&fill=zero&compare=previous&format=ndjson",
    REPORT + "&by=agent&skillIds={skill}&interval=day&tz=Asia/Kolkata&format=csv",
    REPORT + "&by=skill&userType=human&source=app&interval=15",
    REPORT + "&groupIds=-1&agentIds={agent}&metrics=handleTimeInIntervalMillis&interval=5",
    REPORT + "&by=skill&limit=2&offset=1",
    "/api/account/{account}/service/baseURI.json",
    "/api/account/{account}/service/LeDataReporting/baseURI.json",
    "/api/account/{account}/conversations/{conversation}/explain",
    "/api/account/{account}/conversations/none/explain",
    "/api/account/{account}/agent-segments/{segment}/explain",
)


def names(places: Places, store_site: Site, account: str) -> dict[str, Any]:
    """What stands in the addresses: an agent, a skill, a conversation and a segment that the account has."""
    times = {"start": places.now - 3 * DAY, "middle": places.now - 20 * HOUR - 1234, "end": places.now}
    known = {"account": account, "early": places.now - 6 * DAY, **times}
    first = store_site.get(HANDLE_TIME.format(**known), account).json()["segments"][0]
    more = {"agent": first["agentId"], "skill": first["skillId"], "conversation": first["conversationId"]}
    return {**known, **more, "segment": first["segmentId"]}


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize("account", ACCOUNTS)
def test_every_method_answers_as_over_a_store(
    path: str, account: str, places: Places, store_site: Site, lake_site: Site
) -> None:
    where = path.format(**names(places, store_site, account))
    expected, found = store_site.get(where, account), lake_site.get(where, account)
    assert found.status_code == expected.status_code
    assert without_place(found) == without_place(expected)
    assert found.headers["content-type"] == expected.headers["content-type"]


def test_who_waits_now_is_not_known_over_tables(places: Places, store_site: Site, lake_site: Site) -> None:
    where = f"/operations/api/account/{ACCOUNTS[0]}/msgqueuehealth/current?v=1"
    assert store_site.get(where, ACCOUNTS[0]).status_code == 200
    for path in (where, f"/api/account/{ACCOUNTS[0]}/metrics", f"/api/account/{ACCOUNTS[0]}/due"):
        refused = lake_site.get(path, ACCOUNTS[0])
        assert refused.status_code == 404
        assert "not known here" in refused.json()["message"]
    over_time = lake_site.get(QUEUES.format(account=ACCOUNTS[0], end=places.now), ACCOUNTS[0]).json()
    assert over_time["metricsTotal"]["unassignedConversations"] > 0


def without_place(answer: httpx.Response) -> str:
    """The body, without where the server is, and without how long a wait has been that goes on."""
    return _GOES_ON.sub(
        r"\1",
        answer.text.replace(str(answer.url.copy_with(raw_path=b"/"))[:-1], "").replace(answer.url.netloc.decode(), ""),
    )


_GOES_ON = re.compile(
    r'"until":"[^"]*","elapsedMillis":\d+,("due":[^,]*,"verdict":"(?:pending|pastDue)"),'
    r'"counted":\[[^]]*\],"countedMore":\d+'
)


@pytest.mark.parametrize("account", ACCOUNTS)
def test_the_windows_are_not_empty(account: str, places: Places, store_site: Site) -> None:
    """Else equal answers would say little."""
    known = names(places, store_site, account)
    asked = store_site.get(AGENTS.format(**known) + "&skillIds=all&interval=day", account).json()
    assert len(asked["metricsByIntervals"]) >= 3
    assert any(each["metricsData"]["metricsPerSkill"] for each in asked["metricsByIntervals"])


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("window", [("start", "end"), ("middle", "end"), ("early", "start")])
def test_a_breakdown_lists_files_with_the_same_units(
    account: str, window: tuple[str, str], places: Places, store_site: Site, lake_site: Site
) -> None:
    known = names(places, store_site, account)
    asked = f"/api/account/{account}/agent-segments/breakdown?source=test&from={known[window[0]]}&to={known[window[1]]}"
    expected, found = (dict(units_by_hour(site, account, asked)) for site in (store_site, lake_site))
    assert found == expected
    assert window[0] != "start" or found


def units_by_hour(site: Site, account: str, asked: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The units of each file of a breakdown by the hour in its path, without when they were written."""
    for path in site.get(asked, account).json()["files"]:
        answer = site.get(f"/api/account/{account}/agent-segments/files?source=test&path={path}", account)
        assert answer.status_code == 200, path
        units = msgspec.json.decode(b"[" + b",".join(gzip.decompress(answer.content).splitlines()) + b"]")
        made = {unit.pop("insertTimestamp") for unit in units}
        assert made == {int(path.split("sequences.")[1].split(".")[0])}
        yield path.split("/sequences")[0], units


def test_a_file_comes_as_json_too(places: Places, store_site: Site, lake_site: Site) -> None:
    known = names(places, store_site, "north")
    listed = lake_site.get(
        "/api/account/{account}/agent-segments/breakdown?source=test&from={start}&to={end}".format(**known), "north"
    ).json()["files"]
    path = f"/api/account/north/agent-segments/files?source=test&path={listed[0]}"
    lines = gzip.decompress(lake_site.get(path, "north").content).splitlines()
    array = lake_site.get(path, "north", Accept="application/json").json()
    assert array == [msgspec.json.decode(line) for line in lines]
