"""Copies of one event, of which one stands (rules.md 1, "Copies"): of the highest revision the first."""

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
    in_one_piece,
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
    """How many copies were dropped.

    `differing` of them say something else than the one that comes first of their revision, `corrected` are of a lower
    revision than the one that stands. Both are counted for files only.
    """

    dropped: int
    differing: int = 0
    corrected: int = 0


def drop_doubles(events: pa.Table, columns: Columns, records: Records, starts: I64) -> Doubles:
    """Keeps of each event the copy that stands. These records move to the front of `records`; `starts` is changed too.

    Takes conversations in order. Of copies of one revision at one place of the order the first by its canonical JSON
    counts as the first.
    """
    source, employee = in_one_piece(events["source"]), in_one_piece(events["employeeId"])
    texts = Texts(strings(source), strings(employee), flags(employee))
    count = len(starts) - 1
    runs = in_shares(count, lambda low, high: unsettled_runs(columns, texts, records, starts, low, high))
    _settle(events, records, np.concatenate(runs))
    first = np.empty(len(records), np.int32)
    find_standing(columns, records, starts, first)
    differing, corrected = 0, 0
    for share in in_shares(len(records), lambda low, high: count_copies(columns, texts, records, first, low, high)):
        differing, corrected = differing + share[0], corrected + share[1]
    left = keep_firsts(records, starts, first)
    return Doubles(len(records) - left, differing, corrected)


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
    """Whether two `assigned` say the same in the fields that no other type has."""
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


def find_standing(columns: Columns, records: Records, starts: I64, first: I32) -> None:
    """Writes for each place the first place of its conversation that has its event in its revision.

    Where that is the place itself, but another revision is higher, the place of one of a higher revision. So the
    copies that stand are those at the places that name themselves.
    """
    count = len(starts) - 1
    in_shares(count, lambda low, high: find_firsts(columns, records, starts, first, False, low, high))
    if columns.revision.any():
        in_shares(count, lambda low, high: find_firsts(columns, records, starts, first, True, low, high))


@compiled
def find_firsts(
    columns: Columns, records: Records, starts: I64, first: I32, highest: bool, low: int, high: int
) -> None:
    """Writes for each place the first place of its conversation that has its event in its revision.

    After that, with `highest`: lets places that name themselves, but have a lower revision than another one of their
    event, name one of a higher.
    """
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
            if highest and first[place] != place:
                continue
            slot = np.int64(records[place].event & np.uint64(size - 1))
            while used[slot] >= 0 and not same_copy(columns, records[used[slot]], records[place], highest):
                slot = (slot + 1) & (size - 1)
            other = used[slot]
            if other < 0:
                used[slot] = place
                first[place] = place
            elif highest and columns.revision[records[other].row] < columns.revision[records[place].row]:
                used[slot] = place
                first[other] = place
            else:
                first[place] = other
        used[:] = -1


@borrowing
def same_copy(columns: Columns, a: Record, b: Record, any_revision: bool) -> bool:
    """Whether two records of one conversation have the same event id, and the same revision or any."""
    return bool(same_event(columns, a, b) and (any_revision or columns.revision[a.row] == columns.revision[b.row]))


@borrowing
def same_event(columns: Columns, a: Record, b: Record) -> bool:
    """Whether two records of one conversation have the same event id."""
    return bool(a.event == b.event and same_string(columns.event, a.row, b.row))


@borrowing
def count_copies(columns: Columns, texts: Texts, records: Records, first: I32, low: int, high: int) -> tuple[int, int]:
    """Of the places from low to high, how many copies differ from the first of their revision; how many of a lower
    revision than the one that stands there are."""
    differing, corrected = 0, 0
    for place in range(low, high):
        leader = first[place]
        if leader == place:
            continue
        if columns.revision[records[leader].row] != columns.revision[records[place].row]:
            corrected += 1  # the first of its revision, but another one is higher
        else:
            corrected += first[leader] != leader
            differing += not alike(columns, texts, records[place], records[leader])
    return differing, corrected


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
