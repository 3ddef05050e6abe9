"""What the store's writer reports, for metrics."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Observer(Protocol):
    """Is called by the writer, in the thread that did the work."""

    def committed(self, *, accepted: int, duplicates: int, requests: int, touched: int, seconds: float) -> None:
        """Requests were written together and are durable: the numbers of new events, of duplicates, of requests and
        of touched conversations, and the seconds that it took.
        """

    def checkpointed(self, seconds: float) -> None:
        """A checkpoint was done."""


class State(NamedTuple):
    """The state of a store: the sizes of its file and its write-ahead log, and the requests that wait for its writer.

    Those that are being written count too. `oldest_s` is the age of the oldest one, 0 where there is none.
    """

    file_bytes: int
    log_bytes: int
    waiting_requests: int
    waiting_events: int
    oldest_s: float
    problem: str | None
