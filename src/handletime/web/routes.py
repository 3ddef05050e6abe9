"""The routes of the page, for `api.app.make_app`."""

from __future__ import annotations

from typing import Any

from litestar import Response, Router, get
from litestar.di import Provide

from handletime.api.errors import Refused
from handletime.api.service import HttpRequest, InPath
from handletime.web.agent_day import agent_day
from handletime.web.export import EXPORTS
from handletime.web.now import now, now_data, now_events
from handletime.web.open import open_conversations, open_data
from handletime.web.page import HEADERS, Page, ThePage, static_files, tag
from handletime.web.segments import segments, skill_segments
from handletime.web.sign_in import sign_in, sign_in_form, sign_out
from handletime.web.tables import agents, skills
from handletime.web.waits import waits
from handletime.web.why import why

_FOR_EVER = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}


def page_routes(page: Page, *, with_now: bool = True) -> list[Any]:
    """The page's routes, without those of Now where the page has none."""
    handlers = [
        *(sign_in_form, sign_in, sign_out),
        *((now, now_data, now_events, open_conversations, open_data) if with_now else (begin,)),
        *(agents, skills, segments, skill_segments, waits, why, agent_day, static_file),
        *(each for name, each in EXPORTS if with_now or name != "open"),
    ]

    def answer_to(request: HttpRequest, error: Exception) -> Response[bytes]:
        # Not a method of the page: routers copy what they are given, and a page cannot be copied.
        return page.answer_to(request, error)

    return [
        Router(
            path="/",
            route_handlers=handlers,
            dependencies={"page": Provide(lambda: page, sync_to_thread=False)},
            exception_handlers={Exception: answer_to},
        )
    ]


@get("/", sync_to_thread=False, name="begin")
def begin(page: ThePage) -> Response[bytes]:
    """The first page where there is no Now: leads to the agents."""
    return Response(b"", status_code=303, headers={**HEADERS, "Location": f"{page.base}{next(iter(page.titles))}"})


@get("/static/{version:str}/{name:path}", sync_to_thread=False, name="static")
def static_file(version: InPath, name: InPath) -> Response[bytes]:
    """A script, style or picture that comes with the page."""
    found = static_files().get(name.lstrip("/"))
    if found is None or version != tag():
        raise Refused(404)
    content, type_ = found
    return Response(content, media_type=type_, headers=_FOR_EVER)
