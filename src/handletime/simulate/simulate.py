"""The simulation: a centre in, the events of its conversations out.

    load ──> blocks of conversations ──> one stream in time order ──> focus of each agent ──> Arrow
    when      who says what, when         what later blocks cannot      looks of one agent,
                                          precede is final              one after the other

Conversations are written block by block as *legs*: the way from entering a queue to a transfer or close. All legs of
a block take their n-th step together, as columns. Whatever an agent does with a conversation (write, transfer, close,
read) is the end of a *look* at it, of some length; from the looks of an agent, in order of time, follow `focused`
and `unfocused`: a look starts when it should, or when the one before it has ended.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa

from handletime.simulate.centre import Centre
from handletime.simulate.rows import Rows
from handletime.simulate.size import conversations_of
from handletime.simulate.stream import arrivals
from handletime.simulate.tables import table_of
from handletime.simulate.world import World

PIECE: Final = 1 << 17
"""Rows of a table made together: memory of that size is used again, larger comes from the system each time."""


def simulate(centre: Centre, *, batch_events: int = 1_000_000) -> Iterator[pa.Table]:
    """The centre's events in the order in which they arrive, as tables of `model.EVENTS`.

    Each has `batch_events` rows, but the last. They are a function of the centre alone, and together the same
    whatever `batch_events` is. No event lies at or after the end; what is open then stays open. With `messiness` some
    come later than their time says, or twice.
    """
    world = World(centre, conversations_of(centre))
    pieces = _pieces(arrivals(world), batch_events)
    for _, batch in itertools.groupby(pieces, key=operator.itemgetter(0)):
        yield pa.concat_tables([table_of(rows, world) for _, rows in batch])


def _pieces(parts: Iterable[Rows], batch_events: int) -> Iterator[tuple[int, Rows]]:
    """The rows in pieces of at most `PIECE`, each with the number of its batch."""
    given = 0
    for rows in parts:
        while len(rows):
            batch = given // batch_events
            piece = rows[: min(PIECE, (batch + 1) * batch_events - given)]
            yield batch, piece
            rows = rows[len(piece) :]
            given += len(piece)
