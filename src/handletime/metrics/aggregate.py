"""Sums over derived segments, by agent, skill and interval, and the metrics made of them (rules.md 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise, repeat, starmap
from math import gcd
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from handletime.metrics.registry import VALUES, Metric
from handletime.segments.sums import KEPT, MADE, RELATIONS, SUMS, Table
from handletime.store.snapshot import Snapshot

By = Literal["accountId", "agentId", "skillId", "interval"]
Value = int | float | None
Row = dict[str, Value | str]
I64 = npt.NDArray[np.int64]

NOTHING: Final = -1
"""An average over nothing."""


class Rows(Protocol):
    """What a query found."""

    @property
    def description(self) -> Sequence[tuple[Any, ...]] | None:
        """A tuple for each column, its name first."""

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows."""

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row; None at the end."""

    def fetchmany(self, size: int, /) -> list[tuple[Any, ...]]:
        """The next rows, none at the end."""

    def fetchnumpy(self) -> Mapping[str, Any]:
        """All rows as an array for each column."""


class Relations(Protocol):
    """Whoever has segments to ask about: a snapshot of one account in a store, a DuckDB connection to files."""

    def execute(self, sql: str, parameters: dict[str, object] | None = None, /) -> Rows:
        """The rows of a query with named parameters, until the next one."""


class Window(NamedTuple):
    """Segments count where they end in [start, end), epoch milliseconds; `starts` are those of its intervals, if any.

    They stand in ascending order, and the first is no later than `start`.
    """

    start: int
    end: int
    starts: Sequence[int] = ()


def span(relations: Relations) -> tuple[int, int] | None:
    """The first and last end of all segments in epoch milliseconds; None where none has ended."""
    both = " union all ".join(f'select epoch_ms("end") as t from {relation}' for relation in RELATIONS.values())
    first, last = relations.execute(f"select min(t), max(t) from ({both})").fetchone() or (None, None)
    return None if first is None else (first, last)


def aggregate(relations: Relations, metrics: Iterable[Metric], by: Sequence[By], window: Window) -> list[Row]:
    """One row for each group that has segments, in the order of `by`: the keys, then the metrics under their keys.

    There are `agent_segments` and `skill_segments` with the columns of `segments.tables`, the former also
    with `focusData` (boolean). `interval` is the start of an interval in epoch milliseconds. Skill segments have no
    agent: they are left out where `by` names one.
    """
    chosen = list(metrics)
    groups: dict[tuple[int | str, ...], dict[str, Value]] = {}
    for table in RELATIONS:
        wanted = [metric for metric in chosen if metric.table == table]
        if wanted and not (table == "skillSegments" and "agentId" in by):
            for key, values in _groups(relations, table, wanted, by, window):
                groups.setdefault(key, {}).update(values)
    empty: dict[str, Value] = {metric.key: of_nothing(metric) for metric in chosen}
    return [{**dict(zip(by, key, strict=True)), **empty, **groups[key]} for key in sorted(groups)]


def _groups(
    relations: Relations, table: Table, metrics: list[Metric], by: Sequence[By], window: Window
) -> Iterable[tuple[tuple[int | str, ...], dict[str, Value]]]:
    sums = {name for metric in metrics for name in (metric.sum, metric.per) if name}
    terms = _terms(relations, table)
    columns = [f'cast({_sum(terms[name])} as bigint) as "{name}"' for name in sorted(sums)]
    percentiles = _percentiles(relations, table, [metric for metric in metrics if metric.values], by, window)
    for key, row in _query(relations, table, columns, by, window):
        values = {m.key: value_of(m, row) for m in metrics if not m.values}
        yield key, {**values, **percentiles.get(key, {})}


def _percentiles(
    relations: Relations, table: Table, metrics: list[Metric], by: Sequence[By], window: Window
) -> dict[tuple[int | str, ...], dict[str, Value]]:
    found: dict[tuple[int | str, ...], dict[str, Value]] = {}
    for values in {metric.values: None for metric in metrics}:
        wanted = [metric for metric in metrics if metric.values == values]
        each, where = VALUES[table][values]
        columns = [f'quantile_disc(v, {m.percent / 100:.2f}) as "{m.key}"' for m in wanted]
        source = f"(select * exclude (v), unnest(v) as v from (select *, {each} as v from {{}} where {where}))"
        for key, row in _query(relations, table, columns, by, window, source):
            found.setdefault(key, {}).update(row)
    return found


def _query(
    relations: Relations,
    table: Table,
    columns: list[str],
    by: Sequence[By],
    window: Window,
    source: str = "{}",
) -> Iterable[tuple[tuple[int | str, ...], dict[str, int]]]:
    keys = [f"{'intervalStart' if key == 'interval' else key} as key_{key}" for key in by]
    names = [f"key_{key}" for key in by]
    parameters: dict[str, object] = {"start": window.start, "end": window.end}
    relation = source.format(RELATIONS[table])
    if "interval" in by:
        parameters["starts"] = list(window.starts)
        starts = "(select unnest($starts::bigint[]) as intervalStart)"
        relation = f'{relation} asof join {starts} on epoch_ms("end") >= intervalStart'
    where = 'where epoch_ms("end") >= $start and epoch_ms("end") < $end'
    group = f"group by {', '.join(names)}" if names else "having count(*) > 0"
    cursor = relations.execute(f"select {', '.join([*keys, *columns])} from {relation} {where} {group}", parameters)
    labels = [column[0] for column in cursor.description or []]
    for row in cursor.fetchall():
        yield tuple(row[: len(by)]), dict(zip(labels[len(by) :], row[len(by) :], strict=True))


def value_of(metric: Metric, sums: Mapping[str, int]) -> Value:
    """A metric from the sums of a group that has segments. Percentiles are no sums, and not for this function."""
    if not metric.per:
        return sums[metric.sum]
    total, count = sums[metric.sum], sums[metric.per]
    if count == 0:
        return NOTHING
    match metric.unit:
        case "percent":
            return 100 * total / count
        case "responses":
            return total / count
        case _:
            return total // count


def of_nothing(metric: Metric) -> Value:
    """A metric of a group without segments of its table."""
    if metric.values:
        return None
    return NOTHING if metric.per else 0


# --- sums of the finest groups, rolled up in memory ------------------------------------------------------------------

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def instant_of(millis: int) -> datetime:
    """Epoch milliseconds as a query's parameter; what lies outside the years 1 to 9999 is moved to their edge."""
    try:
        return _EPOCH + timedelta(milliseconds=millis)
    except OverflowError:
        return _FIRST if millis < 0 else _LAST


class Sums(NamedTuple):
    """Groups with their keys and sums, one array each, in ascending order of the keys as they stand."""

    keys: dict[By, I64]
    sums: dict[str, I64]

    def __len__(self) -> int:
        return len(next(iter(self.sums.values())))

    def rolled_up(self, by: Sequence[By]) -> Sums:
        """The same sums by fewer keys."""
        order = np.lexsort([self.keys[key] for key in reversed(by)]) if by else np.arange(len(self))
        keys = {key: self.keys[key][order] for key in by}
        starts = _starts(list(keys.values()), len(order))
        sums = {
            name: np.add.reduceat(values[order], starts) if len(order) else values for name, values in self.sums.items()
        }
        return Sums({key: values[starts] for key, values in keys.items()}, sums)

    def backwards(self, key: By, last: int) -> Sums:
        """The same groups, in descending order of the first key, which then counts down from its last value."""
        return Sums({**self.keys, key: last - self.keys[key]}, self.sums).rolled_up(tuple(self.keys))

    def part(self, begin: int, end: int) -> Sums:
        """The groups from one place to another."""
        at = slice(begin, end)
        return Sums({k: v[at] for k, v in self.keys.items()}, {k: v[at] for k, v in self.sums.items()})

    def runs(self, by: Sequence[By]) -> Iterator[tuple[tuple[int, ...], slice]]:
        """The groups that agree in these keys, which are the first that they are ordered by, and where they lie."""
        keys = [self.keys[key] for key in by]
        starts = _starts(keys, len(self))
        places = [*starts.tolist(), len(self)]
        values = zip(*(key[starts].tolist() for key in keys), strict=True) if keys else repeat(())
        yield from zip(values, starmap(slice, pairwise(places)), strict=False)

    def only(self, key: By, values: Iterable[int]) -> Sums:
        """Only the groups whose key is one of these."""
        chosen = np.isin(self.keys[key], np.fromiter(values, np.int64))
        return Sums({k: v[chosen] for k, v in self.keys.items()}, {k: v[chosen] for k, v in self.sums.items()})

    def values_of(self, metric: Metric) -> list[int] | list[float]:
        """A metric of every group, as `value_of` gives it for one."""
        total = self.sums[metric.sum]
        if not metric.per:
            return total.tolist()  # type: ignore[no-any-return]
        count = self.sums[metric.per]
        some = np.maximum(count, 1)
        values: npt.NDArray[np.generic]
        match metric.unit:
            case "percent":
                values = 100 * total / some
            case "responses":
                values = total / some
            case _:
                values = total // some
        return np.where(count > 0, values, NOTHING).tolist()  # type: ignore[no-any-return]


def _starts(keys: list[I64], count: int) -> npt.NDArray[np.intp]:
    """Where a new group begins in sorted keys."""
    if not count:
        return np.empty(0, np.intp)
    changes = np.zeros(count, np.bool_)
    changes[0] = True
    for values in keys:
        changes[1:] |= values[1:] != values[:-1]
    return np.flatnonzero(changes)


class Selection(NamedTuple):
    """Which segments: those that end from the first of the bounds on and before the last, and match a condition.

    `bounds` are epoch milliseconds in ascending order; neighbours are the ends of an interval. `where` is SQL over
    the columns of `segments.tables`, `parameters` what it binds.
    """

    bounds: Sequence[int]
    where: str = "true"
    parameters: Mapping[str, object] = {}


def sums_of(
    relations: Relations,
    table: Table,
    metrics: Iterable[Metric],
    by: Sequence[By],
    of: Selection,
    *,
    most: int | None = None,
) -> Sums:
    """The sums that metrics of one table are made of, in one query, by the finest groups that are wanted.

    Every coarser group and every average comes from these (`Sums.rolled_up`, `Sums.values_of`), so levels cannot
    disagree. `interval` is a place in the bounds. Where there are more than `most` groups, so many and one are given,
    whichever they are.
    """
    names = sorted({name for metric in metrics for name in (metric.sum, metric.per) if name})
    base, size = slots(of.bounds)
    terms = _terms(relations, table)
    slot = '(epoch_us("end") - $base) // $size'
    grid = {"base": base * 1000, "size": size * 1000} if "interval" in by else {}
    keys = [f'{slot if key == "interval" else key} as "key_{key}"' for key in by]
    made = {name: parts for name, parts in MADE[table].items() if name in names and {*parts} <= {*names, "segments"}}
    asked = sorted({*names, *(["segments"] if made else [])} - made.keys())
    columns = [f'cast({_sum(terms[name])} as bigint) as "{name}"' for name in asked]
    group = f"group by {', '.join(str(i + 1) for i in range(len(by)))}" if by else "having count(*) > 0"
    limit = "" if most is None else f"limit {most + 1}"
    found = relations.execute(
        f"""select {", ".join([*keys, *columns])} from {RELATIONS[table]}
        where "end" >= $start and "end" < $end and ({of.where}) {group} {limit}""",
        {**of.parameters, "start": instant_of(of.bounds[0]), "end": instant_of(of.bounds[-1]), **grid},
    ).fetchnumpy()
    arrays = {name: np.asarray(values, np.int64) for name, values in found.items()}
    for name, parts in made.items():
        arrays[name] = np.add.reduce([sign * arrays[part] for part, sign in parts.items()])
    if "interval" in by:
        at = base + arrays["key_interval"] * size
        arrays["key_interval"] = np.clip(np.searchsorted(of.bounds, at, "right") - 1, 0, None)
    return Sums({key: arrays[f"key_{key}"] for key in by}, {name: arrays[name] for name in names}).rolled_up(by)


def slots(bounds: Sequence[int]) -> tuple[int, int]:
    """A grid, begin and step, that every interval is a whole part of, up to what lies outside the bounds."""
    inner = bounds[1:-1]
    if not inner:
        return bounds[0], max(bounds[-1] - bounds[0], 1)
    steps = {end - start for start, end in zip(bounds, inner, strict=False)}
    if len(steps) == 1 and bounds[-1] - bounds[-2] <= max(steps):
        return bounds[0], steps.pop()
    return 0, gcd(*inner)


def _terms(relations: Relations, table: Table) -> dict[str, str]:
    """What is summed: as it is kept beside the segments, where that is so."""
    kept = KEPT[table] if isinstance(relations, Snapshot) and relations.keeps_sums else {}
    return SUMS[table] | {name: f'"{name}"' for name in kept}


def _sum(term: str) -> str:
    return "count(*)" if term == "1" else f"sum({term})"
