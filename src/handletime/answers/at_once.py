"""How many conversations an agent had at once: the time in which so many were assigned."""

from __future__ import annotations

from typing import NamedTuple

from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection, instant_of
from handletime.events.model import TIME_MAX


class AtOnce(NamedTuple):
    """For how many milliseconds so many conversations were assigned at once; from one on, ascending, none twice."""

    times: dict[int, int]

    @property
    def assigned(self) -> int:
        """The time in which any conversation was assigned, in milliseconds."""
        return sum(self.times.values())

    @property
    def mean(self) -> float | None:
        """How many there were on average, over this time; None where there was none."""
        return sum(number * time for number, time in self.times.items()) / self.assigned if self.assigned else None


def at_once(snapshot: Snapshot, of: Selection) -> AtOnce:
    """Conversations at once in [start, end) of a selection, of one agent.

    Unlike elsewhere segments count that touch the span, each as far as it lies within, whenever they ended. A segment
    that still runs is no row yet, and is not counted.
    """
    condition = of.condition().between(of.start, TIME_MAX)
    rows = snapshot.execute(
        f"""with pieces as (select greatest(epoch_ms(start), $low) as begins, least(epoch_ms("end"), $until) as ends
                from agent_segments where {condition.where} and start < $last),
            moves as (select moment, sum(step) as step
                from (select begins as moment, 1 as step from pieces union all select ends, -1 from pieces)
                group by moment),
            levels as (select sum(step) over (order by moment) as number,
                lead(moment) over (order by moment) - moment as millis from moves)
        select number::bigint, sum(millis)::bigint from levels where number > 0 group by number order by number""",  # noqa: S608
        {**condition.parameters, "low": of.start, "until": of.end, "last": instant_of(of.end)},
    ).fetchall()
    return AtOnce(dict(rows))
