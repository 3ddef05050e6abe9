"""The figures of a view: every metric by agent, by skill and by interval, from the queries of the APIs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeVar

from msgspec.structs import replace

from handletime.answers import doubts, pages
from handletime.answers.doubts import DataQuality
from handletime.answers.figures import Figures, Groups, Value, figures_of, of_nothing, summed, with_percentiles
from handletime.answers.flat import Namer
from handletime.answers.levels import Verdicts
from handletime.answers.pages import Slow
from handletime.answers.peers import skills_of
from handletime.answers.registry import HANDLE_TIME, LEVELS, METRICS, WITH_LEVELS, Metric
from handletime.answers.report import REPORTED
from handletime.answers.selection import Selection
from handletime.answers.sums import NOTHING, By, sums_of
from handletime.answers.target_words import meanings_of
from handletime.answers.terms import Table
from handletime.answers.words import UNANSWERED_IN_QUEUE
from handletime.api.ports import Reader
from handletime.clock import MINUTE
from handletime.targets.targets import CLOCKS, AccountTargets, Clock
from handletime.web.sheet import At, Sheet
from handletime.web.view import HUMAN, View

T = TypeVar("T")
Each = Literal["agentId", "skillId"]


class Column(NamedTuple):
    """A metric in a table, its short heading, and whether it is seen where the address names no columns; and of how
    many values it is made, where that stands beside it.
    """

    metric: Metric
    heading: str
    is_seen: bool = True
    number: Metric | None = None


class Columns(NamedTuple):
    """Columns under one heading, and their name in an address."""

    heading: str
    columns: tuple[Column, ...]
    name: str = ""
    told: tuple[tuple[str, str], ...] = ()
    """What else is to be known: words and what they mean."""

    @property
    def meanings(self) -> dict[str, str]:
        """What each column means, by its heading, and what stands beside the figures.

        A heading that stands several times is named after the column before it.
        """
        more = _BESIDE if any(column.number for column in self.columns) else {}
        times = Counter(column.heading for column in self.columns)
        found, of = {}, ""
        for column in self.columns:
            is_alone = times[column.heading] == 1
            of = column.heading if is_alone else of
            found[column.heading if is_alone else f"{of}: {column.heading}"] = column.metric.meaning
        return found | more | dict(self.told)


_BESIDE: Final = {
    "n": "How many values a median or a percentile is made of",
    "peers": "The median of the other human agents' medians, of those with segments in one of the same skills",
}


def _columns(heading: str, *keys: str, **headings: str) -> Columns:
    """Columns of metrics under their labels, then those under other headings."""
    named = {key: METRICS[key].label.replace("\n", " ") for key in keys} | headings
    return Columns(heading, tuple(Column(METRICS[key], text) for key, text in named.items()))


def _more(name: str, seen: Sequence[str], columns: Columns) -> Columns:
    """Columns of which only some are seen at first, the others by their name."""
    return Columns(
        columns.heading,
        tuple(
            each._replace(
                is_seen=each.metric.key in seen, number=NUMBERS.get(each.metric.values) if each.metric.values else None
            )
            for each in columns.columns
        ),
        name,
    )


NUMBERS: Final = {
    "firstResponse": REPORTED["firstResponseCount"],
    "response": REPORTED["responseCount"],
    "handleTime": METRICS["segmentsWithFocusData"],
}
"""How many values a percentile is made of, by what they are."""
AGENT_COLUMNS: Final = (
    _more(
        "handle-time",
        ("avgHandleTimeMillis", "medianHandleTimeMillis"),
        _columns(
            "Handle time",
            *("avgHandleTimeMillis", "medianHandleTimeMillis", "p90HandleTimeMillis", "p95HandleTimeMillis"),
            "totalHandleTimeMillis",
            segmentsWithFocusData="segments with focus data",
        ),
    ),
    _more(
        "outcomes",
        ("totalAgentConversationSegments",),
        _columns(
            "Segments",
            totalAgentConversationSegments="all",
            interactiveAgentSegments="interactive",
            agentSegmentsWithNonResponsiveConsumers="non-resp. consumer",
            agentSegmentsWithNonResponsiveAgents="non-resp. agent",
            agentSegmentsAbandonedByConsumers="abandoned",
        ),
    ),
    _more(
        "first-response",
        ("medianFirstResponseMillis",),
        _columns(
            "First response",
            *("medianFirstResponseMillis", "p90FirstResponseMillis", "p95FirstResponseMillis"),
            "avgTimetoFirstAgentMessageFromAgentAssignment",
            avgTimetoFirstAgentMessageFromAgentAssignment_NewConversation="avg. new",
            avgTimetoFirstAgentMessageFromAgentAssignment_AfterTransfer="avg. after transfer",
        ),
    ),
    _more(
        "response",
        ("medianResponseMillis",),
        _columns(
            "Response time",
            *("medianResponseMillis", "p90ResponseMillis", "p95ResponseMillis", "avgTimeToResponseFromAgentAssignment"),
        ),
    ),
    _more(
        "shares",
        ("interactiveAgentSegmentPercent",),
        _columns(
            "Share of segments",
            *("interactiveAgentSegmentPercent", "nonResponsiveConsumerAgentSegmentPercent"),
            *("nonResponsiveAgentAgentSegmentPercent", "abandonedAgentSegmentPercent"),
        ),
    ),
    _more(
        "per-segment",
        (),
        _columns("Segment, average", avgAgentSegmentDuration="duration", avgAgentMessagesinAgentSegment="responses"),
    ),
    _more("messages", (), _columns("Messages", agentMessages="by the agent")),
)
"""The columns of agent segments. Seven, with service levels, are seen at first; the other ones by the groups' names."""
LEVELS_NAME: Final = "service-level"
GROUPS: Final = (
    *(group.name for group in AGENT_COLUMNS[:4]),
    LEVELS_NAME,
    *(group.name for group in AGENT_COLUMNS[4:]),
)
"""The names of the groups of columns of agent segments, in their order."""


def agent_columns(targets: AccountTargets) -> tuple[Columns, ...]:
    """All columns of agent segments, service levels among them where there are targets."""
    levels = _seen_levels(LEVELS_NAME, level_columns("agentSegments", targets, has_queues=False))
    return (*AGENT_COLUMNS[:4], *levels, *AGENT_COLUMNS[4:])


def skill_columns(targets: AccountTargets, *, with_bots: bool = False) -> tuple[Columns, ...]:
    """All columns of skill segments; those of service levels come first, where there are targets."""
    levels = level_columns("skillSegments", targets, has_queues=True, with_bots=with_bots)
    return (*_seen_levels(SKILL_LEVELS_NAME, levels), *SKILL_COLUMNS)


def _seen_levels(name: str, levels: Sequence[Columns]) -> list[Columns]:
    """Of service levels the shares are seen at first, the counts that they are made of by the group's name."""
    seen = tuple(level_of(clock).key for clock in _LEVEL_HEADINGS)
    return [_more(name, seen, each)._replace(told=each.told) for each in levels]


def seen_columns(groups: Sequence[Columns], names: Collection[str], sort: str = "") -> tuple[Columns, ...]:
    """The columns that are seen: the first ones, those of the groups with these names, and those of the group with the
    metric that rows are sorted by.
    """
    found = []
    for group in groups:
        is_whole = group.name in names or sort in {each.metric.key for each in group.columns if not each.is_seen}
        columns = tuple(each for each in group.columns if each.is_seen or is_whole)
        if columns:
            found.append(group._replace(columns=columns))
    return tuple(found)


SKILL_COLUMNS: Final = (
    _more(
        "queue",
        ("medianQueueWaitMillis", "p90QueueWaitMillis", "abandonedQueueSegmentsPercent"),
        _columns(
            "Wait in the queue",
            *("medianQueueWaitMillis", "p90QueueWaitMillis"),
            abandonedQueueSegmentsPercent="abandoned",
            longestQueueWaitMillis="longest",
            totalQueueSegments="waits",
            queueSegmentsAbandonedByConsumers="waits abandoned",
        ),
    ),
    _more(
        "skill-outcomes",
        ("totalSkillConversationSegments",),
        _columns(
            "Segments",
            totalSkillConversationSegments="all",
            interactiveSkillSegments="interactive",
            skillSegmentsWithNonResponsiveConsumers="non-resp. consumer",
            skillSegmentsWithNonResponsiveAgents="non-resp. agent",
            skillSegmentsAbandonedByConsumers="abandoned",
            skillSegmentsAbandonedByConsumersInQueue=UNANSWERED_IN_QUEUE,
        ),
    ),
    _more(
        "skill-shares",
        (),
        _columns(
            "Share of segments",
            *("interactiveSkillSegmentPercent", "nonResponsiveConsumerSkillSegmentPercent"),
            *("nonResponsiveAgentSkillSegmentPercent", "abandonedSkillSegmentPercent"),
        ),
    ),
    _more(
        "skill-first-response",
        (),
        Columns(
            "First response",
            (Column(METRICS["skillSegments.avgTimetoFirstAgentMessageFromAgentAssignment"], "average"),),
        ),
    ),
)
"""The columns of skill segments. Seven, with service levels, are seen at first; the other ones by the groups' names."""
SKILL_LEVELS_NAME: Final = "skill-service-level"
SKILL_GROUPS: Final = (SKILL_LEVELS_NAME, *(group.name for group in SKILL_COLUMNS))
"""The names of the groups of columns of skill segments, in their order: on a page that has both, other ones."""
_LEVEL_HEADINGS: Final[dict[Clock, str]] = {
    "firstResponse": "first response",
    "response": "response",
    "queueWait": "wait in the queue",
}


def level_columns(
    table: Table, targets: AccountTargets, *, has_queues: bool, with_bots: bool = False
) -> tuple[Columns, ...]:
    """The columns of service levels of a table's rows, of the clocks that an account's targets set, with the counts
    that they are made of. Skills also have those of the queue, where these may be seen. `with_bots` is said.
    """
    columns = []
    for clock, heading in _LEVEL_HEADINGS.items():
        is_there = has_queues if clock == "queueWait" else True
        if targets.sets(clock) and is_there and (table == "skillSegments" or clock != "queueWait"):
            keys = [f"{clock}ServiceLevelPercent", f"{clock}MetCount", f"{clock}MissedCount"]
            names = [heading, "within target", "missed"]
            columns += [Column(WITH_LEVELS[key], name) for key, name in zip(keys, names, strict=True)]
    heading = "Service level, bots too" if with_bots else "Service level"
    return (Columns(heading, tuple(columns), told=tuple(meanings_of(targets).items())),) if columns else ()


def level_of(clock: Clock) -> Metric:
    """The service level of a clock."""
    return WITH_LEVELS[f"{clock}ServiceLevelPercent"]


HUMAN_SEGMENTS: Final = Metric("humanSegments", "Segments of human agents", "humanSegments")
"""How many segments could have a known handle time. No column of the tables, but each row of agents has it."""


class Row(NamedTuple):
    """One agent or skill, or all of them (`number` None): metrics by key, and the trend of one of them.

    `before` are the metrics of what the view is compared with; None where it is not.
    """

    number: int | None
    values: Figures
    trend: list[Value]
    before: Figures | None = None

    @property
    def known(self) -> tuple[int, int]:
        """The number of segments whose handle time is known, and of those of human agents, where it could be known."""
        found = (self.values.get(key) or 0 for key in ("segmentsWithFocusData", HUMAN_SEGMENTS.key))
        known, human = (int(each) for each in found)
        return known, human


class TableOf:
    """Rows in their order, and the total of all rows. `skills` are those of each human agent, where rows are agents."""

    def __init__(self, rows: list[Row], total: Row, skills: dict[int, frozenset[int]]) -> None:
        self.rows, self.total, self.skills = rows, total, skills
        self._known: dict[str, list[_OfAgent]] = {}

    def of_peers(self, row: Row, metric: Metric) -> Value:
        """The median of what the peers of an agent have: of other human agents with segments in one of the same skills.
        None where there are none of whom it is known.
        """
        own = None if row.number is None else self.skills.get(row.number)
        if own is None:
            return None
        known = self._known_of(metric)
        values = [each.value for each in known if each.agent != row.number and not own.isdisjoint(each.skills)]
        return values[(len(values) - 1) // 2] if values else None

    def _known_of(self, metric: Metric) -> list[_OfAgent]:
        """What is known of a metric of human agents, in ascending order: sorted once, for each row picks from it."""
        if metric.key not in self._known:
            self._known[metric.key] = sorted(
                _OfAgent(value, row.number, self.skills[row.number])
                for row in self.rows
                if row.number in self.skills and (value := _shown(metric, row.values)) is not None
            )
        return self._known[metric.key]


class _OfAgent(NamedTuple):
    """A value, and whose it is."""

    value: int | float
    agent: int
    skills: frozenset[int]


def metrics_of(groups: Sequence[Columns]) -> list[Metric]:
    """The metrics of a table."""
    return [column.metric for group in groups for column in group.columns]


def with_numbers(groups: Sequence[Columns]) -> list[Metric]:
    """The metrics of a table, and of how many values percentiles are made."""
    shown = metrics_of(groups)
    numbers = dict.fromkeys(each.number for group in groups for each in group.columns if each.number)
    return [*shown, *(each for each in numbers if each not in shown)]


def table_of(
    verdicts: Verdicts,
    view: View,
    each: Each,
    table: Table,
    shown: Sequence[Metric],
    sort: str,
    *,
    descending: bool,
) -> TableOf:
    """The metrics that are shown by agent or skill, with the trend of one over the view's intervals; sorted by one
    metric, or by id. Those of `table` come first.

    Where the view is compared, whoever has segments then has a row too.
    """
    metrics = [*shown, HUMAN_SEGMENTS] if table == "agentSegments" else [*shown]
    own = [metric for metric in metrics if metric.table == table and metric.key not in LEVELS]
    others = [metric for metric in metrics if metric not in own]
    of = view.agent_segments if table == "agentSegments" else view.skill_segments
    trended = next((metric for metric in shown if metric.key == sort), own[0])
    by: tuple[By, ...] = ("interval", each)
    before, snapshot = view.before(of), verdicts.snapshot
    finest = sums_of(snapshot, table, summed(own), by, of)
    groups = with_percentiles(snapshot, finest, table, own, (each,), of)
    more = figures_of(snapshot, others, (each,), of, verdicts) if others else {}
    if trended in own:
        trends = with_percentiles(snapshot, finest, table, [trended], by, of)
    else:
        trends = figures_of(snapshot, [trended], by, of, verdicts)
    then = None if before is None else figures_of(snapshot, metrics, (each,), before, verdicts)
    skills = skills_of(snapshot, of) if each == "agentId" and of.agents is None else {}
    groups = _joined(groups, own, more, others)
    nothing: Figures = {metric.key: of_nothing(metric) for metric in metrics}
    count = len(view.bounds) - 1

    def row(number: int) -> Row:
        values = groups.get((number,), nothing)
        is_unknown = trended.key in HANDLE_TIME and values[trended.key] is None
        trend = [] if is_unknown else [_shown(trended, trends.get((place, number))) for place in range(count)]
        return Row(number, values, trend, None if then is None else then.get((number,), nothing))

    rows = [row(number) for (number,) in sorted(key for key in {*groups, *(then or ())} if key)]
    total = Row(None, groups.get((), nothing), [], None if then is None else then.get((), nothing))
    return TableOf(sorted_rows(rows, sort, descending=descending), total, skills)


def _joined(groups: Groups, own: list[Metric], more: Groups, others: list[Metric]) -> Groups:
    """The figures of both, each where the other has none too."""
    nothing: Figures = {metric.key: of_nothing(metric) for metric in own}
    unknown: Figures = {metric.key: of_nothing(metric) for metric in others if metric.key not in LEVELS}
    return {key: {**nothing, **unknown, **groups.get(key, {}), **more.get(key, {})} for key in {**groups, **more}}


def _shown(metric: Metric, figures: Figures | None) -> Value:
    """A value in a chart: None for an average over nothing, 0 where nothing was counted."""
    if figures is None:
        return None if metric.values or metric.per else 0
    value = figures.get(metric.key)
    return None if value == NOTHING and metric.per else value


def sorted_rows(rows: list[Row], sort: str, *, descending: bool) -> list[Row]:
    """Rows sorted by the metric's value; else by id."""
    metric = WITH_LEVELS.get(sort)
    rows = sorted(rows, key=lambda row: row.number or 0, reverse=descending and metric is None)
    return rows if metric is None else sorted_by(rows, lambda row: _shown(metric, row.values), descending=descending)


def sorted_by(rows: Sequence[T], key: Callable[[T], Any], *, descending: bool) -> list[T]:
    """Rows sorted by a key. Those without one (None) are last either way; equal ones keep their order."""
    some = [row for row in rows if key(row) is not None]
    return sorted(some, key=key, reverse=descending) + [row for row in rows if key(row) is None]


class History(NamedTuple):
    """Metrics by interval: the intervals' borders, values by metric, and values of the whole.

    `before` is what the view is compared with, interval by interval as far as there are any; None where it is not.
    """

    bounds: Sequence[int]
    values: dict[str, list[Value]]
    total: Figures
    before: History | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no segment ended in the whole span."""
        return not self.total


HISTORY: Final[dict[Table, tuple[str, ...]]] = {
    "agentSegments": (
        *("interactiveAgentSegments", "agentSegmentsWithNonResponsiveConsumers"),
        *("agentSegmentsWithNonResponsiveAgents", "agentSegmentsAbandonedByConsumers"),
        *("totalAgentConversationSegments", "medianFirstResponseMillis", "p90FirstResponseMillis"),
        *("medianResponseMillis", "p90ResponseMillis", "medianHandleTimeMillis", "p90HandleTimeMillis"),
        "interactiveAgentSegmentPercent",
    ),
    "skillSegments": (
        *("interactiveSkillSegments", "skillSegmentsWithNonResponsiveConsumers"),
        *("skillSegmentsWithNonResponsiveAgents", "skillSegmentsAbandonedByConsumers"),
        *("totalSkillConversationSegments", "skillSegmentsAbandonedByConsumersInQueue", "abandonedSkillSegmentPercent"),
    ),
}
"""The metrics that charts and tiles show."""


def history_of(verdicts: Verdicts, view: View, table: Table = "agentSegments", *, with_levels: bool = True) -> History:
    """The metrics of the charts by interval, of agent segments or of skill segments; where there are targets, also the
    service levels, with skill segments those of the queue too.
    """
    of = view.agent_segments if table == "agentSegments" else view.skill_segments
    before = view.before(of)
    found = _history(verdicts, table, of, with_levels=with_levels)
    return (
        found if before is None else found._replace(before=_history(verdicts, table, before, with_levels=with_levels))
    )


def _history(verdicts: Verdicts, table: Table, of: Selection, *, with_levels: bool) -> History:
    clocks = [clock for clock in CLOCKS if table == "skillSegments" or clock != "queueWait"] if with_levels else []
    levels = [level_of(clock) for clock in clocks if verdicts.targets.sets(clock)]
    metrics = [*(METRICS[key] for key in HISTORY[table]), *levels]
    groups = figures_of(verdicts.snapshot, metrics, ("interval",), of, verdicts)
    places = range(len(of.bounds) - 1)
    series = {metric.key: [_shown(metric, groups.get((place,))) for place in places] for metric in metrics}
    return History(of.bounds, series, groups.get((), {}))


SLOWEST: Final = 10


def data_quality_of(reader: Reader, view: View) -> DataQuality:
    """What is doubtful about a view's data. Where an agent is chosen, only that agent's long units count."""
    with reader.snapshot() as snapshot:
        found = doubts.data_quality_of(snapshot, view.agent_segments, view.long_minutes * MINUTE)
        begins = doubts.first_end(snapshot)
    known_from = min([view.start, *view.compared])
    return found._replace(begins=begins if begins is not None and begins > known_from else None)


def comparable(view: View, reader: Reader) -> View:
    """A view that is compared with nothing where what it should be compared with lies before all data."""
    if not view.compared:
        return view
    with reader.snapshot() as snapshot:
        begins = doubts.first_end(snapshot)
    if begins is None or begins < view.compared[-1]:
        return view
    return replace(view, compared=(), has_nothing_before=True)


def slowest_of(reader: Reader, view: View, account: str) -> list[Slow]:
    """The segments with the longest single response times; of human agents, unless bots are chosen."""
    of = view.agent_segments
    with reader.snapshot() as snapshot:
        wanted = of if view.user_type == "bot" else of._replace(user_type=HUMAN)
        return pages.slowest_of(snapshot, wanted, account, SLOWEST)


def slowest_sheet(reader: Reader, view: View, account: str, name: Namer) -> Sheet:
    """The same as a file."""
    rows = [
        [
            *(each.conversation, each.segment, each.agent, name("agent", each.agent)),
            *(each.skill, name("skill", each.skill), each.waited, each.handled, At(each.end), each.outcome),
        ]
        for each in slowest_of(reader, view, account)
    ]
    names = (
        *("conversationId", "segmentId", "agentId", "agent", "skillId", "skill"),
        *("longestResponseMillis", "totalHandleTimeMillis", "endTime", "outcome"),
    )
    return Sheet("slowest", view.start, view.end, names, rows)
