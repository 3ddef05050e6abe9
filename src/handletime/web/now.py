"""`/`: what is going on now, and how the last hours or days went; it keeps itself up to date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from litestar import Response, get
from litestar.response import ServerSentEvent, ServerSentEventMessage

from handletime.api.errors import JSON
from handletime.api.parameters import Query
from handletime.api.service import HttpRequest, query_of
from handletime.errors import HandletimeError
from handletime.web.charts import charts_of
from handletime.web.figures import history_of, slowest_of, worth_of
from handletime.web.live import Glimpse, now_of
from handletime.web.page import HEADERS, Asker, Page, SignedOut, ThePage
from handletime.web.view import View, read_view

EVERY_S: Final = 5.0
"""How often the upper half is sent anew."""
HISTORY_EVERY: Final = 12
"""The charts are sent with every so many of these."""
STREAM_S: Final = 120.0
"""So long a stream lasts; then the browser asks for the next. Nothing waits for one for ever."""
STREAMS_MAX: Final = 256
"""Browsers that are sent what is new at once; others ask for it themselves."""
RETRY_MS: Final = 2000


class Fresh(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a page that is open already shows from now on: HTML of its parts."""

    live: str
    history: str = ""


@get("/", sync_to_thread=True, name="now")
def now(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """The account now, and its last hours or days."""
    asker = page.asker(request, "operations")
    query = query_of(request)
    view = read_view(query, page.service.clock.now(), asker.session.zone)
    query.check()
    return page.html(request, "now.html", asker, view=view, **_live(page, asker, view), **_history(page, asker, view))


def _live(page: Page, asker: Asker, view: View) -> dict[str, object]:
    at = page.service.clock.now()
    return {"now": now_of(glimpse(page, asker), view, at)}


def glimpse(page: Page, asker: Asker) -> Glimpse:
    """The open conversations of the asker's account. Raises NotNow."""
    page.check_ready()
    return page.glimpses.of(asker.account, page.reader(asker))


def _history(page: Page, asker: Asker, view: View) -> dict[str, object]:
    reader = page.reader(asker)
    history = history_of(reader, view)
    return {
        "history": history,
        "charts": charts_of(history, view),
        "worth": worth_of(reader, view),
        "slowest": slowest_of(reader, view, asker.account),
    }


@get("/now/data", sync_to_thread=True, name="now-data")
def now_data(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """The parts of the page anew, for browsers that ask for them."""
    return Response(msgspec.json.encode(_fresh(request, page, history=True)), media_type=JSON, headers=HEADERS)


def _fresh(request: HttpRequest, page: Page, *, history: bool) -> Fresh:
    asker = page.asker(request, "operations")
    query: Query = query_of(request)
    view = read_view(query, page.service.clock.now(), asker.session.zone)
    query.check()
    live = page.text(request, "now_live.html", asker, view=view, **_live(page, asker, view))
    if not history:
        return Fresh(live)
    parts = {"view": view, "renewed": True, **_history(page, asker, view)}
    return Fresh(live, page.text(request, "history.html", asker, **parts))


@get("/now/events", name="now-events")
async def now_events(request: HttpRequest, page: ThePage) -> Response[bytes] | ServerSentEvent:
    """The same, sent whenever some seconds have passed."""
    await asyncio.to_thread(_check, request, page)
    if page.streams >= STREAMS_MAX or page.stopping.is_set():
        return Response(b"", status_code=204, headers=HEADERS)
    stream = ServerSentEvent(_stream(request, page), retry_duration=RETRY_MS)
    stream.headers.update({**HEADERS, "X-Accel-Buffering": "no"})
    return stream


def _check(request: HttpRequest, page: Page) -> None:
    """Raises what a stream of this request would end with."""
    page.asker(request, "operations")
    query = query_of(request)
    read_view(query, page.service.clock.now())
    query.check()


async def _stream(request: HttpRequest, page: Page) -> AsyncIterator[ServerSentEventMessage]:
    page.streams += 1
    ends = asyncio.get_running_loop().time() + STREAM_S
    count = 0
    try:
        while asyncio.get_running_loop().time() < ends and not page.stopping.is_set():
            count += 1
            try:
                fresh = await _in_thread(request, page, history=count % HISTORY_EVERY == 0)
            except SignedOut:
                yield ServerSentEventMessage(event="ended", data="sign in again")
                return
            except HandletimeError as error:
                yield ServerSentEventMessage(event="trouble", data=str(error).replace("\n", " "))
            else:
                yield ServerSentEventMessage(event="fresh", data=msgspec.json.encode(fresh).decode())
            await page.stopped_within(EVERY_S)
    finally:
        page.streams -= 1


async def _in_thread(request: HttpRequest, page: Page, *, history: bool) -> Fresh:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, lambda: _fresh(request, page, history=history))
