"""`POST …/events`: stores all events of a request or none; after the answer they are durable (http-api.md 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple, ParamSpec, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from litestar import Response, post
from litestar.di import NamedDependency

from handletime.api.body import Coding, coding_of, lines_of, receive, unpacked, window_of
from handletime.api.errors import JSON, Refused
from handletime.api.service import HttpRequest, InPath, Service
from handletime.api.turns import FairThreads
from handletime.errors import FAULTS_SHOWN, Fault, InvalidEvents, NotHere
from handletime.events.blocks import Lines
from handletime.events.decode import Decoded, decode_lines
from handletime.events.model import EPOCH, EVENTS, FUTURE_MAX
from handletime.keys.keys import Key, Permission
from handletime.store.budget import Budget, Share
from handletime.store.requests import Ingested, Outcome

P = ParamSpec("P")
R = TypeVar("R")

NDJSON: Final = "application/x-ndjson"
DECODERS: Final = 4
SMALL: Final = 16 << 10
"""Bytes of NDJSON up to which requests may be decoded together."""
SMALL_LINES: Final = SMALL // 32
"""Lines up to which they may: no event is as short as 32 bytes."""


class Accepted(msgspec.Struct, frozen=True):
    """How many events were newly stored, and how many of those sent were there already."""

    accepted: int
    duplicates: int


class Intake:
    """Takes requests that bring events: limits how many are under way, in all and for an account, and decodes them.

    The threads decode account by account. Everything else happens in the event loop.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.places = Budget(service.settings.ingest_requests, "ingest-requests")
        self.budget = Budget(service.settings.ingest_bytes, "ingest-memory")
        self._threads = FairThreads(DECODERS, "decoder")
        self._small: dict[str, list[_Small]] = {}
        self._gathering: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Waits for what is under way."""
        self._threads.shutdown()

    async def admit(self, request: HttpRequest, account: str, permission: Permission) -> Key:
        """The request's key, if it may bring events. Raises Unauthorized, Forbidden, TooMany."""
        if request.headers.get("authorization", "")[:6].lower() == "bearer":
            return self.service.admitted(request, account, permission)
        # Signatures are checked, and nonces written, elsewhere.
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self.service.admitted, request, account, permission
        )

    async def take(self, request: HttpRequest, account: str) -> Ingested:
        """Reads, decodes and stores a request's events. Raises TooMany, Refused, BadRequest, InvalidEvents, NotNow."""
        form, coding = form_of(request, NDJSON, JSON), coding_of(request)
        with self.places.share(account, 1), self.budget.share(account) as share:
            body = await receive(request, share, self.service.settings.body_idle_seconds)
            if coding == "identity" and form == NDJSON and _is_small(body):
                return await self._take_small(account, bytes(body))
            begun = self.decode(account, _begin, self.service, account, body, coding, form, share)
            del body  # What is raised keeps what is here, for a while.
            return await to_its_end(begun)

    def decode(self, account: str, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[R]:
        """Queues work on a request's events for its account."""
        return asyncio.wrap_future(self._threads.submit_for(account, partial(work, *args, **kwargs)))

    async def _take_small(self, account: str, body: bytes) -> Ingested:
        """Stores a small request together with others of its account that come meanwhile.

        Decoding dozens together costs as much as decoding one.
        """
        small = _Small(body, asyncio.get_running_loop().create_future())
        if account in self._small:
            self._small[account].append(small)
        else:
            self._small[account] = [small]
            gathering = asyncio.create_task(self._gather(account))
            self._gathering.add(gathering)
            gathering.add_done_callback(self._gathering.discard)
        return await small.answer

    async def _gather(self, account: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            while group := self._small[account]:
                self._small[account] = []
                bodies = [small.body for small in group]
                stored = await self.decode(account, _begin_together, self.service, account, bodies)
                for some, answers in zip(_apart(group, len(stored)), stored, strict=True):
                    _answer_when_done(loop, some, answers)
        finally:
            del self._small[account]


class _Small(NamedTuple):
    body: bytes
    answer: asyncio.Future[Ingested]


def _apart(group: list[_Small], number: int) -> list[list[_Small]]:
    """Groups small requests: all of them together, or each alone."""
    return [group] if number == 1 else [[small] for small in group]


def _answer_when_done(loop: asyncio.AbstractEventLoop, group: list[_Small], answers: Future[list[Outcome]]) -> None:
    def answer() -> None:
        error = answers.exception()
        results = answers.result() if error is None else []
        for place, small in enumerate(group):
            if small.answer.done():  # Its client has gone.
                continue
            outcome = error or results[place]
            if isinstance(outcome, Ingested):
                small.answer.set_result(outcome)
            else:
                small.answer.set_exception(outcome)

    answers.add_done_callback(lambda _: loop.call_soon_threadsafe(answer))


@post("/api/account/{account:str}/events", status_code=200, name="events", request_max_body_size=None)
async def events(request: HttpRequest, intake: NamedDependency[Intake], account: InPath) -> Response[bytes]:
    """Stores events, all of the request or nothing."""
    # Not the service too: Litestar would resolve the two at once, in a task each, for a tenth of the request's price.
    account = (await intake.admit(request, account, "ingest")).account
    intake.places.check(1, account)
    if (read_only := intake.service.store.read_only) is not None:
        raise NotHere(read_only)
    done = await intake.take(request, account)
    return Response(msgspec.json.encode(Accepted(*done)), status_code=200, media_type=JSON)


async def to_its_end(begun: asyncio.Future[Future[Ingested]]) -> Ingested:
    """What becomes of events that are being decoded and then stored. Who goes away does not stop what has begun."""
    return await asyncio.shield(asyncio.wrap_future(await asyncio.shield(begun)))


def form_of(request: HttpRequest, *allowed: str) -> str:
    """The content type, without parameters, which has to be one of these. Raises Refused (415)."""
    essence, *parameters = request.headers.get("content-type", "").lower().split(";")
    names = dict(p.strip().split("=", 1) for p in parameters if "=" in p)
    if essence.strip() not in allowed or names.get("charset", "utf-8").strip('"') not in ("utf-8", "utf8"):
        raise Refused(415, f"Content-Type must be {' or '.join(allowed)}, in UTF-8.")
    return essence.strip()


def _is_small(body: bytearray) -> bool:
    """Whether a body of NDJSON may be decoded together with others. Empty lines count too."""
    return len(body) <= SMALL and body.count(b"\n") <= SMALL_LINES


def _begin(
    service: Service, account: str, body: bytearray, coding: Coding, form: str, share: Share
) -> Future[Ingested]:
    """Decodes a request and has its events stored. Raises BadRequest, InvalidEvents, Refused, TooMany, NotNow."""
    window = window_of(body, coding)
    share.take(window)
    lines = lines_of(unpacked(body, coding), array=form == JSON)
    events = _read(service, account, lines, "element" if form == JSON else "line", share)
    share.give_back(window + len(body))
    body.clear()
    return service.store.submit(account, events)


def _read(service: Service, account: str, blocks: Iterable[Lines], unit: str, share: Share | None = None) -> pa.Table:
    """The events of a request; each block waits for memory for its events. Raises InvalidEvents, TooMany."""
    reading = Reading(account, service.clock.now(), unit)
    tables = [EVENTS.empty_table()]
    for lines in blocks:
        events = reading.good_events(lines.text, lines.first)
        if share is not None:
            share.take(events.nbytes)
        if events.num_rows:
            tables.append(events)
    reading.check()
    return pa.concat_tables(tables)


def _begin_together(service: Service, account: str, bodies: list[bytes]) -> list[Future[list[Outcome]]]:
    """Decodes small requests together and submits their events: one future for all of them, or one for each."""
    whole = [body if body.endswith(b"\n") or not body else body + b"\n" for body in bodies]
    sizes = [body.count(b"\n") for body in whole]
    reading = Reading(account, service.clock.now(), "line")
    try:
        # A line that is blank, or wrong, sends each of them the long way.
        events = reading.good_events(b"".join(whole), 1)
        if not reading.is_good or events.num_rows != sum(sizes):
            return [_alone(service, account, body) for body in bodies]
        return [service.store.submit_together(account, events, sizes)]
    except InvalidEvents:  # more faults than are shown, perhaps all of them one request's
        return [_alone(service, account, body) for body in bodies]
    except Exception as error:  # whatever it was, whoever waits is told
        return [_failed(error)]


def _alone(service: Service, account: str, body: bytes) -> Future[list[Outcome]]:
    try:
        events = _read(service, account, lines_of([body], array=False), "line")
        return service.store.submit_together(account, events, [events.num_rows])
    except Exception as error:  # the same
        return _failed(error)


def _failed(error: Exception) -> Future[list[Outcome]]:
    future: Future[list[Outcome]] = Future()
    future.set_exception(error)
    return future


class Reading:
    """The events of one request, block by block, and what is wrong with them. None may be further `ahead` of now."""

    def __init__(self, account: str, now: int, unit: str, ahead: timedelta = FUTURE_MAX) -> None:
        self._account, self.unit, self._ahead = account, unit, ahead
        self._latest = EPOCH + timedelta(milliseconds=now) + ahead
        self._faults: list[Fault] = []

    def good_events(self, block: bytes, number: int, also: Sequence[Fault] = ()) -> pa.Table:
        """The events of whole lines, of which the first has this number; nothing once a fault was found.

        `also` are faults of these lines that were found before.
        """
        decoded = decode_lines(block, account=self._account, first_line=number, unit=self.unit)
        if also or decoded.refused or self._is_foreign(decoded.events):
            self._faults += sorted([*also, *self._found(block, number, decoded)])
            if len(self._faults) > FAULTS_SHOWN:
                self.check()
        return EVENTS.empty_table() if self._faults else decoded.events

    @property
    def is_good(self) -> bool:
        """Whether nothing was wrong so far."""
        return not self._faults

    def check(self) -> None:
        """Raises InvalidEvents where anything was wrong."""
        if self._faults:
            raise InvalidEvents("body", self._faults)

    def _is_foreign(self, events: pa.Table) -> bool:
        """Whether an event is of another account or too far in the future."""
        accounts = pc.unique(events["accountId"].cast(pa.string())).to_pylist()
        return accounts not in ([], [self._account]) or bool(
            events.num_rows and pc.max(events["time"]).as_py() > self._latest
        )

    def _found(self, block: bytes, number: int, decoded: Decoded) -> list[Fault]:
        """The first faults of a block, in order. Where lines are hard to tell, it is halved until one stands alone."""
        if not self._is_foreign(decoded.events):
            return decoded.faults
        lines = _lines(block)
        if len(lines) == 1:
            return [*self._foreign(decoded.events, number)]
        found: list[Fault] = []
        middle = len(lines) // 2
        for part, first in ((lines[:middle], number), (lines[middle:], number + middle)):
            if len(found) <= FAULTS_SHOWN:
                text = b"".join(part)
                half = decode_lines(text, account=self._account, first_line=first, unit=self.unit)
                found += self._found(text, first, half)
        return found

    def _foreign(self, events: pa.Table, number: int) -> Iterator[Fault]:
        event = events.to_pylist()[0]
        if event["accountId"] != self._account:
            yield Fault(number, "accountId", "must be the account of the address, or absent", self.unit)
        if event["time"] > self._latest:
            yield Fault(number, "time", f"must not be more than {_told(self._ahead)} in the future", self.unit)


def _told(time: timedelta) -> str:
    hours = time // timedelta(hours=1)
    return f"{hours} hours" if hours else f"{time // timedelta(seconds=1)} seconds"


def _lines(block: bytes) -> list[bytes]:
    return [line + b"\n" for line in block.removesuffix(b"\n").split(b"\n")]
