"""The application: its routes, what surrounds them, and its life from start to stop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

import msgspec
from litestar import Litestar
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from handletime.api.agent_segments import agent_segments
from handletime.api.breakdown import breakdown
from handletime.api.domains import domain, domains
from handletime.api.errors import JSON, answer_to
from handletime.api.errors import Message as MessageBody
from handletime.api.events import Intake, events
from handletime.api.explain import conversation_explained, segment_explained
from handletime.api.files import breakdown_file
from handletime.api.health import healthz, readyz
from handletime.api.openapi import docs, docs_style, openapi
from handletime.api.operations import agent_operations, skill_operations
from handletime.api.parameters import Query
from handletime.api.service import SOURCE, Service

ROUTES: Final[list[Any]] = [
    agent_segments,
    breakdown,
    breakdown_file,
    agent_operations,
    skill_operations,
    domain,
    domains,
    events,
    conversation_explained,
    segment_explained,
    healthz,
    readyz,
    openapi,
    docs,
    docs_style,
]
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LOG: Final = logging.getLogger("handletime.requests")
_SOURCE: Final = replace(SOURCE, required=False)


def make_app(service: Service, *, more_routes: list[Any] | None = None) -> ASGIApp:
    """The ASGI application over a service; `more_routes` are those of the page and the administration."""
    intake = Intake(service.settings.ingest_requests, service.settings.ingest_bytes)

    @asynccontextmanager
    async def life(_: Litestar) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(service.settings.query_threads, "query"))
        try:
            yield
        finally:
            intake.close()

    app = Litestar(
        [*ROUTES, *(more_routes or [])],
        dependencies={
            "service": Provide(lambda: service, sync_to_thread=False),
            "intake": Provide(lambda: intake, sync_to_thread=False),
        },
        exception_handlers={Exception: answer_to},
        lifespan=[life],
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    return Door(app)


class Door:
    """What every request passes: its path in one spelling, methods that nobody knows refused, one line in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the application."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        request: HTTPScope = scope
        method = str(request["method"])
        try:
            path = canonical(request.get("raw_path") or request["path"].encode())
            if method not in METHODS:
                await _plain_answer(noted, 405, "This method is not allowed here.", (b"allow", b"GET, POST"))
            elif path is None:
                await _plain_answer(noted, 404, "There is nothing here.")
            else:
                request["path"] = path
                await self._app(scope, receive, noted)
        finally:
            _log(request, method, status, time.perf_counter() - begun)


def canonical(raw_path: bytes) -> str | None:
    """A path with only those escapes that it needs; None where it is no text, or no path.

    Its parts stay apart: what was sent as %2F stays so, and is decoded by whoever takes the part.
    """
    if not raw_path.startswith(b"/"):
        return None
    try:
        parts = [unquote_to_bytes(part).decode() for part in raw_path.partition(b"?")[0].split(b"/")]
    except UnicodeDecodeError:
        return None
    return "/".join(quote(part, safe=":@!$&'()*+,;=~") for part in parts)


async def _plain_answer(send: Send, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
    body = msgspec.json.encode(MessageBody(message))
    length = (b"content-length", str(len(body)).encode())
    start: Any = {
        "type": "http.response.start",
        "status": status,
        "headers": [(b"content-type", JSON.encode()), length, *headers],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})


class Line(msgspec.Struct, frozen=True):
    """One request in the log. No header, and of the query only `source`: nothing secret, nothing personal."""

    method: str
    path: str
    status: int
    millis: float
    source: str | None


def _log(scope: HTTPScope, method: str, status: int, seconds: float) -> None:
    if _LOG.isEnabledFor(logging.INFO):
        source = Query(scope["query_string"]).get(_SOURCE)
        line = Line(method, scope["path"], status, round(seconds * 1000, 2), source)
        _LOG.info("%s", msgspec.json.encode(line).decode())
