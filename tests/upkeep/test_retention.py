"""What `--retain` removes, and what it believes of the clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from handletime.clock import DAY as DAY_MS
from handletime.upkeep.check import check
from handletime.upkeep.data_folder import DataFolder
from handletime.upkeep.rebuild import rebuild
from handletime.upkeep.removing import count_older
from handletime.upkeep.retention import ClockReading, Retention, today
from tests.messy_streams import BASE
from tests.segments.tables import events_of
from tests.upkeep.folders import a_data_folder, an_event, eventually

# --- retention


class At:
    """A clock that stands."""

    def __init__(self, moment: int) -> None:
        self.moment = moment

    def now(self) -> int:
        return self.moment


def test_retention_removes_what_is_older_round_by_round(data: DataFolder) -> None:
    clock = At(BASE + 14 * DAY_MS)
    data.store.ingest("local", events_of([an_event(BASE + 16 * DAY_MS)]))
    with Retention(data, 10, clock, first_s=0, every_s=0.05):
        assert eventually(lambda: count_older(data.store, BASE + 4 * DAY_MS) == 0)
        assert count_older(data.store, BASE + 99 * DAY_MS) == 9
        assert data.shelf.find("local", "/file") is None
        clock.moment += 2 * DAY_MS
        assert eventually(lambda: count_older(data.store, BASE + 99 * DAY_MS) == 7)
    assert check(data.store) == []
    assert rebuild(data.store).differences == 0


@pytest.mark.parametrize("ahead", [3, 400, 100_000])
def test_a_clock_that_is_far_ahead_removes_no_more_than_the_newest_event_allows(
    data: DataFolder, ahead: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It removed everything. A client whose clock is a day ahead changes nothing either."""
    newest = BASE + 20 * DAY_MS
    data.store.ingest("local", events_of([an_event(newest)]))
    before = count_older(data.store, BASE + 999 * DAY_MS)
    old = count_older(data.store, newest - 11 * DAY_MS)
    assert 0 < old < before - 1
    doubts: list[bool] = []
    retention = Retention(data, 10, At(newest + ahead * DAY_MS), doubted=doubts.append)
    assert retention.round() == old
    assert retention.round() == 0
    data.side.set_clock(newest, None)
    assert count_older(data.store, BASE + 999 * DAY_MS) == before - old
    assert doubts == [True, True]
    assert f"the clock is {ahead} days ahead of the newest stored event" in caplog.text
    caplog.clear()
    later = count_older(data.store, newest - 10 * DAY_MS)
    assert Retention(data, 10, At(newest + DAY_MS), doubted=doubts.append).round() == later
    assert doubts[2:] == [False]
    assert caplog.text == ""


def test_a_clock_that_is_far_behind_removes_no_more_than_it_says(
    data: DataFolder, caplog: pytest.LogCaptureFixture
) -> None:
    data.store.ingest("local", events_of([an_event(BASE + 400 * DAY_MS)]))
    retention = Retention(data, 10, At(BASE + 14 * DAY_MS))
    assert retention.round() == count_older(data.store, BASE + 4 * DAY_MS) + 4
    assert "386 days behind" in caplog.text


def test_a_clock_that_was_put_on_is_not_believed_for_two_days_whatever_is_sent_meanwhile(
    data: DataFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """One account's event of the wrong year made it look right, and everybody's conversations were removed."""
    clock, doubts, hour = At(BASE + 12 * DAY_MS), list[bool](), DAY_MS // 24
    there = count_older(data.store, BASE + 999 * DAY_MS)
    assert Retention(data, 90, clock).round() == 0
    clock.moment += 400 * DAY_MS
    for _ in range(2 * 24):
        data.store.ingest("other", events_of([an_event(clock.moment)]))
        assert Retention(data, 90, clock, doubted=doubts.append).round() == 0  # a server that is started each hour
        clock.moment += hour
    assert count_older(data.store, clock.moment - DAY_MS) == there
    assert all(doubts)
    assert "nothing is removed for the next 48 hours that the server runs" in caplog.text
    assert "nothing is removed for the next 1 hours that" in caplog.text
    clock.moment -= 402 * DAY_MS
    assert Retention(data, 1, clock).round() == 0
    for _ in range(2 * 24):
        clock.moment += hour
        removed = Retention(data, 1, clock).round()
    assert removed == there


def test_a_server_that_was_off_over_a_weekend_is_late_by_two_days() -> None:
    hour = DAY_MS // 24
    seen = ClockReading(0)
    for hours in (1, 30, 48):
        seen = seen.next(seen.at + hours * hour)
        assert seen.waited is None
    seen = seen.next(seen.at + 62 * hour)
    assert seen.waited == 0
    assert seen.next(seen.at + 47 * hour).waited == 47 * hour
    assert seen.next(seen.at + 48 * hour) == ClockReading(seen.at + 2 * DAY_MS)


@pytest.mark.parametrize(("up", "off"), [(9, 7 * 24 - 9), (1, 71), (8, 88)])
def test_a_server_that_is_seldom_up_removes_something_now_and_then(up: int, off: int) -> None:
    """Each start after more than two days began the two days anew, and nothing was ever removed."""
    hour, seen, believed = DAY_MS // 24, ClockReading(0), 0
    for _ in range(100):
        seen = seen.next(seen.at + off * hour)
        for _ in range(up):
            seen = seen.next(seen.at + hour)
            believed += seen.waited is None
    assert believed > 0


def test_days_are_counted_from_the_clock_or_the_newest_event_whichever_is_earlier() -> None:
    for newest in range(0, 10 * DAY_MS, DAY_MS // 3):
        for now in range(0, 10 * DAY_MS, DAY_MS // 3):
            at, doubt = today(now, newest)
            assert at <= min(now, newest)
            assert bool(doubt) == (abs(now - newest) > 2 * DAY_MS)


def test_an_empty_store_has_nothing_to_remove(tmp_path: Path) -> None:
    with a_data_folder(tmp_path) as data:
        assert Retention(data, 1, At(BASE)).round() == 0
