"""The focus tracker in a real Chromium, over a real server, at the stub desk: it tells what was on the screen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.tracker.browser import Chromium, Tab
from tests.tracker.office import LIMIT_S, Office, at_the_desk, choose, millis, near, shown

pytestmark = pytest.mark.requires_command("chromium")


@pytest.fixture(scope="module")
def browser(tracker: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("browser") / "profile", tracker) as chromium:
        yield chromium


@pytest.fixture
def tab(office: Office, browser: Chromium) -> Tab:
    """The desk, with three more conversations, in the only tab."""
    return at_the_desk(office, browser)


def test_views_of_scripted_length_are_units_of_that_length(office: Office, tab: Tab) -> None:
    first = choose(tab, 1)
    time.sleep(3)
    second = choose(tab, 2)
    time.sleep(2)
    tab.back()
    time.sleep(1)
    tab.click(".boxes a")  # The inbox, without a conversation.
    tab.until("!location.pathname.includes('conversations')")
    office.until_looked(first, 2)
    near(office.units(first), shown(tab, first))
    near(office.units(second), shown(tab, second))
    assert 3000 <= shown(tab, first)[0][1] - shown(tab, first)[0][0] < 5000


def test_an_answer_ends_a_unit_and_why_says_so(office: Office, tab: Tab) -> None:
    conversation = choose(tab, 1)
    time.sleep(1)
    tab.click("textarea")
    tab.type("Marmalade")
    tab.click("#send")
    office.until_told_at_least(conversation, 4)
    tab.click("#resolve")
    office.until_told_at_least(conversation, 5)
    (segment,) = office.explained(conversation)["agentSegments"]
    first = segment["handleTimeUnits"][0]
    assert (first["startReason"], first["endReason"]) == ("conversationEntered", "agentResponse")
    assert segment["totalHandleTimeMillis"] > 500


def test_a_tab_over_it_and_a_minimised_window_end_it(office: Office, browser: Chromium, tab: Tab) -> None:
    conversation = choose(tab, 1)
    time.sleep(1)
    other = browser.tab()
    time.sleep(1)
    tab.activate()
    time.sleep(1)
    tab.minimise()
    office.until_looked(conversation, 2)
    tab.restore()
    time.sleep(1)
    other.activate()
    near(office.until_looked(conversation, 3), shown(tab, conversation))


def test_a_window_beside_it_that_is_no_desk_takes_nothing(office: Office, browser: Chromium, tab: Tab) -> None:
    conversation = choose(tab, 1)
    browser.tab(window=True)
    time.sleep(2)
    assert len(office.until_looked(conversation, 1, ended=False)) == 1
    browser.turn_away()
    time.sleep(1)
    office.until_looked(conversation, 1, ended=False)


def test_of_two_windows_the_one_with_the_keyboard_has_the_focus(office: Office, browser: Chromium, tab: Tab) -> None:
    first = choose(tab, 1)
    second = tab.evaluate("document.querySelector('#list a:nth-child(2)').pathname.split('/').pop()")
    time.sleep(1)
    window = browser.tab(f"{office.address}/app/accounts/1/conversations/{second}", window=True)
    office.until_looked(first, 1)
    office.until_looked(second, 1, ended=False)
    tab.activate()
    office.until_looked(second, 1)
    office.until_looked(first, 2, ended=False)
    window.close()
    time.sleep(0.5)
    office.until_looked(first, 2, ended=False)


def test_a_conversation_that_is_popped_out_goes_on_there(office: Office, browser: Chromium, tab: Tab) -> None:
    conversation = choose(tab, 1)
    time.sleep(1)
    window = browser.popped_out(lambda: tab.click("#pop"))
    choose(tab, 2)
    window.activate()
    office.until_looked(conversation, 2, ended=False)
    window.close()
    office.until_looked(conversation, 2)


def test_a_page_that_is_loaded_again_goes_on(office: Office, tab: Tab) -> None:
    conversation = choose(tab, 1)
    time.sleep(1)
    tab.reload()
    time.sleep(1)
    found = office.looks(conversation)
    gaps = [after[0] - (before[1] or 0) for before, after in pairwise(found)]
    assert found[-1][1] is None
    assert sum(gaps) < 3000


def test_who_is_away_looks_at_nothing_until_back(office: Office, browser: Chromium, tab: Tab) -> None:
    conversation = choose(tab, 1)
    time.sleep(1)
    away = millis()
    browser.become("idle")
    office.until_looked(conversation, 1)
    time.sleep(1)
    back = millis()
    browser.become("active")
    (_, end), (start, _) = office.until_looked(conversation, 2, ended=False)
    assert abs(end - away) < 1000
    assert abs(start - back) < 1000


def test_a_worker_that_is_killed_loses_nothing(office: Office, browser: Chromium, tab: Tab) -> None:
    conversation = choose(tab, 1)
    office.until_looked(conversation, 1, ended=False)
    browser.kill_worker()
    time.sleep(2)
    choose(tab, 2)
    near(office.until_looked(conversation, 1), shown(tab, conversation))


def test_while_the_server_is_away_nothing_is_lost_and_all_comes_once(office: Office, tab: Tab) -> None:
    first = choose(tab, 1)
    office.until_looked(first, 1, ended=False)
    office.server.kill()
    office.server.wait(LIMIT_S)
    second = choose(tab, 2)
    time.sleep(2)
    choose(tab, 1)
    time.sleep(1)
    choose(tab, 3)
    time.sleep(1)
    office.server = office.begin()
    deadline = time.monotonic() + 75
    while len(office.looks(first)) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    near(office.until_looked(first, 2), shown(tab, first))
    near(office.until_looked(second, 1), shown(tab, second))


def test_a_pause_ends_it_and_notes_nothing(office: Office, browser: Chromium, tab: Tab) -> None:
    conversation = choose(tab, 1)
    office.until_looked(conversation, 1, ended=False)
    browser.in_worker("chrome.action.onClicked.dispatch({})")
    office.until_looked(conversation, 1)
    second = choose(tab, 2)
    time.sleep(1)
    browser.in_worker("chrome.action.onClicked.dispatch({})")
    choose(tab, 3)
    time.sleep(1)
    assert office.looks(second) == [] or office.looks(second)[0][0] > shown(tab, second)[0][0] + 900
