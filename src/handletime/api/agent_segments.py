"""`GET …/agent-segments`: ended segments of human agents, page by page (http-api.md 2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import quote, unquote, urlencode

import msgspec
from litestar import Response, get

from handletime.answers.pages import LARGEST_FIRST, Segment, Sort, SortKey, rows_of
from handletime.answers.selection import Selection, one
from handletime.answers.words import rfc_3339
from handletime.api.answer import Answer
from handletime.api.csv_table import ROWS_MAX, csv_answer, file_name
from handletime.api.errors import JSON
from handletime.api.negotiation import FORMAT, Form, table_or_json
from handletime.api.parameters import Parameter, Query, Wrong, a_number, a_text, an_id
from handletime.api.service import SOURCE, HttpRequest, InPath, TheService, query_of
from handletime.api.timeframe import PARAMETERS as TIMES
from handletime.api.timeframe import Timeframe, TimeframeShown, read_timeframe
from handletime.events.model import INTEGER_MAX
from handletime.segments.rules import END_REASONS

LIMIT_MAX: Final = 500
_LIMIT_MEANING: Final = "So many segments at most; in JSON no more than 500."
LIMIT: Final = a_number("limit", _LIMIT_MEANING, 100, least=1, most=ROWS_MAX)
_LIMIT_OF: Final = {"json": a_number("limit", _LIMIT_MEANING, 100, least=1, most=LIMIT_MAX), "csv": LIMIT}
OFFSET: Final = a_number("offset", "So many segments of the order are left out first.", 0, least=0, most=INTEGER_MAX)
CONVERSATION: Final = a_text("ConversationId", "Only segments of this conversation.")
AGENT: Final = an_id("AgentId", "Only segments of this agent.")
EMPLOYEE: Final = a_text("EmployeeId", "Only segments of this employee.")
SKILL: Final = an_id("SkillId", "Only segments of this skill.")
GROUP: Final = an_id("GroupId", "Only segments of this group.")
FILTERS: Final[tuple[Parameter[Any], ...]] = (CONVERSATION, AGENT, EMPLOYEE, SKILL, GROUP)
SORT_KEYS: Final[tuple[SortKey, ...]] = ("Date", "Conversation", "Agent", "Employee", "Skill", "Group")
"""Those of LivePerson's method; the page has more."""


def _sort(keys: Sequence[SortKey], text: str) -> Sort:
    """A key, and `:asc` or `:desc`. Raises Wrong."""
    key, colon, direction = text.strip().lower().partition(":")
    known: dict[str, SortKey] = {name.lower(): name for name in keys}
    if key not in known or (colon and direction not in ("asc", "desc")):
        raise Wrong(f"must be one of {', '.join(keys)}, with or without :asc or :desc")
    falls = direction == "desc" or (not direction and known[key] in LARGEST_FIRST)
    return Sort(known[key], falls)


def sort_by(*keys: SortKey) -> Parameter[Sort]:
    """The parameter of an order by one of these keys."""
    return Parameter(
        "sort",
        "The order; ties by end, newest first, then by segmentId. By Date the newest come first, else ascending.",
        Sort(),
        partial(_sort, keys),
        {"type": "string", "enum": [key + way for key in keys for way in ("", ":asc", ":desc")], "default": "Date"},
        aliases=("sortType",),
    )


SORT: Final = sort_by(*SORT_KEYS)
PARAMETERS: Final[tuple[Parameter[Any], ...]] = (SOURCE, LIMIT, OFFSET, SORT, *TIMES, *FILTERS, FORMAT)


class SegmentShown(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One segment; `employeeId` is absent where it is unknown."""

    segment_id: str
    start_millis: int = msgspec.field(name="startTimeL")
    end_millis: int = msgspec.field(name="endTimeL")
    conversation_id: str
    agent_id: int
    employee_id: str | msgspec.UnsetType
    skill_id: int
    group_id: int
    end_reason: Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(END_REASONS)})]
    total_handle_time_millis: Annotated[int, msgspec.Meta(ge=0)]
    end_time: str
    start_time: str


Rel = Literal["self", "next", "previous", "last", "first"]


class Reference(msgspec.Struct, frozen=True):
    """A link to a page."""

    rel: Rel
    href: str


class Pagination(msgspec.Struct, frozen=True):
    """How many segments there are in all, and where the other pages are."""

    count: int
    references: list[Reference]


class AgentSegments(msgspec.Struct, frozen=True):
    """One page."""

    timeframe: TimeframeShown
    segments: list[SegmentShown]
    pagination: Pagination


class SegmentsRequest(NamedTuple):
    """What a request asks for."""

    timeframe: Timeframe
    wanted: Selection
    sort: Sort
    offset: int
    limit: int
    parameters: dict[str, object | None]
    """All of it again by the parameters' names, for links; None where there is nothing to say."""


def read(query: Query, now: int, form: Form) -> SegmentsRequest:
    """What a query asks for. Raises BadRequest."""
    source = query.get(SOURCE)
    start, end = timeframe = read_timeframe(query, now)
    sort, offset, limit = query.get(SORT), query.get(OFFSET), query.get(_LIMIT_OF[form])
    wanted = Selection(
        (start.millis, end.millis),
        conversation=query.get(CONVERSATION),
        agents=one(query.get(AGENT)),
        employee=query.get(EMPLOYEE),
        skills=one(query.get(SKILL)),
        groups=one(query.get(GROUP)),
        user_type="human",
    )
    parameters = {"from": start, "to": end, "offset": offset, "limit": limit, "source": source, "sort": sort_text(sort)}
    parameters |= {each.name: query.get(each) for each in FILTERS}
    parameters["format"] = form if form == "csv" else query.get(FORMAT) or None
    query.check()
    return SegmentsRequest(timeframe, wanted, sort, offset, limit, parameters)


def sort_text(sort: Sort) -> str:
    """An order as the value of `sort`; the direction is left out where it is the key's natural one."""
    if sort.descending == (sort.key in LARGEST_FIRST):
        return sort.key
    return f"{sort.key}:{'desc' if sort.descending else 'asc'}"


@get("/api/account/{account:str}/agent-segments", sync_to_thread=True, name="agent-segments")
def agent_segments(request: HttpRequest, service: TheService, account: InPath) -> Response[Any]:
    """Ended segments of human agents, page by page."""
    reader = service.reader(request, account, "handle-time")
    query = query_of(request)
    form = table_or_json(query, request.headers.get("accept", ""))
    asked = read(query, service.clock.now(), form)
    url = service.origin(request) + str(request.scope["path"])
    with reader.snapshot() as connection:
        total, rows = rows_of(connection, asked.wanted, asked.sort, offset=asked.offset, limit=asked.limit)
        links = {rel: _link(url, asked, at) for rel, at in pages(asked.offset, asked.limit, total).items()}
        if form == "csv":
            name = file_name(unquote(account), "agent-segments", asked.wanted.start, asked.wanted.end)
            answer, cells, next_ = Answer(request, deadline=reader.deadline), map(_csv_row, rows), links.get("next")
            return csv_answer(answer, CSV_NAMES, cells, file_name=name, total=total, next_page=next_)
        segments = list(map(shown, rows))
    references = [Reference(rel, href) for rel, href in links.items()]
    page = AgentSegments(asked.timeframe.shown(), segments, Pagination(total, references))
    return Response(msgspec.json.encode(page), media_type=JSON, headers={"Vary": "Accept"})


def shown(row: Segment) -> SegmentShown:
    """A segment as the answer shows it."""
    return SegmentShown(
        segment_id=row.segment_id,
        start_millis=row.start,
        end_millis=row.end,
        conversation_id=row.conversation,
        agent_id=row.agent,
        employee_id=msgspec.UNSET if row.employee is None else row.employee,
        skill_id=row.skill,
        group_id=row.group,
        end_reason=row.end_reason,
        total_handle_time_millis=row.handle_time,
        end_time=rfc_3339(row.end),
        start_time=rfc_3339(row.start),
    )


CSV_NAMES: Final = (
    "segmentId",
    "conversationId",
    "agentId",
    "employeeId",
    "skillId",
    "groupId",
    "startTimeL",
    "endTimeL",
    "endReason",
    "totalHandleTimeMillis",
    "endTime",
    "startTime",
)


def _csv_row(row: Segment) -> list[object]:
    cells: dict[str, object] = msgspec.to_builtins(shown(row))
    if not row.focus_data:
        cells["totalHandleTimeMillis"] = None  # unknown; only the JSON has LivePerson's 0
    return [cells.get(name) for name in CSV_NAMES]


class At(NamedTuple):
    """The offset of a page, and the most segments that it may have."""

    offset: int
    limit: int


def pages(offset: int, limit: int, count: int) -> dict[Rel, At]:
    """The page at an offset and the pages around it, given the number of all segments (http-api.md 2).

    The page before is the last one where the offset lies beyond it.
    """
    last = _last(offset, limit, count)
    found: dict[Rel, At] = {"self": At(offset, limit)}
    if offset + limit < count:
        found["next"] = At(offset + limit, limit)
    if offset > 0:
        found["previous"] = At(max(0, offset - limit), min(limit, offset)) if offset < count else last
    return {**found, "last": last, "first": At(0, limit)}


def _last(offset: int, limit: int, count: int) -> At:
    """The page at the largest offset below the count that lies whole pages from this one; at 0 where there is none."""
    phase = offset % limit
    last = phase + (count - 1 - phase) // limit * limit if count > phase else 0
    return At(last, min(limit, count - last) or limit)


def _link(url: str, asked: SegmentsRequest, at: At) -> str:
    given = {name: value for name, value in (asked.parameters | at._asdict()).items() if value is not None}
    return f"{url}?{urlencode(given, quote_via=quote, safe='')}"
