"""How a metric differs from what it is compared with, in words; and whether that is better, where anybody could say."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from handletime.answers.figures import Value
from handletime.answers.registry import Metric
from handletime.answers.sums import NOTHING
from handletime.answers.words import duration

Verdict = Literal["", "better", "worse"]


class Difference(NamedTuple):
    """Which way, and by how much: `+12 (+8.0 %)`. `verdict` is "" where neither way is the better one."""

    arrow: str
    text: str
    verdict: Verdict


def difference(metric: Metric, value: Value, before: Value) -> Difference | None:
    """How a value differs from an earlier one. None where either is unknown, or an average over nothing.

    Shares differ by points. A percentage stands beside the difference where there was something before.
    """
    if value is None or before is None or (metric.per and NOTHING in (value, before)):
        return None
    by = value - before
    if not by:
        return Difference("=", "±0", "")
    sign, arrow = ("+", "▲") if by > 0 else ("−", "▼")
    percent = "" if metric.unit == "percent" or before <= 0 else f" ({sign}{_percent(abs(by) / before)} %)"
    better = _better(metric)
    verdict: Verdict = "" if not better else "better" if (by > 0) == (better == "more") else "worse"
    return Difference(arrow, f"{sign}{_said(metric, abs(by))}{percent}", verdict)


def _said(metric: Metric, by: float) -> str:
    match metric.unit:
        case "millis" | "exactMillis":
            return duration(by)
        case "percent":
            return f"{by:.1f} points"
        case "responses":
            return f"{by:.1f}"
        case "count":
            return f"{by:,.0f}"


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.1f}" if percent < 10 else f"{percent:,.0f}"


def _better(metric: Metric) -> Literal["", "more", "less"]:
    """Which way a metric is better. Counts follow how much there is to do, and a short handle time is no aim."""
    if metric.unit == "percent":
        return _SHARES.get(metric.sum, "more" if metric.key.endswith("ServiceLevelPercent") else "")
    of_waits = metric.unit == "millis" and (metric.per or metric.values)
    return "less" if of_waits and (metric.sum or metric.values) in _WAITS else ""


_SHARES: Final[dict[str, Literal["more", "less"]]] = {
    "interactive": "more",
    "nonResponsiveAgent": "less",
    "abandoned": "less",
}
_WAITS: Final = frozenset(
    {"firstResponse", "firstResponseNew", "firstResponseAfterTransfer", "response", "wait", "queueWait"}
)
