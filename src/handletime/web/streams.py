"""How many browsers are sent what is new: so many in all, of which an account and a session have a share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from handletime.errors import TooMany
from handletime.store.waiting import may_hold

STREAMS_MAX: Final = 256
"""In all; others ask for themselves."""
OF_SESSION: Final = 4
"""Of one browser, which has six connections to a server: two are left for all else."""
LIMIT: Final = "streams"
_WAIT_S: Final = 20
"""After so long a page tries it again."""


class Streams:
    """The streams that are open. For one thread."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()
        self._of_session: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._of.total()

    def check(self, account: str, session: str) -> None:
        """Raises TooMany where one more would be too many."""
        free = STREAMS_MAX - len(self) - 1
        if self._of_session[session] >= OF_SESSION or not may_hold(self._of[account] + 1, free):
            message = "Too many pages are kept up to date; this one asks for itself."
            raise TooMany(message, wait_s=_WAIT_S, limit=LIMIT)

    @contextmanager
    def one_more(self, account: str, session: str) -> Iterator[None]:
        """Counts one, as long as it lasts. Raises TooMany."""
        self.check(account, session)
        for counted, who in ((self._of, account), (self._of_session, session)):
            counted[who] += 1
        try:
            yield
        finally:
            for counted, who in ((self._of, account), (self._of_session, session)):
                counted[who] -= 1
                if not counted[who]:
                    del counted[who]
