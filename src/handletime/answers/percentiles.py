"""Percentiles of single values, by the same groups and for the same selection as the sums (rules.md 4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from handletime.answers.registry import Metric
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection
from handletime.answers.sums import By, places_of, slots
from handletime.answers.terms import RELATIONS, VALUES, Table

Groups = dict[tuple[int, ...], dict[str, int | None]]
PLACES_MAX: Final = 100_000
"""The most slots, as long as the bounds of intervals fall on slots: minutes of two months. With more slots, each row's
interval is looked up.
"""


def percentiles_of(
    snapshot: Snapshot,
    table: Table,
    metrics: Iterable[Metric],
    by: Sequence[By],
    of: Selection,
    *,
    with_total: bool = False,
) -> Groups:
    """Metrics that are percentiles, by group: the keys of `by`, then each metric under its key.

    `with_total` adds those of all groups together, under the key `()`. Nearest rank over the single values,
    `interval` is a place in the bounds. Groups without any value are absent.
    """
    found: Groups = {}
    chosen = list(metrics)
    for values in dict.fromkeys(metric.values for metric in chosen):
        wanted = [metric for metric in chosen if metric.values == values]
        for key, row in _query(snapshot, table, values, wanted, by, of, with_total=with_total):
            found.setdefault(key, {}).update(row)
    return found


def _query(
    snapshot: Snapshot,
    table: Table,
    values: str,
    metrics: list[Metric],
    by: Sequence[By],
    of: Selection,
    *,
    with_total: bool,
) -> Iterable[tuple[tuple[int, ...], dict[str, int | None]]]:
    each, where = VALUES[table][values]
    condition = of.condition(table)
    parameters: dict[str, object] = {**condition.parameters}
    relation, place = RELATIONS[table], ""
    if "interval" in by:
        relation, place, more = placed(relation, of.bounds)
        parameters |= more
    keys = [f'{place if key == "interval" else key} as "key_{key}"' for key in by]
    names = [f'"key_{key}"' for key in by]
    group = f"group by {', '.join(names)}" if by else "having count(*) > 0"
    if by and with_total:
        group = f"group by grouping sets (({', '.join(names)}), ()) having count(*) > 0"
    shares = ", ".join(f"{metric.percent / 100:.2f}" for metric in metrics)
    sql = f"""select {", ".join([*names, f"quantile_disc(v, [{shares}])"])}
        from (select {", ".join([*keys, f"unnest({each}) as v"])} from {relation}
            where {condition.where} and ({where})) {group}"""  # noqa: S608
    for *key, row in snapshot.execute(sql, parameters).fetchall():
        yield () if None in key else tuple(key), {metric.key: value for metric, value in zip(metrics, row, strict=True)}


def placed(relation: str, bounds: Sequence[int], moment: str = '"end"') -> tuple[str, str, dict[str, object]]:
    """A relation and the place of a row's interval by a moment of it, both as SQL, and the values that they bind."""
    base, size = slots(bounds)
    count = (bounds[-1] - 1 - base) // size + 1
    if count > PLACES_MAX:
        # Years of weeks on clocks that are put forward and back: all they have in common is an hour, or a second.
        begins = "(select unnest($begins::bigint[]) as begins, unnest(range(len($begins))) as place)"
        joined = f"{relation} asof join {begins} on epoch_ms({moment}) >= begins"
        return joined, "place", {"begins": list(bounds[:-1])}
    grid: dict[str, object] = {"base": base * 1000, "size": size * 1000}
    slot = f"(epoch_us({moment}) - $base) // $size"
    places = places_of(bounds, base + np.arange(count) * size)
    if (places == np.arange(count)).all():
        return relation, slot, grid
    return relation, f"$places[{slot} + 1]", grid | {"places": places.tolist()}
