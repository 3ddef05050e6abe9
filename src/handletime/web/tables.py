"""`/agents` and `/skills`: metrics in a table, and one agent or skill alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from litestar import Response, get

from handletime.answers.difference import Difference, difference
from handletime.answers.figures import Value
from handletime.answers.labels import AccountLabels
from handletime.answers.levels import Verdicts
from handletime.answers.registry import LEVELS, METRICS, WITH_LEVELS, Metric
from handletime.answers.selection import Selection
from handletime.answers.sums import NOTHING, By
from handletime.answers.terms import Table
from handletime.answers.words import NO_FOCUS_DATA, Kind
from handletime.api.parameters import ALL, Query, a_choice, a_number, a_text, some_choices
from handletime.api.service import HttpRequest, query_of
from handletime.targets.targets import AccountTargets
from handletime.web.behind import links_of
from handletime.web.charts import (
    Chart,
    Stroke,
    Tile,
    charts_of,
    exports_of,
    meanings_of,
    tiles_of,
    trend_of,
    trend_text,
)
from handletime.web.figures import (
    GROUPS,
    SKILL_GROUPS,
    Column,
    Columns,
    Each,
    Row,
    TableOf,
    agent_columns,
    data_quality_of,
    history_of,
    metrics_of,
    seen_columns,
    skill_columns,
    slowest_of,
    table_of,
    with_numbers,
)
from handletime.web.one_agent import MEANINGS as PEERS_MEANT
from handletime.web.one_agent import SHOWN, one_agent_of
from handletime.web.page import Asker, Page, ThePage
from handletime.web.view import View
from handletime.web.weekdays import queue_of

ROWS: Final = 100
"""The number of rows on a page."""
SEARCH_FROM: Final = 20
"""The number of rows beyond which a table has a search."""
_ALL_GROUPS: Final = (*GROUPS, *SKILL_GROUPS)
COLUMNS: Final = some_choices(
    "columns", "Further columns, by the names of their groups, or `all`.", (*_ALL_GROUPS, ALL), none=True
)


class Listing(NamedTuple):
    """How the rows of one table are chosen and sorted; of two tables on a page the second one's names end in 2."""

    suffix: str
    key: str
    descending: bool
    find: str
    offset: int
    given: bool
    """Whether the address says how to sort."""
    groups: tuple[Columns, ...]
    """The columns that are seen."""
    columns: frozenset[str]
    """The names of groups of further columns; those of the page, for all its tables."""
    all_columns: frozenset[str]
    """The names of all such groups of the page."""

    def parameters(self, /, **changes: Any) -> dict[str, object | None]:
        """The address's parameters, some of them changed, by their names without the suffix."""
        direction = "desc" if self.descending else "asc"
        shown: dict[str, object | None] = {
            "sort": self.key if self.given else None,
            "direction": direction if self.given else None,
            "find": self.find or None,
            "offset": self.offset or None,
        }
        columns: frozenset[str] = changes.pop("columns", self.columns)
        named = ",".join(name for name in _ALL_GROUPS if name in columns)
        return {name + self.suffix: value for name, value in (shown | changes).items()} | {
            "columns": ALL if columns >= self.all_columns else named or None
        }


class Cell(NamedTuple):
    """One value, a link to the segments behind it, what it covers where that is not all, and how it differs."""

    text: str
    href: str
    metric: Metric
    covers: str = ""
    differs: Difference | None = None


class Shown(NamedTuple):
    """One row as the page shows it."""

    number: int | None
    name: str
    href: str
    cells: list[Cell]
    trend: list[Stroke]
    trend_text: str


class More(NamedTuple):
    """Further columns, whether they are seen, and the address with or without them."""

    heading: str
    is_seen: bool
    href: str


class Made(NamedTuple):
    """A table: its title, headings, the rows of this page, and the total of all rows."""

    id: str
    title: str
    kind: Kind
    groups: tuple[Columns, ...]
    rows: list[Shown]
    has: int
    """The number of all rows."""
    found: int
    """The number of rows that the search found, on all pages."""
    total: Shown
    trended: str
    listing: Listing
    sorts: dict[str, str]
    pages: dict[str, str]
    everything: str
    """The address of all rows again."""
    search: dict[str, str]
    """The parameters of the address that a search keeps."""
    blind: list[int]
    """Agents whose screens sent no focus data, so that their handle time is unknown."""
    exports: dict[str, str]
    """The addresses of this table as files, of all pages."""
    more: list[More]
    """Further columns."""


class Which(NamedTuple):
    """One table of a page: whose rows it has, the kind of the page's first table, where this is the second one,
    whether it has skill segments, and whether queues may be seen; and by which targets waits are judged.
    """

    suffix: str
    kind: Kind
    targets: AccountTargets
    of_page: Kind | None = None
    of_skills: bool = False
    with_bots: bool = False
    """Whether segments of bots count too."""

    @property
    def table(self) -> Table:
        """Which segments count."""
        return "skillSegments" if self.of_skills else "agentSegments"

    @property
    def groups(self) -> tuple[Columns, ...]:
        """All columns, seen or not."""
        if self.of_skills:
            return skill_columns(self.targets, with_bots=self.with_bots)
        return agent_columns(self.targets)

    @property
    def columns_of_page(self) -> frozenset[str]:
        """The names of the groups of columns that the tables of its page have."""
        return frozenset(_ALL_GROUPS if (self.of_page or self.kind) == "skill" else GROUPS)

    @property
    def first(self) -> Metric:
        """The metric that rows are sorted by where the address says nothing."""
        return METRICS["totalSkillConversationSegments" if self.of_skills else "avgHandleTimeMillis"]

    @property
    def name(self) -> str:
        """What its file is called."""
        if self.of_page and self.of_page != self.kind:
            return f"{self.of_page}s-by-{self.kind}"
        return "skills-agent-segments" if self.kind == "skill" and not self.of_skills else f"{self.kind}s"

    @property
    def each(self) -> Each:
        """The column that tells its rows apart."""
        return "agentId" if self.kind == "agent" else "skillId"

    def selection(self, view: View) -> Selection:
        """The segments of a view that it counts."""
        return view.skill_segments if self.of_skills else view.agent_segments


def tables_of(kind: Kind, view: View, targets: AccountTargets, *, has_queues: bool) -> list[Which]:
    """The tables of the page of agents or skills. That of skills begins with skill segments, if these may be seen."""
    alone = view.agent if kind == "agent" else view.skill
    of_skills = kind == "skill" and has_queues
    first = Which("", kind, targets, of_skills=of_skills, with_bots=of_skills and view.given_user_type == ALL)
    if alone is None and not first.of_skills:
        return [first]
    return [first, Which("2", "skill" if kind == "agent" or alone is None else "agent", targets, kind)]


@get("/agents", sync_to_thread=True, name="page-agents")
def agents(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """Metrics by agent; with one agent chosen, also by skill, and beside the peers."""
    return _tables(request, page, "agent")


@get("/skills", sync_to_thread=True, name="page-skills")
def skills(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """Metrics by skill; with one skill chosen, also by agent."""
    return _tables(request, page, "skill")


def _tables(request: HttpRequest, page: Page, kind: Kind) -> Response[bytes]:
    asker = page.asker(request, "operations")
    query = query_of(request)
    view = asker.view(query, page.service.clock.now())
    targets = page.service.targets.of(asker.account)
    tables_here = tables_of(kind, view, targets, has_queues=asker.key.scope.has_queues)
    of_skills = tables_here[0].of_skills
    first, second = read_listing(query, tables_here[0]), read_listing(query, Which("2", kind, targets, kind))
    query.check()
    alone = view.agent if kind == "agent" else view.skill
    listings = {"": first, "2": second}
    reader = asker.reader
    charts: list[Chart] = []
    tiles: list[Tile] = []
    with reader.snapshot() as snapshot:
        verdicts = Verdicts(snapshot, targets, _finest(tables_here, view, alone))
        tables = [_table(asker, verdicts, view, listings, which) for which in tables_here]
        if alone is not None:
            skill_history = history_of(verdicts, view, "skillSegments") if of_skills else None
            history = history_of(verdicts, view, with_levels=not of_skills)
            charts, tiles = charts_of(history, view, skill_history), tiles_of(history, view, skill_history)
    weekdays, transfers = queue_of(reader, view) if of_skills else (None, None)
    one_agent = None if alone is None or kind != "agent" else one_agent_of(reader, view, alone, asker.labels)
    return page.html(
        request,
        "tables.html",
        asker,
        view=view,
        kind=kind,
        of_skills=of_skills,
        alone=alone,
        tables=tables,
        keep={**first.parameters(offset=None), **second.parameters(offset=None)},
        search_from=SEARCH_FROM,
        data_quality=data_quality_of(reader, view),
        blind=tables[0].blind,
        charts=charts,
        tiles=tiles,
        meant=meanings_of(tiles),
        by_interval=exports_of(view, of_skills=of_skills),
        slowest=slowest_of(reader, view, asker.account) if alone is not None else [],
        weekdays=weekdays,
        transfers=transfers,
        one_agent=one_agent,
        peers_meant=PEERS_MEANT,
        shown_lines=SHOWN,
    )


def _finest(tables: Sequence[Which], view: View, alone: int | None) -> list[By]:
    """The keys by which the tables and charts of a page ask for verdicts. Where no user type is given, those beside
    skill segments are of all, and those beside agent segments of humans.
    """
    keys: list[By] = [which.each for which in tables]
    if alone is not None:
        keys.append("interval")
    if len({which.table for which in tables}) > 1 and not view.user_type_given:
        keys.append("userType")
    return [*dict.fromkeys(keys)]


def read_listing(query: Query, which: Which) -> Listing:
    """How an address wants the rows of a table. Faults are noted in the query."""
    suffix, groups = which.suffix, which.groups
    of_page, given = which.columns_of_page, query.get(COLUMNS)
    columns = of_page if ALL in given else given & of_page
    sort = a_text(f"sort{suffix}", "The metric that the rows are sorted by, or `id` or `name`.", longest=100)
    turn = a_choice(f"direction{suffix}", "Which way.", "", ("asc", "desc"))
    key = query.get(sort) or which.first.key
    if key not in {metric.key for metric in metrics_of(groups)} and key not in ("id", "name"):
        query.fault(sort, "must be id, name or the name of a metric of this table")
    direction = query.get(turn) or _natural(key)
    find = query.get(a_text(f"find{suffix}", "Only rows with this in their name or id.", longest=200)) or ""
    offset = query.get(a_number(f"offset{suffix}", "So many rows are left out.", 0, least=0))
    is_given = query.has(sort) or query.has(turn)
    seen = seen_columns(groups, columns, key)
    return Listing(suffix, key, direction == "desc", find.strip(), offset, is_given, seen, columns, of_page)


def _natural(key: str) -> str:
    """The direction in which a column is sorted at first."""
    return "asc" if key in ("id", "name") else "desc"


def in_order(rows: list[Row], which: Which, listing: Listing, labels: AccountLabels) -> list[Row]:
    """The rows that a search found, sorted by name where the listing is; otherwise they stay in their order."""
    if listing.key == "name":
        rows = sorted(rows, key=lambda row: _name(row, which.kind, labels), reverse=listing.descending)
    return [row for row in rows if _is_found(row, which.kind, labels, listing.find)]


def _table(asker: Asker, verdicts: Verdicts, view: View, listings: dict[str, Listing], which: Which) -> Made:
    suffix, kind, of_page = which.suffix, which.kind, which.of_page
    listing = listings[suffix]
    groups, metrics = listing.groups, metrics_of(listing.groups)
    known = {metric.key for metric in metrics}
    key = listing.key if listing.key in known else "id"
    turn = listing.descending
    asked = with_numbers(groups)
    made = table_of(verdicts, view, which.each, which.table, asked, key, descending=turn)
    rows = made.rows
    found = in_order(rows, which, listing, asker.labels)
    trended = WITH_LEVELS[listing.key] if listing.key in known else which.first
    path = f"/{of_page or kind}s"

    def href(**changes: Any) -> str:
        both = {name: value for each in listings.values() for name, value in each.parameters().items()}
        return view.href(path, **(both | listing.parameters(**changes)))

    def sorted_by(key: str) -> str:
        turned = ("asc" if listing.descending else "desc") if key == listing.key else _natural(key)
        return href(sort=key, direction=turned, offset=None) + f"#table{suffix}"

    exported = listing.parameters(offset=None) | {"table": suffix or None, "interval": None}
    kept = [
        listing.parameters(find=None, offset=None),
        *(each.parameters() for s, each in listings.items() if s != suffix),
    ]
    return Made(
        f"table{suffix}",
        f"By {kind}" if of_page else f"{kind.capitalize()}s",
        kind,
        groups,
        [_row(row, made, view, listing, asker.labels, trended, which) for row in found[listing.offset :][:ROWS]],
        len(rows),
        len(found),
        _row(made.total, made, view, listing, asker.labels, trended, which),
        trended.meaning,
        listing,
        {name: sorted_by(name) for name in (*known, "id", "name")},
        {
            title: href(offset=offset or None) + f"#table{suffix}"
            for title, offset in _pages(listing.offset, len(found))
        },
        href(find=None, offset=None) + f"#table{suffix}",
        view.parameters(**{name: value for each in kept for name, value in each.items()}),
        [row.number for row in rows if kind == "agent" and row.number is not None and _is_blind(row)],
        view.files(path, **exported),
        [
            more._replace(href=f"{more.href}#table{suffix}")
            for more in _further(which, listing, lambda **changes: href(offset=None, **changes))
        ],
    )


def _further(which: Which, listing: Listing, href: Callable[..., str]) -> Iterator[More]:
    """Links to further columns, or away from them."""
    groups = which.groups
    hidden = {group.name: {each.metric.key for each in group.columns if not each.is_seen} for group in groups}
    seen = {each.metric.key for group in listing.groups for each in group.columns}
    for group in groups:
        if not hidden[group.name] <= seen:
            yield More(group.heading, False, href(columns=listing.columns | {group.name}))
            continue
        sort = {"sort": None, "direction": None} if listing.key in hidden[group.name] else {}
        yield More(group.heading, True, href(columns=listing.columns - {group.name}, **sort))
    is_all = set().union(*hidden.values()) <= seen
    own = frozenset(SKILL_GROUPS if which.of_skills else GROUPS)
    columns = listing.columns - own if is_all else listing.columns | own
    yield More("fewer" if is_all else "all", False, href(columns=columns))


def _name(row: Row, kind: Kind, labels: AccountLabels) -> str:
    return labels.text(kind, row.number or 0).casefold()


def _is_found(row: Row, kind: Kind, labels: AccountLabels, find: str) -> bool:
    return find.casefold() in _name(row, kind, labels) or find in str(row.number)


def _pages(offset: int, count: int) -> Iterator[tuple[str, int]]:
    """The other pages of a table: the texts of their links, and their offsets."""
    if offset > 0:
        yield "Previous", max(0, min(offset - ROWS, (count - 1) // ROWS * ROWS))
    if offset + ROWS < count:
        yield "Next", offset + ROWS


def _row(
    row: Row, table: TableOf, view: View, listing: Listing, labels: AccountLabels, trended: Metric, which: Which
) -> Shown:
    kind = which.kind
    chosen: dict[Kind, int] = {} if row.number is None else {kind: row.number}
    behind = links_of(view, chosen, of_skills=which.of_skills)
    return Shown(
        row.number,
        "all" if row.number is None else labels.text(kind, row.number),
        "" if row.number is None else view.href(f"/{kind}s", **chosen),
        [_cell(row, table, column, behind) for group in listing.groups for column in group.columns],
        trend_of(row.trend, view.parts),
        trend_text(trended, row.trend, view.parts),
    )


def _is_blind(row: Row) -> bool:
    known, human = row.known
    return human > 0 and not known


def _cell(row: Row, table: TableOf, column: Column, behind: Callable[[Metric, Value], str]) -> Cell:
    metric = column.metric
    if metric.key in _UNKNOWN and _is_blind(row):
        return Cell(NO_FOCUS_DATA, "", metric)
    number = row.values.get(metric.key, 0 if not (metric.per or metric.values) else None)
    is_level = metric.key in LEVELS and metric.unit == "percent"
    href = behind(metric, number) if number not in (None, NOTHING) and (number or is_level) else ""
    differs = None if row.before is None else difference(metric, number, row.before.get(metric.key))
    return Cell(metric.said(number), href, metric, _covers(row, table, column), differs)


def _covers(row: Row, table: TableOf, column: Column) -> str:
    """Of how many values a figure is, and the median of the peers' medians beside a median."""
    if column.metric.key == _TOTAL_HANDLED:
        known, human = row.known
        return f"of {known:,} of {human:,} segments" if known < human else ""
    count = row.values.get(column.number.key) if column.number else None
    peers = table.of_peers(row, column.metric) if column.metric.percent == _MEDIAN else None
    found = [f"n {count:,}"] if count else []
    return " · ".join([*found, *([f"peers {column.metric.said(peers)}"] if peers is not None else [])])


_MEDIAN: Final = 50
_TOTAL_HANDLED: Final = "totalHandleTimeMillis"
_UNKNOWN: Final = (_TOTAL_HANDLED, "avgHandleTimeMillis")
"""Where it is said that there are no focus data."""
