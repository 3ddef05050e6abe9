"""Addresses and networks: who is one client, and which peers are trusted proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PREFIX_BYTES: Final = 8
"""Bytes of an IPv6 address that count: a /64 is one client, which has all of its addresses."""
_MAPPED_BITS: Final = 96
"""The bits before an IPv4 address that is written as IPv6."""


def client_of(peer: str | None, forwarded: Sequence[str], proxies: Iterable[Network]) -> bytes:
    """The address that a client is counted by; of an IPv6 address the /64.

    `forwarded` are the values of X-Forwarded-For. Each proxy adds the address that asked it, so they are read from
    the end, and only as long as a trusted proxy has added them.
    """
    trusted = tuple(proxies)
    here = _address(peer or "")
    hops = ",".join(forwarded).split(",") if forwarded and trusted else []
    while here is not None and hops and _is_in(here, trusted):
        before = _address(hops.pop())
        if before is None:
            break
        here = before
    return b"" if here is None else here.packed[:_PREFIX_BYTES]


def networks(given: Iterable[str]) -> tuple[Network, ...]:
    """Texts as networks. IPv4 networks that are written as IPv6 become IPv4. Raises ValueError."""
    return tuple(map(_network, given))


def _network(text: str) -> Network:
    network = ipaddress.ip_network(text, strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    return network if mapped is None else ipaddress.ip_network((mapped, max(0, network.prefixlen - _MAPPED_BITS)))


def is_among(host: str, proxies: tuple[Network, ...]) -> bool:
    """Whether a peer is in one of these networks."""
    address = _address(host) if proxies else None
    return address is not None and _is_in(address, proxies)


def _is_in(address: Address, proxies: tuple[Network, ...]) -> bool:
    return any(address in network for network in proxies)


def _address(text: str) -> Address | None:
    """The address in a text, which may have a port. An IPv4 address that came over IPv6 becomes IPv4."""
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
