"""`GET …/report`: flat rows of every metric, for spreadsheets and dashboards (http-api.md 7)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from datetime import date
from typing import Any, Final, cast
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get

from handletime.answers.flat import FORMATS, MEDIA_TYPES, Format, Namer, Shape, in_small, written
from handletime.answers.intervals import UNITS, Interval, begin_of_day
from handletime.answers.periods import (
    COMPARISONS,
    PERIODS,
    Window,
    compare_of,
    comparison_named,
    period_named,
    window_of,
)
from handletime.answers.report import (
    DIMENSIONS,
    INTERVALS_MAX,
    REPORTED,
    ROWS_MAX,
    Cut,
    Filters,
    Question,
    Report,
    TooManyRows,
    chosen,
    question_of,
)
from handletime.api.answer import Answer
from handletime.api.csv_table import file_name
from handletime.api.errors import BadRequest
from handletime.api.negotiation import named
from handletime.api.operations import EARLIEST, a_zone
from handletime.api.parameters import (
    ALL,
    Moment,
    Parameter,
    Query,
    Schema,
    Wrong,
    a_choice,
    a_number,
    a_text,
    a_time,
    between,
    integer,
    interval_of,
    moment_of,
    some_choices,
    some_ids,
)
from handletime.api.service import HttpRequest, InPath, TheService, query_of
from handletime.clock import DAY
from handletime.targets.targets import NO_TARGETS, AccountTargets

_DEFAULT_SPAN: Final = DAY
INTERVAL_MIN: Final = 5
INTERVAL_MAX: Final = 1440
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _moment_or_day(text: str) -> Moment | date:
    """A moment, or a date. Raises Wrong."""
    if _DAY.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    try:
        return moment_of(text)
    except Wrong as error:
        raise Wrong(f"{error}, or a date (2026-11-20)") from error


def _a_moment_or_day(name: str, meaning: str) -> Parameter[Moment | date | None]:
    schema = a_time(name, meaning).schema
    schemas = [*cast("list[Schema]", schema["anyOf"]), {"type": "string", "format": "date"}]
    return Parameter(name, meaning, None, _moment_or_day, {"anyOf": schemas})


def _interval(text: str) -> Interval:
    """Minutes, or a unit of the calendar. Raises Wrong."""
    minutes = f"a number of minutes, or {', '.join(UNITS[:-1])} or {UNITS[-1]}"
    return interval_of(text, UNITS, minutes, INTERVAL_MIN, INTERVAL_MAX)


FROM: Final = _a_moment_or_day("from", "Segments that ended from this time on; a date begins at its midnight in `tz`.")
TO: Final = _a_moment_or_day("to", "… and before this one; now where it is absent or in the future.")
PERIOD: Final = a_choice("period", "Instead of `from` and `to`: a window by the clock of `tz`.", "", PERIODS)
ZONE: Final = a_zone("tz", "Whose clock dates, periods, intervals and the times of the answer mean.")
BY: Final = some_choices(
    "by", "What to tell apart, in any order; all together where it is absent.", list(DIMENSIONS), none=True
)
INTERVAL: Final[Parameter[Interval | None]] = Parameter(
    "interval",
    "Also cuts the time: in so many minutes by the clock, hours, days, weeks or months.",
    None,
    _interval,
    {
        "anyOf": [
            {"type": "integer", "minimum": INTERVAL_MIN, "maximum": INTERVAL_MAX},
            {"type": "string", "enum": list(UNITS)},
        ]
    },
)
SKILL_IDS: Final = some_ids("skillIds", "Only these skills.")
AGENT_IDS: Final = some_ids("agentIds", "Only these agents.")
GROUP_IDS: Final = some_ids("groupIds", "Only segments of these agent groups.")
SOURCE: Final = a_text("source", "Only segments of conversations that started there, in any letter case.")
USER_TYPE: Final = a_choice("userType", "Only segments of human agents or of bots.", ALL, ("human", "bot", ALL))
METRICS: Final = some_choices(
    "metrics", "Only these metrics, and the counts and sums that they are made of.", list(REPORTED)
)
COMPARE: Final = a_choice(
    "compare",
    "Adds to each metric its value in the window before, on the same days one, four or 52 weeks before, or on the same "
    "dates of the month before.",
    "",
    COMPARISONS,
)
FILL: Final = a_choice("fill", "Gives each combination a row in each interval, also without segments.", "", ("zero",))
LIMIT: Final[Parameter[int | None]] = Parameter(
    "limit",
    "The most rows of the answer.",
    None,
    lambda text: between(integer(text), 1, ROWS_MAX),
    {"type": "integer", "minimum": 1, "maximum": ROWS_MAX},
)
OFFSET: Final = a_number("offset", "The rows before the first one of the answer.", 0, least=0, most=ROWS_MAX)
FORMAT: Final = a_choice("format", "The form of the answer; before what `Accept` says.", "", FORMATS)
PARAMETERS: Final = (
    *(FROM, TO, PERIOD, ZONE, BY, INTERVAL, SKILL_IDS, AGENT_IDS, GROUP_IDS, SOURCE, USER_TYPE, METRICS),
    *(COMPARE, FILL, LIMIT, OFFSET, FORMAT),
)


class FlatRow(msgspec.Struct, frozen=True):
    """A row: the keys that were asked for, then the chosen metrics. What there is nothing of is null."""


@get("/api/account/{account:str}/report", sync_to_thread=True, name="report")
def report(request: HttpRequest, service: TheService, account: InPath) -> Response[Any]:
    """Flat rows of every metric, by what is asked for."""
    reader = service.reader(request, account, "operations")
    query = query_of(request)
    form = form_of(query, request.headers.get("accept", ""))
    question = read(query, service.clock.now(), service.targets.of(unquote(account)))
    labels = service.labels
    tag = _tag(reader.state(), labels.state(), question, form)
    # Of a limited key an ETag would tell when others work: it has none.
    tagged = {"ETag": tag} if reader.scope.is_whole else {}
    if tagged and {tag, "*"} & _tags(request.headers.get("if-none-match", "")):
        return Response(None, status_code=304, headers={"ETag": tag, "Vary": "Accept"})
    namer: Namer | None = labels.of(unquote(account)).name if labels.are_given else None
    headers = {**tagged, "Vary": "Accept"}
    if form != "json":
        name = file_name(unquote(account), "report", question.of.start, question.of.end, form)
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    answer = Answer(request, "identity" if form in _PACKED else None, reader.deadline)
    try:
        with ExitStack() as held:
            found = Report(held.enter_context(reader.snapshot()), question, answer.reserve)
            pieces = written(reader.deadline.over(in_small(found.rows())), Shape(question, namer), form)
            if _is_sent_while_made(found, question, form):
                found.check()
                return answer.growing(_holding(held.pop_all(), pieces), MEDIA_TYPES[form], headers)
            for piece in pieces:
                answer.add(piece)
    except TooManyRows as error:
        raise BadRequest([f"answer: {error}"]) from error
    return answer.response(MEDIA_TYPES[form], {**headers, "X-Total-Count": str(found.counted)})


_PACKED: Final = frozenset({"parquet", "xlsx"})
"""Forms that are compressed already."""


def _is_sent_while_made(found: Report, question: Question, form: Format) -> bool:
    """Whether an answer begins before all rows are known, and so counted. A workbook is made at its end anyway."""
    asks_for_part = question.limit is not None or question.offset > 0
    return not asks_for_part and question.before is None and form != "xlsx" and found.is_long


def _holding(held: ExitStack, pieces: Iterator[bytes]) -> Generator[bytes, None, None]:
    """The pieces, for which something is held until they end."""
    with held:
        yield from pieces


def form_of(query: Query, accept: str) -> Format:
    """What `format` says, else the type that `Accept` prefers among ours, else JSON."""
    given = query.get(FORMAT)
    types = named(accept)
    preferred: Format = max(FORMATS, key=lambda each: types.get(MEDIA_TYPES[each], 0.0))  # the first of equals
    return next((each for each in FORMATS if each == given), preferred)


def read(query: Query, now: int, targets: AccountTargets = NO_TARGETS) -> Question:
    """What a query asks for of an account with these targets. Raises BadRequest."""
    zone, interval = query.get(ZONE), query.get(INTERVAL)
    window = _window(query, now, zone)
    cut = Cut(window, interval, zone)
    if query.is_good((INTERVAL,)) and cut.is_too_fine:
        query.fault(INTERVAL, f"must not cut the time in more than {INTERVALS_MAX:,}")
    source, user_type = query.get(SOURCE), query.get(USER_TYPE)
    skills, agents, groups = (_listed(query.get(ids)) for ids in (SKILL_IDS, AGENT_IDS, GROUP_IDS))
    filters = Filters(
        skills,
        agents,
        groups,
        source=source if source and source.strip().lower() != ALL else None,
        user_type=None if user_type == ALL else user_type,
    )
    by = [column for name, column in DIMENSIONS.items() if name in query.get(BY)]
    compare, fill, offset, limit = query.get(COMPARE), query.get(FILL), query.get(OFFSET), query.get(LIMIT)
    metrics = chosen(query.get(METRICS) if query.has(METRICS) else None, levels=bool(targets))
    query.check()
    meant = compare_of(comparison_named(compare), period_named(query.get(PERIOD)))
    question = question_of(cut, filters, by, metrics, compare=meant)
    return question._replace(fill=bool(fill), offset=offset, limit=limit, targets=targets)


def _window(query: Query, now: int, zone: ZoneInfo) -> Window:
    """The window that is asked for. Faults are noted in the query."""
    period = period_named(query.get(PERIOD))
    start, end = query.get(FROM), query.get(TO)
    if period is not None:
        for parameter in (FROM, TO):
            if query.has(parameter):
                query.fault(parameter, "must not be given together with period")
        return window_of(period, now, zone)
    to = now if end is None else min(_millis(end, zone), now)
    begin = to - _DEFAULT_SPAN if start is None else _millis(start, zone)
    if begin > to and query.is_good((FROM, TO)):
        query.fault(FROM if query.has(FROM) else TO, "must not be after to, nor in the future")
    if min(begin, to) < EARLIEST:
        query.fault(FROM if query.has(FROM) else TO, "is too early: the window must begin after 0001-01-09")
    if not query.is_good((FROM, TO)):
        return Window(now, now)
    return Window(begin, to)


def _listed(ids: frozenset[int] | None) -> list[int] | None:
    return None if ids is None else sorted(ids)


def _millis(given: Moment | date, zone: ZoneInfo) -> int:
    return begin_of_day(given, zone) if isinstance(given, date) else given.millis


def _tag(state: str, names: str, question: Question, form: Format) -> str:
    """The ETag of an answer: of the state of the data, and all that was asked. Compressed or not, it is the same."""
    plain = question._replace(zone=question.zone.key, targets=question.targets.state)  # type: ignore[arg-type]
    told = repr((state, names, form, plain))
    return f'W/"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'


def _tags(header: str) -> set[str]:
    """The tags of `If-None-Match` as weak ones (RFC 9110 13.1.2), or `*`."""
    tags = (tag.strip() for tag in header.split(","))
    return {tag if tag == "*" else f"W/{tag.removeprefix('W/')}" for tag in tags if tag}
