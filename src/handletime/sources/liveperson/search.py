"""LivePerson's Messaging Interactions API is asked for conversations: `POST …/conversations/search`, page by page."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec
from msgspec import Raw, Struct

from handletime.clock import MINUTE
from handletime.errors import HandletimeError, InputError, NotNow
from handletime.events.book import is_account
from handletime.sources.asking import retry_after
from handletime.sources.liveperson.credentials import Credentials
from handletime.sources.liveperson.fields import UNREADABLE
from handletime.sources.liveperson.files import without_lone_surrogates

PAGE_RECORDS: Final = 100
"""Conversations of one page: the most that LivePerson gives."""
ANSWER_MAX: Final = 256 << 20
"""The longest page, in bytes, unpacked."""
CONTENT: Final = (
    *("messageRecords", "agentParticipants", "agentParticipantsActive"),
    *("transfers", "interactions", "dialogs"),
)
"""What is asked for besides `info`; texts come with `messageRecords` and are dropped here."""
SOURCE: Final = "handletime"
ROUNDED_MS: Final = 10 * MINUTE
"""LivePerson rounds the ends of a window outwards to ten minutes."""
DOMAINS: Final = "https://api.liveperson.net"
"""Where LivePerson tells which host an account's history is on (its Domain API)."""

TRIES: Final = 6
PAUSE_S: Final = 1.0
"""Seconds before the second try; twice as many before each further one."""
PAUSE_MAX_S: Final = 60.0
TIMEOUT_S: Final = 60.0

T = TypeVar("T")
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?")


class Window(NamedTuple):
    """From when to when, both included, in epoch milliseconds."""

    start: int
    end: int


class Query(NamedTuple):
    """Which conversations: those that began in a window, had this status when asked, and ended in a window."""

    began: Window
    ended: Window | None = None
    status: tuple[str, ...] = ("OPEN", "CLOSE")


class Page(NamedTuple):
    """Some of a query's records, as they stand; `total` is how many the query has in all."""

    records: list[Raw]
    total: int


class _Shards(Struct, rename="camel"):
    partial_result: bool = False


class _Metadata(Struct, rename="camel"):
    count: int
    shards_status_result: _Shards | None = None


class _Answer(Struct, rename="camel"):
    metadata: _Metadata = msgspec.field(name="_metadata")
    conversation_history_records: list[Raw]


class _Domain(Struct):
    base_uri: str = msgspec.field(name="baseURI")


class _Again(HandletimeError):
    """What may be better at the next try, and after how many seconds the other side wants it."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        self.wait_s = wait_s
        super().__init__(message)


class Search:
    """Asks one account's history; to be used in a `with`, by one thread."""

    def __init__(self, account: str, credentials: Credentials, url: str | None = None) -> None:
        """`url` is the host of the account's history; without it LivePerson is asked where that is.

        Raises InputError where account or address have a wrong form, or LivePerson knows no such account;
        NotNow where it does not answer.
        """
        if not is_account(account):
            raise InputError("an account of LivePerson's has 1 to 64 letters and digits")
        self._credentials = credentials
        self._place = _checked(url) if url else ""
        self._client = httpx.Client(timeout=TIMEOUT_S, headers={"User-Agent": SOURCE})
        try:
            self._place = self._place or self._domain(account)
        except BaseException:
            self.close()
            raise
        self._url = f"{self._place}/messaging_history/api/account/{account}/conversations/search"

    def __enter__(self) -> Search:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()

    def page(self, query: Query, offset: int) -> Page:
        """A page of a query's conversations, by start, from a number on (the first is 0).

        Asks again, some times, where LivePerson is busy, unreachable, slow, or answers with something else. Raises
        NotNow where that does not help; InputError where it refuses.
        """
        asked = f"offset={offset}&limit={PAGE_RECORDS}&sort=start:asc&source={SOURCE}"
        body: dict[str, object] = {"start": _range(query.began), "status": query.status, "contentToRetrieve": CONTENT}
        if query.ended is not None:
            body["end"] = _range(query.ended)
        return self._repeated(f"{self._url}?{asked}", self._place, body, _page_of)

    def _domain(self, account: str) -> str:
        url = f"{DOMAINS}/api/account/{account}/service/msgHist/baseURI.json?version=1.0"
        return f"{urlsplit(DOMAINS).scheme}://{self._repeated(url, DOMAINS, None, _host_of)}"

    def _repeated(self, url: str, place: str, body: object, read: Callable[[bytes], T]) -> T:
        """What an answer holds. `body` is posted; without one the address is got, without credentials."""
        pause = PAUSE_S
        for tries_left in reversed(range(TRIES)):
            try:
                return read(self._answer(url, place, body))
            except _Again as error:
                if not tries_left:
                    raise NotNow(f"{place}: {error}; asked {TRIES} times") from error
                time.sleep(min(max(error.wait_s, pause), PAUSE_MAX_S))
                pause *= 2
        raise AssertionError

    def _answer(self, url: str, place: str, body: object) -> bytes:
        """The body of one good answer. Raises _Again, InputError."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {}
        if body is not None:
            headers = {"Content-Type": "application/json", "Authorization": self._credentials.authorization(url)}
        method = "GET" if body is None else "POST"
        parts, size = [], 0
        try:
            with self._client.stream(method, url, content=content, headers=headers) as answer:
                _refuse(answer, place, self._credentials.kind)
                for part in answer.iter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > ANSWER_MAX:
                        raise InputError(f"{place} answers with more than {ANSWER_MAX >> 20} MiB")
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _Again(f"cannot be reached ({type(error).__name__})") from error
        return b"".join(parts)


def _checked(url: str) -> str:
    """The address without a slash at its end. Raises InputError."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise InputError(f"{url}: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise InputError(f"{url} is no address of LivePerson's history; write https://HOST")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise InputError(f"{url} would send the credentials in the clear; write https://")
    return url.rstrip("/")


def _range(window: Window) -> dict[str, int]:
    return {"from": window.start, "to": window.end}


def _refuse(answer: httpx.Response, place: str, kind: str) -> None:
    """Raises what an answer without what was asked for means."""
    status = answer.status_code
    if status == 200:
        return
    if status in _BUSY or status >= 500:
        raise _Again(f"is busy or broken (status {status})", retry_after(answer.headers.get("Retry-After", "")) or 0.0)
    hints = {
        400: "it does not understand the question",
        401: f"it refuses {kind}: it is wrong, has run out or is switched off",
        403: f"it refuses {kind}: it may not read Data: Conversation History / Messaging Interactions",
        404: "it has no such account; see --account and --url",
    }
    told = "it sends elsewhere; name that address" if answer.is_redirect else hints.get(status, "it refuses")
    raise InputError(f"{place}: {told} (status {status})")


_BUSY: Final = (408, 425, 429)


def _page_of(text: bytes) -> Page:
    try:
        try:
            answer = msgspec.json.decode(text, type=_Answer)
        except UNREADABLE:
            answer = msgspec.json.decode(without_lone_surrogates(text), type=_Answer)
    except UNREADABLE as error:
        raise _Again("does not answer with a page of conversations") from error
    if answer.metadata.shards_status_result and answer.metadata.shards_status_result.partial_result:
        raise _Again("answers with a part of the page only (partialResult)")
    return Page(answer.conversation_history_records, answer.metadata.count)


def _host_of(text: bytes) -> str:
    try:
        host = msgspec.json.decode(text, type=_Domain).base_uri
    except UNREADABLE as error:
        raise _Again("does not say which host the history is on") from error
    if not _HOST.fullmatch(host):
        raise InputError(f"{DOMAINS} names no host for the history")
    return host
