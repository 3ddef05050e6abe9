"""Sums over derived segments by agent, skill and interval, and the metrics made of them (rules.md 4).

One query sums by the finest groups that are wanted. Coarser groups are rolled up from these in memory, and averages
are taken from sums, last; so levels cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, repeat, starmap
from math import gcd
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from handletime.answers.registry import Metric
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection
from handletime.answers.terms import KEPT, MADE, RELATIONS, SUMS, Table
from handletime.events.model import USER_TYPES

By = Literal["agentId", "skillId", "groupId", "source", "userType", "interval", "conversation", "assigned"]
"""`conversation` is a number that only files have, for some conversations at a time (`answers.files`).

`userType` is a place in `USER_TYPES`, `source` a number of `Texts`. `assigned` is 0 for closes while nobody was
assigned, whose `agentId` is 0 then, and else 1 (`answers.closes`).
"""
I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NOTHING: Final = -1
"""An average over nothing."""


class Texts:
    """Numbers for texts, in order of first arrival, so that groups are compared as numbers. 0 is for no text."""

    def __init__(self) -> None:
        self.all: list[str | None] = [None]
        self._numbers: dict[str | None, int] = {None: 0}

    def numbers(self, texts: npt.NDArray[Any]) -> I64:
        """The number of each text, or of None."""
        found = np.empty(len(texts), np.int64)
        for place, text in enumerate(np.ma.filled(texts, None).tolist()):
            number = self._numbers.get(text)
            if number is None:
                number = self._numbers[text] = len(self.all)
                self.all.append(text)
            found[place] = number
        return found

    def ranks(self) -> I64:
        """For each number the place of its text by code point; no text is first."""
        order = sorted(range(1, len(self.all)), key=lambda number: str(self.all[number]))
        ranks = np.zeros(len(self.all), np.int64)
        ranks[order] = np.arange(1, len(self.all))
        return ranks


class Sums(NamedTuple):
    """Groups with their keys and sums, one array each, in ascending order of the keys as they stand."""

    keys: dict[By, I64]
    sums: dict[str, I64]

    def __len__(self) -> int:
        return len(next(iter(self.sums.values())))

    def rolled_up(self, by: Sequence[By]) -> Sums:
        """These sums by fewer keys."""
        order = np.lexsort([self.keys[key] for key in reversed(by)]) if by else np.arange(len(self))
        keys = {key: self.keys[key][order] for key in by}
        starts = starts_of(list(keys.values()), len(order))
        sums = {
            name: np.add.reduceat(values[order], starts) if len(order) else values for name, values in self.sums.items()
        }
        return Sums({key: values[starts] for key, values in keys.items()}, sums)

    def backwards(self, key: By, last: int) -> Sums:
        """These groups in descending order of the first key, which then counts down from its last value."""
        return Sums({**self.keys, key: last - self.keys[key]}, self.sums).rolled_up(tuple(self.keys))

    def part(self, begin: int, end: int) -> Sums:
        """The groups from one place to another."""
        at = slice(begin, end)
        return Sums({k: v[at] for k, v in self.keys.items()}, {k: v[at] for k, v in self.sums.items()})

    def runs(self, by: Sequence[By]) -> Iterator[tuple[tuple[int, ...], slice]]:
        """The groups that agree in these keys, which are the first that they are ordered by, and where they lie."""
        keys = [self.keys[key] for key in by]
        starts = starts_of(keys, len(self))
        places = [*starts.tolist(), len(self)]
        values = zip(*(key[starts].tolist() for key in keys), strict=True) if keys else repeat(())
        yield from zip(values, starmap(slice, pairwise(places)), strict=False)

    def only(self, key: By, values: Iterable[int]) -> Sums:
        """Only the groups whose key is one of these."""
        chosen = np.isin(self.keys[key], np.fromiter(values, np.int64))
        return Sums({k: v[chosen] for k, v in self.keys.items()}, {k: v[chosen] for k, v in self.sums.items()})

    def values_of(self, metric: Metric) -> list[int] | list[float]:
        """A metric of every group; an average over nothing is -1, of `exactMillis` 0. Percentiles are no sums."""
        values, some = self.column_of(metric)
        nothing = 0 if metric.unit == "exactMillis" else NOTHING
        return (values if some is None else np.where(some, values, nothing)).tolist()  # type: ignore[no-any-return]

    def column_of(self, metric: Metric) -> tuple[npt.NDArray[np.generic], Flags | None]:
        """A metric of every group, and where an average is one of something. Percentiles are no sums."""
        total = self.sums[metric.sum]
        if not metric.per:
            return total, None
        count = self.sums[metric.per]
        some = np.maximum(count, 1)
        values: npt.NDArray[np.generic]
        match metric.unit:
            case "percent":
                values = 100 * total / some
            case "responses" | "exactMillis":
                values = total / some
            case _:
                values = total // some
        return values, count > 0


def starts_of(keys: list[I64], count: int) -> npt.NDArray[np.intp]:
    """Where a new group begins in sorted keys."""
    if not count:
        return np.empty(0, np.intp)
    changes = np.zeros(count, np.bool_)
    changes[0] = True
    for values in keys:
        changes[1:] |= values[1:] != values[:-1]
    return np.flatnonzero(changes)


def sums_of(
    snapshot: Snapshot,
    table: Table,
    metrics: Iterable[Metric],
    by: Sequence[By],
    of: Selection,
    *,
    most: int | None = None,
    texts: Texts | None = None,
) -> Sums:
    """The sums that metrics of one table are made of, in one query, by the finest groups that are wanted.

    Every coarser group and every average comes from these (`Sums.rolled_up`, `Sums.values_of`), so levels cannot
    disagree. `interval` is a place in the bounds. Where there are more than `most` groups, any `most` + 1 of them are
    given.
    """
    names = sorted({name for metric in metrics for name in (metric.sum, metric.per) if name} or {"segments"})
    condition = of.condition(table)
    base, size = slots(of.bounds)
    terms = _terms(snapshot, table)
    slot = '(epoch_us("end") - $base) // $size'
    grid = {"base": base * 1000, "size": size * 1000} if "interval" in by else {}
    keys = [f'{slot if key == "interval" else key_sql(key)} as "key_{key}"' for key in by]
    made = {name: parts for name, parts in MADE[table].items() if name in names and {*parts} <= {*names, "segments"}}
    asked = sorted({*names, *(["segments"] if made else [])} - made.keys())
    columns = [f'cast({_sum(terms[name])} as bigint) as "{name}"' for name in asked]
    group = f"group by {', '.join(str(i + 1) for i in range(len(by)))}" if by else "having count(*) > 0"
    limit = "" if most is None else f"limit {most + 1}"
    found = snapshot.execute(
        f"""select {", ".join([*keys, *columns])} from {RELATIONS[table]}
        where {condition.where} {group} {limit}""",
        {**condition.parameters, **grid},
    ).fetchnumpy()
    arrays = keyed(found, texts)
    for name, parts in made.items():
        arrays[name] = np.add.reduce([sign * arrays[part] for part, sign in parts.items()])
    if "interval" in by:
        at = base + arrays["key_interval"] * size
        arrays["key_interval"] = places_of(of.bounds, at)
    return Sums({key: arrays[f"key_{key}"] for key in by}, {name: arrays[name] for name in names}).rolled_up(by)


def key_sql(key: By) -> str:
    """A key that is no interval as SQL over the columns of the tables."""
    return f"(userType = '{USER_TYPES[1]}')::bigint" if key == "userType" else key


def keyed(found: dict[str, npt.NDArray[Any]], texts: Texts | None) -> dict[str, I64]:
    """What a query found as numbers: sums and keys, `key_source` as numbers of texts, which have to be given then."""
    if "key_source" in found:
        assert texts is not None  # noqa: S101 — callers that ask for sources give it
        found["key_source"] = texts.numbers(found["key_source"])
    return {name: np.asarray(values, np.int64) for name, values in found.items()}


def slots(bounds: Sequence[int]) -> tuple[int, int]:
    """A grid, begin and step: each interval is made of whole slots, but for what of a slot lies outside the bounds.

    It begins at the first bound or before: SQL divides towards 0, so places are counted from there upwards only.
    """
    inner = bounds[1:-1]
    if not inner:
        return bounds[0], max(bounds[-1] - bounds[0], 1)
    steps = {end - start for start, end in zip(bounds, inner, strict=False)}
    if len(steps) == 1 and bounds[-1] - bounds[-2] <= max(steps):
        return bounds[0], max(steps.pop(), 1)
    step = gcd(*(end - inner[0] for end in inner)) or bounds[-1] - bounds[0]
    return inner[0] + (bounds[0] - inner[0]) // step * step, step


def places_of(bounds: Sequence[int], begins: I64) -> I64:
    """The intervals' places in the bounds for slots that begin then; the first slot may begin before the bounds."""
    return np.clip(np.searchsorted(bounds, begins, "right") - 1, 0, None)


def _terms(snapshot: Snapshot, table: Table) -> dict[str, str]:
    """The terms to sum: kept columns, where the relation has them."""
    kept = KEPT[table] if snapshot.keeps_sums else {}
    return SUMS[table] | {name: f'"{name}"' for name in kept}


def _sum(term: str) -> str:
    return "count(*)" if term == "1" else f"sum({term})"
