"""Now in a browser: what goes on is counted on by the page itself, in the words of the server."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

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
