"""`/openapi.json` and `/docs`: what the methods take and give, made of the declarations that they run on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

import msgspec
from litestar import Response, get

from handletime import __version__
from handletime.api import agent_segments, breakdown, domains, errors, events, files, health, operations
from handletime.api.errors import JSON
from handletime.api.parameters import Parameter
from handletime.metrics.registry import AGENT_METRICS, SKILL_METRICS
from handletime.segments.explain import Explanation

Doc = dict[str, Any]


class Method(msgspec.Struct, frozen=True):
    """One method as clients see it. `answers` are content types with the type of what they hold: several
    where it is one of them, None for text.
    """

    path: str
    summary: str
    answers: Mapping[str, object]
    permission: str | None = None
    parameters: Sequence[Parameter[Any]] = ()
    verb: str = "get"
    missing: bool = False
    """Whether it can answer 404."""


_ACCOUNT: Final = "/api/account/{accountId}"
_EITHER: Final[dict[str, object]] = {"text/csv": None}
METHODS: Final = (
    Method(
        f"{_ACCOUNT}/agent-segments",
        "Ended segments of human agents, page by page",
        {JSON: agent_segments.AgentSegments, **_EITHER},
        "handle-time",
        agent_segments.PARAMETERS,
    ),
    Method(
        f"{_ACCOUNT}/agent-segments/breakdown",
        "The files that hold the handle-time units of a timeframe",
        {JSON: breakdown.Breakdown},
        "handle-time",
        breakdown.PARAMETERS,
    ),
    Method(
        f"{_ACCOUNT}/agent-segments/files",
        "One file of handle-time units",
        {JSON: list[breakdown.Unit], files.GZIP_TYPE: None},
        "handle-time",
        files.PARAMETERS,
        missing=True,
    ),
    Method(
        f"/operations{_ACCOUNT}/msgagentsegments",
        "Metrics of agent segments by agent, skill and interval",
        {JSON: (operations.AgentData, operations.AgentSeries), **_EITHER},
        "operations",
        operations.AGENT_PARAMETERS,
    ),
    Method(
        f"/operations{_ACCOUNT}/msgskillsegments",
        "Metrics of skill segments by skill and interval",
        {JSON: (operations.SkillData, operations.SkillSeries), **_EITHER},
        "operations",
        operations.SKILL_PARAMETERS,
    ),
    Method(
        f"{_ACCOUNT}/service/{{service}}/baseURI.json",
        "Where a service is",
        {JSON: domains.BaseUri},
        missing=True,
    ),
    Method(
        f"{_ACCOUNT}/service/baseURI.json",
        "Where all services are",
        {JSON: domains.BaseUris},
        missing=True,
    ),
    Method(
        f"{_ACCOUNT}/events",
        "Stores events, all of the request or nothing",
        {JSON: events.Accepted},
        "ingest",
        verb="post",
    ),
    Method(
        f"{_ACCOUNT}/conversations/{{conversationId}}/explain",
        "Why a conversation's numbers are so",
        {JSON: Explanation},
        "handle-time",
        missing=True,
    ),
    Method(
        f"{_ACCOUNT}/agent-segments/{{segmentId}}/explain",
        "Why a segment's numbers are so",
        {JSON: Explanation},
        "handle-time",
        missing=True,
    ),
    Method("/healthz", "Whether the process lives", {JSON: health.Status}),
    Method("/readyz", "Whether the store can answer", {JSON: health.Status}),
)
_ERRORS: Final[dict[int, tuple[str, type]]] = {
    400: ("The request is wrong", errors.Causes),
    401: ("No key, or a wrong one", errors.Reason),
    403: ("The key lacks the permission", errors.Message),
    404: ("There is no such thing", errors.Message),
    405: ("Another method", errors.Message),
    408: ("The body did not arrive in time", errors.Message),
    413: ("The body is too large", errors.Message),
    415: ("Another content type or coding", errors.Message),
    429: ("Too many requests at once", errors.Message),
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
    components["Element"] = _element_schema()
    paths: dict[str, Doc] = {}
    for method in METHODS:
        paths.setdefault(method.path, {})[method.verb] = _operation(method, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "handletime",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "oauth1": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "OAuth 1.0a (RFC 5849) with HMAC-SHA1 or HMAC-SHA256, in the header",
                },
            },
        },
    }


def _held(answer: object) -> tuple[object, ...]:
    return answer if isinstance(answer, tuple) else () if answer is None else (answer,)


def _content(answer: object, schema_of: Mapping[str, Doc]) -> Doc:
    schemas = [schema_of[repr(held)] for held in _held(answer)]
    return {"schema": {"anyOf": schemas} if len(schemas) > 1 else schemas[0] if schemas else {"type": "string"}}


def _element_schema() -> Doc:
    names = {m.name: m for m in (*AGENT_METRICS, *SKILL_METRICS)}
    return {
        "title": "Element",
        "description": "The chosen metrics; -1 is an average over nothing.",
        "type": "object",
        "properties": {
            name: {"type": "number" if metric.unit == "messages" else "integer", "description": metric.meaning}
            for name, metric in names.items()
        },
        "additionalProperties": False,
    }


def _operation(method: Method, schema_of: Mapping[str, Doc]) -> Doc:
    content = {type_: _content(answer, schema_of) for type_, answer in method.answers.items()}
    operation: Doc = {
        "summary": method.summary,
        "operationId": method.path.rstrip("/")
        .removesuffix("/baseURI.json")
        .replace("{", "")
        .replace("}", "")
        .strip("/"),
        "parameters": [*_path_parameters(method.path), *(p.describe() for p in method.parameters)],
        "responses": {"200": {"description": "The answer", "content": content}}
        | {str(status): _error(status, schema_of) for status in _statuses(method)},
        "security": [{"bearer": []}, {"oauth1": []}] if method.permission else [],
    }
    if method.permission:
        operation["description"] = f"Needs the permission `{method.permission}`."
    if method.verb == "post":
        operation["requestBody"] = _events_body()
    return operation


def _path_parameters(path: str) -> Iterator[Doc]:
    schemas: dict[str, Doc] = {
        "accountId": {"type": "string", "pattern": "^[a-zA-Z0-9]{1,64}$"},
        "service": {"type": "string", "enum": list(domains.SERVICES)},
        "conversationId": {"type": "string", "minLength": 1, "maxLength": 128},
        "segmentId": {"type": "string", "minLength": 1},
    }
    for name, schema in schemas.items():
        if f"{{{name}}}" in path:
            yield {"name": name, "in": "path", "required": True, "schema": schema}


def _statuses(method: Method) -> list[int]:
    statuses = [405, 500, 503]
    if method.permission:
        statuses += [401, 403]
    if method.parameters or method.verb == "post":
        statuses += [400]
    if method.missing:
        statuses += [404]
    if method.verb == "post":
        statuses += [408, 413, 415, 429]
    return sorted(statuses)


def _error(status: int, schema_of: Mapping[str, Doc]) -> Doc:
    description, body = _ERRORS[status]
    error: Doc = {"description": description, "content": {JSON: {"schema": schema_of[repr(body)]}}}
    header = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}.get(status)
    if header:
        error["headers"] = {header: {"required": True, "schema": {"type": "string"}}}
    return error


def _events_body() -> Doc:
    event: Doc = {
        "type": "object",
        "required": ["conversationId", "eventId", "time", "type"],
        "properties": {
            "conversationId": {"type": "string", "minLength": 1, "maxLength": 128},
            "eventId": {"type": "string", "minLength": 1, "maxLength": 128},
            "time": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer"}]},
            "type": {"type": "string"},
        },
    }
    return {
        "required": True,
        "content": {
            JSON: {"schema": {"type": "array", "items": event}},
            events.NDJSON: {"schema": {"type": "string", "description": "One event a line"}},
        },
    }


@get("/openapi.json", sync_to_thread=False, name="openapi")
def openapi() -> Response[bytes]:
    """The OpenAPI document."""
    return Response(msgspec.json.encode(document()), media_type=JSON)


# --- for people ------------------------------------------------------------------------------------------------------

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; font-size: 1.1rem; } code { background: #eee8; padding: 0 .2em; }
table { border-collapse: collapse; } td, th { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; }
"""
_POLICY: Final = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'"


@get("/docs", sync_to_thread=False, name="docs")
def docs() -> Response[bytes]:
    """The methods on one page, without anything from elsewhere."""
    methods = "".join(map(_described, METHODS))
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>handletime: the methods</title>'
        f'<link rel="stylesheet" href="docs/style.css"></head><body><h1>handletime {escape(__version__)}</h1>'
        '<p>The same for programs: <a href="openapi.json">openapi.json</a>. Errors are JSON.</p>'
        f"{methods}</body></html>"
    )
    return Response(page.encode(), media_type="text/html", headers={"Content-Security-Policy": _POLICY})


@get("/docs/style.css", sync_to_thread=False, name="docs-style")
def docs_style() -> Response[bytes]:
    """What the page looks like."""
    return Response(_STYLE.encode(), media_type="text/css")


def _described(method: Method) -> str:
    needs = f"<p>Needs a key with the permission <code>{method.permission}</code>.</p>" if method.permission else ""
    rows = "".join(
        f"<tr><td><code>{escape(p.name)}</code></td><td>{'required' if p.required else ''}</td>"
        f"<td>{escape(p.meaning)}</td></tr>"
        for p in method.parameters
    )
    table = f"<table><tr><th>parameter</th><th></th><th></th></tr>{rows}</table>" if rows else ""
    title = f"<h2><code>{method.verb.upper()} {escape(method.path)}</code></h2>"
    return f"<section>{title}<p>{escape(method.summary)}.</p>{needs}{table}</section>"
