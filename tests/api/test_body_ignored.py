"""Bodies that nobody asked for: the connection goes on after the answer, or the answer says it ends (http-api.md 1)."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from handletime.api.body import IGNORED_MAX, IGNORED_SECONDS
from tests.api.world import World, token
from tests.cli.test_serve import certificate, serving

KEY: Final = token("acme")["Authorization"]
SEGMENTS: Final = "/api/account/acme/agent-segments?source=test"
NEXT: Final = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED: Final = "Transfer-Encoding: chunked"


class Answer(NamedTuple):
    """What came back for one request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def ends_connection(self) -> bool:
        return self.headers.get("connection") == "close"


class Wire:
    """One connection, on which every byte is ours."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._read = self._socket.makefile("rb")

    def send(self, content: bytes) -> None:
        self._socket.sendall(content)

    def answer(self, *, body: bool = True) -> Answer:
        """The next answer that is not only `100 Continue`."""
        status = 100
        while status == 100:
            line = self._read.readline()
            assert line, "the connection was closed"
            status = int(line.split()[1])
            headers = {}
            while (line := self._read.readline()) not in (b"\r\n", b""):
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
        return Answer(status, headers, self._read.read(int(headers["content-length"])) if body else b"")

    def is_closed(self) -> bool:
        return self._read.read(1) == b""

    def close(self) -> None:
        self._read.close()
        self._socket.close()


@contextmanager
def a_wire(world: World) -> Iterator[Wire]:
    wire = Wire(world.port)
    try:
        yield wire
    finally:
        wire.close()


def head(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: {KEY}", *headers, "", ""]).encode()


def chunks(body: bytes) -> bytes:
    pieces = [body[at : at + 60_000] for at in range(0, len(body), 60_000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("late", [0.0, 0.05])
@pytest.mark.parametrize("size", [2, 100_000, IGNORED_MAX])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("GET", ()),
        ("GET", ("Content-Type: x", "Content-Encoding: y")),
        ("GET", ("Expect: 100-continue",)),
        ("HEAD", ()),
    ],
)
def test_a_body_of_up_to_a_mib_is_read_and_the_connection_goes_on(
    world: World, method: str, more: tuple[str, ...], framing: str, size: int, late: float
) -> None:
    body = b"x" * size
    framed = f"Content-Length: {size}" if framing == "length" else CHUNKED
    with a_wire(world) as wire:
        wire.send(head(method, SEGMENTS, framed, *more))
        time.sleep(late)
        wire.send(body if framing == "length" else chunks(body))
        answer = wire.answer(body=method == "GET")
        assert (answer.status, answer.ends_connection) == (200, False)
        wire.send(NEXT)
        assert wire.answer().status == 200


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("late", [0.0, 0.05])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_of_a_larger_one_the_answer_says_that_the_connection_ends_and_the_sender_sees_it(
    world: World, method: str, late: float, framing: str
) -> None:
    """The sender reads only when it has sent all: a connection that breaks before would have lost the answer."""
    body = b"x" * 5_000_000
    path = SEGMENTS if method == "GET" else "/api/account/other/events"
    framed = f"Content-Length: {len(body)}" if framing == "length" else CHUNKED
    with a_wire(world) as wire:
        wire.send(head(method, path, framed))
        time.sleep(late)
        wire.send(body if framing == "length" else chunks(body))
        answer = wire.answer()
        assert (answer.status, answer.ends_connection) == (200 if method == "GET" else 401, True)
        assert wire.is_closed()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", SEGMENTS, 405),
        ("POST", "/nowhere", 404),
        ("DELETE", SEGMENTS, 405),
        ("PROPFIND", SEGMENTS, 405),
        ("POST", "/%FF", 404),
        ("POST", "/api/account/other/events", 401),
        ("GET", SEGMENTS.replace("acme", "other"), 401),
        ("GET", "/nowhere", 404),
        ("GET", "/api/account/acme/service/leDataReporting/baseURI.json", 200),
    ],
)
@pytest.mark.parametrize("late", [0.0, 0.05])
def test_so_it_is_with_every_answer_for_which_a_body_is_not_needed(
    world: World, method: str, path: str, status: int, late: float
) -> None:
    with a_wire(world) as wire:
        wire.send(head(method, path, "Content-Length: 100000"))
        time.sleep(late)
        wire.send(b"x" * 100_000)
        answer = wire.answer()
        assert (answer.status, answer.ends_connection) == (status, False)
        wire.send(NEXT)
        assert wire.answer().status == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_body_that_does_not_come_is_waited_for_only_so_long(world: World, method: str) -> None:
    with a_wire(world) as wire:
        begun = time.monotonic()
        wire.send(head(method, "/nowhere", "Content-Length: 2"))
        answer = wire.answer()
        assert (answer.status, answer.ends_connection) == (404, True)
        assert time.monotonic() - begun < IGNORED_SECONDS + 2
        wire.send(b"{}")
        assert wire.is_closed()


def test_a_body_that_drips_is_waited_for_only_so_long(world: World) -> None:
    """The time is one for all of it, not anew for each piece."""
    with a_wire(world) as wire:
        wire.send(head("GET", SEGMENTS, "Content-Length: 1000"))
        done = threading.Event()

        def drip() -> None:
            for _ in range(1000):
                if done.wait(0.1):
                    return
                wire.send(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        begun = time.monotonic()
        try:
            assert wire.answer().ends_connection
            assert time.monotonic() - begun < IGNORED_SECONDS + 2
        finally:
            done.set()
            dripping.join()


def test_whoever_announces_too_much_is_answered_at_once(world: World) -> None:
    with a_wire(world) as wire:
        begun = time.monotonic()
        wire.send(head("GET", SEGMENTS, f"Content-Length: {IGNORED_MAX + 1}", "Expect: 100-continue"))
        answer = wire.answer()
        assert (answer.status, answer.ends_connection) == (200, True)
        assert time.monotonic() - begun < IGNORED_SECONDS


@pytest.mark.requires_command("curl")
@pytest.mark.parametrize("path", ["/openapi.json", "/nowhere"])
def test_over_tls_a_sender_that_offers_http_2_sees_the_answer_too(tmp_path: Path, path: str) -> None:
    """It gets HTTP/1.1, in which the answer can say that the connection ends."""
    cert, key = certificate(tmp_path)
    (tmp_path / "body").write_bytes(b"x" * 5_000_000)
    shown = "%{http_version} %{response_code} %{num_connects}\\n"
    with serving(tmp_path / "store", "--tls-cert", str(cert), "--tls-key", str(key)) as server:
        common = ["--silent", "--http2", "--cacert", str(cert), "--max-time", "20", "--output", f"{tmp_path}/answer"]
        first = [*common, "--write-out", shown, "--request", "GET", "--data-binary", f"@{tmp_path}/body"]
        second = [*common, "--write-out", shown, f"{server.url}/healthz"]
        command = ["curl", *first, server.url + path, "--next", *second]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    status = 404 if path == "/nowhere" else 200
    assert done.stdout.splitlines() == [f"1.1 {status} 1", "1.1 200 1"], done.stderr


def test_a_length_may_have_any_number_of_zeros(world: World) -> None:
    """Python converts no text of more than 4,300 digits: it was a 500 without a word, and stayed under way for ever."""
    with a_wire(world) as wire:
        wire.send(head("GET", "/healthz", f"Content-Length: {'0' * 5000}2") + b"xx")
        assert wire.answer().status == 200
        wire.send(NEXT)
        assert wire.answer().status == 200
    assert "handletime_requests_under_way 1.0" in world.get("/metrics").text


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [("1.1", ["x"], 200), ("1.1", [], 400), ("1.1", ["x", "y"], 400), ("1.0", [], 200), ("1.0", ["x", "x"], 400)],
)
def test_who_is_asked_is_said_once(version: str, hosts: list[str], status: int, world: World) -> None:
    """RFC 9112 3.2. A proxy may go by another one of two than this server."""
    named = "".join(f"Host: {host}\r\n" for host in hosts)
    with a_wire(world) as wire:
        wire.send(f"GET /healthz HTTP/{version}\r\n{named}Connection: keep-alive\r\n\r\n".encode())
        answer = wire.answer()
    assert answer.status == status
    if status == 400:
        assert json.loads(answer.body)["causes"] == ["Host: must be given, once (RFC 9112 3.2)"]
