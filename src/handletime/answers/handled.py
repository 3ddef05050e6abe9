"""Handle time split at the borders of intervals: what planners need, beside handle time by the end of segments.

A handle-time unit counts in each interval for as long as it lies there, whenever its segment ended. Units of segments
that still run are not known yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from handletime.answers.registry import Metric
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection, instant_of
from handletime.answers.sums import By, Sums, Texts, key_sql, keyed
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
_OF_SEGMENTS: Final = ("skillId", "groupId", "source")


def handled_in_intervals(snapshot: Snapshot, by: Sequence[By], of: Selection, texts: Texts) -> Sums:
    """The sums of `HANDLE_TIME_IN_INTERVAL` by group. `of` may have no conversation, employee and outcome."""
    # What ends after the beginning; of a lake, the files of segments that do.
    condition = of._replace(bounds=(of.start + 1, TIME_MAX + 1)).condition().but("start < $until")
    parameters: dict[str, object] = {**condition.parameters, "until": instant_of(of.end)}
    wanted = [name for name in _OF_SEGMENTS if name in by or _filters(of, name)]
    source = "handle_time_units"
    if wanted:
        source = f"""(select u.*, {", ".join(wanted)} from handle_time_units u
            join (select segmentNumber, {", ".join(wanted)} from agent_segments) using (segmentNumber))"""  # noqa: S608
    begin, end, joined = "$begin", "$until", ""
    if "interval" in by:
        begin, end = "begins", "ends"
        joined = """join (select unnest($begins::timestamptz[]) as begins, unnest($ends::timestamptz[]) as ends,
            unnest(range(len($begins))) as place) on start < ends and "end" > begins"""
        moments = [instant_of(each) for each in of.bounds]
        parameters |= {"begins": moments[:-1], "ends": moments[1:]}
    else:
        parameters["begin"] = instant_of(of.start)
    keys = [f'{"place" if key == "interval" else key_sql(key)} as "key_{key}"' for key in by]
    millis = f'(epoch_us(least("end", {end})) - epoch_us(greatest(start, {begin}))) // 1000'
    sums = {"handleTimeInInterval": f"sum({millis})", "segmentsInInterval": "count(distinct segmentNumber)"}
    columns = [f'cast({term} as bigint) as "{name}"' for name, term in sums.items()]
    group = f"group by {', '.join(str(i + 1) for i in range(len(by)))}" if by else "having count(*) > 0"
    units = f"(select * from {source} where {condition.where})"  # noqa: S608
    found = snapshot.execute(
        f"select {', '.join([*keys, *columns])} from {units} {joined} {group}",  # noqa: S608
        parameters,
    ).fetchnumpy()
    arrays = keyed(found, texts)
    return Sums({key: arrays[f"key_{key}"] for key in by}, {name: arrays[name] for name in sums})


def _filters(of: Selection, column: str) -> bool:
    filters = {"skillId": of.skills, "groupId": of.groups, "source": of.source}
    return filters[column] is not None
