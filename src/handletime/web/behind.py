"""What a figure leads to: the segments that it is of, or the waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from handletime.answers.figures import Value
from handletime.answers.registry import LEVELS, Metric
from handletime.answers.selection import ABANDONED_IN_QUEUE
from handletime.answers.words import OUTCOMES, Kind
from handletime.web.view import View
from handletime.web.waits import waits_behind


def links_of(view: View, chosen: Mapping[Kind, int], *, of_skills: bool) -> Callable[[Metric, Value], str]:
    """Links to the segments behind the figures of a view, or of a row of it, or to the waits; "" for queue segments, of
    which there is no list. Most metrics of a row share one. `chosen` is what the row is of.
    """
    by_name: dict[str, object] = {str(name): number for name, number in chosen.items()}

    @cache
    def href(path: str, outcome: str | None, *, of_humans: bool = False) -> str:
        changes: dict[str, object] = {"outcome": outcome, **by_name}
        if of_humans:
            # As where nothing is said: bots handle nothing. What took the longest explains the most.
            changes |= {"userType": None, "sort": "HandleTime"}
        return view.fixed(path, interval=None, **changes)

    def behind(metric: Metric, value: Value) -> str:
        if metric.key in LEVELS:
            return waits_behind(view, metric, value, of_skills=of_skills, **by_name)
        if metric.table == "queueSegments":
            return ""
        outcome = metric.sum if metric.sum in OUTCOMES else None
        if metric.table == "skillSegments":
            return href("/skill-segments", ABANDONED_IN_QUEUE if metric.sum == ABANDONED_IN_QUEUE else outcome)
        of_humans = metric.sum in ("handleTime", "handled") or metric.values == "handleTime"
        return href("/segments", outcome, of_humans=of_humans)

    return behind
