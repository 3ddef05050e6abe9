"""What a printer gets of each view: nothing lies over anything else, nothing is cut, and no control is left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.centre import Centre
from tests.browser.conftest import Visitor
from tests.browser.screenshots import TARGETS

pytestmark = pytest.mark.requires_command("chromium")

PAPER, PAGE = 1030, 700
"""A4, landscape, in pixels without its margins."""
OVERLAPS = """() => {
    const boxes = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode, parent = node.parentElement;
        if (!node.data.trim() || parent.closest(".hidden, svg, script, style, noscript")) continue;
        if (!parent.checkVisibility({ checkVisibilityCSS: true })) continue;
        const range = document.createRange();
        range.selectNodeContents(node);
        for (const box of range.getClientRects()) if (box.width > 1) boxes.push({ box, text: node.data.trim(), node });
    }
    boxes.sort((a, b) => a.box.top - b.box.top);
    const found = [];
    boxes.forEach(({ box, text, node }, i) => {
        for (let j = i + 1; j < boxes.length && boxes[j].box.top < box.bottom; j++) {
            const other = boxes[j].box;
            const across = Math.min(box.right, other.right) - Math.max(box.left, other.left);
            const down = Math.min(box.bottom, other.bottom) - other.top;
            const low = Math.min(box.height, other.height);
            if (boxes[j].node !== node && across > 2 && down > low * 0.4) found.push(`${text} | ${boxes[j].text}`);
        }
    });
    return found;
}"""
VIEWS = [
    "/?last=last-7-days&compare=previous",
    "/agents?last=last-7-days&compare=previous&skill=10",
    "/agents?last=last-7-days&columns=all",
    "/agents?last=today&agent=3001&compare=previous",
    "/skills?last=last-7-days&userType=all",
    "/skills?last=last-7-days&columns=all&compare=previous",
    "/skills?last=7d&skill=10&compare=previous",
    "/segments?last=7d&compare=previous&agent=3001",
    "/skill-segments?last=7d&skill=10",
    "/waits?last=7d&clock=response&compare=previous",
    "/waits?last=7d&clock=queueWait",
    "/open",
    "/agent-day?agent=3001",
]


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    """A centre with targets."""
    centre = Centre(tmp_path_factory.mktemp("centre"), targets=TARGETS)
    centre.start()
    yield centre
    centre.kill()


@pytest.fixture(scope="module")
def printing(centre: Centre, chromium: Browser) -> Iterator[Visitor]:
    """Somebody who is signed in, and whose pages are as on paper."""
    visitor = Visitor(centre, chromium, viewport={"width": PAPER, "height": PAGE})
    visitor.sign_in("centre", "/open")
    visitor.page.emulate_media(media="print")
    yield visitor
    visitor.context.close()


def what_is_cut(page: Page) -> list[str]:
    cut: list[str] = page.locator("main :is(table, svg.picture, canvas, p, h1, h2, .tiles)").evaluate_all(
        f"""all => all.filter(each => each.checkVisibility() && each.getBoundingClientRect().right > {PAPER})
            .map(each => each.outerHTML.slice(0, 80))"""
    )
    return cut


@pytest.mark.parametrize("path", VIEWS)
def test_paper_is_readable(printing: Visitor, path: str) -> None:
    page = printing.open(path + ("&" if "?" in path else "?") + "tz=Europe/Berlin")
    expect(page.locator("main h1")).to_have_count(1)
    assert page.evaluate(OVERLAPS) == []
    assert what_is_cut(page) == []
    assert page.locator("[popover]:visible, dialog:visible").count() == 0
    told = page.locator("body").inner_text()
    assert not re.search(r"✕|Count |Export|slowest answers\n", told)
    sizes = page.locator("td, th").evaluate_all("all => all.map(each => parseFloat(getComputedStyle(each).fontSize))")
    assert min(sizes, default=9) > (7 if "columns=all" in path else 8.5)
    assert printing.wrong == []


def test_paper_of_why_is_readable(centre: Centre, chromium: Browser) -> None:
    visitor = Visitor(centre, chromium, viewport={"width": PAPER, "height": PAGE})
    try:
        page = visitor.sign_in("desk", "/why?conversation=one")
        page.emulate_media(media="print")
        assert page.evaluate(OVERLAPS) == []
        assert what_is_cut(page) == []
        expect(page.locator(".paper")).not_to_contain_text("span")
    finally:
        visitor.context.close()


def test_the_head_says_the_day_of_an_agents_day(printing: Visitor) -> None:
    yesterday = datetime.now(ZoneInfo("Europe/Berlin")).date() - timedelta(days=1)
    page = printing.open(f"/agent-day?agent=3001&day={yesterday}&tz=Europe/Berlin")
    head = page.locator(".paper")
    expect(head).to_contain_text(f"{yesterday:%a, %d/%m/%Y}")
    expect(head).not_to_contain_text("span")
    # Each part of the picture has its place on a page, and says the hours.
    parts = page.locator("svg.picture")
    assert parts.count() > 1
    for part in parts.all():
        box = part.bounding_box()
        assert box
        assert box["height"] < PAGE - 120
        assert part.locator(".tick-text").count() > 3
    printed = page.pdf(prefer_css_page_size=True)
    assert 1 < len(re.findall(rb"/Type\s*/Page\b", printed)) < 6


@pytest.mark.parametrize("path", ["/waits?clock=response", "/skill-segments?", "/segments?", "/agents?"])
def test_the_head_says_the_span_of_what_is_listed(printing: Visitor, path: str) -> None:
    head = printing.open(f"{path}&last=yesterday&tz=Europe/Berlin").locator(".paper")
    yesterday = datetime.now(ZoneInfo("Europe/Berlin")).date() - timedelta(days=1)
    expect(head).to_contain_text(f"{yesterday:%d/%m/%Y}, 00:00:00 – ")


def test_a_heading_is_never_alone_at_the_foot_of_a_page(printing: Visitor) -> None:
    page = printing.open("/skills?last=7d&tz=Europe/Berlin")
    looks = "all => all.map(each => getComputedStyle(each).breakAfter)"
    kept = page.locator("main .title, main thead").evaluate_all(looks)
    assert set(kept) == {"avoid"}
