"""Closed conversations by agent, skill and interval: how many, by whom, and how long they had been open.

A close ends a skill segment, and the agent segment of whoever was assigned then. The conversation was opened with the
first skill segment after its close before, if there was one; only a transfer to another skill lies in between
(rules.md 2.2), unless segments lie outside of a scope. So one looks back from segment to segment, and no further than
there are any.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection, instant_of
from handletime.answers.sums import By, Sums, places_of, slots
from handletime.events.model import INTEGER_MAX, TIME_MIN

_CLOSED: Final = "endReason in ('closedByConsumer', 'closedByAgent', 'closedBySystem')"
_WHO: Final = {"Agent": "closedByAgent", "Consumer": "closedByConsumer", "System": "closedBySystem"}
_TIME: Final = 'epoch_us("end") - epoch_us(opened)'
_FURTHER: Final = 8
"""How many times as far it looks back, where some openings are not found."""


def closes_of(snapshot: Snapshot, by: tuple[By, ...], of: Selection, *, most: int | None = None) -> Sums:
    """The closes in the bounds of a selection, by some of interval, skillId, assigned and agentId.

    Filters are those of skills, agents and groups. Within a scope of skills a conversation counts as opened when it
    came into these skills: what was before is not seen. Sums: `closes`, `byAgent`, `byConsumer` and `bySystem`, and the
    milliseconds from the opening to the close as `time`, `timeByAgent` and so on. Where there are more than `most`
    groups, any `most` + 1 of them are given.
    """
    closed = Selection(of.bounds, skills=of.skills).condition()
    agents = Selection(of.bounds, agents=of.agents, groups=of.groups).condition()
    base, size = slots(of.bounds)
    asked = {**agents.parameters, **closed.parameters, "since": instant_of(of.start)}
    if "interval" in by:
        asked |= {"base": base * 1000, "size": size * 1000}
    sql = _sql(by, closed.where, agents.where, filtered=of.agents is not None or of.groups is not None)
    sql += "" if most is None else f" limit {most + 1}"
    low = of.start
    while True:
        found = snapshot.execute(sql, asked | {"start": instant_of(low)}).fetchnumpy()
        earliest = int(found.pop("unknown").min(initial=INTEGER_MAX))
        if earliest == INTEGER_MAX or low <= TIME_MIN:
            break
        low = max(min(earliest, of.end - _FURTHER * (of.end - low)), TIME_MIN)
    arrays = {name: np.asarray(values, np.int64) for name, values in found.items()}
    if "interval" in by:
        arrays["key_interval"] = places_of(of.bounds, base + arrays["key_interval"] * size)
    keys = {key: arrays.pop(f"key_{key}") for key in by}
    return Sums(keys, arrays).rolled_up(by)


def _sql(by: tuple[By, ...], closed: str, agents: str, *, filtered: bool) -> str:
    """The query. It binds `start`, how far it looks back, beside `since` and `end`, the bounds of the closes.

    `unknown` is the earliest start of a segment of which it is not known what came before, in epoch milliseconds.
    """
    terms = {
        "interval": '(epoch_us("end") - $base) // $size',
        "skillId": "skillId",
        "assigned": "(agentId is not null)::int",
        "agentId": "coalesce(agentId, 0)",
    }
    keys = [f'{terms[key]} as "key_{key}"' for key in by]
    sums = ["count(*) as closes", f"sum({_TIME}) // 1000 as time"]
    for who, reason in _WHO.items():
        is_theirs = f"filter (where endReason = '{reason}')"
        sums += [f'count(*) {is_theirs} as "by{who}"']
        sums += [f'coalesce(sum({_TIME}) {is_theirs}, 0) // 1000 as "timeBy{who}"']
    columns = [*keys, *(f"cast({column.replace(' as ', ' as bigint) as ', 1)}" for column in sums)]
    joined = f"""{"" if filtered else "left"} join (
            select conversationId, skillSegmentSequence as sequence, agentId from agent_segments
            where {agents} and "end" >= $since and {_CLOSED}) using (conversationId, sequence)"""  # noqa: S608
    return f"""with closed as (
            select conversationId, sequence, skillId, endReason, start, "end" from skill_segments
            where {closed} and "end" >= $since and {_CLOSED}),
        before as (
            select conversationId, sequence, start, coalesce(sum(({_CLOSED})::int) over (
                partition by conversationId order by sequence rows between unbounded preceding and 1 preceding
            ), 0) as closes,
            sequence - row_number() over (partition by conversationId order by sequence) as unseen
            from skill_segments where "end" >= $start and "end" < $end
            and conversationId in (select conversationId from closed where sequence > 1)),
        openings as (
            select conversationId, sequence, min(start) over one as first_start, min(sequence) over one as first
            from before window one as (partition by conversationId, closes, unseen)),
        found as (
            select closed.*, coalesce(first_start, start) as opened,
                case when first > 1 and first_start < $start then epoch_ms(first_start) end as beyond
            from closed left join openings using (conversationId, sequence))
        select {", ".join(columns)}, coalesce(min(beyond), {INTEGER_MAX}) as unknown
        from found {joined if filtered or "assigned" in by else ""}
        {f"group by {', '.join(str(i + 1) for i in range(len(by)))}" if by else "having count(*) > 0"}"""  # noqa: S608
