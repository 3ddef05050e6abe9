"""Ends connections that cost something and bring nothing, so that others find room.

The HTTP server shows requests, not connections. Linux shows the sockets of this process, and what of each was read and
not read. So one thread looks at them twice a second. On other systems only the HTTP server's own limits hold.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import resource
import socket
import stat
import struct
import sys
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from handletime.addresses import Network, client_of, is_among
from handletime.api.errors import refusal
from handletime.api.limits import LEFT
from handletime.errors import InputError, TooMany

EVERY_S: Final = 0.5
"""Seconds between two looks at the connections."""
FIRST_S: Final = 20.0
"""Seconds within which the header of the first request has to come, after the TLS handshake if there is one."""
IDLE_S: Final = 60.0
"""Seconds that a connection may stay without a request under way."""
UNREAD_S: Final = 30.0
UNREAD_BYTES: Final = 64 << 10
"""Bytes of an answer that have to be read in `UNREAD_S`, unless all of it was."""
HELD_BYTES: Final = 256 << 10
"""Bytes of an answer that the system takes before they are sent."""
REQUESTS: Final = 2
"""Requests of an address that may be under way, for each connection that the address may have."""
HEALTH: Final = ("/healthz", "/readyz", "/metrics")
"""Paths of monitoring, which finds room where others do not."""
FRESH_S: Final = 2.0
"""Seconds for which a connection stays however many its address has, so that a new request is always answered."""
LOG_EVERY_S: Final = 60.0
"""Seconds between two log lines about ended connections."""
RESERVED_FILES: Final = 512
"""Descriptors for everything but connections: the store, its log, what queries spill."""
FILES_MIN: Final = 256
FILES_MAX: Final = 1 << 16
ROOM: Final = 8
"""The share of places, 1 in 8, that is kept for connections which come between two looks."""

Reason = Literal["silent", "unread", "address", "all", "stopping"]
REASONS: Final[tuple[Reason, ...]] = ("silent", "unread", "address", "all", "stopping")
Peer = tuple[str, int]
_TCP_INFO: Final = struct.Struct("=B119xQQ")
"""`tcp_info` of linux/tcp.h: the state, the bytes of ours that the other side has, and those of its own that came."""
_CLOSE_WAIT: Final = 8
"""The other side has closed it, or will send no more; the HTTP server does not answer it then."""
_REFUSAL: Final = refusal(TooMany(), {"Connection": "close"})
_log: Final = logging.getLogger(__name__)


class Limits(msgspec.Struct, frozen=True):
    """How many connections an address may have (0 is no limit; trusted proxies have none), and how many all may have.

    `most` counts as far as there are descriptors.
    """

    of_address: int = 256
    most: int = 4096
    proxies: tuple[Network, ...] = ()


class SocketState(NamedTuple):
    """One connection as the kernel shows it: the bytes that the client has received, has not yet received, and has
    sent; and whether the client has closed it.
    """

    descriptor: int
    inode: int
    peer: Peer
    got: int
    owed: int
    came: int
    left: bool = False


class Connection:
    """What is known of one connection. The event loop counts its requests; the thread notes the rest."""

    def __init__(self, now: float) -> None:
        self.inode = 0
        self.since = self.heard = self.marked = now
        self.asked = False
        self.under_way = 0
        self.incomplete = 0
        """The number of requests under way whose body is not complete."""
        self.owes = False
        """Whether there is something that the client has not received."""
        self.got = self.marked_got = self.came = 0
        self.ended = False
        self.left = False
        """Whether the client has closed it."""

    def look(self, seen: SocketState, now: float) -> None:
        """Notes what has changed."""
        if self.inode and self.inode != seen.inode:
            # Another one from the same port.
            self.since = self.heard = now
            self.asked = self.ended = False
        self.inode, self.got, self.came, self.left = seen.inode, seen.got, seen.came, seen.left
        self.owes = seen.owed > 0
        if not self.owes or not 0 <= seen.got - self.marked_got < UNREAD_BYTES:
            self.marked, self.marked_got = now, seen.got
        if self.owes:
            self.heard = now

    def reason(self, now: float) -> Reason | None:
        """Why it should be ended, whatever others there are; None where it should not."""
        if self.owes:
            return "unread" if now - self.marked > UNREAD_S else None
        patience = IDLE_S if self.asked else FIRST_S
        return "silent" if not self.under_way and now - self.heard > patience else None

    def priority(self, now: float) -> tuple[int, float]:
        """The order in which connections are ended, the least first.

        First those without a request, the longest idle first; then those whose body is not complete, the slowest
        first; then those that are being answered.
        """
        if self.under_way > self.incomplete or self.owes:
            return 2, self.heard
        return (1, self.came / (now - self.heard + 1)) if self.under_way else (0, self.heard)


Pair = tuple[SocketState, Connection]


class Connections:
    """All connections of one server."""

    def __init__(
        self,
        limits: Limits | None = None,
        ended: Callable[[Reason, int], None] = lambda *_: None,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        """`ended` is called with the number of connections that were ended and why, `refused` when a request was."""
        self._limits = limits or Limits()
        self._ended, self._refused = ended, refused
        self._known: dict[Peer, Connection] = {}
        self._under_way: Counter[bytes] = Counter()
        self._port = 0
        self._stopped = threading.Event()
        self._stops = math.inf
        self._unlogged: Counter[Reason] = Counter()
        self._logged_at = -LOG_EVERY_S
        self.open = 0
        """The number of connections at the last look."""
        self.room = room_for(self._limits.most)
        """The number of connections that the HTTP server should accept."""

    def noting(self, app: ASGIApp) -> ASGIApp:
        """Wraps the application so that its requests are counted."""

        async def noted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != ScopeType.HTTP or scope["client"] is None:
                await app(scope, receive, send)
                return
            address = _address(scope["client"][0])
            if self._is_full(address, scope):
                for message in _REFUSAL:
                    await send(message)
                self._refused()
                return
            connection = self._of(scope["client"])
            LEFT.set(lambda: connection.left)
            counted = _Counted(connection, scope, receive)
            self._under_way[address] += 1
            try:
                await app(scope, counted, send)
            finally:
                counted.close()
                self._under_way[address] -= 1
                if not self._under_way[address]:
                    del self._under_way[address]

        return noted

    def _is_full(self, address: bytes, scope: HTTPScope) -> bool:
        """Whether more requests of an address are under way than its clients can be waiting for.

        A client that leaves as soon as a request is begun, and comes again, has no connection that counts. The request
        still has to be answered.
        """
        most = REQUESTS * self._limits.of_address * (2 if scope["path"] in HEALTH else 1)
        if not 0 < most <= self._under_way[address]:
            return False
        client = scope["client"]
        return client is not None and not is_among(client[0], self._limits.proxies)

    def _of(self, client: tuple[str, int]) -> Connection:
        # The HTTP server gives the port as text.
        peer = client[0], int(client[1])
        return self._known.get(peer) or self._known.setdefault(peer, Connection(time.monotonic()))

    def watch(self, port: int) -> None:
        """Watches the connections to this port from now on, if the system shows them."""
        self._port = port
        if sys.platform == "linux":
            threading.Thread(target=self._watch, name="connections", daemon=True).start()

    def stop(self) -> None:
        """Stops watching."""
        self._stopped.set()

    def stop_within(self, seconds: float) -> None:
        """Ends idle connections soon, and all connections after so many seconds."""
        self._stops = time.monotonic() + seconds

    def _watch(self) -> None:
        hold_little(self._port)
        while not self._stopped.wait(EVERY_S):
            try:
                self._tidy(time.monotonic())
            except Exception:
                _log.exception("looking at the connections failed; it is tried again")

    def _tidy(self, now: float) -> None:
        remaining = []
        for seen, connection in self._look(now):
            if connection.ended:
                continue
            if reason := connection.reason(now) or self._stopping(connection, now):
                self._end(seen, connection, reason)
            else:
                remaining.append((seen, connection))
        self._end_surplus(remaining, now)
        self._tell(now)

    def _stopping(self, connection: Connection, now: float) -> Reason | None:
        """Whether it ends because the server stops: it has no request, or the time is over.

        The HTTP server tells its clients that it stops, but they may not react.
        """
        is_over = now > self._stops or (self._stops < math.inf and connection.priority(now)[0] == 0)
        return "stopping" if is_over else None

    def _look(self, now: float) -> list[Pair]:
        found = []
        for seen in connections_to(self._port):
            connection = self._known.setdefault(seen.peer, Connection(now))
            connection.look(seen, now)
            found.append((seen, connection))
        there = {seen.peer for seen, _ in found}
        for peer, connection in list(self._known.items()):
            if peer not in there and now - connection.since > EVERY_S:
                connection.left = True
                if not connection.under_way:
                    self._known.pop(peer, None)
        self.open = len(found)
        return found

    def _end_surplus(self, found: list[Pair], now: float) -> None:
        by_address: dict[bytes, list[Pair]] = {}
        for seen, connection in found:
            if not is_among(seen.peer[0], self._limits.proxies):
                by_address.setdefault(_address(seen.peer[0]), []).append((seen, connection))
        for own in by_address.values():
            own.sort(key=lambda each: each[1].priority(now))
            own[:] = self._within_address(own, now)
        # Connections of proxies take none of the others' room, unless there is too little for both.
        others = sum(map(len, by_address.values()))
        surplus = min(len(found) - (self.room - self.room // ROOM), others - self.room // ROOM)
        # The more connections an address has, the sooner one of them goes; of one address, the least first.
        ranked = [(len(own) - place, *each) for own in by_address.values() for place, each in enumerate(own)]
        for _, seen, connection in sorted(ranked, key=lambda each: -each[0])[: max(0, surplus)]:
            self._end(seen, connection, "all")

    def _within_address(self, own: Sequence[Pair], now: float) -> Iterator[Pair]:
        """The connections of one address that may stay. Those that are being answered always may."""
        over = len(own) - self._limits.of_address
        for seen, connection in own:
            fresh = now - connection.since < FRESH_S
            if self._limits.of_address and over > 0 and not fresh and connection.priority(now)[0] < 2:
                self._end(seen, connection, "address")
                over -= 1
            else:
                yield seen, connection

    def _end(self, seen: SocketState, connection: Connection, reason: Reason) -> None:
        connection.ended = True
        end(seen, at_once=reason == "unread")
        self._ended(reason, 1)
        self._unlogged[reason] += 1

    def _tell(self, now: float) -> None:
        if self._unlogged and now - self._logged_at >= LOG_EVERY_S:
            ended = ", ".join(f"{number} {reason}" for reason, number in sorted(self._unlogged.items()))
            _log.warning("connections were ended: %s; %d are open", ended, self.open)
            self._unlogged.clear()
            self._logged_at = now


class _Counted:
    """Counts a request of a connection until it is closed. Its body has to be received by calling this."""

    __slots__ = ("_connection", "_incomplete", "_receive")

    def __init__(self, connection: Connection, scope: HTTPScope, receive: Receive) -> None:
        names = {name.lower(): value for name, value in scope["headers"]}
        self._connection, self._receive = connection, receive
        self._incomplete = names.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in names
        connection.heard = time.monotonic()
        connection.asked, connection.left = True, False
        connection.under_way += 1
        connection.incomplete += self._incomplete

    async def __call__(self) -> Any:
        message: Any = await self._receive()
        if not message.get("more_body", False):
            self._complete()
        return message

    def close(self) -> None:
        self._complete()
        self._connection.heard = time.monotonic()
        self._connection.under_way -= 1

    def _complete(self) -> None:
        self._connection.incomplete -= self._incomplete
        self._incomplete = False


@lru_cache(maxsize=4096)
def _address(host: str) -> bytes:
    """The address that connections are counted by."""
    return client_of(host, (), ())


def room_for(most: int) -> int:
    """How many connections there is room for, up to `most`. Raises InputError where there are too few descriptors.

    From now on this process may have as many descriptors as the system allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS allows fewer than it says.
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    allowed = FILES_MAX if soft == resource.RLIM_INFINITY else soft
    if allowed < FILES_MIN:
        raise InputError(
            f"this process may have {allowed} files and connections open, but needs {FILES_MIN}: "
            "raise the limit (`ulimit -n`, `LimitNOFILE`)"
        )
    return min(most, allowed - min(RESERVED_FILES, allowed // 2))


def connections_to(port: int) -> Iterator[SocketState]:
    """The connections that clients made to a port of this process. Linux only."""
    for descriptor, inode in _sockets():
        with suppress(OSError):
            if seen := _seen(descriptor, inode, port):
                yield seen


def hold_little(port: int) -> None:
    """Lets the system take little of an answer before it is read (TCP_NOTSENT_LOWAT). Linux only.

    This holds for all connections that are made to a port of this process from now on. Else the system would take
    4 MB, and report room in steps of 1 MB: a slow reader would look like one that does not read.
    """
    for descriptor, _ in _sockets():
        with suppress(OSError), _borrowed(descriptor) as ours:
            listens = ours.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens and ours.family != socket.AF_UNIX and ours.getsockname()[1] == port:
                ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, HELD_BYTES)


def _sockets() -> Iterator[tuple[int, int]]:
    """This process' sockets: descriptors and inodes."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 — names, thousands of them
        with suppress(OSError):
            status = os.fstat(int(name))
            if stat.S_ISSOCK(status.st_mode):
                yield int(name), status.st_ino


@contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket]:
    """A socket object over a descriptor that others own."""
    # Not a duplicate: closing one of a file, should it be one by now, would take the locks of the store with it.
    # Python finds out of which family it is: of a longer address than it expects, it would see the beginning.
    borrowed = socket.socket(fileno=descriptor)
    try:
        yield borrowed
    finally:
        borrowed.detach()


def _seen(descriptor: int, inode: int, port: int) -> SocketState | None:
    """The connection of a descriptor. Raises OSError where it is none, or closed meanwhile."""
    with _borrowed(descriptor) as borrowed:
        here: Any = borrowed.getsockname()
        if not isinstance(here, tuple) or here[1] != port:
            return None
        peer = borrowed.getpeername()
        state, got, came = _TCP_INFO.unpack_from(borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256))
        waiting = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
        host = peer[0].partition("%")[0]  # The HTTP server does not name the interface either.
        owed = int.from_bytes(waiting, sys.byteorder)
        return SocketState(descriptor, inode, (host, peer[1]), got, owed, came, state == _CLOSE_WAIT)


def end(seen: SocketState, *, at_once: bool) -> None:
    """Ends a connection under the HTTP server, which then closes it. `at_once` drops what was not yet sent."""
    with suppress(OSError):
        if os.fstat(seen.descriptor).st_ino != seen.inode:  # It is closed, and the descriptor another one's.
            return
        with _borrowed(seen.descriptor) as borrowed:
            if at_once:
                borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            borrowed.shutdown(socket.SHUT_RDWR)
