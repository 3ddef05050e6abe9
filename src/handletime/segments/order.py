"""The order of events and their doubles (rules.md 1, "Order" and `eventId`).

Events are brought together by conversation, put in order within each, and freed of doubles. Conversations stand in
the order of a hash of their ids, which is the same however the events arrived.

What the rules read of an event is copied into one record first, and records are moved in buckets that fit the
processor's cache: a day's events of one conversation lie all over the table, and fetching each field from there
would cost more than everything else.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Compiled code: its integers are NumPy's, and records are seen as Any.

from __future__ import annotations

import secrets
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from handletime.compiled import borrowing, compiled
from handletime.events import model
from handletime.segments.columns import (
    I32,
    I64,
    RANKS,
    U64,
    Columns,
    compare_strings,
    hash_string,
    hash_string_twice,
    mix,
    same_string,
)
from handletime.segments.threads import in_shares, shares_of

BUCKET_ROWS: Final = 8_192
"""So many events, more or less, are ordered at a time."""

Record: TypeAlias = Any
"""One element of a structured array, as compiled code sees it."""
Records: TypeAlias = npt.NDArray[np.void]

EVENT: Final = np.dtype(
    [
        ("time", np.int64),
        ("sequence", np.int64),
        ("agent", np.int64),
        ("skill", np.int64),
        ("conversation", np.uint64),  # a hash of account and conversation, of a secret seed
        ("event", np.uint64),  # the same of the event's id
        ("row", np.int32),
        ("type", np.int8),
        ("code", np.int8),  # place in the one closed list that its type has
        ("has_agent", np.bool_),
        ("has_skill", np.bool_),
        ("has_source", np.bool_),
    ],
    align=True,
)
"""What the rules read of an event: the columns of the same names, `row` the event's row in the table."""


class Ordered(NamedTuple):
    """Conversation i has the places from `starts[i]` to `starts[i + 1]`, in order, each event once.

    At a place stand the event's row in the table (`rows`) and its record of `EVENT` (`records`).
    """

    rows: I32
    starts: I64
    duplicates: int
    differing_copies: int
    records: Records


def order(events: pa.Table, columns: Columns) -> Ordered:
    """Puts the events of each conversation in order and drops doubles.

    Takes a table of `model.EVENTS` and its columns. Of copies the first in the order stays, of those at one place
    the first by the bytes of its canonical JSON; `differing_copies` counts the dropped ones that say something else.
    """
    hashes = hash_all(events, columns)
    records, bounds = _into_buckets(columns, hashes)
    shares = in_shares(
        len(bounds) - 1,
        lambda low, high: order_buckets(columns, hashes, records, bounds, low, high),
        least=2,
    )
    starts = np.concatenate([*shares, np.array([len(records)])])
    runs = in_shares(len(starts) - 1, lambda low, high: tied_runs(columns, records, starts, low, high))
    _settle(events, records, np.concatenate(runs))
    return _without_doubles(events, columns, records, starts)


def order_numbered(columns: Columns, numbers: I64) -> Ordered:
    """The same where each row has the number of its conversation, and the first copy in the table stays (a store).

    Conversations stand in the order of their numbers, which are not negative.
    """
    groups, sizes = groups_of(numbers)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    records = np.empty(len(numbers), EVENT)
    hashes = np.column_stack([groups, numbers]).view(np.uint64)
    fill_buckets(columns, hashes, np.uint64(0), starts[:-1].copy(), np.uint64(_SECRET), records, 0, len(numbers))
    kept_as = np.empty(len(records), np.int32)
    in_shares(len(sizes), lambda low, high: find_doubles(columns, records, starts, kept_as, low, high))
    keep = kept_as == records["row"]
    duplicates = len(keep) - int(keep.sum())
    if duplicates:
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep)])[starts]
        records = records[keep]
    in_shares(len(sizes), lambda low, high: sort_conversations(columns, records, starts, low, high))
    return Ordered(np.ascontiguousarray(records["row"]), starts, duplicates, 0, records)


@compiled
def groups_of(numbers: I64) -> tuple[I64, I64]:
    """For each number its place among the different ones in ascending order; and how often each is there."""
    size = 1024
    while size < 2 * len(numbers):
        size *= 2
    table = np.full(size, -1, np.int32)
    group_of = np.empty(len(numbers), np.int64)
    different = np.empty(len(numbers), np.int64)
    count = 0
    for i in range(len(numbers)):
        slot = np.int64(mix(np.uint64(numbers[i])) & np.uint64(size - 1))
        while table[slot] >= 0 and different[table[slot]] != numbers[i]:
            slot = (slot + 1) & (size - 1)
        if table[slot] < 0:
            table[slot] = count
            different[count] = numbers[i]
            count += 1
        group_of[i] = table[slot]
    ascending = np.argsort(different[:count])
    place = np.empty(count, np.int64)
    for i in range(count):
        place[ascending[i]] = i
    sizes = np.zeros(count, np.int64)
    for i in range(len(numbers)):
        group_of[i] = place[group_of[i]]
        sizes[group_of[i]] += 1
    return group_of, sizes


# --- together by conversation ----------------------------------------------------------------------------------------


def hash_all(events: pa.Table, columns: Columns) -> U64:
    """Two hashes of account and conversation for each row: one that is the same on every machine, a secret one."""
    hashes = np.empty((len(columns.time), 2), np.uint64)
    accounts = account_hashes(events)
    in_shares(
        len(hashes), lambda low, high: hash_conversations(columns, accounts, np.uint64(_SECRET), hashes, low, high)
    )
    return hashes


_SECRET: Final = secrets.randbits(64)
"""Seeds the second hash. Conversations are told apart by both: 128 bits, of which nobody knows half."""


def account_hashes(events: pa.Table) -> U64:
    """A number for each account, by its name alone, so that the order does not depend on who came first."""
    column = events.column("accountId").unify_dictionaries()
    names = column.chunk(0).dictionary.to_pylist() if column.num_chunks else []
    return np.array([hash_text(name) for name in names], np.uint64)


def hash_text(text: str) -> int:
    """A 64-bit number for a text, the same on every machine (FNV-1a)."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


@borrowing
def hash_conversations(columns: Columns, accounts: U64, secret: np.uint64, hashes: U64, low: int, high: int) -> None:
    """Writes both hashes of account and conversation for the rows from low to high."""
    for row in range(low, high):
        account = accounts[columns.account[row]]
        hashes[row, 0], hashes[row, 1] = hash_string_twice(columns.conversation, row, account, mix(account ^ secret))


def _into_buckets(columns: Columns, hashes: U64) -> tuple[Records, I64]:
    """Records in buckets by the upper bits of their hash, and where each bucket begins."""
    count = len(hashes)
    shift = np.uint64(64 - max(1, int(count // BUCKET_ROWS).bit_length()))
    buckets = 1 << (64 - int(shift))
    shares = shares_of(count)
    sizes = in_shares(count, lambda low, high: bucket_sizes(hashes, shift, buckets, low, high))
    bounds = np.zeros(buckets + 1, np.int64)
    bounds[1:] = np.cumsum(np.sum(sizes, axis=0))
    places = np.vstack([np.zeros_like(sizes[0])[None, :], np.cumsum(sizes, axis=0)[:-1]]) + bounds[:-1]
    records = np.empty(count, EVENT)
    in_shares(
        count,
        lambda low, high: fill_buckets(
            columns, hashes, shift, places[shares.index((low, high))], np.uint64(_SECRET), records, low, high
        ),
    )
    return records, bounds


@compiled
def bucket_sizes(hashes: U64, shift: np.uint64, buckets: int, low: int, high: int) -> I64:
    """How many of the rows from low to high fall into each bucket."""
    sizes = np.zeros(buckets, np.int64)
    for row in range(low, high):
        sizes[np.int64(hashes[row, 0] >> shift)] += 1
    return sizes


@borrowing
def fill_buckets(
    columns: Columns,
    hashes: U64,
    shift: np.uint64,
    places: I64,
    seed: np.uint64,
    records: Records,
    low: int,
    high: int,
) -> None:
    """Writes the records of the rows from low to high at the next places of their buckets."""
    for row in range(low, high):
        bucket = np.int64(hashes[row, 0] >> shift)
        record = records[places[bucket]]
        places[bucket] += 1
        record.time = columns.time[row]
        record.sequence = columns.sequence[row]
        record.agent = columns.agent[row]
        record.skill = columns.skill[row]
        record.conversation = hashes[row, 1]
        record.event = hash_string(columns.event, row, seed)
        record.row = row
        record.type = columns.type[row]
        record.code = code_of(columns, row)
        record.has_agent = columns.has_agent[row]
        record.has_skill = columns.has_skill[row]
        record.has_source = columns.has_source[row]


@borrowing
def code_of(columns: Columns, row: int) -> int:
    """The place in the closed list that events of the row's type have: `sentBy`, `reason`, `closedBy`, `userType`."""
    type_ = columns.type[row]
    if type_ == model.MESSAGE:
        return columns.sent_by[row]
    if type_ == model.TRANSFERRED:
        return columns.reason[row]
    if type_ == model.CLOSED:
        return columns.closed_by[row]
    if type_ == model.ASSIGNED:
        return columns.user_type[row]
    return 0


@compiled
def order_buckets(columns: Columns, hashes: U64, records: Records, bounds: I64, low: int, high: int) -> I64:
    """Orders the buckets from low to high in place; gives where each conversation begins."""
    starts = np.empty(bounds[high] - bounds[low], np.int64)
    found = 0
    for bucket in range(low, high):
        first, last = bounds[bucket], bounds[bucket + 1]
        if first == last:
            continue
        inside = records[first:last]
        places, sizes = bring_together(hashes, inside)
        low_place = 0
        for size in sizes:
            starts[found] = first + low_place
            sort_events(columns, inside, places[low_place : low_place + size])
            low_place += size
            found += 1
        inside[:] = inside[places]
    return starts[:found].copy()


@compiled
def sort_conversations(columns: Columns, records: Records, starts: I64, low: int, high: int) -> None:
    """Puts the events of the conversations from low to high in order."""
    for conversation in range(low, high):
        inside = records[starts[conversation] : starts[conversation + 1]]
        places = np.arange(len(inside)).astype(np.int32)
        sort_events(columns, inside, places)
        inside[:] = inside[places]


@compiled
def bring_together(hashes: U64, records: Records) -> tuple[I32, I64]:
    """Places of records by conversation (by hash; those of one keep their order), and the size of each."""
    size = 16
    while size < 2 * len(records):
        size *= 2
    table = np.full(size, -1, np.int32)
    group_of = np.empty(len(records), np.int32)
    example = np.empty(len(records), np.int32)
    sizes = np.zeros(len(records), np.int64)
    groups = 0
    for i in range(len(records)):
        slot = np.int64(records[i].conversation & np.uint64(size - 1))
        while table[slot] >= 0 and not same_conversation(hashes, records[example[table[slot]]], records[i]):
            slot = (slot + 1) & (size - 1)
        if table[slot] < 0:
            table[slot] = groups
            example[groups] = i
            groups += 1
        group_of[i] = table[slot]
        sizes[table[slot]] += 1
    keys = np.empty(groups, np.uint64)
    for group in range(groups):
        keys[group] = hashes[records[example[group]].row, 0]
    by_hash = np.argsort(keys, kind="mergesort")
    next_place = np.empty(groups, np.int64)
    place = 0
    for group in by_hash:
        next_place[group] = place
        place += sizes[group]
    places = np.empty(len(records), np.int32)
    for i in range(len(records)):
        places[next_place[group_of[i]]] = i
        next_place[group_of[i]] += 1
    return places, sizes[:groups][by_hash]


@borrowing
def same_conversation(hashes: U64, a: Record, b: Record) -> bool:
    """Whether two records are of one account's one conversation, by 128 bits of hash."""
    return bool(a.conversation == b.conversation and hashes[a.row, 0] == hashes[b.row, 0])


# --- in order --------------------------------------------------------------------------------------------------------


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


# --- doubles ---------------------------------------------------------------------------------------------------------


@compiled
def tied_runs(columns: Columns, records: Records, starts: I64, low: int, high: int) -> I64:
    """First and last place of every run of copies of one event that share their place in the order."""
    ends = np.empty(16, np.int64)
    found = 0
    for conversation in range(low, high):
        place = starts[conversation]
        while place < starts[conversation + 1]:
            last = place
            while last + 1 < starts[conversation + 1] and is_tied(columns, records[place], records[last + 1]):
                last += 1
            if last > place:
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


def _without_doubles(events: pa.Table, columns: Columns, records: Records, starts: I64) -> Ordered:
    kept_as = np.empty(len(records), np.int32)
    in_shares(len(starts) - 1, lambda low, high: find_doubles(columns, records, starts, kept_as, low, high))
    rows = np.ascontiguousarray(records["row"])
    keep = kept_as == rows
    dropped = np.flatnonzero(~keep)
    if not len(dropped):
        return Ordered(rows, starts, 0, 0, records)
    differing = _count_differing(events, rows[dropped], kept_as[dropped])
    kept_before = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep)])
    return Ordered(rows[keep], kept_before[starts], len(dropped), differing, records[keep])


@compiled
def find_doubles(columns: Columns, records: Records, starts: I64, kept_as: I32, low: int, high: int) -> None:
    """Writes for each place the row that stands for its event: its own, or that of an earlier copy."""
    table = np.full(64, -1, np.int32)
    for conversation in range(low, high):
        first, last = starts[conversation], starts[conversation + 1]
        size = 64
        while size < 2 * (last - first):
            size *= 2
        if size > len(table):
            table = np.full(size, -1, np.int32)
        used = table[:size]
        for place in range(first, last):
            slot = np.int64(records[place].event & np.uint64(size - 1))
            while used[slot] >= 0 and not same_event(columns, records[used[slot]], records[place]):
                slot = (slot + 1) & (size - 1)
            if used[slot] < 0:
                used[slot] = place
            kept_as[place] = records[used[slot]].row
        used[:] = -1


@borrowing
def same_event(columns: Columns, a: Record, b: Record) -> bool:
    """Whether two records of one conversation have the same event id."""
    return bool(a.event == b.event and same_string(columns.event, a.row, b.row))


def _count_differing(events: pa.Table, dropped: I32, kept: I32) -> int:
    """How many dropped copies say something else than the one that stays."""
    differs = np.zeros(len(dropped), bool)
    for name in events.column_names:
        column = events.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        ours, theirs = column.take(kept), column.take(dropped)
        same = pc.fill_null(pc.equal(ours, theirs), pc.and_(ours.is_null(), theirs.is_null()))
        differs |= ~same.to_numpy()
    return int(differs.sum())
