"""`GET` and `POST …/msgconversation`: closed conversations by agent and by skill (http-api.md 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

import msgspec
from litestar import Response, route
from litestar.enums import HttpMethod

from handletime.answers.closes import closes_of
from handletime.answers.intervals import clock_bounds
from handletime.answers.registry import CLOSE_METRICS
from handletime.answers.selection import Selection
from handletime.answers.sums import By, Sums
from handletime.api.answer import Answer
from handletime.api.body import receive
from handletime.api.errors import BadRequest
from handletime.api.negotiation import FORMAT, table_or_json
from handletime.api.operations import FROM, INTERVAL, TIMEFRAME, TO, VERSION, ZONE, listed, read_window
from handletime.api.parameters import Query, some_ids
from handletime.api.ports import Reader
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
from handletime.api.service import HttpRequest, InPath, Service, TheService, query_of
from handletime.api.trace import trace_of
from handletime.clock import MINUTE

BUCKET: Final = 5 * MINUTE
"""What LivePerson counts time by: the window begins with one, and an interval's timestamp ends one."""
BODY_MAX: Final = 64 << 10
AGENT_IDS: Final = some_ids("agentIds", "Groups by these agents, and counts only closes while one of them had it.")
SKILL_IDS: Final = some_ids("skillIds", "Groups by these skills and, within each, by agent; counts only theirs.")
GROUP_IDS: Final = some_ids("groupIds", "Only closes while an agent of these groups had the conversation.")
PARAMETERS: Final = (TIMEFRAME, VERSION, INTERVAL, FROM, TO, ZONE, FORMAT, AGENT_IDS, SKILL_IDS, GROUP_IDS)


class ClosesPerAgent(msgspec.Struct, frozen=True, rename="camel"):
    """Elements by agent, and of all closes together, also those while nobody was assigned."""

    metrics_per_agent: dict[str, Element]
    metrics_totals: Element


class ClosesPerSkill(msgspec.Struct, frozen=True, rename="camel"):
    """Elements by skill and agent, and of all together."""

    metrics_per_skill: dict[str, ClosesPerAgent]
    metrics_totals: Element


class ConversationData(msgspec.Struct, frozen=True, rename="camel"):
    """The closes of a timeframe or an interval: by skill and by agent where ids were asked for, else their totals."""

    skills_metrics_per_agent: ClosesPerSkill | msgspec.UnsetType
    agents_metrics: ClosesPerAgent | msgspec.UnsetType
    metrics_totals: Element | msgspec.UnsetType


class ConversationInterval(msgspec.Struct, frozen=True, rename="camel"):
    """One interval and its end, rounded up to 5 minutes."""

    timestamp: int
    metrics_data: ConversationData


class ConversationSeries(msgspec.Struct, frozen=True, rename="camel"):
    """Intervals, oldest first, and the whole timeframe."""

    metrics_by_intervals: list[ConversationInterval]
    timeframe_summary: ConversationData


@route(
    "/operations/api/account/{account:str}/msgconversation",
    http_method=[HttpMethod.GET, HttpMethod.POST],
    status_code=200,
    name="msgconversation",
    request_max_body_size=None,
)
async def conversations(request: HttpRequest, service: TheService, account: InPath) -> Response[Any]:
    """Closed conversations in all, by agent or by skill and, where asked for, by interval.

    A POST may have parameters in a JSON object; they count before those of the query.
    """
    if request.method == HttpMethod.GET:
        return await asyncio.to_thread(_asked, request, service, account)
    reader = await asyncio.to_thread(_reader, request, service, account)
    share = trace_of(request.scope).share
    body = bytes(await receive(request, share, service.settings.body_idle_seconds, BODY_MAX))
    query = query_of(request)
    if body.strip():
        query.override(_fields(body))
    return await asyncio.to_thread(_answered, request, service, account, reader, query)


def _asked(request: HttpRequest, service: Service, account: str) -> Response[Any]:
    reader = _reader(request, service, account)
    return _answered(request, service, account, reader, query_of(request))


def _reader(request: HttpRequest, service: Service, account: str) -> Reader:
    return service.reader(request, account, "operations", without_agent="closed conversations")


def _fields(body: bytes) -> dict[str, str]:
    """The values of a JSON object: texts, integers or null, as texts. Raises BadRequest."""
    try:
        found = msgspec.json.decode(body, type=dict[str, str | int | float | None])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(["body: must be one JSON object, and its values texts or integers"]) from error
    return {name: "" if value is None else _text(value) for name, value in found.items()}


def _text(value: str | float) -> str:
    """A number as an integer, where it is one."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _answered(request: HttpRequest, service: Service, account: str, reader: Reader, query: Query) -> Response[Any]:
    form = table_or_json(query, request.headers.get("accept", ""))
    window = _in_buckets(query, read_window(query, service.clock.now()))
    selection = Selection(
        window.bounds,
        agents=listed(query.get(AGENT_IDS)),
        skills=listed(query.get(SKILL_IDS)),
        groups=listed(query.get(GROUP_IDS)),
    )
    levels = _Levels(query.has(SKILL_IDS), query.has(AGENT_IDS))
    query.check()
    by = keys_of(window, levels.keys)
    answer = Answer(request, deadline=reader.deadline)
    finest = finest_of(answer, reader, lambda snapshot, most: closes_of(snapshot, by, selection, most=most))
    if form == "csv":
        return table(answer, account, "msgconversation", window, finest, CLOSE_METRICS)
    return series(answer, window, partial(levels.written, finest), METRICS_DATA)


def _in_buckets(query: Query, asked: Window) -> Window:
    """The window from the beginning of its first bucket on, its intervals counted from its last bucket's end back.

    Only a window that `from` begins stays as it is: it is meant to the millisecond.
    """
    if query.causes:
        return asked
    start = asked.start if query.has(FROM) else asked.start // BUCKET * BUCKET
    interval, last = query.get(INTERVAL), _bucket_end(asked.end)
    if start >= asked.end or interval is None:
        bounds = [start, asked.end]
    elif isinstance(interval, int):
        inner = range(last - interval * MINUTE, start, -interval * MINUTE)
        bounds = [start, *reversed([border for border in inner if border < asked.end]), asked.end]
    else:
        bounds = clock_bounds(start, asked.end, interval, asked.zone)
    stamps = [_bucket_end(end) for end in bounds[1:]]
    return msgspec.structs.replace(asked, start=start, bounds=bounds, starts=bounds[:-1], stamps=stamps)


def _bucket_end(moment: int) -> int:
    return -(-moment // BUCKET) * BUCKET


class _Levels(msgspec.Struct, frozen=True):
    """The parts of an answer: by skill and agent, by agent, or the totals alone."""

    by_skill: bool
    by_agent: bool

    @property
    def keys(self) -> tuple[By, ...]:
        """The keys of the finest groups."""
        skill: tuple[By, ...] = ("skillId",) if self.by_skill else ()
        agent: tuple[By, ...] = ("assigned", "agentId") if self.by_skill or self.by_agent else ()
        return (*skill, *agent)

    def written(self, finest: Sums, prefix: tuple[By, ...], number: int) -> Iterator[Iterator[bytes]]:
        """The fields of `ConversationData`."""
        whole = list(totals(finest, CLOSE_METRICS, prefix, number))
        parts: list[Iterator[Iterator[bytes]]] = []
        if self.by_skill:
            parts.append(_skills_written(finest, prefix, whole))
        if self.by_agent:
            parts.append(_agents_written(finest, prefix, whole))
        if not parts:
            parts.append(iter([b'"metricsTotals":%s' % total]) for total in whole)

        def pieces(each: tuple[Iterator[bytes], ...]) -> Iterator[bytes]:
            for place, fields in enumerate(each):
                if place:
                    yield b","
                yield from fields

        return map(pieces, zip(*parts, strict=True))


def _agents_written(finest: Sums, prefix: tuple[By, ...], whole: list[bytes]) -> Iterator[Iterator[bytes]]:
    by_agent = finest.only("assigned", [1]).rolled_up((*prefix, "agentId"))
    agents = members(by_agent, CLOSE_METRICS)

    def pieces(count: int, total: bytes) -> Iterator[bytes]:
        yield b'"agentsMetrics":{"metricsPerAgent":'
        yield from json_object(agents, count)
        yield b',"metricsTotals":%s}' % total

    return map(pieces, counts(by_agent, prefix, len(whole)), whole)


def _skills_written(finest: Sums, prefix: tuple[By, ...], whole: list[bytes]) -> Iterator[Iterator[bytes]]:
    """Every skill has its totals, also one without any agent."""
    by_agent = finest.only("assigned", [1]).rolled_up((*prefix, "skillId", "agentId"))
    by_skill = finest.rolled_up((*prefix, "skillId"))
    agents, skills = members(by_agent, CLOSE_METRICS), members(by_skill, CLOSE_METRICS)
    agents_of = {key: run.stop - run.start for key, run in by_agent.runs((*prefix, "skillId"))}
    keys = (key for key, _ in by_skill.runs((*prefix, "skillId")))

    def pieces(count: int, total: bytes) -> Iterator[bytes]:
        yield b'"skillsMetricsPerAgent":{"metricsPerSkill":{'
        for place, key in enumerate(islice(keys, count)):
            name, _, element = next(skills).partition(b":")
            yield b'%s%s:{"metricsPerAgent":' % (b"," if place else b"", name)
            yield from json_object(agents, agents_of.get(key, 0))
            yield b',"metricsTotals":%s}' % element
        yield b'},"metricsTotals":%s}' % total

    return map(pieces, counts(by_skill, prefix, len(whole)), whole)
