"""`GET …/msgagentsegments` and `…/msgskillsegments`: metrics by agent and by skill (http-api.md 3).

One query sums by the finest groups; elements, totals, intervals and the summary are all made of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final, NamedTuple, cast
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get

from handletime.api.csv_table import csv_answer, file_name
from handletime.api.errors import JSON
from handletime.api.intervals import CALENDAR, Interval, bounds, zone_named
from handletime.api.negotiation import FORMAT, table_or_json
from handletime.api.parameters import (
    ALL,
    Choice,
    Choices,
    Ids,
    Millis,
    Moment,
    Query,
    Schema,
    Single,
    Text,
    Time,
    Wrong,
    between,
    integer,
)
from handletime.api.service import HttpRequest, InPath, TheService, query_of
from handletime.api.timeframe import DAY, MINUTE
from handletime.events.model import EPOCH, TIME_MIN
from handletime.metrics.aggregate import NOTHING, By, Selection, Sums, sums_of
from handletime.metrics.registry import AGENT_METRICS, SKILL_METRICS, Metric

TIMEFRAME_MAX: Final = 1440
TIMEFRAME_MAX_WITH_TO: Final = 44_640
INTERVAL_MIN: Final = 5
UTC: Final = ZoneInfo("UTC")
EARLIEST: Final = TIME_MIN + 8 * DAY
"""The weeks of what begins from here on begin in the years 1 to 9999, in every zone."""


@dataclass(frozen=True)
class IntervalParameter(Single["Interval | None"]):
    """Minutes, or a unit of the calendar."""

    default: Interval | None = None

    def read_one(self, text: str) -> Interval | None:
        """The interval. Raises Wrong."""
        for unit in CALENDAR:
            if text.strip().lower() == unit:
                return unit
        try:
            minutes = integer(text)
        except Wrong as error:
            raise Wrong("must be a number of minutes (with `to` also hour, day or week)") from error
        return between(minutes, INTERVAL_MIN)

    def schema(self) -> Schema:
        """Its JSON schema."""
        minutes: Schema = {"type": "integer", "minimum": INTERVAL_MIN, "maximum": TIMEFRAME_MAX_WITH_TO}
        return {"anyOf": [minutes, {"type": "string", "enum": list(CALENDAR)}]}


@dataclass(frozen=True)
class TimeframeParameter(Single["int | None"]):
    """Minutes; None where it is absent. How many there may be depends on `to`."""

    default: int | None = None

    def read_one(self, text: str) -> int | None:
        """The minutes. Raises Wrong."""
        return between(integer(text), 1)

    def schema(self) -> Schema:
        """Its JSON schema."""
        return {"type": "integer", "minimum": 1, "maximum": TIMEFRAME_MAX_WITH_TO}


@dataclass(frozen=True)
class ZoneParameter(Single[ZoneInfo]):
    """A time zone."""

    def read_one(self, text: str) -> ZoneInfo:
        """The zone. Raises Wrong."""
        zone = zone_named(text.strip())
        if zone is None:
            raise Wrong("must be the IANA name of a time zone (Europe/Berlin)")
        return zone

    def schema(self) -> Schema:
        """Its JSON schema."""
        return {"type": "string", "default": "UTC"}


TIMEFRAME: Final = TimeframeParameter(
    "timeframe",
    "The length of the timeframe in minutes, up to now or `to`; at most 1440 without `to`. "
    "Required where there is no `from`.",
)
VERSION: Final = Choice("v", "The version of the API.", "1", required=True, choices=("1",))
INTERVAL: Final = IntervalParameter(
    "interval", "Cuts the timeframe in intervals of so many minutes, a divisor of it; with `to` also hour, day, week."
)
FROM: Final = Time(
    "from",
    "The start of the timeframe, only with `to` and instead of `timeframe`; at most 44640 minutes before (ours).",
)
TO: Final = Time("to", "The end of the timeframe instead of now, which it is where `to` is in the future (ours).")
ZONE: Final = ZoneParameter("tz", "Whose hours, days and weeks `interval` means (ours).", UTC)
USER_TYPE: Final = Choice("userType", "Only segments of human agents or of bots.", ALL, choices=("human", "bot", ALL))
AGENT_IDS: Final = Ids("agentIds", "Only these agents; all where it is absent.")
GROUP_IDS: Final = Ids("groupIds", "Only segments of these agent groups.")
SKILL_IDS_BESIDE: Final = Ids("skillIds", "Also groups by these skills, and by agent within each; filters nothing.")
SKILL_IDS: Final = Ids("skillIds", "Only these skills; all where it is absent.")
INTEGRATION: Final = Text("source", "Only segments of conversations that started there, in any letter case.")
_ALL_METRICS: Final = frozenset(metric.name for metric in AGENT_METRICS)
METRICS: Final = Choices(
    "metrics", "Only these metrics.", _ALL_METRICS, choices=tuple(metric.name for metric in AGENT_METRICS)
)
_OF_ANOTHER_VERSION: Final = (
    Millis("fromMillis", "Of another version; refused."),
    Millis("toMillis", "Of another version; refused."),
)
_OF_BOTH: Final = (TIMEFRAME, VERSION, INTERVAL, FROM, TO, ZONE, USER_TYPE, FORMAT)
AGENT_PARAMETERS: Final = (*_OF_BOTH, AGENT_IDS, SKILL_IDS_BESIDE, GROUP_IDS, INTEGRATION, METRICS)
SKILL_PARAMETERS: Final = (*_OF_BOTH, SKILL_IDS)


class Element(msgspec.Struct, frozen=True):
    """The chosen metrics of one agent, skill or total, under their names."""


class PerAgent(msgspec.Struct, frozen=True, rename="camel"):
    """Elements by agent."""

    metrics_per_agent: dict[str, Element]


class AgentData(msgspec.Struct, frozen=True, rename="camel"):
    """The metrics of a timeframe or an interval."""

    metrics_per_skill: dict[str, PerAgent] | msgspec.UnsetType
    agents_metrics: PerAgent
    metrics_total: Element


class AgentInterval(msgspec.Struct, frozen=True, rename="camel"):
    """One interval and its unrounded start."""

    timestamp: int
    metrics_data: AgentData


class AgentSeries(msgspec.Struct, frozen=True, rename="camel"):
    """Intervals, oldest first, and the whole timeframe."""

    metrics_by_intervals: list[AgentInterval]
    timeframe_summary: AgentData


class SkillData(msgspec.Struct, frozen=True, rename="camel"):
    """The metrics of a timeframe."""

    skills_metrics: dict[str, Element]
    metrics_total: Element


class SkillInterval(msgspec.Struct, frozen=True, rename="camel"):
    """One interval and its unrounded start."""

    timestamp: int
    skills_metrics: dict[str, Element]
    metrics_total: Element


class SkillSeries(msgspec.Struct, frozen=True, rename="camel"):
    """Intervals, newest first, and the whole timeframe."""

    metrics_by_intervals: list[SkillInterval]
    timeframe_summary: SkillData


class Window(msgspec.Struct, frozen=True):
    """What both methods are asked for: segments that ended in [start, end), epoch milliseconds.

    `bounds` are the ends of the intervals, or of the whole; `zone` is where their times are told.
    """

    start: int
    end: int
    bounds: list[int]
    in_intervals: bool
    zone: ZoneInfo
    user_type: str


class Span(NamedTuple):
    """From when to when, as it was asked for; `end` may be in the future."""

    start: int
    end: int


def _read_window(query: Query, now: int) -> Window:
    span = _read_span(query, now)
    interval, zone = query.get(INTERVAL), query.get(ZONE)
    query.get(VERSION)
    for parameter in _OF_ANOTHER_VERSION:
        if query.has(parameter):
            query.fault(parameter, "is not of this version; use from and to, or timeframe")
    if isinstance(interval, str) and not query.has(TO):
        query.fault(INTERVAL, "hour, day and week need the parameter to")
    if isinstance(interval, int) and span is not None and not _divides(interval, span):
        query.fault(
            INTERVAL, f"must be a divisor of {'timeframe' if query.has(TIMEFRAME) else 'the time between from and to'}"
        )
    start, end = span or Span(now, now)
    end = min(end, now)
    ends = bounds(start, end, interval, zone) if start < end and query.is_good((INTERVAL,)) else [start, end]
    return Window(start, end, ends, interval is not None, zone, query.get(USER_TYPE))


def _divides(minutes: int, span: Span) -> bool:
    """Whether an interval fits into a span, and so many times that nothing is left."""
    length = span.end - span.start
    return minutes * MINUTE <= length and length % (minutes * MINUTE) == 0


def _read_span(query: Query, now: int) -> Span | None:
    """The timeframe that is asked for; None where it is wrong, which is noted."""
    minutes = query.get(TIMEFRAME)
    if not query.has(TIMEFRAME) and not query.has(FROM):
        query.fault(TIMEFRAME, "is required, or from and to")
    most = TIMEFRAME_MAX_WITH_TO if query.has(TO) else TIMEFRAME_MAX
    if minutes is not None and minutes > most:
        query.fault(TIMEFRAME, f"must be less than or equal to {most}")
    start, to = query.get(FROM), query.get(TO)
    if query.has(FROM) and query.has(TIMEFRAME):
        query.fault(FROM, "must not be given together with timeframe")
    if query.has(FROM) and not query.has(TO):
        query.fault(FROM, "needs the parameter to")
    end = now if to is None else min(to.millis, now)
    span = Span(end - (minutes or 0) * MINUTE, end)
    if start is not None:
        span = Span(start.millis, to.millis if to else now)
        if start.millis > end:
            query.fault(FROM, "must not be after to, nor in the future")
        if to is not None and end - start.millis > TIMEFRAME_MAX_WITH_TO * MINUTE:
            query.fault(FROM, f"must not be more than {TIMEFRAME_MAX_WITH_TO} minutes before to")
    if span.start < EARLIEST:
        query.fault(FROM if query.has(FROM) else TO, "is too early: the timeframe must begin after 0001-01-09")
    return span if query.is_good((TIMEFRAME,)) and query.is_good((FROM, TO)) else None


def _selection(window: Window, conditions: dict[str, tuple[str, object | None]]) -> Selection:
    """The window and every condition whose parameter is there."""
    given = {name: condition for name, condition in conditions.items() if condition[1] is not None}
    where = " and ".join(["true", *(condition for condition, _ in given.values())])
    if window.user_type != ALL:
        where += f" and userType = '{window.user_type}'"  # one of a closed list; compared as what the column is
    return Selection(window.bounds, where, {name: value for name, (_, value) in given.items()})


def _listed(ids: frozenset[int] | None) -> list[int] | None:
    return None if ids is None else sorted(ids)


# --- by agent --------------------------------------------------------------------------------------------------------


@get("/operations/api/account/{account:str}/msgagentsegments", sync_to_thread=True, name="msgagentsegments")
def agent_operations(request: HttpRequest, service: TheService, account: InPath) -> Response[bytes]:
    """Metrics of agent segments by agent and, where asked for, by skill and interval."""
    reader = service.reader(request, account, "operations")
    query = query_of(request)
    form = table_or_json(query, request.headers.get("accept", ""))
    window = _read_window(query, service.clock.now())
    chosen = query.get(METRICS)
    metrics = tuple(m for m in AGENT_METRICS if m.name in chosen or m is AGENT_METRICS[0])
    skills, by_skill = query.get(SKILL_IDS_BESIDE), query.has(SKILL_IDS_BESIDE)
    source = query.get(INTEGRATION)
    selection = _selection(
        window,
        {
            "agents": ("agentId = any($agents)", _listed(query.get(AGENT_IDS))),
            "groups": ("groupId = any($groups)", _listed(query.get(GROUP_IDS))),
            "source": (
                "lower(source) = lower($source)",
                source if source and source.strip().lower() != ALL else None,
            ),
        },
    )
    query.check()
    by = _keys(window, ("skillId", "agentId") if by_skill else ("agentId",))
    with reader.snapshot() as relations:
        finest = sums_of(relations, "agentSegments", metrics, by, selection)
    levels = AgentLevels(metrics, by_skill, skills)
    if form == "csv":
        return _csv(account, "msgagentsegments", window, levels.finest(finest), metrics)
    return Response(msgspec.json.encode(_agent_answer(window, finest, levels)), media_type=JSON, headers=_VARY)


_VARY: Final = {"Vary": "Accept"}


def _keys(window: Window, by: tuple[By, ...]) -> tuple[By, ...]:
    return ("interval", *by) if window.in_intervals else by


def _agent_answer(window: Window, finest: Sums, levels: AgentLevels) -> AgentData | AgentSeries:
    summary = levels.data(finest).get(0) or levels.nothing()
    if not window.in_intervals:
        return summary
    found = levels.data(finest, ("interval",))
    series = [AgentInterval(start, found.get(i) or levels.nothing()) for i, start in enumerate(window.bounds[:-1])]
    return AgentSeries(series, summary)


class AgentLevels(msgspec.Struct, frozen=True):
    """The parts of an answer by agent: by skill and agent where asked for, by agent, and the total."""

    metrics: tuple[Metric, ...]
    by_skill: bool
    skills: frozenset[int] | None

    def finest(self, sums: Sums) -> Sums:
        """Only the skills that were asked for, where that was so."""
        return sums if self.skills is None else sums.only("skillId", self.skills)

    def data(self, finest: Sums, prefix: tuple[By, ...] = ()) -> dict[int, AgentData]:
        """The answer for each interval that has segments; for 0 where there is no prefix."""
        skills: dict[int, dict[str, PerAgent]] = {}
        if self.by_skill:
            per_skill = self.finest(finest).rolled_up((*prefix, "skillId", "agentId"))
            for (*at, skill), elements in _named(per_skill, self.metrics, (*prefix, "skillId")):
                skills.setdefault(_place(at), {})[str(skill)] = PerAgent(elements)
        by_agent, total = finest.rolled_up((*prefix, "agentId")), finest.rolled_up(prefix)
        agents = {_place(at): PerAgent(elements) for at, elements in _named(by_agent, self.metrics, prefix)}
        return {
            i: AgentData(skills.get(i, {}) if self.by_skill else msgspec.UNSET, agents[i], element)
            for (i,), element in _elements(total, self.metrics, prefix)
        }

    def nothing(self) -> AgentData:
        """The answer where there are no segments."""
        return AgentData({} if self.by_skill else msgspec.UNSET, PerAgent({}), _zeros(self.metrics))


@lru_cache(maxsize=256)
def _element_type(metrics: tuple[Metric, ...]) -> type[Element]:
    fields = [(metric.name, int | float) for metric in metrics]
    made = msgspec.defstruct("Element", fields, bases=(Element,), frozen=True, gc=False)
    return cast("type[Element]", made)


def _elements(
    sums: Sums, metrics: tuple[Metric, ...], prefix: tuple[By, ...]
) -> Iterator[tuple[tuple[int, ...], Element]]:
    """Keys, the interval's place first (0 where there is none), and the metrics."""
    keys = [values.tolist() for values in sums.keys.values()]
    if not prefix:
        keys = [[0] * len(sums), *keys]
    yield from zip(zip(*keys, strict=True), _made(sums, metrics), strict=True)


def _named(
    sums: Sums, metrics: tuple[Metric, ...], prefix: tuple[By, ...]
) -> Iterator[tuple[tuple[int, ...], dict[str, Element]]]:
    """For each value of the first keys the metrics by the last key, which is an id."""
    ids = [str(value) for value in sums.keys[next(reversed(sums.keys))].tolist()]
    elements = list(_made(sums, metrics))
    for keys, run in sums.runs(prefix):
        yield keys, dict(zip(ids[run], elements[run], strict=True))


def _made(sums: Sums, metrics: tuple[Metric, ...]) -> Iterator[Element]:
    return map(_element_type(metrics), *(sums.values_of(metric) for metric in metrics))


def _place(keys: Sequence[int]) -> int:
    """The place of an interval, which comes first; 0 where there is none."""
    return keys[0] if keys else 0


def _zeros(metrics: tuple[Metric, ...]) -> Element:
    return _element_type(metrics)(*[0] * len(metrics))


# --- by skill --------------------------------------------------------------------------------------------------------


@get("/operations/api/account/{account:str}/msgskillsegments", sync_to_thread=True, name="msgskillsegments")
def skill_operations(request: HttpRequest, service: TheService, account: InPath) -> Response[bytes]:
    """Metrics of skill segments by skill and, where asked for, interval."""
    reader = service.reader(request, account, "operations")
    query = query_of(request)
    form = table_or_json(query, request.headers.get("accept", ""))
    window = _read_window(query, service.clock.now())
    selection = _selection(window, {"skills": ("skillId = any($skills)", _listed(query.get(SKILL_IDS)))})
    query.check()
    with reader.snapshot() as relations:
        finest = sums_of(relations, "skillSegments", SKILL_METRICS, _keys(window, ("skillId",)), selection)
    if form == "csv":
        return _csv(account, "msgskillsegments", window, finest, SKILL_METRICS, newest_first=True)
    return Response(msgspec.json.encode(_skill_answer(window, finest)), media_type=JSON, headers=_VARY)


def _skill_answer(window: Window, finest: Sums) -> SkillData | SkillSeries:
    summary = _skill_data(finest).get(0) or SkillData({}, _zeros(SKILL_METRICS))
    if not window.in_intervals:
        return summary
    found = _skill_data(finest, ("interval",))
    series = []
    for i, start in reversed(list(enumerate(window.bounds[:-1]))):
        data = found.get(i) or SkillData({}, _zeros(SKILL_METRICS))
        series.append(SkillInterval(start, data.skills_metrics, data.metrics_total))
    return SkillSeries(series, summary)


def _skill_data(finest: Sums, prefix: tuple[By, ...] = ()) -> dict[int, SkillData]:
    by_skill = finest.rolled_up((*prefix, "skillId"))
    skills = {_place(at): elements for at, elements in _named(by_skill, SKILL_METRICS, prefix)}
    total = finest.rolled_up(prefix)
    return {i: SkillData(skills[i], element) for (i,), element in _elements(total, SKILL_METRICS, prefix)}


# --- as a table ------------------------------------------------------------------------------------------------------


def _csv(
    account: str, method: str, window: Window, finest: Sums, metrics: tuple[Metric, ...], *, newest_first: bool = False
) -> Response[bytes]:
    """The finest groups, and nothing else: whoever sums a column of counts gets the total.

    Intervals in the order of the JSON, then the ids in theirs. An average over nothing is an empty cell.
    """
    ids = [key for key in finest.keys if key != "interval"]
    names = [*(["timestamp", "intervalStart"] if window.in_intervals else []), *ids, *(m.name for m in metrics)]
    columns: list[Sequence[object]] = [finest.keys[key].tolist() for key in ids]
    columns += [_cells(finest, metric) for metric in metrics]
    if window.in_intervals:
        places = finest.keys["interval"].tolist()
        told = [_told(start, window.zone) for start in window.bounds[:-1]]
        columns = [[window.bounds[place] for place in places], [told[place] for place in places], *columns]
    rows = list(zip(*columns, strict=True))
    if newest_first and window.in_intervals:
        rows.sort(key=lambda row: row[0], reverse=True)  # stable: ids stay in order
    name = file_name(unquote(account), method, window.start, window.end)
    return csv_answer(names, rows, file_name=name, total=len(rows))


def _cells(sums: Sums, metric: Metric) -> Sequence[object]:
    values = sums.values_of(metric)
    return [None if value == NOTHING else value for value in values] if metric.per else values


def _told(millis: int, zone: ZoneInfo) -> str:
    """RFC 3339 at the offset that the zone has then."""
    minutes = (
        int(((EPOCH + timedelta(milliseconds=millis)).astimezone(zone).utcoffset() or timedelta()).total_seconds())
        // 60
    )
    sign = "-" if minutes < 0 else "+"
    return str(Moment(millis, f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}" if minutes else "Z"))
