"""What every method is given: the store, the keys, the clock and the settings; and how it lets a request in."""

from __future__ import annotations

import hashlib
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import msgspec
from litestar import Request
from litestar.di import NamedDependency
from litestar.params import FromPath

from handletime.addresses import client_of, is_among, networks
from handletime.answers.labels import Labels
from handletime.answers.live import LastRead, OpenConversations, open_conversations, within
from handletime.answers.times_today import Counted
from handletime.api.auth import BASIC, READING, AuthRequest, authorize, password_of
from handletime.api.errors import ADDRESS_RATE, Refused
from handletime.api.limits import ACCOUNT, Rate, Recent
from handletime.api.parameters import Query, a_text
from handletime.api.ports import Authenticator, Files, Reader, Store
from handletime.api.trace import trace_of
from handletime.clock import Clock
from handletime.errors import Forbidden, Unauthorized
from handletime.events.book import is_account
from handletime.scope import Scope
from handletime.store.budget import Budget
from handletime.targets.file import TargetsFile

if TYPE_CHECKING:
    from handletime.keys.keys import Key, Permission

HttpRequest = Request[Any, Any, Any]
SOURCE: Final = a_text("source", "Who is asking, for the log.", required=True, pattern="[a-zA-Z0-9_]+", longest=20)
_APP_KEY: Final = re.compile('oauth_consumer_key="[^"]*"')
_AUTHORITY: Final = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")


FULL: Final = "Too many large answers are being made or wait to be read; come again later."


class ApiSettings(msgspec.Struct, frozen=True):
    """How the methods behave.

    `public_url` is where clients see this server (`https://reports.example.com`), if that is not where it listens.
    `X-Forwarded-Proto`, `-Host` and `-For` count only from `trusted_proxies` (addresses or networks).
    `query_threads` is the number of queries answered at once; others wait, `query_limit_s` seconds at most.
    `ingest_requests` and `ingest_bytes` are the requests with events, and their bytes, that may be under way before a
    429. `answer_bytes` of answers may wait to be sent. `key_rate` and `address_rate` are requests a second of a key,
    and of an address without a key, `focus_rate` events a second of a key for focus; 0 is no limit. Pages of
    `focus_origins` may send focus from a browser (CORS).
    """

    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    query_threads: int = 8
    query_limit_s: float = 60.0
    ingest_requests: int = 128
    ingest_bytes: int = 256 << 20
    answer_bytes: int = 256 << 20
    body_idle_seconds: float = 30.0
    key_rate: float = 0.0
    address_rate: float = 0.0
    focus_rate: float = 0.0
    focus_origins: tuple[str, ...] = ()


class Service:
    """The one object behind all methods. `problem` says why the server is not ready yet, though the store is.

    `answers` is the memory of answers that are not yet sent, `labels` are the names that reports show beside ids,
    `targets` what waits are judged by.
    """

    def __init__(
        self,
        store: Store,
        authenticator: Authenticator,
        clock: Clock,
        files: Files,
        settings: ApiSettings | None = None,
        labels: Labels | None = None,
        targets: TargetsFile | None = None,
    ) -> None:
        self.store, self.authenticator, self.clock, self.files = store, authenticator, clock, files
        self.labels, self.targets = labels or Labels(), targets or TargetsFile()
        self.settings = settings or ApiSettings()
        self.answers = Budget(self.settings.answer_bytes, "memory", FULL)
        self.problem: str | None = None
        self._proxies = networks(self.settings.trusted_proxies)
        self._of_key: Rate[str] = Rate(self.settings.key_rate, "key-rate")
        self.of_focus: Rate[str] = Rate(self.settings.focus_rate, "focus-rate")
        self._of_address: Rate[bytes] = Rate(self.settings.address_rate, ADDRESS_RATE)
        self._lost: Rate[bytes] = Rate(self.settings.address_rate, ADDRESS_RATE)
        self._recent = Recent()
        self._open_lately: LastRead[OpenConversations] = LastRead()
        self.counted = Counted()

    def open_lately(self, account: str, reader: Reader) -> OpenConversations:
        """The open conversations of an account within the reader's scope, as of some seconds ago at most.

        Raises NotHere, NotNow.
        """

        def read() -> OpenConversations:
            with closing(reader.open_conversations()) as parts:
                found = open_conversations(parts, reader.deadline)
            return found._replace(left_out=reader.open_left_out())

        return within(self._open_lately.of(account, read), reader.scope)

    def whole(self, request: HttpRequest, account: str, permission: Permission, what: str) -> str:
        """The account's id, if the request's key has the permission, and may see all of the account.

        `what` is what is there of whole accounts only. Raises Unauthorized, Forbidden, TooMany.
        """
        key = self.admitted(request, account, permission)
        if not key.scope.is_whole:
            raise Forbidden(f"This key is limited to {key.scope}; there are {what} of whole accounts only.")
        return key.account

    def admitted(self, request: HttpRequest, account: str, permission: Permission, *, token: str = "") -> Key:
        """The request's key, if it is the account's and has the permission. Raises Unauthorized, Forbidden, TooMany.

        `token` is the key of a request that has it in its body, instead of a header.
        """
        account = unquote(account)
        given = [f"Bearer {token}"] if token else request.headers.getall("authorization", [])
        url = self.origin(request) + _as_sent(request)
        asked = AuthRequest(trace_of(request.scope).method, url, given or None)
        try:
            key = self.key_of(request, asked, remember=not token)
            authorize(key, account, permission)
        except Unauthorized as error:
            if asked.method in READING:
                raise Unauthorized(error.reason, error.message, f"{error.challenge}, {BASIC}") from None
            raise
        return key

    def key_of(self, request: HttpRequest, asked: AuthRequest, *, remember: bool = True) -> Key:
        """The key of a request. Counts the request against its rate. Raises Unauthorized, TooMany.

        `remember` lets requests with the same header, or cookie, take their turn under the key's account from now on.
        """
        try:
            key = self.authenticator.authenticate(asked)
        except Unauthorized:
            self.count_stranger(request)
            raise
        trace = trace_of(request.scope)
        trace.key, trace.share.account = key.id, key.account
        if remember and ACCOUNT.get() != key.account:
            self._recent.note(_credentials(request), key.account)
        self._of_key.take(key.id)
        return key

    def count_stranger(self, request: HttpRequest) -> None:
        """Counts a request without a valid key, once. Raises TooMany."""
        trace = trace_of(request.scope)
        if not trace.counted:
            trace.counted = True
            self._of_address.take(self._client(request))

    def count_lost(self, request: HttpRequest) -> None:
        """Counts a request that leads nowhere. Raises TooMany.

        It has a rate of its own: a broken link must not shut its address out of the sign-in.
        """
        self._lost.take(self._client(request))

    def _client(self, request: HttpRequest) -> bytes:
        peer = request.client.host if request.client else None
        return client_of(peer, request.headers.getall("x-forwarded-for", []), self._proxies)

    def begin_turn(self, request: HttpRequest) -> None:
        """Queues the request under its account if its credentials recently authenticated."""
        ACCOUNT.set(self._recent.account(_credentials(request)))

    def reader(self, request: HttpRequest, account: str, permission: Permission, *, without_agent: str = "") -> Reader:
        """The account's rows as far as the request's key may read them. Raises Unauthorized, Forbidden, TooMany.

        `without_agent` is what is asked for where that is of no agent, and so of no group: nothing for a key that is
        limited to groups.
        """
        key = self.admitted(request, account, permission)
        if without_agent:
            check_queues(key.scope, without_agent)
        return self.reader_of(key)

    def reader_of(self, key: Key) -> Reader:
        """The rows that a key may read."""
        return self.store.reader(key.account, key.scope)

    def origin(self, request: HttpRequest) -> str:
        """Where the client sees this server: scheme, host, port and, behind a proxy, the path before ours."""
        if self.settings.public_url:
            return self.settings.public_url.rstrip("/")
        scheme, host = str(request.scope["scheme"]), request.headers.get("host", "")
        if self._is_from_proxy(request):
            scheme = _last(request.headers.get("x-forwarded-proto", "")) or scheme
            host = _last(request.headers.get("x-forwarded-host", "")) or host
        if scheme not in ("http", "https"):
            scheme = "http"
        if not _AUTHORITY.fullmatch(host):
            host = _listening_at(request)
        return f"{scheme}://{host}"

    def base_uri(self, request: HttpRequest) -> str:
        """The host, the port if there is one, and the path before ours, where the client sees this server."""
        origin = urlsplit(self.origin(request))
        return origin.netloc + origin.path

    def _is_from_proxy(self, request: HttpRequest) -> bool:
        return request.client is not None and is_among(request.client.host, self._proxies)


def check_queues(scope: Scope, what: str) -> None:
    """Raises Forbidden where a scope has nothing of what is of no agent."""
    if not scope.has_queues:
        raise Forbidden(f"This key is limited to {scope}; {what} are of no group.")


TheService = NamedDependency[Service]
InPath = FromPath[str]
"""A part of the path, still percent-encoded."""


def _credentials(request: HttpRequest) -> bytes:
    """A hash of the credentials of a request, without the parts that differ each time. Holds no secret."""
    given = request.headers.get("authorization", "")
    app_key = _APP_KEY.search(given)
    said = app_key[0] if app_key else password_of(given) or given or request.headers.get("cookie") or ""
    return hashlib.sha256(said.encode()).digest()


def _last(forwarded: str) -> str:
    """The last value of a header, which the nearest proxy added. Anybody may have written the others."""
    return forwarded.rpartition(",")[2].strip()


def _listening_at(request: HttpRequest) -> str:
    server = request.scope.get("server")
    return f"{server[0]}:{server[1]}" if server else "localhost"


def _as_sent(request: HttpRequest) -> str:
    """The path and query of a request, its escapes untouched."""
    raw = request.scope.get("raw_path") or b""
    query = request.scope["query_string"]
    return (raw.partition(b"?")[0] + (b"?" + query if query else b"")).decode("latin-1")


def query_of(request: HttpRequest) -> Query:
    """The request's query, not yet read."""
    return Query(request.scope["query_string"])


def existing_account(account: str) -> str:
    """The id of an account that could exist. Raises Refused (404)."""
    account = unquote(account)
    if not is_account(account):
        raise Refused(404)
    return account
