"""How many browsers are sent what is new: so many in all, of which an account and a session have a share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from handletime.store.budget import Budget

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
        message = "Too many pages are kept up to date; this one asks for itself."
        self._places = Budget(STREAMS_MAX, LIMIT, message, _WAIT_S)
        self._of_session: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._places.held

    def check(self, account: str, session: str) -> None:
        """Raises TooMany where one more would be too many."""
        if self._of_session[session] >= OF_SESSION or not self._places.has_room(1, account):
            raise self._places.refusal()

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
