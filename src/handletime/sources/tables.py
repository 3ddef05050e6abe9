"""Events of sources as tables, decoded as from anywhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from handletime.events.decode import decode_lines

if TYPE_CHECKING:
    import pyarrow as pa

    from handletime.sources.event import Event

EVENTS_MAX: Final = 50_000
"""The most events of one table."""
PARTS_MAX: Final = 4_000
"""The most parts of one table of lines: conversations, with some events each."""


def tables_of(events: Iterable[Event], *, account: str) -> Iterator[pa.Table]:
    """Tables of `model.EVENTS`, in the order of the events; `account` is for those that name none.

    Raises InvalidEvents where a source made an event that is none: a line is then the number of the event in its table.
    """
    each, encoder = iter(events), msgspec.json.Encoder()
    parts = iter(lambda: encoder.encode_lines(islice(each, EVENTS_MAX)), b"")
    return map(partial(_table_of, account=account), parts)


def tables_of_lines(parts: Iterable[bytes], *, account: str) -> Iterator[pa.Table]:
    """The same from events that are written already, as NDJSON, some at a time."""
    each = iter(parts)
    while some := b"".join(islice(each, PARTS_MAX)):
        yield _table_of(some, account=account)


def _table_of(lines: bytes, *, account: str) -> pa.Table:
    return decode_lines(lines, account=account, unit="event").good_events("the imported events")
