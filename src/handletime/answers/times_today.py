"""How long first responses, responses and waits in the queue took of late, by skill and length: what a histogram is
made of (http-api.md 7).
"""

from __future__ import annotations

from threading import Lock
from typing import Any, Final

from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection
from handletime.answers.terms import RELATIONS, VALUES, Table
from handletime.clock import SECOND
from handletime.scope import Scope

LIMITS_S: Final = (5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14_400)
"""Seconds up to which values are counted together."""
TIMES: Final[dict[str, tuple[Table, str]]] = {
    "first_response": ("agentSegments", "firstResponse"),
    "response": ("agentSegments", "response"),
    "queue_wait": ("queueSegments", "queueWait"),
}
"""Tables and their single values (`answers.terms.VALUES`)."""


Figures = tuple[int, ...]
"""Numbers that only grow within a day."""


def lengths_of(snapshot: Snapshot, name: str, of: Selection) -> dict[int, Figures]:
    """The values of one of `TIMES` in the segments of a selection that ended, by skill: how many lie within each limit
    of `LIMITS_S`, those of smaller limits among them; then how many there are, and their sum in milliseconds.
    """
    table, values = TIMES[name]
    each, where = VALUES[table][values]
    condition = of.condition(table)
    limits = ", ".join(f"count(*) filter (where v <= {limit * SECOND})" for limit in LIMITS_S)
    rows = snapshot.execute(
        f"""select skillId, {limits}, count(*), sum(v)::bigint from (
            select skillId, unnest({each}) as v from {RELATIONS[table]} where {condition.where} and ({where}))
        group by skillId order by skillId""",  # noqa: S608
        condition.parameters,
    ).fetchall()
    return {skill: tuple(figures) for skill, *figures in rows}


Day = dict[str, dict[Any, Figures]]
"""What is counted of a day, by name and by whatever it is of."""
_ACCOUNTS_MAX: Final = 10_000


class Counted:
    """What was shown last of accounts, and of parts of them. A counter that goes back looks to Prometheus as if it had
    begun anew, so what late events take back within a day stays counted. Any thread may use it.
    """

    def __init__(self) -> None:
        self._shown: dict[tuple[str, Scope], tuple[int, Day]] = {}
        self._lock = Lock()

    def never_less(self, account: str, scope: Scope, day: int, times: Day) -> Day:
        """These figures, or those of the same day that were shown before, where they were more."""
        with self._lock:
            shown_day, shown = self._shown.pop((account, scope), (day, {}))
            if shown_day == day:
                times = {name: _most(shown.get(name, {}), found) for name, found in times.items()}
            self._shown[account, scope] = (day, times)
            if len(self._shown) > _ACCOUNTS_MAX:
                del self._shown[next(iter(self._shown))]
        return times


def _most(before: dict[Any, Figures], found: dict[Any, Figures]) -> dict[Any, Figures]:
    both = {**before, **found}
    return {key: tuple(map(max, before.get(key, both[key]), both[key])) for key in sorted(both)}
