"""The stub desk of the demo: real Chromium, real server."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.tracker.browser import Chromium, Tab
from tests.tracker.office import LIMIT_S, SCRIPT, Office, choose


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("desk") / "profile") as chromium:
        yield chromium


@pytest.fixture
def tab(office: Office, chromium: Chromium) -> Tab:
    """The desk with three more conversations."""
    tab = chromium.tab(f"{office.address}/app/accounts/1/dashboard")
    shown = tab.until("document.querySelectorAll('#list a').length")
    tab.click("#more")
    tab.until(f"document.querySelectorAll('#list a').length === {shown + 3}")
    return tab


pytestmark = pytest.mark.requires_command("chromium")
NEW = ["opened", "message", "assigned"]


def test_what_an_agent_does_becomes_events_without_texts(office: Office, tab: Tab) -> None:
    conversation = choose(tab, 1)
    office.until_told(conversation, NEW)
    tab.click("textarea")
    tab.type("Marmalade")
    tab.click("#send")
    office.until_told(conversation, [*NEW, "message", "message"])  # the agent's, and the consumer's who writes again
    tab.until("document.querySelectorAll('#messages li').length === 3")
    assert "Marmalade" in tab.evaluate("document.getElementById('messages').innerText")
    tab.click("#resolve")
    office.until_told(conversation, [*NEW, "message", "message", "closed"])
    told = office.explained(conversation)
    assert "Marmalade" not in str(told)
    (segment,) = told["agentSegments"]
    assert segment["agentId"] == 1001
    assert tab.until("document.getElementById('why').href") == f"{office.url}/why?conversation={conversation}"


def test_its_addresses_change_without_loading_and_survive_back_and_reload(office: Office, tab: Tab) -> None:
    began = tab.evaluate("performance.timeOrigin")
    first, second = choose(tab, 1), choose(tab, 2)
    tab.click(".boxes a:nth-child(2)")
    third = choose(tab, 3)
    assert tab.evaluate("location.pathname") == f"/app/accounts/1/inbox/3/conversations/{third}"
    assert tab.evaluate("performance.timeOrigin") == began
    tab.back()
    tab.back()
    assert tab.evaluate("location.pathname") == f"/app/accounts/1/conversations/{second}"
    subject = tab.evaluate("document.querySelector('h1').innerText")
    tab.reload()
    assert tab.until("document.querySelector('h1').innerText") == subject
    assert len({first, second, third}) == 3
    assert office.address == tab.evaluate("location.origin")


def test_a_conversation_pops_out_into_a_window(chromium: Chromium, tab: Tab) -> None:
    conversation = choose(tab, 1)
    window = chromium.popped_out(lambda: tab.click("#pop"))
    assert window.evaluate("location.pathname").endswith(f"/conversations/{conversation}")
    assert [window.evaluate("document.hasFocus()"), tab.evaluate("document.hasFocus()")] == [True, False]
    window.close()


def test_what_happens_while_the_server_is_away_is_told_later_and_once(office: Office, tab: Tab) -> None:
    conversation = choose(tab, 1)
    office.until_told(conversation, NEW)
    office.server.kill()
    office.server.wait(LIMIT_S)
    tab.click("#resolve")
    said = tab.until("!document.getElementById('trouble').hidden && document.getElementById('trouble').innerText")
    assert re.match(r"Not told yet: 1 events\. http.* cannot be reached", said)
    office.server = office.begin()
    office.until_told(conversation, [*NEW, "closed"])
    tab.until("document.getElementById('trouble').hidden")


def test_a_key_that_does_not_do_is_told(office: Office) -> None:
    arguments = ["--server", office.url, "--account", "acme", "--token", "ht_nonsense"]
    desk = subprocess.Popen(
        [sys.executable, SCRIPT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert desk.stdout
    address = desk.stdout.readline().split()[-1]
    httpx.get(f"{address}/app/accounts/1/dashboard").raise_for_status()
    deadline = time.monotonic() + LIMIT_S
    while not (trouble := httpx.get(f"{address}/desk/state").json()["trouble"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "answers 401" in trouble
    desk.terminate()
    _, said = desk.communicate(timeout=LIMIT_S)
    assert desk.returncode == 0
    assert "9 events of the desk did not reach" in said


def test_no_other_site_acts_for_the_agent(office: Office) -> None:
    for headers in ({"Host": "desk.example.com"}, {"Content-Type": "text/plain"}):
        sent = {"Content-Type": "application/json", **headers}
        assert httpx.post(f"{office.address}/desk/more", content="{}", headers=sent).status_code == 403
    for body in ("[]", "nonsense", '{"conversation": 1}'):
        sent = {"Content-Type": "application/json"}
        assert httpx.post(f"{office.address}/desk/resolve", content=body, headers=sent).status_code == 400
