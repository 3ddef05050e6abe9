"""The charts of a view: the data that the script draws, and the same as a table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby, pairwise
from typing import Final, NamedTuple

import msgspec

from handletime.answers.difference import Difference, difference
from handletime.answers.figures import Value, of_nothing
from handletime.answers.registry import LEVELS, METRICS, WITH_LEVELS, Metric
from handletime.answers.sums import NOTHING
from handletime.answers.terms import Table
from handletime.answers.words import OUTCOMES, UNANSWERED_IN_QUEUE
from handletime.api.parameters import ALL
from handletime.web.behind import links_of
from handletime.web.figures import HISTORY, History
from handletime.web.view import View

TREND_WIDTH: Final = 96
TREND_HEIGHT: Final = 22


class Series(msgspec.Struct, frozen=True):
    """One line, or one part of the stacked bars. `link`, with `from` and `to`, leads to the segments behind a value."""

    name: str
    kind: str
    values: list[Value]
    texts: list[str]
    link: str


class Chart(msgspec.Struct, frozen=True):
    """One chart over the intervals of a view: bounds in epoch milliseconds, `parts` the places of those not whole.

    `before` are lines of what the view is compared with, whose intervals have the bounds `compared`: the values of
    each line, or how many there were in all behind stacked bars.
    """

    id: str
    title: str
    unit: str
    stacked: bool
    zone: str
    language: str
    bounds: list[int]
    parts: list[int]
    times: list[str]
    series: list[Series]
    before: list[Series]
    compared: list[int]
    total: str

    def json(self) -> str:
        """The chart as JSON for the script."""
        return msgspec.json.encode(self).decode()


class _Line(NamedTuple):
    metric: str
    name: str
    kind: str
    outcome: str | None = None


def _outcomes(name: str, title: str, metrics: Sequence[str]) -> _Kind:
    """Stacked bars: a part for each outcome."""
    parts = zip(metrics, OUTCOMES.items(), strict=True)
    return name, title, True, tuple(_Line(metric, said, outcome, outcome) for metric, (outcome, said) in parts)


def _median_and_p90(name: str, title: str, what: str) -> _Kind:
    return name, title, False, tuple(_Line(f"{kind}{what}Millis", kind, kind) for kind in ("median", "p90"))


_Kind = tuple[str, str, bool, tuple[_Line, ...]]
_AGENT_OUTCOMES: Final = _outcomes("outcomes", "Agent segments by outcome", HISTORY["agentSegments"][:4])
_SKILL_OUTCOMES: Final = _outcomes("skill-outcomes", "Skill segments by outcome", HISTORY["skillSegments"][:4])
_TIMES: Final = (
    _median_and_p90("first-response", "First response, agent segments", "FirstResponse"),
    _median_and_p90("response", "Response time, agent segments", "Response"),
    _median_and_p90("handle-time", "Handle time of an agent segment", "HandleTime"),
)


_TOTALS: Final = {"outcomes": HISTORY["agentSegments"][4], "skill-outcomes": HISTORY["skillSegments"][4]}
BEFORE: Final = "before"
"""The word for what a view is compared with."""


def charts_of(history: History, view: View, skill_history: History | None = None) -> list[Chart]:
    """The charts of a history; outcomes are those of the skill segments where their history is given."""
    if skill_history is None:
        outcomes = _chart(history, view, _AGENT_OUTCOMES)
    else:
        outcomes = _chart(skill_history, view, _SKILL_OUTCOMES)
    return [outcomes, *(_chart(history, view, kind) for kind in _TIMES)]


class Tile(NamedTuple):
    """One figure of a whole span, what it means, a link to the segments behind it, and how it differs."""

    name: str
    text: str
    meaning: str
    href: str
    differs: Difference | None


_TILES: Final[dict[Table, dict[str, str]]] = {
    "skillSegments": {
        "totalSkillConversationSegments": "skill segments ended",
        "skillSegmentsAbandonedByConsumersInQueue": UNANSWERED_IN_QUEUE,
        "abandonedSkillSegmentPercent": "abandoned, of skill segments",
    },
    "agentSegments": {
        "totalAgentConversationSegments": "agent segments ended",
        "interactiveAgentSegmentPercent": "interactive",
        "medianFirstResponseMillis": "first response, median",
        "medianResponseMillis": "response time, median",
        "medianHandleTimeMillis": "handle time, median",
    },
}


_LEVEL_TILES: Final = {
    "queueWaitServiceLevelPercent": "waits in the queue within target",
    "firstResponseServiceLevelPercent": "first responses within target",
    "responseServiceLevelPercent": "responses within target",
}
_OF_CHARTS: Final = {
    "median and p90": "Half of the values are at most the median, nine of ten at most the 90th percentile",
    "outcome": "Interactive: the agent wrote, and the consumer after that. Non-responsive consumer: the agent wrote, "
    "the consumer did not. Abandoned: the consumer closed before the agent wrote. Non-responsive agent: it ended "
    "otherwise without a message of the agent",
    "interval": "A segment counts where it ended",
}


def meanings_of(tiles: Sequence[Tile]) -> dict[str, str]:
    """What tiles and charts mean, by their names."""
    return {tile.name: tile.meaning for tile in tiles} | _OF_CHARTS


def exports_of(view: View, *, of_skills: bool = False) -> dict[str, dict[str, str]]:
    """The addresses of what charts show as files, interval by interval, by what they have."""
    kinds = {"skill segments by interval": "skill"} if of_skills else {}
    return {title: view.files("/history", of=of) for title, of in {**kinds, "agent segments by interval": None}.items()}


def tiles_of(history: History, view: View, skill_history: History | None = None) -> list[Tile]:
    """The figures of the whole span, and how they differ from what it is compared with."""
    tiles = []
    histories: dict[Table, History | None] = {"skillSegments": skill_history, "agentSegments": history}
    for table, of in histories.items():
        if of is None:
            continue
        behind = links_of(view, {}, of_skills=table == "skillSegments")
        bots = ", bots too" if table == "skillSegments" and view.given_user_type == ALL else ""
        levels = {key: f"{name}{bots}" for key, name in _LEVEL_TILES.items() if key in of.values}
        for key, name in {**levels, **_TILES[table]}.items():
            metric = WITH_LEVELS[key]
            value = of.total.get(key, of_nothing(metric))
            then = None if of.before is None else of.before.total.get(key, of_nothing(metric))
            differs = difference(metric, value, then)
            is_there = value not in (None, NOTHING) and (value or key in LEVELS)
            href = behind(metric, value) if is_there else ""
            tiles.append(Tile(name, metric.said(value), metric.meaning, href, differs))
    return tiles


def _chart(history: History, view: View, kind: _Kind) -> Chart:
    name, title, stacked, lines = kind
    series = []
    for line in lines:
        values = history.values[line.metric]
        texts = [METRICS[line.metric].said(each) for each in values]
        series.append(Series(line.name, line.kind, values, texts, _behind(view, name, line.outcome)))
    return Chart(
        id=name,
        title=title,
        unit="count" if stacked else "millis",
        stacked=stacked,
        zone=view.zone.key,
        language=view.clocks.tag,
        bounds=[*history.bounds],
        parts=sorted(view.parts),
        times=[_interval_text(place, start, view) for place, start in enumerate(history.bounds[:-1])],
        series=series,
        before=[] if history.before is None else list(_before(history.before, view, kind, len(history.bounds) - 1)),
        compared=[*view.compared],
        total=_total(history, lines),
    )


def _before(before: History, view: View, kind: _Kind, count: int) -> Iterator[Series]:
    """The lines of what a view is compared with: of stacked bars one, how many there were in all."""
    name, _, stacked, lines = kind
    whole = _TOTALS.get(name, "")
    for line in (_Line(whole, "all", "all"),) if stacked else lines:
        values = [*before.values[line.metric], *[None] * count][:count]
        texts = [METRICS[line.metric].said(each) for each in values]
        yield Series(f"{line.name}, {BEFORE}", line.kind, values, texts, _behind(view, name, None))


def _behind(view: View, chart: str, outcome: str | None) -> str:
    changes: dict[str, object] = {"last": None, "from": None, "to": None, "interval": None, "outcome": outcome}
    if chart == "skill-outcomes":
        return view.href("/skill-segments", **changes)
    if chart == "handle-time":
        changes["userType"] = None  # Humans', as where nothing is said: bots have none.
    return view.href("/segments", **changes)


def _total(history: History, lines: Sequence[_Line]) -> str:
    return ", ".join(f"{line.name} {METRICS[line.metric].said(history.total.get(line.metric, 0))}" for line in lines)


def _interval_text(place: int, start: int, view: View) -> str:
    by_day = view.cut in ("day", "week")
    clocks = view.clocks
    text = clocks.day(start, weekday=True) if by_day else clocks.moment(start, seconds=False, weekday=True)
    return f"{text} ({PART})" if place in view.parts else text


PART: Final = "part"
"""The words for an interval that is cut off, or not over."""


class Stroke(NamedTuple):
    """A piece of a small line: its points, and whether it leads to or from a partial interval."""

    points: str
    is_part: bool


def trend_of(values: Sequence[Value], parts: Collection[int]) -> list[Stroke]:
    """A small line without its gaps; empty where there is nothing to see."""
    known = [(i, float(each)) for i, each in enumerate(values) if each is not None]
    if len(known) < 2:
        return []
    most = max(each for _, each in known) or 1.0
    step = TREND_WIDTH / max(len(values) - 1, 1)
    points = [f"{i * step:.1f},{TREND_HEIGHT - 2 - each / most * (TREND_HEIGHT - 4):.1f}" for i, each in known]
    pieces = [i in parts or j in parts for (i, _), (j, _) in pairwise(known)]
    return [
        Stroke(" ".join(points[group[0] : group[-1] + 2]), is_part)
        for is_part, group in (
            (is_part, list(group)) for is_part, group in groupby(range(len(pieces)), pieces.__getitem__)
        )
    ]


def trend_text(metric: Metric, values: Sequence[Value], parts: Collection[int]) -> str:
    """The small line in words: its whole intervals, and what a partial last one has so far."""
    known = [(i, each) for i, each in enumerate(values) if each is not None]
    whole = [each for i, each in known if i not in parts]
    found = []
    if whole:
        lowest, highest, last = (metric.said(each) for each in (min(whole), max(whole), whole[-1]))
        found.append(f"lowest {lowest}, highest {highest}, last {last}")
    if known and known[-1][0] in parts:
        found.append(f"then {metric.said(known[-1][1])} in a part of an interval")
    return f"trend: {'; '.join(found)}" if found else ""
