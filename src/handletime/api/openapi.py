"""`/openapi.json` and `/docs`: what the methods take and give, made from the declarations that they run on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape
from typing import Any, Final, get_args

import msgspec
import pyarrow as pa
from litestar import Response, get

from handletime import __version__
from handletime.answers.flat import MEDIA_TYPES
from handletime.answers.queue_health import COUNTS, WAITS
from handletime.answers.registry import AGENT_METRICS, CLOSE_METRICS, SKILL_METRICS
from handletime.answers.report import PREVIOUS, REPORTED, number_type
from handletime.api import (
    agent_segments,
    breakdown,
    conversations,
    domains,
    due,
    errors,
    events,
    files,
    focus,
    health,
    operations,
    queue_health,
    report,
    sources,
    unit_files,
)
from handletime.api.csv_table import TYPE as CSV
from handletime.api.errors import JSON
from handletime.api.examples import Example, examples
from handletime.api.operations import INTERVAL_MIN
from handletime.api.parameters import Parameter
from handletime.deliveries.source import NAME
from handletime.events import model
from handletime.events.model import FIELDS, Field
from handletime.segments.explain import RULES, Explanation
from handletime.segments.rules import EFFECTS

Doc = dict[str, Any]


class Method(msgspec.Struct, frozen=True):
    """One method as clients see it. `answers` are content types with the type of what they hold; None is text."""

    id: str
    path: str
    summary: str
    answers: Mapping[str, object]
    permission: str | None = None
    parameters: Sequence[Parameter[Any]] = ()
    verb: str = "get"
    missing: bool = False
    """Whether it can answer 404."""
    varies: bool = False
    """Whether its answer's form depends on `Accept`."""
    tagged: bool = False
    """Whether its answer has an `ETag`, and it can answer 304."""

    @property
    def example(self) -> Example | None:
        """A request and what a server answered, where it answers in JSON."""
        return examples().get(self.id)


_ACCOUNT: Final = "/api/account/{accountId}"
_TABLE: Final[dict[str, object]] = {CSV: None}
METHODS: Final = (
    Method(
        "agentSegments",
        f"{_ACCOUNT}/agent-segments",
        "Ended segments of human agents, page by page",
        {JSON: agent_segments.AgentSegments, **_TABLE},
        "handle-time",
        agent_segments.PARAMETERS,
        varies=True,
    ),
    Method(
        "breakdown",
        f"{_ACCOUNT}/agent-segments/breakdown",
        "The files that hold the handle-time units of a timeframe",
        {JSON: breakdown.Breakdown},
        "handle-time",
        breakdown.PARAMETERS,
    ),
    Method(
        "breakdownFile",
        f"{_ACCOUNT}/agent-segments/files",
        "One file of handle-time units",
        {JSON: list[unit_files.Unit], files.GZIP_TYPE: None},
        "handle-time",
        files.PARAMETERS,
        missing=True,
        varies=True,
    ),
    Method(
        "agentOperations",
        f"/operations{_ACCOUNT}/msgagentsegments",
        "Metrics of agent segments by agent, skill and interval",
        {JSON: (operations.AgentData, operations.AgentSeries), **_TABLE},
        "operations",
        operations.AGENT_PARAMETERS,
        varies=True,
    ),
    Method(
        "skillOperations",
        f"/operations{_ACCOUNT}/msgskillsegments",
        "Metrics of skill segments by skill and interval",
        {JSON: (operations.SkillData, operations.SkillSeries), **_TABLE},
        "operations",
        operations.SKILL_PARAMETERS,
        varies=True,
    ),
    Method(
        "conversations",
        f"/operations{_ACCOUNT}/msgconversation",
        "Closed conversations: how many, by whom, and how long they had been open",
        {JSON: (conversations.ConversationData, conversations.ConversationSeries), **_TABLE},
        "operations",
        conversations.PARAMETERS,
        varies=True,
    ),
    Method(
        "conversationsPosted",
        f"/operations{_ACCOUNT}/msgconversation",
        "The same, with the parameters in a JSON object",
        {JSON: (conversations.ConversationData, conversations.ConversationSeries), **_TABLE},
        "operations",
        conversations.PARAMETERS,
        verb="post",
        varies=True,
    ),
    Method(
        "currentQueueHealth",
        f"/operations{_ACCOUNT}/msgqueuehealth/current",
        "Who waits in the queue now, by skill and in all",
        {JSON: queue_health.QueueData, **_TABLE},
        "operations",
        queue_health.NOW_PARAMETERS,
        missing=True,
        varies=True,
    ),
    Method(
        "queueHealth",
        f"/operations{_ACCOUNT}/msgqueuehealth",
        "How many waited in the queue, and how long, by skill and interval",
        {JSON: (queue_health.QueueData, queue_health.QueueSeries), **_TABLE},
        "operations",
        queue_health.PARAMETERS,
        varies=True,
    ),
    Method(
        "accountMetrics",
        f"{_ACCOUNT}/metrics",
        "The account's live figures, for Prometheus",
        {"text/plain": None, "application/openmetrics-text": None},
        "operations",
        missing=True,
    ),
    Method(
        "due",
        f"{_ACCOUNT}/due",
        "Which conversations wait, the most urgent first",
        {JSON: due.DueNow, **_TABLE},
        "operations",
        due.PARAMETERS,
        missing=True,
        varies=True,
    ),
    Method(
        "report",
        f"{_ACCOUNT}/report",
        "Flat rows of every metric, by what is asked for",
        {JSON: list[report.FlatRow], **{type_: None for type_ in MEDIA_TYPES.values() if type_ != JSON}},
        "operations",
        report.PARAMETERS,
        varies=True,
        tagged=True,
    ),
    Method(
        "domain",
        f"{_ACCOUNT}/service/{{service}}/baseURI.json",
        "Where a service is",
        {JSON: domains.BaseUri},
        missing=True,
    ),
    Method(
        "domains",
        f"{_ACCOUNT}/service/baseURI.json",
        "Where all services are",
        {JSON: domains.BaseUris},
        missing=True,
    ),
    Method(
        "ingest",
        f"{_ACCOUNT}/events",
        "Stores events, all of the request or nothing",
        {JSON: events.Accepted},
        "ingest",
        verb="post",
    ),
    Method(
        "focus",
        f"{_ACCOUNT}/focus",
        "Stores the moves of one agent's focus, all of the request or nothing",
        {JSON: focus.Taken},
        "focus",
        verb="post",
    ),
    Method(
        "deliver",
        f"{_ACCOUNT}/sources/{{source}}",
        "Keeps a delivery of another system (a webhook); its events follow",
        {JSON: sources.Kept},
        verb="post",
        missing=True,
    ),
    Method(
        "deliverPurpose",
        f"{_ACCOUNT}/sources/{{source}}",
        "What the address is for",
        {"text/plain": None},
        missing=True,
    ),
    Method(
        "explainConversation",
        f"{_ACCOUNT}/conversations/{{conversationId}}/explain",
        "Why a conversation's numbers are so",
        {JSON: Explanation},
        "handle-time",
        missing=True,
    ),
    Method(
        "explainSegment",
        f"{_ACCOUNT}/agent-segments/{{segmentId}}/explain",
        "Why a segment's numbers are so",
        {JSON: Explanation},
        "handle-time",
        missing=True,
    ),
    Method("health", "/healthz", "Whether the process lives", {JSON: health.Status}),
    Method("ready", "/readyz", "Whether requests can be answered", {JSON: health.Status}),
    Method(
        "metrics",
        "/metrics",
        "What the server did and how it is, for Prometheus",
        {"text/plain": None, "application/openmetrics-text": None},
    ),
)
_ERRORS: Final[dict[int, tuple[str, type]]] = {
    400: ("The request is wrong", errors.Causes),
    401: ("No key, or a wrong one", errors.Reason),
    403: ("The key lacks the permission, or is limited to groups or skills that this is not of", errors.Message),
    404: ("There is no such thing", errors.Message),
    405: ("Another method", errors.Message),
    408: ("The body did not arrive in time", errors.Message),
    413: ("The body is too large", errors.Message),
    415: ("Another content type or coding", errors.Message),
    429: ("Too many requests", errors.Message),
    500: ("Something is broken here", errors.Internal),
    503: ("Not able to answer now", errors.Message),
}
_REF: Final = "#/components/schemas/{name}"


def document() -> Doc:
    """The whole document, OpenAPI 3.1."""
    types = [held for method in METHODS for answer in method.answers.values() for held in _held(answer)]
    types += [type_ for _, type_ in _ERRORS.values()]
    schemas, components = msgspec.json.schema_components(
        types, ref_template=_REF, schema_hook=lambda _: {"description": "Any value."}
    )
    schema_of = dict(zip(map(repr, types), schemas, strict=True))
    for struct in (
        agent_segments.SegmentShown,
        operations.AgentData,
        conversations.ConversationData,
        queue_health.QueueData,
    ):
        _let_be_absent(struct, components[struct.__name__])
    components["Element"] = _element_schema()
    components["QueueElement"] = _queue_schema()
    components["FlatRow"] = _flat_row_schema()
    _close_lists(components["Moment"]["properties"])
    components["Event"] = _event_schema()
    components["Move"] = _move_schema()
    paths: dict[str, Doc] = {}
    for method in METHODS:
        paths.setdefault(method.path, {})[method.verb] = _operation(method, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "handletime",
            "version": __version__,
            "description": "LivePerson's Actual Handle Time and Messaging Operations APIs, and events in. Each GET "
            "can also be a HEAD. Unknown query parameters are ignored.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "headers": {name: _header(name, *told) for name, told in _HEADERS.items()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The token of a key"},
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "On GET: any user name, and the token of a key as password",
                },
                "oauth1": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "OAuth 1.0a (RFC 5849) with HMAC-SHA1 or HMAC-SHA256, in the header",
                },
            },
        },
    }


_HEADERS: Final[Mapping[str, tuple[str, Doc]]] = {
    "X-Request-Id": ("What the log calls this request.", {"type": "string", "pattern": "^[0-9a-f]{32}$"}),
    "WWW-Authenticate": ("Both schemes, and what was wrong.", {"type": "string"}),
    "Allow": ("The methods that there are.", {"type": "string"}),
    "Retry-After": ("Seconds to wait.", {"type": "integer", "minimum": 1}),
    "Vary": ("What the form of the answer depends on.", {"type": "string"}),
    "X-Total-Count": ("Of a table: how many rows there are on all pages.", {"type": "integer", "minimum": 0}),
    "Link": ('Of a table: the next page, where there is one; rel="next".', {"type": "string"}),
    "ETag": ("The state of the data and all that was asked.", {"type": "string"}),
    "Content-Disposition": ("Of a table: a file's name of account, method and window.", {"type": "string"}),
}
_OF_TABLES: Final = ("X-Total-Count", "Link", "Content-Disposition")
"""Headers that only CSV answers have."""
_HEADERS_OF: Final = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}


def _header(name: str, meaning: str, schema: Doc) -> Doc:
    return {"description": meaning, "required": name not in _OF_TABLES, "schema": schema}


def _headers(*names: str) -> Doc:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *names)}


def _held(answer: object) -> tuple[object, ...]:
    return answer if isinstance(answer, tuple) else () if answer is None else (answer,)


def _content(method: Method, schema_of: Mapping[str, Doc]) -> Doc:
    content: Doc = {}
    for type_, answer in method.answers.items():
        schemas = [schema_of[repr(held)] for held in _held(answer)]
        one = {"anyOf": schemas} if len(schemas) > 1 else schemas[0] if schemas else {"type": "string"}
        content[type_] = {"schema": one}
        example = {JSON: method.example.answer, CSV: method.example.table}.get(type_) if method.example else None
        if example is not None:
            content[type_]["example"] = example
    return content


def _let_be_absent(struct: type[msgspec.Struct], schema: Doc) -> None:
    """Makes fields optional that may be Unset. msgspec calls every field required that has no default."""
    may_be_absent = {f.encode_name for f in msgspec.structs.fields(struct) if msgspec.UnsetType in get_args(f.type)}
    schema["required"] = [name for name in schema["required"] if name not in may_be_absent]


def _close_lists(moment: Doc) -> None:
    """Names the values that a moment's fields may have."""
    moment["type"]["enum"] = [name for name in RULES if name not in EFFECTS or name in model.TYPES]
    moment["noEffect"]["enum"] = [*EFFECTS[1:], None]
    moment["rule"] = {"type": "string", "enum": sorted({*RULES.values()})}


def _element_schema() -> Doc:
    return {
        "title": "Element",
        "description": "The chosen metrics; -1 is an average over nothing, but 0 for those of closed conversations.",
        "type": "object",
        "properties": {
            metric.name: {
                "type": "number" if metric.unit in ("responses", "exactMillis") else "integer",
                "description": metric.meaning,
            }
            for metric in (*AGENT_METRICS, *SKILL_METRICS, *CLOSE_METRICS)
        },
        "additionalProperties": False,
    }


def _queue_schema() -> Doc:
    names = (*COUNTS, *WAITS, *queue_health.OVERDUE, "time")
    return {
        "title": "QueueElement",
        "description": "Counts, and waits in milliseconds; -1 is a wait over nothing, or what is not known. `time` is "
        "now, in epoch milliseconds.",
        "type": "object",
        "properties": {name: {"type": "number" if name in COUNTS else "integer"} for name in names},
        "additionalProperties": False,
    }


def _flat_row_schema() -> Doc:
    moment = {"type": "string", "format": "date-time"}
    texts = {"type": ["string", "null"]}
    keys: Doc = {"intervalStart": moment, "intervalEnd": moment}
    keys |= {name: {"type": "integer", "format": "int64"} for name in ("skillId", "agentId", "groupId")}
    keys |= dict.fromkeys(("source", "userType", "skillName", "agentName", "groupName"), texts)
    metrics = {
        f"{key}{suffix}": {
            "type": ["number" if pa.types.is_floating(number_type(metric)) else "integer", "null"],
            "description": metric.meaning,
        }
        for key, metric in REPORTED.items()
        for suffix in ("", PREVIOUS)
    }
    return {
        "title": "FlatRow",
        "description": "The keys that were asked for, then the chosen metrics, in the same order in all rows; "
        f"…{PREVIOUS} is the value in the window before. Null is an average over nothing, unknown handle time, or "
        "what the kind of segment does not have.",
        "type": "object",
        "properties": keys | metrics,
        "additionalProperties": False,
    }


def _operation(method: Method, schema_of: Mapping[str, Doc]) -> Doc:
    named = [
        *(["Vary"] if method.varies else []),
        *(["ETag"] if method.tagged else []),
        *(_OF_TABLES if CSV in method.answers else []),
    ]
    answer = {"description": "The answer", "headers": _headers(*named), "content": _content(method, schema_of)}
    operation: Doc = {
        "summary": method.summary,
        "operationId": method.id,
        "parameters": [_with_example(p, method) for p in (*_path_parameters(method.path), *_query_parameters(method))],
        "responses": {"200": answer}
        | _unchanged(method)
        | {str(status): _error(status, schema_of) for status in _statuses(method)},
        "security": _security(method),
    }
    if method.permission:
        operation["description"] = " ".join([f"Needs the permission `{method.permission}`.", *_about_tables(method)])
    if method.verb == "post":
        bodies = {"ingest": _events_body, "focus": _moves_body, "conversationsPosted": _parameters_body}
        operation["requestBody"] = bodies[method.id](method) if method.permission else _any_body()
    return operation


def _unchanged(method: Method) -> Doc:
    told = {"description": "Nothing has changed since the answer that `If-None-Match` names"}
    return {"304": told | {"headers": _headers("ETag", "Vary")}} if method.tagged else {}


def _about_tables(method: Method) -> list[str]:
    told = "As a table it has the finest rows that were asked for and no totals; an average over nothing is empty."
    return [told] if CSV in method.answers else []


def _query_parameters(method: Method) -> Iterator[Doc]:
    for parameter in method.parameters:
        described: Doc = parameter.describe()
        if not parameter.required:  # An empty value is as if absent.
            described["allowEmptyValue"] = True
        yield described


def _with_example(described: Doc, method: Method) -> Doc:
    """A parameter with its value in the example, where it has one there."""
    values = method.example.parameters if method.example else {}
    return described | ({"example": values[described["name"]]} if described["name"] in values else {})


def _security(method: Method) -> list[Doc]:
    if not method.permission:
        return []
    return [{name: []} for name in ("bearer", "basic", "oauth1") if name != "basic" or method.verb == "get"]


def _path_parameters(path: str) -> Iterator[Doc]:
    schemas: dict[str, Doc] = {
        "accountId": {"type": "string", "pattern": "^[a-zA-Z0-9]{1,64}$"},
        "service": {"type": "string", "pattern": "^[a-zA-Z0-9]{1,64}$"},
        "source": {"type": "string", "pattern": f"^{NAME.pattern}$"},
        "conversationId": {"type": "string", "minLength": 1, "maxLength": 128},
        "segmentId": {"type": "string", "minLength": 1},
    }
    for name, schema in schemas.items():
        if f"{{{name}}}" in path:
            yield {"name": name, "in": "path", "required": True, "schema": schema}


def _statuses(method: Method) -> list[int]:
    statuses = [405, 500]
    if method.path not in ("/healthz", "/readyz", "/metrics"):
        statuses += [429]
    if method.path not in ("/healthz", "/metrics"):
        statuses += [503]
    if method.permission:
        statuses += [401, 403]
    if method.parameters or method.verb == "post":
        statuses += [400]
    if method.missing:
        statuses += [404]
    if method.verb == "post":
        statuses += [408, 413]
        statuses += [] if method.parameters else [415 if method.permission else 401]
    return sorted(statuses)


def _error(status: int, schema_of: Mapping[str, Doc]) -> Doc:
    description, body = _ERRORS[status]
    headers = _headers(_HEADERS_OF[status]) if status in _HEADERS_OF else _headers()
    return {"description": description, "headers": headers, "content": {JSON: {"schema": schema_of[repr(body)]}}}


# --- events ----------------------------------------------------------------------------------------------------------


def _event_schema() -> Doc:
    """An event of rules.md 1: one schema for each type, two for messages."""
    plain = [_event_of(type_) for type_ in model.TYPES if type_ != "message"]
    by_agent = _event_of("message")
    by_others = _event_of("message")
    by_agent["properties"]["sentBy"] = {"const": "agent"}
    by_others["properties"]["sentBy"] = {"enum": [who for who in model.SENT_BY if who != "agent"]}
    del by_others["properties"]["agentId"]
    return {"title": "Event", "description": "Unknown fields are ignored.", "oneOf": [*plain, by_agent, by_others]}


def _move_schema() -> Doc:
    """A move of focus (http-api.md 5.2): as an event, but its agent is the key's."""
    moves = [_event_of(type_) for type_ in focus.TYPES]
    for move in moves:
        move["required"].remove("agentId")
        del move["properties"]["revision"]
        move["properties"]["eventId"] = {"type": "string", "pattern": f"^{_NO_CONTROL}{{1,{focus.EVENT_ID_MAX}}}$"}
    told = "`agentId` is the key's agent, or absent. Unknown fields are ignored."
    return {"title": "Move", "description": told, "oneOf": moves}


def _event_of(type_: str) -> Doc:
    own = [field for field in FIELDS if field.belongs_to(type_)]
    return {
        "type": "object",
        "required": [field.name for field in own if field.is_required(type_)],
        "properties": {field.name: _field_schema(field, type_) for field in own},
    }


_NO_CONTROL: Final = "[^\\u0000-\\u001f\\u007f-\\u009f]"


def _field_schema(field: Field, type_: str) -> Doc:
    if field.name == "type":
        return {"const": type_}
    kinds: dict[str, Doc] = {
        "account": {"type": "string", "pattern": "^[a-zA-Z0-9]{1,64}$"},
        "id": {"type": "string", "pattern": f"^{_NO_CONTROL}{{1,{model.ID_MAX}}}$"},
        "text": {"type": "string", "pattern": f"^{_NO_CONTROL}{{0,{model.TEXT_MAX}}}$"},
        "integer": {"type": "integer", "minimum": field.lowest, "maximum": field.highest},
        "choice": {"type": "string", "enum": list(field.choices)},
        "time": {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "integer", "minimum": model.MILLIS_MIN, "maximum": model.TIME_MAX},
            ]
        },
    }
    schema = kinds[field.kind]
    if not field.is_required(type_):
        return {"anyOf": [schema, {"type": "null"}]} | ({} if field.default is None else {"default": field.default})
    return schema


def _events_body(method: Method) -> Doc:
    array = {"type": "array", "items": {"$ref": _REF.format(name="Event")}}
    lines = "One event a line; the schema is that of all lines as an array."
    return {
        "required": True,
        "description": "`Content-Encoding` may be gzip or zstd. At most 32 MiB as sent, 256 MiB unpacked.",
        "content": {
            JSON: {"schema": array} | ({"example": method.example.body} if method.example else {}),
            events.NDJSON: {"schema": array | {"description": lines}},
        },
    }


def _moves_body(method: Method) -> Doc:
    array = {"type": "array", "items": {"$ref": _REF.format(name="Move")}}
    envelope = {
        "type": "object",
        "required": ["key", "events"],
        "properties": {"key": {"type": "string", "description": "The token of a key"}, "events": array},
    }
    return {
        "required": True,
        "description": f"At most {focus.EVENTS_MAX:,} events and 64 KiB, without Content-Encoding. No event is more "
        "than 60 s in the future. As text/plain it is the JSON of an object with the key, for pages that cannot send "
        "a header.",
        "content": {
            JSON: {"schema": array} | ({"example": method.example.body} if method.example else {}),
            events.NDJSON: {"schema": array | {"description": "One event a line."}},
            focus.TEXT: {"schema": {"type": "string", "contentMediaType": JSON, "contentSchema": envelope}},
        },
    }


def _parameters_body(method: Method) -> Doc:
    """The parameters as a JSON object: each as the text that it is in a query, or as an integer."""
    told = "Any of the parameters, as texts or integers. They count before those of the query."
    schema = {
        "type": "object",
        "description": told,
        "properties": {p.name: {"anyOf": [_as_text(p.schema), {"type": "null"}]} for p in method.parameters},
        "additionalProperties": {"type": ["string", "integer", "null"]},
    }
    example = {"example": method.example.body} if method.example else {}
    return {"required": False, "description": told, "content": {JSON: {"schema": schema} | example}}


_TEXTS: Final = {1: "^[1-9][0-9]{0,3}$", INTERVAL_MIN: "^([5-9]|[1-9][0-9]{1,3})$"}
"""Integers as texts, by their minimum."""
_TEXT_OF_MILLIS: Final = "^[1-9][0-9]{12}$"


def _as_text(schema: Doc) -> Doc:
    """The schema of a parameter whose value may be a text, as in a query, or an integer."""
    if "anyOf" in schema:
        return {"anyOf": [each for part in schema["anyOf"] for each in _as_text(part).get("anyOf", [_as_text(part)])]}
    if schema.get("type") == "integer":
        return {"anyOf": [schema, {"type": "string", "pattern": _TEXTS.get(schema.get("minimum", 0), _TEXT_OF_MILLIS)}]}
    return schema


def _any_body() -> Doc:
    return {
        "required": True,
        "description": "As its sender makes it, with the proof that the source was set up with. At most 32 MiB.",
        "content": {JSON: {"schema": {}}},
    }


@get("/openapi.json", sync_to_thread=False, name="openapi")
def openapi() -> Response[bytes]:
    """The OpenAPI document."""
    return Response(_encoded(), media_type=JSON)


@cache
def _encoded() -> bytes:
    """The document as JSON, made once: it takes 7 ms, and clients without a key may ask for it."""
    return msgspec.json.encode(document())


# --- for people ------------------------------------------------------------------------------------------------------

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; font-size: 1.1rem; } code { background: #eee8; padding: 0 .2em; }
table { border-collapse: collapse; } td, th { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; }
"""
_POLICY: Final = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'"


@get("/docs", sync_to_thread=False, name="docs")
def docs() -> Response[bytes]:
    """The methods on one page that loads nothing from other sites."""
    return Response(_page(), media_type="text/html", headers={"Content-Security-Policy": _POLICY})


@cache
def _page() -> bytes:
    methods = "".join(map(_described, METHODS))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>handletime: the methods</title>'
        f'<link rel="stylesheet" href="docs/style.css"></head><body><h1>handletime {escape(__version__)}</h1>'
        '<p>The same for programs: <a href="openapi.json">openapi.json</a>. Errors are JSON. '
        "Every GET can be a HEAD. A key goes into the header <code>Authorization</code>: as <code>Bearer</code> token, "
        "on GET also as the password of HTTP Basic with any user name, "
        "or by OAuth 1.0a with HMAC-SHA1 or HMAC-SHA256.</p>"
        f"{methods}</body></html>"
    ).encode()


@get("/docs/style.css", sync_to_thread=False, name="docs-style")
def docs_style() -> Response[bytes]:
    """The style sheet of the page."""
    return Response(_STYLE.encode(), media_type="text/css")


def _described(method: Method) -> str:
    needs = f"<p>Needs a key with the permission <code>{method.permission}</code>.</p>" if method.permission else ""
    rows = "".join(
        f"<tr><td><code>{escape(p.name)}</code></td><td>{'required' if p.required else ''}</td>"
        f"<td>{escape(p.meaning)}</td></tr>"
        for p in method.parameters
    )
    table = f"<table><tr><th>parameter</th><th></th><th></th></tr>{rows}</table>" if rows else ""
    types = ", ".join(f"<code>{escape(type_)}</code>" for type_ in method.answers)
    answers = f"<p>Answers {types}. Errors: {', '.join(map(str, _statuses(method)))}.</p>"
    title = f"<h2><code>{method.verb.upper()} {escape(method.path)}</code></h2>"
    return f"<section>{title}<p>{escape(method.summary)}.</p>{needs}{table}{answers}</section>"
