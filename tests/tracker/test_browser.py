"""What Debian's Chromium does in headless mode when a person turns from page to page, shown on a small extension."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.tracker.browser import Chromium, ProtocolError, Tab, with_clock

pytestmark = pytest.mark.requires_command("chromium")

MANIFEST = {
    "manifest_version": 3,
    "name": "probe",
    "version": "1",
    "background": {"service_worker": "worker.js"},
    "permissions": ["idle", "storage"],
    "host_permissions": ["http://127.0.0.1/*"],
    "content_scripts": [{"matches": ["http://127.0.0.1/*"], "js": ["page.js"], "run_at": "document_start"}],
}
WORKER = """
globalThis.born = performance.timeOrigin; globalThis.heard = []; globalThis.idle = [];
chrome.runtime.onMessage.addListener(told => { heard.push(told) });
chrome.idle.onStateChanged.addListener(state => { idle.push(state) });
"""
PAGE = """
const tell = what => chrome.runtime.sendMessage(
  [location.pathname, what, document.visibilityState, document.hasFocus(), Date.now()]).catch(() => 0);
document.addEventListener("visibilitychange", () => tell("visibilitychange"));
for (const name of ["focus", "blur", "pagehide", "pageshow"]) addEventListener(name, () => tell(name));
navigation.addEventListener("currententrychange", () => tell("navigation"));
"""
Heard = list[tuple[str, str, str, bool]]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(
            b"<!doctype html><title>probe</title><button onclick=\"open('/out', '', 'popup')\">out</button>"
        )

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Any address of it is a page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extension")
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    (folder / "worker.js").write_text(WORKER)
    (folder / "page.js").write_text(PAGE)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, extension: Path) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("browser") / "profile", extension) as chromium:
        yield chromium


@pytest.fixture
def chromium(browser: Chromium) -> Chromium:
    """The module's browser, with one empty tab in one window, whatever happened before."""
    first = browser.tab(window=True)
    for tab in browser.tabs():
        if tab.id != first.id:
            tab.close()
    first.activate()
    browser.in_worker("heard.length = 0")
    return browser


def only_tab(chromium: Chromium) -> Tab:
    (tab,) = chromium.tabs()
    return tab


def heard(chromium: Chromium, *wanted: tuple[str, str, str, bool]) -> None:
    """Waits until the pages have told what is wanted, and nothing else."""

    def found() -> Heard:
        return [(path, what, visible, focus) for path, what, visible, focus, _ in chromium.in_worker("heard")]

    deadline = time.monotonic() + 5
    while by_page(found()) != by_page(wanted) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.1)  # And nothing more.
    assert by_page(found()) == by_page(wanted)
    chromium.in_worker("heard.length = 0")


def by_page(told: Sequence[tuple[str, str, str, bool]]) -> dict[str, tuple[list[str], str, bool]]:
    """What happened to each page, and whether it was visible and had the focus in the end.

    In which order sight and focus come is left to the browser, and whether a page has the focus when it is shown or
    hears of it: under load these differ.
    """
    pages: dict[str, tuple[list[str], str, bool]] = {}
    for path in {each[0] for each in told}:
        here = [each for each in told if each[0] == path]
        names = [name for _, name, _, _ in here]
        shown = "pageshow" in names
        pages[path] = (sorted(name for name in names if name != "focus" or not shown), *here[-1][2:])
    return pages


def test_a_page_that_is_opened_has_the_focus(chromium: Chromium, site: str) -> None:
    only_tab(chromium).go(f"{site}/a")
    heard(chromium, ("/a", "pageshow", "visible", True))


def test_a_tab_over_another_takes_focus_and_sight(chromium: Chromium, site: str) -> None:
    first = only_tab(chromium)
    first.go(f"{site}/a")
    chromium.tab(f"{site}/b")
    heard(
        chromium,
        ("/a", "pageshow", "visible", True),
        ("/a", "blur", "visible", False),
        ("/a", "visibilitychange", "hidden", False),
        ("/b", "pageshow", "visible", True),
    )
    first.activate()
    heard(
        chromium,
        ("/b", "blur", "visible", False),
        ("/b", "visibilitychange", "hidden", False),
        ("/a", "visibilitychange", "visible", False),
        ("/a", "focus", "visible", True),
    )


def test_a_tab_in_the_background_has_neither(chromium: Chromium, site: str) -> None:
    chromium.tab(f"{site}/b", background=True)
    heard(chromium, ("/b", "pageshow", "hidden", False))


def test_a_minimised_window_is_hidden(chromium: Chromium, site: str) -> None:
    tab = only_tab(chromium)
    tab.go(f"{site}/a")
    tab.minimise()
    heard(
        chromium,
        ("/a", "pageshow", "visible", True),
        ("/a", "blur", "visible", False),
        ("/a", "visibilitychange", "hidden", False),
    )
    tab.restore()
    heard(chromium, ("/a", "visibilitychange", "visible", False), ("/a", "focus", "visible", True))


def test_another_window_takes_the_focus_and_hides_nothing(chromium: Chromium, site: str) -> None:
    first = only_tab(chromium)
    first.go(f"{site}/a")
    second = chromium.tab(f"{site}/b", window=True)
    heard(
        chromium,
        ("/a", "pageshow", "visible", True),
        ("/a", "blur", "visible", False),
        ("/b", "pageshow", "visible", True),
    )
    assert [tab.evaluate("document.hasFocus()") for tab in (first, second)] == [False, True]
    first.activate()
    heard(chromium, ("/b", "blur", "visible", False), ("/a", "focus", "visible", True))
    chromium.turn_away()
    heard(chromium, ("/a", "blur", "visible", False))


def test_without_a_window_manager_two_windows_have_the_focus(chromium: Chromium, site: str) -> None:
    first = only_tab(chromium)
    first.go(f"{site}/a")
    chromium.call("Target.createTarget", {"url": f"{site}/b", "newWindow": True})
    heard(chromium, ("/a", "pageshow", "visible", True), ("/b", "pageshow", "visible", True))
    assert first.evaluate("document.hasFocus()")


def test_pop_out_gets_the_focus(chromium: Chromium, site: str) -> None:
    first = only_tab(chromium)
    first.go(f"{site}/a")
    out = chromium.popped_out(lambda: first.click("button"))
    assert out.evaluate("[location.pathname, document.hasFocus()]") == ["/out", True]
    assert first.evaluate("[document.visibilityState, document.hasFocus()]") == ["visible", False]
    chromium.in_worker("heard.length = 0")
    out.close()
    heard(chromium, ("/out", "pagehide", "visible", True), ("/out", "visibilitychange", "hidden", True))


def test_moves_inside_a_page_back_and_reload(chromium: Chromium, site: str) -> None:
    tab = only_tab(chromium)
    tab.go(f"{site}/a")
    tab.evaluate("history.pushState(null, '', '/a/2')")
    tab.back()
    heard(
        chromium,
        ("/a", "pageshow", "visible", True),
        ("/a/2", "navigation", "visible", True),
        ("/a", "navigation", "visible", True),
    )
    tab.reload()
    heard(
        chromium,
        ("/a", "pagehide", "visible", True),
        ("/a", "visibilitychange", "hidden", True),
        ("/a", "pageshow", "visible", True),
    )


def test_a_killed_worker_begins_anew_with_the_next_message(chromium: Chromium, site: str) -> None:
    tab = only_tab(chromium)
    tab.go(f"{site}/a")
    born = chromium.in_worker("born")
    chromium.kill_worker()
    assert not chromium.worker_runs()
    tab.evaluate("history.pushState(null, '', '/a/2')")
    heard(chromium, ("/a/2", "navigation", "visible", True))
    assert chromium.in_worker("born") > born


def test_a_worker_without_a_network(chromium: Chromium, site: str) -> None:
    fetched = f"fetch('{site}/fetched').then(answer => answer.status, error => error.name)"
    with chromium.offline():
        assert chromium.in_worker(fetched) == "TypeError"
        assert only_tab(chromium).evaluate("navigator.onLine")
    assert chromium.in_worker(fetched) == 200


def test_nobody_is_idle_but_who_is_said_to_be(chromium: Chromium) -> None:
    only_tab(chromium).call("Emulation.setIdleOverride", {"isUserActive": False, "isScreenUnlocked": False})
    assert chromium.in_worker("chrome.idle.queryState(15)") == "active"
    only_tab(chromium).call("Emulation.clearIdleOverride")
    chromium.become("idle")
    chromium.become("locked")
    assert chromium.in_worker("idle") == ["idle", "locked"]
    assert chromium.in_worker("chrome.idle.queryState(15)") == "locked"


def test_asleep_nothing_moves_and_awake_all_goes_on(chromium: Chromium, site: str) -> None:
    tab = only_tab(chromium)
    tab.go(f"{site}/a")
    tab.evaluate("globalThis.ticks = 0; globalThis.ticking = setInterval(() => ticks++, 10); 0")
    tab.until("ticks > 5")
    before = tab.evaluate("ticks")
    chromium.sleep()
    used = chromium.cpu_seconds()
    time.sleep(1)
    assert chromium.cpu_seconds() == used > 0
    chromium.wake()
    assert tab.evaluate("ticks") < before + 60
    tab.until(f"ticks > {before + 60}")


def test_a_killed_browser_comes_back_with_what_its_extension_kept(tmp_path: Path, extension: Path) -> None:
    with Chromium(tmp_path / "profile", extension) as chromium:
        name = chromium.extension_id()
        chromium.in_worker("chrome.storage.local.set({kept: 7})")
        processes = chromium.processes()
        assert len(processes) > 3
        time.sleep(0.5)  # What is stored is on its way to the disk.
        chromium.kill()
        assert not any(Path(f"/proc/{pid}/exe").exists() for pid in processes)
        chromium.start()
        assert chromium.extension_id() == name
        assert chromium.in_worker("chrome.storage.local.get('kept')") == {"kept": 7}
        chromium.quit()


def test_a_clock_that_is_ten_minutes_ahead(tmp_path: Path, extension: Path, site: str) -> None:
    ahead = with_clock(extension, tmp_path / "ahead", 600_000)
    with Chromium(tmp_path / "profile", ahead) as chromium:
        only_tab(chromium).go(f"{site}/a")
        chromium.until(lambda: chromium.in_worker("heard.length"), "a message")
        now = time.time() * 1000
        for time_ms in chromium.in_worker("[heard[0][4], Date.now(), +new Date(), new Date().valueOf()]"):
            assert abs(time_ms - now - 600_000) < 30_000
        assert chromium.in_worker("[+new Date(5), new Date() instanceof Date]") == [5, True]


def test_what_the_browser_refuses_is_an_error(chromium: Chromium) -> None:
    with pytest.raises(ProtocolError, match=r"Target\.nonsense: "):
        chromium.call("Target.nonsense")
    with pytest.raises(ProtocolError, match="ReferenceError"):
        only_tab(chromium).evaluate("nonsense")
