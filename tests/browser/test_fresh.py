"""Now in a browser: what goes on is counted on by the page itself, in the words of the server."""

from __future__ import annotations

import random

import pytest
from playwright.sync_api import expect

from handletime.web.words import duration
from tests.browser.centre import opened_just_now
from tests.browser.conftest import Visitor

pytestmark = pytest.mark.requires_command("chromium")


def test_a_wait_is_counted_on_without_being_sent_anew(visitor: Visitor) -> None:
    page = visitor.sign_in("golden")
    visitor.centre.bring("golden", opened_just_now("waits here"))
    longest = page.locator("#longest")
    expect(longest).to_be_visible()
    # Whatever the server sends anew is another element.
    longest.evaluate("each => { each.marked = true; }")
    for _ in range(2):
        shown = longest.text_content() or ""
        expect(longest).not_to_have_text(shown)
    assert longest.evaluate("each => each.marked") is True
    seconds = page.evaluate("() => Number(document.querySelector('#longest [data-since]').dataset.since)")
    assert isinstance(seconds, int)


def test_the_page_counts_in_the_words_of_the_server(visitor: Visitor, seed: int) -> None:
    dice = random.Random(seed)
    edges = [each + more for each in (0, 1000, 10_000, 60_000, 3_600_000, 172_800_000) for more in (-1, 0, 1, 999)]
    lengths = [*(each for each in edges if each >= 0), *(dice.randrange(10 ** dice.randint(1, 12)) for _ in range(500))]
    page = visitor.sign_in("golden")
    folder = page.locator("script[type=module]").get_attribute("src") or ""
    script = folder.replace("page.js", "ticking.js")
    counted = page.evaluate(
        "async ([script, lengths]) => { const { duration } = await import(script); return lengths.map(duration); }",
        [script, lengths],
    )
    assert counted == [duration(each) for each in lengths], f"seed {seed}"
