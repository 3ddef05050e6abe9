"""What requests share (bytes, events or places), and how much of it one account may take."""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import Final

from handletime.closing import Closing
from handletime.errors import RETRY_AFTER_S, TooMany

_FREE_TIMES: Final = 3


def may_hold(held: int, free: int) -> bool:
    """Whether one account may hold so much, with so much left free by all.

    At most three times what is free: alone it gets three quarters. The more accounts want much, the less each gets,
    and something is always left for whoever comes with little (Choudhury and Hahne's dynamic thresholds).
    """
    return free >= 0 and (held <= _FREE_TIMES * free or held == 1)


class Budget:
    """What all requests together may hold, and the share of one account in it. A request alone always has room.

    A refusal says `message`, names the setting `name`, and asks to wait for `wait_s` seconds. Any thread may use it.
    """

    def __init__(self, limit: int, name: str, message: str = "", wait_s: int = RETRY_AFTER_S) -> None:
        self.limit = limit
        self._name, self._message, self._wait_s = name, message, wait_s
        self._held = 0
        self._of: Counter[str] = Counter()
        self._lock = Lock()

    @property
    def held(self) -> int:
        """How much of it is held."""
        return self._held

    def of(self, account: str) -> int:
        """How much of it an account holds."""
        return self._of[account]

    def share(self, account: str = "", size: int = 0) -> Share:
        """The part of one request of an account, which begins with `size`; to be closed at its end. Raises TooMany."""
        share = Share(self, account)
        if size:
            share.take(size)
        return share

    def has_room(self, size: int, account: str, own: int = 0) -> bool:
        """Whether a request of an account that holds `own` may take more: others, or others of the account, may hold
        so much that there is no room.
        """
        free = self.limit - self._held - size
        others, others_of_account = self._held - own, self._of[account] - own
        return not (others and free < 0) and not (others_of_account and not may_hold(self._of[account] + size, free))

    def check(self, size: int, account: str, own: int = 0) -> None:
        """Raises TooMany where there is no room."""
        if not self.has_room(size, account, own):
            raise self.refusal()

    def take(self, size: int, account: str, own: int = 0) -> None:
        """Takes it. Raises TooMany where there is no room."""
        with self._lock:
            self.check(size, account, own)
            self._add(size, account)

    def hold(self, size: int, account: str) -> None:
        """Takes it, also where there is no room."""
        with self._lock:
            self._add(size, account)

    def give_back(self, size: int, account: str) -> None:
        """Makes room."""
        with self._lock:
            self._add(-size, account)

    def refusal(self) -> TooMany:
        """What is said where there is no room."""
        return TooMany(self._message, wait_s=self._wait_s, limit=self._name)

    def _add(self, size: int, account: str) -> None:
        self._held += size
        self._of[account] += size
        if not self._of[account]:
            del self._of[account]


class Share(Closing):
    """What one request holds of a budget. `account` is whose request it is; it must not change while any is held.

    An answer may be made by one thread and sent by another.
    """

    __slots__ = ("_budget", "_closed", "_lock", "account", "held")

    def __init__(self, budget: Budget, account: str) -> None:
        self._budget = budget
        self.account = account
        self.held = 0
        self._closed = False
        self._lock = Lock()

    @property
    def limit(self) -> int:
        """What all requests may hold together."""
        return self._budget.limit

    def take(self, size: int) -> None:
        """Takes more. Raises TooMany. Does nothing after its end: what has begun may outlive the request."""
        with self._lock:
            if self._closed:
                return
            self._budget.take(size, self.account, self.held)
            self.held += size

    def give_back(self, size: int) -> None:
        """Makes room for others."""
        with self._lock:
            if not self._closed:
                self._give_back(size)

    def close(self) -> None:
        """Gives back all of it."""
        with self._lock:
            if self.held:
                self._give_back(self.held)
            self._closed = True

    def _give_back(self, size: int) -> None:
        self._budget.give_back(size, self.account)
        self.held -= size
