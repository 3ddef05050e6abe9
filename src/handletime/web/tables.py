"""`/agents` and `/skills`: every metric in a table, and one agent or skill alone."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import urlencode

from litestar import Response, get

from handletime.api.parameters import Choice, Query, Text
from handletime.api.service import HttpRequest, query_of
from handletime.metrics.registry import METRICS, Metric
from handletime.segments.sums import Table
from handletime.web.charts import charts_of, trend_line
from handletime.web.figures import (
    AGENT_COLUMNS,
    SKILL_COLUMNS,
    Columns,
    Each,
    Row,
    history_of,
    slowest_of,
    table_of,
    worth_of,
)
from handletime.web.labels import AccountLabels, Kind
from handletime.web.page import Asker, Page, ThePage
from handletime.web.view import View, read_view
from handletime.web.words import value

ROWS_MAX: Final = 200
"""So many rows are shown; sorting and filters bring the others."""
SORT: Final = Text("sort", "The metric that the rows are sorted by, or `id` or `name`.", longest=100)
DIRECTION: Final = Choice("direction", "Which way.", "", choices=("asc", "desc"))


class Sorting(NamedTuple):
    """By what the rows are sorted, and which way."""

    key: str
    descending: bool


class Cell(NamedTuple):
    """One value, and a link to the segments behind it."""

    text: str
    href: str
    metric: Metric


class Shown(NamedTuple):
    """One row as the page shows it."""

    number: int | None
    name: str
    href: str
    cells: list[Cell]
    trend: str
    trend_told: str


@get("/agents", sync_to_thread=True, name="page-agents")
def agents(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """Every metric by agent; with one agent chosen, also by skill."""
    return _tables(request, page, "agent")


@get("/skills", sync_to_thread=True, name="page-skills")
def skills(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """Every metric by skill; with one skill chosen, also by agent."""
    return _tables(request, page, "skill")


def _tables(request: HttpRequest, page: Page, kind: Kind) -> Response[bytes]:
    asker = page.asker(request, "operations")
    query = query_of(request)
    view = read_view(query, page.service.clock.now(), asker.session.zone)
    sorting = _read_sorting(query, AGENT_COLUMNS if kind == "agent" else SKILL_COLUMNS)
    query.check()
    alone = view.agent if kind == "agent" else view.skill
    tables = [_table(page, asker, view, sorting, kind)]
    if kind == "skill" or alone is not None:
        other: Kind = "skill" if kind == "agent" else "agent"
        each: Each = "agentId" if other == "agent" or (kind == "skill" and alone is None) else "skillId"
        tables.append(_table(page, asker, view, sorting, "agent" if each == "agentId" else "skill", beside=True))
    reader = page.reader(asker)
    return page.html(
        request,
        "tables.html",
        asker,
        view=view,
        kind=kind,
        alone=alone,
        tables=tables,
        sorting=sorting,
        worth=worth_of(reader, view),
        charts=charts_of(history_of(reader, view), view) if alone is not None else [],
        slowest=slowest_of(reader, view, asker.account) if alone is not None else [],
    )


def _read_sorting(query: Query, groups: tuple[Columns, ...]) -> Sorting:
    key = query.get(SORT) or groups[0].columns[0].metric.key
    if key not in METRICS and key not in ("id", "name"):
        query.fault(SORT, "must be id, name or the name of a metric")
    direction = query.get(DIRECTION) or ("asc" if key in ("id", "name") else "desc")
    return Sorting(key, direction == "desc")


class Made(NamedTuple):
    """A table: its title, headings and rows, the whole last."""

    title: str
    kind: Kind
    groups: tuple[Columns, ...]
    rows: list[Shown]
    more: int
    total: Shown
    trended: str
    sorts: dict[str, str]


def _table(page: Page, asker: Asker, view: View, sorting: Sorting, kind: Kind, *, beside: bool = False) -> Made:
    """One table. Agents and, beside an agent, skills have agent segments; the page of skills has skill segments."""
    of_agents = kind == "agent" or beside
    table: Table = "agentSegments" if of_agents else "skillSegments"
    groups = AGENT_COLUMNS if of_agents else SKILL_COLUMNS
    each: Each = "agentId" if kind == "agent" else "skillId"
    key = sorting.key
    known = {column.metric.key for group in groups for column in group.columns}
    made = table_of(page.reader(asker), view, each, table, key if key in known else "id", descending=sorting.descending)
    rows = made.rows
    if key == "name":
        rows = sorted(
            rows, key=lambda row: asker.labels.text(kind, row.number or 0).casefold(), reverse=sorting.descending
        )
    trended = METRICS[key] if key in known else groups[0].columns[0].metric
    titles = {
        ("agent", False): "Agents",
        ("agent", True): "By agent",
        ("skill", False): "Skills",
        ("skill", True): "By skill",
    }
    return Made(
        titles[kind, beside],
        kind,
        groups,
        [_row(row, view, kind, groups, asker.labels, trended) for row in rows[:ROWS_MAX]],
        max(len(rows) - ROWS_MAX, 0),
        _row(made.total, view, kind, groups, asker.labels, trended),
        trended.meaning,
        {name: _sort_link(view, sorting, name) for name in (*known, "id", "name")},
    )


def _sort_link(view: View, sorting: Sorting, key: str) -> str:
    natural = key not in ("id", "name")
    descending = not sorting.descending if key == sorting.key else natural
    parameters = view.parameters(sort=key, direction="desc" if descending else "asc")
    return f"?{urlencode(parameters)}"


def _row(
    row: Row, view: View, kind: Kind, groups: tuple[Columns, ...], labels: AccountLabels, trended: Metric
) -> Shown:
    chosen = {} if row.number is None else {kind: row.number}
    cells = []
    for group in groups:
        for column in group.columns:
            metric = column.metric
            number = row.values.get(metric.key, 0 if not (metric.per or metric.values) else None)
            text = value(metric, number)
            cells.append(Cell(text, _behind(view, metric, chosen) if number not in (None, 0, -1) else "", metric))
    name = "all" if row.number is None else labels.text(kind, row.number)
    known = [each for each in row.trend if each is not None]
    told = [value(trended, each) for each in (min(known), max(known), known[-1])] if known else []
    return Shown(
        row.number,
        name,
        "" if row.number is None else view.href(f"/{kind}s", **chosen),
        cells,
        trend_line(row.trend),
        "trend: lowest {}, highest {}, last {}".format(*told) if told else "",
    )


_OUTCOMES: Final = {"interactive", "nonResponsiveConsumer", "nonResponsiveAgent", "abandoned"}


def _behind(view: View, metric: Metric, chosen: dict[Kind, int]) -> str:
    """A link to the segments that a number is made of."""
    of = metric.sum if metric.sum in _OUTCOMES else None
    if metric.table == "skillSegments":
        of = metric.sum if metric.sum in _OUTCOMES or metric.sum == "abandonedInQueue" else None
        return view.fixed("/skill-segments", interval=None, outcome=of, **chosen)
    human = metric.sum in ("handleTime", "handled") or metric.values == "handleTime"
    user_type = "human" if human else view.user_type
    return view.segments(view.start, view.end, outcome=of, userType=user_type, **chosen)
