"""A session ends when nobody uses it any more, also where a page of it is open and keeps itself up to date.

Covers: clock.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from handletime.clock import SystemClock
from handletime.web.sessions import IDLE_MS, SESSIONS
from tests.crash.nursery import Nursery
from tests.signed_in import Site, signed_in

LIMIT_S = 60.0
HTML = {"Accept": "text/html"}


@pytest.fixture
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with signed_in(nursery, tmp_path_factory.mktemp("site") / "store") as site:
        yield site


def used(site: Site) -> int:
    """When the session was used last, in epoch milliseconds."""
    with closing(sqlite3.connect(site.folder / SESSIONS)) as db:
        return int(db.execute("select used from sessions").fetchone()[0])


def was_used(site: Site, ago_ms: int) -> int:
    """Says that the session was used so long ago."""
    moment = SystemClock().now() - ago_ms
    with closing(sqlite3.connect(site.folder / SESSIONS, isolation_level=None)) as db:
        db.execute("update sessions set used = ?", (moment,))
    return moment


def first_event(answer: httpx.Response) -> str:
    return next(line for line in answer.iter_lines() if line.startswith("event: "))


def test_what_an_open_page_asks_for_by_itself_is_no_use(site: Site) -> None:
    moment = was_used(site, IDLE_MS // 2)
    for path in ("/now/data?history=yes", "/now/data", "/open/data"):
        assert site.client.get(path, headers={"Accept": "application/json"}).status_code == 200
    with site.client.stream("GET", "/now/events") as answer:
        assert first_event(answer) == "event: fresh"
    assert used(site) == moment
    assert site.client.get("/agents?tz=UTC", headers=HTML).status_code == 200
    assert used(site) > moment


def test_an_open_page_is_told_when_its_idle_session_ends(site: Site) -> None:
    was_used(site, IDLE_MS - 8_000)
    begun = time.monotonic()
    said = []
    with site.client.stream("GET", "/now/events?tz=UTC") as answer:
        for line in answer.iter_lines():
            said += [line] if line.startswith(("event: ", "data: sign")) else []
            assert time.monotonic() - begun < LIMIT_S
    assert said[0] == "event: fresh"
    assert said[-2:] == ["event: ended", "data: sign in again"]
    assert site.client.get("/now/data").status_code == 401
    onward = site.client.get("/agents?tz=UTC", headers=HTML)
    assert onward.status_code == 303
    assert onward.headers["location"].startswith("/sign-in?next=%2Fagents%3Ftz%3DUTC")
