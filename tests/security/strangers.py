"""Clients without a key that want nothing but to stay: many connections, of each of the kinds that cost a server."""

from __future__ import annotations

import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

import httpx

CONNECTING: Final = 8
"""Threads that connect."""
LEAVING: Final = 4
"""Threads that ask and leave."""
REFUSED: Final = b"POST /api/account/acme/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"


def port_of(url: str) -> int:
    """The port of an address."""
    return urlsplit(url).port or 0


def connected(
    url: str, tls: bool | None = None, *protocols: str, source: str = "127.0.0.1", receives: int | None = None
) -> socket.socket:
    """A connection, over TLS where the address says so, in which these protocols are offered.

    It comes from an address, and the kernel receives so many bytes ahead.
    """
    plain = socket.socket()
    if receives:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
    plain.settimeout(60)
    try:
        plain.bind((source, 0))
        plain.connect(("127.0.0.1", port_of(url)))
    except OSError:
        plain.close()
        raise
    if not (url.startswith("https") if tls is None else tls):
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context.wrap_socket(plain)


def silent(url: str) -> socket.socket:
    """Says nothing; over TLS not even that."""
    return connected(url, tls=False)


def half_a_handshake(url: str) -> socket.socket:
    """Begins TLS, and does not end it."""
    connection = connected(url, tls=False)
    connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
    return connection


def silent_within_tls(url: str) -> socket.socket:
    """Says nothing once there is TLS."""
    return connected(url, None, "h2", "http/1.1")


def asked_once(url: str) -> socket.socket:
    """Asks once, and keeps the connection."""
    connection = connected(url)
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    connection.recv(1000)
    return connection


def dripping(url: str) -> socket.socket:
    """Sends a body that is refused, piece by piece; see `Strangers`."""
    connection = connected(url)
    connection.sendall(REFUSED + b"{")
    return connection


PLAIN: Final[Mapping[str, Callable[[str], socket.socket]]] = {
    "silent": silent,
    "asked once": asked_once,
    "dripping": dripping,
}
OVER_TLS: Final[Mapping[str, Callable[[str], socket.socket]]] = {
    "half a handshake": half_a_handshake,
    "silent within TLS": silent_within_tls,
}


class Strangers:
    """So many connections of a kind, all open at once as far as the server lets them."""

    def __init__(self, url: str, kind: Callable[[str], socket.socket], number: int, drip_s: float = 30.0) -> None:
        self._url, self._kind, self._number, self._drip_s = url, kind, number, drip_s
        self._open: list[socket.socket] = []
        self._leaving = threading.Event()
        self._all = threading.Thread(target=self._come)

    def _come(self) -> None:
        with ThreadPoolExecutor(CONNECTING) as threads:
            for connection in threads.map(self._one, range(self._number)):
                if connection is not None:
                    self._open.append(connection)
        while self._kind is dripping and not self._leaving.wait(self._drip_s):
            for connection in self._open:
                with suppress(OSError):
                    connection.sendall(b" ")

    def _one(self, _: int) -> socket.socket | None:
        if self._leaving.is_set():
            return None
        with suppress(OSError):
            return self._kind(self._url)
        return None

    @property
    def came(self) -> int:
        """How many have connected so far."""
        return len(self._open)

    def __enter__(self) -> Strangers:
        self._all.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._all.join()
        for connection in self._open:
            connection.close()


def ask_and_leave(url: str, seconds: float, ask: bytes) -> None:
    """Asks, does not wait for the answer, and comes again."""
    until = time.monotonic() + seconds

    def go_on() -> None:
        while time.monotonic() < until:
            with suppress(OSError), connected(url) as connection:
                connection.sendall(ask)

    threads = [threading.Thread(target=go_on) for _ in range(LEAVING)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def times_of(url: str, seconds: float, path: str = "/healthz", headers: Mapping[str, str] | None = None) -> list[float]:
    """For so long it is asked four times a second, each on a connection of its own; how long each answer took, in
    seconds, at least 30 where there was none.
    """
    taken = []
    until = time.monotonic() + seconds
    while (begun := time.monotonic()) < until:
        status = 0
        with suppress(httpx.TransportError):
            got = httpx.get(url + path, verify=False, timeout=30, headers=headers)  # noqa: S501 — our own server
            status = got.status_code
        taken.append(time.monotonic() - begun if status == 200 else 30.0)
        time.sleep(0.25)
    return taken


def measured(url: str, name: str) -> float:
    """A figure of /metrics."""
    told = httpx.get(f"{url}/metrics", verify=False).text  # noqa: S501 — our own server
    return next(float(line.split()[-1]) for line in told.splitlines() if line.startswith(name))


@contextmanager
def room_for(number: int) -> Iterator[int]:
    """Room for so many descriptors in this process, or as many as are allowed; says how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = number if hard == resource.RLIM_INFINITY else min(number, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    try:
        yield allowed
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
