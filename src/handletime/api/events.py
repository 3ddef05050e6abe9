"""`POST …/events`: events in, all of a request or nothing, and after the answer they stay (http-api.md 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import BoundedSemaphore
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from litestar import Response, post
from litestar.di import NamedDependency

from handletime.api.body import Budget, Coding, Share, coding_of, lines_of, receive, unpacked
from handletime.api.errors import JSON, Refused, TooMany
from handletime.api.service import HttpRequest, InPath, Service, TheService
from handletime.errors import FAULTS_SHOWN, Fault, InvalidEvents
from handletime.events.decode import Decoded, decode_lines
from handletime.events.model import EPOCH, EVENTS
from handletime.store.writer import Ingested

NDJSON: Final = "application/x-ndjson"
FUTURE_MAX: Final = timedelta(hours=24)


class Accepted(msgspec.Struct, frozen=True):
    """How many events were newly stored, and how many of those sent were there already."""

    accepted: int
    duplicates: int


class Intake:
    """Requests that bring events: how many may be under way, and the threads that they wait in."""

    def __init__(self, requests: int, memory: int) -> None:
        self._places = BoundedSemaphore(requests)
        self._budget = Budget(memory)
        self._threads = ThreadPoolExecutor(requests, "ingest")

    def close(self) -> None:
        """Waits for what is under way."""
        self._threads.shutdown()

    async def admit(self, request: HttpRequest, service: Service, account: str) -> str:
        """The account, if the request may bring events. Raises Unauthorized, Forbidden."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, service.admit, request, account, "ingest")

    async def take(self, request: HttpRequest, service: Service, account: str) -> Ingested:
        """Reads, decodes and stores a request's events. Raises TooMany, Refused, BadRequest, InvalidEvents, NotNow."""
        form, coding = _form_of(request), coding_of(request)
        if not self._places.acquire(blocking=False):
            raise TooMany
        try:
            with self._budget.share() as share:
                chunks = await receive(request, share, service.settings.body_idle_seconds)
                work = asyncio.get_running_loop().run_in_executor(
                    self._threads, _ingest, service, account, chunks, coding, form, share
                )
                return await asyncio.shield(work)
        finally:
            self._places.release()


@post("/api/account/{account:str}/events", status_code=200, name="events", request_max_body_size=None)
async def events(
    request: HttpRequest, service: TheService, intake: NamedDependency[Intake], account: InPath
) -> Response[bytes]:
    """Stores events, all of the request or nothing."""
    account = await intake.admit(request, service, account)
    done = await intake.take(request, service, account)
    return Response(msgspec.json.encode(Accepted(*done)), status_code=200, media_type=JSON)


def _form_of(request: HttpRequest) -> str:
    """The content type, without parameters. Raises Refused (415)."""
    essence, *parameters = request.headers.get("content-type", "").lower().split(";")
    names = dict(p.strip().split("=", 1) for p in parameters if "=" in p)
    if essence.strip() not in (NDJSON, JSON) or names.get("charset", "utf-8").strip('"') not in ("utf-8", "utf8"):
        raise Refused(415, f"Content-Type must be {NDJSON} or {JSON}, in UTF-8.")
    return essence.strip()


def _ingest(service: Service, account: str, chunks: list[bytes], coding: Coding, form: str, share: Share) -> Ingested:
    reading = _Reading(account, service.clock.now(), "element" if form == JSON else "line")
    tables = [EVENTS.empty_table()]
    number = 1
    for block in lines_of(unpacked(chunks, coding), array=form == JSON):
        share.take(len(block))
        tables.append(reading.good_events(block, number))
        number += block.count(b"\n")
    chunks.clear()
    reading.check()
    return service.store.ingest(account, pa.concat_tables(tables))


class _Reading:
    """The events of one request, block by block, and what is wrong with them."""

    def __init__(self, account: str, now: int, unit: str) -> None:
        self._account, self._unit = account, unit
        self._latest = EPOCH + timedelta(milliseconds=now) + FUTURE_MAX
        self._faults: list[Fault] = []

    def good_events(self, block: bytes, number: int) -> pa.Table:
        """The events of whole lines, of which the first has this number; nothing once a fault was found."""
        decoded = decode_lines(block, account=self._account, first_line=number, unit=self._unit)
        if decoded.refused or self._is_foreign(decoded.events):
            self._faults += self._found(block, number, decoded)
            if len(self._faults) > FAULTS_SHOWN:
                self.check()
        return EVENTS.empty_table() if self._faults else decoded.events

    def check(self) -> None:
        """Raises InvalidEvents where anything was wrong."""
        if self._faults:
            shown = self._faults[:FAULTS_SHOWN]
            raise InvalidEvents("body", shown, more=len(self._faults) > FAULTS_SHOWN)

    def _is_foreign(self, events: pa.Table) -> bool:
        """Whether an event is of another account or too far in the future."""
        accounts = pc.unique(events["accountId"].cast(pa.string())).to_pylist()
        return accounts not in ([], [self._account]) or bool(
            events.num_rows and pc.max(events["time"]).as_py() > self._latest
        )

    def _found(self, block: bytes, number: int, decoded: Decoded) -> list[Fault]:
        """The first faults of a block, in order: halved until a line stands alone where lines are hard to tell."""
        if not self._is_foreign(decoded.events):
            return [fault for refused in decoded.refused for fault in refused.faults]
        lines = _lines(block)
        if len(lines) == 1:
            return [*self._foreign(decoded.events, number)]
        found: list[Fault] = []
        middle = len(lines) // 2
        for part, first in ((lines[:middle], number), (lines[middle:], number + middle)):
            if len(found) <= FAULTS_SHOWN:
                text = b"".join(part)
                half = decode_lines(text, account=self._account, first_line=first, unit=self._unit)
                found += self._found(text, first, half)
        return found

    def _foreign(self, events: pa.Table, number: int) -> Iterator[Fault]:
        event = events.to_pylist()[0]
        if event["accountId"] != self._account:
            yield Fault(number, "accountId", "must be the account of the address, or absent", self._unit)
        if event["time"] > self._latest:
            yield Fault(number, "time", "must not be more than 24 hours in the future", self._unit)


def _lines(block: bytes) -> list[bytes]:
    return [line + b"\n" for line in block.removesuffix(b"\n").split(b"\n")]
