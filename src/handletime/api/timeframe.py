"""The time parameters of the Actual Handle Time methods: `from`, `to` and their `…Millis` (http-api.md 2)."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from handletime.api.parameters import Moment, Parameter, Query, a_time, a_time_in_millis
from handletime.clock import DAY, HOUR

SPAN_MAX: Final = 7 * DAY
AGE_MAX: Final = 31 * DAY
AGE_GRACE: Final = HOUR
"""Milliseconds beyond the age limit: links carry a fixed start, and have to work for a while."""

FROM: Final = a_time("from", "Segments that ended from here on; 24 hours before `to` where it is absent.")
FROM_MILLIS: Final = a_time_in_millis("fromMillis", "The same in epoch milliseconds; not together with `from`.")
TO: Final = a_time("to", "Segments that ended before here; now where it is absent or in the future.")
TO_MILLIS: Final = a_time_in_millis("toMillis", "The same in epoch milliseconds; not together with `to`.")
PARAMETERS: Final = (FROM, FROM_MILLIS, TO, TO_MILLIS)


class Timeframe(NamedTuple):
    """The window [start, end) in which segments end that count."""

    start: Moment
    end: Moment

    def shown(self) -> TimeframeShown:
        """As answers show it."""
        return TimeframeShown(str(self.start), str(self.end), self.start.millis, self.end.millis)


class TimeframeShown(msgspec.Struct, frozen=True):
    """The `timeframe` of an answer: RFC 3339 with the offsets that were asked with, and epoch milliseconds."""

    start_time: str = msgspec.field(name="startTime")
    end_time: str = msgspec.field(name="endTime")
    start_millis: int = msgspec.field(name="startTimeL")
    end_millis: int = msgspec.field(name="endTimeL")


def read_timeframe(query: Query, now: int) -> Timeframe:
    """The timeframe that a query asks for; faults are noted in the query.

    LivePerson limits it to 31 days of age and 7 days of length.
    """
    end = _one_of(query, TO, TO_MILLIS) or Moment(now)
    end = end._replace(millis=min(end.millis, now))
    start = _one_of(query, FROM, FROM_MILLIS) or Moment(end.millis - DAY)
    if query.is_good((FROM, FROM_MILLIS)):
        _check(query, Timeframe(start, end), now)
    return Timeframe(start, end)


def _one_of(query: Query, text: Parameter[Moment | None], millis: Parameter[Moment | None]) -> Moment | None:
    found, also = query.get(text), query.get(millis)
    if query.has(text) and query.has(millis):
        query.fault(millis, f"must not be given together with {text.name}")
    return found or also


def _check(query: Query, timeframe: Timeframe, now: int) -> None:
    start, end = timeframe.start.millis, timeframe.end.millis
    given = FROM_MILLIS if query.has(FROM_MILLIS) else FROM
    if start > end:
        query.fault(given, "must not be after to, nor in the future")
    if start < now - AGE_MAX - AGE_GRACE:
        query.fault(given, "must not be more than 31 days ago")
    if end - start > SPAN_MAX and query.is_good((TO, TO_MILLIS)):
        query.fault(given, "must not be more than 7 days before to")
