"""Percentiles of single values, by the same groups and for the same selection as the sums (rules.md 4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from handletime.answers.registry import Metric
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection
from handletime.answers.sums import By, Sums, Texts, key_sql, keyed, places_of, slots
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
    names = [f'"key_{key}"' for key in by]
    found, parameters = _values(table, values, by, of)
    group = _grouped(names)
    if by and with_total:
        group = f"group by grouping sets (({', '.join(names)}), ()) having count(*) > 0"
    sql = f"select {', '.join([*names, _ranked(metrics)])} from ({found}) {group}"  # noqa: S608
    for *key, row in snapshot.execute(sql, parameters).fetchall():
        yield () if None in key else tuple(key), {metric.key: value for metric, value in zip(metrics, row, strict=True)}


def percentile_columns(
    snapshot: Snapshot, table: Table, metrics: Sequence[Metric], by: Sequence[By], of: Selection, texts: Texts
) -> Sums:
    """The same of metrics over the same single values (`Metric.values`), as columns under their keys."""
    names = [f'"key_{key}"' for key in by]
    found, parameters = _values(table, metrics[0].values, by, of)
    each = [f'q[{place}] as "{metric.key}"' for place, metric in enumerate(metrics, 1)]
    sql = f"""select {", ".join([*names, *each])}
        from (select {", ".join([*names, f"{_ranked(metrics)} as q"])} from ({found}) {_grouped(names)})"""  # noqa: S608
    arrays = keyed(snapshot.execute(sql, parameters).fetchnumpy(), texts)
    return Sums({key: arrays[f"key_{key}"] for key in by}, {metric.key: arrays[metric.key] for metric in metrics})


def _values(table: Table, values: str, by: Sequence[By], of: Selection) -> tuple[str, dict[str, object]]:
    """The query for single values as `v`, with the keys of their groups, and what it binds."""
    each, where = VALUES[table][values]
    condition = of.condition(table)
    parameters: dict[str, object] = {**condition.parameters}
    relation, place = RELATIONS[table], ""
    if "interval" in by:
        relation, place, more = placed(relation, of)
        parameters |= more
    keys = [f'{place if key == "interval" else key_sql(key)} as "key_{key}"' for key in by]
    sql = f"""select {", ".join([*keys, f"unnest({each}) as v"])} from {relation}
        where {condition.where} and ({where})"""  # noqa: S608
    return sql, parameters


def _ranked(metrics: Sequence[Metric]) -> str:
    return f"quantile_disc(v, [{', '.join(f'{metric.percent / 100:.2f}' for metric in metrics)}])"


def _grouped(names: Sequence[str]) -> str:
    return f"group by {', '.join(names)}" if names else "having count(*) > 0"


def placed(relation: str, of: Selection, moment: str = '"end"') -> tuple[str, str, dict[str, object]]:
    """A relation and the place of a row's interval by a moment of it, both as SQL, and the values that they bind."""
    if slot_count(of) > PLACES_MAX:
        # Years of weeks on clocks that are put forward and back: all they have in common is an hour, or a second.
        begins = "(select unnest($begins::bigint[]) as begins, unnest($at::bigint[]) as place)"
        joined = f"{relation} asof join {begins} on epoch_ms({moment}) >= begins"
        long = {begin: place for place, begin in enumerate(of.bounds[:-1])}  # The last of those that begin together.
        return joined, "place", {"begins": [*long], "at": [*long.values()]}
    return relation, place_of(f"epoch_us({moment})"), grid(of)


def place_of(micros: str) -> str:
    """The place of the interval of a moment within the bounds (SQL, epoch microseconds), where there is a `grid`."""
    return f"$places[({micros} - $base) // $size + 1]"


def grid(of: Selection) -> dict[str, object]:
    """What `place_of` binds. Only where there are at most `PLACES_MAX` slots."""
    base, size = slots(of.bounds)
    places = places_of(of.bounds, base + np.arange(slot_count(of)) * size)
    return {"places": places.tolist(), "base": base * 1000, "size": size * 1000}


def slot_count(of: Selection) -> int:
    """The number of slots between the bounds."""
    base, size = slots(of.bounds)
    return (of.bounds[-1] - 1 - base) // size + 1
