"""Copies of one event, of which the first stands (rules.md 1, `eventId`)."""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Compiled code: its integers are NumPy's, and records are seen as Any.

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from handletime.compiled import borrowing, compiled
from handletime.events import model
from handletime.segments.columns import (
    I32,
    I64,
    Bools,
    Columns,
    Strings,
    flags,
    same_string,
    strings,
)
from handletime.segments.sorting import Record, Records, compare_events
from handletime.segments.threads import in_shares


class Texts(NamedTuple):
    """The columns of text that no rule reads; only copies of an event are compared by them."""

    source: Strings
    employee: Strings
    has_employee: Bools


class Doubles(NamedTuple):
    """How many copies were dropped, and how many of them say something else than the one that stays."""

    dropped: int
    differing: int


def drop_doubles(events: pa.Table, columns: Columns, records: Records, starts: I64) -> Doubles:
    """Leaves the first copy of each event; what is left moves to the front of `records`, and `starts` with it.

    Takes conversations in order. Of copies at one place of the order the first by its canonical JSON stays.
    """
    texts = Texts(strings(events, "source"), strings(events, "employeeId"), flags(events, "employeeId"))
    count = len(starts) - 1
    runs = in_shares(count, lambda low, high: unsettled_runs(columns, texts, records, starts, low, high))
    _settle(events, records, np.concatenate(runs))
    first = np.empty(len(records), np.int32)
    in_shares(count, lambda low, high: find_firsts(columns, records, starts, first, low, high))
    differing = in_shares(len(records), lambda low, high: differing_copies(columns, texts, records, first, low, high))
    left = keep_firsts(records, starts, first)
    return Doubles(len(records) - left, sum(differing))


# --- copies at one place of the order --------------------------------------------------------------------------------


@compiled
def unsettled_runs(columns: Columns, texts: Texts, records: Records, starts: I64, low: int, high: int) -> I64:
    """First and last place of every run of copies that share their place in the order, but are not alike."""
    ends = np.empty(16, np.int64)
    found = 0
    for conversation in range(low, high):
        place = starts[conversation]
        while place < starts[conversation + 1]:
            last = place
            unlike = False
            while last + 1 < starts[conversation + 1] and is_tied(columns, records[place], records[last + 1]):
                last += 1
                unlike = unlike or not alike(columns, texts, records[place], records[last])
            if unlike:
                if found + 2 > len(ends):
                    ends = np.concatenate((ends, np.empty_like(ends)))
                ends[found], ends[found + 1] = place, last
                found += 2
            place = last + 1
    return ends[:found].copy().reshape(-1, 2)


@borrowing
def is_tied(columns: Columns, a: Record, b: Record) -> bool:
    """Whether two events of one conversation are copies at one place of the order."""
    return bool(a.time == b.time and a.event == b.event and compare_events(columns, a, b) == 0)


@borrowing
def alike(columns: Columns, texts: Texts, a: Record, b: Record) -> bool:
    """Whether two copies of an event say the same in all their fields."""
    if a.time != b.time or a.sequence != b.sequence or a.type != b.type or a.code != b.code:
        return False
    if a.has_agent != b.has_agent or (a.has_agent and a.agent != b.agent):
        return False
    if a.has_skill != b.has_skill or (a.has_skill and a.skill != b.skill):
        return False
    if a.type == model.ASSIGNED:
        return same_assignment(columns, texts, a.row, b.row)
    has_source = a.code != 0 and (a.type == model.OPENED or a.type == model.RESUMED)
    return bool(not has_source or same_string(texts.source, a.row, b.row))


@borrowing
def same_assignment(columns: Columns, texts: Texts, a: int, b: int) -> bool:
    """The same of what only an `assigned` has."""
    if columns.group[a] != columns.group[b] or texts.has_employee[a] != texts.has_employee[b]:
        return False
    return bool(not texts.has_employee[a] or same_string(texts.employee, a, b))


def _settle(events: pa.Table, records: Records, runs: I64) -> None:
    """Puts the copies of each run in the order of their canonical JSON."""
    if not len(runs):
        return
    tied = np.concatenate([records[first : last + 1] for first, last in runs])
    content = [model.canonical_json(event) for event in events.take(tied["row"]).to_pylist()]
    at = 0
    for first, last in runs:
        size = last - first + 1
        by_content = sorted(range(size), key=content[at : at + size].__getitem__)
        records[first : last + 1] = tied[at : at + size][by_content]
        at += size


# --- copies anywhere in a conversation -------------------------------------------------------------------------------


@compiled
def find_firsts(columns: Columns, records: Records, starts: I64, first: I32, low: int, high: int) -> None:
    """Writes for each place the first place of its conversation that has its event."""
    table = np.full(64, -1, np.int32)
    for conversation in range(low, high):
        begin, end = starts[conversation], starts[conversation + 1]
        size = 64
        while size < 2 * (end - begin):
            size *= 2
        if size > len(table):
            table = np.full(size, -1, np.int32)
        used = table[:size]
        for place in range(begin, end):
            slot = np.int64(records[place].event & np.uint64(size - 1))
            while used[slot] >= 0 and not same_event(columns, records[used[slot]], records[place]):
                slot = (slot + 1) & (size - 1)
            if used[slot] < 0:
                used[slot] = place
            first[place] = used[slot]
        used[:] = -1


@borrowing
def same_event(columns: Columns, a: Record, b: Record) -> bool:
    """Whether two records of one conversation have the same event id."""
    return bool(a.event == b.event and same_string(columns.event, a.row, b.row))


@borrowing
def differing_copies(columns: Columns, texts: Texts, records: Records, first: I32, low: int, high: int) -> int:
    """How many copies at the places from low to high say something else than the first."""
    count = 0
    for place in range(low, high):
        if first[place] != place and not alike(columns, texts, records[place], records[first[place]]):
            count += 1
    return count


@borrowing
def keep_firsts(records: Records, starts: I64, first: I32) -> int:
    """Moves the records that are their events' first to the front, conversation by conversation; gives their number."""
    left = 0
    for conversation in range(len(starts) - 1):
        begin, end = starts[conversation], starts[conversation + 1]
        starts[conversation] = left
        for place in range(begin, end):
            if first[place] == place:
                if left < place:
                    records[left] = records[place]
                left += 1
    starts[-1] = left
    return left
