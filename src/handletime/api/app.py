"""The application: its routes, what every request passes, and its life from start to stop."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from litestar import Litestar, Request, Response
from litestar.di import Provide
from litestar.enums import HttpMethod, ScopeType
from litestar.exceptions import MethodNotAllowedException, NotFoundException
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from handletime.api.account_metrics import account_metrics
from handletime.api.agent_segments import agent_segments
from handletime.api.answer import Counting, Sender
from handletime.api.body import Incoming
from handletime.api.breakdown import breakdown
from handletime.api.compression import Compressing
from handletime.api.conversations import conversations
from handletime.api.domains import domain, domains
from handletime.api.due import due
from handletime.api.errors import ADDRESS_RATE, BadRequest, answer_to
from handletime.api.events import Intake, events
from handletime.api.explain import conversation_explained, segment_explained
from handletime.api.files import breakdown_file
from handletime.api.focus import PATH as FOCUS
from handletime.api.focus import cors_headers, focus
from handletime.api.health import healthz, readyz
from handletime.api.openapi import docs, docs_style, openapi
from handletime.api.operations import agent_operations, skill_operations
from handletime.api.parameters import Query
from handletime.api.paths import canonical, spellings, without_slash
from handletime.api.prometheus import Meters, metrics
from handletime.api.queue_health import current_queue_health, queue_health
from handletime.api.report import report
from handletime.api.requestlog import Line, RequestLog
from handletime.api.service import SOURCE, HttpRequest, Service
from handletime.api.sources import PATH as SOURCES
from handletime.api.sources import Doors, deliver
from handletime.api.trace import Trace, begin
from handletime.api.turns import FairThreads
from handletime.errors import TooMany
from handletime.store.budget import Budget

ROUTES: Final[list[Any]] = [
    agent_segments,
    breakdown,
    breakdown_file,
    agent_operations,
    skill_operations,
    conversations,
    queue_health,
    current_queue_health,
    account_metrics,
    due,
    report,
    domain,
    domains,
    events,
    focus,
    deliver,
    conversation_explained,
    segment_explained,
    healthz,
    readyz,
    metrics,
    openapi,
    docs,
    docs_style,
]
UNCOUNTED: Final = frozenset({"healthz", "readyz", "metrics", "static", "domain", "domains", "source"})
"""Routes without a limit: whoever watches the server, files that are in memory anyway, and the look-up of the host,
which clients ask for before every call, many behind one address (http-api.md 4).
`source` itself counts whom it refuses.
"""
OPEN: Final = frozenset({"begin", "openapi", "docs", "docs-style", "sign-in", "sign-in-post", "sign-out"})
"""Routes that need no key: every request is counted as one without a key. All other routes ask for a key themselves,
or for a proof (`source`).
"""
QUERIES: Final = "query"
"""The name of the threads that answer queries."""
GONE: Final = 499
"""The status, in log and metrics, of a request whose client left before it was answered."""
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NOWHERE: Final = "/"
"""The path that a request gets whose own one is not text."""
Nowhere = Callable[[HttpRequest, Exception], Response[bytes]]
"""Answers a request whose path leads to no route."""
_SOURCE: Final = replace(SOURCE, required=False)


def make_app(
    service: Service,
    *,
    doors: Doors | None = None,
    more_routes: list[Any] | None = None,
    meters: Meters | None = None,
    nowhere: Nowhere = answer_to,
) -> ASGIApp:
    """The ASGI application over a service. `doors` let deliveries in, `more_routes` are those of the page.

    `meters` observe the store, if it is observed. `nowhere` answers paths that lead to no route.
    """
    meters = meters or Meters()
    meters.watch_answers(service.answers)
    intake, doors = Intake(service), doors or Doors(service)
    log = RequestLog()

    @asynccontextmanager
    async def life(_: Litestar) -> AsyncIterator[None]:
        # More of one account at once would only slow down the others.
        most = max(1, (os.cpu_count() or 1) // 2)
        threads = FairThreads(service.settings.query_threads, QUERIES, most, service.settings.query_limit_s)
        asyncio.get_running_loop().set_default_executor(threads)
        try:
            yield
        finally:
            # The loop would wait at its end for what still runs in them, though its clients are gone.
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
            threads.shutdown(wait=False)
            intake.close()
            doors.close()
            log.close()

    async def let_in(request: HttpRequest) -> None:
        name = request.route_handler.name
        if name in OPEN or request.method == HttpMethod.OPTIONS:
            service.count_stranger(request)
        elif name not in UNCOUNTED:
            service.begin_turn(request)

    def lost(request: HttpRequest, error: Exception) -> Response[bytes]:
        try:
            service.count_lost(request)
        except TooMany as too_many:
            return answer_to(request, too_many)
        return nowhere(request, error)

    app = Litestar(
        [*ROUTES, *(more_routes or [])],
        dependencies={
            "service": Provide(lambda: service, sync_to_thread=False),
            "intake": Provide(lambda: intake, sync_to_thread=False),
            "meters": Provide(lambda: meters, sync_to_thread=False),
        },
        before_request=let_in,
        exception_handlers={Exception: answer_to, NotFoundException: lost, MethodNotAllowedException: lost},
        lifespan=[life],
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    origins = frozenset(service.settings.focus_origins)
    paths = spellings(route.path for route in app.routes)
    return Gateway(app, meters, service.answers, paths, lost, log, doors, origins)


class Gateway:
    """What every request passes.

    It refuses requests without exactly one host and paths in another spelling, answers a HEAD like a GET without the
    body (RFC 9110 9.3.2), gives the answer an id, and counts and logs the request.
    """

    def __init__(
        self,
        app: ASGIApp,
        meters: Meters,
        answers: Budget,
        paths: re.Pattern[bytes],
        nowhere: Nowhere,
        log: RequestLog,
        doors: ASGIApp,
        origins: frozenset[str],
    ) -> None:
        """`paths` matches all paths of routes in their one spelling; `nowhere` answers the others. `doors` take
        deliveries. Pages of `origins` may send focus (CORS).
        """
        self._app = app
        self._meters = meters
        self._answers = answers
        self._paths = paths
        self._nowhere = nowhere
        self._log = log
        self._doors = doors
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the application."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        request: HTTPScope = scope
        method = str(request["method"])
        incoming = Incoming(request, receive)
        share = self._answers.share()
        sender = Sender(send)
        trace = begin(request, method, share)
        answer = _Answer(sender, trace, incoming)
        self._meters.begun()
        try:
            sent = without_slash((request.get("raw_path") or request["path"].encode()).partition(b"?")[0])
            request["path"] = canonical(sent) or _NOWHERE
            if method == HttpMethod.HEAD:
                request["method"] = HttpMethod.GET
            if request["method"] == HttpMethod.GET:
                await incoming.ignore()
            if FOCUS.fullmatch(sent):
                answer.more += cors_headers(_origin(request), self._origins)
            if not _has_one_host(request):
                app: ASGIApp = self._refuse_host
            elif method == HttpMethod.POST and SOURCES.fullmatch(sent):
                app = self._doors
            else:
                app = self._app if self._paths.fullmatch(sent) else self._answer_nowhere
            await app(scope, incoming, Counting(trace, Compressing(request, answer)))
        except Exception as error:
            if sender.gave_up or trace.broke_off:
                answer.status = GONE
            elif answer.status != GONE:
                raise
            else:  # What answers errors failed itself.
                await _respond(answer_to(Request(scope), error), scope, incoming, answer)
        finally:
            share.close()
            seconds = time.perf_counter() - begun
            route = request.get("path_template")
            self._meters.answered(route, answer.status, seconds)
            if answer.trace.limit:
                self._meters.refused(answer.trace.limit)
            self._note(request, answer, route, seconds)
        if not incoming.ended:
            await incoming.linger()

    def _note(self, request: HTTPScope, answer: _Answer, route: str | None, seconds: float) -> None:
        if self._log.wanted:
            trace = answer.trace
            method = trace.method if trace.method in METHODS else "(unknown)"
            source = Query(request["query_string"]).get(_SOURCE)
            self._log.add(Line(method, route, answer.status, round(seconds * 1000, 2), source, trace.key, trace.id))

    async def _refuse_host(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = BadRequest(["Host: must be given, once (RFC 9112 3.2)"])
        await _respond(answer_to(Request(scope), error), scope, receive, send)

    async def _answer_nowhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _respond(self._nowhere(Request(scope), NotFoundException()), scope, receive, send)


async def _respond(response: Response[bytes], scope: Scope, receive: Receive, send: Send) -> None:
    await response.to_asgi_response(None, Request(scope))(scope, receive, send)


class _Answer:
    """Sends the answer with the request's id. Says where the connection ends; leaves out the body of a HEAD."""

    def __init__(self, send: Send, trace: Trace, incoming: Incoming) -> None:
        self._send = send
        self._incoming = incoming
        self.trace = trace
        self.status = GONE
        self.more: list[tuple[bytes, bytes]] = []
        """Headers that every answer to this request has, also one that refuses it."""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*map(_with_head, message["headers"]), (b"x-request-id", self.trace.id.encode()), *self.more]
            await self._incoming.ignore()
            # A stranger's other requests may stand behind one that is too many: they go with its connection.
            if not self._incoming.ended or self.trace.limit == ADDRESS_RATE:
                headers.append((b"connection", b"close"))
            message["headers"] = headers
        elif message["type"] == "http.response.body" and self.trace.method == HttpMethod.HEAD:
            message["body"] = b""
        await self._send(message)


def _with_head(header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """A header `Allow` that names HEAD wherever it names GET."""
    name, value = header
    allowed = value.split(b", ") if name.lower() == b"allow" else []
    return (name, b", ".join(sorted({*allowed, b"HEAD"}))) if b"GET" in allowed else header


def _origin(request: HTTPScope) -> str:
    """Whose page a browser sends a request for; "" where it does not say so, or says it twice."""
    found = [value for name, value in request["headers"] if name == b"origin"]
    return found[0].decode("latin-1") if len(found) == 1 else ""


def _has_one_host(request: HTTPScope) -> bool:
    """Whether a request names its host exactly once. A request of HTTP/1.0 need not."""
    # Where none was sent, the HTTP server adds an empty one; it calls HTTP/1.0 by "1".
    hosts = [value for name, value in request["headers"] if name == b"host" and value]
    return len(hosts) == 1 or (not hosts and request["http_version"] in ("1.0", "1"))
