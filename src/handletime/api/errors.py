"""Errors as answers, in one place, with the bodies of http-api.md 1."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import Message as AsgiMessage
from litestar.types.asgi_types import HTTPResponseBodyEvent, HTTPResponseStartEvent

from handletime.api.trace import trace_of
from handletime.errors import (
    RETRY_AFTER_S,
    Forbidden,
    InputError,
    InvalidEvents,
    NotHere,
    NotNow,
    TooMany,
    Unauthorized,
)

JSON: Final = "application/json"
ADDRESS_RATE: Final = "address-rate"
"""The setting that limits requests without a valid key."""
_LOG = logging.getLogger("handletime.api")
_WRONG: Final = "The request is wrong; `causes` says what, and what is allowed."
_MESSAGES: Final = {
    404: "There is nothing here.",
    405: "This method is not allowed here; the header Allow names those that are.",
    408: "The request's body did not arrive in time.",
    413: "The request is too large.",
    415: "This content type is not understood.",
    429: "Too many requests at once; come again later.",
    503: "Not able to answer now; come again later.",
}


class BadRequest(InputError):
    """400: one cause for each thing that is wrong, each beginning with the parameter's (or the event's) place."""

    def __init__(self, causes: Sequence[str], message: str = _WRONG) -> None:
        self.causes = list(causes)
        self.message = message
        super().__init__("; ".join(self.causes))


class Refused(InputError):
    """A request that is refused with a status of its own: 404, 408, 413, 415."""

    def __init__(self, status: int, message: str = "") -> None:
        self.status = status
        self.message = message or _MESSAGES[status]
        super().__init__(self.message)


class Message(msgspec.Struct, frozen=True):
    """The body of most errors."""

    message: str


class Causes(msgspec.Struct, frozen=True):
    """The body of a 400."""

    causes: list[str]
    message: str


class Reason(msgspec.Struct, frozen=True):
    """The body of a 401: `oauth_problem=…&oauth_problem_advice=…`."""

    reason: str
    message: str


class Internal(msgspec.Struct, frozen=True, rename="camel"):
    """The body of a 500: the id to look for in the log."""

    internal_code: str
    message: str


Body = Message | Causes | Reason | Internal


def answer_to(request: Request[object, object, object], error: Exception) -> Response[bytes]:  # type: ignore[type-var]
    """The answer to any exception that a request ended with."""
    status, body, headers = translated(request, error)
    return Response(msgspec.json.encode(body), status_code=status, media_type=JSON, headers=dict(headers))


def translated(request: Request[object, object, object], error: Exception) -> tuple[int, Body, Mapping[str, str]]:  # type: ignore[type-var]
    """The status, body and headers for any exception that a request ended with.

    Notes the limit that the request exceeded, for the metrics. Logs what is broken.
    """
    status, body, headers = _translated(error)
    if isinstance(error, TooMany):
        trace_of(request.scope).limit = error.limit
    if isinstance(error, MemoryError):
        _LOG.error("%s %s: there was not enough memory", request.method, request.scope.get("path_template", ""))
    if isinstance(body, Internal):
        _LOG.error(
            "%s %s: %s", request.method, request.scope.get("path_template", ""), body.internal_code, exc_info=error
        )
    return status, body, headers


def refusal(error: TooMany, more: Mapping[str, str] = MappingProxyType({})) -> tuple[AsgiMessage, AsgiMessage]:
    """The answer to a request for which there was no room, as ASGI messages, with `more` headers."""
    status, body, headers = _translated(error)
    content = msgspec.json.encode(body)
    named = {"Content-Type": JSON, "Content-Length": str(len(content)), **headers, **more}
    raw = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    return (
        HTTPResponseStartEvent(type="http.response.start", status=status, headers=raw),
        HTTPResponseBodyEvent(type="http.response.body", body=content, more_body=False),
    )


def _translated(error: Exception) -> tuple[int, Body, Mapping[str, str]]:
    match error:
        case BadRequest():
            return 400, Causes(error.causes, error.message), {}
        case InvalidEvents():
            return 400, Causes([str(fault) for fault in error.faults], _events_message(error)), {}
        case Unauthorized():
            return 401, Reason(error.reason, error.message), {"WWW-Authenticate": error.challenge}
        case Forbidden():
            return 403, Message(str(error)), {}
        case Refused():
            return error.status, Message(error.message), {}
        case NotHere():
            return 404, Message(str(error)), {}
        case NotNow():
            status, wait_s = (429, error.wait_s) if isinstance(error, TooMany) else (503, RETRY_AFTER_S)
            return status, Message(str(error) or _MESSAGES[status]), {"Retry-After": str(wait_s)}
        case MemoryError():
            return 503, Message(_MESSAGES[503]), {"Retry-After": str(RETRY_AFTER_S)}
        case HTTPException():
            return _of_framework(error)
        case _:
            return 500, Internal(str(uuid.uuid4()), "Something is broken here; the log says what."), {}


def _events_message(error: InvalidEvents) -> str:
    more = " There are more." if error.more else ""
    return f"Nothing was stored: some events are wrong; `causes` says which.{more}"


def _of_framework(error: HTTPException) -> tuple[int, Body, Mapping[str, str]]:
    """The answer where the router itself refuses a request, without the router's own text."""
    status = error.status_code
    if status >= 500:
        return 500, Internal(str(uuid.uuid4()), "Something is broken here; the log says what."), {}
    if status == 400:
        return 400, Causes(["request: cannot be read"], _WRONG), {}
    allow = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    return status, Message(_MESSAGES.get(status, "The request is refused.")), allow
