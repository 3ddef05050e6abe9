"""Pages of ended agent segments in a total order, at any offset, without sorting all that lies before them.

Whoever shows segments asks here: the API, the page, the exports. Sorting millions of rows for one page is what takes
the time, so a large result is first counted by time (or by the sort's key), and only the part that the page lies in
is sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import duckdb

from handletime.metrics.aggregate import instant_of

SortKey = Literal["Date", "Conversation", "Agent", "Employee", "Skill", "Group"]
COLUMNS: Final[dict[SortKey, str]] = {
    "Date": '"end"',
    "Conversation": "conversationId",
    "Agent": "agentId",
    "Employee": "employeeId",
    "Skill": "skillId",
    "Group": "groupId",
}
NARROW_FROM: Final = 50_000
"""Results of fewer rows are sorted as they are."""
_BUCKETS: Final = 1000
_FIRST_ROWS: Final = 10_000
"""Pages up to here are looked for at the beginning of the order, without a histogram."""
_FIRST_TRY: Final = 60_000
_GROWTH: Final = 8
"""The first part that is tried there, in milliseconds, and how it grows."""


class Sort(NamedTuple):
    """An order: by a key, then by end descending, then by `segmentId`. Without an employee comes last either way."""

    key: SortKey = "Date"
    descending: bool = True

    @property
    def sql(self) -> str:
        """The columns of an `order by`."""
        direction = "desc" if self.descending else "asc"
        by_end = "" if self.key == "Date" else ', "end" desc'
        return f"{COLUMNS[self.key]} {direction} nulls last{by_end}, segmentId"


class Wanted(NamedTuple):
    """Which segments: those that ended in [start, end), epoch milliseconds, and match every filter that is there."""

    start: int
    end: int
    conversation: str | None = None
    agent: int | None = None
    employee: str | None = None
    skill: int | None = None
    group: int | None = None


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


class Page(NamedTuple):
    """The rows of one page, and how many there are in all."""

    total: int
    rows: list[Segment]


# The conditions below are made of constants; every value is bound.
# ruff: noqa: S608

_SELECT: Final = """select segmentId, epoch_ms(start), epoch_ms("end"), conversationId, agentId, employeeId, skillId,
    groupId, cast(endReason as varchar), totalHandleTimeMillis from agent_segments"""


def page_of(
    connection: duckdb.DuckDBPyConnection, wanted: Wanted, sort: Sort, *, offset: int, limit: int | None
) -> Page:
    """A page of human agents' segments, all from `offset` on where `limit` is None.

    The connection is a snapshot of one account, as `api.ports.Reader` gives it.
    """
    part = _Part.of(wanted)
    count = _number(connection, part)
    if offset >= count:
        return Page(count, [])
    if limit is not None and count >= NARROW_FROM:
        part, offset = _narrowed(connection, part, wanted, sort, offset, limit)
    order = f"order by {sort.sql} limit $limit offset $offset"
    found = connection.execute(
        f"{_SELECT} where {part.where} {order}", part.parameters | {"limit": limit, "offset": offset}
    )
    return Page(count, [Segment(*row) for row in found.fetchall()])


class _Part(NamedTuple):
    """A condition and its parameters."""

    where: str
    parameters: dict[str, object]

    @classmethod
    def of(cls, wanted: Wanted) -> _Part:
        """The rows that are wanted."""
        parameters: dict[str, object] = {"start": instant_of(wanted.start), "end": instant_of(wanted.end)}
        where = ["userType = 'human'", '"end" >= $start', '"end" < $end']
        filters = {
            "conversationId": wanted.conversation,
            "agentId": wanted.agent,
            "employeeId": wanted.employee,
            "skillId": wanted.skill,
            "groupId": wanted.group,
        }
        for column, value in filters.items():
            if value is not None:
                where.append(f"{column} = ${column}")
                parameters[column] = value
        return cls(" and ".join(where), parameters)

    def between(self, start: int, end: int) -> _Part:
        """Only those that ended in [start, end)."""
        times: dict[str, object] = {"start": instant_of(start), "end": instant_of(end)}
        return _Part(self.where, self.parameters | times)

    def with_key(self, column: str, value: object) -> _Part:
        """Only those with this value of a column."""
        if value is None:
            return _Part(f"{self.where} and {column} is null", self.parameters)
        return _Part(f"{self.where} and {column} = $key", self.parameters | {"key": value})


def _number(connection: duckdb.DuckDBPyConnection, part: _Part) -> int:
    found = connection.execute(f"select count(*) from agent_segments where {part.where}", part.parameters)
    (number,) = found.fetchone() or (0,)
    return int(number)


def _narrowed(
    connection: duckdb.DuckDBPyConnection, part: _Part, wanted: Wanted, sort: Sort, offset: int, limit: int
) -> tuple[_Part, int]:
    """A part that holds the page, and the page's offset in it."""
    if sort.key == "Date" and offset + limit <= _FIRST_ROWS:
        return _first(connection, part, wanted, sort, offset + limit), offset
    if sort.key == "Date":
        return _by_time(connection, part, wanted, sort, offset, limit)
    if sort.key == "Conversation":
        return part, offset
    return _by_key(connection, part, sort, offset, limit) or (part, offset)


def _first(connection: duckdb.DuckDBPyConnection, part: _Part, wanted: Wanted, sort: Sort, needed: int) -> _Part:
    """The part at the beginning of the order that has so many rows: tried small, and larger where few ended then."""
    length = _FIRST_TRY
    while length < wanted.end - wanted.start:
        if sort.descending:
            first = part.between(wanted.end - length, wanted.end)
        else:
            first = part.between(wanted.start, wanted.start + length)
        if _number(connection, first) >= needed:
            return first
        length *= _GROWTH
    return part


def _by_time(
    connection: duckdb.DuckDBPyConnection, part: _Part, wanted: Wanted, sort: Sort, offset: int, limit: int
) -> tuple[_Part, int]:
    """The part of the window that holds the page, found by a histogram over it."""
    size = (wanted.end - wanted.start) // _BUCKETS + 1
    direction = "desc" if sort.descending else "asc"
    histogram = connection.execute(
        f"""select cast((epoch_us("end") - $base) // $size as smallint) as bucket, count(*)
        from agent_segments where {part.where} group by bucket order by bucket {direction}""",
        part.parameters | {"base": wanted.start * 1000, "size": size * 1000},
    ).fetchall()
    first, last, before = _holding([n for _, n in histogram], offset, limit)
    buckets = [histogram[first][0], histogram[last][0]]
    start = wanted.start + min(buckets) * size
    end = min(wanted.start + (max(buckets) + 1) * size, wanted.end)
    return part.between(start, end), offset - before


def _by_key(
    connection: duckdb.DuckDBPyConnection, part: _Part, sort: Sort, offset: int, limit: int
) -> tuple[_Part, int] | None:
    """The rows of the one key that the page lies in; None where it reaches into the next one."""
    column = COLUMNS[sort.key]
    direction = "desc" if sort.descending else "asc"
    histogram = connection.execute(
        f"""select {column}, count(*) from agent_segments where {part.where}
        group by {column} order by {column} {direction} nulls last""",
        part.parameters,
    ).fetchall()
    first, last, before = _holding([n for _, n in histogram], offset, limit)
    if first != last:
        return None
    return part.with_key(column, histogram[first][0]), offset - before


def _holding(counts: Sequence[int], offset: int, limit: int) -> tuple[int, int, int]:
    """The first and last of a row of groups that hold the page, and how many rows lie before the first of them."""
    before, first = 0, 0
    while before + counts[first] <= offset:
        before += counts[first]
        first += 1
    last, until = first, before + counts[first]
    while until < offset + limit and last + 1 < len(counts):
        last += 1
        until += counts[last]
    return first, last, before
