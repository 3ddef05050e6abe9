"""Memory that requests share: so much of all together, and of that one account its part."""

from __future__ import annotations

from collections import Counter
from threading import Lock

from handletime.errors import TooMany
from handletime.store.waiting import may_hold


class Budget:
    """Bytes that all requests together may hold, and of those one account its share. One request alone has room.

    `name` is the setting that is gone against where there is none, `message` what is then said. Any thread may use it.
    """

    def __init__(self, limit: int, name: str, message: str = "") -> None:
        self.limit = limit
        self._name, self._message = name, message
        self._held = 0
        self._of: Counter[str] = Counter()
        self._lock = Lock()

    @property
    def held(self) -> int:
        """How much is held of it."""
        return self._held

    def share(self, account: str = "") -> Share:
        """The part of one request of an account; to be closed at its end."""
        return Share(self, account)

    def take(self, size: int, own: int, account: str) -> None:
        """Raises TooMany where others hold so much, or other requests of the account, that there is no room."""
        with self._lock:
            free = self.limit - self._held - size
            others, others_of_account = self._held - own, self._of[account] - own
            if (others and free < 0) or (others_of_account and not may_hold(self._of[account] + size, free)):
                raise TooMany(self._message, limit=self._name)
            self._held += size
            self._of[account] += size

    def give_back(self, size: int, account: str) -> None:
        """Makes room."""
        with self._lock:
            self._held -= size
            self._of[account] -= size
            if not self._of[account]:
                del self._of[account]


class Share:
    """What one request holds of a budget. `account` is whose request it is; it must not change while any is held."""

    __slots__ = ("_budget", "_closed", "account", "held")

    def __init__(self, budget: Budget, account: str) -> None:
        self._budget = budget
        self.account = account
        self.held = 0
        self._closed = False

    @property
    def limit(self) -> int:
        """What all requests may hold together."""
        return self._budget.limit

    def take(self, size: int) -> None:
        """Takes more. Raises TooMany. Does nothing after its end: what has begun may outlive the request."""
        if self._closed:
            return
        self._budget.take(size, self.held, self.account)
        self.held += size

    def give_back(self, size: int) -> None:
        """Makes room for others."""
        if self._closed:
            return
        self._budget.give_back(size, self.account)
        self.held -= size

    def close(self) -> None:
        """Gives back all of it."""
        if self.held:
            self.give_back(self.held)
        self._closed = True

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
