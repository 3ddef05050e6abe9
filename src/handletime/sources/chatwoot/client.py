"""Asks the REST API of a Chatwoot, with an administrator's token, and says what is wrong in a sentence.

Nothing of an answer is kept but what is asked for here, and nothing of it is in an error; the token is in neither.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any, Final, Generic, NamedTuple, TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import msgspec
from msgspec import Struct

from handletime.errors import InputError, NotNow
from handletime.sources.asking import retry_after
from handletime.sources.chatwoot.agents import BOTS, INBOX_BOTS

T = TypeVar("T")
PACE_S: Final = 0.1
"""Seconds between two requests; Chatwoot allows 50 in one."""
TIMEOUT_S: Final = 30.0
TRIES: Final = 6
"""So often something is asked for that is not answered."""
PAUSE_S: Final = 0.5
"""Seconds to wait before asking again, twice as long each time, but at most `PAUSE_MAX_S`."""
PAUSE_MAX_S: Final = 60.0
ANSWER_MAX: Final = 32 << 20
"""The most bytes of an answer."""
MESSAGES_MAX: Final = 20_000
"""The most messages of one conversation that are asked for."""
PAGE_MESSAGES: Final = 100
"""A page of messages with fewer is the last one."""
SUBSCRIPTIONS: Final = ("conversation_created", "conversation_updated", "message_created")
"""What a webhook has to tell."""


class Listed(Struct):
    """A conversation in the list, and its JSON. Times are epoch seconds; `active` is that of whatever was last."""

    id: int
    created: float
    active: float
    raw: bytes


class Page(NamedTuple):
    """A page of conversations, and how many there are on all pages."""

    conversations: list[Listed]
    total: int


class Webhook(Struct):
    """A webhook. `secret` is what its deliveries are signed with; versions before 2026 have none."""

    id: int
    url: str
    subscriptions: list[str] = []
    secret: str | None = None

    def address_secret(self) -> str | None:
        """The secret that stands in its address instead."""
        return next(iter(parse_qs(urlsplit(self.url).query).get("secret", ())), None)


class Name(NamedTuple):
    """What somebody or something is called, "" where it has no name: `kind` is `agent`, or `inbox` or `team`."""

    kind: str
    id: int
    name: str


def is_address(url: str) -> bool:
    """Whether this is an address of a server, as `https://host:port/path`, and nothing else."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, httpx.URL(url).host
    except (ValueError, httpx.InvalidURL):
        return False
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    return parts.scheme in ("http", "https") and bool(host) and port != 0 and plain


class Client:
    """One account of one Chatwoot. Not for several threads. All methods raise InputError, and NotNow where repeating
    may help; a context, to close its connections."""

    def __init__(self, url: str, token: str, account: int) -> None:
        """`url` is Chatwoot's address, `account` the number in the addresses of its pages."""
        if not is_address(url):
            raise InputError(f"{url} is no address of a Chatwoot; write https://host")
        if not token or not (token.isascii() and token.isprintable()):
            raise InputError("the token is empty, or holds characters that none has")
        self._url = url.rstrip("/")
        self._account = account
        self._client = httpx.Client(
            base_url=f"{self._url}/api/v1/accounts/{account}",
            headers={"api_access_token": token, "Accept": "application/json"},
            timeout=TIMEOUT_S,
            follow_redirects=False,
        )
        self._reached = False
        self._next_s = 0.0

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    # --- what is asked for ------------------------------------------------------------------------------------

    def auto_resolve_minutes(self) -> int | None:
        """After how many minutes of silence the account resolves a conversation; None where it does not."""
        account = self._get("/", _Account)
        if account.settings is not None and account.settings.auto_resolve_after:
            return account.settings.auto_resolve_after
        return account.auto_resolve_duration * 24 * 60 if account.auto_resolve_duration else None

    def names(self) -> Iterator[Name]:
        """Agents, inboxes and teams; bots as agents with the ids that events have for them."""
        for agent in self._get("/agents", list[_Named]):
            yield Name("agent", agent.id, agent.available_name or agent.name or "")
        for bot in self._get("/agent_bots", list[_Named], missing=[]):
            yield Name("agent", BOTS + bot.id, bot.name or "")
        for inbox in self._get("/inboxes", _Payload[list[_Named]]).payload:
            yield Name("inbox", inbox.id, inbox.name or "")
            yield Name("agent", INBOX_BOTS + inbox.id, f"Bot of {inbox.name or inbox.id}")
        for team in self._get("/teams", list[_Named]):
            yield Name("team", team.id, team.name or "")

    def conversations(self, page: int) -> Page:
        """A page, from 1 on, of all conversations, the oldest first: new ones come at the end, so no page shifts."""
        asked: dict[str, Any] = {"status": "all", "assignee_type": "all", "sort_by": "created_at_asc", "page": page}
        data = self._get("/conversations", _Conversations, **asked).data
        listed = [(self._read(raw, _Listed, "/conversations"), bytes(raw)) for raw in data.payload]
        return Page([record.listed(raw) for record, raw in listed], data.meta.all_count or 0)

    def messages(self, conversation: int) -> Iterator[bytes]:
        """The JSON of each message of a conversation, at most `MESSAGES_MAX`."""
        after = 0
        for _ in range(MESSAGES_MAX // PAGE_MESSAGES):
            path = f"/conversations/{conversation}/messages"
            page = self._get(path, _Payload[list[msgspec.Raw]], after=after).payload
            yield from map(bytes, page)
            last = max((self._read(raw, _Identified, path).id for raw in page), default=after)
            if len(page) < PAGE_MESSAGES or last <= after:
                return
            after = last

    def webhook(self, address: str) -> Webhook | None:
        """The account's webhook with this address, whatever its query says; None where there is none."""
        listed = self._get("/webhooks", _Payload[_Webhooks]).payload.webhooks
        return next((webhook for webhook in listed if webhook.url.partition("?")[0] == address), None)

    def make_webhook(self, address: str) -> Webhook:
        """A new webhook."""
        asked = {"name": "handletime", "url": address, "subscriptions": [*SUBSCRIPTIONS]}
        return self._send("POST", "/webhooks", asked)

    def mend_webhook(self, webhook: Webhook) -> Webhook:
        """The webhook with all that deliveries need: subscriptions, and a secret, if need be in its address."""
        wanted = [*webhook.subscriptions, *(each for each in SUBSCRIPTIONS if each not in webhook.subscriptions)]
        url = webhook.url
        if not webhook.secret and not webhook.address_secret():
            url = f"{url.partition('?')[0]}?{urlencode({'secret': secrets.token_urlsafe(32)})}"
        if wanted == webhook.subscriptions and url == webhook.url:
            return webhook
        return self._send("PATCH", f"/webhooks/{webhook.id}", {"url": url, "subscriptions": wanted})

    # --- how it is asked --------------------------------------------------------------------------------------

    def _send(self, method: str, path: str, webhook: dict[str, Any]) -> Webhook:
        content = self._ask(method, path, json={"webhook": webhook})
        return self._read(content, _Payload[_Webhook], path).payload.webhook

    def _get(self, path: str, type_: type[T], *, missing: T | None = None, **query: Any) -> T:
        """An answer; `missing` where Chatwoot has no such thing or keeps it from this user."""
        try:
            content = self._ask("GET", path, params=query)
        except _Refused:
            if missing is None:
                raise
            return missing
        return self._read(content, type_, path)

    def _read(self, content: bytes | msgspec.Raw, type_: type[T], path: str) -> T:
        try:
            return msgspec.json.decode(content, type=type_)
        except (ValueError, RecursionError) as error:
            told = f"{self._url} does not answer {path} as Chatwoot does: {error}; is this its address?"
            raise InputError(told) from None

    def _ask(self, method: str, path: str, **more: Any) -> bytes:
        """The body of an answer. What changes something is asked for once, all else up to `TRIES` times."""
        pause, why = PAUSE_S, ""
        for left in reversed(range(TRIES)):
            self._wait_for_turn()
            try:
                status, headers, content = self._once(method, path, **more)
            except httpx.RequestError as error:
                why = f"{self._url} cannot be reached: {_transport(error)}"
                if not self._reached or method != "GET":
                    raise InputError(why) from None
                wait = pause
            else:
                self._reached = True
                if status == 200:
                    return content
                if status != 429 and (status < 500 or method != "GET"):
                    raise _Refused(self._refusal(status, headers, path))
                why = f"{self._url} does not answer {path} ({status})"
                asked = retry_after(headers.get("Retry-After", ""))
                wait = pause if asked is None else min(asked, PAUSE_MAX_S)
            if left:
                time.sleep(wait)
            pause = min(2 * pause, PAUSE_MAX_S)
        raise NotNow(f"{why}, {TRIES} times in a row; run it again later, it goes on where it stopped")

    def _wait_for_turn(self) -> None:
        time.sleep(max(0.0, self._next_s - time.monotonic()))
        self._next_s = time.monotonic() + PACE_S

    def _once(self, method: str, path: str, **more: Any) -> tuple[int, httpx.Headers, bytes]:
        with self._client.stream(method, path, **more) as response:
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > ANSWER_MAX:
                    raise InputError(f"{self._url} answers {path} with more than {ANSWER_MAX >> 20} MiB")
            return response.status_code, response.headers, bytes(content)

    def _refusal(self, status: int, headers: httpx.Headers, path: str) -> str:
        if status == 401:
            what = "lets only administrators do this, and the token is none's"
            if path == "/":
                what = f"knows no such token, or nobody in account {self._account} has it"
            return f"{self._url} refuses {path} (401): it {what}"
        if status == 404:
            told = f"is {self._account} the account's number, and this Chatwoot's address?"
            return f"{self._url} has no {path} (404): {told}"
        if status == 422:
            return f"{self._url} refuses {path} (422): it does not take what is asked for; is the address one for it?"
        if 300 <= status < 400:
            host = urlsplit(headers.get("Location", "")).netloc
            elsewhere = f" to {host}" if host.isascii() and host.isprintable() and host else ""
            return f"{self._url} leads elsewhere{elsewhere} ({status}): give Chatwoot's own address"
        return f"{self._url} refuses {path} ({status})"


class _Refused(InputError):
    """An answer that says no."""


def _transport(error: httpx.RequestError) -> str:
    text = str(error) or type(error).__name__
    return f"{text} (its certificate is not trusted)" if "CERTIFICATE_VERIFY_FAILED" in text else text


# --- what is read of the answers ------------------------------------------------------------------------------


class _Settings(Struct):
    auto_resolve_after: int | None = None


class _Account(Struct):
    id: int
    settings: _Settings | None = None
    auto_resolve_duration: int | None = None


class _Named(Struct):
    id: int
    name: str | None = None
    available_name: str | None = None


class _Identified(Struct):
    id: int


class _Listed(Struct):
    id: int
    created_at: float
    last_activity_at: float | None = None
    updated_at: float | None = None

    def listed(self, raw: bytes) -> Listed:
        active = max(self.created_at, self.last_activity_at or 0, self.updated_at or 0)
        return Listed(self.id, self.created_at, active, raw)


class _Counts(Struct):
    all_count: int | None = None


class _List(Struct):
    payload: list[msgspec.Raw]
    meta: _Counts


class _Conversations(Struct):
    data: _List


class _Webhooks(Struct):
    webhooks: list[Webhook]


class _Webhook(Struct):
    webhook: Webhook


class _Payload(Struct, Generic[T]):
    payload: T
