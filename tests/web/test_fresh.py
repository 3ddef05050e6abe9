"""What a page that is open already is sent: only what changed, and an idle one next to nothing.

Covers: web/now, web/streams.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from handletime.answers.clocks import ISO
from handletime.api.limits import ACCOUNT
from handletime.clock import SystemClock
from handletime.errors import TooMany
from handletime.web import now
from handletime.web.fresh import Ticking, history_state, live_state, shown_states
from handletime.web.page import COOKIE
from handletime.web.streams import OF_SESSION, STREAMS_MAX, Streams
from tests.crash.nursery import Nursery
from tests.signed_in import Site, signed_in

MINUTE_S = 60
IDLE_MAX = 10_000
"""Bytes that an idle page may cost in a minute."""
AT = 1_795_000_000_000


def test_a_part_has_not_changed_where_only_time_went_on() -> None:
    def part(at: int, waits: int = 3) -> str:
        told = Ticking(at)
        return f"<p>as of {told.moment(at, ISO)}: {waits} wait, the longest {told.duration(at - AT + 5000)}</p>"

    assert part(AT) != part(AT + 90_000)
    assert live_state(part(AT)) == live_state(part(AT + 90_000))
    assert live_state(part(AT)) != live_state(part(AT, waits=4))
    # Another wait is another one, though it has gone on for as long.
    assert live_state(f"{Ticking(AT).duration(5)}") != live_state(f"{Ticking(AT + 1).duration(5)}")
    # Another moment than now is a text like others.
    assert live_state(f"{Ticking(AT).moment(AT - 1000, ISO)}") != live_state(f"{Ticking(AT).moment(AT - 2000, ISO)}")


def test_figures_have_not_changed_where_only_the_edges_of_the_span_moved() -> None:
    cuts = [AT, AT + 3_600_000, AT + 7_200_000]
    moved = [AT + 60_000, AT + 3_600_000, AT + 7_260_000]
    assert history_state(f"<a href='?from={AT}'>5</a>", cuts) == history_state(
        f"<a href='?from={AT + 60_000}'>5</a>", moved
    )
    assert history_state("5", cuts) != history_state("6", cuts)
    assert history_state("5", cuts) != history_state("5", [AT, AT + 3_500_000, AT + 7_200_000])


@pytest.mark.parametrize("text", ["", ".", "x", "a" * 17 + ".", "a.b.c", "a.b\n\nevent: ended", "é.", "0" * 16])
def test_what_no_page_can_show_is_nothing(text: str) -> None:
    assert shown_states(text) == ("", "")


def bring(site: Site, conversation: str) -> None:
    """A consumer more waits."""
    site.bring({"conversationId": conversation, "eventId": "1", "time": SystemClock().now(), "type": "opened"})


def shown(site: Site) -> str:
    """What the page shows as it is opened."""
    page = site.client.get("/?tz=Europe/Berlin", headers={"Accept": "text/html"}).text
    states = re.findall(r'data-state="([0-9a-f]{16})"', page)
    assert len(states) == 2
    return ".".join(states)


@pytest.fixture(scope="module")
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with signed_in(nursery, tmp_path_factory.mktemp("site") / "store", "Europe/Berlin") as site:
        for number in range(60):
            bring(site, f"c{number}")
        yield site


def told(site: Site, seconds: float, known: str, **headers: str) -> tuple[list[dict[str, Any]], int]:
    """What a page is sent within so many seconds, and its bytes as they were sent, uncompressed."""
    found, size = [], 0
    named = {"Accept-Encoding": "identity", **{name.replace("_", "-"): value for name, value in headers.items()}}
    ends = time.monotonic() + seconds
    with site.client.stream("GET", f"/now/events?tz=Europe/Berlin&known={known}", headers=named) as answer:
        for line in answer.iter_lines():
            size += len(line) + 2
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
                if time.monotonic() + 5 > ends:
                    break
    return found, size


def test_an_idle_page_costs_next_to_nothing(site: Site) -> None:
    known = shown(site)
    begun = time.monotonic()
    found, size = told(site, 11, known)
    seconds = time.monotonic() - begun
    assert len(found) >= 3
    assert all(set(each) == {"at", "now"} for each in found)
    assert len({each["at"] for each in found}) == len(found)
    assert size / seconds * MINUTE_S < IDLE_MAX // 2
    for how in ("", "&history=yes"):
        answer = site.client.get(f"/now/data?tz=Europe/Berlin&known={known}{how}")
        assert len(answer.content) * MINUTE_S / 5 < IDLE_MAX // 2
        assert set(answer.json()) == {"at", "now"}


def test_what_changed_is_sent_once(site: Site) -> None:
    known = shown(site)
    bring(site, "one more")
    time.sleep(2.1)  # So old may be what the server looks at.
    found, _ = told(site, 6, known)
    assert "live" in found[0]
    assert all("live" not in each for each in found[1:])
    after = f"{found[0]['liveState']}.{known.partition('.')[2]}"
    # The charts are other ones at the turn of an hour, whatever came.
    assert after.partition(".")[0] == shown(site).partition(".")[0]
    # The browser says so itself when it comes back to the stream.
    assert "live" not in told(site, 0, known, Last_Event_ID=after)[0][0]
    assert "live" in site.client.get("/now/data", params={"known": known}).json()
    assert {"live", "history"} <= set(site.client.get("/now/data", params={"history": "yes"}).json())


# --- how many


class Stream(NamedTuple):
    """An answer to who asks for a stream."""

    connection: socket.socket
    status: int
    event: str
    """Its first one."""


def opened(site: Site) -> Stream:
    connection = socket.create_connection(("127.0.0.1", site.client.base_url.port or 0), timeout=60)
    cookie = site.client.headers["Cookie"]
    connection.sendall(f"GET /now/events?tz=UTC HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n".encode())
    answer = b""
    while not (found := re.search(rb"event: (\w+)|retry-after: 20\r", answer)):
        more = connection.recv(1 << 16)
        assert more, answer
        answer += more
    return Stream(connection, int(answer.split()[1]), (found[1] or b"").decode())


def test_one_browser_has_so_many_streams_also_where_all_are_asked_for_at_once(site: Site) -> None:
    with ThreadPoolExecutor(3 * OF_SESSION) as threads:
        answers = list(threads.map(opened, [site] * 3 * OF_SESSION))
    # Who was let in together with others, and is one too many, is told so in the stream.
    counts = Counter((answer.status, answer.event) for answer in answers)
    assert set(counts) <= {(200, "fresh"), (200, "trouble"), (429, "")}
    assert OF_SESSION - 2 <= counts[200, "fresh"] <= OF_SESSION  # Streams of other tests may not have ended yet.
    assert site.client.get("/now/data?tz=UTC").status_code == 200
    for answer in answers:
        answer.connection.close()
    until = time.monotonic() + 60
    while (again := opened(site)).event != "fresh":
        again.connection.close()
        assert time.monotonic() < until
        time.sleep(0.5)
    again.connection.close()


def test_an_account_has_three_quarters_of_all_streams_and_another_one_finds_room() -> None:
    streams = Streams()
    with ExitStack() as stack:
        for number in range(STREAMS_MAX * 3 // 4):
            stack.enter_context(streams.one_more("loud", f"session{number // OF_SESSION}"))
        with pytest.raises(TooMany):
            streams.check("loud", "another")
        with streams.one_more("quiet", "its own"):
            assert len(streams) == STREAMS_MAX * 3 // 4 + 1
    assert len(streams) == 0
    streams.check("loud", "another")


def test_a_stream_asks_in_the_turn_of_its_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its first answer nobody knew whose it is; it stood in the way of all of whom nobody knows."""
    seen: list[str] = []

    async def stream(_request: object, _page: object) -> AsyncIterator[str]:
        seen.append(ACCOUNT.get())
        yield "fresh"

    service = SimpleNamespace(begin_turn=lambda _: ACCOUNT.set("acme"))
    page: Any = SimpleNamespace(service=service, streams=Streams())
    request: Any = SimpleNamespace(cookies={COOKIE: "a"})
    monkeypatch.setattr(now, "_stream", stream)

    async def read() -> list[object]:
        return [message async for message in now._counted(request, page, "acme")]

    assert asyncio.run(read()) == ["fresh"]
    assert seen == ["acme"]
