"""Handle time split at the borders of intervals: what planners need, beside handle time by the end of segments.

A handle-time unit counts in each interval for as long as it lies there, whenever its segment ended. Units of segments
that still run are not known yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from handletime.answers.percentiles import PLACES_MAX, grid, place_of, slot_count
from handletime.answers.registry import Metric
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Condition, Selection, instant_of
from handletime.answers.sums import By, Sums, Texts, key_sql, keyed
from handletime.answers.terms import Table
from handletime.events.model import TIME_MAX

HANDLE_TIME_IN_INTERVAL: Final = (
    Metric(
        "handleTimeInIntervalSegmentCount",
        "Ended human segments that were handled in the interval; one that was handled in two counts in both",
        "segmentsInInterval",
    ),
    Metric(
        "handleTimeInIntervalMillis",
        "Handle time that lies in the interval, whenever its segment ended; units are split at the borders",
        "handleTimeInInterval",
        unit="millis",
    ),
)
"""Their sums stand in no table of segments: `handled_in_intervals` has them."""


def handled_in_intervals(snapshot: Snapshot, by: Sequence[By], of: Selection, texts: Texts) -> Sums:
    """The sums of `HANDLE_TIME_IN_INTERVAL` by group. `of` may have no conversation, employee and outcome."""
    units, parameters = units_in(by, of)
    names = [f'"key_{key}"' for key in by]
    group = f"group by {', '.join(names)}" if by else "having count(*) > 0"
    found = snapshot.execute(
        f"""select {", ".join([*names, *(f'cast({term} as bigint) as "{name}"' for name, term in _SUMS.items())])}
        from ({units}) {group}""",  # noqa: S608
        parameters,
    ).fetchnumpy()
    arrays = keyed(found, texts)
    return Sums({key: arrays[f"key_{key}"] for key in by}, {name: arrays[name] for name in _SUMS})


_SUMS: Final = {
    "handleTimeInInterval": "sum((epoch_us(until) - epoch_us(since)) // 1000)",
    "segmentsInInterval": "count(distinct segmentNumber)",
}


def units_in(by: Sequence[By], of: Selection) -> tuple[str, dict[str, object]]:
    """The query for the parts of units that lie in each interval, with the keys of their groups, and what it binds."""
    condition = since(of)
    parameters: dict[str, object] = {**condition.parameters}
    columns = ", ".join(["segmentNumber", "start", '"end"', *(key for key in by if key != "interval")])
    where = f'{condition.where} and "end" > $start and start < $until'
    units = f"(select {columns} from handle_time_units where {where})"  # noqa: S608
    begin, end = "$start", "$until"
    if "interval" in by:
        begin, end = "$borders[place + 1]", "$borders[place + 2]"
        units, more = _in_each(units, of)
        parameters |= more | {"borders": [instant_of(each) for each in of.bounds]}
    keys = [f'{"place" if key == "interval" else key_sql(key)} as "key_{key}"' for key in by]
    parts = [f"greatest(start, {begin}) as since", f'least("end", {end}) as until', "segmentNumber"]
    found = f"select {', '.join([*keys, *parts])} from {units}"  # noqa: S608
    if len({*of.bounds}) < len(of.bounds):
        found = f"select * from ({found}) where since < until"  # noqa: S608 — some intervals have no length
    return found, parameters


def _in_each(units: str, of: Selection) -> tuple[str, dict[str, object]]:
    """Units, once for each interval that they lie in, with its `place`; as SQL, with what it binds."""
    if slot_count(of) > PLACES_MAX:
        borders = """(select unnest($borders[:-2]) as begins, unnest($borders[2:]) as ends,
            unnest(range(len($borders) - 1)) as place)"""
        return f'({units} join {borders} on start < ends and "end" > begins)', {}
    first = place_of("epoch_us(greatest(start, $start))")
    last = place_of('(epoch_us(least("end", $until)) - 1)')
    return f"(select *, unnest(range({first}, {last} + 1)) as place from {units})", grid(of)  # noqa: S608


def since(of: Selection, table: Table = "agentSegments") -> Condition:
    """What ends after the beginning of a window, whose end is bound as `until`; of a lake, the files that may have it.

    For queries that ask for units, whose segments may end later.
    """
    condition = of._replace(bounds=(of.start, TIME_MAX + 1)).condition(table)
    return condition._replace(parameters={**condition.parameters, "until": instant_of(of.end)})
