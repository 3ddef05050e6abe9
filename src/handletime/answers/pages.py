"""Lists of ended segments. Those of agent segments have pages in a total order, at any offset.

Not all that lies before a page is sorted: sorting millions of rows for one page is what takes the time, so a large
result is first counted by time (or by the sort's key), and only the part that the page lies in is sorted. An id is a
SHA: ids are worked out for the rows of the page, and for those that tie with its first and last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, starmap
from typing import Final, Literal, NamedTuple

from handletime.answers.relations import Snapshot
from handletime.answers.selection import Condition, Selection, instant_of
from handletime.answers.terms import RELATIONS, Table
from handletime.segments.ids import segment_id

SortKey = Literal["Date", "Conversation", "Agent", "Employee", "Skill", "Group", "HandleTime", "Duration"]
COLUMNS: Final[dict[SortKey, str]] = {
    "Date": '"end"',
    "Conversation": "conversationId",
    "Agent": "agentId",
    "Employee": "employeeId",
    "Skill": "skillId",
    "Group": "groupId",
    "HandleTime": "case when focusData and userType = 'human' then totalHandleTimeMillis end",
    "Duration": """epoch_ms("end") - epoch_ms(start)""",
}
LARGEST_FIRST: Final[frozenset[SortKey]] = frozenset({"Date", "HandleTime", "Duration"})
"""Keys that sort descending where nothing is said."""
NARROW_FROM: Final = 50_000
"""Results of fewer rows are sorted as they are."""
PICK_FROM: Final = 4_000
"""Up to this number of rows, all ids are worked out."""
_BUCKETS: Final = 1000
_FIRST_ROWS: Final = 10_000
"""Pages up to here are looked for at the beginning of the order, without a histogram."""
_FIRST_TRY: Final = 60_000
_FETCHED: Final = 1000
_GROWTH: Final = 8
"""The first part that is tried there is `_FIRST_TRY` milliseconds long; this is how it grows."""


class Sort(NamedTuple):
    """An order: by a key, then by end descending, then by `segmentId`.

    Rows without an employee, or without a known handle time, always come last.
    """

    key: SortKey = "Date"
    descending: bool = True

    @property
    def sql(self) -> str:
        """The columns of an `order by`, but for `segmentId`, which comes last."""
        direction = "desc" if self.descending else "asc"
        by_end = "" if self.key == "Date" else ', "end" desc'
        return f"{COLUMNS[self.key]} {direction} nulls last{by_end}"


class Segment(NamedTuple):
    """One row; times in epoch milliseconds."""

    segment_id: str
    start: int
    end: int
    conversation: str
    agent: int
    employee: str | None
    skill: int
    group: int
    end_reason: str
    handle_time: int
    """In milliseconds; 0 where it is unknown: where there is no focus data."""
    user_type: str
    outcome: str
    source: str | None
    focus_data: bool


# The conditions below are made of constants; every value is bound.
# ruff: noqa: S608

_SELECT: Final = """select segmentId, epoch_ms(start), epoch_ms("end"), conversationId, agentId, employeeId, skillId,
    groupId, cast(endReason as varchar), coalesce(totalHandleTimeMillis, 0),
    cast(userType as varchar), cast(outcome as varchar), source, focusData from agent_segments"""


def rows_of(
    snapshot: Snapshot, wanted: Selection, sort: Sort, *, offset: int, limit: int | None
) -> tuple[int, Iterator[Segment]]:
    """The number of all rows, and the rows of the page one by one, until the snapshot's next query.

    A page has all rows from `offset` on where `limit` is None.
    """
    part = wanted.condition()
    count = _number(snapshot, part)
    if offset >= count:
        return count, iter(())
    rows = count
    if limit is not None and count >= NARROW_FROM:
        part, offset, rows = _narrowed(snapshot, part, wanted, sort, offset, limit) or (part, offset, rows)
    if limit is not None and rows >= PICK_FROM:
        part, offset = _picked(snapshot, part, sort, offset, limit)
    order = f"order by {sort.sql}, segmentId limit $limit offset $offset"
    found = snapshot.execute(
        f"{_SELECT} where {part.where} {order}", part.parameters | {"limit": limit, "offset": offset}
    )
    return count, starmap(Segment, chain.from_iterable(iter(partial(found.fetchmany, _FETCHED), [])))


def count_of(snapshot: Snapshot, wanted: Selection, table: Table = "agentSegments") -> int:
    """The number of segments of a table."""
    return _number(snapshot, wanted.condition(table), RELATIONS[table])


def _number(snapshot: Snapshot, part: Condition, relation: str = "agent_segments") -> int:
    found = snapshot.execute(f"select count(*) from {relation} where {part.where}", part.parameters)
    (number,) = found.fetchone() or (0,)
    return int(number)


class _Narrowed(NamedTuple):
    """A part that holds the page, the page's offset in it, and the part's number of rows, about."""

    part: Condition
    offset: int
    rows: int


def _narrowed(
    snapshot: Snapshot, part: Condition, wanted: Selection, sort: Sort, offset: int, limit: int
) -> _Narrowed | None:
    """A smaller part that holds the page; None where there is none."""
    if sort.key == "Date" and offset + limit <= _FIRST_ROWS:
        return _first(snapshot, part, wanted, sort, offset, limit)
    if sort.key == "Date":
        return _by_time(snapshot, part, wanted, sort, offset, limit)
    if sort.key in ("Conversation", "HandleTime", "Duration"):
        return None  # almost every row has its own
    return _by_key(snapshot, part, sort, offset, limit)


def _first(
    snapshot: Snapshot, part: Condition, wanted: Selection, sort: Sort, offset: int, limit: int
) -> _Narrowed | None:
    """The part at the beginning of the order that holds the page. Small parts are tried first, then larger ones."""
    length = _FIRST_TRY
    while length < wanted.end - wanted.start:
        if sort.descending:
            first = part.between(wanted.end - length, wanted.end)
        else:
            first = part.between(wanted.start, wanted.start + length)
        rows = _number(snapshot, first)
        if rows >= offset + limit:
            return _Narrowed(first, offset, rows)
        length *= _GROWTH
    return None


def _by_time(snapshot: Snapshot, part: Condition, wanted: Selection, sort: Sort, offset: int, limit: int) -> _Narrowed:
    """The part of the window that holds the page, found by a histogram over it."""
    size = (wanted.end - wanted.start) // _BUCKETS + 1
    direction = "desc" if sort.descending else "asc"
    histogram = snapshot.execute(
        f"""select cast((epoch_us("end") - $base) // $size as smallint) as bucket, count(*)
        from agent_segments where {part.where} group by bucket order by bucket {direction}""",
        part.parameters | {"base": wanted.start * 1000, "size": size * 1000},
    ).fetchall()
    first, last, before = _holding([n for _, n in histogram], offset, limit)
    buckets = [histogram[first][0], histogram[last][0]]
    start = wanted.start + min(buckets) * size
    end = min(wanted.start + (max(buckets) + 1) * size, wanted.end)
    return _Narrowed(part.between(start, end), offset - before, sum(n for _, n in histogram[first : last + 1]))


def _by_key(snapshot: Snapshot, part: Condition, sort: Sort, offset: int, limit: int) -> _Narrowed | None:
    """The rows of the one key that the page lies in; None where it reaches into the next one."""
    column = COLUMNS[sort.key]
    direction = "desc" if sort.descending else "asc"
    histogram = snapshot.execute(
        f"""select {column}, count(*) from agent_segments where {part.where}
        group by {column} order by {column} {direction} nulls last""",
        part.parameters,
    ).fetchall()
    first, last, before = _holding([n for _, n in histogram], offset, limit)
    if first != last:
        return None
    key, rows = histogram[first]
    same = part.but(f"{column} is null") if key is None else part.but(f"{column} = $key", key=key)
    return _Narrowed(same, offset - before, rows)


def _picked(snapshot: Snapshot, part: Condition, sort: Sort, offset: int, limit: int) -> tuple[Condition, int]:
    """The rows from the page's first to its last, with all rows that tie with these, and the page's offset in them."""
    column = COLUMNS[sort.key]
    rows = snapshot.execute(
        f"""select {"null" if sort.key == "Date" else column}, epoch_ms("end") from agent_segments
        where {part.where} order by {sort.sql} limit $limit offset $offset""",
        part.parameters | {"limit": limit, "offset": offset},
    ).fetchall()
    first, last = _Edge("first", *rows[0]), _Edge("last", *rows[-1])
    if sort.key == "Date":
        newest, oldest = (first, last) if sort.descending else (last, first)
        earlier = f""""end" {">" if sort.descending else "<"} $first_end"""
        within = f""""end" >= ${oldest.name}_end and "end" <= ${newest.name}_end"""
    else:
        earlier = first.has_before(column, '"end" >', descending=sort.descending)
        within = " and ".join(
            [
                first.has_after(column, '"end" <=', descending=sort.descending),
                last.has_before(column, '"end" >=', descending=sort.descending),
            ]
        )
    skipped = _number(snapshot, part.but(earlier, **first.parameters))
    return part.but(within, **first.parameters, **last.parameters), offset - skipped


class _Edge(NamedTuple):
    """The first or last row of a page, without its id: the sort's key and the end."""

    name: str
    key: object
    end: int

    @property
    def parameters(self) -> dict[str, object]:
        """The values that the conditions bind."""
        key = {} if self.key is None else {self.name: self.key}
        return key | {f"{self.name}_end": instant_of(self.end)}

    def has_before(self, column: str, end: str, *, descending: bool) -> str:
        """SQL for the rows that come before by the key; of those with the same key, whose end compares so."""
        if self.key is None:
            return f"({column} is not null or {end} ${self.name}_end)"
        return f"({column} {'>' if descending else '<'} ${self.name} or {self._tie(column, end)})"

    def has_after(self, column: str, end: str, *, descending: bool) -> str:
        """SQL for the rows that come after by the key; of those with the same key, whose end compares so."""
        if self.key is None:
            return f"({column} is null and {end} ${self.name}_end)"
        after = f"{column} {'<' if descending else '>'} ${self.name}"
        return f"({after} or {column} is null or {self._tie(column, end)})"

    def _tie(self, column: str, end: str) -> str:
        return f"({column} = ${self.name} and {end} ${self.name}_end)"


def _holding(counts: Sequence[int], offset: int, limit: int) -> tuple[int, int, int]:
    """The first and last of the groups that hold the page, and the number of rows before them."""
    before, first = 0, 0
    while before + counts[first] <= offset:
        before += counts[first]
        first += 1
    last, until = first, before + counts[first]
    while until < offset + limit and last + 1 < len(counts):
        last += 1
        until += counts[last]
    return first, last, before


# --- other lists -----------------------------------------------------------------------------------------------------


class SkillSegment(NamedTuple):
    """One skill segment; times in epoch milliseconds."""

    conversation: str
    skill: int
    user_type: str
    start: int
    end: int
    outcome: str
    end_reason: str
    in_queue: bool


def skill_rows_of(snapshot: Snapshot, wanted: Selection, *, offset: int, limit: int) -> tuple[int, list[SkillSegment]]:
    """The number of all skill segments, and those of one page, newest first."""
    part = wanted.condition()
    count = _number(snapshot, part, "skill_segments")
    found = snapshot.execute(
        f"""select conversationId, skillId, cast(userType as varchar), epoch_ms(start), epoch_ms("end"),
            cast(outcome as varchar), cast(endReason as varchar), abandonedInQueue from skill_segments
        where {part.where} order by "end" desc, conversationId, "sequence" limit $limit offset $offset""",
        part.parameters | {"limit": limit, "offset": offset},
    )
    return count, list(starmap(SkillSegment, found.fetchall()))


class Slow(NamedTuple):
    """A segment in which a consumer waited long for an answer; `handled` is None where it is unknown."""

    conversation: str
    segment: str
    agent: int
    skill: int
    end: int
    outcome: str
    waited: int
    handled: int | None


def slowest_of(snapshot: Snapshot, wanted: Selection, account: str, most: int) -> list[Slow]:
    """The segments of an account with the longest single response times, in milliseconds; the longest first."""
    part = wanted.condition()
    found = snapshot.execute(
        f"""select conversationId, agentId, assignedEventId, skillId, epoch_ms("end"),
            cast(outcome as varchar), list_max(responseMillis) as waited,
            case when focusData and userType = 'human' then totalHandleTimeMillis end
        from agent_segments where len(responseMillis) > 0 and {part.where}
        order by waited desc, "end" desc, conversationId limit $limit""",
        part.parameters | {"limit": most},
    ).fetchall()
    return [
        Slow(conversation, segment_id(account, agent, conversation, assigned), agent, *rest)
        for conversation, agent, assigned, *rest in found
    ]
