"""`/`: what is going on now, and how the last hours or days went; it keeps itself up to date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from litestar import Response, get
from litestar.response import ServerSentEvent, ServerSentEventMessage
from markupsafe import Markup
from msgspec.structs import replace

from handletime.answers.levels import Verdicts
from handletime.answers.live import Now, OpenConversations, OpenOf, now_of
from handletime.api.errors import JSON
from handletime.api.parameters import Query, a_choice, a_text
from handletime.api.service import HttpRequest, query_of
from handletime.errors import HandletimeError, TooMany
from handletime.web.board import HEADINGS, ON_A_WALL, TILES, Levels
from handletime.web.board import meanings_of as board_meanings_of
from handletime.web.charts import charts_of, exports_of, meanings_of, tiles_of
from handletime.web.figures import data_quality_of, history_of, slowest_of
from handletime.web.fresh import Fresh, ShownStates, Ticking, history_state, live_state, shown_states
from handletime.web.page import COOKIE, HEADERS, Asker, Page, SignedOut, ThePage
from handletime.web.view import View, read_view

EVERY_S: Final = 5.0
"""Seconds between two looks at whether the upper half has changed."""
HISTORY_EVERY: Final = 12
"""At every so many of these looks, the charts are looked at too."""
STREAM_S: Final = 120.0
"""Seconds that a stream lasts. Then the browser asks for the next, so nothing waits for a stream for ever."""
RETRY_MS: Final = 2000


HISTORY: Final = a_choice("history", "Whether the charts are wanted too.", "", ("yes",))
KIOSK: Final = a_choice("kiosk", "For a wall: only what is going on now, as large as the screen.", "", ("0", "1"))
KNOWN: Final = a_text("known", "Which states of its parts the page shows.")


@get("/", sync_to_thread=True, name="now")
def now(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """The account now, and its last hours or days."""
    asker = page.asker(request, "operations")
    query = query_of(request)
    view, kiosk = asker.view(query, page.service.clock.now()), _is_kiosk(query)
    query.check()
    at = page.service.clock.now()
    live = _live(request, page, asker, view, at, kiosk=kiosk)
    parts = {"live": Markup(live), "live_state": live_state(live)}  # noqa: S704 — templates of ours
    if not kiosk:
        history = _history(request, page, asker, view, renewed=False)
        parts |= {"history": Markup(history), "history_state": history_state(history, view.bounds)}  # noqa: S704
    meant = board_meanings_of(page.service.targets.of(asker.account))
    return page.html(request, "now.html", asker, view=view, kiosk=kiosk, board_meant=meant, **parts)


def _is_kiosk(query: Query) -> bool:
    return query.get(KIOSK) == "1"


def board_of(page: Page, asker: Asker, view: View, at: int, *, whole: bool = False) -> tuple[Now, Levels]:
    """What is going on at a moment, and the service levels of today; `whole`: all agents. Raises NotNow.

    Skills that have a level and nothing open stand last, so that the levels of the rows add up to those of all.
    """
    targets = page.service.targets.of(asker.account)
    found = open_lately(page, asker)
    focus = page.focus_lately.of(asker.reader, asker.account, found, at)
    now = now_of(found, view.open_conversations, at, targets, focus, whole=whole)
    levels = page.levels.of(asker.reader, asker.account, view, at, targets)
    idle = sorted(levels.skills.keys() - {each.number for each in now.skills})
    return now._replace(skills=now.skills + [OpenOf(skill) for skill in idle]), levels


def _live(request: HttpRequest, page: Page, asker: Asker, view: View, at: int, *, kiosk: bool) -> str:
    targets = page.service.targets.of(asker.account)
    now, levels = board_of(page, asker, view, at)
    shown = {
        "now": now,
        "levels": levels,
        "has_targets": bool(targets),
        "level_tiles": TILES,
        "level_headings": HEADINGS,
        "most": ON_A_WALL[bool(targets)] if kiosk else None,
    }
    return page.text(request, "now_live.html", asker, view=view, kiosk=kiosk, ticking=Ticking(at), **shown)


def open_lately(page: Page, asker: Asker) -> OpenConversations:
    """The open conversations of the asker's account, as of some seconds ago at most. Raises NotNow."""
    page.check_ready()
    return page.service.open_lately(asker.account, asker.reader)


def _history(request: HttpRequest, page: Page, asker: Asker, view: View, *, renewed: bool) -> str:
    reader = asker.reader
    with reader.snapshot() as snapshot:
        history = history_of(Verdicts(snapshot, page.service.targets.of(asker.account)), view)
    tiles = tiles_of(history, view)
    shown = {
        "history": history,
        "charts": charts_of(history, view),
        "tiles": tiles,
        "meant": meanings_of(tiles),
        "by_interval": exports_of(view),
        "data_quality": data_quality_of(reader, view),
        "slowest": slowest_of(reader, view, asker.account),
        "renewed": renewed,
    }
    return page.text(request, "history.html", asker, view=view, **shown)


@get("/now/data", sync_to_thread=True, name="now-data")
def now_data(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """The parts of the page that changed, for browsers that ask for them."""
    query = query_of(request)
    fresh = _fresh(request, page, shown_states(query.get(KNOWN) or ""), history=bool(query.get(HISTORY)))
    return Response(msgspec.json.encode(fresh), media_type=JSON, headers=HEADERS)


def _fresh(request: HttpRequest, page: Page, known: ShownStates, *, history: bool) -> Fresh:
    query: Query = query_of(request)
    kiosk = _is_kiosk(query)
    # Nobody comes to a wall to sign in again in the morning.
    asker = page.asker(request, "operations", is_use=kiosk)
    at = page.service.clock.now()
    view = asker.view(query, at)
    query.check()
    fresh = Fresh(at, view.clocks.moment(at))
    live = _live(request, page, asker, view, at, kiosk=kiosk)
    if (state := live_state(live)) != known.live:
        fresh = replace(fresh, live=live, live_state=state)
    if history and not kiosk:
        changed = _history(request, page, asker, view, renewed=True)
        if (state := history_state(changed, view.bounds)) != known.history:
            fresh = replace(fresh, history=changed, history_state=state)
    return fresh


@get("/now/events", name="now-events")
async def now_events(request: HttpRequest, page: ThePage) -> Response[bytes] | ServerSentEvent:
    """What changed on the page, sent every few seconds: mostly only the time."""
    asker = await asyncio.to_thread(_check, request, page)
    if page.stopping.is_set():
        return Response(b"", status_code=204, headers=HEADERS)
    page.streams.check(asker.account, request.cookies[COOKIE])
    stream = ServerSentEvent(_counted(request, page, asker.account), retry_duration=RETRY_MS)
    stream.headers.update({**HEADERS, "X-Accel-Buffering": "no"})
    return stream


def _check(request: HttpRequest, page: Page) -> Asker:
    """Raises what a stream of this request would end with."""
    asker = page.asker(request, "operations", is_use=False)
    query = query_of(request)
    read_view(query, page.service.clock.now())
    _is_kiosk(query)
    query.check()
    return asker


async def _counted(request: HttpRequest, page: Page, account: str) -> AsyncIterator[ServerSentEventMessage]:
    """Counts a stream from here on: an answer that nobody waits for any more never comes here."""
    # Who asks with this cookie is known by now; what the stream asks for is not in the turn of those who are not.
    page.service.begin_turn(request)
    try:
        with page.streams.one_more(account, request.cookies[COOKIE]):
            async for message in _stream(request, page):
                yield message
    except TooMany as error:
        yield _trouble(error)


async def _stream(request: HttpRequest, page: Page) -> AsyncIterator[ServerSentEventMessage]:
    ends = asyncio.get_running_loop().time() + STREAM_S
    count = 0
    known = shown_states(request.headers.get("last-event-id") or query_of(request).get(KNOWN) or "")
    while asyncio.get_running_loop().time() < ends and not page.stopping.is_set():
        count += 1
        try:
            history = count % HISTORY_EVERY == 0
            fresh = await asyncio.to_thread(_fresh, request, page, known, history=history)
        except SignedOut:
            yield ServerSentEventMessage(event="ended", data="sign in again")
            return
        except HandletimeError as error:
            yield _trouble(error)
        else:
            known = ShownStates(fresh.live_state or known.live, fresh.history_state or known.history)
            yield ServerSentEventMessage(event="fresh", data=msgspec.json.encode(fresh).decode(), id=str(known))
        await page.stopped_within(EVERY_S)


def _trouble(error: Exception) -> ServerSentEventMessage:
    return ServerSentEventMessage(event="trouble", data=str(error).replace("\n", " "))
