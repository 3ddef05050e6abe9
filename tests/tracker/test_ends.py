"""The focus tracker in browsers that are killed, sleep, or have a wrong clock: what counts is never too much."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.tracker.browser import Chromium, with_clock
from tests.tracker.office import LEASE_MS, NEAR_MS, SPEAKS_MS, Office, at_the_desk, choose, millis, near, shown

pytestmark = pytest.mark.requires_command("chromium")


def test_a_browser_that_is_killed_tells_the_end_when_it_is_back(office: Office, tracker: Path, tmp_path: Path) -> None:
    with Chromium(tmp_path / "profile", tracker) as chromium:
        conversation = choose(at_the_desk(office, chromium), 1)
        office.until_looked(conversation, 1, ended=False)
        time.sleep(SPEAKS_MS / 1000 + 3)  # Until the page has said again what it shows.
        killed = millis()
        chromium.kill()
        time.sleep(3)
        chromium.start()
        ((_, end),) = office.until_looked(conversation, 1)
        assert killed - SPEAKS_MS - NEAR_MS <= end <= killed + NEAR_MS


def test_a_browser_that_never_comes_back_counts_no_longer_than_its_lease(
    office: Office, tracker: Path, tmp_path: Path
) -> None:
    with Chromium(tmp_path / "profile", tracker) as chromium:
        conversation = choose(at_the_desk(office, chromium), 1)
        ((start, _),) = office.until_looked(conversation, 1, ended=False)
        chromium.kill()
    ((_, end),) = office.until_looked(conversation, 1)
    assert end == start + LEASE_MS


def test_a_laptop_that_sleeps_longer_than_its_lease(office: Office, tracker: Path, tmp_path: Path) -> None:
    with Chromium(tmp_path / "profile", tracker) as chromium:
        tab = at_the_desk(office, chromium)
        conversation = choose(tab, 1)
        office.until_looked(conversation, 1, ended=False)
        time.sleep(SPEAKS_MS / 1000 + 3)
        asleep = millis()
        chromium.sleep()
        time.sleep(LEASE_MS / 1000 + 3)
        awake = millis()
        chromium.wake()
        (_, end), (start, _) = office.until_looked(conversation, 2, ended=False)
        assert asleep - SPEAKS_MS - NEAR_MS <= end <= asleep + NEAR_MS
        assert awake - NEAR_MS <= start <= awake + SPEAKS_MS + 3000


def test_a_clock_that_is_ten_minutes_wrong_is_corrected(office: Office, tracker: Path, tmp_path: Path) -> None:
    for name, wrong_ms in (("ahead", 600_000), ("behind", -600_000)):
        wrong = with_clock(tracker, tmp_path / name, wrong_ms)
        with Chromium(tmp_path / f"profile-{name}", wrong) as chromium:
            tab = at_the_desk(office, chromium)
            conversation = choose(tab, 1)
            time.sleep(2)
            choose(tab, 2)
            near(office.until_looked(conversation, 1), shown(tab, conversation), 1000 + NEAR_MS)


def test_of_two_browsers_of_one_agent_the_one_that_spoke_last_has_the_focus(
    office: Office, tracker: Path, tmp_path: Path
) -> None:
    with Chromium(tmp_path / "one", tracker) as one, Chromium(tmp_path / "two", tracker) as two:
        first = choose(at_the_desk(office, one), 1)
        office.until_looked(first, 1, ended=False)
        second = choose(at_the_desk(office, two), 2)
        ((_, end),) = office.until_looked(first, 1)
        ((start, _),) = office.until_looked(second, 1, ended=False)
        assert end == start
