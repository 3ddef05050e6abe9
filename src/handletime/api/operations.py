"""`GET …/msgagentsegments` and `…/msgskillsegments`: metrics by agent and by skill (http-api.md 3).

One query sums by the finest groups; elements, totals, intervals and the summary are all made of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get

from handletime.answers.intervals import CALENDAR, Interval, bounds
from handletime.answers.registry import AGENT_METRICS, SKILL_METRICS, Metric
from handletime.answers.selection import Selection
from handletime.answers.sums import By, Sums, sums_of
from handletime.api.answer import Answer
from handletime.api.negotiation import FORMAT, table_or_json
from handletime.api.parameters import (
    ALL,
    Moment,
    Parameter,
    Query,
    Schema,
    Wrong,
    a_choice,
    a_text,
    a_time,
    a_time_in_millis,
    between,
    integer,
    interval_of,
    some_choices,
    some_ids,
)
from handletime.api.series import (
    METRICS_DATA,
    Element,
    Window,
    counts,
    finest_of,
    json_object,
    keys_of,
    members,
    series,
    table,
    totals,
)
from handletime.api.service import HttpRequest, InPath, TheService, query_of
from handletime.clock import DAY, MINUTE, zone_named
from handletime.events.model import TIME_MIN

TIMEFRAME_MAX: Final = 1440
TIMEFRAME_MAX_WITH_TO: Final = 44_640
INTERVAL_MIN: Final = 5
UTC: Final = ZoneInfo("UTC")
EARLIEST: Final = TIME_MIN + 8 * DAY
"""The earliest start whose week begins in the years 1 to 9999 in every zone."""


def _interval(text: str) -> Interval:
    """Minutes, or a unit of the calendar. Raises Wrong."""
    return interval_of(text, CALENDAR, "a number of minutes (with `to` also hour, day or week)", INTERVAL_MIN)


def _zone(text: str) -> ZoneInfo:
    """A time zone. Raises Wrong."""
    zone = zone_named(text.strip())
    if zone is None:
        raise Wrong("must be the IANA name of a time zone (Europe/Berlin)")
    return zone


def a_zone(name: str, meaning: str) -> Parameter[ZoneInfo]:
    """A time zone; UTC where it is absent."""
    return Parameter(name, meaning, UTC, _zone, {"type": "string", "default": "UTC"})


def _minutes(least: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": TIMEFRAME_MAX_WITH_TO}


TIMEFRAME: Final[Parameter[int | None]] = Parameter(
    "timeframe",
    "The length of the timeframe in minutes, up to now or `to`; at most 1440 without `to`. "
    "Required where there is no `from`.",
    None,
    lambda text: between(integer(text), 1),  # How many there may be depends on `to`.
    _minutes(1),
)
VERSION: Final = a_choice("v", "The version of the API.", "1", ("1",), required=True)
INTERVAL: Final[Parameter[Interval | None]] = Parameter(
    "interval",
    "Cuts the timeframe in intervals of so many minutes, a divisor of it; with `to` also hour, day, week.",
    None,
    _interval,
    {"anyOf": [_minutes(INTERVAL_MIN), {"type": "string", "enum": list(CALENDAR)}]},
)
FROM: Final = a_time(
    "from",
    "The start of the timeframe, only with `to` and instead of `timeframe`; at most 44640 minutes before (ours).",
)
TO: Final = a_time("to", "The end of the timeframe instead of now, which it is where `to` is in the future (ours).")
ZONE: Final = a_zone("tz", "Whose hours, days and weeks `interval` means (ours).")
USER_TYPE: Final = a_choice("userType", "Only segments of human agents or of bots.", ALL, ("human", "bot", ALL))
AGENT_IDS: Final = some_ids("agentIds", "Only these agents; all where it is absent.")
GROUP_IDS: Final = some_ids("groupIds", "Only segments of these agent groups.")
SKILL_IDS_BESIDE: Final = some_ids(
    "skillIds", "Also groups by these skills, and by agent within each; filters nothing."
)
SKILL_IDS: Final = some_ids("skillIds", "Only these skills; all where it is absent.")
INTEGRATION: Final = a_text("source", "Only segments of conversations that started there, in any letter case.")
METRICS: Final = some_choices("metrics", "Only these metrics.", [metric.name for metric in AGENT_METRICS])
FROM_MILLIS: Final = a_time_in_millis(
    "fromMillis", "The start in epoch milliseconds, with `toMillis`; of version 2, and else refused."
)
TO_MILLIS: Final = a_time_in_millis("toMillis", "The end in epoch milliseconds; of version 2, and else refused.")
_OF_BOTH: Final = (TIMEFRAME, VERSION, INTERVAL, FROM, TO, ZONE, USER_TYPE, FORMAT)
AGENT_PARAMETERS: Final = (*_OF_BOTH, AGENT_IDS, SKILL_IDS_BESIDE, GROUP_IDS, INTEGRATION, METRICS)
SKILL_PARAMETERS: Final = (*_OF_BOTH, SKILL_IDS)


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


class Span(NamedTuple):
    """The start and end that were asked for; `end` may be in the future."""

    start: int
    end: int


def read_window(query: Query, now: int, version: Parameter[str] = VERSION) -> Window:
    """The window and the intervals that an operations method is asked for. Faults are noted in the query."""
    of_start, of_end = _start_and_end(query, version)
    span = _read_span(query, now, of_start, of_end)
    interval, zone = query.get(INTERVAL), query.get(ZONE)
    read_version(query, version)
    if isinstance(interval, str) and not query.has(of_end):
        query.fault(INTERVAL, "hour, day and week need the parameter to")
    if isinstance(interval, int) and span is not None and not _divides(interval, span):
        of = "timeframe" if query.has(TIMEFRAME) else f"the time between {of_start.name} and {of_end.name}"
        query.fault(INTERVAL, f"must be a divisor of {of}")
    start, end = span or Span(now, now)
    end = min(end, now)
    ends = bounds(start, end, interval, zone) if start < end and query.is_good((INTERVAL,)) else [start, end]
    return Window(start, end, ends, ends[:-1], ends[:-1], interval is not None, zone)


def read_version(query: Query, version: Parameter[str]) -> str:
    """The version, and a fault for what only the second one has. Faults are noted in the query."""
    found = query.get(version)
    for parameter in (FROM_MILLIS, TO_MILLIS):
        if found != "2" and query.has(parameter):
            query.fault(parameter, "is not of this version; use from and to, or timeframe")
    return found


OfTime = Parameter[Moment | None]


def _start_and_end(query: Query, version: Parameter[str]) -> tuple[OfTime, OfTime]:
    """The parameters that say the window's start and end."""
    if version is VERSION or query.get(version) != "2" or not (query.has(FROM_MILLIS) or query.has(TO_MILLIS)):
        return FROM, TO
    for millis, text in ((FROM_MILLIS, FROM), (TO_MILLIS, TO)):
        if query.has(text):
            query.fault(millis, f"must not be given together with {text.name}")
    return FROM_MILLIS, TO_MILLIS


def _divides(minutes: int, span: Span) -> bool:
    """Whether a span is a whole number of intervals."""
    length = span.end - span.start
    return minutes * MINUTE <= length and length % (minutes * MINUTE) == 0


def _read_span(query: Query, now: int, of_start: OfTime, of_end: OfTime) -> Span | None:
    """The timeframe that is asked for; None where it is wrong. Faults are noted in the query."""
    minutes = query.get(TIMEFRAME)
    if not query.has(TIMEFRAME) and not query.has(of_start):
        query.fault(TIMEFRAME, f"is required, or {of_start.name} and {of_end.name}")
    most = TIMEFRAME_MAX_WITH_TO if query.has(of_end) else TIMEFRAME_MAX
    if minutes is not None and minutes > most:
        query.fault(TIMEFRAME, f"must be less than or equal to {most}")
    start, to = query.get(of_start), query.get(of_end)
    if query.has(of_start) and query.has(TIMEFRAME):
        query.fault(of_start, "must not be given together with timeframe")
    if query.has(of_start) and not query.has(of_end):
        query.fault(of_start, f"needs the parameter {of_end.name}")
    end = now if to is None else min(to.millis, now)
    span = Span(end - (minutes or 0) * MINUTE, end)
    if start is not None:
        span = Span(start.millis, to.millis if to else now)
        if start.millis > end:
            query.fault(of_start, f"must not be after {of_end.name}, nor in the future")
        if to is not None and end - start.millis > TIMEFRAME_MAX_WITH_TO * MINUTE:
            query.fault(of_start, f"must not be more than {TIMEFRAME_MAX_WITH_TO} minutes before {of_end.name}")
    if span.start < EARLIEST:
        of = of_start if query.has(of_start) else of_end
        query.fault(of, "is too early: the timeframe must begin after 0001-01-09")
    return span if query.is_good((TIMEFRAME,)) and query.is_good((of_start, of_end)) else None


def _selection(window: Window, user_type: str, **filters: Any) -> Selection:
    """The window, and every filter whose parameter is there."""
    return Selection(window.bounds, user_type=None if user_type == ALL else user_type, **filters)


def listed(ids: frozenset[int] | None) -> list[int] | None:
    """Ids that were asked for, in order; None for all."""
    return None if ids is None else sorted(ids)


# --- by agent --------------------------------------------------------------------------------------------------------


@get("/operations/api/account/{account:str}/msgagentsegments", sync_to_thread=True, name="msgagentsegments")
def agent_operations(request: HttpRequest, service: TheService, account: InPath) -> Response[Any]:
    """Metrics of agent segments by agent and, where asked for, by skill and interval."""
    reader = service.reader(request, account, "operations")
    query = query_of(request)
    form = table_or_json(query, request.headers.get("accept", ""))
    window, user_type = read_window(query, service.clock.now()), query.get(USER_TYPE)
    chosen = query.get(METRICS)
    metrics = tuple(m for m in AGENT_METRICS if m.name in chosen or m is AGENT_METRICS[0])
    skills, by_skill = query.get(SKILL_IDS_BESIDE), query.has(SKILL_IDS_BESIDE)
    source = query.get(INTEGRATION)
    selection = _selection(
        window,
        user_type,
        agents=listed(query.get(AGENT_IDS)),
        groups=listed(query.get(GROUP_IDS)),
        source=source if source and source.strip().lower() != ALL else None,
    )
    query.check()
    by = keys_of(window, ("skillId", "agentId") if by_skill else ("agentId",))
    answer = Answer(request, deadline=reader.deadline)
    finest = finest_of(
        answer, reader, lambda snapshot, most: sums_of(snapshot, "agentSegments", metrics, by, selection, most=most)
    )
    levels = AgentLevels(metrics, by_skill, skills)
    if form == "csv":
        return table(answer, account, "msgagentsegments", window, levels.finest(finest), metrics)
    return series(answer, window, partial(levels.written, finest), METRICS_DATA)


class AgentLevels(msgspec.Struct, frozen=True):
    """The parts of an answer by agent: by skill and agent where asked for, by agent, and the total."""

    metrics: tuple[Metric, ...]
    by_skill: bool
    skills: frozenset[int] | None

    def finest(self, sums: Sums) -> Sums:
        """The sums of the skills that were asked for, or of all."""
        return sums if self.skills is None else sums.only("skillId", self.skills)

    def written(self, finest: Sums, prefix: tuple[By, ...], number: int) -> Iterator[Iterator[bytes]]:
        """The fields of `AgentData`."""
        chosen = self.finest(finest) if self.by_skill else finest
        per_skill = chosen.rolled_up((*prefix, "skillId", "agentId")) if self.by_skill else chosen.part(0, 0)
        by_agent = finest.rolled_up((*prefix, "agentId"))
        whole = totals(finest, self.metrics, prefix, number)
        agents, in_skills = members(by_agent, self.metrics), members(per_skill, self.metrics)
        counts_of = counts(by_agent, prefix, number)
        skills = per_skill.runs((*prefix, "skillId")) if self.by_skill else iter(())
        skill_counts = counts(per_skill.rolled_up((*prefix, "skillId")), prefix, number) if self.by_skill else counts_of

        def pieces(skill_count: int, count: int, total: bytes) -> Iterator[bytes]:
            if self.by_skill:
                yield b'"metricsPerSkill":{'
                for place, ((*_, skill), run) in enumerate(islice(skills, skill_count)):
                    yield b'%s"%d":{"metricsPerAgent":' % (b"," if place else b"", skill)
                    yield from json_object(in_skills, run.stop - run.start)
                    yield b"}"
                yield b"},"
            yield b'"agentsMetrics":{"metricsPerAgent":'
            yield from json_object(agents, count)
            yield b'},"metricsTotal":%s' % total

        return map(pieces, skill_counts, counts_of, whole)


# --- by skill --------------------------------------------------------------------------------------------------------


@get("/operations/api/account/{account:str}/msgskillsegments", sync_to_thread=True, name="msgskillsegments")
def skill_operations(request: HttpRequest, service: TheService, account: InPath) -> Response[Any]:
    """Metrics of skill segments by skill and, where asked for, interval."""
    reader = service.reader(request, account, "operations", without_agent="skill segments")
    query = query_of(request)
    form = table_or_json(query, request.headers.get("accept", ""))
    window, user_type = read_window(query, service.clock.now()), query.get(USER_TYPE)
    selection = _selection(window, user_type, skills=listed(query.get(SKILL_IDS)))
    query.check()
    answer = Answer(request, deadline=reader.deadline)
    by = keys_of(window, ("skillId",))
    finest = finest_of(
        answer,
        reader,
        lambda snapshot, most: sums_of(snapshot, "skillSegments", SKILL_METRICS, by, selection, most=most),
    )
    if window.in_intervals:
        finest = finest.backwards("interval", len(window.starts) - 1)  # The newest interval first; ids stay in order.
        window = window.backwards()
    if form == "csv":
        return table(answer, account, "msgskillsegments", window, finest, SKILL_METRICS)
    return series(answer, window, partial(_skills_written, finest))


def _skills_written(finest: Sums, prefix: tuple[By, ...], number: int) -> Iterator[Iterator[bytes]]:
    """The fields of `SkillData`."""
    by_skill = finest.rolled_up((*prefix, "skillId"))
    skills = members(by_skill, SKILL_METRICS)

    def pieces(count: int, total: bytes) -> Iterator[bytes]:
        yield b'"skillsMetrics":'
        yield from json_object(skills, count)
        yield b',"metricsTotal":%s' % total

    return map(pieces, counts(by_skill, prefix, number), totals(finest, SKILL_METRICS, prefix, number))
