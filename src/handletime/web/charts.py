"""The charts of a view: what the script draws, and the same as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from handletime.metrics.registry import METRICS
from handletime.web.figures import History, Value
from handletime.web.view import View
from handletime.web.words import local, value

TREND_WIDTH: Final = 96
TREND_HEIGHT: Final = 22


class Series(msgspec.Struct, frozen=True):
    """One line, or one part of the stacked bars. `link`, with `from` and `to`, leads to what is behind a value."""

    name: str
    kind: str
    values: list[Value]
    told: list[str]
    link: str


class Chart(msgspec.Struct, frozen=True):
    """One chart over the intervals of a view: moments in epoch seconds."""

    id: str
    title: str
    unit: str
    stacked: bool
    zone: str
    bounds: list[int]
    times: list[str]
    series: list[Series]
    total: str

    def json(self) -> str:
        """For the script."""
        return msgspec.json.encode(self).decode()


class _Line(NamedTuple):
    metric: str
    name: str
    kind: str
    outcome: str | None = None


_CHARTS: Final = (
    (
        "outcomes",
        "Segments by outcome",
        True,
        (
            _Line("interactiveAgentSegments", "interactive", "interactive", "interactive"),
            _Line(
                "agentSegmentsWithNonResponsiveConsumers",
                "non-responsive consumer",
                "nonResponsiveConsumer",
                "nonResponsiveConsumer",
            ),
            _Line(
                "agentSegmentsWithNonResponsiveAgents",
                "non-responsive agent",
                "nonResponsiveAgent",
                "nonResponsiveAgent",
            ),
            _Line("agentSegmentsAbandonedByConsumers", "abandoned", "abandoned", "abandoned"),
        ),
    ),
    (
        "first-response",
        "First response",
        False,
        (_Line("medianFirstResponseMillis", "median", "median"), _Line("p90FirstResponseMillis", "p90", "p90")),
    ),
    (
        "response",
        "Response time",
        False,
        (_Line("medianResponseMillis", "median", "median"), _Line("p90ResponseMillis", "p90", "p90")),
    ),
    (
        "handle-time",
        "Handle time of a segment",
        False,
        (_Line("medianHandleTimeMillis", "median", "median"), _Line("p90HandleTimeMillis", "p90", "p90")),
    ),
)


def charts_of(history: History, view: View) -> list[Chart]:
    """The charts of a history."""
    times = [_told(start, view) for start in history.bounds[:-1]]
    charts = []
    for name, title, stacked, lines in _CHARTS:
        series = [
            Series(
                line.name,
                line.kind,
                history.of(line.metric),
                [value(METRICS[line.metric], each) for each in history.of(line.metric)],
                _behind(view, name, line.outcome),
            )
            for line in lines
        ]
        charts.append(
            Chart(
                name,
                title,
                "count" if stacked else "millis",
                stacked,
                view.zone.key,
                history.bounds,
                times,
                series,
                _total(history, lines),
            )
        )
    return charts


def _behind(view: View, chart: str, outcome: str | None) -> str:
    user_type = "human" if chart == "handle-time" else view.user_type
    changes = {"last": None, "from": None, "to": None, "interval": None}
    return view.href("/segments", **(changes | {"outcome": outcome, "userType": user_type}))


def _total(history: History, lines: Sequence[_Line]) -> str:
    return ", ".join(f"{line.name} {value(METRICS[line.metric], history.total.get(line.metric, 0))}" for line in lines)


def _told(start: int, view: View) -> str:
    return local(start, view.zone).strftime("%Y-%m-%d" if view.cut in ("day", "week") else "%a %d %b %H:%M")


def trend_line(values: Sequence[Value]) -> str:
    """The points of a small line, gaps left out; "" where there is nothing to see."""
    known = [(i, each) for i, each in enumerate(values) if each is not None]
    if len(known) < 2:
        return ""
    most = max(float(each) for _, each in known) or 1.0
    step = TREND_WIDTH / max(len(values) - 1, 1)
    return " ".join(
        f"{i * step:.1f},{TREND_HEIGHT - 2 - float(each) / most * (TREND_HEIGHT - 4):.1f}" for i, each in known
    )
