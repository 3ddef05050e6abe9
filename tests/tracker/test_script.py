"""The script for Chatwoot's pages, in a page of its own, with and without the page's origin in `focus-origins`.

No extension takes part.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from handletime.keys import keys
from handletime.keys.sidefile import SideFile
from tests.crash.nursery import shared
from tests.tracker.browser import Chromium, Tab
from tests.tracker.office import until

pytestmark = pytest.mark.requires_command("chromium")


class Handler(BaseHTTPRequestHandler):
    """Any address is the same page, which has the script in it."""

    script = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>desk</title><p>A desk.</p>" + self.script)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def a_desk() -> Iterator[tuple[str, type[Handler]]]:
    """Its address, and what answers there."""

    class Page(Handler):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", Page
        server.shutdown()
        thread.join()


class Centre:
    """A server, and what it knows of the focus of agent 7 on conversation 1."""

    def __init__(self, folder: Path, *options: str) -> None:
        store = folder / "store"
        store.mkdir()
        with SideFile(store) as side:
            self.key = keys.create(side, "acme", ["focus"], agent=7).token
            self.token = keys.create(side, "acme", ["ingest", *keys.READING]).token
        self.server = shared().start(folder / "server", "serve", "--data", store, "--port", "0", *options)
        url = self.server.address()
        assert url is not None, self.server.log.read_text()
        self.url = url

    def moves(self) -> list[str]:
        """What the server was told of conversation 1, in order."""
        address = f"{self.url}/api/account/acme/conversations/1/explain"
        answer = httpx.get(address, headers={"Authorization": f"Bearer {self.token}"})
        return [moment["type"] for moment in answer.json()["moments"]] if answer.is_success else []

    def until_told(self, *wanted: str) -> None:
        def are_told(found: list[str]) -> bool:
            return [each for each in found if each in ("focused", "unfocused")] == list(wanted)

        until(self.moves, are_told)


def with_script(centre: Centre, page: type[Handler], url: str, folder: Path) -> None:
    given = ("--server", centre.url, "--account", "acme", "--desk", f"chatwoot={url}", "--out", folder / "built")
    built = shared().done("tracker", "build", *given)
    assert built.returncode == 0, built.stderr
    page.script = (folder / "built" / "dashboard-script.html").read_bytes()


def entered(tab: Tab, url: str, key: str) -> None:
    """Opens conversation 1, with the key that the agent has entered before."""
    tab.go(f"{url}/app/accounts/1/dashboard")
    tab.evaluate(f"localStorage.setItem('handletime-focus-key', '{key}')")
    tab.go(f"{url}/app/accounts/1/conversations/1")


def test_a_page_of_a_listed_origin_tells_its_agents_focus(tmp_path: Path) -> None:
    with a_desk() as (url, page):
        centre = Centre(tmp_path, "--focus-origins", url)
        with_script(centre, page, url, tmp_path)
        with Chromium(tmp_path / "profile") as chromium:
            tab = chromium.tabs()[0]
            entered(tab, url, centre.key)
            centre.until_told("focused")
            tab.evaluate("history.pushState(null, '', '/app/accounts/1/dashboard'); 0")
            centre.until_told("focused", "unfocused")
            tab.back()
            centre.until_told("focused", "unfocused", "focused")
            tab.go("about:blank")
            centre.until_told("focused", "unfocused", "focused", "unfocused")
        centre.server.kill()


def test_a_page_of_another_origin_counts_nothing(tmp_path: Path) -> None:
    with a_desk() as (url, page):
        centre = Centre(tmp_path, "--focus-origins", "https://chat.example.com")
        with_script(centre, page, url, tmp_path)
        with Chromium(tmp_path / "profile") as chromium:
            tab = chromium.tabs()[0]
            entered(tab, url, centre.key)
            read = f"fetch('{centre.url}/api/account/acme/focus', {{method: 'POST', body: '[]'}})"
            assert tab.evaluate(f"{read}.then(() => 'read', error => error.name)") == "TypeError"
            time.sleep(3)
            assert centre.moves() == []
        centre.server.kill()
