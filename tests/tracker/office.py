"""A contact centre of one agent: a handletime server, the stub desk, and what the server makes of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

from handletime.keys import keys
from handletime.keys.sidefile import SideFile
from tests.crash.nursery import Child, shared
from tests.tracker.browser import Chromium, Tab

SCRIPT = Path(__file__).parents[2] / "scripts" / "desk.py"
LIMIT_S = 60
AGENT = 1001
NEAR_MS: Final = 300
"""How far a unit may be from what was on the screen."""
SPEAKS_MS: Final = 10_000
"""A page says at least every so often what it shows."""
LEASE_MS: Final = 45_000
Stretch = tuple[int, int]
T = TypeVar("T")
_WATCH: Final = """
globalThis.seen = [];
(() => {
  let was = "";
  const look = () => {
    const here = location.pathname.match(/conversations\\/(\\d+)/)?.[1];
    const now = (document.visibilityState === "visible" && here) || "";
    if (now !== was) { was = now; seen.push([now, Date.now()]) }
  };
  document.addEventListener("visibilitychange", look);
  navigation.addEventListener("currententrychange", look);
  look();
})();
"""
"""Notes in the page, beside the tracker, from when on it shows which conversation."""
FOCUS = ("focused", "unfocused", "focusLost", "leaseEnded")


class Office:
    """A handletime server, a stub desk that tells it what happens, and who asks the server."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.port = folder, folder / "store", "0"
        self.data.mkdir()
        with SideFile(self.data) as side:
            self.token = keys.create(side, "acme", ("ingest", *keys.READING)).token
            self.focus_key = keys.create(side, "acme", ["focus"], agent=AGENT).token
        self.server = self.begin()
        arguments = [
            "--server",
            self.url,
            "--account",
            "acme",
            "--agent",
            str(AGENT),
            "--token",
            self.token,
            "--pause",
            "1",
        ]
        self.desk = subprocess.Popen([sys.executable, SCRIPT, *arguments], stdout=subprocess.PIPE, text=True)
        assert self.desk.stdout
        self.address = self.desk.stdout.readline().split()[-1]

    def begin(self) -> Child:
        """Starts the server, later at the same port."""
        child = shared().start(self.folder / "server", "serve", "--data", self.data, "--port", self.port)
        url = child.address()
        assert url is not None, child.log.read_text()
        self.url, self.port = url, url.rpartition(":")[2]
        return child

    def explained(self, conversation: str) -> dict[str, Any]:
        """What the server makes of a conversation; nothing where it has none."""
        address = f"{self.url}/api/account/acme/conversations/{conversation}/explain"
        answer = httpx.get(address, headers={"Authorization": f"Bearer {self.token}"})
        assert answer.status_code in (200, 404)
        found: dict[str, Any] = answer.json() if answer.is_success else {"moments": []}
        return found

    def events(self, conversation: str) -> list[str]:
        """The types of its events, in order."""
        return [moment["type"] for moment in self.explained(conversation)["moments"]]

    def looks(self, conversation: str) -> list[tuple[int, int | None]]:
        """From when to when the agent looked at a conversation (epoch ms); None where that goes on."""
        found: list[tuple[int, int | None]] = []
        looked = False
        for moment in self.explained(conversation)["moments"]:
            time_ms = _millis(moment["time"])
            if moment.get("agentLooks") and not looked:
                found.append((time_ms, None))
            elif looked and not moment.get("agentLooks"):
                found[-1] = (found[-1][0], time_ms)
            looked = bool(moment.get("agentLooks"))
        now = time.time() * 1000  # A lease ends later, if nothing renews it.
        return [(start, None if end and end > now else end) for start, end in found if start != end]

    def units(self, conversation: str) -> list[tuple[int, int]]:
        """The handle-time units of a conversation (epoch ms)."""
        return [
            (_millis(unit["start"]), _millis(unit["end"]))
            for segment in self.explained(conversation)["agentSegments"]
            for unit in segment["handleTimeUnits"]
        ]

    def until_looked(self, conversation: str, stretches: int, *, ended: bool = True) -> list[tuple[int, int]]:
        """Waits until the agent has looked at a conversation so often, and away again if `ended`; gives from when to
        when, now for what goes on.
        """

        def is_so(found: list[tuple[int, int | None]]) -> bool:
            return len(found) == stretches and (found[-1][1] is not None) == ended

        found = until(lambda: self.looks(conversation), is_so)
        return [(start, millis() if end is None else end) for start, end in found]

    def end(self) -> None:
        """Ends the desk and the server."""
        self.desk.send_signal(signal.SIGINT)
        self.desk.communicate(timeout=LIMIT_S)
        assert self.desk.returncode == 0
        self.server.kill()
        self.server.wait(LIMIT_S)

    def tracker(self, folder: Path, *options: str) -> Path:
        """The tracker for Chromium, built for this desk, server and agent by the command."""
        made = shared().done(
            *("tracker", "build", "--server", self.url, "--account", "acme", "--key", self.focus_key),
            *("--desk", f"chatwoot={self.address}", "--out", folder, *options),
        )
        assert made.returncode == 0, made.stderr
        return folder / "chromium"

    def until_told(self, conversation: str, wanted: list[str]) -> None:
        """Waits until the server has these events of a conversation, and no other."""
        until(lambda: self.events(conversation), lambda found: found == wanted)

    def until_told_at_least(self, conversation: str, number: int) -> None:
        """Waits until the server has so many events of a conversation, besides those of focus."""

        def are_there(found: list[str]) -> bool:
            return len([each for each in found if each not in FOCUS]) >= number

        until(lambda: self.events(conversation), are_there)


def until(look: Callable[[], T], is_so: Callable[[T], bool]) -> T:
    """What `look` gives as soon as it is so."""
    deadline = time.monotonic() + LIMIT_S
    while not is_so(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def _millis(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def choose(tab: Tab, number: int) -> str:
    """Opens a conversation of the list; gives its id."""
    tab.click(f"#list a:nth-child({number})")
    path: str = tab.until("/conversations/.test(location.pathname) && location.pathname")
    return path.rpartition("/")[2]


def at_the_desk(office: Office, browser: Chromium) -> Tab:
    # A browser that has just begun takes some seconds until it knows which settings are managed.
    browser.until(lambda: browser.in_worker("chrome.storage.local.get('outbox')"), "the tracker's worker")
    first = browser.tab(window=True)
    for other in browser.tabs():
        if other.id != first.id:
            other.close()
    first.activate()
    first.call("Page.enable")
    first.call("Page.addScriptToEvaluateOnNewDocument", {"source": _WATCH})
    first.go(f"{office.address}/app/accounts/1/dashboard")
    shown = first.until("document.querySelectorAll('#list a').length")
    first.click("#more")
    first.until(f"document.querySelectorAll('#list a').length === {shown + 3}")
    return first


def shown(tab: Tab, conversation: str) -> list[Stretch]:
    """From when to when a page showed a conversation, by its own notes; now for what goes on."""
    seen = [*tab.evaluate("seen"), ["", tab.evaluate("Date.now()")]]
    return [(start, seen[place + 1][1]) for place, (what, start) in enumerate(seen[:-1]) if what == conversation]


def near(found: list[Stretch], wanted: list[Stretch], by_ms: int = NEAR_MS) -> None:
    """Both begin and end at the same moments, more or less."""
    assert len(found) == len(wanted), (found, wanted)
    for one, other in zip(found, wanted, strict=True):
        assert all(abs(a - b) <= by_ms for a, b in zip(one, other, strict=True)), (found, wanted)


def millis() -> int:
    return round(time.time() * 1000)
