"""So many requests a second: by key, and by address where no right key was given.

A rate is kept by its theoretical arrival time (GCRA, ITU-T I.371): one number for each who asks, and the exact time
from which the next request is let in. Nobody asked for a while: nothing is kept. So many are kept at most that whoever
has millions of addresses fills no memory.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from threading import Lock
from typing import Final, Generic, TypeVar

from handletime.errors import TooMany

W = TypeVar("W", bytes, str)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

BURST_S: Final = 10
"""So many seconds' worth of requests may come at once."""
KEPT_MAX: Final = 50_000
"""Of more addresses, or keys, those that asked longest ago start anew."""
_PREFIX_BYTES: Final = 8
"""A /64 is one client: whoever has one has all of its addresses."""
_MAPPED_BITS: Final = 96
"""What stands before an IPv4 address that is written as IPv6."""
NOBODY: Final = ""
ACCOUNT: Final[ContextVar[str]] = ContextVar("handletime_account", default=NOBODY)
"""Whose request is being answered; `NOBODY` as long as that is not known."""
LEFT: Final[ContextVar[Callable[[], bool]]] = ContextVar("handletime_left", default=lambda: False)
"""Says whether whoever asked has left."""


class Rate(Generic[W]):
    """So many requests a second for each who asks; 0 is no limit. Any thread may use it."""

    def __init__(self, per_second: float, name: str, now: Callable[[], float] = time.monotonic) -> None:
        self._apart = 1 / per_second if per_second else 0.0
        self._name, self._now = name, now
        self._due: dict[W, float] = {}
        self._lock = Lock()

    def take(self, who: W) -> None:
        """Counts a request. Raises TooMany, which says when it would have been let in."""
        if not self._apart:
            return
        with self._lock:
            now = self._now()
            due = max(self._due.pop(who, now), now)
            wait = due + self._apart - now - BURST_S
            self._due[who] = due if wait > 0 else due + self._apart
            if len(self._due) > KEPT_MAX:
                del self._due[next(iter(self._due))]
        if wait > 0:
            raise TooMany("Too many requests; come again later.", wait_s=math.ceil(wait), limit=self._name)

    def __len__(self) -> int:
        return len(self._due)


class Recent:
    """Whose credentials were right lately, so that it is known before they are looked at. Decides nothing but turns."""

    def __init__(self) -> None:
        self._accounts: dict[bytes, str] = {}
        self._lock = Lock()

    def note(self, credentials: bytes, account: str) -> None:
        """Remembers them."""
        with self._lock:
            self._accounts.pop(credentials, None)
            self._accounts[credentials] = account
            if len(self._accounts) > KEPT_MAX:
                del self._accounts[next(iter(self._accounts))]

    def account(self, credentials: bytes) -> str:
        """The account, `NOBODY` where they are new."""
        return self._accounts.get(credentials, NOBODY)


def client_of(peer: str | None, forwarded: Sequence[str], proxies: Iterable[Network]) -> bytes:
    """Who is counted as one client: its address, of IPv6 the /64.

    `forwarded` are the values of X-Forwarded-For. Each proxy adds whom it was asked by, so they are read from the
    end, and only as long as it is a trusted proxy that says so.
    """
    trusted = tuple(proxies)
    here = address_of(peer or "")
    told = ",".join(forwarded).split(",") if forwarded and trusted else []
    while here is not None and told and _is_in(here, trusted):
        before = address_of(told.pop())
        if before is None:
            break
        here = before
    return b"" if here is None else here.packed[:_PREFIX_BYTES]


def networks(given: Iterable[str]) -> tuple[Network, ...]:
    """Networks of their texts; of IPv4 as such, also where they are written as IPv6. Raises ValueError."""
    return tuple(map(_network, given))


def _network(text: str) -> Network:
    network = ipaddress.ip_network(text, strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    return network if mapped is None else ipaddress.ip_network((mapped, max(0, network.prefixlen - _MAPPED_BITS)))


def is_among(host: str, proxies: tuple[Network, ...]) -> bool:
    """Whether a peer is one of these proxies."""
    address = address_of(host) if proxies else None
    return address is not None and _is_in(address, proxies)


def _is_in(address: Address, proxies: tuple[Network, ...]) -> bool:
    return any(address in network for network in proxies)


def address_of(text: str) -> Address | None:
    """An address, perhaps with a port behind it; one of IPv4 as such, also where it came over IPv6."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
