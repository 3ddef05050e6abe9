"""How a metric differs from what it is compared with, in words; and whether that is better, where anybody could say."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from handletime.answers.figures import Value
from handletime.answers.registry import Metric
from handletime.answers.sums import NOTHING
from handletime.answers.words import duration
from handletime.clock import SECOND

Verdict = Literal["", "better", "worse"]


ALIKE: Final = 0.01
"""Up to this share of what was before, a difference is neither better nor worse."""
ALIKE_POINTS: Final = 0.5
"""The same of shares, in points."""


class Difference(NamedTuple):
    """Which way, and by how much: `+12 (+8.0 %)`. `verdict` is "" where neither way is the better one."""

    arrow: str
    text: str
    verdict: Verdict


def difference(metric: Metric, value: Value, before: Value) -> Difference | None:
    """How a value differs from an earlier one. None where either is unknown, or an average over nothing.

    Shares differ by points. A percentage stands beside the difference where there was something before. What differs
    by less than can be said is the same.
    """
    if value is None or before is None or (metric.per and NOTHING in (value, before)):
        return None
    by = value - before
    text = _said(metric, abs(by), before)
    if text.split()[0] in _NOTHING:
        return Difference("=", "±0", "")
    sign, arrow = ("+", "▲") if by > 0 else ("−", "▼")
    percent = "" if metric.unit == "percent" or before <= 0 else f" ({sign}{_percent(abs(by) / before)} %)"
    better = _better(metric)
    is_alike = abs(by) < (ALIKE_POINTS if metric.unit == "percent" else ALIKE * before)
    verdict: Verdict = "" if not better or is_alike else "better" if (by > 0) == (better == "more") else "worse"
    return Difference(arrow, f"{sign}{text}{percent}", verdict)


def _said(metric: Metric, by: float, before: float) -> str:
    """How much that is. Beside seconds milliseconds say nothing."""
    match metric.unit:
        case "millis" | "exactMillis":
            return f"{by // 100 / 10:.1f} s" if by < SECOND <= before else duration(by)
        case "percent":
            return f"{by:.1f} points"
        case "responses":
            return f"{by:.1f}"
        case "count":
            return f"{by:,.0f}"


_NOTHING: Final = frozenset({"0", "0.0"})


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
