"""Where `handletime ingest` puts events: into a store that it opens itself, or to a server, some thousand at a time.

file ─> blocks ─> parts of one account ─> several of them under way at once ─> numbers of accepted events
"""

from __future__ import annotations

import http.client
import json
import math
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handletime.answers.words import count
from handletime.cli.folder import make_folder, side_file
from handletime.errors import InputError, InvalidEvents, NotNow
from handletime.events.encode import to_ndjson
from handletime.events.model import DEFAULT_ACCOUNT
from handletime.sources.asking import retry_after
from handletime.store.opening import StoreSettings
from handletime.store.requests import Ingested
from handletime.store.store import Store

STORE_EVENTS: Final = 20_000
REQUEST_EVENTS: Final = 10_000
"""The most events of one part. A part of an account that has more events has at least half of it."""
KEPT_EVENTS: Final = 400_000
"""The most events, of all accounts, that wait for more events of their account."""
UNDER_WAY: Final = 4
"""Parts that wait for their answer at once: enough to share a commit, too few to be a queue."""
TIMEOUT_S: Final = 120.0
LOST_S: Final = 60.0
"""Seconds that a server which has answered before may be unreachable."""
BUSY_S: Final = 900.0
"""Seconds for which a server may say that it is busy."""
READ_BYTES: Final = 1 << 16
PAUSE_MAX_S: Final = 10.0


class Tally(msgspec.Struct):
    """What became of the events so far."""

    accepted: int = 0
    duplicates: int = 0

    def said(self) -> str:
        """The same in words."""
        return f"{count(self.accepted, 'event')} accepted, {count(self.duplicates, 'duplicate')}"


class Target:
    """Takes tables of events, and stores them some thousand of an account at a time."""

    def __init__(self, most: int, send: Callable[[str, pa.Table, int], Iterator[Future[Ingested]]]) -> None:
        """`send` stores a table of one account in parts of this size."""
        self._most, self._send = most, send
        self._kept: dict[str, list[pa.Table]] = {}
        self._kept_events = 0
        self._waiting: deque[Future[Ingested]] = deque()

    def put(self, events: pa.Table, tally: Tally) -> None:
        """Begins to store events; waits while too many are under way. Raises what storing raises."""
        for account, part in _by_account(events):
            self._kept.setdefault(account, []).append(part)
            self._kept_events += part.num_rows
            if sum(table.num_rows for table in self._kept[account]) >= self._most:
                self._begin(account, tally)
        if self._kept_events > KEPT_EVENTS:
            self._begin_all(tally)

    def finish(self, tally: Tally) -> None:
        """Stores what is left and waits for all that is under way. Raises what storing raises."""
        self._begin_all(tally)
        while self._waiting:
            self._count(tally)

    def _begin_all(self, tally: Tally) -> None:
        for account in list(self._kept):
            self._begin(account, tally)

    def _begin(self, account: str, tally: Tally) -> None:
        events = pa.concat_tables(self._kept.pop(account)).unify_dictionaries()
        self._kept_events -= events.num_rows
        size = math.ceil(events.num_rows / math.ceil(events.num_rows / self._most))
        for future in self._send(account, events, size):
            self._waiting.append(future)
            if len(self._waiting) >= UNDER_WAY:
                self._count(tally)

    def _count(self, tally: Tally) -> None:
        try:
            done = self._waiting.popleft().result()
        except InvalidEvents as error:  # Its events are counted within what was stored together, which nobody knows.
            told = "Nothing of what would have been stored together was stored."
            raise InputError("\n".join([*(fault.message for fault in error.faults), told])) from error
        tally.accepted += done.accepted
        tally.duplicates += done.duplicates


def _by_account(events: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    accounts = events["accountId"].cast(pa.string())
    names = pc.unique(accounts).to_pylist()
    for name in names:
        yield name, events if len(names) == 1 else events.filter(pc.equal(accounts, name))


@contextmanager
def store_target(folder: Path, conversation_events: int) -> Iterator[Target]:
    """The store of a folder, made if there is none, whose conversations get no new events beyond so many.

    Raises StoreError, NotNow, OSError.
    """
    make_folder(folder)
    settings = StoreSettings(conversation_events=conversation_events)
    with side_file(folder) as side, Store(folder, side, settings) as store:

        def send(account: str, events: pa.Table, size: int) -> Iterator[Future[Ingested]]:
            for first in range(0, events.num_rows, size):
                yield store.submit(account, events.slice(first, size))

        yield Target(STORE_EVENTS, send)


@contextmanager
def server_target(url: str, token: str) -> Iterator[Target]:
    """A running server. Storing raises InputError where it refuses, NotNow where it is unreachable or busy for long."""
    client = Client(url, token)
    threads = ThreadPoolExecutor(UNDER_WAY, "sending")

    def send(account: str, events: pa.Table, size: int) -> Iterator[Future[Ingested]]:
        for body in _bodies(to_ndjson(events), size):
            yield threads.submit(client.send, account, body)

    try:
        yield Target(REQUEST_EVENTS, send)
    finally:
        client.stop()
        threads.shutdown(cancel_futures=True)


def _bodies(lines: bytes, size: int) -> Iterator[bytes]:
    """Some lines at a time."""
    ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == ord("\n")) + 1
    begin = 0
    for end in [*ends[size - 1 :: size].tolist(), len(lines)]:
        if end > begin:
            yield lines[begin:end]
        begin = end


class Answer(NamedTuple):
    """A server's answer."""

    status: int
    retry_after: str
    body: bytes
    rest: http.client.HTTPResponse | None = None
    """The body, where it was not read yet."""


class Client:
    """Sends requests to a server, again where that may help. Any thread may use it; each has its own connection."""

    def __init__(self, url: str, token: str) -> None:
        """Raises InputError where the address or the token has a wrong form."""
        if not (token.isascii() and token.isprintable()):
            raise InputError("the token holds characters that none has")
        try:
            parts = urlsplit(url)
            self._port = parts.port
        except ValueError as error:
            raise InputError(f"{url}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise InputError(f"{url} is no address of a server; write https://host or http://host:port")
        self._url, self._host, self._path = url, parts.hostname, parts.path.rstrip("/")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
        self._own = threading.local()
        self._reached = False
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Sends nothing again from now on."""
        self._stopped.set()

    def send(self, account: str, body: bytes) -> Ingested:
        """Sends events of an account until they are stored. Raises InputError, NotNow."""
        path = f"{self._path}/api/account/{account}/events"
        return self._stored(account, self._answer_to(partial(self._post, path, body)), body)

    def read(self, account: str, path: str) -> Iterator[bytes]:
        """The answer to a GET about an account, piece by piece. Raises InputError where it is refused, NotNow."""
        answer = self._answer_to(partial(self._get, f"{self._path}/api/account/{account}/{path}"))
        if answer.rest is None:
            told = f"{self._url} refused it ({answer.status}): {_said(answer)}"
            if answer.status == 401:
                told += f"\nIt was asked about account {account}: --account names another."
            raise InputError(told)
        try:
            while piece := answer.rest.read(READ_BYTES):
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise NotNow(f"the answer of {self._url} broke off; ask again") from error
        finally:
            self._connection().close()

    def _answer_to(self, ask: Callable[[], Answer]) -> Answer:
        """The answer, after as many attempts as it takes. Raises InputError, NotNow."""
        begun = time.monotonic()
        away_since: float | None = None
        pause = 0.5
        while True:
            try:
                answer = ask()
            except (OSError, http.client.HTTPException) as error:
                why = f"{self._url} cannot be reached: {str(error) or type(error).__name__}"
                if not self._reached:
                    raise InputError(why) from error
                away_since = away_since or time.monotonic()
                give_up, pause = away_since + LOST_S, min(2 * pause, PAUSE_MAX_S)
            else:
                self._reached, away_since = True, None
                if answer.status not in (429, 503):
                    return answer
                why = f"{self._url} is too busy: {_said(answer)}"
                asked = retry_after(answer.retry_after)
                give_up, pause = begun + BUSY_S, 5.0 if asked is None else min(asked, PAUSE_MAX_S)
            if time.monotonic() + pause > give_up or self._stopped.wait(pause):
                raise NotNow(why)

    def _post(self, path: str, body: bytes) -> Answer:
        """One request. Raises OSError, HTTPException."""
        connection = self._connection()
        try:
            # A server that refuses a request need not read it: the answer may be there.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request("POST", path, body, self._headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers.get("Retry-After", ""), response.read())
        except BaseException:
            connection.close()
            raise
        return answer

    def _get(self, path: str) -> Answer:
        """One request, whose body is only read where it is an error. Raises OSError, HTTPException."""
        connection = self._connection()
        try:
            connection.request("GET", path, headers=self._headers)
            response = connection.getresponse()
            if response.status == HTTPStatus.OK:
                return Answer(response.status, "", b"", response)
            answer = Answer(response.status, response.headers.get("Retry-After", ""), response.read())
        except BaseException:
            connection.close()
            raise
        return answer

    def _connection(self) -> http.client.HTTPConnection:
        found: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if found is None:
            if self._tls:
                found = http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=self._tls)
            else:
                found = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
            self._own.connection = found
        return found

    def _stored(self, account: str, answer: Answer, body: bytes) -> Ingested:
        if answer.status == 200:
            try:
                return msgspec.json.decode(answer.body, type=_Accepted).ingested()
            except msgspec.MsgspecError as error:
                raise InputError(f"{self._url} does not answer like a handletime server") from error
        told = f"{self._url} refused the events of account {account} ({answer.status}): {_said(answer)}"
        if answer.status == 400:
            first = json.loads(body.partition(b"\n")[0])
            told += "\nLines and events are counted in what was sent together. It begins with the event of the id "
            told += f"{first['eventId']} of conversation {first['conversationId']}."
        if answer.status == 401 and account == DEFAULT_ACCOUNT:
            told += f"\n{account} is the account of events that name none: --account says another."
        raise InputError(told)


class _Accepted(msgspec.Struct):
    accepted: int
    duplicates: int

    def ingested(self) -> Ingested:
        return Ingested(self.accepted, self.duplicates)


def _said(answer: Answer) -> str:
    """The text of an answer: the causes, the message, or "" where the answer is not one of ours."""
    try:
        body: Any = json.loads(answer.body)
        return "\n  ".join(map(str, [body["message"], *body.get("causes", [])]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return "it does not say why"
