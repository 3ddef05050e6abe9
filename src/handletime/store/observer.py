"""Whoever wants to know what the store's writer does: its metrics."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Observer(Protocol):
    """Is told, in the thread that did it."""

    def committed(self, *, accepted: int, duplicates: int, requests: int, touched: int, seconds: float) -> None:
        """Requests were written together and are durable: their new events, those that had come before, and the
        conversations touched.
        """

    def checkpointed(self, seconds: float) -> None:
        """The write-ahead log was worked into the file."""


class Unobserved:
    """Nobody wants to know."""

    def committed(self, *, accepted: int, duplicates: int, requests: int, touched: int, seconds: float) -> None:
        """Nothing."""

    def checkpointed(self, seconds: float) -> None:
        """Nothing."""


class State(NamedTuple):
    """How a store is: the sizes of its file and its write-ahead log, and what waits to be answered by its writer,
    that which it is writing included. `oldest_s` is the age of the oldest of these, 0 where there is none.
    """

    file_bytes: int
    log_bytes: int
    waiting_requests: int
    waiting_events: int
    oldest_s: float
    problem: str | None
