"""Every metric of every group: sums, averages, shares and percentiles together, and what is unknown (rules.md 4).

A selection goes in, figures come out. Callers with very many groups, or without percentiles, use `sums_of` themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from handletime.answers.levels import Verdicts, judged_sums
from handletime.answers.percentiles import percentiles_of
from handletime.answers.registry import CLOCK_TABLES, HANDLE_TIME, LEVELS, METRICS, Metric
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection
from handletime.answers.sums import NOTHING, By, Sums, sums_of
from handletime.answers.terms import RELATIONS, Table
from handletime.events.model import TIME_MAX, TIME_MIN

Value = int | float | None
"""None: unknown, or a percentile of nothing. An average over nothing is -1."""
Figures = dict[str, Value]
"""Metrics under their keys."""
Groups = dict[tuple[int, ...], Figures]
"""Figures by the keys that they are grouped by; those of all groups together under `()`."""
KNOWN: Final = METRICS["segmentsWithFocusData"]
"""The number of segments whose handle time is known."""


def figures_of(
    snapshot: Snapshot,
    metrics: Iterable[Metric],
    by: Sequence[By],
    of: Selection,
    verdicts: Verdicts | None = None,
) -> Groups:
    """Metrics of all tables by group, and of all groups together (`()`), in ascending order of the keys.

    `interval` is a place in the bounds. Skill and queue segments have no agent: they are left out where `by` names one.
    Groups in which no segment ended are absent. Service levels come from the `verdicts` of the snapshot, and
    are None where no target sets their clock.
    """
    verdicts = verdicts or Verdicts(snapshot)
    targets = verdicts.targets
    found: Groups = {}
    chosen = list(metrics)
    levels = [metric for metric in chosen if metric.key in LEVELS]
    for clock in dict.fromkeys(LEVELS[metric.key] for metric in levels):
        if targets.sets(clock) and not (CLOCK_TABLES[clock] != "agentSegments" and "agentId" in by):
            of_clock = [metric for metric in levels if LEVELS[metric.key] == clock]
            sums = judged_sums(verdicts.of(clock, by, of), clock)
            for key, figures in {**by_group(sums, of_clock), **by_group(sums.rolled_up(()), of_clock)}.items():
                found.setdefault(key, {}).update(figures)
    for table in RELATIONS:
        wanted = [metric for metric in chosen if metric.table == table and metric.key not in LEVELS]
        if wanted and not (table != "agentSegments" and "agentId" in by):
            finest = sums_of(snapshot, table, summed(wanted), by, of)
            for key, figures in with_percentiles(snapshot, finest, table, wanted, by, of).items():
                found.setdefault(key, {}).update(figures)
    empty: Figures = {metric.key: of_nothing(metric) for metric in chosen}
    empty |= {metric.key: None for metric in levels if not targets.sets(LEVELS[metric.key])}
    return {key: {**empty, **found[key]} for key in sorted(found)}


def span(snapshot: Snapshot, user_type: str | None = None) -> tuple[int, int] | None:
    """The first and last end of all segments (of a user type) in epoch milliseconds; None where none has ended."""
    of = Selection((TIME_MIN, TIME_MAX + 1), user_type=user_type)
    every = " union all ".join(
        f'select epoch_ms("end") as t from {relation} where {of.condition(table).where}'  # noqa: S608
        for table, relation in RELATIONS.items()
    )
    found = snapshot.execute(f"select min(t), max(t) from ({every})", of.condition().parameters)  # noqa: S608
    first, last = found.fetchone() or (None, None)
    return None if first is None else (first, last)


def summed(metrics: Iterable[Metric]) -> list[Metric]:
    """The metrics that are made of sums; with handle times also `KNOWN`."""
    chosen = {metric.key: metric for metric in metrics}
    if HANDLE_TIME & chosen.keys():
        chosen[KNOWN.key] = KNOWN
    return [metric for metric in chosen.values() if not metric.values]


def with_percentiles(
    snapshot: Snapshot, finest: Sums, table: Table, metrics: Sequence[Metric], by: Sequence[By], of: Selection
) -> Groups:
    """Metrics of one table by group, and of all groups together (`()`).

    `finest` are sums of the metrics of `summed`, by these groups or finer ones.
    """
    groups = by_group(finest.rolled_up(by), metrics)
    if by:
        groups |= by_group(finest.rolled_up(()), metrics)
    ranked = [metric for metric in metrics if metric.values]
    if ranked:
        for key, values in percentiles_of(snapshot, table, ranked, by, of, with_total=True).items():
            groups[key].update(values)
    return groups


def by_group(sums: Sums, metrics: Iterable[Metric]) -> Groups:
    """Metrics by the keys of their sums (`summed`); percentiles are None until somebody adds them."""
    chosen = list(metrics)
    made = [metric for metric in chosen if not metric.values]
    keys = zip(*(each.tolist() for each in sums.keys.values()), strict=True) if sums.keys else [()] * len(sums)
    none: Figures = {metric.key: None for metric in chosen}
    rows = zip(*(sums.values_of(metric) for metric in made), strict=True) if made else [()] * len(sums)
    names = [metric.key for metric in made]
    found = {key: {**none, **dict(zip(names, row, strict=True))} for key, row in zip(keys, rows, strict=True)}
    if HANDLE_TIME & none.keys():
        known = sums.values_of(KNOWN)
        for figures, count in zip(found.values(), known, strict=True):
            if not count:
                figures.update(dict.fromkeys(HANDLE_TIME & none.keys()))
    return found


def of_nothing(metric: Metric) -> Value:
    """A metric of a group without segments of its table: a handle time is unknown then, not 0 (rules.md 3.3)."""
    if metric.values or metric.key in HANDLE_TIME:
        return None
    return NOTHING if metric.per else 0
