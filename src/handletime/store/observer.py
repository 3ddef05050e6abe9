"""What the store's writer reports, for metrics."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Observer(Protocol):
    """Is called by the writer, in the thread that did the work."""

    def acknowledged(self, *, accepted: int, duplicates: int, requests: int, seconds: float) -> None:
        """Requests were put into the journal together: the numbers of new events, of duplicates and of requests, and
        the seconds that it took.
        """

    def folded(self, *, events: int, touched: int, seconds: float) -> None:
        """What was in the journal stands in the tables: the numbers of events and of touched conversations, and the
        seconds that it took.
        """

    def checkpointed(self, seconds: float) -> None:
        """A checkpoint was done."""


class State(NamedTuple):
    """The state of a store: the sizes of its file, its write-ahead log and its journal; the requests that wait to be
    acknowledged, and the acknowledged events that are not yet folded. What is being worked on counts too.

    `oldest_s` and `unfolded_s` are the ages of the oldest ones, 0 where there is none.
    """

    file_bytes: int
    log_bytes: int
    journal_bytes: int
    waiting_requests: int
    waiting_events: int
    oldest_s: float
    unfolded_events: int
    unfolded_s: float
    problem: str | None
