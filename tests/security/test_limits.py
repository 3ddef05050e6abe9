"""Clients that are slow, idle, or say too much: the others are served as before."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from handletime.api.serve import HEADER_BYTES, HEADER_TIMEOUT_MS
from tests.api.world import World

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
