"""Answers that nobody reads: counted while they wait, refused where there is no room, and given up.

Covers: api/answer.
"""

from __future__ import annotations

import gzip
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pyarrow as pa
import pytest

from handletime.api import answer as answers
from handletime.api.answer import PIECE
from handletime.api.operations import AgentSeries, SkillSeries
from handletime.api.series import GROUP_BYTES
from handletime.api.service import FULL, ApiSettings
from handletime.keys.keys import create
from handletime.keys.sidefile import SideFile
from handletime.store.budget import Budget
from tests.api.world import NOW, World, token
from tests.crash.nursery import Child, Nursery

MIB: Final = 1 << 20
MINUTE: Final = 60_000
DAY: Final = 1440 * MINUTE
AGENTS: Final = 60
PER_AGENT: Final = 288
SEGMENTS: Final = AGENTS * PER_AGENT
GIVEN_UP_S: Final = 1.5
SOON_S: Final = 60.0
NOT_READ: Final = 100 * MIB
"""More than the system keeps of what is not read."""
AGENT_PATH: Final = "/operations/api/account/{}/msgagentsegments?v=1&timeframe=1440&interval=5&skillIds=all"
SKILL_PATH: Final = "/operations/api/account/{}/msgskillsegments?v=1&timeframe=1440&interval=5"
CSV_PATH: Final = (
    f"/api/account/{{}}/agent-segments?source=x&limit=100000&format=csv&fromMillis={NOW - DAY}&toMillis={NOW}"
)


def events_of_a_day() -> list[dict[str, object]]:
    """A segment of each agent in each five minutes."""
    found: list[dict[str, object]] = []
    for number in range(SEGMENTS):
        place, agent = divmod(number, AGENTS)
        at = NOW - DAY + place * 5 * MINUTE + 1000
        named = {"conversationId": f"c{number}", "eventId": "a", "time": at, "type": "assigned"}
        found.append({**named, "agentId": agent + 1, "skillId": agent % 7 + 1})
        end = {"eventId": "z", "time": at + MINUTE, "type": "closed", "closedBy": "agent"}
        found.append({"conversationId": f"c{number}", **end})
    return found


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(ApiSettings(answer_bytes=GROUP_BYTES * SEGMENTS + 8 * MIB)) as world:
        for account in ("acme", "other"):
            world.store.put(account, events_of_a_day())
        yield world


@pytest.fixture(autouse=True)
def _given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "UNREAD_SECONDS", GIVEN_UP_S)


def held(world: World) -> float:
    """Bytes of answers that are not yet sent."""
    shown = re.search(r"^handletime_answers_bytes (\S+)$", world.client.get("/metrics").text, re.MULTILINE)
    assert shown is not None
    return float(shown[1])


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def asked(world: World, path: str, account: str = "acme") -> socket.socket:
    """A connection on which a question was sent; of the answer the system takes little."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    connection.settimeout(SOON_S)
    connection.connect(("127.0.0.1", world.port))
    head = f"Host: x\r\nConnection: close\r\nAuthorization: {token(account)['Authorization']}\r\n"
    connection.sendall(f"GET {path.format(account)} HTTP/1.1\r\n{head}\r\n".encode())
    return connection


def whole(connection: socket.socket, seconds_a_mib: float = 0.0) -> tuple[int, bytes]:
    """Status and body, as far as they come."""
    content = bytearray()
    begun = time.monotonic()
    try:
        while data := connection.recv(1 << 16):
            content += data
            time.sleep(max(0.0, begun + seconds_a_mib * len(content) / MIB - time.monotonic()))
    except ConnectionError:
        pass
    head, _, body = bytes(content).partition(b"\r\n\r\n")
    return int(head[9:12]), body


# --- made in pieces


@pytest.mark.parametrize(("path", "type_"), [(AGENT_PATH, AgentSeries), (SKILL_PATH, SkillSeries), (CSV_PATH, None)])
def test_an_answer_in_pieces_is_the_answer(path: str, type_: type[Any] | None, world: World) -> None:
    plain = world.get(path.format("acme"), accept_encoding="identity")
    assert plain.status_code == 200
    assert int(plain.headers["content-length"]) == len(plain.content) > 2 * PIECE
    if type_ is not None:
        read: dict[str, object] = msgspec.json.decode(plain.content)
        assert msgspec.json.encode(read) == plain.content
        msgspec.json.decode(plain.content, type=type_)
    for coding in ("gzip", "zstd"):
        with world.client.stream("GET", path.format("acme"), headers=token("acme") | {"Accept-Encoding": coding}) as it:
            packed = b"".join(it.iter_raw())
        assert it.headers["content-encoding"] == coding
        assert it.headers["vary"] == "Accept, Accept-Encoding"
        assert int(it.headers["content-length"]) == len(packed) < len(plain.content) / 2
        with pa.CompressedInputStream(pa.BufferReader(packed), coding) as stream:
            assert stream.read() == plain.content
    eventually(lambda: held(world) == 0)


def test_the_elements_of_every_interval_are_those_of_the_interval_alone(world: World) -> None:
    """What is written in pieces stands where it should."""
    series = world.get(AGENT_PATH.format("acme")).json()
    assert len(series["metricsByIntervals"]) == PER_AGENT
    for number in (0, 1, 100, PER_AGENT - 1):
        start = series["metricsByIntervals"][number]["timestamp"]
        assert start == NOW - DAY + number * 5 * MINUTE
        path = f"/operations/api/account/acme/msgagentsegments?v=1&from={start}&to={start + 5 * MINUTE}&skillIds=all"
        assert world.get(path).json() == series["metricsByIntervals"][number]["metricsData"]
    skills = world.get(SKILL_PATH.format("acme")).json()["metricsByIntervals"]
    assert [each["timestamp"] for each in skills] == [NOW - (n + 1) * 5 * MINUTE for n in range(PER_AGENT)]


def test_the_head_of_a_large_answer_has_its_length(world: World) -> None:
    path = AGENT_PATH.format("acme")
    plain = world.get(path, accept_encoding="identity")
    head = world.client.head(path, headers=token("acme") | {"Accept-Encoding": "identity"})
    assert (head.content, head.headers["content-length"]) == (b"", str(len(plain.content)))
    eventually(lambda: held(world) == 0)


# --- not read


def test_who_does_not_read_is_given_up(world: World) -> None:
    connection = asked(world, AGENT_PATH)
    with connection:
        eventually(lambda: held(world) > 0)
        begun = time.monotonic()
        eventually(lambda: held(world) == 0)
        assert time.monotonic() - begun < SOON_S / 2
        status, body = whole(connection)
        assert status == 200
        assert len(body) < len(world.get(AGENT_PATH.format("acme"), accept_encoding="identity").content)
    assert world.get(AGENT_PATH.format("acme")).status_code == 200


def test_who_goes_away_leaves_nothing_behind(world: World) -> None:
    for _ in range(3):
        with asked(world, AGENT_PATH) as connection:
            assert connection.recv(1) == b"H"
            assert held(world) > 0
    eventually(lambda: held(world) == 0)


def test_who_reads_slowly_gets_all_of_it(world: World) -> None:
    """Several times as long as a client may read nothing."""
    plain = world.get(AGENT_PATH.format("acme"), accept_encoding="identity").content
    begun = time.monotonic()
    with asked(world, AGENT_PATH) as connection:
        status, body = whole(connection, 4 * GIVEN_UP_S * MIB / len(plain))
    assert (status, body) == (200, plain)
    assert time.monotonic() - begun > 2 * GIVEN_UP_S


def test_where_there_is_no_room_it_is_said(world: World) -> None:
    """What an account has not read leaves less for its next large answer; small ones and others have room."""
    unread = world.service.answers.share("acme")
    unread.take(7 * MIB)
    try:
        refused = world.get(AGENT_PATH.format("acme"))
        assert refused.status_code == 429
        assert refused.headers["retry-after"]
        assert refused.json() == {"message": FULL}
        assert 'handletime_refused_requests_total{limit="memory"}' in world.client.get("/metrics").text
        small = "/operations/api/account/acme/msgagentsegments?v=1&timeframe=60"
        assert world.get(small).status_code == 200
        assert world.get(AGENT_PATH.format("other"), "other").status_code == 200
        assert held(world) == 7 * MIB
    finally:
        unread.close()
    assert world.get(AGENT_PATH.format("acme")).status_code == 200
    eventually(lambda: held(world) == 0)


def test_a_large_answer_that_came_as_a_whole_counts_too(world: World) -> None:
    """A page, say: it is refused instead of begun."""
    openapi = "/openapi.json"
    size = len(world.client.get(openapi).content)
    if size <= PIECE:
        pytest.fail("another answer is needed here")
    limit = world.service.settings.answer_bytes
    share = world.service.answers.share("other")
    share.take(limit)
    try:
        refused = world.client.get(openapi)
    finally:
        share.close()
    assert (refused.status_code, refused.json()) == (429, {"message": FULL})
    assert refused.headers["retry-after"]
    assert world.client.get(openapi).status_code == 200
    eventually(lambda: held(world) == 0)


def test_an_answer_that_no_server_of_this_size_can_make_is_a_400() -> None:
    with World(ApiSettings(answer_bytes=GROUP_BYTES * 100)) as small:
        small.store.put("acme", events_of_a_day()[: 2 * 200])
        refused = small.get("/operations/api/account/acme/msgagentsegments?v=1&timeframe=1440&interval=5")
        assert refused.status_code == 400
        assert "ask for less at once" in refused.json()["causes"][0]
        assert small.get("/operations/api/account/acme/msgagentsegments?v=1&timeframe=1440").status_code == 200


def test_what_outlives_its_request_holds_nothing() -> None:
    budget = Budget(100, "memory")
    share = budget.share("acme")
    share.take(60)
    share.close()
    share.take(70)
    share.give_back(60)
    assert (budget.held, share.held) == (0, 0)


# --- measured with a real server


CLIENTS: Final = 9
MEMORY: Final = 512 * MIB
MOST_MIB: Final = 1500


@pytest.mark.long
def test_nine_clients_that_do_not_read_the_largest_answer(nursery: Nursery, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir(mode=0o700)
    with SideFile(folder) as side:
        keys = {name: create(side, "acme", [name]).token for name in ("ingest", "operations")}
    options = ("--port", "0", "--log-level", "warning", "--memory", "512MiB")
    child = nursery.start(folder, "serve", "--data", folder, *options)
    url = child.address()
    assert url is not None, child.log.read_text()
    put_a_large_day(url, keys["ingest"])
    path = AGENT_PATH.format("acme")
    headers = {"Authorization": f"Bearer {keys['operations']}", "Accept-Encoding": "identity"}
    alone = httpx.get(url + path, headers=headers, timeout=300)
    assert alone.status_code == 200
    assert len(alone.content) > NOT_READ
    before = mib(child, "VmRSS")
    clients = [raw(url, path, keys["operations"]) for _ in range(CLIENTS)]
    most = 0.0
    for _ in range(75):
        time.sleep(1)
        most = max(most, mib(child, "VmRSS"))
        assert httpx.get(url + "/healthz", timeout=10).status_code == 200
    print(f"{len(alone.content) / MIB:.0f} MiB each; {before:.0f} MiB before, {most:.0f} at the most")
    assert most < MOST_MIB
    assert "handletime_answers_bytes 0.0" in httpx.get(url + "/metrics").text  # All of them were given up.
    for client in clients:
        client.close()
    again = httpx.get(url + path, headers=headers, timeout=300)
    assert again.status_code == 200
    assert "handletime_answers_bytes 0.0" in httpx.get(url + "/metrics").text
    child.kill()


def put_a_large_day(url: str, key: str) -> None:
    """150,000 segments of 500 agents, in every five minutes of the last day."""
    now, agents = int(time.time() * 1000), 500
    lines: list[str] = []
    for number in range(150_000):
        place, agent = divmod(number, agents)
        at = now - DAY + (place % 280 + 4) * 5 * MINUTE
        name = f'"conversationId":"c{number}"'
        lines.append(f'{{{name},"eventId":"a","time":{at},"type":"assigned","agentId":{agent + 1},"skillId":1}}\n')
        lines.append(f'{{{name},"eventId":"z","time":{at + MINUTE},"type":"closed","closedBy":"agent"}}\n')
    for begin in range(0, len(lines), 20_000):
        content = gzip.compress("".join(lines[begin : begin + 20_000]).encode(), 1)
        kind = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        answer = httpx.post(
            f"{url}/api/account/acme/events",
            content=content,
            headers={"Authorization": f"Bearer {key}", **kind},
            timeout=300,
        )
        assert answer.status_code == 200, answer.text


def raw(url: str, path: str, key: str) -> socket.socket:
    parts = httpx.URL(url)
    connection = socket.create_connection((parts.host, parts.port), timeout=SOON_S)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
    return connection


def mib(child: Child, name: str) -> float:
    status = Path(f"/proc/{child.pid}/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) / 1024
