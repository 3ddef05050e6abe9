"""`GET …/agent-segments/breakdown`: which files hold the handle-time units of a timeframe (http-api.md 2)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
from litestar import Response, get

from handletime.api.errors import JSON
from handletime.api.service import SOURCE, HttpRequest, InPath, TheService, query_of
from handletime.api.shelf import NewFile, Shelf
from handletime.api.timeframe import HOUR, TimeframeShown, read_timeframe
from handletime.api.timeframe import PARAMETERS as TIMES
from handletime.events.model import EPOCH
from handletime.metrics.aggregate import Relations, instant_of

PARAMETERS: Final = (SOURCE, *TIMES)
FILE_LINES: Final = 200_000
# Conditions are constants; every value is bound.
# ruff: noqa: S608

_OF_HUMANS: Final = "userType = 'human' and segmentEnd >= $start and segmentEnd < $end"


class Unit(msgspec.Struct, frozen=True, rename="camel"):
    """One handle-time unit, a line of a file; `insertTimestamp` is when the file was made."""

    segment_id: str
    sequence: int
    start_reason: str
    end_reason: str
    start_timestamp: int
    end_timestamp: int
    handle_time_millis: int
    insert_timestamp: int


class Breakdown(msgspec.Struct, frozen=True):
    """The files of a timeframe."""

    timeframe: TimeframeShown
    files: list[str]


class Hour(NamedTuple):
    """An hour (hours since the epoch) in which segments with units ended, and what tells its content from others."""

    number: int
    fingerprint: str


@get("/api/account/{account:str}/agent-segments/breakdown", sync_to_thread=True, name="breakdown")
def breakdown(request: HttpRequest, service: TheService, account: InPath) -> Response[bytes]:
    """The files that together hold every handle-time unit of a timeframe."""
    account = service.admit(request, account, "handle-time")
    query = query_of(request)
    query.get(SOURCE)
    timeframe = read_timeframe(query, service.clock.now(), limited=True)
    query.check()
    start, end = timeframe.start.millis, timeframe.end.millis
    with service.shelf.making, service.store.reader(account).snapshot() as relations:
        files = [
            path
            for hour in _hours(relations, start, end)
            for path in _files_of(relations, service.shelf, account, hour, service.clock.now())
        ]
    return Response(msgspec.json.encode(Breakdown(timeframe.shown(), files)), media_type=JSON)


def _hours(relations: Relations, start: int, end: int) -> list[Hour]:
    """The hours with a unit of a segment that ended in [start, end).

    The fingerprint is over what the store has as it stands: a segment's number stands for its id.
    """
    first, last = start // HOUR * HOUR, -(-end // HOUR) * HOUR
    found = relations.execute(
        f"""select epoch_us(segmentEnd) // {HOUR * 1000} as hour, count(*) as units,
            bit_xor(hash(segmentNumber, sequence, startReason, endReason, start, "end")) as fingerprint,
            count(*) filter (segmentEnd >= $from and segmentEnd < $to) as wanted
        from handle_time_units where {_OF_HUMANS} group by hour having wanted > 0 order by hour""",
        {
            "start": instant_of(first),
            "end": instant_of(last),
            "from": instant_of(start),
            "to": instant_of(end),
        },
    ).fetchall()
    return [Hour(hour, f"{units}-{fingerprint}") for hour, units, fingerprint, _ in found]


def _files_of(relations: Relations, shelf: Shelf, account: str, hour: Hour, now: int) -> list[str]:
    """The paths of an hour's files, which are made where there are none with its present content."""
    there = shelf.current(account, hour.number, hour.fingerprint)
    if there:
        return there
    made = max(now, shelf.last_made(account) + 1)  # no two files of one name
    return shelf.put(account, hour.number, hour.fingerprint, made, _made(relations, account, hour, made))


def _made(relations: Relations, account: str, hour: Hour, made: int) -> Iterator[NewFile]:
    found = relations.execute(
        f"""select segmentId, sequence, cast(startReason as varchar), cast(endReason as varchar),
            epoch_ms(start), epoch_ms("end"), handleTimeMillis, conversationId
        from handle_time_units where {_OF_HUMANS} order by segmentEnd, segmentId, sequence""",
        {"start": instant_of(hour.number * HOUR), "end": instant_of((hour.number + 1) * HOUR)},
    )
    number = 0
    while rows := found.fetchmany(FILE_LINES):
        lines = msgspec.json.Encoder().encode_lines([_unit(row, made) for row in rows])
        named = sorted({conversation for *_, conversation in rows})
        yield NewFile(path_of(account, hour.number, made, number), gzip.compress(lines, 6, mtime=0), named)
        number += 1


def _unit(row: tuple[Any, ...], made: int) -> Unit:
    segment, sequence, start_reason, end_reason, start, end, millis, _ = row
    return Unit(segment, sequence, start_reason, end_reason, start, end, millis, made)


def path_of(account: str, hour: int, made: int, number: int) -> str:
    """The path of the n-th file of an hour that was made at a moment."""
    at, when = _utc(hour * HOUR), _utc(made)
    return (
        f"/year={at:%Y}/month={at:%m}/day={at:%d}/hour={at:%H}/accountId={account}"
        f"/sequences.{made}.{when:%Y%m%d%H%M%S}.{number:05d}.json.gz"
    )


def _utc(millis: int) -> datetime:
    return EPOCH + timedelta(milliseconds=millis)
