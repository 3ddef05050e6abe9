"""The order of events and their doubles (rules.md 1, "Order" and `eventId`).

Events are brought together by conversation, put in order within each, and freed of doubles. Conversations stand in
the order of a hash of their ids, which is the same however the events arrived.

Records are moved in buckets that fit the processor's cache.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Compiled code: its integers are NumPy's, and records are seen as Any.

from __future__ import annotations

import secrets
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from handletime.compiled import borrowing, compiled
from handletime.events import model
from handletime.segments.columns import I32, I64, U64, Columns, hash_string, hash_string_twice, mix
from handletime.segments.doubles import Doubles, drop_doubles, find_standing, keep_firsts
from handletime.segments.sorting import EVENT, Record, Records, sort_conversations, sort_events
from handletime.segments.threads import in_shares, shares_of

BUCKET_ROWS: Final = 16_384
"""The number of events, more or less, that are ordered at a time."""


class Ordered(NamedTuple):
    """Conversation i has the places from `starts[i]` to `starts[i + 1]`, in order, each event once.

    At a place stand the event's row in the table (`rows`) and its record of `EVENT` (`records`). `doubles` says what
    became of copies.
    """

    rows: I32
    starts: I64
    doubles: Doubles
    records: Records


def order(events: pa.Table, columns: Columns) -> Ordered:
    """Puts the events of each conversation in order and drops doubles.

    Takes a table of `model.EVENTS` and its columns. Of copies the highest revision stays; of several of it the first
    in the order, of those at one place the first by the bytes of its canonical JSON (rules.md 1, "Copies").
    """
    records, starts = _by_conversation(events, columns)
    doubles = drop_doubles(events, columns, records, starts)
    return _ordered(records[: starts[-1]], starts, doubles)


def order_numbered(columns: Columns, numbers: I64, rows: int | None = None) -> Ordered:
    """Orders events of which each row has the number of its conversation, as in a store.

    Of several copies of the highest revision the first in the table stays. Conversations stand in the order of their
    numbers, which are not negative. Only the first `rows` rows count, if that is given, but each number has its place.
    """
    groups, sizes = groups_of(numbers)
    count = len(numbers) if rows is None else rows
    if count < len(numbers):
        sizes = np.bincount(groups[:count], minlength=len(sizes))
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    records = np.empty(count, EVENT)
    hashes = np.column_stack([groups, numbers]).view(np.uint64)
    fill_buckets(columns, hashes, np.uint64(0), starts[:-1].copy(), np.uint64(_SECRET), records, 0, count)
    first = np.empty(len(records), np.int32)
    find_standing(columns, records, starts, first)
    left = keep_firsts(records, starts, first)
    in_shares(len(sizes), lambda low, high: sort_conversations(columns, records, starts, low, high))
    return _ordered(records[:left], starts, Doubles(count - left))


def _ordered(records: Records, starts: I64, doubles: Doubles) -> Ordered:
    return Ordered(np.ascontiguousarray(records["row"]), starts, doubles, records)


@compiled
def groups_of(numbers: I64) -> tuple[I64, I64]:
    """For each number its place among the different ones in ascending order; and how often each occurs."""
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
"""Seeds the second hash. Both together tell conversations apart: 128 bits, of which nobody knows half."""


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


def _by_conversation(events: pa.Table, columns: Columns) -> tuple[Records, I64]:
    """Records in order within their conversations, doubles too; where each conversation begins (and the last ends)."""
    hashes = hash_all(events, columns)
    records, bounds = _into_buckets(columns, hashes)
    shares = in_shares(
        len(bounds) - 1,
        lambda low, high: order_buckets(columns, hashes, records, bounds, low, high),
        least=2,
    )
    return records, np.concatenate([*shares, np.array([len(records)])])


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
        record.conversation = hashes[row, 1]
        record.event = hash_string(columns.event, row, seed)
        record.row = row
        record.type = columns.type[row]
        record.code = code_of(columns, row)
        record.has_agent = columns.has_agent[row]
        if record.type == model.FOCUSED:
            record.skill, record.has_skill = columns.lease[row], columns.has_lease[row]
        else:
            record.skill, record.has_skill = columns.skill[row], columns.has_skill[row]


@borrowing
def code_of(columns: Columns, row: int) -> int:
    """The place in the closed list that events of the row's type have: `sentBy`, `reason`, `closedBy`, `userType`.

    Openings have none: of them, whether there is a `source`.
    """
    type_ = columns.type[row]
    if type_ == model.MESSAGE:
        return columns.sent_by[row]
    if type_ == model.TRANSFERRED:
        return columns.reason[row]
    if type_ == model.CLOSED:
        return columns.closed_by[row]
    if type_ == model.ASSIGNED:
        return columns.user_type[row]
    if type_ == model.OPENED or type_ == model.RESUMED:
        return np.int8(columns.has_source[row])
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
