"""The metrics of one selection at a time, each by a query of its own: slow, and simple. What `answers` says is this."""

from __future__ import annotations

# ruff: noqa: S608
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from handletime.answers.registry import Metric
from handletime.answers.relations import Snapshot
from handletime.answers.terms import RELATIONS, SUMS, VALUES, Table

By = Literal["accountId", "agentId", "skillId", "interval"]
Value = int | float | None
Row = dict[str, Value | str]

NOTHING: Final = -1
"""An average over nothing."""


class Window(NamedTuple):
    """Segments count where they end in [start, end), epoch milliseconds; `starts` are those of its intervals, if any.

    They stand in ascending order, and the first is no later than `start`.
    """

    start: int
    end: int
    starts: Sequence[int] = ()


def aggregate(snapshot: Snapshot, metrics: Iterable[Metric], by: Sequence[By], window: Window) -> list[Row]:
    """One row for each group that has segments, in the order of `by`: the keys, then the metrics under their keys.

    There are the tables of segments with the columns of `segments.tables`, agent segments also with `focusData`
    (boolean). `interval` is the start of an interval in epoch milliseconds. Skill and queue segments have no agent:
    they are left out where `by` names one.
    """
    chosen = list(metrics)
    groups: dict[tuple[int | str, ...], dict[str, Value]] = {}
    for table in RELATIONS:
        wanted = [metric for metric in chosen if metric.table == table]
        if wanted and not (table != "agentSegments" and "agentId" in by):
            for key, values in _groups(snapshot, table, wanted, by, window):
                groups.setdefault(key, {}).update(values)
    empty: dict[str, Value] = {metric.key: of_nothing(metric) for metric in chosen}
    return [{**dict(zip(by, key, strict=True)), **empty, **groups[key]} for key in sorted(groups)]


def _groups(
    snapshot: Snapshot, table: Table, metrics: list[Metric], by: Sequence[By], window: Window
) -> Iterable[tuple[tuple[int | str, ...], dict[str, Value]]]:
    sums = {name for metric in metrics for name in (metric.sum, metric.per) if name}
    terms = SUMS[table]
    columns = [f'cast({_sum(terms[name])} as bigint) as "{name}"' for name in sorted(sums)]
    percentiles = _percentiles(snapshot, table, [metric for metric in metrics if metric.values], by, window)
    for key, row in _query(snapshot, table, columns, by, window):
        values = {m.key: value_of(m, row) for m in metrics if not m.values}
        yield key, {**values, **percentiles.get(key, {})}


def _percentiles(
    snapshot: Snapshot, table: Table, metrics: list[Metric], by: Sequence[By], window: Window
) -> dict[tuple[int | str, ...], dict[str, Value]]:
    found: dict[tuple[int | str, ...], dict[str, Value]] = {}
    for values in {metric.values: None for metric in metrics}:
        wanted = [metric for metric in metrics if metric.values == values]
        each, where = VALUES[table][values]
        columns = [f'quantile_disc(v, {m.percent / 100:.2f}) as "{m.key}"' for m in wanted]
        source = f"(select * exclude (v), unnest(v) as v from (select *, {each} as v from {{}} where {where}))"
        for key, row in _query(snapshot, table, columns, by, window, source):
            found.setdefault(key, {}).update(row)
    return found


def _query(
    snapshot: Snapshot,
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
    cursor = snapshot.execute(f"select {', '.join([*keys, *columns])} from {relation} {where} {group}", parameters)
    labels = [column.rpartition(" as ")[2].strip('"') for column in columns]
    for row in cursor.fetchall():
        yield tuple(row[: len(by)]), dict(zip(labels, row[len(by) :], strict=True))


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


def _sum(term: str) -> str:
    return "count(*)" if term == "1" else f"sum({term})"
