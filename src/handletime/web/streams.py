"""Limits the streams that send news to open pages: in all, for an account, and for a session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from handletime.store.budget import Budget

STREAMS_MAX: Final = 256
"""The most streams in all; other pages ask by themselves."""
OF_SESSION: Final = 4
"""The most streams of one browser. It has six connections to a server: two are left for everything else."""
LIMIT: Final = "streams"
_WAIT_S: Final = 20
"""Seconds after which a page tries again."""


class Streams:
    """The open streams. For one thread."""

    def __init__(self) -> None:
        message = "Too many pages are kept up to date; this one asks for itself."
        self._places = Budget(STREAMS_MAX, LIMIT, message, _WAIT_S)
        self._of_session: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._places.held

    def check(self, account: str, session: str) -> None:
        """Raises TooMany where one more would be too many."""
        if self._of_session[session] >= OF_SESSION:
            raise self._places.refusal()
        self._places.check(1, account)

    @contextmanager
    def one_more(self, account: str, session: str) -> Iterator[None]:
        """Counts one, as long as it lasts. Raises TooMany."""
        self.check(account, session)
        self._of_session[session] += 1
        try:
            with self._places.share(account, 1):
                yield
        finally:
            self._of_session[session] -= 1
            if not self._of_session[session]:
                del self._of_session[session]
