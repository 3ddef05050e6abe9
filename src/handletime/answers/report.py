"""A report: flat rows of every metric with the sums that it is made of, at one grain (http-api.md 7).

Key columns come first, then counts and sums, then averages, percentiles and shares. What there is nothing of is None.
Rows come some at a time, as columns: by interval, then by the keys in the order of the columns.

    question ─> sums and percentiles of each table, by the same groups ─> put side by side ─> columns
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import prod
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from handletime.answers.figures import KNOWN
from handletime.answers.handled import HANDLE_TIME_IN_INTERVAL, handled_in_intervals, since, units_in
from handletime.answers.intervals import Interval, clock_bounds, length_of
from handletime.answers.levels import judged_sums, verdicts_of
from handletime.answers.percentiles import percentile_columns, placed
from handletime.answers.periods import Compare, Window, compared_bounds
from handletime.answers.registry import CLOCK_TABLES, HANDLE_TIME, LEVEL_METRICS, LEVELS, METRICS, PARTS, Metric
from handletime.answers.relations import OF_AGENTS, Snapshot
from handletime.answers.selection import Selection
from handletime.answers.sums import I64, By, Flags, Sums, Texts, key_sql, starts_of, sums_of
from handletime.answers.terms import RELATIONS, Table
from handletime.events.model import USER_TYPES
from handletime.targets.targets import NO_TARGETS, AccountTargets, Clock

Dimension = Literal["skill", "agent", "group", "source", "userType"]
DIMENSIONS: Final[dict[Dimension, By]] = {
    "skill": "skillId",
    "agent": "agentId",
    "group": "groupId",
    "source": "source",
    "userType": "userType",
}
"""What a report can tell apart, and the column that says it, in their order."""
REPORTED: Final = {
    metric.key: metric for metric in (*METRICS.values(), *PARTS, *HANDLE_TIME_IN_INTERVAL, *LEVEL_METRICS)
}
"""The metrics of a report under their keys."""
ROWS_MAX: Final = 1_000_000
INTERVALS_MAX: Final = 1_000_000
"""The most intervals that a window is cut in."""
PREVIOUS: Final = "Previous"
"""The end of the names of columns about the window that is compared with."""
AT_ONCE: Final = 100_000
"""Segments that are asked about together, if there are intervals to tell them apart; or rows, where all are filled."""
LONG: Final = 200_000
"""A report of more segments is long."""
FIRST: Final = 1_000
"""Segments at the beginning of a long one, so that something comes soon."""
_HAS: Final[Mapping[str, frozenset[str]]] = {
    "agentSegments": frozenset(DIMENSIONS.values()),
    "queueSegments": frozenset({"skillId", "source"}),
    "skillSegments": frozenset({"skillId"}),
}
"""What the segments of a table can be told apart by. User types are those of agents."""


CELL_BYTES: Final = 16
"""Bytes that a value takes while rows are made of it."""


class Question(NamedTuple):
    """What a report is asked for.

    `of` has the bounds of the intervals, `before` those of the window that it is compared with, if it is. `fill` gives
    each combination a row in each interval. Up to `limit` rows are given from `offset` on. Service levels are those of
    `targets`.
    """

    of: Selection
    by: tuple[By, ...] = ()
    in_intervals: bool = False
    metrics: tuple[Metric, ...] = ()
    zone: ZoneInfo = ZoneInfo("UTC")
    before: Selection | None = None
    fill: bool = False
    offset: int = 0
    limit: int | None = None
    targets: AccountTargets = NO_TARGETS


class Filters(NamedTuple):
    """What else holds of the segments of a report; None is no filter."""

    skills: Sequence[int] | None = None
    agents: Sequence[int] | None = None
    groups: Sequence[int] | None = None
    source: str | None = None
    user_type: str | None = None


class Cut(NamedTuple):
    """A window, and how it is cut by the clock of a zone; None is not at all."""

    window: Window
    interval: Interval | None
    zone: ZoneInfo

    @property
    def is_too_fine(self) -> bool:
        """Whether there would be more than `INTERVALS_MAX` intervals."""
        start, end = self.window
        return self.interval is not None and (end - start) // length_of(self.interval) > INTERVALS_MAX


def question_of(
    cut: Cut, filters: Filters, by: Iterable[By], metrics: tuple[Metric, ...], *, compare: Compare | None = None
) -> Question:
    """The question for a window, which is not cut too finely, and what it is compared with."""
    (start, end), interval, zone = cut
    bounds = [start, end] if interval is None or start >= end else clock_bounds(start, end, interval, zone)
    of = Selection(bounds, **filters._asdict())
    before = None
    if compare is not None:
        before = of._replace(bounds=compared_bounds(bounds, compare, interval, zone))
    return Question(of, tuple(by), interval is not None, metrics, zone, before)


def _within(count: int) -> int:
    """A number of rows. Raises TooManyRows."""
    if count > ROWS_MAX:
        raise TooManyRows
    return count


class TooManyRows(Exception):
    """A report would have more than `ROWS_MAX` rows."""

    def __init__(self) -> None:
        super().__init__(
            f"would have more than {ROWS_MAX:,} rows; ask for less at once: a shorter time, a longer interval, less in "
            "`by`, fewer ids"
        )


class Column(NamedTuple):
    """Values, and where there are any, if not everywhere."""

    values: npt.NDArray[Any]
    there: Flags | None = None

    def part(self, begin: int, end: int) -> Column:
        """The values from one place to another."""
        return Column(self.values[begin:end], None if self.there is None else self.there[begin:end])

    def taken(self, places: Sequence[int]) -> Column:
        """The values at some places."""
        at = np.asarray(places, np.intp)
        return Column(self.values[at], None if self.there is None else self.there[at])


class Rows(NamedTuple):
    """Some rows of a report as columns: places of intervals in the bounds, ids and texts, and metrics.

    `leading` are texts that whoever asked has put in front (`Shape.leading`).
    """

    number: int
    places: I64 | None
    keys: dict[By, Column]
    metrics: dict[str, Column]
    leading: Mapping[str, Column] = MappingProxyType({})

    def part(self, begin: int, end: int) -> Rows:
        """The rows from one place to another."""
        begin, end = min(begin, self.number), min(end, self.number)
        return Rows(
            end - begin,
            None if self.places is None else self.places[begin:end],
            {name: column.part(begin, end) for name, column in self.keys.items()},
            {name: column.part(begin, end) for name, column in self.metrics.items()},
            {name: column.part(begin, end) for name, column in self.leading.items()},
        )

    def taken(self, places: Sequence[int]) -> Rows:
        """The rows at some places, in their order."""
        return Rows(
            len(places),
            None if self.places is None else self.places[np.asarray(places, np.intp)],
            {name: column.taken(places) for name, column in self.keys.items()},
            {name: column.taken(places) for name, column in self.metrics.items()},
            {name: column.taken(places) for name, column in self.leading.items()},
        )


def chosen(names: Iterable[str] | None = None, *, levels: bool = False) -> tuple[Metric, ...]:
    """The metrics of these keys, or all, with the sums that their averages and shares are made of: counts and sums
    first, then averages, percentiles and shares. Service levels are among all where there are `levels`.
    """
    all_ = {key for key in REPORTED if levels or key not in LEVELS}
    wanted = set(all_ if names is None else names)
    for metric in [REPORTED[key] for key in wanted]:
        if metric.key in LEVELS:
            wanted |= {key for key, clock in LEVELS.items() if clock == LEVELS[metric.key] and metric.per}
        elif metric.per:
            wanted |= {_SUMMED[metric.table, name] for name in (metric.sum, metric.per)}
    return tuple(sorted((metric for key, metric in REPORTED.items() if key in wanted), key=_rank))


_SUMMED: Final = {
    (metric.table, metric.sum): key for key, metric in REPORTED.items() if not metric.per and not metric.values
}
"""The metrics that are plain sums, by table and sum."""


def _rank(metric: Metric) -> int:
    if not metric.per and not metric.values:
        return 0
    return 3 if metric.unit == "percent" else 2 if metric.values else 1


def number_type(metric: Metric) -> pa.DataType:
    """The Arrow type of a metric's values."""
    return pa.float64() if metric.unit in ("percent", "responses") else pa.int64()


def has(table: Table, question: Question) -> bool:
    """Whether the segments of a table are in a report: all that it tells apart or filters by has to be theirs."""
    of = question.of
    filters = {"agentId": of.agents, "groupId": of.groups, "source": of.source}
    asked: set[str] = {key for key in question.by if key != "conversation"}
    asked |= {column for column, value in filters.items() if value is not None}
    return asked <= _HAS[table]


class Report:
    """The answer to a question, over one snapshot. Where its scope is one of groups, it has agent segments alone."""

    def __init__(
        self, snapshot: Snapshot, question: Question, reserve: Callable[[int], object] = lambda _size: None
    ) -> None:
        """`reserve` is asked for memory before rows are made, as often as more of them are made at once than before."""
        self._snapshot, self.question, self._reserve, self._reserved = snapshot, question, reserve, 0
        self._texts = Texts()
        self._ids: tuple[By, ...] = tuple(column for column in DIMENSIONS.values() if column in question.by)
        first: tuple[By, ...] = ("conversation",) if "conversation" in question.by else ()
        self._keys: tuple[By, ...] = (*first, *(("interval",) if question.in_intervals else ()), *self._ids)
        self._ids = (*first, *self._ids)
        self._occurring: dict[By, I64] | None = None
        self._counted_before: I64 | None = None
        self.counted = 0
        """All rows so far, whether they were asked for or not."""

    def rows(self) -> Iterator[Rows]:
        """The rows that are asked for, some at a time. Raises TooManyRows."""
        skip, left = self.question.offset, self.question.limit
        for begin, end in self._pieces():
            rows = self._worked_out(begin, end)
            self.counted = _within(self.counted + rows.number)
            part = rows.part(skip, rows.number if left is None else skip + left)
            skip = max(0, skip - rows.number)
            if part.number:
                left = None if left is None else left - part.number
                yield part

    def _pieces(self) -> Iterator[tuple[int, int]]:
        """Places in the bounds between which rows are worked out together: intervals with so many segments."""
        counts = self._counts()
        begin, held, most = 0, 0, FIRST if counts.sum() > LONG else AT_ONCE
        for place, count in enumerate(counts.tolist()):
            if held + count > most and begin < place:
                yield begin, place
                begin, held, most = place, 0, min(5 * most, AT_ONCE)
            held += count
        yield begin, len(counts)

    @property
    def is_long(self) -> bool:
        """Whether it takes so long that the first rows should not wait for the last ones."""
        return bool(self._counts().sum() > LONG)

    def check(self) -> None:
        """Raises TooManyRows where there will be too many."""
        question = self.question
        if question.fill or self._most() > ROWS_MAX:
            self.count()

    def _most(self) -> int:
        """Rows that there may be at most, by the numbers of different ids."""
        numbers = dict.fromkeys(self._ids, 0)
        for table in self._tables() if self._ids else ():
            condition = since(self.question.of, table)
            terms = ", ".join(f"count(distinct {key_sql(key)}) + 1" for key in self._ids)
            sql = f"select {terms} from {RELATIONS[table]} where {condition.where} and start < $until"  # noqa: S608
            found = self._snapshot.execute(sql, condition.parameters).fetchone() or ()
            for key, number in zip(self._ids, found, strict=True):
                numbers[key] += int(number)
        return prod(numbers.values()) * (len(self.question.of.bounds) - 1)

    def _counts(self) -> I64:
        """How many segments ended in each interval, or how many rows there will be."""
        if self._counted_before is None:
            self._counted_before = self._counted_now()
        return self._counted_before

    def _counted_now(self) -> I64:
        question = self.question
        counts = np.zeros(len(question.of.bounds) - 1, np.int64)
        if len(counts) == 1:
            return counts
        if question.fill:
            keys = self._combinations()
            return counts + (len(next(iter(keys.values()))) if keys else 1)
        for of in filter(None, (question.of, question.before)):
            for table in self._tables():
                found = sums_of(self._snapshot, table, [], ("interval",), of)
                within = found.keys["interval"] < len(counts)
                counts[found.keys["interval"][within]] += found.sums["segments"][within]
        return counts

    def count(self) -> int:
        """How many rows there are in all, without those that only the window before has. Raises TooManyRows."""
        question = self.question
        if question.fill:
            return _within(int(self._counts().sum()))
        parameters: dict[str, object] = {**since(question.of).parameters}
        parts = []
        for table in self._tables():
            relation, place = RELATIONS[table], ""
            more: dict[str, object] = {}
            if question.in_intervals:
                relation, place, more = placed(relation, question.of)
            parameters |= more
            keys = ", ".join(place if key == "interval" else key_sql(key) for key in self._keys) or "1"
            ended = f'{since(question.of, table).where} and "end" < $until'
            parts.append(f"select {keys} from {relation} where {ended}")  # noqa: S608
        if self._asks_units():
            units, more = units_in(self._keys, question.of)
            parameters |= more
            names = ", ".join(f'"key_{key}"' for key in self._keys) or "1"
            parts.append(f"select {names} from ({units})")  # noqa: S608
        if not parts:
            return 0
        sql = f"select count(*) from ({' union '.join(parts)})"  # noqa: S608
        (count,) = self._snapshot.execute(sql, parameters).fetchone() or (0,)
        return _within(int(count))

    def _worked_out(self, begin: int, end: int) -> Rows:
        """The rows of the intervals from one place to another."""
        question = self.question
        windows = [("", self._found(_between(question.of, begin, end)))]
        before = question.before
        if before is not None and begin < len(before.bounds) - 1:
            windows.append((PREVIOUS, self._found(_between(before, begin, end))))
        parts = [part for _, found in windows for part in found.parts()]
        if question.fill:
            parts.append(self._everywhere(end - begin))
        merged = _Merged(self._keys, parts, self._texts)
        self._take_room(merged.count * (len(self._keys) + len(question.metrics) * (1 if before is None else 2)))
        columns: dict[str, Column] = {}
        for metric in question.metrics:
            for suffix, found in windows:
                columns[f"{metric.key}{suffix}"] = found.column(metric, merged)
            if before is not None and len(windows) == 1:
                columns[f"{metric.key}{PREVIOUS}"] = _nothing(metric, merged.count)
        places = merged.keys["interval"] + begin if question.in_intervals else None
        return Rows(merged.count, places, {key: self._shown(key, merged.keys[key]) for key in self._ids}, columns)

    def _take_room(self, cells: int) -> None:
        size = cells * CELL_BYTES
        if size > self._reserved:
            self._reserve(size - self._reserved)
            self._reserved = size

    def _shown(self, key: By, numbers: I64) -> Column:
        if key == "source":
            return Column(np.array(self._texts.all, object)[numbers], numbers > 0)
        if key == "userType":
            return Column(np.array(USER_TYPES, object)[numbers])
        return Column(numbers)

    def _found(self, of: Selection) -> _Found:
        """Sums and percentiles of one window."""
        found = _Found({}, {}, None, self._verdicts(of))
        for table in self._tables():
            metrics = [metric for metric in self.question.metrics if metric.table == table and _is_of_table(metric)]
            summed = [metric for metric in metrics if not metric.values]
            if table == KNOWN.table and (self._asks_units() or any(metric.key in HANDLE_TIME for metric in metrics)):
                summed.append(KNOWN)
            found.sums[table] = sums_of(self._snapshot, table, summed, self._keys, of, texts=self._texts)
            for values in dict.fromkeys(metric.values for metric in metrics if metric.values):
                ranked = [metric for metric in metrics if metric.values == values]
                columns = percentile_columns(self._snapshot, table, ranked, self._keys, of, self._texts)
                found.ranked[table, values] = columns
        if not self._asks_units():
            return found
        return found._replace(units=handled_in_intervals(self._snapshot, self._keys, of, self._texts))

    def _verdicts(self, of: Selection) -> dict[Clock, Sums]:
        """The verdicts of one window by clock, of those that are asked about and have a target."""
        asked = dict.fromkeys(LEVELS[metric.key] for metric in self.question.metrics if metric.key in LEVELS)
        targets = self.question.targets
        return {
            clock: verdicts_of(self._snapshot, clock, targets, self._keys, of, self._texts)
            for clock in asked
            if targets.sets(clock) and self._has(CLOCK_TABLES[clock])
        }

    def _tables(self) -> list[Table]:
        """The tables whose segments are asked about, and are there. Metrics of handle-time units also ask whose handle
        time is known.
        """
        asked = {metric.table for metric in self.question.metrics}
        return [table for table in RELATIONS if table in asked and self._has(table)]

    def _has(self, table: Table) -> bool:
        is_there = RELATIONS[table] in OF_AGENTS or self._snapshot.scope.has_queues
        return is_there and has(table, self.question)

    def _asks_units(self) -> bool:
        return any(map(_is_of_units, self.question.metrics))

    def _everywhere(self, intervals: int) -> Sums:
        """Every combination in every interval, without any sum."""
        keys = self._combinations()
        number = len(next(iter(keys.values()))) if keys else 1
        crossed: dict[By, I64] = {key: np.tile(values, intervals) for key, values in keys.items()}
        if self.question.in_intervals:
            crossed["interval"] = np.repeat(np.arange(intervals), number)
        return Sums(crossed, {"segments": np.zeros(number * intervals, np.int64)})

    def _combinations(self) -> dict[By, I64]:
        """The combinations that occur in the whole window, or the one before."""
        if self._occurring is None:
            question = self.question
            whole = [of._replace(bounds=(of.start, of.end)) for of in (question.of, question.before) if of]
            asked = Report(self._snapshot, question._replace(in_intervals=False))
            asked._texts = self._texts
            parts = [part for of in whole for part in asked._found(of).parts()] if self._ids else []
            self._occurring = _Merged(self._ids, parts, self._texts).keys
        return self._occurring


def _between(of: Selection, begin: int, end: int) -> Selection:
    """The intervals from one place to another, as far as there are so many."""
    return of._replace(bounds=of.bounds[begin : end + 1])


def _is_of_units(metric: Metric) -> bool:
    return metric.sum in _OF_UNITS


def _is_of_table(metric: Metric) -> bool:
    """Whether its sums stand in its table."""
    return not _is_of_units(metric) and metric.key not in LEVELS


_OF_UNITS: Final = frozenset(metric.sum for metric in HANDLE_TIME_IN_INTERVAL)


class _Found(NamedTuple):
    """What was found of one window: sums by table, percentiles by table and values, handle time in intervals, and
    verdicts by clock.
    """

    sums: dict[Table, Sums]
    ranked: dict[tuple[Table, str], Sums]
    units: Sums | None
    verdicts: dict[Clock, Sums]

    def parts(self) -> list[Sums]:
        """All that has groups."""
        units = [] if self.units is None else [self.units]
        return [*self.sums.values(), *self.ranked.values(), *units, *self.verdicts.values()]

    def column(self, metric: Metric, merged: _Merged) -> Column:
        """A metric of all groups."""
        if _is_of_units(metric):
            return self._of_units(metric, merged)
        if metric.key in LEVELS:
            return self._of_verdicts(metric, LEVELS[metric.key], merged)
        sums = self.sums.get(metric.table)
        if sums is None:
            return _nothing(metric, merged.count)
        if metric.values:
            ranked = self.ranked[metric.table, metric.values]
            values, there = merged.spread(ranked, ranked.sums[metric.key])
            return Column(values, there)
        values, some = sums.column_of(metric)
        spread, _ = merged.spread(sums, values)
        if metric.key in HANDLE_TIME:
            some = sums.sums[KNOWN.sum] > 0
        if some is not None or metric.per:
            there, _ = merged.spread(sums, np.ones(len(sums), np.bool_) if some is None else some)
            return Column(spread, there)
        return Column(spread)

    def _of_verdicts(self, metric: Metric, clock: Clock, merged: _Merged) -> Column:
        """Nothing where the clock has no target; else counts, and the share where there is anything to share."""
        if clock not in self.verdicts:
            return _nothing(metric, merged.count)
        found = self.verdicts[clock]
        values, some = judged_sums(found, clock).column_of(metric)
        spread, _ = merged.spread(found, values)
        return Column(spread, None if some is None else merged.spread(found, some)[0])

    def _of_units(self, metric: Metric, merged: _Merged) -> Column:
        """Handle time is unknown where nobody's focus is, which is where neither units nor known segments are."""
        assert self.units is not None  # noqa: S101 — asked for with the metric
        values, there = merged.spread(self.units, self.units.sums[metric.sum])
        sums = self.sums.get(KNOWN.table)
        if sums is not None and KNOWN.sum in sums.sums:
            there = there | merged.spread(sums, sums.sums[KNOWN.sum] > 0)[0]
        return Column(values, there if metric.unit == "millis" else None)


def _nothing(metric: Metric, count: int) -> Column:
    kind = np.float64 if pa.types.is_floating(number_type(metric)) else np.int64
    return Column(np.zeros(count, kind), np.zeros(count, np.bool_))


class _Merged:
    """The groups of several sums together, each once, in the order of a report."""

    def __init__(self, keys: Sequence[By], parts: Sequence[Sums], texts: Texts) -> None:
        self._places: dict[int, npt.NDArray[np.intp]] = {}
        sizes = [len(part) for part in parts]
        columns = {key: np.concatenate([part.keys[key] for part in parts] or [np.empty(0, np.int64)]) for key in keys}
        number = sum(sizes)
        ranked = [texts.ranks()[column] if key == "source" else column for key, column in columns.items()]
        order = np.lexsort(ranked[::-1]) if keys else np.arange(number)
        starts = starts_of([column[order] for column in ranked], number)
        self.count = len(starts)
        self.keys: dict[By, I64] = {key: column[order][starts] for key, column in columns.items()}
        group = np.zeros(number, np.intp)
        group[starts] = 1
        places = np.empty(number, np.intp)
        places[order] = np.cumsum(group) - 1
        for (begin, end), part in zip(pairwise(np.cumsum([0, *sizes]).tolist()), parts, strict=True):
            self._places[id(part)] = places[begin:end]

    def spread(self, of: Sums, values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Flags]:
        """Values of the groups of one of the sums in the places of all groups; 0 elsewhere. And where they stand."""
        at = self._places[id(of)]
        spread = np.zeros(self.count, values.dtype)
        spread[at] = values
        there = np.zeros(self.count, np.bool_)
        there[at] = True
        return spread, there
