"""Events as records, and the order they stand in within a conversation (rules.md 1, "Order").

What the rules read of an event is copied into one record: a day's events of one conversation lie all over the table,
and fetching each field from there would cost more than everything else.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Compiled code: its integers are NumPy's, and records are seen as Any.

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from handletime.compiled import borrowing, compiled
from handletime.segments.columns import I32, I64, RANKS, Columns, compare_strings

Record: TypeAlias = Any
"""One element of a structured array, as compiled code sees it."""
Records: TypeAlias = npt.NDArray[np.void]

EVENT: Final = np.dtype(
    [
        ("time", np.int64),
        ("sequence", np.int64),
        ("agent", np.int64),
        ("skill", np.int64),  # of a `focused` its lease in milliseconds
        ("conversation", np.uint64),  # a hash of account and conversation, of a secret seed
        ("event", np.uint64),  # the same of the event's id
        ("row", np.int32),
        ("type", np.int8),
        ("code", np.int8),  # place in the one closed list that its type has; of an opening whether it has a source
        ("has_agent", np.bool_),
        ("has_skill", np.bool_),  # of a `focused` whether it has a lease
    ],
    align=True,
)
"""What the rules read of an event: the columns of the same names, `row` the event's row in the table."""


@compiled
def sort_conversations(columns: Columns, records: Records, starts: I64, low: int, high: int) -> None:
    """Puts the events of the conversations from low to high in order."""
    for conversation in range(low, high):
        inside = records[starts[conversation] : starts[conversation + 1]]
        places = np.arange(len(inside)).astype(np.int32)
        sort_events(columns, inside, places)
        inside[:] = inside[places]


@borrowing
def compare_events(columns: Columns, a: Record, b: Record) -> int:
    """Below, at or above 0 by time, sequence, rank of the type, event id and conversation id (rules.md 1, "Order").

    Takes records of any kind that have `time`, `sequence`, `type` and `row`.
    """
    if a.time != b.time:
        return -1 if a.time < b.time else 1
    if a.sequence != b.sequence:
        return -1 if a.sequence < b.sequence else 1
    difference = np.int64(RANKS[a.type]) - np.int64(RANKS[b.type])
    if difference == 0:
        difference = compare_strings(columns.event, a.row, b.row)
    if difference == 0:
        difference = compare_strings(columns.conversation, a.row, b.row)
    return difference


@compiled
def sort_events(columns: Columns, records: Records, places: I32) -> None:
    """Sorts places by `compare_events` of their records, in place and stable; what is in order costs one look."""
    ordered = True
    for i in range(1, len(places)):
        if compare_events(columns, records[places[i - 1]], records[places[i]]) > 0:
            ordered = False
            break
    if ordered:
        return
    run = 16
    for low in range(0, len(places), run):
        insert(columns, records, places, low, min(low + run, len(places)))
    other = np.empty_like(places)
    while run < len(places):
        for low in range(0, len(places), 2 * run):
            middle, high = min(low + run, len(places)), min(low + 2 * run, len(places))
            merge(columns, records, places, other, low, middle, high)
        run *= 2


@borrowing
def insert(columns: Columns, records: Records, places: I32, low: int, high: int) -> None:
    """Sorts a short run by insertion."""
    for i in range(low + 1, high):
        place = places[i]
        j = i
        while j > low and compare_events(columns, records[places[j - 1]], records[place]) > 0:
            places[j] = places[j - 1]
            j -= 1
        places[j] = place


@borrowing
def merge(columns: Columns, records: Records, places: I32, other: I32, low: int, middle: int, high: int) -> None:
    """Merges two sorted neighbours."""
    if middle >= high or compare_events(columns, records[places[middle - 1]], records[places[middle]]) <= 0:
        return
    for i in range(low, middle):
        other[i] = places[i]
    i, j, place = low, middle, low
    while i < middle and j < high:
        if compare_events(columns, records[other[i]], records[places[j]]) <= 0:
            places[place] = other[i]
            i += 1
        else:
            places[place] = places[j]
            j += 1
        place += 1
    while i < middle:
        places[place] = other[i]
        i += 1
        place += 1
