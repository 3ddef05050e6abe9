"""`/sign-in` and `/sign-out`: a key becomes a session of this browser."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

from litestar import Response, get, post
from litestar.datastructures import Cookie

from handletime.api.body import receive
from handletime.api.errors import Refused
from handletime.api.service import HttpRequest
from handletime.clock import zone_named
from handletime.errors import Unauthorized
from handletime.store.budget import Budget
from handletime.web.page import COOKIE, FORM_COOKIE, HEADERS, Page, ThePage, cookie_of, in_link, is_local
from handletime.web.sessions import LONGEST_MS, form_token, is_form_token, new_cookie

FORM_MAX: Final = 16 << 10
IDLE_SECONDS: Final = 10.0
_UTC: Final = ZoneInfo("UTC")
_WRONG: Final = "This key is wrong, revoked or expired."
_USELESS: Final = "This key may not read: it needs the permission operations or handle-time."


@get("/sign-in", sync_to_thread=True, name="sign-in")
def sign_in_form(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """The form that asks for a key."""
    query = parse_qs(request.scope["query_string"].decode("latin-1"))
    return _form(request, page, query.get("next", ["/"])[0], ended="ended" in query)


def _form(request: HttpRequest, page: Page, after: str, *, ended: bool = False, fault: str = "") -> Response[bytes]:
    cookie = cookie_of(request, FORM_COOKIE) or new_cookie()
    answer = page.html(
        request,
        "sign_in.html",
        after=after if is_local(after) else "/",
        form_token=form_token(cookie),
        ended=ended,
        fault=fault,
        status=401 if fault else 200,
    )
    if fault:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="handletime"'
    answer.cookies.append(_cookie(request, page, FORM_COOKIE, cookie))
    return answer


@post("/sign-in", name="sign-in-post")
async def sign_in(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """Takes a key; a browser that has a session already gets a new one."""
    form = await _fields(request, cookie_of(request, FORM_COOKIE))
    after = form.get("next", "/")
    token = form.get("key", "").strip()
    try:
        key = await asyncio.to_thread(page.key_of, request, token)
    except Unauthorized:
        return _form(request, page, after, fault=_WRONG)
    if not (key.may("operations") or key.may("handle-time")):
        return _form(request, page, after, fault=_USELESS)
    page.sessions.end(cookie_of(request, COOKIE))
    zone = zone_named(form.get("tz", "")) or _UTC
    cookie = page.sessions.begin(token, zone.key, page.service.clock.now())
    if after == "/" and not key.may("operations"):
        after = "/segments"
    answer = _onward(page, after)
    answer.cookies.append(_cookie(request, page, COOKIE, cookie, LONGEST_MS // 1000))
    answer.cookies.append(_cookie(request, page, FORM_COOKIE, "", 0))
    return answer


@post("/sign-out", name="sign-out")
async def sign_out(request: HttpRequest, page: ThePage) -> Response[bytes]:
    """Ends the session, also for anybody else who has its cookie."""
    cookie = cookie_of(request, COOKIE)
    await _fields(request, cookie)
    page.sessions.end(cookie)
    answer = _onward(page, "/sign-in")
    answer.cookies.append(_cookie(request, page, COOKIE, "", 0))
    return answer


def _onward(page: Page, after: str) -> Response[bytes]:
    where = page.base + (in_link(after) if is_local(after) else "/")
    return Response(b"", status_code=303, headers={**HEADERS, "Location": where})


def _cookie(request: HttpRequest, page: Page, name: str, value: str, seconds: int | None = None) -> Cookie:
    return Cookie(
        key=name,
        value=value,
        path=f"{page.base}/",
        max_age=seconds,
        secure=page.service.origin(request).startswith("https:"),
        httponly=True,
        samesite="strict",
    )


async def _fields(request: HttpRequest, cookie: str) -> dict[str, str]:
    """The fields of a form that was sent from a page of ours. Raises Refused (403, 413, 415)."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise Refused(415)
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > FORM_MAX:
        raise Refused(413)
    with Budget(FORM_MAX, "form").share() as share:
        body = bytes(await receive(request, share, IDLE_SECONDS))
    fields = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
    sent = fields.get("form_token", "")
    if not cookie or not is_form_token(sent, cookie):
        raise Refused(403, "This form is too old, or was not sent from here; open the page again.")
    return fields
