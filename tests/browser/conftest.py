"""A contact centre to look at, and a real Chromium to look with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.browser.centre import Centre

PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def stopped_centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    """A centre whose server does not run yet."""
    centre = Centre(tmp_path_factory.mktemp("centre"))
    yield centre
    centre.kill()


@pytest.fixture
def centre(stopped_centre: Centre) -> Centre:
    """A centre whose server runs; whoever stops it need not start it again."""
    if stopped_centre.process is None:
        stopped_centre.start()
    return stopped_centre


def launched(playwright: Any) -> Browser:
    """Debian's Chromium; as root it has no sandbox."""
    options = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    browser: Browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
    return browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser. Not for the whole session: it has an event loop, which no other test should find running."""
    with sync_playwright() as playwright:
        browser = launched(playwright)
        yield browser
        browser.close()


class Visitor:
    """One person's browser: an account, a window, and what went wrong in it."""

    def __init__(self, centre: Centre, browser: Browser, **options: Any) -> None:
        self.centre = centre
        wanted = {"viewport": {"width": 1280, "height": 900}, "timezone_id": "Europe/Berlin", "locale": "en-GB"}
        self.context = browser.new_context(**(wanted | options))
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.wrong: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(f"dialog {dialog.message}"))
        self.page.on("request", self._see)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(message.text)

    def _see(self, request: Request) -> None:
        if not request.url.startswith((self.centre.url + "/", "data:", "about:")):
            self.elsewhere.append(request.url)

    def sign_in(self, account: str = "centre", path: str = "/") -> Page:
        """Opens a page, and signs in with the account's key on the way."""
        self.page.goto(self.centre.url + path)
        self.page.get_by_label("Key").fill(self.centre.keys[account].token)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("button", name="Sign out")).to_be_visible()
        return self.page

    def open(self, path: str) -> Page:
        """Opens another page."""
        self.page.goto(self.centre.url + path)
        return self.page


@pytest.fixture
def visitor(centre: Centre, chromium: Browser) -> Iterator[Visitor]:
    """A person with a desktop's browser; nothing may have gone wrong in it, or been asked for elsewhere."""
    visitor = Visitor(centre, chromium)
    yield visitor
    visitor.context.close()
    assert visitor.wrong == []
    assert visitor.elsewhere == []


AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text("utf-8")


def serious_findings(page: Page, rules: Sequence[str] = ()) -> list[str]:
    """What axe-core finds serious or critical, and where; by some of its rules, or all."""
    page.evaluate(AXE)
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found = page.evaluate("options => axe.run(document, options)", options)
    assert found["passes"]
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"][:3]
    ]
