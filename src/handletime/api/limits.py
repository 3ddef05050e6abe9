"""Limits on requests a second: by key, and by address where no valid key was given.

A rate is kept as its theoretical arrival time (GCRA, ITU-T I.371): one number for each client, the exact time from
which the next request is let in. At most `KEPT_MAX` are kept, so a client with millions of addresses fills no memory.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from threading import Lock
from typing import Final, Generic, TypeVar

from handletime.errors import TooMany

W = TypeVar("W", bytes, str)

BURST_S: Final = 10
"""Seconds' worth of requests that may come at once."""
KEPT_MAX: Final = 50_000
"""The number of addresses, or keys, that are remembered. Beyond it, those that asked longest ago are forgotten."""
NOBODY: Final = ""
ACCOUNT: Final[ContextVar[str]] = ContextVar("handletime_account", default=NOBODY)
"""The account whose request is being answered; `NOBODY` as long as that is not known."""
LEFT: Final[ContextVar[Callable[[], bool]]] = ContextVar("handletime_left", default=lambda: False)
"""Says whether the client of the request has left."""


class Rate(Generic[W]):
    """A limit on requests a second for each client; 0 is no limit. Any thread may use it."""

    def __init__(self, per_second: float, name: str, now: Callable[[], float] = time.monotonic) -> None:
        self._apart = 1 / per_second if per_second else 0.0
        self._name, self._now = name, now
        self._due: dict[W, float] = {}
        self._lock = Lock()

    def take(self, who: W, size: int = 1) -> None:
        """Counts a request that is as much as `size` others. Raises TooMany, which says when it would have been let in.

        A large one is let in where one of size 1 would be; those after it wait for it all.
        """
        if not self._apart:
            return
        with self._lock:
            now = self._now()
            due = max(self._due.pop(who, now), now)
            wait = due + self._apart - now - BURST_S
            self._due[who] = due if wait > 0 else due + self._apart * size
            if len(self._due) > KEPT_MAX:
                del self._due[next(iter(self._due))]
        if wait > 0:
            raise TooMany("Too many requests; come again later.", wait_s=math.ceil(wait), limit=self._name)

    def __len__(self) -> int:
        return len(self._due)


class Recent:
    """The accounts of credentials that authenticated recently. Decides whose turn a request takes, nothing else."""

    def __init__(self) -> None:
        self._accounts: dict[bytes, str] = {}
        self._lock = Lock()

    def note(self, credentials: bytes, account: str) -> None:
        """Remembers the account of credentials that have authenticated."""
        with self._lock:
            self._accounts.pop(credentials, None)
            self._accounts[credentials] = account
            if len(self._accounts) > KEPT_MAX:
                del self._accounts[next(iter(self._accounts))]

    def account(self, credentials: bytes) -> str:
        """The account of credentials; `NOBODY` where they are new."""
        return self._accounts.get(credentials, NOBODY)
