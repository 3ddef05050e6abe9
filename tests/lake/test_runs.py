"""New runs: seen without a restart, never mixed, and what an earlier one listed can still be fetched."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import httpx
import pyarrow as pa

from handletime.lake.tables import vacuum
from tests.crash.nursery import Nursery
from tests.lake.conftest import DAY, Places, Site, centre, lake_server, segments, window
from tests.lake.maker import write_run
from tests.segments.tables import events_of

SEEN_S = 30.0
"""So long a test waits for a new run to be served; it takes about a second."""


def listed(site: Site, places: Places) -> list[str]:
    """The files of the breakdown."""
    answer = site.get(f"/api/account/north/agent-segments/breakdown?source=test&{window(places)}", "north")
    paths: list[str] = answer.json()["files"]
    return paths


def fetched(site: Site, path: str) -> httpx.Response:
    return site.get(f"/api/account/north/agent-segments/files?source=test&path={path}", "north")


def wait_for(site: Site, places: Places, count: int) -> None:
    """Until the run with so many segments is served."""
    deadline = time.monotonic() + SEEN_S
    while segments(site, places)[0] != count:
        assert time.monotonic() < deadline, "the new run is not served"
        time.sleep(0.05)


def test_a_new_run_is_served_without_a_restart(small: Places, nursery: Nursery) -> None:
    with lake_server(nursery, small, small.folder / "one") as site:
        assert segments(site, small) == (5, ["run1"] * 5)
        events = [*centre(small.now, 4, "run2"), *centre(small.now, 2, "run1", days_ago=2)]
        write_run(small.lake, events_of(events), small.now - 50_000)
        wait_for(site, small, 6)
        assert site.get("/metrics", "north").text.count("handletime_lake_run 2.0") == 1


def test_a_file_keeps_its_path_until_its_day_changes(small: Places, nursery: Nursery) -> None:
    with lake_server(nursery, small, small.folder / "one") as site:
        before = listed(site, small)
        contents = [fetched(site, path).content for path in before]
        assert len(before) == 2
        events = [*centre(small.now, 4, "run2"), *centre(small.now, 2, "run1", days_ago=2)]
        write_run(small.lake, events_of(events), small.now - 50_000)
        wait_for(site, small, 6)
        after = listed(site, small)
        assert after[0] == before[0], "the day before yesterday is as it was"
        assert after[1] != before[1]
        assert str(small.now - 50_000) in after[1]
        # What was listed before still comes, byte by byte, from a server that never saw that run too.
        with lake_server(nursery, small, small.folder / "two") as other:
            for server in (site, other):
                assert [fetched(server, path).content for path in before] == contents
            assert [fetched(other, path).content for path in after] == [fetched(site, path).content for path in after]
        # A path that was never listed: the day before yesterday was not written by the second run.
        assert fetched(site, before[0].replace(str(small.now - 100_000), str(small.now - 50_000))).status_code == 404
        assert fetched(site, after[1].replace("00000.json", "00001.json")).status_code == 404
        vacuum(small.lake, keep_hours=0)
        assert [fetched(site, path).status_code for path in (*after, before[1])] == [200, 200, 404]


def test_a_file_that_names_a_removed_conversation_is_gone(small: Places, nursery: Nursery) -> None:
    with lake_server(nursery, small, small.folder / "one") as site:
        before = listed(site, small)
        assert fetched(site, before[1]).status_code == 200
        events = [*centre(small.now, 2, "run2"), *centre(small.now, 2, "run1", days_ago=2)]
        write_run(small.lake, events_of(events), small.now - 50_000)
        wait_for(site, small, 4)
        assert [fetched(site, path).status_code for path in before] == [200, 404]


def test_two_servers_answer_byte_by_byte_alike(places: Places, lake_site: Site, nursery: Nursery) -> None:
    start, end = places.now - 3 * DAY, places.now
    asked = (
        f"/api/account/north/agent-segments/breakdown?source=test&from={start}&to={end}",
        f"/api/account/north/agent-segments?source=test&from={start}&to={end}&format=csv&limit=500",
        f"/operations/api/account/north/msgagentsegments?v=1&timeframe=4000&to={end}&interval=day&skillIds=all",
        f"/operations/api/account/north/msgskillsegments?v=1&timeframe=4000&to={end}&interval=hour",
    )
    with lake_server(nursery, places, places.folder / "two", "--events", places.exported) as other:
        for path in asked:
            assert other.get(path, "north").content == lake_site.get(path, "north").content
        for path in lake_site.get(asked[0], "north").json()["files"]:
            assert fetched(other, path).content == fetched(lake_site, path).content


def runs_to_come(now: int) -> Iterator[pa.Table]:
    """Runs that each change every row: so many segments as six times the run's number, with its name."""
    for number in range(2, 14):
        yield events_of(centre(now, 6 * (1 + number % 5), f"run{number}"))


def test_no_answer_mixes_two_runs(small: Places, nursery: Nursery) -> None:
    """Answers are asked for all the while runs come: each is of one run, and no older than the one before it."""
    mixed: list[object] = []
    seen: set[str] = set()
    done = threading.Event()
    allowed = {"run1": 5, **{f"run{number}": 6 * (1 + number % 5) for number in range(2, 14)}}

    def ask(site: Site) -> None:
        last = 0
        while not done.is_set():
            count, employees = segments(site, small)
            names = {*employees}
            if len(names) != 1 or count != len(employees) or allowed[employees[0]] != count:
                mixed.append((count, names))
                return
            number = int(employees[0].removeprefix("run"))
            if number < last:
                mixed.append((number, last))
            last = number
            seen.add(employees[0])

    with lake_server(nursery, small, small.folder / "one") as site:
        askers = [threading.Thread(target=ask, args=(site,)) for _ in range(3)]
        for asker in askers:
            asker.start()
        try:
            for number, events in enumerate(runs_to_come(small.now), 2):
                write_run(small.lake, events, small.now - 50_000 + number)
                time.sleep(0.3)
            deadline = time.monotonic() + SEEN_S
            while "run13" not in seen and not mixed and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            done.set()
            for asker in askers:
                asker.join(60)
    assert mixed == []
    assert {"run1", "run13"} <= seen
    assert len(seen) > 3
