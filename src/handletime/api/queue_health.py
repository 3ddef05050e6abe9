"""`GET …/msgqueuehealth/current` and `…/msgqueuehealth`: who waits now, and how many waited (http-api.md 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import chain, islice
from typing import Any, Final, cast
from urllib.parse import unquote

import msgspec
import numpy as np
import numpy.typing as npt
from litestar import Response, get

from handletime.answers.live import OpenConversation, waits_judged
from handletime.answers.queue_health import COUNTS, NOTHING, WAITS, Queue, QueueOver, open_skills, queue_now, queue_over
from handletime.answers.sums import By
from handletime.api.answer import Answer
from handletime.api.csv_table import csv_answer, file_name
from handletime.api.errors import JSON
from handletime.api.negotiation import FORMAT, table_or_json
from handletime.api.operations import (
    FROM,
    FROM_MILLIS,
    INTERVAL,
    SKILL_IDS,
    TIMEFRAME,
    TO,
    TO_MILLIS,
    ZONE,
    listed,
    read_version,
    read_window,
)
from handletime.api.parameters import Parameter, Query, a_choice, some_choices, some_ids
from handletime.api.ports import Reader
from handletime.api.series import GROUP_BYTES, METRICS_DATA, Window, json_object, series, table_of
from handletime.api.service import HttpRequest, InPath, TheService, query_of
from handletime.clock import DAY
from handletime.targets.targets import AccountTargets

OVERDUE: Final = ("overdueConversationsInQueue", "overdueConversationsAssigned", "overdueConversationsTotal")
"""Conversations past due by their targets (rules.md 5); -1: none are set."""
OPENED_LATELY: Final = 4 * DAY
"""How long ago a conversation may have been opened to be among them."""
VERSION: Final = a_choice("v", "The version of the API.", "1", ("1", "2"), required=True)
BREAKDOWN: Final = a_choice("breakdown", "Whether there is an element for each skill.", "true", ("true", "false"))
METRICS: Final = replace(
    some_choices(
        "metrics", "Groups of metrics; `queue` and `waittimes` where absent.", ("queue", "waittimes", "overdue")
    ),
    default=frozenset(("queue", "waittimes")),
)
WITH_OVERDUE: Final = a_choice("overdueConversations", "`true` adds the group `overdue`.", "false", ("true", "false"))
GROUP_IDS: Final = some_ids("groupIds", "Filters `overdueConversationsAssigned` only.")
NOW_PARAMETERS: Final[Sequence[Parameter[Any]]] = (
    *(VERSION, SKILL_IDS, BREAKDOWN, METRICS, WITH_OVERDUE, GROUP_IDS, FORMAT),
    *(replace(each, meaning="With `v=2` taken, and of no effect.") for each in (FROM_MILLIS, TO_MILLIS)),
)
PARAMETERS: Final = (TIMEFRAME, VERSION, INTERVAL, FROM, TO, FROM_MILLIS, TO_MILLIS, ZONE, FORMAT, SKILL_IDS)
_AT_ONCE: Final = 1000


class QueueElement(msgspec.Struct, frozen=True):
    """Counts and waits of a queue, under their names; waits are milliseconds, and -1 over nothing."""


class QueueData(msgspec.Struct, frozen=True, rename="camel"):
    """The queues of a timeframe or of now: by skill, and in all."""

    skills_metrics: dict[str, QueueElement] | msgspec.UnsetType
    metrics_total: QueueElement


class QueueInterval(msgspec.Struct, frozen=True, rename="camel"):
    """One interval and its start."""

    timestamp: int
    metrics_data: QueueData


class QueueSeries(msgspec.Struct, frozen=True, rename="camel"):
    """Intervals, newest first, and the whole timeframe."""

    metrics_by_intervals: list[QueueInterval]
    timeframe_summary: QueueData


@cache
def _type_of(names: tuple[str, ...]) -> type[QueueElement]:
    fields = [(name, int | float) for name in names]
    made = msgspec.defstruct("QueueElement", fields, bases=(QueueElement,), frozen=True, gc=False)
    return cast("type[QueueElement]", made)


def _elements(queue: Queue, names: tuple[str, ...]) -> Iterator[list[bytes]]:
    """The groups as JSON, some at a time."""
    encode, made = msgspec.json.Encoder().encode, _type_of(names)
    for begin in range(0, len(queue), _AT_ONCE):
        columns = [queue.values[name][begin : begin + _AT_ONCE].tolist() for name in names]
        yield list(map(encode, map(made, *columns)))


def _members(queue: Queue, names: tuple[str, ...]) -> Iterator[bytes]:
    """The groups one by one, each under its skill."""
    return map(
        b'"%d":%s'.__mod__, zip(queue.skills.tolist(), chain.from_iterable(_elements(queue, names)), strict=True)
    )


# --- now -------------------------------------------------------------------------------------------------------------


@get("/operations/api/account/{account:str}/msgqueuehealth/current", sync_to_thread=True, name="msgqueuehealth-current")
def current_queue_health(request: HttpRequest, service: TheService, account: InPath) -> Response[Any]:
    """Who waits now by skill, and in all."""
    reader = service.reader(request, account, "operations", without_agent="waits in the queue")
    query = query_of(request)
    form = table_or_json(query, request.headers.get("accept", ""))
    read_version(query, VERSION)
    for millis in (FROM_MILLIS, TO_MILLIS):
        query.get(millis)
    asked, by_skill = query.get(SKILL_IDS), query.get(BREAKDOWN) == "true"
    names = _chosen(query)
    groups = query.get(GROUP_IDS)
    query.check()
    reader.open_conversations().close()  # Raises NotHere where what is open now is not known.
    now = service.clock.now()
    answer = Answer(request, deadline=reader.deadline)
    with reader.snapshot() as snapshot:
        skills, whole = queue_now(snapshot, now, listed(asked))
        shown = open_skills(snapshot) if asked is None else sorted(asked)
    skills = _with_all(skills, shown)
    targets = service.targets.of(unquote(account))
    if targets and OVERDUE[0] in names:
        found = service.open_lately(unquote(account), reader).conversations
        overdue = _overdue(found, targets, now, skills.skills, groups)
    else:
        overdue = np.full((3, len(skills)), NOTHING, np.int64)
    skills.values.update(zip(OVERDUE, overdue, strict=True))
    in_all = overdue.sum(1, keepdims=True) if targets else np.full((3, 1), NOTHING, np.int64)
    whole.values.update(zip(OVERDUE, in_all, strict=True))
    skills.values["time"] = np.full(len(skills), now, np.int64)
    if form == "csv":
        return _current_table(answer, account, now, skills if by_skill else whole, names, by_skill=by_skill)
    answer.add(b"{")
    if by_skill:
        answer.add(b'"skillsMetrics":')
        for piece in json_object(_members(skills, (*names, "time")), len(skills)):
            answer.add(piece)
        answer.add(b",")
    (total,) = chain.from_iterable(_elements(whole, names))
    answer.add(b'"metricsTotal":%s}' % total)
    return answer.response(JSON, {"Vary": "Accept"})


def _overdue(
    conversations: Iterable[OpenConversation],
    targets: AccountTargets,
    now: int,
    skills: npt.NDArray[np.int64],
    groups: frozenset[int] | None,
) -> npt.NDArray[np.int64]:
    """How many conversations are past due in the queue, how many assigned ones, and both, by skill: 3 rows."""
    counts = np.zeros((3, len(skills)), np.int64)
    places = {skill: place for place, skill in enumerate(skills.tolist())}
    for each in conversations:
        is_meant = each.in_queue or groups is None or each.group in groups
        if not is_meant or now - each.opened > OPENED_LATELY or each.skill not in places:
            continue
        if any(wait.verdict == "pastDue" for wait in waits_judged(each, targets, now)):
            counts[[0 if each.in_queue else 1, 2], places[each.skill]] += 1
    return counts


def _chosen(query: Query) -> tuple[str, ...]:
    """The names of the metrics that are asked for."""
    groups = query.get(METRICS) | (frozenset(["overdue"]) if query.get(WITH_OVERDUE) == "true" else frozenset())
    of = {"queue": COUNTS, "waittimes": WAITS, "overdue": OVERDUE}
    return tuple(name for group, names in of.items() if group in groups for name in names)


def _with_all(queue: Queue, shown: Sequence[int]) -> Queue:
    """The groups, and those of skills that are to be shown though nobody waits there."""
    skills = np.unique(np.concatenate([queue.skills, np.asarray(shown, np.int64)]))
    places = np.searchsorted(skills, queue.skills)
    values = {}
    for name, each in queue.values.items():
        nothing = 0 if name in COUNTS and name != COUNTS[-1] else NOTHING
        values[name] = np.full(len(skills), nothing, each.dtype)
        values[name][places] = each
    return Queue(skills, values)


def _current_table(
    answer: Answer, account: str, now: int, queue: Queue, names: tuple[str, ...], *, by_skill: bool
) -> Response[Any]:
    rows = zip(*([queue.skills.tolist()] if by_skill else []), *(_cells(queue, name) for name in names), strict=True)
    columns = [*(["skillId"] if by_skill else []), *names]
    file = file_name(unquote(account), "msgqueuehealth-current", now, now)
    return csv_answer(answer, columns, rows, file_name=file, total=len(queue))


def _cells(queue: Queue, name: str, begin: int = 0, end: int | None = None) -> list[object]:
    """A column as a table has it: what is over nothing, or not known, is empty."""
    values = queue.values[name][begin:end].tolist()
    return [None if value == NOTHING else value for value in values]


# --- intervals -------------------------------------------------------------------------------------------------------


@get("/operations/api/account/{account:str}/msgqueuehealth", sync_to_thread=True, name="msgqueuehealth")
def queue_health(request: HttpRequest, service: TheService, account: InPath) -> Response[Any]:
    """How many waited on average, and how long, by skill and, where asked for, interval."""
    reader = service.reader(request, account, "operations", without_agent="waits in the queue")
    query = query_of(request)
    form = table_or_json(query, request.headers.get("accept", ""))
    now = service.clock.now()
    window = read_window(query, now, VERSION)
    skills = listed(query.get(SKILL_IDS))
    query.check()
    answer = Answer(request, deadline=reader.deadline)
    over = _over(answer, reader, window.bounds, skills, until_now=window.end == now)
    if window.in_intervals:
        window, over = window.backwards(), over.backwards()
    if form == "csv":
        return _table(answer, account, window, over)
    return series(answer, window, partial(_written, over, skills is not None), METRICS_DATA)


def _over(
    answer: Answer, reader: Reader, bounds: Sequence[int], skills: Sequence[int] | None, *, until_now: bool
) -> QueueOver:
    """Raises TooMany, BadRequest where there is no memory for it."""
    most = answer.limit // GROUP_BYTES
    with reader.snapshot() as snapshot:
        try:
            over = queue_over(snapshot, bounds, skills, most=most, until_now=until_now)
        except OverflowError:
            answer.reserve(answer.limit + 1)
            raise
    answer.reserve(len(over.groups) * GROUP_BYTES)
    return over


_NAMES: Final = (*COUNTS, *WAITS)


def _written(over: QueueOver, only_some: bool, prefix: tuple[By, ...], number: int) -> Iterator[Iterator[bytes]]:
    """The fields of `QueueData`. With `only_some` skills asked for, nothing found is 0 everywhere."""
    queue, whole = (over.groups, over.intervals) if prefix else (over.skills, over.whole)
    counts = over.counts.tolist() if prefix else [len(queue)]
    members, totals = _members(queue, _NAMES), chain.from_iterable(_elements(whole, _NAMES))
    zeros = msgspec.json.encode(_type_of(_NAMES)(*[0] * len(_NAMES)))

    def pieces(count: int, total: bytes) -> Iterator[bytes]:
        yield b'"skillsMetrics":'
        yield from json_object(members, count)
        yield b',"metricsTotal":%s' % (total if count or not only_some else zeros)

    return map(pieces, islice(counts, number), totals)


def _table(answer: Answer, account: str, window: Window, over: QueueOver) -> Response[Any]:
    queue = over.groups if window.in_intervals else over.skills
    places = np.repeat(np.arange(len(over.counts)), over.counts)

    def columns(begin: int, end: int) -> tuple[list[int], list[Sequence[object]]]:
        cells = [_cells(queue, name, begin, end) for name in _NAMES]
        return places[begin:end].tolist(), [queue.skills[begin:end].tolist(), *cells]

    return table_of(answer, account, "msgqueuehealth", window, ["skillId", *_NAMES], columns, len(queue))
