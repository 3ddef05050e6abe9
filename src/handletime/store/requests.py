"""Requests that bring events, and what becomes of them."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from handletime.errors import InvalidEvents


class Request(NamedTuple):
    """Good events of one account, a table of `events.model.EVENTS` (its `accountId` does not count).

    Where it is several requests, one after the other, `sizes` are their numbers of events.
    """

    account: str
    events: pa.Table
    sizes: tuple[int, ...] = ()

    @property
    def parts(self) -> tuple[int, ...]:
        """The number of events of each request."""
        return self.sizes or (self.events.num_rows,)


class Ingested(NamedTuple):
    """What became of a request: how many events were newly stored, and how many had come before."""

    accepted: int
    duplicates: int


Outcome = Ingested | InvalidEvents
"""What became of a request, or why nothing of it was stored."""
