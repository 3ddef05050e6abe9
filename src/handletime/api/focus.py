"""`POST …/focus`: which conversation an agent has on the screen, told by the agent's own browser (http-api.md 5.2).

A key for focus belongs to one agent. Its events name no agent, so no browser can speak for another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from datetime import timedelta
from typing import Final

import msgspec
import pyarrow as pa
from litestar import Response, post
from litestar.di import NamedDependency

from handletime.api.body import coding_of, lines_of, receive
from handletime.api.errors import JSON, BadRequest, Refused
from handletime.api.events import NDJSON, Intake, Reading, form_of, to_its_end
from handletime.api.limits import NOBODY
from handletime.api.paths import spellings
from handletime.api.service import HttpRequest, InPath, Service
from handletime.errors import Fault, NotHere
from handletime.events.blocks import Lines
from handletime.events.model import EVENTS
from handletime.keys.keys import Key
from handletime.store.requests import Ingested

ROUTE: Final = "/api/account/{account:str}/focus"
PATH: Final = spellings([ROUTE])
"""The address, as it is sent."""
TEXT: Final = "text/plain"
"""The content type of a body that holds its key: pages may send it to other origins without asking before."""
EVENTS_MAX: Final = 1_000
BYTES_MAX: Final = 64 << 10
AHEAD_MAX: Final = timedelta(seconds=60)
"""How far in the future an event may lie: a browser corrects its clock by the answers."""
PREFLIGHT_S: Final = 7_200
"""Seconds for which a browser may remember what it was allowed; Chromium keeps nothing for longer."""
TYPES: Final = ("focused", "unfocused")
EVENT_ID_MAX: Final = 100
"""Characters that an `eventId` of a key's own agent may have: what is put before it needs the others."""
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a JSON decoder raises where it is none, or nested too deeply."""
_ENVELOPE: Final = 'body: must be {"key": "ht_…", "events": […]}, as text/plain'


class Taken(msgspec.Struct, frozen=True):
    """How many events were newly stored, how many were there already, and the server's time (epoch ms)."""

    accepted: int
    duplicates: int
    now: int


class _Envelope(msgspec.Struct):
    key: str
    events: msgspec.Raw


def cors_headers(origin: str, allowed: frozenset[str]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer to a page of this origin: none where it is not among those allowed.

    Without credentials: a key is sent by a script, never by the browser itself.
    """
    told = [(b"vary", b"origin")] if allowed else []
    if origin not in allowed:
        return told
    return [
        *told,
        (b"access-control-allow-origin", origin.encode()),
        (b"access-control-allow-headers", b"authorization, content-type"),
        (b"access-control-expose-headers", b"retry-after"),
        (b"access-control-max-age", str(PREFLIGHT_S).encode()),
    ]


@post(ROUTE, status_code=200, name="focus", request_max_body_size=None)
async def focus(request: HttpRequest, intake: NamedDependency[Intake], account: InPath) -> Response[bytes]:
    """Stores the moves of one agent's focus, all of the request or nothing.

    Raises Unauthorized, Forbidden, NotHere, Refused, BadRequest, InvalidEvents, TooMany, NotNow.
    """
    service = intake.service
    form = form_of(request, NDJSON, JSON, TEXT)
    if coding_of(request) != "identity":
        raise Refused(415, "Moves of focus are taken as they are, without Content-Encoding.")
    if form == TEXT:
        body, key = await _opened(request, intake, account)
    else:
        key = await intake.admit(request, account, "focus")
        body = await _received(request, intake, key.account)
    # One after the other, whatever is wrong with them: a browser that runs wild costs no more than it may bring.
    service.of_focus.take(key.id, max(1, _count(body, form)))
    if (read_only := service.store.read_only) is not None:
        raise NotHere(read_only)
    with intake.places.share(key.account, 1):
        done = await to_its_end(intake.decode(key.account, _begin, service, key, body, form))
    taken = Taken(done.accepted, done.duplicates, service.clock.now())
    return Response(msgspec.json.encode(taken), status_code=200, media_type=JSON)


async def _opened(request: HttpRequest, intake: Intake, account: str) -> tuple[bytes, Key]:
    """The events and the key of a body that holds both. Nobody knows whose it is before it was read."""
    whole = await _received(request, intake, NOBODY)
    try:
        envelope = msgspec.json.decode(whole, type=_Envelope)
    except _UNREADABLE:
        intake.service.count_stranger(request)
        raise BadRequest([_ENVELOPE]) from None
    return bytes(envelope.events), intake.service.admitted(request, account, "focus", token=envelope.key)


async def _received(request: HttpRequest, intake: Intake, account: str) -> bytes:
    with intake.budget.share(account) as share:
        return bytes(await receive(request, share, intake.service.settings.body_idle_seconds, BYTES_MAX))


def _count(body: bytes, form: str) -> int:
    """How many events a body has at most: each has one `}` of its own, in whatever form."""
    return body.count(b"\n") + 1 if form == NDJSON else body.count(b"}")


def _begin(service: Service, key: Key, body: bytes, form: str) -> Future[Ingested]:
    """Has the events of a body stored. Raises InvalidEvents, Refused, NotNow."""
    is_array = form != NDJSON
    reading = Reading(key.account, service.clock.now(), "element" if is_array else "line", AHEAD_MAX)
    tables = [EVENTS.empty_table()]
    for lines in lines_of([body], array=is_array):
        faults: list[Fault] = []
        text = b"".join(_of_agent(lines, key, reading.unit, faults))
        tables.append(reading.good_events(text, lines.first, faults))
    reading.check()
    events = pa.concat_tables(tables)
    if events.num_rows > EVENTS_MAX:
        raise Refused(413, f"The body has more than {EVENTS_MAX:,} events; send fewer at once.")
    return service.store.submit(key.account, events)


def _of_agent(lines: Lines, key: Key, unit: str, faults: list[Fault]) -> Iterator[bytes]:
    """The lines with the key's agent in them, one for each; an empty one where there is a fault.

    What is no JSON object stays as it is: whoever decodes it says what is wrong.
    """
    for number, line in enumerate(lines.text.removesuffix(b"\n").split(b"\n"), lines.first):
        try:
            event = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        except _UNREADABLE:
            yield line + b"\n"
            continue
        wrong = [*_wrong(event, key, number, unit)]
        faults += wrong
        if key.agent_id is not None:
            event["agentId"] = msgspec.Raw(str(key.agent_id).encode())
            event_id = _value(event, "eventId")
            if isinstance(event_id, str) and event_id:
                # No key can touch an event that is not its own, whatever it calls its events.
                event["eventId"] = msgspec.Raw(msgspec.json.encode(f"focus:{key.agent_id}:{event_id}"))
        yield b"\n" if wrong else msgspec.json.encode(event) + b"\n"


def _wrong(event: dict[str, msgspec.Raw], key: Key, number: int, unit: str) -> Iterator[Fault]:
    if "type" in event and _value(event, "type") not in TYPES:
        yield Fault(number, "type", f"must be {' or '.join(TYPES)}: nothing else is taken here", unit)
    if key.agent_id is None:
        return
    if _value(event, "revision") not in (None, 0):
        yield Fault(number, "revision", "must be absent: what was on a screen is not corrected", unit)
    event_id = _value(event, "eventId")
    if isinstance(event_id, str) and len(event_id) > EVENT_ID_MAX:
        yield Fault(number, "eventId", f"must have 1 to {EVENT_ID_MAX} characters", unit)
    agent = _value(event, "agentId")
    if agent is not None and (type(agent) is not int or agent != key.agent_id):
        yield Fault(number, "agentId", "must be absent, or the agent that the key belongs to", unit)


def _value(event: dict[str, msgspec.Raw], field: str) -> object:
    """What a field holds: None where it is absent or null, an ellipsis where it is nested too deeply."""
    try:
        return msgspec.json.decode(event[field]) if field in event else None
    except _UNREADABLE:
        return ...
