"""The filters in one line, and what a newcomer is asked, each within three clicks from the first page."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, expect

from handletime.web.view import IN_LINE, SPANS
from tests.browser.centre import Centre
from tests.browser.conftest import Visitor

pytestmark = pytest.mark.requires_command("chromium")


class Newcomer:
    """Somebody who has signed in, and whose clicks are counted."""

    def __init__(self, visitor: Visitor) -> None:
        self.page, self.clicks = visitor.sign_in("centre"), 0

    def click(self, what: Locator) -> None:
        what.click()
        self.clicks += 1

    def follow(self, group: str, name: str) -> None:
        """Follows a link of a group of the filters."""
        self.click(self.page.get_by_role("group", name=group, exact=True).get_by_role("link", name=name, exact=True))

    def open(self, name: str) -> None:
        """Opens another page."""
        self.click(self.page.get_by_role("navigation", name="Pages").get_by_role("link", name=name))

    def jump(self, name: str) -> None:
        """Goes to what is further down the page."""
        self.click(self.page.get_by_role("navigation", name="On this page").get_by_role("link", name=name))


@pytest.fixture
def newcomer(visitor: Visitor) -> Newcomer:
    return Newcomer(visitor)


def test_a_week_is_compared_with_the_one_before(newcomer: Newcomer) -> None:
    page = newcomer.page
    newcomer.click(page.get_by_role("link", name="The last 24 hours and other periods"))
    expect(page.get_by_role("form", name="Filters")).to_be_in_viewport()
    newcomer.follow("Period", "last week")
    newcomer.follow("Compare to", "the week before")
    expect(page.get_by_role("group", name="Chosen")).to_contain_text("compared to the week before")
    expect(page.locator(".compared")).to_contain_text("that time lies before all data")
    assert newcomer.clicks == 3


def test_why_the_highest_handle_time_is_so_high_stands_on_top(newcomer: Newcomer) -> None:
    page = newcomer.page
    newcomer.open("Agents")
    newcomer.follow("Period", "this month")
    expect(page.locator("th[aria-sort='descending']")).to_have_text("average")
    newcomer.click(page.locator("table.metrics tbody th a").first)
    assert parse_qs(urlsplit(page.url).query)["last"] == ["this-month"]
    expect(page.locator(".says-why")).to_be_in_viewport()
    assert newcomer.clicks == 3


def test_a_month_by_agent_is_a_file(newcomer: Newcomer) -> None:
    newcomer.open("Agents")
    newcomer.follow("Period", "this month")
    with newcomer.page.expect_download() as download:
        newcomer.click(newcomer.page.get_by_role("link", name="Export as CSV").first)
    assert "avgHandleTimeMillis" in download.value.path().read_text("utf-8")
    assert newcomer.clicks == 3


def test_at_which_hours_people_give_up_is_one_jump_away(newcomer: Newcomer) -> None:
    newcomer.open("Skills")
    newcomer.follow("Period", "this month")
    newcomer.jump("Abandoned in queue by hour")
    expect(newcomer.page.locator("table.heat")).to_be_in_viewport()
    assert newcomer.clicks == 3


def test_what_is_on_a_page_is_one_jump_away(visitor: Visitor) -> None:
    page = visitor.sign_in("centre")
    for path in ("/skills?last=7d", "/skills?last=7d&skill=10", "/agents?last=7d&agent=3001", "/agents?last=7d"):
        visitor.open(path)
        links = page.get_by_role("navigation", name="On this page").get_by_role("link")
        assert (links.count() > 1) == (path != "/agents?last=7d")
        for link in links.all():
            target = page.locator(link.get_attribute("href") or "")
            link.click()
            expect(target).to_be_in_viewport()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_filters_are_one_line_of_a_small_laptop(centre: Centre, chromium: Browser, theme: str) -> None:
    visitor = Visitor(centre, chromium, viewport={"width": 1366, "height": 768}, color_scheme=theme)
    try:
        page = visitor.sign_in("centre")
        form = page.get_by_role("form", name="Filters")
        for span in (*(f"last={each}" for each in SPANS), "from=2026-11-02T00:00&to=2026-11-03T00:00"):
            visitor.open(f"/agents?{span}&compare=year&agent=3001")
            parts = form.locator("> :visible")
            boxes = [box for part in parts.all() if (box := part.bounding_box()) is not None]
            bottoms = {round(box["y"] + box["height"]) for box in boxes}
            assert max(bottoms) - min(bottoms) <= 3, span
            assert max(box["x"] + box["width"] for box in boxes) < 1366, span
            current = form.locator(".choice > .spans").locator("> [aria-current], > details > summary[aria-current]")
            assert current.count() == 2, "one period, and one comparison"
        assert visitor.wrong == []
    finally:
        visitor.context.close()


@pytest.mark.parametrize("script", [True, False])
def test_what_is_compared_is_chosen_by_keyboard_and_without_scripts(
    centre: Centre, chromium: Browser, script: bool
) -> None:
    visitor = Visitor(centre, chromium, java_script_enabled=script)
    try:
        page = visitor.sign_in("centre", "/agents?last=this-week")
        group = page.get_by_role("group", name="Compare to", exact=True)
        group.locator("summary").focus()
        page.keyboard.press("Enter")
        expect(group.get_by_role("link", name="a week before")).to_have_count(0)
        page.keyboard.press("Tab")
        expect(group.get_by_role("link", name="four weeks before")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile("compare=four-weeks"))
        page.get_by_label("Skill", exact=True).fill("10")
        page.get_by_label("Skill", exact=True).press("Enter")
        expect(page).to_have_url(re.compile("skill=10"))
        given = parse_qs(urlsplit(page.url).query)
        assert (given["compare"], given["last"]) == (["four-weeks"], ["this-week"])
        group.locator("summary").click()
        group.get_by_role("link", name="nothing").click()
        expect(page).not_to_have_url(re.compile("compare"))
        assert visitor.wrong == []
    finally:
        visitor.context.close()


def test_a_comparison_that_there_is_not_is_put_right(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/agents?last=yesterday&compare=never")
    expect(page.get_by_role("alert")).to_contain_text("compare: must be one of")
    page.get_by_role("group", name="Compare to", exact=True).get_by_role("link", name="four weeks before").click()
    expect(page.get_by_role("heading", name="Agents", exact=True)).to_be_visible()
    visitor.wrong.clear()  # The browser reports the 400 itself.


def test_common_periods_are_seen_and_the_others_beneath(visitor: Visitor) -> None:
    page = visitor.sign_in("centre", "/agents")
    group = page.get_by_role("group", name="Period", exact=True)
    expect(group.get_by_role("link")).to_have_text([SPANS[each] for each in IN_LINE])
    summary = group.locator("summary")
    expect(summary).to_have_text(re.compile("last 24 hours"))
    summary.click()
    expect(group.get_by_role("link")).to_have_count(len(SPANS))
