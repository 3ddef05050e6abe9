"""Now, Open and Why in a real Chromium: what is renewed, what is drawn, on paper, without colours or scripts.

Covers: web/elsewhere.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.centre import Centre, Event
from tests.browser.conftest import Visitor, serious_findings
from tests.seeds import mostly_long

pytestmark = pytest.mark.requires_command("chromium")

PLACES = """() => [...document.querySelectorAll("main *")].filter(each => !each.closest("#says"))
    .map(each => { const b = each.getBoundingClientRect(); return [b.x, b.y, b.width, b.height].join(" "); })"""


def column(page: Page, number: int) -> list[str]:
    return [each.strip() for each in page.locator(f"#open-list tbody td:nth-child({number})").all_text_contents()]


def why(page: Page, conversation: str) -> Locator:
    """The link to a conversation's picture."""
    return page.get_by_role("link", name=re.compile(rf"^Why ?: {conversation}$"))


def event(conversation: str, type_: str, *, minutes_ago: float = 0, **more: object) -> Event:
    time = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    return {"conversationId": conversation, "eventId": type_, "time": time.isoformat(), "type": type_, **more}


# --- Now and Open -----------------------------------------------------------------------------------------------------


def test_a_forgotten_conversation_stands_beside_the_longest_wait(visitor: Visitor) -> None:
    page = visitor.sign_in("desk")
    tile = page.locator(".tile", has_text="longest wait")
    expect(tile.locator("dd.beside")).to_have_text("2 for over a day")
    assert re.fullmatch(r"3\d min( \d+ s)?", tile.locator("#longest").inner_text())
    orders = page.get_by_role("region", name="Open conversations by skill").locator("tr", has_text="Orders")
    expect(orders).to_contain_text("2 for over a day")
    tile.locator("#stale").click()
    expect(page.locator("#total")).to_have_text("2")
    assert re.fullmatch(r"480 h( \d\d min)?", column(page, 3)[1])
    # Seconds that were sent as milliseconds: since 1970.
    assert int(column(page, 3)[0].partition(" h")[0].replace(",", "")) > 490_000
    why(page, "seconds").click()
    expect(page.get_by_text("seconds that were sent as milliseconds?")).to_be_visible()
    expect(page.locator("svg.picture .item").first).to_be_attached()


def test_open_conversations_are_sorted_by_urgency_or_any_column(visitor: Visitor) -> None:
    page = visitor.sign_in("desk", "/open")
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("waits")
    assert column(page, 7) == ["one", "two", "seconds", "forgotten"]
    names = ("state", "waits", "since", "skill", "agent", "conversation", "source", "focus")
    for place, name in enumerate(names, start=2):
        seen = []
        for _ in range(2):
            page.locator(f"#sort-{name}").click()
            expect(page.locator("th[aria-sort]").locator(f"#sort-{name}")).to_be_visible()
            way = page.locator("th[aria-sort]").get_attribute("aria-sort")
            # A wait goes on while it is read; since when it does stays.
            stays = place + 1 if name == "waits" else place
            seen.append((way, [each for each in column(page, stays) if each != "–"]))
        (first, one_way), (second, other_way) = seen
        assert {first, second} == {"ascending", "descending"}, name
        # By their wait, what waits for over a day stays behind the only other one.
        fresh = 1 if name == "waits" else 0
        assert one_way[:fresh] == other_way[:fresh]
        assert one_way[fresh:] == other_way[fresh:][::-1], name
    assert parse_qs(urlsplit(page.url).query)["sort"] == ["focus"]
    page.get_by_role("link", name="Billing").first.click()
    expect(page.get_by_role("heading", name="Billing")).to_be_visible()
    page = visitor.open("/open?sort=agent&state=waits")
    expect(page.locator(".chips a[aria-current]")).to_have_text("waiting for an answer")
    assert column(page, 7) == ["one"]
    page.locator("#open-list tbody").get_by_role("link", name="agent 7").click()
    expect(page.get_by_role("heading", name="agent 7")).to_be_visible()


def test_the_heading_of_the_open_stays_while_scrolling(centre: Centre, chromium: Browser) -> None:
    # An account of its own: how many are open in the made-up centre depends on the time of day.
    centre.keys["long"] = centre.new_key("long")
    centre.bring("long", [event(str(each), "opened", minutes_ago=5, skillId=1) for each in range(20)])
    visitor = Visitor(centre, chromium, viewport={"width": 1280, "height": 200})
    try:
        page = visitor.sign_in("long", "/open")
        region, heading = page.locator("#open-list"), page.locator("#sort-waits")
        region.scroll_into_view_if_needed()
        before = heading.bounding_box()
        region.evaluate("each => { each.scrollTop = 40; }")
        assert region.evaluate("each => each.scrollTop") == 40
        assert heading.bounding_box() == before
        assert visitor.wrong == []
    finally:
        visitor.context.close()


def test_focus_and_selection_survive_what_is_renewed(visitor: Visitor) -> None:
    key = visitor.centre.new_key("renewed")
    visitor.centre.keys["renewed"] = key
    visitor.centre.bring("renewed", [event("b", "opened", minutes_ago=5, skillId=1)])
    page = visitor.sign_in("renewed", "/open")
    rows = page.locator("#open-list tbody tr")
    expect(rows).to_have_count(1)
    link = why(page, "b")
    link.focus()
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#open-list bdi[title=b]'))")
    # One comes before it, one after it.
    visitor.centre.bring(
        "renewed", [event(name, "opened", minutes_ago=m, skillId=2) for name, m in (("a", 9), ("c", 1))]
    )
    expect(rows).to_have_count(3)
    assert column(page, 7) == ["a", "b", "c"]
    expect(link).to_be_focused()
    assert page.evaluate("getSelection().toString()") == "b"
    # It is assigned, and so answered: the last one now.
    visitor.centre.bring("renewed", [event("b", "assigned", agentId=5)])
    expect(rows.last).to_contain_text("answered")
    assert column(page, 7) == ["a", "c", "b"]
    expect(link).to_be_focused()
    # Gone: the keyboard stays in the table.
    visitor.centre.bring("renewed", [event("b", "closed", closedBy="agent")])
    expect(rows).to_have_count(2)
    expect(page.locator("#open-list")).to_be_focused()
    # On Now too, where the parts are sent.
    page.goto(visitor.centre.url + "/")
    link = page.locator("#skill-2")
    link.focus()
    visitor.centre.bring("renewed", [event("d", "opened", minutes_ago=2, skillId=1)])
    expect(page.locator("#open")).to_have_text("3")
    expect(page.locator("#skill-1")).to_be_visible()
    expect(link).to_be_focused()


def test_long_tables_can_be_skipped(visitor: Visitor) -> None:
    page = visitor.sign_in("desk", "/open")
    page.locator("#sort-focus").focus()
    skip = page.get_by_role("link", name="Skip the table")
    skip.focus()
    box = skip.bounding_box()
    assert box
    assert box["x"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="APIs")).to_be_focused()


# --- Why --------------------------------------------------------------------------------------------------------------


def test_a_longer_wait_is_not_drawn_shorter_and_a_fold_says_how_long_it_is(visitor: Visitor) -> None:
    page = visitor.sign_in("desk", "/why?conversation=overnight")
    waits = page.locator(".item.waits > rect").evaluate_all(
        "all => all.map(each => each.getBoundingClientRect().width)"
    )
    ten_hours, hour, quarter, minutes = (round(each, 2) for each in waits)
    assert ten_hours >= hour >= quarter >= minutes > 1
    assert page.locator(".fold-text").all_text_contents() == ["⋯ 10 h", "⋯ 54 min", "⋯ 6 h 59 min"]
    page.locator(".item.folded").first.hover()
    expect(page.locator("#says")).to_contain_text("10 h without any event")
    page.get_by_role("link", name="all time to scale").click()
    expect(page.locator(".fold-text")).to_have_count(0)


@pytest.mark.parametrize("width", [390, 1366])
def test_hovering_moves_nothing(centre: Centre, chromium: Browser, width: int) -> None:
    visitor = Visitor(centre, chromium, viewport={"width": width, "height": 900})
    try:
        page = visitor.sign_in("desk", "/why?conversation=one")
        places = page.evaluate(PLACES)
        told = set()
        for item in page.locator(".item").all():
            item.dispatch_event("pointerover", {"bubbles": True})
            told.add(page.locator("#says").inner_text())
            assert page.evaluate(PLACES) == places
        assert len(told) > 10
        assert visitor.wrong == []
    finally:
        visitor.context.close()


def test_elsewhere_says_where_and_leads_there(visitor: Visitor) -> None:
    page = visitor.sign_in("desk", "/why?conversation=one")
    lines = page.locator("table.events tbody tr td:last-child")
    told = [each for each in lines.all_text_contents() if "elsewhere" in each]
    assert told == [
        "not counted: focus elsewhere: unknown where",
        "not counted: focus elsewhere: on two",
        "not counted: focus elsewhere: on two for 10 min, on no conversation for 4 min",
        "not counted: focus elsewhere: on no conversation",
    ]
    counted = page.locator(".item.not-handled[data-says*='Meanwhile: on two for']")
    counted.dispatch_event("pointerover", {"bubbles": True})
    expect(page.locator("#says")).to_contain_text("Meanwhile: on two for 10 min, on no conversation for 4 min")
    expect(page.locator(".told p")).to_contain_text("Agent 7 was looking elsewhere until")
    expect(page.locator(".told p")).to_contain_text("the consumer has been waiting for an answer since")
    expect(page.locator(".item.waits").last).to_contain_text("still waits")
    # Another conversation in the picture is a link, by keyboard too.
    other = page.locator(".item.other")
    expect(other).to_have_attribute("aria-label", re.compile("agent 7 looks at two"))
    other.focus()
    expect(page.locator("#says")).to_contain_text("leads to its Why")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Why two")).to_be_visible()
    page.go_back()
    lines.get_by_role("link", name="two").first.click()
    expect(page.get_by_role("heading", name="Why two")).to_be_visible()


# --- paper, forced colours, no scripts, walls -------------------------------------------------------------------------


def box_of(locator: Locator) -> tuple[float, float]:
    box = locator.bounding_box()
    assert box
    return box["x"], box["x"] + box["width"]


@pytest.mark.parametrize("path", ["/?last=24h&skill=10", "/open?skill=10", "/why?conversation=overnight"])
def test_paper_has_all_of_it(centre: Centre, chromium: Browser, path: str) -> None:
    paper = 1030  # A4, landscape.
    visitor = Visitor(centre, chromium, color_scheme="dark", viewport={"width": 1366, "height": 700})
    try:
        page = visitor.sign_in("desk" if "overnight" in path else "centre", path)
        page.emulate_media(media="print", color_scheme="dark")
        page.set_viewport_size({"width": paper, "height": 700})
        head = page.locator(".paper")
        expect(head).to_contain_text("desk" if "overnight" in path else "centre")
        expect(head).to_contain_text("Europe/Berlin")
        expect(head).to_contain_text(centre.url + path)
        if "overnight" not in path:
            expect(head).to_contain_text("skill Billing")
        if path.startswith("/?"):
            expect(head).to_contain_text(re.compile(r"span\s*\d\d/\d\d/\d{4}, \d\d:\d\d:\d\d – \d\d/"))
            expect(page.locator(".chart canvas")).to_have_count(4)
        # Nothing is cut: not at the edge, and not in a part that scrolls.
        assert page.evaluate("document.documentElement.scrollWidth") <= paper
        cut = """all => all
            .filter(each => each.scrollHeight > each.clientHeight + 1 || each.scrollWidth > each.clientWidth + 1)
            .map(each => `${each.getAttribute("aria-label")} ${each.scrollWidth} ${each.clientWidth}`)"""
        assert page.locator(".scroll").evaluate_all(cut) == []
        for part in page.locator(".chart canvas, svg.picture, table").all():
            left, right = box_of(part)
            assert 0 <= left < right <= paper
        assert page.locator("button:visible, a.why:visible, form:visible, summary:visible, nav:visible").count() == 0
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert len(page.pdf(prefer_css_page_size=True)) > 10_000
        assert visitor.wrong == []
    finally:
        visitor.context.close()


@pytest.mark.parametrize("theme", mostly_long(["light", "dark"], 1))
def test_forced_colours_leave_what_colours_said(centre: Centre, chromium: Browser, theme: str) -> None:
    visitor = Visitor(centre, chromium, forced_colors="active", color_scheme=theme)
    try:
        page = visitor.sign_in("desk", "/why?conversation=one&segment=x")
        looks = """all => all.map(each => getComputedStyle(each))
            .map(each => [each.fill, each.stroke, each.strokeWidth, each.strokeDasharray].join())"""
        kinds = ("waits", "queued", "assigned", "focus", "unit", "not-handled", "other")
        seen = {kind: set(page.locator(f".item.{kind} > rect").evaluate_all(looks)) for kind in kinds}
        assert all(len(each) == 1 for each in seen.values()), seen
        assert len(set.union(*seen.values())) == len(kinds)
        looks = """all => all.map(each => getComputedStyle(each))
            .map(each => [each.backgroundColor, each.border, each.borderRadius].join())"""
        keys = page.locator(".legend .key").evaluate_all(looks)
        assert len(set(keys)) == len(keys)
        page = visitor.open("/open?state=waits")
        current = page.locator(".chips a[aria-current]")
        assert current.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
        for path in ("/", "/open", "/why?conversation=one"):
            assert serious_findings(visitor.open(path)) == []
        assert visitor.wrong == []
    finally:
        visitor.context.close()


def test_without_scripts_it_says_so_and_shows_tables(centre: Centre, chromium: Browser) -> None:
    visitor = Visitor(centre, chromium, java_script_enabled=False)
    try:
        page = visitor.sign_in("centre", "/?last=24h")
        expect(page.locator(".no-script")).to_be_visible()
        chart = page.locator("[data-chart]", has_text="Segments by outcome")
        expect(chart.locator("tbody tr").nth(20)).to_be_attached()
        total = int((page.locator(".all-segments").text_content() or "").split()[0].replace(",", ""))
        cells = [int(each.replace(",", "")) for each in chart.locator("tbody td").all_text_contents()]
        assert sum(cells) == total > 0
        expect(chart.locator("details")).to_be_hidden()
        expect(page.get_by_role("button", name="Pause")).to_be_hidden()
        page.get_by_label("Skill", exact=True).fill("10")
        page.get_by_role("button", name="Apply").click()
        expect(page).to_have_url(re.compile("skill=10"))
        visitor.open("/open")
        page.locator("#sort-agent").click()
        expect(page.locator("th[aria-sort]")).to_contain_text("Agent")
        page.locator("a.why").first.click()
        expect(page.locator("svg.picture .item").first).to_be_attached()
        expect(page.locator("#says")).to_be_hidden()
    finally:
        visitor.context.close()


def test_sizes_follow_the_screen(centre: Centre, chromium: Browser) -> None:
    sizes = {}
    for width in (390, 1366, 1920, 3840):
        visitor = Visitor(centre, chromium, viewport={"width": width, "height": 900})
        try:
            page = visitor.sign_in("desk", "/open")
            font = "each => parseFloat(getComputedStyle(each).fontSize)"
            sizes[width] = [page.locator(where).first.evaluate(font) for where in ("body", "#open-list td", ".chips a")]
            page.goto(centre.url + "/")
            sizes[width].append(page.locator(".tile dd").last.evaluate(font))
        finally:
            visitor.context.close()
    assert sizes[1366] == sizes[1920]
    assert sizes[390][:3] == sizes[1366][:3]
    assert all(large >= 1.5 * usual for large, usual in zip(sizes[3840], sizes[1920], strict=True))
