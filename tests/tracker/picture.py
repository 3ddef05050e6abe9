"""The picture of the focus tracker at work in docs/images: `python -m tests.tracker.picture`.

An agent answers at the stub desk of the demo, in a real Chromium with the tracker; beside it stands what the server
made of it.
"""

from __future__ import annotations

import base64
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import launched
from tests.browser.screenshots import BYTES_MAX, IMAGES, smaller
from tests.tracker.browser import Chromium, Tab
from tests.tracker.office import Office, at_the_desk, choose

_SIDE_BY_SIDE = """<!doctype html><style>body {{ margin: 0; background: #d8dbe2; display: flex; gap: 12px;
padding: 12px; width: 1536px }} img {{ width: 750px; height: 563px; object-fit: cover; object-position: top left }}
</style><img src="data:image/png;base64,{}"><img src="data:image/png;base64,{}">"""


def main() -> None:
    """Writes the picture; fails where it is too large."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "office").mkdir()
        office = Office(folder / "office")
        try:
            options = ("--window-size=1100,900", "--force-color-profile=srgb")
            with Chromium(folder / "profile", office.tracker(folder / "tracker"), options) as chromium:
                desk, why = pictures(office, chromium, folder)
        finally:
            office.end()
    with sync_playwright() as playwright:
        browser = launched(playwright)
        page = browser.new_page(viewport={"width": 1536, "height": 587})
        page.set_content(_SIDE_BY_SIDE.format(*(base64.b64encode(each).decode() for each in (desk, why))))
        image = smaller(browser, page.screenshot())
        browser.close()
    path = IMAGES / "tracker.webp"
    path.write_bytes(image)
    print(f"{path.name}: {len(image):,} bytes")
    assert len(image) <= BYTES_MAX, f"{path.name} is too large"


def pictures(office: Office, chromium: Chromium, folder: Path) -> tuple[bytes, bytes]:
    """The desk while the agent answers, and Why of the same conversation."""
    tab = at_the_desk(office, chromium)
    conversation = choose(tab, 1)
    time.sleep(6)
    choose(tab, 2)
    time.sleep(4)
    tab.back()
    time.sleep(3)
    answer(tab)
    office.until_told_at_least(conversation, 5)
    time.sleep(4)
    answer(tab)
    time.sleep(1)
    tab.picture(folder / "desk.png")
    tab.click("#resolve")
    office.until_told_at_least(conversation, 7)
    tab.go(f"{office.url}/why?conversation={conversation}")
    tab.until("document.querySelector('#key') !== null")
    tab.click("#key")
    tab.type(office.token)
    tab.evaluate("document.querySelector('#key').form.requestSubmit(); 0")
    tab.until("location.pathname === '/why' && document.querySelector('svg.picture') !== null")
    time.sleep(1)
    tab.picture(folder / "why.png")
    return (folder / "desk.png").read_bytes(), (folder / "why.png").read_bytes()


def answer(tab: Tab) -> None:
    """The agent writes, and sends it."""
    tab.click("textarea")
    tab.type("We will look into it at once.")
    tab.click("#send")
    tab.until("document.querySelector('textarea').value === ''")


if __name__ == "__main__":
    main()
