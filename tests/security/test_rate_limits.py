"""So many requests a second: of a key, of an address without one; what is refused, and when it is let in again.

Covers: api/limits.
"""

from __future__ import annotations

import base64
import random
import tracemalloc
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from handletime.addresses import client_of
from handletime.answers.labels import Labels
from handletime.api import app, limits
from handletime.api.limits import BURST_S, KEPT_MAX, Rate
from handletime.errors import TooMany
from handletime.keys.keys import NewKey, create
from handletime.keys.sidefile import SideFile
from handletime.web.page import Page
from handletime.web.routes import page_routes
from handletime.web.sessions import Sessions
from tests.api.world import World
from tests.crash.nursery import Nursery

ACCOUNT: Final = "acct1"
EVENTS: Final = f"/api/account/{ACCOUNT}/events"
SEGMENTS: Final = f"/api/account/{ACCOUNT}/agent-segments?source=test"
RATE: Final = 1
MOST: Final = RATE * BURST_S


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def wait_of(rate: Rate[str], who: str = "a") -> int:
    """0 where a request is let in, else the seconds that it is told to wait."""
    try:
        rate.take(who)
    except TooMany as refused:
        return refused.wait_s
    return 0


@pytest.mark.parametrize("per_second", [1, 3, 20, 5_000])
def test_a_burst_and_then_the_rate(per_second: int) -> None:
    clock = Clock()
    rate: Rate[str] = Rate(per_second, "", clock)
    let_in = 0
    while not wait_of(rate):
        let_in += 1
    assert abs(let_in - BURST_S * per_second) <= 1
    let_in = 0
    for _ in range(100 * per_second):
        clock.seconds += 1 / per_second / 10
        let_in += not wait_of(rate)
    assert abs(let_in - 10 * per_second) <= 1
    assert not wait_of(rate, "b")


def test_who_waits_as_long_as_told_is_let_in_and_not_much_earlier(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(300):
        clock = Clock()
        rate: Rate[str] = Rate(dice.choice((0.2, 0.5, 1, 7, 20)), "", clock)
        while not (wait := wait_of(rate)):
            clock.seconds += dice.random() / 100
        begun = clock.seconds
        clock.seconds = begun + wait - 1.001
        assert wait_of(rate) or wait == 1
        clock.seconds = begun + wait
        assert not wait_of(rate)


def test_no_rate_is_no_limit() -> None:
    rate: Rate[str] = Rate(0, "")
    assert not any(wait_of(rate) for _ in range(1_000))
    assert not len(rate)


def test_millions_of_addresses_fill_no_memory() -> None:
    rate: Rate[bytes] = Rate(20, "")
    tracemalloc.start()
    try:
        for number in range(3 * KEPT_MAX):
            rate.take(number.to_bytes(8))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(rate) == KEPT_MAX
    assert held < 16 << 20


def test_who_asks_all_the_time_is_not_forgotten_for_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEPT_MAX", 10)
    clock = Clock()
    rate: Rate[str] = Rate(1, "", clock)
    waits = []
    for number in range(100):
        waits.append(wait_of(rate))
        wait_of(rate, str(number))
    assert waits[:BURST_S] == [0] * BURST_S
    assert all(waits[BURST_S + 1 :])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        # Nobody but a proxy may say who asked it.
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        # What stood there before the proxy added its own may be made up.
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1:1234"], "198.51.100.1"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, "], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
    ],
)
def test_the_address_of_a_client(peer: str, forwarded: list[str], client: str) -> None:
    found = client_of(peer, forwarded, [ip_network("10.0.0.0/8")])
    assert ".".join(map(str, found)) == client


def test_an_ipv6_client_is_its_64() -> None:
    proxies = [ip_network("fd00::/8")]
    one = client_of("2001:db8:1:2::1", [], proxies)
    assert client_of("2001:db8:1:2:ffff::9", [], proxies) == one
    assert client_of("fd00::1", ["[2001:db8:1:2::7]:443"], proxies) == one
    assert client_of("2001:db8:1:3::1", [], proxies) != one
    assert client_of(None, [], proxies) == b""


def test_every_route_is_counted_once() -> None:
    """By key where it asks for one (the rows of the matrix say which do), by address, or on purpose not at all."""
    service = World().service
    built: Any = app.make_app(service, more_routes=page_routes(Page(service, Sessions(), Labels())))
    names = {
        handler.name
        for route in built._app.routes
        for handler, _ in route.route_handler_map.values()
        if handler.name is not None
    }
    assert names >= (app.OPEN | app.UNCOUNTED) - {"begin"}
    assert not app.OPEN & app.UNCOUNTED
    asks = names - app.OPEN - app.UNCOUNTED
    assert {"events", "agent-segments", "msgagentsegments", "now"} <= asks


# --- a real server, with low rates


class Site:
    """A server with two keys of one account, and what it counts."""

    def __init__(self, client: httpx.Client, keys: list[NewKey]) -> None:
        self.client, self.keys = client, keys

    def ask(self, path: str, token: str | None = None, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.client.request(more.pop("method", "GET"), path, headers=headers | more.pop("named", {}), **more)

    def refused(self, limit: str) -> float:
        name = f'handletime_refused_requests_total{{limit="{limit}"}} '
        found = [line for line in self.ask("/metrics").text.splitlines() if line.startswith(name)]
        return float(found[0].removeprefix(name))


@pytest.fixture
def site(nursery: Nursery, tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "store"
    folder.mkdir(mode=0o700)
    with SideFile(folder) as side:
        keys = [create(side, ACCOUNT, ["admin"]) for _ in range(2)]
    rates = ("--key-rate", RATE, "--address-rate", RATE)
    server = nursery.start(folder, "serve", "--data", folder, "--port", "0", *rates)
    url = server.address()
    assert url is not None, server.log.read_text()
    with httpx.Client(base_url=url, timeout=60) as client:
        yield Site(client, keys)
    server.kill()


def until_refused(site: Site, path: str, token: str | None = None, **more: Any) -> tuple[set[int], httpx.Response]:
    """The statuses before a 429, and the 429."""
    seen: set[int] = set()
    for _ in range(50 * MOST):
        answer = site.ask(path, token, **more)
        if answer.status_code == 429:
            return seen, answer
        seen.add(answer.status_code)
    raise AssertionError(f"never refused: {seen}")


def check_refusal(answer: httpx.Response) -> None:
    assert set(answer.json()) == {"message"}
    assert answer.headers["content-type"] == "application/json"
    assert 1 <= int(answer.headers["retry-after"]) <= BURST_S


def test_a_key_has_its_rate_and_other_keys_are_served(site: Site) -> None:
    one, other = (key.token for key in site.keys)
    statuses, answer = until_refused(site, SEGMENTS, one)
    assert statuses == {200}
    check_refusal(answer)
    assert site.ask(SEGMENTS, other).status_code == 200
    # Without a key it is another's concern.
    assert site.ask(SEGMENTS).status_code == 401
    assert site.refused("key-rate") == 1
    assert site.refused("address-rate") == 0
    # A body that nobody would take is not looked at.
    statuses, _ = until_refused(site, EVENTS, one, method="POST", content=b"x" * 100_000)
    assert statuses <= {415}


@pytest.mark.parametrize("wrong", [None, "nonsense", f"ht_{'0' * 12}_{'0' * 64}"])
def test_who_has_no_right_key_is_refused_and_a_right_key_is_not(wrong: str | None, site: Site) -> None:
    statuses, answer = until_refused(site, SEGMENTS, wrong)
    assert statuses == {401}
    check_refusal(answer)
    assert answer.headers["connection"] == "close", "what stands behind it on its connection goes too"
    for path, status in {"/openapi.json": 200, "/docs": 200, "/sign-in": 200, "/agents": 401}.items():
        assert until_refused(site, path)[0] <= {status}
    until_refused(site, EVENTS, wrong, method="POST", content=b"x" * 100_000)
    for path in ("/healthz", "/readyz", "/metrics"):
        assert {site.ask(path).status_code for _ in range(2 * MOST)} == {200}
    assert site.ask(SEGMENTS, site.keys[0].token).status_code == 200
    assert site.refused("address-rate") >= 6


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nowhere"), ("GET", "/static/nothing.css"), ("PUT", "/healthz"), ("BREW", "/agents"), ("PUT", SEGMENTS)],
)
def test_what_leads_nowhere_is_counted_too(method: str, path: str, site: Site) -> None:
    for accept in ("*/*", "text/html"):
        statuses, answer = until_refused(site, path, method=method, named={"Accept": accept})
        assert statuses <= {404, 405}
        check_refusal(answer)
        assert answer.headers["connection"] == "close"
    for there in ("/healthz", "/sign-in"):
        assert site.ask(there).status_code == 200, "what leads nowhere uses up nothing but its own"


def test_the_look_up_of_the_host_is_never_refused_and_uses_nothing_up(site: Site) -> None:
    """Wrappers look up before every call, and many of them share an address."""
    look_ups = [EVENTS.replace("events", f"service/{name}baseURI.json") for name in ("", "agentVep/")]
    assert {site.ask(path).status_code for path in look_ups for _ in range(300)} == {200}
    assert site.ask(SEGMENTS).status_code == 401
    until_refused(site, SEGMENTS)
    assert {site.ask(path).status_code for path in look_ups} == {200}


@pytest.mark.parametrize("wrong", ["nonsense", f"ht_{'0' * 12}_{'0' * 64}"])
def test_guesses_by_http_basic_are_counted_like_others(wrong: str, site: Site) -> None:
    def named(token: str, user: str = "") -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()}

    statuses, answer = until_refused(site, SEGMENTS, named=named(wrong))
    assert statuses == {401}
    check_refusal(answer)
    assert site.refused("address-rate") == 1
    # A right key is its own concern, under whatever names it comes.
    token = site.keys[0].token
    statuses = {site.ask(SEGMENTS, named=named(token, f"user{number}")).status_code for number in range(5 * MOST)}
    assert statuses == {200, 429}
    assert site.refused("key-rate") > 0


def test_the_sign_in_form_is_refused_before_it_is_read(site: Site) -> None:
    statuses, answer = until_refused(site, "/sign-in", method="POST", data={"key": "guess", "next": "/"})
    assert statuses == {403}
    check_refusal(answer)


def test_people_are_told_in_words(site: Site) -> None:
    until_refused(site, "/sign-in")
    _, answer = until_refused(site, "/sign-in", named={"Accept": "text/html"})
    assert "Too many requests" in answer.text
    assert 'http-equiv="refresh"' not in answer.text
    assert int(answer.headers["retry-after"]) >= 1


def test_nobody_chooses_the_address_that_is_counted(site: Site) -> None:
    """Without trusted proxies X-Forwarded-For says nothing."""
    statuses = [
        site.ask(SEGMENTS, named={"X-Forwarded-For": f"198.51.100.{number}"}).status_code for number in range(5 * MOST)
    ]
    assert 429 in statuses


def test_clients_behind_a_trusted_proxy_are_told_apart(nursery: Nursery, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    options = ("--address-rate", RATE, "--trusted-proxies", "127.0.0.0/8")
    server = nursery.start(folder, "serve", "--data", folder, "--port", "0", *options)
    url = server.address()
    assert url is not None, server.log.read_text()

    def status(client: str) -> int:
        return httpx.get(url + SEGMENTS, headers={"X-Forwarded-For": client}).status_code

    try:
        assert 429 in (status("198.51.100.1") for _ in range(50 * MOST))
        assert status("198.51.100.2") == 401
        assert 429 in (status(f"2001:db8::{number}") for number in range(1, 50 * MOST))
        assert status("2001:db8:0:1::1") == 401
    finally:
        server.kill()
