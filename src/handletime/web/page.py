"""What every page needs: who asks, the names, the templates; and the headers of its answers."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import jinja2
from litestar import Response
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException

from handletime.answers import words
from handletime.answers.clocks import Clocks, language_of
from handletime.answers.labels import KINDS, AccountLabels, Labels
from handletime.answers.words import Kind
from handletime.api.auth import AuthRequest, authorize
from handletime.api.errors import BadRequest, Body, Internal, Refused, answer_to, translated
from handletime.api.parameters import Query
from handletime.api.ports import Reader
from handletime.api.service import HttpRequest, Service, check_queues
from handletime.errors import (
    Forbidden,
    HandletimeError,
    InputError,
    NotHere,
    NotNow,
    TooMany,
    Unauthorized,
)
from handletime.scope import WHOLE, Scope
from handletime.web.board import FocusLately, LevelsToday
from handletime.web.figures import comparable
from handletime.web.sessions import Session, Sessions, is_cookie
from handletime.web.streams import Streams
from handletime.web.view import IN_LINE, INTERVALS, NAMED_MAX, SPANS, USER_TYPES, View, read_view, settled, zone_of

if TYPE_CHECKING:
    from handletime.keys.keys import Key, Permission

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"
COOKIE: Final = "handletime_session"
FORM_COOKIE: Final = "handletime_form"
HTML: Final = "text/html"
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
NOW: Final = "/"
WITH_FORM: Final = frozenset({NOW, "/agents", "/skills", "/segments", "/skill-segments", "/waits"})
"""The pages with the form of the filters."""
PROGRAMS: Final = ("/api/", "/operations/")
"""Paths that programs ask for: their errors are always JSON."""
TITLES: Final = {NOW: "Now", "/agents": "Agents", "/skills": "Skills", "/segments": "Segments"}


class SignedOut(InputError):
    """Nobody is signed in. `ended` says that somebody was, and the key or the session has ended."""

    def __init__(self, *, ended: bool) -> None:
        self.ended = ended
        super().__init__("Sign in first.")


class Elsewhere(Exception):
    """The address leaves something open. Another one says it, and should be opened instead."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__(address)


class Asker(NamedTuple):
    """Who looks at the page: the key, its session, the names and the rows of its account."""

    key: Key
    session: Session
    labels: AccountLabels
    reader: Reader
    clocks: Clocks
    """Those of the time zone and the language of the browser."""

    @property
    def account(self) -> str:
        """The account of the key."""
        return self.key.account

    def view(self, query: Query, now: int, *, cuts: bool = True) -> View:
        """What an address asks to see of a span, compared with nothing where there is nothing. Faults stay in `query`.

        Raises NotNow.
        """
        return comparable(read_view(query, now, self.clocks, cuts=cuts), self.reader)


class Page:
    """The one object behind all pages."""

    def __init__(self, service: Service, sessions: Sessions, labels: Labels, *, with_now: bool = True) -> None:
        """Without Now, the page begins with the agents."""
        self.service, self.sessions, self.labels = service, sessions, labels
        self.titles = {path: title for path, title in TITLES.items() if with_now or path != NOW}
        self.base = urlsplit(service.settings.public_url or "").path.rstrip("/")
        """The path before ours, where a proxy adds one."""
        self.streams = Streams()
        self.levels, self.focus_lately = LevelsToday(), FocusLately()
        self.stopping = asyncio.Event()

    def asker(
        self, request: HttpRequest, permission: Permission, *, is_use: bool = True, without_agent: str = ""
    ) -> Asker:
        """Who asks. Raises SignedOut; Forbidden where the key may not see this.

        `is_use` is False where an open page asks by itself, which keeps no session alive. `without_agent` is what the
        page shows, where that is of no agent, and so of no group.

        A page's address says everything that is shown. An address without a time zone, or with names, is answered with
        a complete one. So Elsewhere is raised, or BadRequest for names that nobody or several have.
        """
        asker = self._signed_in(request, is_use=is_use)
        authorize(asker.key, asker.account, permission)
        if without_agent:
            check_queues(asker.key.scope, without_agent)
        if wants_page(request):
            self._settle(request, asker)
        return asker

    def _signed_in(self, request: HttpRequest, *, is_use: bool = True) -> Asker:
        cookie = cookie_of(request, COOKIE)
        session = self.sessions.find(cookie, self.service.clock.now(), is_use=is_use)
        if session is None:
            self.service.count_stranger(request)
            raise SignedOut(ended=bool(cookie))
        try:
            key = self.key_of(request, session.token)
        except Unauthorized as error:
            self.sessions.end(cookie)
            raise SignedOut(ended=True) from error
        labels, reader = self.labels.of(key.account), self.service.reader_of(key)
        if self.labels.are_given and not key.scope.is_whole:
            labels = labels.within(partial(_is_seen, key.scope, cache(partial(self._occurring, key.account, reader))))
        clocks = Clocks(zone_of(session.zone), language_of(request.headers.get("accept-language", "")))
        return Asker(key, session, labels, reader, clocks)

    def _occurring(self, account: str, reader: Reader) -> dict[Kind, set[int]]:
        """The ids of each kind that the rows have which a reader sees. Raises NotNow."""
        with reader.snapshot() as snapshot:
            found = snapshot.execute(_OCCURRING).fetchone() or ([], [], [])
        agents, skills, groups = ({*(ids or [])} for ids in found)
        with suppress(NotHere):
            for each in self.service.open_lately(account, reader).conversations:
                skills.add(each.skill)
                if each.agent is not None:
                    agents.add(each.agent)
                    groups.add(each.group)
        return {"agent": agents, "skill": skills, "group": groups}

    def _settle(self, request: HttpRequest, asker: Asker) -> None:
        given = request.scope["query_string"]
        query = settled(given, asker.clocks.zone, asker.labels)
        if query.causes:
            rest = Query(given)
            read_view(rest, self.service.clock.now(), asker.clocks)
            names = {_name(cause) for cause in query.causes}
            raise BadRequest([*query.causes, *(cause for cause in rest.causes if _name(cause) not in names)])
        if query.query.encode() != given:
            raise Elsewhere(f"{request.scope['path']}?{query.query}")

    def check_ready(self) -> None:
        """Raises NotNow where conversations cannot be derived just now."""
        if self.service.problem is not None:
            raise NotNow(self.service.problem)

    def key_of(self, request: HttpRequest, token: str) -> Key:
        """The key of a token. Raises Unauthorized, TooMany."""
        if not token.isascii() or not token.isprintable():
            raise Unauthorized("oauth_problem=token_rejected", "No key has such characters.", "Bearer")
        url = self.service.origin(request)
        return self.service.key_of(request, AuthRequest("GET", url, f"Bearer {token}"))

    def html(self, request: HttpRequest, template: str, asker: Asker | None = None, **more: object) -> Response[bytes]:
        """A page of a template."""
        status = int(str(more.get("status", 200)))
        text = self.text(request, template, asker, **more)
        return Response(text.encode(), media_type=HTML, status_code=status, headers=HEADERS)

    def text(self, request: HttpRequest, template: str, asker: Asker | None = None, **more: object) -> str:
        """A template, or a part of a page, as text."""
        values = {
            "given": {},
            "wrong": set(),
            "with_forms": WITH_FORM,
            "base": self.base,
            "origin": self.service.origin(request),
            "static": f"{self.base}/static/{tag()}",
            "path": str(request.scope["path"]),
            "address": address_of(request),
            "asker": asker,
            "labels": asker.labels if asker else AccountLabels(),
            "scope": asker.key.scope if asker else WHOLE,
            "titles": self.titles,
            "words": words,
            "spans": SPANS,
            "in_line": IN_LINE,
            "intervals": INTERVALS,
            "user_types": USER_TYPES,
            **more,
        }
        return _templates().get_template(template).render(values)

    def stop(self) -> None:
        """Ends all open streams."""
        self.stopping.set()

    async def stopped_within(self, seconds: float) -> None:
        """Waits some seconds, or until the server stops. Says whether it stops."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)

    def answer_to(self, request: Any, error: Exception) -> Response[bytes]:
        """The answer to any exception of a page: itself a page, where one was asked for."""
        if not wants_page(request):
            return answer_to(request, _for_programs(error))
        if isinstance(error, SignedOut):
            return self._to_sign_in(request, error)
        if isinstance(error, Elsewhere):
            return Response(b"", status_code=303, headers={**HEADERS, "Location": self.base + error.address})
        status, body, headers = translated(request, error)
        title, causes = _title_and_causes(error, body)
        asker = self._asker_if_any(request) if status < 500 else None
        more: dict[str, object] = {} if asker is None else self._as_given(request, asker, error)
        answer = self.html(
            request, "error.html", asker, status=status, title=title, causes=causes, again=status == 503, **more
        )
        answer.headers.update(headers)
        return answer

    def answer_to_nowhere(self, request: Any, error: Exception) -> Response[bytes]:
        """The answer to an unknown address: a page for browsers, but not below the APIs' paths."""
        if isinstance(error, HTTPException) and not request.scope["path"].startswith(PROGRAMS):
            return self.answer_to(request, error)
        return answer_to(request, error)

    def _asker_if_any(self, request: Any) -> Asker | None:
        """Who asks, for a request that went wrong; None where nobody is signed in, or it cannot be found out now."""
        try:
            return self._signed_in(request)
        except HandletimeError:
            return None

    def _as_given(self, request: Any, asker: Asker, error: Exception) -> dict[str, object]:
        """What the form of the filters needs where an address is wrong: what was given, and a view of what is right."""
        wrong = {_name(cause) for cause in error.causes} if isinstance(error, BadRequest) else set()
        left_out = wrong | (_SPAN if wrong & _SPAN else set())
        given = dict(parse_qsl(request.scope["query_string"].decode("latin-1"), errors="replace"))
        right = urlencode({name: value for name, value in given.items() if name not in left_out})
        kept = {name: value for name, value in given.items() if name not in _IN_FORM}
        view = read_view(Query(right.encode()), self.service.clock.now(), asker.clocks)
        path = request.scope["path"]
        choices = [
            (asker.labels.text(kind, number), number, f"{path}?{urlencode({**given, kind: number}, quote_via=quote)}")
            for kind in KINDS
            if kind in wrong and kind in given
            for number in asker.labels.meant(kind, given[kind])[:NAMED_MAX]
        ]
        return {
            "view": view,
            "given": given,
            "wrong": wrong,
            "with_form": isinstance(error, BadRequest),
            "kept": kept,
            "choices": choices,
        }

    def _to_sign_in(self, request: HttpRequest, error: SignedOut) -> Response[bytes]:
        if request.headers.get("sec-fetch-site") == "cross-site" and request.method == "GET" and not error.ended:
            # A link from elsewhere comes without the cookie (SameSite=Strict); asked for again from here, with it.
            return self.html(request, "again.html")
        why = "&ended=1" if error.ended else ""
        where = f"{self.base}/sign-in?next={quote(address_of(request), safe='')}{why}"
        return Response(b"", status_code=303, headers={**HEADERS, "Location": where})


_OCCURRING: Final = """select list(distinct agentId), list(distinct skillId), list(distinct groupId)
    from agent_segments"""


def _is_seen(scope: Scope, occurring: Callable[[], Mapping[Kind, Container[int]]], kind: Kind, number: int) -> bool:
    """Whether the name of an id may be seen: the scope names it, or it is somewhere in the rows that are within."""
    named = {"group": scope.groups, "skill": scope.skills}.get(kind) or ()
    return number in named or number in occurring()[kind]


def _for_programs(error: Exception) -> Exception:
    if isinstance(error, SignedOut):
        return Unauthorized("oauth_problem=token_rejected", "Sign in first.", 'Bearer realm="handletime"')
    return error


ThePage = NamedDependency[Page]


_IN_FORM: Final = frozenset(
    {"from", "to", "fromOffset", "toOffset", "last", "interval", "tz"}
    | {"skill", "agent", "group", "userType", "source", "long", "compare"}
)
_SPAN: Final = frozenset({"from", "to", "last", "interval"})


def _name(cause: str) -> str:
    """The parameter that a fault is about."""
    return cause.partition(":")[0]


def cookie_of(request: HttpRequest, name: str) -> str:
    """The session cookie that a browser sent; "" where it sent none, or one that is not ours."""
    given = request.cookies.get(name, "")
    return given if is_cookie(given) else ""


def wants_page(request: Any) -> bool:
    """Whether a page is asked for, as by a browser that opens an address."""
    return "text/html" in request.headers.get("accept", "")


def address_of(request: HttpRequest) -> str:
    """Path and query, as they can stand in a link."""
    query = in_link(request.scope["query_string"])
    return str(request.scope["path"]) + (f"?{query}" if query else "")


def in_link(address: str | bytes) -> str:
    """An address, or a part of one, with non-ASCII escaped, so that it can stand in a header."""
    return quote(address, safe="/?#[]@!$&'()*+,;=:%~")


def is_local(address: str) -> bool:
    """Whether an address is one of this server's pages."""
    return address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()


def _title_and_causes(error: Exception, body: Body) -> tuple[str, list[str]]:
    """The heading of an error's page, and what is said below it. `body` is what a program is answered."""
    match error, body:
        case BadRequest(), _:
            return "This cannot be shown", error.causes
        case Refused(), _:
            return error.message, []
        case Forbidden(), _:
            return "This key may not see this page", [str(error)]
        case TooMany(), _:
            return "Too many requests", [f"Try it again in {error.wait_s} s."]
        case NotHere(), _:
            return "Not at this server", [str(error)]
        case _, Internal():
            return "Something is broken here", [f"The log says what, under {body.internal_code}."]
        case HTTPException(), _:
            return "There is no such page", []
        case _:
            return "Not able to answer now", [body.message]


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment


@cache
def static_files() -> dict[str, tuple[bytes, str]]:
    """The files that come with the page, and their types, by name."""
    files = (file for file in sorted(STATIC.rglob("*")) if file.is_file())
    return {str(file.relative_to(STATIC).as_posix()): (file.read_bytes(), _type(file)) for file in files}


def _type(file: Path) -> str:
    known = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".txt": "text/plain"}
    return known.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"


@cache
def tag() -> str:
    """A tag that changes with any of the files, so that browsers may keep them for ever."""
    whole = hashlib.sha256()
    for name, (content, _) in static_files().items():
        whole.update(name.encode() + content)
    return whole.hexdigest()[:12]
