"""Files of handle-time units: which there are, under which paths, and what is in them (http-api.md 2).

Over a store, a file is made when it is first listed, and put on a shelf. Over a lake, path and content follow from the
tables alone: any number of servers list the same files, and none keeps any.

They hold the units of a whole account; whoever sees a part of it is not given any (`api.service.Service.whole`).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from handletime.answers.relations import Snapshot
from handletime.answers.selection import instant_of
from handletime.api.ports import DatedStore, Store
from handletime.clock import HOUR, MINUTE, Clock
from handletime.events.model import EPOCH
from handletime.scope import WHOLE
from handletime.segments.rules import UNIT_ENDS, UNIT_STARTS
from handletime.store.shelf import NewFile, Shelf

FILE_LINES: Final = 200_000
_AT_ONCE: Final = 10_000
NEAR_MS: Final = MINUTE
"""Milliseconds that the time of a new file may lie in the future. Later times come from a clock that was wrong."""
# Conditions are constants; every value is bound.
# ruff: noqa: S608

_OF_HUMANS: Final = "userType = 'human' and segmentEnd >= $start and segmentEnd < $end"


class Unit(msgspec.Struct, frozen=True, rename="camel"):
    """One handle-time unit, a line of a file; `insertTimestamp` is when the file was made."""

    segment_id: str
    sequence: Annotated[int, msgspec.Meta(ge=1)]
    start_reason: Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(UNIT_STARTS)})]
    end_reason: Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(UNIT_ENDS)})]
    start_timestamp: int
    end_timestamp: int
    handle_time_millis: Annotated[int, msgspec.Meta(ge=1)]
    insert_timestamp: int


# --- over a store ----------------------------------------------------------------------------------------------------


class ShelvedFiles:
    """The files of a store: made when they are listed, and kept on a shelf."""

    def __init__(self, store: Store, shelf: Shelf, clock: Clock) -> None:
        self._store, self._shelf, self._clock = store, shelf, clock
        self._last: dict[str, int] = {}

    def listed(self, account: str, start: int, end: int) -> list[str]:
        """The paths of the files that together hold every unit of a segment that ended in [start, end)."""
        reader = self._store.reader(account, WHOLE)
        with self._shelf.making(account, reader.deadline.left_s()), reader.snapshot() as snapshot:
            hours = _hours(snapshot, start, end, content=_CONTENT)
            return [path for hour in hours for path in self._of_hour(snapshot, account, hour)]

    def _of_hour(self, snapshot: Snapshot, account: str, hour: Hour) -> list[str]:
        """The paths of an hour's files. They are made where none has the hour's present content."""
        fingerprint = f"{hour.units}-{hour.content}"
        there = self._shelf.current(account, hour.number, fingerprint)
        if there:
            return there
        made = self._clock.now()
        last = self._last.get(account, 0)
        if made <= last < made + NEAR_MS:
            made = last + 1  # no two files of one name, also where the first is gone; but not ahead of a clock put back
        self._last[account] = made
        return self._shelf.put(account, hour.number, fingerprint, made, _made(snapshot, account, hour.number, made))

    def content(self, account: str, path: str) -> bytes | None:
        """A file that was listed, gzipped. None where there is no such file, or it names what has been removed."""
        kept = self._shelf.find(account, path)
        if kept is None:
            return None
        if not self._store.reader(account, WHOLE).holds_all(kept.conversations):
            self._shelf.remove(account, path)
            return None
        return kept.content


# --- over tables -----------------------------------------------------------------------------------------------------


_PATH: Final = re.compile(
    r"/year=(\d{4})/month=(\d\d)/day=(\d\d)/hour=(\d\d)/accountId=[a-zA-Z0-9]+"
    r"/sequences\.(\d{1,15})\.\d{14}\.(\d{5})\.json\.gz",
    re.ASCII,
)


class DatedFiles:
    """The files of tables: made when they are fetched, as of the run that wrote their day."""

    def __init__(self, store: DatedStore) -> None:
        self._store = store

    def listed(self, account: str, start: int, end: int) -> list[str]:
        """The paths of the files that together hold every unit of a segment that ended in [start, end)."""
        reader = self._store.reader(account, WHOLE)
        with reader.snapshot() as snapshot:
            hours = _hours(snapshot, start, end)
        return [
            path_of(account, hour.number, made, number)
            for hour in hours
            if (made := reader.written(_utc(hour.number * HOUR).date())) is not None
            for number in range(-(-hour.units // FILE_LINES))
        ]

    def content(self, account: str, path: str) -> bytes | None:
        """A file that was listed, gzipped, as long as its run is there. None where it names what has been removed."""
        match_ = _PATH.fullmatch(path)
        if match_ is None:
            return None
        year, month, day, of_day, made, number = map(int, match_.groups())
        try:
            at = datetime(year, month, day, of_day, tzinfo=UTC)
        except ValueError:
            return None
        newest, hour, on = self._store.reader(account, WHOLE), int(at.timestamp()) // 3600, at.date()
        reader = newest if newest.written(on) == made else self._store.reader_of(made, account, on)
        if reader is None or reader.written(on) != made:
            return None
        with reader.snapshot() as snapshot:
            files = _made(snapshot, account, hour, made, number)
            file = next((each for each in files if each.path == path), None)
        if file is None or (reader is not newest and not newest.holds_all(file.conversations)):
            return None
        return file.content


# --- hours, content and paths ----------------------------------------------------------------------------------------


class Hour(NamedTuple):
    """An hour (hours since the epoch) in which segments with units ended: their number, and a hash of its content."""

    number: int
    units: int
    content: int | None


_CONTENT: Final = """bit_xor(hash(segmentNumber, sequence, startReason, endReason, start, "end"))"""
"""What a store has as it stands: a segment's number stands for its id."""


def _hours(snapshot: Snapshot, start: int, end: int, *, content: str = "null") -> list[Hour]:
    """The hours with a unit of a segment that ended in [start, end). `content` is the SQL that makes their hashes."""
    found = snapshot.execute(
        f"""select epoch_us(segmentEnd) // {HOUR * 1000} as hour, count(*) as units, {content} as content
        from handle_time_units where {_OF_HUMANS} group by hour
        having count(*) filter (segmentEnd >= $from and segmentEnd < $to) > 0 order by hour""",
        {
            "start": instant_of(start // HOUR * HOUR),
            "end": instant_of(-(-end // HOUR) * HOUR),
            "from": instant_of(start),
            "to": instant_of(end),
        },
    ).fetchall()
    return [Hour(*row) for row in found]


def _made(snapshot: Snapshot, account: str, hour: int, made: int, first: int = 0) -> Iterator[NewFile]:
    """The files of an hour, from the n-th on."""
    found = snapshot.execute(
        f"""select segmentId, sequence, cast(startReason as varchar), cast(endReason as varchar),
            epoch_ms(start), epoch_ms("end"), handleTimeMillis, conversationId
        from handle_time_units where {_OF_HUMANS} order by segmentEnd, segmentId, sequence offset $offset""",
        {
            "start": instant_of(hour * HOUR),
            "end": instant_of((hour + 1) * HOUR),
            "offset": first * FILE_LINES,
        },
    )
    number = first
    while rows := found.fetchmany(min(_AT_ONCE, FILE_LINES)):
        packing, content, named, lines = zlib.compressobj(6, wbits=31), bytearray(), set[str](), 0
        while rows:
            content += packing.compress(msgspec.json.Encoder().encode_lines([_unit(row, made) for row in rows]))
            named.update(conversation for *_, conversation in rows)
            lines += len(rows)
            rows = found.fetchmany(min(_AT_ONCE, FILE_LINES - lines)) if lines < FILE_LINES else []
        content += packing.flush()
        yield NewFile(path_of(account, hour, made, number), bytes(content), sorted(named))
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
