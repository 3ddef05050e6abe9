"""Clients that are slow, idle, or say too much: the others are served as before. And every limit at its edge: one
below and the limit itself are taken, one above is refused.

Covers: web/sign_in.
"""

from __future__ import annotations

import itertools
import json
import resource
import socket
import time
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import click
import httpx
import pyarrow as pa
import pytest

from handletime.api.agent_segments import LIMIT, LIMIT_MAX, OFFSET
from handletime.api.auth import AUTHORIZATION_MAX, NONCE_MAX, URL_MAX, WINDOW_S
from handletime.api.body import SENT_MAX, UNPACKED_MAX, Coding, unpacked
from handletime.api.csv_table import ROWS_MAX
from handletime.api.errors import Refused
from handletime.api.events import SMALL
from handletime.api.operations import TIMEFRAME_MAX, TIMEFRAME_MAX_WITH_TO
from handletime.api.parameters import Parameter, Wrong, an_id, some_ids
from handletime.api.serve import HEADER_BYTES, HEADER_TIMEOUT_MS
from handletime.api.service import SOURCE, ApiSettings
from handletime.api.timeframe import AGE_GRACE, AGE_MAX, SPAN_MAX
from handletime.errors import FAULTS_SHOWN, TooMany
from handletime.events import model
from handletime.events.book import LINE_MAX, NESTING_MAX
from handletime.events.decode import decode_lines
from handletime.events.model import FUTURE_MAX
from handletime.settings import SETTINGS, Size
from handletime.store.budget import Budget
from handletime.web.sign_in import FORM_MAX
from tests.api.test_auth import SECOND, URL, Server, signed
from tests.api.test_auth import made as made
from tests.api.test_auth import server as server
from tests.api.world import NOW, World

IDLE = 1_000
SERVED_S = 5.0


@pytest.fixture
def world() -> Iterator[World]:
    """A server of its own: what is left open here is nobody else's."""
    with World() as world:
        yield world


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for the descriptors of both ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3 * IDLE:
        pytest.skip(f"needs {3 * IDLE} open files, {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * IDLE), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_thousand_idle_connections_keep_nobody_out(world: World) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(connected(world)) for _ in range(IDLE)]
        for place, connection in enumerate(idle):
            # Some have begun to speak.
            connection.sendall(
                (b"", b"GET /healthz HT", b"POST /api/account/acme/events HTTP/1.1\r\nHost: x\r\n")[place % 3]
            )
        begun = time.monotonic()
        with httpx.Client(base_url=world.url, timeout=SERVED_S) as client:
            assert [client.get("/healthz").status_code for _ in range(5)] == [200] * 5
        assert time.monotonic() - begun < SERVED_S
    assert world.client.get("/healthz").status_code == 200


def connected(world: World) -> socket.socket:
    return socket.create_connection(("127.0.0.1", world.port), timeout=60)


def test_a_header_that_never_ends_is_given_up(world: World) -> None:
    with connected(world) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        begun = time.monotonic()
        while (waited := time.monotonic() - begun) < 3 * HEADER_TIMEOUT_MS / 1000:
            try:
                connection.sendall(b"a")
                connection.settimeout(0.5)
                if not connection.recv(1000).startswith(b"HTTP/1.1 200"):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert HEADER_TIMEOUT_MS / 1000 - 1 < waited < 2.5 * HEADER_TIMEOUT_MS / 1000


@pytest.mark.parametrize("size", [HEADER_BYTES // 2, 2 * HEADER_BYTES, 64 * HEADER_BYTES])
def test_headers_are_bounded(size: int, world: World) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: " + b"a" * size + b"\r\n\r\n"
    with connected(world) as connection:
        try:
            connection.sendall(request)
            answer = connection.recv(1000)
        except OSError:
            answer = b""
    assert answer.startswith(b"HTTP/1.1 200") == (size < HEADER_BYTES), answer
    assert world.client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_the_body_of_a_get_is_ignored(rest: bytes, world: World) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    assert world.raw(head + rest).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "header", [b"Content-Length: -1", b"Content-Length: x", b"Content-Length: 1\r\nContent-Length: 2"]
)
def test_wrong_lengths_are_refused(header: bytes, world: World) -> None:
    answer = world.raw(b"POST /api/account/acme/events HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n{}")
    assert answer.startswith(b"HTTP/1.1 400")
    assert world.client.get("/healthz").status_code == 200


# --- every limit at its edge: one less, the limit, one more

EDGE: Final = (-1, 0, 1)
MINUTE_MS: Final = 60_000
EVENTS: Final = "/api/account/acme/events"
SEGMENTS: Final = "/api/account/acme/agent-segments?source=test"
OPERATIONS: Final = "/operations/api/account/acme/msgagentsegments?v=1"


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    """One server for all tests that leave nothing behind."""
    with World() as world:
        yield world


def an_event(**others: object) -> dict[str, Any]:
    return {"conversationId": "c", "eventId": "e", "time": NOW, "type": "opened", **others}


def test_each_edge_is_what_it_was_when_these_tests_were_written() -> None:
    """A limit that is moved is moved on purpose: it stands in the docs, and clients rely on it."""
    assert (SENT_MAX, UNPACKED_MAX, LINE_MAX, SMALL, FORM_MAX) == (32 << 20, 256 << 20, 1 << 20, 16 << 10, 16 << 10)
    assert (AUTHORIZATION_MAX, URL_MAX, NONCE_MAX, WINDOW_S) == (8192, 16_384, 128, 300)
    assert (LIMIT_MAX, ROWS_MAX, TIMEFRAME_MAX, TIMEFRAME_MAX_WITH_TO) == (500, 100_000, 1440, 44_640)
    assert (model.ID_MAX, model.TEXT_MAX, model.ACCOUNT_MAX, FAULTS_SHOWN) == (128, 128, 64, 20)
    assert (SPAN_MAX, AGE_MAX, FUTURE_MAX.total_seconds()) == (7 * 86_400_000, 31 * 86_400_000, 86_400)


@pytest.mark.parametrize("off", EDGE)
def test_the_size_of_a_body_as_it_is_sent(off: int, shared: World) -> None:
    event = json.dumps(an_event(remark="")).encode()
    lines = [
        event.replace(b'"remark": ""', b'"remark": "' + b"x" * (size - len(event) - 1) + b'"') + b"\n"
        for size in (*[LINE_MAX // 2] * (2 * SENT_MAX // LINE_MAX - 1), LINE_MAX // 2 + off)
    ]
    answer = shared.post(EVENTS, b"".join(lines))
    assert answer.status_code == (413 if off > 0 else 200)
    assert "32 MiB" in answer.text or off <= 0


@pytest.mark.parametrize("coding", ["identity", "gzip", "zstd"])
@pytest.mark.parametrize("off", EDGE)
def test_the_size_of_a_body_when_it_is_unpacked(off: int, coding: Coding) -> None:
    pieces = unpacked(packed(UNPACKED_MAX + off, coding), coding)
    if off > 0:
        with pytest.raises(Refused) as refused:
            deque(pieces, maxlen=0)
        assert refused.value.status == 413
    else:
        assert sum(map(len, pieces)) == UNPACKED_MAX + off


def packed(size: int, coding: Coding) -> bytes:
    piece = bytes(1 << 20)
    whole = itertools.repeat(piece, size >> 20)
    rest = bytes(size % (1 << 20))
    if coding == "identity":
        return b"".join([*whole, rest])
    if coding == "gzip":
        stream = zlib.compressobj(1, wbits=31)
        return b"".join([*map(stream.compress, whole), stream.compress(rest), stream.flush()])
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as zstd:
        for each in (*whole, rest):
            zstd.write(each)
    content: bytes = sink.getvalue().to_pybytes()
    return content


@pytest.mark.parametrize("off", EDGE)
def test_the_size_up_to_which_requests_are_decoded_together(off: int, shared: World) -> None:
    """No limit that a client should notice."""
    event = json.dumps(an_event(eventId=f"small{off}", remark="")).encode()
    content = event.replace(b'"remark": ""', b'"remark": "' + b"x" * (SMALL + off - len(event)) + b'"')
    assert len(content) == SMALL + off
    assert shared.post(EVENTS, content).json() == {"accepted": 1, "duplicates": 0}


@pytest.mark.parametrize("off", EDGE)
def test_the_length_of_a_line(off: int, shared: World) -> None:
    event = json.dumps(an_event(eventId=f"line{off}", remark="")).encode()
    content = event.replace(b'"remark": ""', b'"remark": "' + b"x" * (LINE_MAX + off - len(event)) + b'"')
    assert shared.post(EVENTS, content).status_code == (400 if off > 0 else 200)


@pytest.mark.parametrize("off", EDGE)
def test_how_deep_a_line_is_nested(off: int) -> None:
    depth = NESTING_MAX + off - 1
    line = json.dumps(an_event()).encode().removesuffix(b"}") + b', "x": ' + b"[" * depth + b"]" * depth + b"}"
    assert bool(decode_lines(line + b"\n", account="acme").refused) == (off > 0)


@pytest.mark.parametrize("off", EDGE)
def test_the_number_of_faults_that_are_named(off: int, shared: World) -> None:
    answer = shared.post(EVENTS, b"{}\n" * ((FAULTS_SHOWN + off) // 4) + b"x\n" * ((FAULTS_SHOWN + off) % 4))
    assert answer.status_code == 400
    assert len(answer.json()["causes"]) == min(FAULTS_SHOWN, FAULTS_SHOWN + off)
    assert ("There are more" in answer.text) == (off > 0)


@pytest.mark.parametrize("off", EDGE)
@pytest.mark.parametrize(
    ("name", "longest", "more"),
    [
        ("conversationId", model.ID_MAX, {}),
        ("eventId", model.ID_MAX, {}),
        ("employeeId", model.TEXT_MAX, {"type": "assigned", "agentId": 1}),
        ("source", model.TEXT_MAX, {}),
        ("accountId", model.ACCOUNT_MAX, {}),
    ],
)
@pytest.mark.parametrize("letter", ["a", "ä", "\U0001f600"])
def test_the_length_of_an_id(name: str, longest: int, more: dict[str, object], letter: str, off: int) -> None:
    value = ("a" if name == "accountId" else letter) * (longest + off)
    line = json.dumps(an_event(**more, **{name: value}), ensure_ascii=False).encode() + b"\n"
    assert bool(decode_lines(line, account="acme").refused) == (off > 0)


@pytest.mark.parametrize("edge", [model.INTEGER_MIN, model.INTEGER_MAX])
@pytest.mark.parametrize("off", EDGE)
def test_integers_have_64_bits(edge: int, off: int) -> None:
    number = edge + off
    good = model.INTEGER_MIN <= number <= model.INTEGER_MAX
    for name in ("sequence", "skillId", "groupId", "agentId"):
        line = json.dumps(an_event(**{"type": "assigned", "agentId": 1, name: number})).encode() + b"\n"
        assert bool(decode_lines(line, account="acme").refused) != good
    for parameter in (an_id("AgentId", ""), some_ids("agentIds", "")):
        assert reads(parameter, str(number)) == good


def reads(parameter: Any, text: str) -> bool:
    try:
        parameter.read(text)
    except Wrong:
        return False
    return True


@pytest.mark.parametrize("edge", [model.MILLIS_MIN, model.TIME_MAX])
@pytest.mark.parametrize("off", EDGE)
def test_the_times_that_there_are(edge: int, off: int, shared: World) -> None:
    good = model.MILLIS_MIN <= edge + off <= model.TIME_MAX
    line = json.dumps(an_event(time=edge + off)).encode() + b"\n"
    assert bool(decode_lines(line, account="acme").refused) != good
    # Of a timeframe, `to` may be any, and later than now is now; `from` is then too long ago, or after it.
    answer = shared.get(f"{SEGMENTS}&toMillis={edge + off}")
    told = "toMillis: must be epoch milliseconds" in answer.text or "is before 1 January 2000" in answer.text
    assert told != good


@pytest.mark.parametrize("off", EDGE)
def test_how_far_in_the_future_an_event_may_be(off: int, shared: World) -> None:
    time_ = NOW + int(FUTURE_MAX.total_seconds() * 1000) + off
    answer = shared.post(EVENTS, json.dumps(an_event(eventId=f"future{off}", time=time_)).encode())
    assert answer.status_code == (400 if off > 0 else 200)


# Parameters


@pytest.mark.parametrize(
    ("parameter", "edge", "inside"),
    [(LIMIT, 1, 1), (LIMIT, LIMIT_MAX, -1), (OFFSET, 0, 1), (OFFSET, model.INTEGER_MAX, -1)],
)
@pytest.mark.parametrize("off", EDGE)
def test_limit_and_offset(parameter: Parameter[int], edge: int, inside: int, off: int, shared: World) -> None:
    answer = shared.get(f"{SEGMENTS}&{parameter.name}={edge + off}")
    assert answer.status_code == (200 if off in (0, inside) else 400)


@pytest.mark.parametrize("off", EDGE)
def test_the_limit_of_a_table(off: int, shared: World) -> None:
    answer = shared.get(f"{SEGMENTS}&format=csv&limit={ROWS_MAX + off}")
    assert answer.status_code == (400 if off > 0 else 200)


@pytest.mark.parametrize("off", EDGE)
def test_the_length_of_a_source(off: int, shared: World) -> None:
    assert SOURCE.schema["maxLength"] == 20
    answer = shared.get(f"/api/account/acme/agent-segments?source={'x' * (20 + off)}")
    assert answer.status_code == (400 if off > 0 else 200)


@pytest.mark.parametrize("off", EDGE)
def test_how_long_a_timeframe_is_and_how_long_ago(off: int, shared: World) -> None:
    oldest = NOW - AGE_MAX - AGE_GRACE - off
    ago = shared.get(f"{SEGMENTS}&fromMillis={oldest}&toMillis={oldest + 1000}")
    long = shared.get(f"{SEGMENTS}&fromMillis={NOW - SPAN_MAX - off}&toMillis={NOW}")
    assert ago.status_code == long.status_code == (400 if off > 0 else 200)
    reversed_ = shared.get(f"{SEGMENTS}&fromMillis={NOW - 5000 + off}&toMillis={NOW - 5000}")
    assert reversed_.status_code == (400 if off > 0 else 200)


@pytest.mark.parametrize("off", EDGE)
def test_timeframe_and_interval(off: int, shared: World) -> None:
    over, under = (400 if off > 0 else 200), (400 if off < 0 else 200)
    for query, status in (
        (f"timeframe={1 + off}", under),
        (f"timeframe={TIMEFRAME_MAX + off}", over),
        (f"timeframe={TIMEFRAME_MAX_WITH_TO + off}&to={NOW}", over),
        (f"from={NOW - TIMEFRAME_MAX_WITH_TO * MINUTE_MS - off}&to={NOW}", over),
        (f"from={NOW + off}&to={NOW}", over),
        (f"timeframe={60 * (5 + off)}&interval={5 + off}", under),
        (f"timeframe=60&interval={60 + off}", 400 if off else 200),
    ):
        assert shared.get(f"{OPERATIONS}&{query}").status_code == status, query
    assert shared.get(f"{OPERATIONS}&timeframe=60".replace("v=1", f"v={1 + off}")).status_code == (400 if off else 200)


# What says who is asking


@pytest.mark.parametrize("off", EDGE)
def test_the_length_of_what_authorizes(off: int, server: Server) -> None:
    header = "Bearer " + "x" * (AUTHORIZATION_MAX + off - len("Bearer "))
    assert server.problem(header) == ("parameter_rejected" if off > 0 else "token_rejected")


@pytest.mark.parametrize("off", EDGE)
def test_the_length_of_a_nonce(off: int, server: Server) -> None:
    header = signed(server.new, nonce="x" * (NONCE_MAX + off))
    assert (server.problem(header) == "parameter_rejected") if off > 0 else server.ask(header)


@pytest.mark.parametrize("off", EDGE)
def test_the_length_of_a_url(off: int, server: Server) -> None:
    url = URL + "&x=" + "x" * (URL_MAX + off - len(URL) - 3)
    header = signed(server.new, url)
    assert (server.problem(header, url) == "parameter_rejected") if off > 0 else server.ask(header, url)


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("off", EDGE)
def test_how_far_a_timestamp_is_from_the_clock(off: int, side: int, server: Server) -> None:
    header = signed(server.new, timestamp=str(SECOND + side * (WINDOW_S + off)))
    assert (server.problem(header) == "timestamp_refused") if off > 0 else server.ask(header)


# What the server holds at once


@pytest.mark.parametrize("off", EDGE)
def test_the_memory_of_bodies(off: int) -> None:
    budget = Budget(100, "ingest-memory")
    with budget.share("loud") as first, budget.share("loud") as second, budget.share("quiet") as third:
        first.take(50)
        if off > 0:
            with pytest.raises(TooMany):
                second.take(25 + off)
        else:
            second.take(25 + off)
            third.take(25 - off)
            with pytest.raises(TooMany):
                third.take(1)
    with budget.share("loud") as alone:
        alone.take(1_000)


@pytest.mark.parametrize("off", EDGE)
def test_the_requests_under_way(off: int) -> None:
    """Of eight places one account gets six, and another one still gets in."""
    with World(ApiSettings(ingest_requests=8, body_idle_seconds=30)) as world, ExitStack() as stack:
        head = (
            f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-acme-ingest\r\n"
            "Content-Type: application/x-ndjson\r\nContent-Length: 10\r\n\r\n"
        )
        for _ in range(5 + off):
            stack.enter_context(connected(world)).sendall(head.encode())
        until_under_way(world, 5 + off)
        event = json.dumps(an_event()).encode()
        refused = world.post(EVENTS, event)
        assert refused.status_code == (429 if off > 0 else 200)
        assert refused.headers.get("retry-after") == ("1" if off > 0 else None)
        assert world.post(EVENTS.replace("acme", "quiet"), event, account="quiet").status_code == 200


def until_under_way(world: World, number: int) -> None:
    for _ in range(500):
        found = [line for line in world.client.get("/metrics").text.splitlines() if "_requests_under_way " in line]
        if float(found[-1].split()[1]) == number + 1:
            return
        time.sleep(0.01)
    raise AssertionError(found)


# Headers and addresses, and how many ids they hold


@pytest.mark.parametrize("ids", [1, 1_000, 8_000])
def test_as_many_ids_as_an_address_holds(ids: int, shared: World) -> None:
    query = ",".join(str(1_000_000 + number) for number in range(ids))
    assert shared.get(f"{OPERATIONS}&timeframe=60&agentIds={query}").status_code == 200


def test_an_address_that_is_too_long_is_refused_and_nothing_else_happens(world: World) -> None:
    query = ",".join(str(number) for number in range(1_000_000, 1_010_000))
    with connected(world) as connection:
        connection.sendall(f"GET {OPERATIONS}&agentIds={query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        try:
            answer = connection.recv(1000)
        except OSError:
            answer = b""
    assert not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 5"))
    assert world.client.get("/healthz").status_code == 200


# Settings


@pytest.mark.parametrize("name", sorted(name for name, setting in SETTINGS.items() if hasattr(setting.type, "min")))
def test_a_setting_with_bounds(name: str) -> None:
    type_: Any = SETTINGS[name].type
    step = 1 if isinstance(type_, click.IntRange) else 0.01
    for edge, inside in ((type_.min, 1), (type_.max, -1)):
        assert [takes(type_, edge + off * step) for off in EDGE] == [off in (0, inside) for off in EDGE]
    assert SETTINGS[name].allowed.startswith(f"{type_.min:g} to ")
    assert f"to {type_.max}" in SETTINGS[name].allowed


@pytest.mark.parametrize("off", EDGE)
def test_a_size(off: int) -> None:
    assert takes(Size(), str(Size.least + off)) == (off >= 0)


def takes(type_: Any, value: object) -> bool:
    try:
        type_.convert(str(value), None, None)
    except click.BadParameter:
        return False
    return True
