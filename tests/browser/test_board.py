"""The board of Now in a real Chromium: past due without colours, what is unfolded, and on a wall of any size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.centre import Centre, Event
from tests.browser.conftest import Visitor, serious_findings
from tests.seeds import mostly_long

pytestmark = pytest.mark.requires_command("chromium")

TARGETS = """
[[targets]]
name = "all"
first-response = "2min"
response = "5min"
queue-wait = "1min"
"""
NAMES = {
    101: "Orders",
    102: "Returns and warranty",
    103: "Billing",
    104: "Refunds and cancelled orders of the spring sale",
    105: "Rindfleischetikettierungsüberwachung",
    106: "Warranty and spare parts",
    107: "Sales",
}
SIZES = [(1366, 768), (1920, 1080), (2560, 1440), (3840, 2160)]


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    """A centre with targets. Its account `wall` has ten skills, of which one is past due and one will be soon;
    `changing` begins like it. In `full` all have names, and something of everything.
    """
    centre = Centre(tmp_path_factory.mktemp("centre"), targets=TARGETS)
    centre.write_labels({("skill", number): name for number, name in NAMES.items()})
    centre.start()
    for account in ("wall", "changing"):
        centre.keys[account] = centre.new_key(account)
        centre.bring(account, list(wall()))
    centre.keys["full"] = centre.new_key("full")
    centre.bring("full", list(full()))
    yield centre
    centre.kill()


def event(conversation: str, type_: str, minutes_ago: float, **more: object) -> Event:
    time = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    known = {"conversationId": conversation, "eventId": f"{type_}{minutes_ago}", "time": time.isoformat()}
    return {**known, "type": type_, **more}


def wall() -> Iterator[Event]:
    for skill in range(1, 11):
        name = f"c{skill}"
        yield event(name, "opened", 30, skillId=skill)
        yield event(name, "assigned", 30, agentId=skill)
        yield event(name, "message", 29, sentBy="consumer")
        yield event(name, "message", 28.5, sentBy="agent")
        if skill in (4, 9):
            yield event(name, "message", 700 / 60 if skill == 4 else 0.2, sentBy="consumer")
    yield event("bot", "opened", 5, skillId=1)
    yield event("bot", "assigned", 5, agentId=90, userType="bot")


def full() -> Iterator[Event]:
    for skill in NAMES:
        for place in range(4):
            name, begun = f"{skill}-{place}", 65 + skill / 10
            yield event(name, "opened", begun, skillId=skill)
            yield event(name, "assigned", begun - 1, agentId=500 + place)
            yield event(name, "focused", begun - 1, agentId=500 + place)
            yield event(name, "message", begun - 2, sentBy="consumer")
            if place == 3:
                yield event(name, "message", begun - 3, sentBy="agent")
                yield event(name, "closed", 0.5, closedBy="agent")
        yield event(f"old {skill}", "opened", 60 * 24 * 30, skillId=skill)
    yield event("theirs", "opened", 10, skillId=101)
    yield event("theirs", "assigned", 10, agentId=502)
    yield event("theirs", "focused", 9, agentId=777)
    for agent in range(600, 616):
        yield event(f"of {agent}", "opened", 10, skillId=101)
        yield event(f"of {agent}", "assigned", 10, agentId=agent)


def visit(centre: Centre, chromium: Browser, path: str, account: str = "wall", **options: object) -> Visitor:
    visitor = Visitor(centre, chromium, **options)
    visitor.sign_in(account)
    visitor.open(path)
    return visitor


def skills(page: Page) -> list[str]:
    return [each.strip() for each in page.locator("#by-skill tbody th").all_text_contents()]


def test_past_due_is_said_and_counted_on_by_the_page(centre: Centre, chromium: Browser) -> None:
    visitor = visit(centre, chromium, "/")
    try:
        page = visitor.page
        assert skills(page)[:2] == ["skill 4", "skill 9"]
        expect(page.locator("#past-due")).to_have_text("! 1")
        late = page.locator("#by-skill tbody tr").first.locator("td.is-late")
        expect(late).to_contain_text(re.compile(r"for [67] min"))
        until = page.locator("#by-skill [data-until]").first
        shown = until.inner_text()
        assert re.fullmatch(r"\d min( \d+ s)?", shown)
        until.evaluate("each => { each.marked = true; }")
        expect(until).not_to_have_text(shown)
        assert until.evaluate("each => each.marked") is True, "it was not sent anew"
        # Colours stand where something is past a target, and nowhere else.
        colours = "all => [...new Set(all.map(each => getComputedStyle(each).backgroundColor))]"
        (calm,) = page.locator("#by-skill tbody td:not(.is-late)").evaluate_all(colours)
        assert late.evaluate_all(colours) != [calm]
        page.locator("#past-due").click()
        expect(page.locator("#total")).to_have_text("1")
        expect(page.locator("#open-list tbody tr")).to_contain_text(re.compile(r"! past due for [67] min"))
        assert visitor.wrong == []
    finally:
        visitor.context.close()


def test_bots_stay_unfolded_while_the_page_renews_itself(centre: Centre, chromium: Browser) -> None:
    visitor = visit(centre, chromium, "/", "changing")
    try:
        page = visitor.page
        bots = page.locator("#bots")
        expect(bots.locator("table")).to_be_hidden()
        # Paper cannot be unfolded, so it has them.
        page.emulate_media(media="print")
        expect(bots.locator("table")).to_be_visible()
        expect(bots.locator("summary")).to_be_hidden()
        page.emulate_media(media="screen")
        expect(bots.locator("table")).to_be_hidden()
        bots.locator("summary").focus()
        page.keyboard.press("Enter")
        expect(bots.locator("table")).to_be_visible()
        queue = int(page.locator("#queued").inner_text())
        centre.bring("changing", [event("another", "opened", 0.01, skillId=2)])
        expect(page.locator("#queued")).to_have_text(str(queue + 1))
        expect(bots.locator("table")).to_be_visible()
        page.get_by_role("button", name="What does this mean: the figures of this moment").click()
        expect(page.locator("#what-board")).to_contain_text("as far as it is known where it was")
        assert visitor.wrong == []
    finally:
        visitor.context.close()


@pytest.mark.parametrize("theme", mostly_long(["light", "dark"], 1))
def test_a_wall_of_any_size_fills_it_with_digits_that_can_be_read_from_far(
    centre: Centre, chromium: Browser, theme: str
) -> None:
    for width, height in SIZES:
        visitor = visit(centre, chromium, "/?kiosk=1", viewport={"width": width, "height": height}, color_scheme=theme)
        try:
            page = visitor.page
            # The digits of a font are about 0.7 of its size.
            font = "all => Math.min(...all.map(each => parseFloat(getComputedStyle(each).fontSize)))"
            main = page.locator(".tile dd:not(.beside)").evaluate_all(font)
            assert 0.7 * main >= 0.03 * height, (width, main)
            assert 0.7 * page.locator("#by-skill tbody td").evaluate_all(font) >= 0.025 * height
            size = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
            assert page.evaluate(size) == [width, height], "all of it fits the screen"
            fits = "each => each.scrollWidth <= each.clientWidth && each.scrollHeight <= each.clientHeight"
            assert page.locator("#by-skill").evaluate(fits)
            expect(page.locator("nav, form, footer, header")).to_have_count(0)
            assert skills(page)[:2] == ["skill 4", "skill 9"]
            assert serious_findings(page) == []
            if width == SIZES[0][0]:
                for path in ("/", "/open?state=past-due&sort=due", "/waits?last=24h&verdict=missed"):
                    assert serious_findings(visitor.open(path)) == []
            assert visitor.wrong == []
        finally:
            visitor.context.close()


LINES = """all => all.map(each => {
    const range = document.createRange();
    range.selectNodeContents(each);
    return new Set([...range.getClientRects()].map(part => Math.round(part.top))).size;
})"""


def test_a_wall_says_which_skill_is_which_and_cuts_nothing(centre: Centre, chromium: Browser) -> None:
    for width, height in SIZES:
        visitor = visit(centre, chromium, "/?kiosk=1", "full", viewport={"width": width, "height": height})
        try:
            page = visitor.page
            names = page.locator("#by-skill tbody th a")
            lines = dict(zip(names.all_text_contents(), names.evaluate_all(LINES), strict=True))
            assert len(lines) == 6
            for name in ("Orders", "Billing", "Rindfleischetikettierungsüberwachung"):
                assert lines.get(name, 1) == 1, (width, name)
            assert lines["Returns and warranty"] == 2
            cut = "all => all.filter(each => each.scrollWidth > each.clientWidth).map(each => each.textContent)"
            assert set(names.evaluate_all(cut)) <= {"Rindfleischetikettierungsüberwachung"}
            size = "each => parseFloat(getComputedStyle(each).fontSize)"
            assert 0.7 * names.first.evaluate(size) >= 0.022 * height
            fits = "each => [each.scrollWidth - each.clientWidth, each.scrollHeight - each.clientHeight]"
            for part in ("#by-skill", "html"):
                assert page.locator(part).evaluate(fits) == [0, 0], (width, part)
            # A figure stands above what it is, and that above what stands beside.
            for tile in page.locator(".tile").all():
                tops = tile.locator("dd:not(.beside), dt, dd.beside").evaluate_all(
                    "all => all.map(each => [each.className || each.tagName, each.getBoundingClientRect().top])"
                )
                order = [name for name, _ in sorted(tops, key=lambda each: each[1])]
                assert order == ["DD", "DT", "beside"][: len(order)]
            assert visitor.wrong == []
        finally:
            visitor.context.close()


def test_agents_at_work_have_the_room_for_it(centre: Centre, chromium: Browser) -> None:
    for width in (1366, 1920):
        visitor = visit(centre, chromium, "/", "full", viewport={"width": width, "height": 900})
        try:
            expect(visitor.page.locator("#looking")).to_contain_text("agent 777")
            agents = visitor.page.locator("#agents-at-work")
            assert agents.locator("tbody tr").count() == 19
            fits = "each => [each.scrollWidth - each.clientWidth, each.scrollHeight - each.clientHeight]"
            assert agents.evaluate(fits) == [0, 0], width
            assert visitor.wrong == []
        finally:
            visitor.context.close()


def test_a_wall_grows_with_the_browsers_zoom_and_fits_a_narrow_window(centre: Centre, chromium: Browser) -> None:
    # At 200 and 400 % a window of 1366 has so many pixels of CSS.
    for width, zoom in ((683, 2), (342, 4)):
        visitor = visit(centre, chromium, "/?kiosk=1", "full", viewport={"width": width, "height": 768 // zoom})
        try:
            page = visitor.page
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            body = page.locator(".tile dt").first.evaluate("each => parseFloat(getComputedStyle(each).fontSize)")
            assert body * zoom >= 1.8 * 1366 * 0.0125, "in pixels of the screen"
            cut = "all => all.filter(each => each.scrollWidth > each.clientWidth).map(each => each.textContent)"
            assert page.locator(".tile").evaluate_all(cut) == []
        finally:
            visitor.context.close()


def test_a_wall_keeps_itself_up_to_date_and_says_when_the_server_is_gone(centre: Centre, chromium: Browser) -> None:
    visitor = visit(centre, chromium, "/?kiosk=1&skill=5", "changing", viewport={"width": 1920, "height": 1080})
    try:
        page = visitor.page
        expect(page.locator("#as-of")).to_contain_text("skill 5")
        expect(page.locator("#queued")).to_have_text("0")
        centre.bring("changing", [event("new", "opened", 0.01, skillId=5)])
        expect(page.locator("#queued")).to_have_text("1")
        expect(page.locator("nav, form, footer")).to_have_count(0)
        assert centre.stop() == 0
        trouble = page.locator("#trouble")
        expect(trouble).to_contain_text("The server does not answer")
        assert trouble.evaluate("each => parseFloat(getComputedStyle(each).fontSize)") >= 0.04 * 1080
        centre.start()
        expect(trouble).to_be_hidden()
    finally:
        visitor.context.close()


def test_forced_colours_and_no_scripts_leave_what_a_board_says(centre: Centre, chromium: Browser) -> None:
    for path in ("/", "/?kiosk=1"):
        forced = visit(centre, chromium, path, forced_colors="active")
        try:
            late = forced.page.locator("#by-skill td.is-late")
            assert late.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
            expect(late).to_contain_text("!")
            assert serious_findings(forced.page) == []
        finally:
            forced.context.close()
        plain = visit(centre, chromium, path, java_script_enabled=False)
        try:
            expect(plain.page.locator("#past-due")).to_have_text("! 1")
            expect(plain.page.locator(".no-script")).to_be_visible()
        finally:
            plain.context.close()
