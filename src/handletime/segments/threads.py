"""Work cut in as many contiguous shares as there are processors."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Final, TypeVar

from handletime.processors import processors

T = TypeVar("T")
SMALL: Final = 4096
"""Work of fewer pieces than this is not worth a thread."""


def shares_of(count: int, least: int = SMALL, each: int = 1) -> list[tuple[int, int]]:
    """range(count) cut in contiguous shares, `each` for a processor; in one where there are fewer than `least`."""
    shares = processors() * each if count >= least else 1
    bounds = [count * i // shares for i in range(shares + 1)]
    return list(pairwise(bounds))


def in_shares(count: int, work: Callable[[int, int], T], least: int = SMALL, each: int = 1) -> list[T]:
    """Calls `work(low, high)` on the shares of range(count), side by side; gives the results in the shares' order.

    Only compiled code gains: it runs without the interpreter's lock. Where the work is part compiled and part not,
    several shares `each` let one thread compute while another one holds the lock.
    """
    shares = shares_of(count, least, each)
    if len(shares) == 1:
        return [work(*shares[0])]
    with ThreadPoolExecutor(processors()) as threads:
        return list(threads.map(lambda share: work(*share), shares))
