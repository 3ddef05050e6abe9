"""`GET …/msgagentsegments` and `…/msgskillsegments`: metrics by agent and by skill (http-api.md 3).

One query sums by the finest groups; elements, totals, intervals and the summary are all made of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import lru_cache
from itertools import chain, islice
from typing import Any, Final, NamedTuple, cast
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from litestar import Response, get

from handletime.answers.intervals import CALENDAR, Interval, bounds, zone_named
from handletime.answers.registry import AGENT_METRICS, SKILL_METRICS, Metric
from handletime.answers.selection import Selection
from handletime.answers.sums import NOTHING, By, Sums, sums_of
from handletime.answers.terms import Table
from handletime.answers.words import local
from handletime.api.answer import Answer
from handletime.api.csv_table import csv_answer, file_name
from handletime.api.errors import JSON
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
    some_choices,
    some_ids,
)
from handletime.api.ports import Reader
from handletime.api.service import HttpRequest, InPath, TheService, query_of
from handletime.clock import DAY, MINUTE
from handletime.events.model import TIME_MIN

TIMEFRAME_MAX: Final = 1440
TIMEFRAME_MAX_WITH_TO: Final = 44_640
INTERVAL_MIN: Final = 5
UTC: Final = ZoneInfo("UTC")
EARLIEST: Final = TIME_MIN + 8 * DAY
"""The earliest start whose week begins in the years 1 to 9999 in every zone."""


def _interval(text: str) -> Interval:
    """Minutes, or a unit of the calendar. Raises Wrong."""
    for unit in CALENDAR:
        if text.strip().lower() == unit:
            return unit
    try:
        minutes = integer(text)
    except Wrong as error:
        raise Wrong("must be a number of minutes (with `to` also hour, day or week)") from error
    return between(minutes, INTERVAL_MIN)


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
_OF_ANOTHER_VERSION: Final = (
    a_time_in_millis("fromMillis", "Of another version; refused."),
    a_time_in_millis("toMillis", "Of another version; refused."),
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


class OperationsRequest(msgspec.Struct, frozen=True):
    """What both methods are asked for: segments that ended in [start, end), epoch milliseconds.

    `bounds` are the borders of the intervals, or of the whole. `starts` are their beginnings, in the order of the
    answer. `zone` is the time zone of the times in the answer.
    """

    start: int
    end: int
    bounds: list[int]
    starts: list[int]
    in_intervals: bool
    zone: ZoneInfo
    user_type: str


class Span(NamedTuple):
    """The start and end that were asked for; `end` may be in the future."""

    start: int
    end: int


def _read_request(query: Query, now: int) -> OperationsRequest:
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
    return OperationsRequest(start, end, ends, ends[:-1], interval is not None, zone, query.get(USER_TYPE))


def _divides(minutes: int, span: Span) -> bool:
    """Whether a span is a whole number of intervals."""
    length = span.end - span.start
    return minutes * MINUTE <= length and length % (minutes * MINUTE) == 0


def _read_span(query: Query, now: int) -> Span | None:
    """The timeframe that is asked for; None where it is wrong. Faults are noted in the query."""
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


def _selection(window: OperationsRequest, **filters: Any) -> Selection:
    """The window, and every filter whose parameter is there."""
    return Selection(window.bounds, user_type=None if window.user_type == ALL else window.user_type, **filters)


def _listed(ids: frozenset[int] | None) -> list[int] | None:
    return None if ids is None else sorted(ids)


# --- by agent --------------------------------------------------------------------------------------------------------


@get("/operations/api/account/{account:str}/msgagentsegments", sync_to_thread=True, name="msgagentsegments")
def agent_operations(request: HttpRequest, service: TheService, account: InPath) -> Response[Any]:
    """Metrics of agent segments by agent and, where asked for, by skill and interval."""
    reader = service.reader(request, account, "operations")
    query = query_of(request)
    form = table_or_json(query, request.headers.get("accept", ""))
    window = _read_request(query, service.clock.now())
    chosen = query.get(METRICS)
    metrics = tuple(m for m in AGENT_METRICS if m.name in chosen or m is AGENT_METRICS[0])
    skills, by_skill = query.get(SKILL_IDS_BESIDE), query.has(SKILL_IDS_BESIDE)
    source = query.get(INTEGRATION)
    selection = _selection(
        window,
        agents=_listed(query.get(AGENT_IDS)),
        groups=_listed(query.get(GROUP_IDS)),
        source=source if source and source.strip().lower() != ALL else None,
    )
    query.check()
    by = _keys(window, ("skillId", "agentId") if by_skill else ("agentId",))
    answer = Answer(request, deadline=reader.deadline)
    finest = _finest(answer, reader, "agentSegments", metrics, by, selection)
    levels = AgentLevels(metrics, by_skill, skills)
    if form == "csv":
        return _csv(answer, account, "msgagentsegments", window, levels.finest(finest), metrics)
    return _series(answer, window, finest, levels.written, _METRICS_DATA)


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
        totals = _totals(finest, self.metrics, prefix, number)
        agents, in_skills = _members(by_agent, self.metrics), _members(per_skill, self.metrics)
        counts = _counts(by_agent, prefix, number)
        skills = per_skill.runs((*prefix, "skillId")) if self.by_skill else iter(())
        skill_counts = _counts(per_skill.rolled_up((*prefix, "skillId")), prefix, number) if self.by_skill else counts

        def pieces(skill_count: int, count: int, total: bytes) -> Iterator[bytes]:
            if self.by_skill:
                yield b'"metricsPerSkill":{'
                for place, ((*_, skill), run) in enumerate(islice(skills, skill_count)):
                    yield b'%s"%d":{"metricsPerAgent":' % (b"," if place else b"", skill)
                    yield from _object(in_skills, run.stop - run.start)
                    yield b"}"
                yield b"},"
            yield b'"agentsMetrics":{"metricsPerAgent":'
            yield from _object(agents, count)
            yield b'},"metricsTotal":%s' % total

        return map(pieces, skill_counts, counts, totals)


# --- by skill --------------------------------------------------------------------------------------------------------


@get("/operations/api/account/{account:str}/msgskillsegments", sync_to_thread=True, name="msgskillsegments")
def skill_operations(request: HttpRequest, service: TheService, account: InPath) -> Response[Any]:
    """Metrics of skill segments by skill and, where asked for, interval."""
    reader = service.reader(request, account, "operations")
    query = query_of(request)
    form = table_or_json(query, request.headers.get("accept", ""))
    window = _read_request(query, service.clock.now())
    selection = _selection(window, skills=_listed(query.get(SKILL_IDS)))
    query.check()
    answer = Answer(request, deadline=reader.deadline)
    finest = _finest(answer, reader, "skillSegments", SKILL_METRICS, _keys(window, ("skillId",)), selection)
    if window.in_intervals:
        finest = finest.backwards("interval", len(window.starts) - 1)  # The newest interval first; ids stay in order.
        window = msgspec.structs.replace(window, starts=window.starts[::-1])
    if form == "csv":
        return _csv(answer, account, "msgskillsegments", window, finest, SKILL_METRICS)
    return _series(answer, window, finest, _skills_written)


def _skills_written(finest: Sums, prefix: tuple[By, ...], number: int) -> Iterator[Iterator[bytes]]:
    """The fields of `SkillData`."""
    by_skill = finest.rolled_up((*prefix, "skillId"))
    members = _members(by_skill, SKILL_METRICS)

    def pieces(count: int, total: bytes) -> Iterator[bytes]:
        yield b'"skillsMetrics":'
        yield from _object(members, count)
        yield b',"metricsTotal":%s' % total

    return map(pieces, _counts(by_skill, prefix, number), _totals(finest, SKILL_METRICS, prefix, number))


# --- as a table ------------------------------------------------------------------------------------------------------


def _csv(
    answer: Answer, account: str, method: str, window: OperationsRequest, finest: Sums, metrics: tuple[Metric, ...]
) -> Response[Any]:
    """The finest groups, and nothing else: whoever sums a column of counts gets the total.

    Intervals in the order of the JSON, then the ids in theirs. An average over nothing is an empty cell.
    """
    ids = [key for key in finest.keys if key != "interval"]
    names = [*(["timestamp", "intervalStart"] if window.in_intervals else []), *ids, *(m.name for m in metrics)]
    starts = [_rfc_3339(start, window.zone) for start in window.starts]

    def rows(part: Sums) -> Iterator[tuple[object, ...]]:
        columns: list[Sequence[object]] = [part.keys[key].tolist() for key in ids]
        columns += [_cells(part, metric) for metric in metrics]
        if window.in_intervals:
            places = part.keys["interval"].tolist()
            columns = [[window.starts[place] for place in places], [starts[place] for place in places], *columns]
        return zip(*columns, strict=True)

    parts = (finest.part(begin, begin + _AT_ONCE) for begin in range(0, len(finest), _AT_ONCE))
    name = file_name(unquote(account), method, window.start, window.end)
    each = chain.from_iterable(map(rows, parts))
    return csv_answer(answer, names, each, file_name=name, total=len(finest))


# --- JSON, some at a time: an answer may have more elements than there is memory for as objects ----------------------

_VARY: Final = {"Vary": "Accept"}
GROUP_BYTES: Final = 640
"""Bytes that the sums of a group take while an answer is made of them."""
_AT_ONCE: Final = 1000
"""The number of elements that are Python objects at a time."""
_METRICS_DATA: Final = (b'"metricsData":{', b"}")
"""The JSON around an interval's fields, for agents; for skills there is none."""

Written = Callable[[Sums, tuple[By, ...], int], Iterator[Iterator[bytes]]]
"""Makes JSON of sums, in pieces: the fields of each interval, or of the whole where no key comes first.
The pieces have to be read in turn.
"""


def _keys(window: OperationsRequest, by: tuple[By, ...]) -> tuple[By, ...]:
    return ("interval", *by) if window.in_intervals else by


def _finest(
    answer: Answer, reader: Reader, table: Table, metrics: tuple[Metric, ...], by: tuple[By, ...], of: Selection
) -> Sums:
    """The sums of the finest groups. Raises TooMany, BadRequest where there is no memory for them."""
    with reader.snapshot() as relations:
        finest = sums_of(relations, table, metrics, by, of, most=answer.limit // GROUP_BYTES)
    answer.reserve(len(finest) * GROUP_BYTES)
    return finest


def _series(
    answer: Answer, window: OperationsRequest, finest: Sums, written: Written, around: tuple[bytes, bytes] = (b"", b"")
) -> Response[Any]:
    """`AgentSeries` or `SkillSeries`, or only the summary of one, without objects for all of it."""
    starts = window.starts
    if not window.in_intervals:
        return _added(answer, [b"{"], *written(finest, (), 1), [b"}"]).response(JSON, _VARY)
    answer.add(b'{"metricsByIntervals":[')
    before, after = around
    for number, (start, fields) in enumerate(zip(starts, written(finest, ("interval",), len(starts)), strict=True)):
        _added(answer, [b'%s{"timestamp":%d,' % (b"," if number else b"", start), before], fields, [after, b"}"])
    return _added(answer, [b'],"timeframeSummary":{'], *written(finest, (), 1), [b"}}"]).response(JSON, _VARY)


def _added(answer: Answer, *parts: Iterable[bytes]) -> Answer:
    for piece in chain.from_iterable(parts):
        answer.add(piece)
    return answer


@lru_cache(maxsize=256)
def _element_type(metrics: tuple[Metric, ...]) -> type[Element]:
    fields = [(metric.name, int | float) for metric in metrics]
    made = msgspec.defstruct("Element", fields, bases=(Element,), frozen=True, gc=False)
    return cast("type[Element]", made)


def _elements(sums: Sums, metrics: tuple[Metric, ...]) -> Iterator[list[bytes]]:
    """The metrics of each group as JSON, some at a time."""
    encode = msgspec.json.Encoder().encode
    for begin in range(0, len(sums), _AT_ONCE):
        part = sums.part(begin, begin + _AT_ONCE)
        columns = (part.values_of(metric) for metric in metrics)
        yield list(map(encode, map(_element_type(metrics), *columns)))


def _members(sums: Sums, metrics: tuple[Metric, ...]) -> Iterator[bytes]:
    """The elements one by one, each under its last key, which is an id."""
    begin = 0
    for elements in _elements(sums, metrics):
        ids = sums.keys[next(reversed(sums.keys))][begin : begin + _AT_ONCE].tolist()
        yield from [b'"%d":%s' % each for each in zip(ids, elements, strict=True)]
        begin += _AT_ONCE


def _object(members: Iterator[bytes], count: int) -> Iterator[bytes]:
    """A JSON object of the next members, of the given number."""
    yield b"{"
    for begin in range(0, count, _AT_ONCE):
        yield (b"," if begin else b"") + b",".join(islice(members, min(_AT_ONCE, count - begin)))
    yield b"}"


def _counts(sums: Sums, prefix: tuple[By, ...], number: int) -> list[int]:
    """The number of groups in each interval, or in the whole."""
    return np.bincount(sums.keys[prefix[0]], minlength=number).tolist() if prefix else [len(sums)]


def _totals(finest: Sums, metrics: tuple[Metric, ...], prefix: tuple[By, ...], number: int) -> Iterator[bytes]:
    """The metrics of each interval, or of the whole; zeros where there are no segments."""
    sums = finest.rolled_up(prefix)
    elements = chain.from_iterable(_elements(sums, metrics))
    zeros = msgspec.json.encode(_element_type(metrics)(*[0] * len(metrics)))
    return (next(elements) if count else zeros for count in _counts(sums, prefix, number))


def _cells(sums: Sums, metric: Metric) -> Sequence[object]:
    values = sums.values_of(metric)
    return [None if value == NOTHING else value for value in values] if metric.per else values


def _rfc_3339(millis: int, zone: ZoneInfo) -> str:
    """A time in RFC 3339, at the offset that the zone has then."""
    minutes = int((local(millis, zone).utcoffset() or timedelta()).total_seconds()) // 60
    sign = "-" if minutes < 0 else "+"
    return str(Moment(millis, f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}" if minutes else "Z"))
