"""Events of sources as tables, decoded as from anywhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from handletime.events.decode import decode_lines

if TYPE_CHECKING:
    import pyarrow as pa

    from handletime.sources.event import Event

EVENTS_MAX: Final = 50_000
"""The most events of one table."""


def tables_of(events: Iterable[Event], *, account: str) -> Iterator[pa.Table]:
    """Tables of `model.EVENTS`, in the order of the events; `account` is for those that name none.

    Raises InvalidEvents where a source made an event that is none: a line is then the number of the event in its table.
    """
    each = iter(events)
    encoder = msgspec.json.Encoder()
    while lines := encoder.encode_lines(islice(each, EVENTS_MAX)):
        yield decode_lines(lines, account=account, unit="event").good_events("the imported events")
