"""Clients without a key that come in great numbers and stay: whoever comes after them is answered as before.

Covers: addresses, api/connections.
"""

from __future__ import annotations

import ipaddress
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
import pytest

from handletime.addresses import is_among, networks
from handletime.api import body, connections
from handletime.api.connections import EVERY_S, Connections, Limits
from handletime.api.service import ApiSettings
from handletime.settings import DEFAULTS
from tests.api.world import World
from tests.cli.test_serve import INTAKE, SEGMENTS, Server, bearer, certificate, lines, messages, new_key, serving
from tests.security.strangers import (
    OVER_TLS,
    PLAIN,
    Strangers,
    asked_once,
    connected,
    measured,
    room_for,
    silent_within_tls,
    times_of,
)
from tests.seeds import mostly_long

MANY: Final = 1_100
SOON_S: Final = 1.0
AT_WORST_S: Final = 5.0
"""Beside other work on the machine."""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere connections are not seen")


@contextmanager
def a_server(tmp_path: Path, *options: str, tls: bool = False) -> Iterator[Server]:
    """A server of its own, perhaps over TLS."""
    if tls:
        cert, key = certificate(tmp_path)
        options = (*options, "--tls-cert", str(cert), "--tls-key", str(key))
    with serving(tmp_path / "store", "--log-level", "warning", *options) as server:
        yield server


def ended(server: Server, reason: str) -> float:
    return measured(server.url, f'handletime_connections_ended_total{{reason="{reason}"}}')


@pytest.mark.parametrize("kind", mostly_long(["dripping", *sorted({*PLAIN, *OVER_TLS} - {"dripping"})], 1))
def test_a_thousand_strangers_of_one_address_keep_nobody_out(kind: str, tmp_path: Path) -> None:
    with a_server(tmp_path, tls=kind in OVER_TLS) as server, room_for(2 * MANY) as room:
        key = bearer(new_key(tmp_path / "store", "admin"))
        with Strangers(server.url, {**PLAIN, **OVER_TLS}[kind], min(MANY, room // 2), drip_s=1.0) as strangers:
            healthz, segments = times_of(server.url, 3), times_of(server.url, 2, SEGMENTS, key)
            taken = httpx.post(server.url + INTAKE, content=lines(messages("c", 3)), headers=key, verify=False)  # noqa: S501
            assert taken.json() == {"accepted": 3, "duplicates": 0}
            wait_until(lambda: strangers.came > DEFAULTS["address_connections"])
            assert measured(server.url, "handletime_connections ") < MANY
        for times in (healthz, segments):
            assert statistics.median(times) < SOON_S
            assert max(times) < AT_WORST_S
        assert ended(server, "address") > 0
        assert server.log.read_text().count("connections were ended") == 1


# --- who is ended, in tenths of the time

BODY: Final = (
    b"POST /api/account/acme/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-acme-admin\r\n"
    b"Content-Type: application/x-ndjson\r\nContent-Length: 100000\r\n\r\n"
)
PATIENCE_S: Final = 20.0


@pytest.fixture(autouse=True)
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only for servers within this process."""
    for name in ("FIRST_S", "IDLE_S", "UNREAD_S", "FRESH_S"):
        monkeypatch.setattr(connections, name, getattr(connections, name) / 10)


class Watched(World):
    """A server that counts what it ends."""

    def __init__(self, limits: Limits | None = None, tls: tuple[Path, Path] | None = None) -> None:
        self.ended: Counter[str] = Counter()
        super().__init__(connections=Connections(limits, self.count), tls=tls)

    def __enter__(self) -> Watched:
        super().__enter__()
        return self

    def count(self, reason: str, number: int) -> None:
        self.ended[reason] += number


def is_open(connection: socket.socket) -> bool:
    """Whether the server has not ended it; what it has sent is read."""
    connection.settimeout(0.01)
    try:
        while connection.recv(1 << 16):
            pass
    except TimeoutError:
        return True
    except OSError:
        pass
    return False


def wait_until(that: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not that():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_whoever_asks_nothing_is_ended_and_whoever_asks_may_stay(tmp_path: Path) -> None:
    with Watched(tls=certificate(tmp_path)) as world, ExitStack() as stack:
        quiet = stack.enter_context(silent_within_tls(world.url))
        asking = stack.enter_context(connected(world.url))
        begun = time.monotonic()
        while is_open(quiet):
            asking.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert is_open(asking)
            time.sleep(0.1)
            assert time.monotonic() - begun < PATIENCE_S
        assert time.monotonic() - begun > connections.FIRST_S - 0.5
        wait_until(lambda: world.ended == {"silent": 1})


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")])
def test_connections_over_ipv6_are_known_by_their_address(family: socket.AddressFamily, host: str) -> None:
    """As the HTTP server names it: whose requests are not found by it would be ended while they are answered."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("needs IPv6")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening:
        port = listening.getsockname()[1]
        with socket.socket(family) as client:
            client.connect((host, port))
            with listening.accept()[0]:
                peers = [seen.peer for seen in connections.connections_to(port)]
                own = client.getsockname()
    assert (own[0] if family == socket.AF_INET6 else f"::ffff:{own[0]}", own[1]) in peers


def test_of_one_address_those_go_first_that_ask_nothing_then_the_slowest_body(monkeypatch: pytest.MonkeyPatch) -> None:
    with Watched(Limits(of_address=4)) as world, ExitStack() as stack:

        def sending(size: int) -> socket.socket:
            connection = stack.enter_context(connected(world.url))
            connection.sendall(BODY + b" " * size)
            return connection

        monkeypatch.setattr(connections, "IDLE_S", 10 * PATIENCE_S)  # Nobody is ended for that.
        world.client.close()
        slow, fast = sending(1), sending(60_000)
        quiet = [stack.enter_context(asked_once(world.url)) for _ in range(2)]
        for goes in (*quiet, slow):
            time.sleep(connections.FRESH_S + EVERY_S)
            assert is_open(goes)
            sending(20_000)
            wait_until(lambda goes=goes: not is_open(goes))  # type: ignore[misc]
        assert is_open(fast)
        assert world.ended == {"address": 3}


def test_what_is_being_answered_and_what_comes_from_a_proxy_is_not_ended_for_the_others() -> None:
    proxy = ipaddress.ip_network("127.0.0.2/32")
    with Watched(Limits(of_address=2, proxies=(proxy,))) as world, ExitStack() as stack:
        quiet = [stack.enter_context(connected(world.url, source="127.0.0.2")) for _ in range(6)]
        time.sleep(connections.FRESH_S + 2 * EVERY_S)
        assert all(map(is_open, quiet))
        assert not world.ended


@pytest.mark.parametrize("host", ["127.0.0.2", "::ffff:127.0.0.2"])
@pytest.mark.parametrize("is_known", [False, True])
def test_a_proxy_is_known_over_ipv6_too(host: str, is_known: bool) -> None:
    ended: list[str] = []
    proxies = (ipaddress.ip_network("127.0.0.2/32"),) if is_known else ()
    watched = Connections(Limits(of_address=1, proxies=proxies), lambda reason, _: ended.append(reason))
    seen = connections.SocketState(-1, 0, (host, 1), 0, 0, 0)
    watched._end_surplus([(seen, connections.Connection(0.0)) for _ in range(2)], connections.FRESH_S + 1)
    assert ended == ([] if is_known else ["address"])


def test_a_busy_proxy_leaves_room_for_others() -> None:
    ended: list[str] = []
    watched = Connections(Limits(proxies=networks(["127.0.0.2"]), most=64), lambda reason, _: ended.append(reason))
    now = connections.FRESH_S + 1

    def seen(host: str, number: int) -> list[tuple[connections.SocketState, connections.Connection]]:
        each = [connections.SocketState(-1, 0, (host, port), 0, 0, 0) for port in range(number)]
        return [(one, connections.Connection(0.0)) for one in each]

    watched._end_surplus([*seen("127.0.0.2", 60), *seen("127.0.0.3", 4)], now)
    assert not ended
    watched._end_surplus([*seen("127.0.0.2", 60), *seen("127.0.0.3", 20)], now)
    assert ended == ["all"] * 12


@pytest.mark.parametrize("given", ["::ffff:10.1.2.3", "::ffff:10.0.0.0/104", "10.0.0.0/8"])
def test_a_proxy_may_be_written_as_ipv6(given: str) -> None:
    assert is_among("10.1.2.3", networks([given]))
    assert is_among("::ffff:10.1.2.3", networks([given]))


def test_too_few_descriptors_are_said() -> None:
    code = """if True:
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        from handletime.api.connections import room_for
        room_for(4096)
        """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "may have 40 files and connections open, but needs 256" in done.stderr


def test_the_system_takes_little_of_an_answer_before_it_is_read() -> None:
    """4 MB of it, and a client that read 20 KB a second was given up: it seemed to read nothing for a minute."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        connections.hold_little(port)
        with socket.create_connection(("127.0.0.1", port)), listening.accept()[0] as accepted:
            taken = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
    assert taken == connections.HELD_BYTES


def test_of_too_many_in_all_those_of_the_busiest_address_go() -> None:
    with Watched(Limits(of_address=0, most=24)) as world, ExitStack() as stack:
        few = [stack.enter_context(connected(world.url, source="127.0.0.2")) for _ in range(3)]
        many = [stack.enter_context(connected(world.url, source="127.0.0.3")) for _ in range(19)]
        wait_until(lambda: world.ended["all"] > 0)
        wait_until(lambda: world.connections.open <= 21)
        assert all(map(is_open, few))
        assert sum(map(is_open, many)) in (17, 18)  # One is the client's of this test.
        assert world.get("/healthz").status_code == 200


def test_whoever_does_not_read_is_ended_and_whoever_reads_slowly_gets_all(tmp_path: Path) -> None:
    asked = 100
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    with Watched(tls=certificate(tmp_path)) as world, ExitStack() as stack:
        deaf = stack.enter_context(connected(world.url, receives=4096))
        deaf.sendall(ask * asked)
        slow = stack.enter_context(connected(world.url, receives=4096))
        slow.sendall(ask * 10)
        size, got, begun = len(world.get("/openapi.json", connection="close").content), 0, time.monotonic()
        while got < 10 * size:
            got += len(slow.recv(1 << 14))
            time.sleep(0.1)
            assert time.monotonic() - begun < 10 * PATIENCE_S
        assert world.ended == {"unread": 1}
        assert time.monotonic() - begun > connections.UNREAD_S


def test_a_body_that_drips_is_given_up_and_one_that_comes_at_a_useful_rate_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The time is for all of it; it is longer the more has come."""
    seconds = 2.0
    monkeypatch.setattr(body, "RATE_LEAST", 4 << 10)
    with World(ApiSettings(body_idle_seconds=seconds)) as world, ExitStack() as stack:
        dripping, useful = (stack.enter_context(connected(world.url)) for _ in range(2))
        dripping.sendall(BODY)
        useful.sendall(BODY)
        begun = time.monotonic()
        sent = 0
        while sent < 100_000:
            time.sleep(0.25)
            sent += 5_000
            useful.sendall(b"\n" * 5_000)
            with suppress(OSError):
                dripping.sendall(b"\n")
        taken = time.monotonic() - begun
        assert taken > seconds
        assert dripping.recv(1000).startswith(b"HTTP/1.1 408")
        assert useful.recv(1000).startswith(b"HTTP/1.1 200")
