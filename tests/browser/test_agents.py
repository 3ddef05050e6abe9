"""Agents in a browser: seven columns and further ones, one agent beside the peers, and the way to a day as bars."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.centre import LABELS, Centre
from tests.browser.conftest import Visitor, serious_findings
from tests.browser.teams import a_team

pytestmark = pytest.mark.requires_command("chromium")

SEVEN = ["average", "median", "all", "median", "median", "interactive"]
"""With the trend: service levels come where an account has targets."""
TARGETS = """
[[targets]]
name = "all"
first-response = "2min"
response = "4min"
queue-wait = "45s"
"""


@pytest.fixture(scope="module")
def team(stopped_centre: Centre) -> Centre:
    """A centre with a team in which agent 7 takes conversations over."""
    if stopped_centre.process is None:
        stopped_centre.start()
    stopped_centre.keys["team"] = stopped_centre.new_key("team")
    stopped_centre.bring("team", a_team())
    return stopped_centre


def exported(visitor: Visitor) -> list[dict[str, str]]:
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("link", name="Export as CSV").first.click()
    return list(csv.DictReader(Path(download.value.path()).read_text("utf-8-sig").splitlines()))


@pytest.mark.usefixtures("team")
def test_why_an_agents_handle_time_is_twice_the_others_is_seen_at_once(visitor: Visitor) -> None:
    page = visitor.sign_in("team", "/agents?last=24h")
    expect(page.locator("table.metrics tbody th").first).to_have_text("agent 7")
    page.get_by_role("link", name="agent 7").click()
    expect(page.locator(".says-why")).to_contain_text("27 of 28 segments followed a takeover (peers: 9 %).")
    rows = page.locator(".beside-peers tbody tr")
    told = [re.sub(r"\s+", " ", each) for each in rows.all_inner_texts()]
    assert told == [
        "Billing a takeover 27 96 % 2 min 2 min n 27 3 9 % 2 min 2 min n 3",
        "Billing a new conversation 1 4 % 1 min 1 min n 1 30 91 % 1 min 1 min n 30",
    ]
    expect(page.locator("#at-once")).to_contain_text("1.0 on average")
    page.get_by_role("link", name="a day as bars").click()
    expect(page.locator("svg.picture .idle-gap").first).to_be_attached()
    expect(page.locator("svg.picture .lane-name", has_text="idle")).to_be_attached()
    expect(page.locator(".legend")).to_contain_text("idle: on no conversation")


def test_further_columns_are_on_demand_and_in_the_file(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/agents?last=7d&sort=name&direction=asc")
    heads = page.locator("table.metrics thead tr:nth-child(2) th.n")
    assert heads.all_inner_texts() == SEVEN
    assert "medianResponseMillis" in (few := exported(visitor)[0])
    assert "responseCount" in few, "its n stands beside a median"
    assert not {"p90ResponseMillis", "agentMessages"} & few.keys()
    further = page.get_by_role("navigation", name="Further columns: Agents")
    further.get_by_role("link", name="Response time").click()
    expect(page).to_have_url(re.compile("sort=name&direction=asc&columns=response"))
    expect(heads).to_have_count(9)
    further.get_by_role("link", name="Messages").click()
    expect(page).to_have_url(re.compile("columns=response%2Cmessages"))
    assert {"p90ResponseMillis", "agentMessages"} <= exported(visitor)[0].keys()
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("columns=response%2Cmessages"))
    further.get_by_role("link", name="Response time").click()
    expect(page).to_have_url(re.compile("columns=messages"))
    further.get_by_role("link", name="all").click()
    expect(page).to_have_url(re.compile("columns=all"))
    assert heads.count() > 25
    further.get_by_role("link", name="fewer").click()
    expect(heads).to_have_text(SEVEN)
    assert "columns" not in page.url
    visitor.open("/agents?columns=colour")
    expect(page.locator(".causes")).to_contain_text("columns: must be one of handle-time, outcomes, first-response")
    visitor.wrong.clear()  # The browser tells of the status 400.


def test_skills_have_their_own_further_columns(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/skills?last=7d")
    heads, others = (page.locator(f"#{table} thead tr:nth-child(2) th.n") for table in ("table", "table2"))
    expect(heads).to_have_text(["median", "p90", "abandoned", "all"])
    expect(others).to_have_text(SEVEN)
    few = exported(visitor)[0].keys()
    further = page.get_by_role("navigation", name="Further columns: Skills")
    further.get_by_role("link", name="Segments", exact=True).click()
    expect(page).to_have_url(re.compile("columns=skill-outcomes"))
    expect(heads).to_have_count(9)
    expect(others).to_have_text(SEVEN)
    assert exported(visitor)[0].keys() - few == {
        *("interactiveSkillSegments", "skillSegmentsWithNonResponsiveConsumers"),
        *("skillSegmentsWithNonResponsiveAgents", "skillSegmentsAbandonedByConsumers"),
        "skillSegmentsAbandonedByConsumersInQueue",
    }
    further.get_by_role("link", name="all", exact=True).click()
    expect(heads).to_have_count(17)
    expect(others).to_have_text(SEVEN)
    page.get_by_role("navigation", name="Further columns: By skill").get_by_role("link", name="all", exact=True).click()
    expect(page).to_have_url(re.compile("columns=all"))
    further.get_by_role("link", name="fewer").click()
    expect(heads).to_have_text(["median", "p90", "abandoned", "all"])
    assert others.count() > 25


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    """A centre with targets and long names."""
    centre = Centre(tmp_path_factory.mktemp("judged"), targets=TARGETS)
    centre.write_labels({key: f"{name} of the long name"[:20] for key, name in LABELS.items()})
    centre.start()
    yield centre
    centre.kill()


@pytest.mark.parametrize("path", ["/agents?", "/agents?agent=3001&", "/skills?", "/skills?skill=10&"])
def test_what_is_seen_at_first_fits_a_laptop_when_compared(judged: Centre, chromium: Browser, path: str) -> None:
    visitor = Visitor(judged, chromium, viewport={"width": 1366, "height": 768})
    try:
        page = visitor.sign_in("centre", f"{path}last=24h&compare=previous")
        tables = page.locator(".scroll:has(table.metrics)")
        assert tables.count() == (1 if path == "/agents?" else 2)
        for table in tables.all():
            assert table.locator("td .differs").count() > 10
            assert table.evaluate("each => each.scrollWidth - each.clientWidth") <= 0
    finally:
        visitor.context.close()


def test_the_column_that_sorts_is_seen(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/agents?last=7d&sort=p95ResponseMillis")
    expect(page.locator("table.metrics th[aria-sort]")).to_have_text("p95")
    further = page.get_by_role("navigation", name="Further columns: Agents")
    further.get_by_role("link", name="Response time").click()
    expect(page.locator("table.metrics thead tr:nth-child(2) th.n")).to_have_text(SEVEN)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_is_wrong_and_it_fits_a_phone(team: Centre, chromium: Browser, theme: str) -> None:
    visitor = Visitor(team, chromium, color_scheme=theme, viewport={"width": 320, "height": 700})
    try:
        visitor.sign_in("team", "/agents?columns=all")
        for path in ("/agents?columns=all", "/agents?agent=7"):
            page = visitor.open(path)
            assert serious_findings(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= 320
        page.get_by_role("link", name="a day as bars").click()
        assert serious_findings(page) == []
        assert visitor.wrong == []
    finally:
        visitor.context.close()
