"""`POST …/sources/{name}`: takes what another system sends by itself; its events follow (http-api.md 5.1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol
from urllib.parse import parse_qs, unquote

import msgspec
from litestar import Request, Response, route
from litestar.types import Receive, Scope, Send
from litestar.types.asgi_types import HTTPResponseBodyEvent, HTTPResponseStartEvent

from handletime.api.body import SENT_MAX, Coding, coding_of, receive, unpacked
from handletime.api.errors import JSON, Refused
from handletime.api.paths import spellings
from handletime.api.service import HttpRequest, InPath, Service, TheService, existing_account
from handletime.api.trace import trace_of
from handletime.deliveries.file import Came
from handletime.deliveries.proof import Given, Wrong
from handletime.deliveries.source import NAME, Finds
from handletime.errors import NotHere, NotNow, StoreError, Unauthorized
from handletime.events.book import is_account
from handletime.store.budget import Budget, Share

BYTES_MAX: Final = 256 << 20
"""The most bytes of deliveries under way at once: that are being received, or are not yet durable."""
PURPOSE: Final = (
    "Deliveries of another system (webhooks) are sent here, with POST. "
    "They prove themselves as the server's settings say; their events follow within a second.\n"
)
_ROUTE: Final = "/api/account/{account:str}/sources/{source:str}"
_TEMPLATE: Final = _ROUTE.replace(":str", "")
PATH: Final = spellings([_ROUTE])
"""The address of a source, as it is sent."""
_WRONG: Final = (
    "This is no delivery of a source that this server knows: its signature, its token, its secret or its time does not "
    "hold."
)
_log: Final = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True):
    """The answer: nothing, for nobody who sends deliveries reads more than the status."""


_KEPT: Final = msgspec.json.encode(Kept())
_HEADERS: Final = [(b"content-type", JSON.encode()), (b"content-length", str(len(_KEPT)).encode())]


class Keeps(Protocol):
    """Where deliveries are kept."""

    def keep(self, came: Sequence[Came]) -> None:
        """Keeps deliveries, all of them or none; they are durable when this returns."""


class Doors:
    """Lets deliveries in; none where there are no `sources`. Everything happens in the event loop.

    The gateway hands deliveries over before the framework sees them: that takes half of a small request's time, and a
    platform that sends a thousand a second waits for each.
    """

    def __init__(self, service: Service, sources: Finds | None = None, deliveries: Keeps | None = None) -> None:
        self.service = service
        self._sources, self._deliveries = sources, deliveries
        self._budget = Budget(BYTES_MAX, "deliveries")
        self._waiting: list[tuple[Came, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "deliveries")

    def close(self) -> None:
        """Waits for what is under way."""
        self._thread.shutdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Keeps a delivery and answers at once: the ASGI application for a POST to a path that matches `PATH`."""
        scope["path_template"], scope["route_handler"] = _TEMPLATE, deliver
        account, name = (unquote(part) for part in scope["path"].split("/")[3::2])
        await self.take(Request(scope, receive), account, name)
        await send(HTTPResponseStartEvent(type="http.response.start", status=200, headers=_HEADERS))
        await send(HTTPResponseBodyEvent(type="http.response.body", body=_KEPT, more_body=False))

    async def take(self, request: HttpRequest, account: str, name: str) -> None:
        """Keeps a delivery; it is durable then.

        Raises Unauthorized, NotHere, Refused, BadRequest, TooMany, NotNow.
        """
        if (read_only := self.service.store.read_only) is not None:
            raise NotHere(read_only)
        source = self._sources.find(account, name) if self._sources else None
        if source is None or self._deliveries is None:
            refusal = self._stranger(request)
            if NAME.fullmatch(name) and is_account(account):
                _log.info("a delivery was refused: there is no source %s of account %s", name, account)
            raise refusal
        given = Given(lambda header: request.headers.get(header, ""), _secret(request))
        received = self.service.clock.now()
        try:
            source.proof.check(given, received)
            coding = coding_of(request)
            with self._budget.share(account) as share:
                body = await receive(request, share, self.service.settings.body_idle_seconds)
                source.proof.check_body(given, body)
                trace_of(request.scope).key = f"source {name}"
                whole = bytes(body) if coding == "identity" else await asyncio.to_thread(_unpacked, body, coding, share)
                await self._kept(self._deliveries, Came(account, name, received, whole))
        except Wrong as error:
            _log.info("source %s: a delivery was refused: %s", name, error)
            raise self._stranger(request) from None

    async def _kept(self, deliveries: Keeps, came: Came) -> None:
        """Keeps a delivery, together with those that come while others are written."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._waiting.append((came, done))
        if self._writing is None:
            self._writing = loop.create_task(self._write(deliveries))
        await done

    async def _write(self, deliveries: Keeps) -> None:
        loop = asyncio.get_running_loop()
        try:
            while together := self._waiting:
                self._waiting = []
                error: Exception | None = None
                try:
                    await loop.run_in_executor(self._thread, deliveries.keep, [came for came, _ in together])
                except StoreError as raised:  # The sender can do nothing about it but come again.
                    _log.error("deliveries cannot be kept: %s", raised)
                    error = NotNow("deliveries cannot be kept now; the log says why")
                except Exception as raised:  # whatever it was, whoever waits is told
                    error = raised
                for _, done in together:
                    if done.done():  # Its client has gone.
                        continue
                    done.set_result(None) if error is None else done.set_exception(error)
        finally:
            self._writing = None

    def _stranger(self, request: HttpRequest) -> Unauthorized:
        self.service.count_stranger(request)
        return Unauthorized("oauth_problem=token_rejected", _WRONG, 'Webhook realm="handletime"')


def _unpacked(body: bytearray, coding: Coding, share: Share) -> bytes:
    """A body that was sent compressed. Raises BadRequest, Refused (413), TooMany."""
    pieces = []
    for piece in unpacked(body, coding, SENT_MAX):
        share.take(len(piece))
        pieces.append(piece)
    return b"".join(pieces)


def _secret(request: HttpRequest) -> str:
    """The parameter `secret`; "" where there is none, or several."""
    given = parse_qs(request.scope["query_string"].decode("latin-1")).get("secret", [])
    return given[0] if len(given) == 1 else ""


@route(
    _ROUTE,
    http_method=["GET", "POST"],
    status_code=200,
    name="source",
    request_max_body_size=None,
    sync_to_thread=False,
)
def deliver(request: HttpRequest, service: TheService, account: InPath, source: InPath) -> Response[bytes]:
    """What the address is for: the same for every name, so that nobody can try which there are.

    A POST never comes here (`Doors`). Raises Refused (404), TooMany.
    """
    service.count_stranger(request)
    existing_account(account)
    if not NAME.fullmatch(unquote(source)):
        raise Refused(404)
    return Response(PURPOSE.encode(), media_type="text/plain; charset=utf-8")
