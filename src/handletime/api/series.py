"""Answers of the operations methods: whole or by interval, element by element, as JSON or as a table (http-api.md 3).

One query sums by the finest groups; elements, totals, intervals and the summary are all made of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import lru_cache
from itertools import chain, islice
from typing import Any, Final, cast
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from litestar import Response

from handletime.answers.registry import Metric
from handletime.answers.relations import Snapshot
from handletime.answers.sums import By, Sums
from handletime.answers.words import local
from handletime.api.answer import Answer
from handletime.api.csv_table import csv_answer, file_name
from handletime.api.errors import JSON
from handletime.api.parameters import Moment
from handletime.api.ports import Reader


class Window(msgspec.Struct, frozen=True):
    """What is asked for: what ended in [start, end), epoch milliseconds.

    `bounds` are the borders of the intervals, or of the whole. `starts` are their beginnings, and `stamps` their
    timestamps in the answer, both in the order of the answer. `zone` is the time zone of the times in the answer.
    """

    start: int
    end: int
    bounds: list[int]
    starts: list[int]
    stamps: list[int]
    in_intervals: bool
    zone: ZoneInfo

    def backwards(self) -> Window:
        """The same with the newest interval first."""
        return msgspec.structs.replace(self, starts=self.starts[::-1], stamps=self.stamps[::-1])


class Element(msgspec.Struct, frozen=True):
    """The chosen metrics of one agent, skill or total, under their names."""


def keys_of(window: Window, by: tuple[By, ...]) -> tuple[By, ...]:
    """The keys of the finest groups."""
    return ("interval", *by) if window.in_intervals else by


def finest_of(answer: Answer, reader: Reader, ask: Callable[[Snapshot, int], Sums]) -> Sums:
    """The sums of the finest groups, as `ask` finds them in a snapshot: one more than so many where there are more.

    Raises TooMany, BadRequest where there is no memory for them.
    """
    with reader.snapshot() as relations:
        finest = ask(relations, answer.limit // GROUP_BYTES)
    answer.reserve(len(finest) * GROUP_BYTES)
    return finest


# --- as a table ------------------------------------------------------------------------------------------------------


def table(
    answer: Answer, account: str, method: str, window: Window, finest: Sums, metrics: tuple[Metric, ...]
) -> Response[Any]:
    """The finest groups, and nothing else: whoever sums a column of counts gets the total.

    Intervals in the order of the JSON, then the ids in theirs. An average over nothing is an empty cell, and so is the
    agent of what has none.
    """
    ids = [key for key in finest.keys if key not in ("interval", "assigned")]

    def columns(begin: int, end: int) -> tuple[list[int], list[Sequence[object]]]:
        part = finest.part(begin, end)
        places = part.keys["interval"].tolist() if window.in_intervals else []
        return places, [*(_ids(part, key) for key in ids), *(_cells(part, metric) for metric in metrics)]

    names = [*ids, *(metric.name for metric in metrics)]
    return table_of(answer, account, method, window, names, columns, len(finest))


Columns = Callable[[int, int], tuple[list[int], list[Sequence[object]]]]
"""The places of the intervals of some rows, where there are intervals, and their columns."""


def table_of(
    answer: Answer, account: str, method: str, window: Window, names: Sequence[str], columns: Columns, total: int
) -> Response[Any]:
    """Rows, some at a time; where there are intervals, each with its own."""
    starts = [_rfc_3339(start, window.zone) for start in window.starts]

    def rows(begin: int) -> Iterator[tuple[object, ...]]:
        places, of_rows = columns(begin, begin + _AT_ONCE)
        stamps = [[window.stamps[place] for place in places], [starts[place] for place in places]]
        return zip(*(stamps if window.in_intervals else []), *of_rows, strict=True)

    each = chain.from_iterable(map(rows, range(0, total, _AT_ONCE)))
    file = file_name(unquote(account), method, window.start, window.end)
    leading = ["timestamp", "intervalStart"] if window.in_intervals else []
    return csv_answer(answer, [*leading, *names], each, file_name=file, total=total)


def _ids(part: Sums, key: By) -> Sequence[object]:
    ids: list[int] = part.keys[key].tolist()
    if key != "agentId" or "assigned" not in part.keys:
        return ids
    return [each if there else None for each, there in zip(ids, part.keys["assigned"].tolist(), strict=True)]


def _cells(sums: Sums, metric: Metric) -> Sequence[object]:
    values = sums.values_of(metric)
    if not metric.per:
        return values
    return [value if count else None for value, count in zip(values, sums.sums[metric.per].tolist(), strict=True)]


def _rfc_3339(millis: int, zone: ZoneInfo) -> str:
    """A time in RFC 3339, at the offset that the zone has then."""
    minutes = int((local(millis, zone).utcoffset() or timedelta()).total_seconds()) // 60
    sign = "-" if minutes < 0 else "+"
    return str(Moment(millis, f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}" if minutes else "Z"))


# --- JSON, some at a time: an answer may have more elements than there is memory for as objects ----------------------

_VARY: Final = {"Vary": "Accept"}
GROUP_BYTES: Final = 640
"""Bytes that the sums of a group take while an answer is made of them."""
_AT_ONCE: Final = 1000
"""The number of elements that are Python objects at a time."""
METRICS_DATA: Final = (b'"metricsData":{', b"}")
"""The JSON around an interval's fields, where they stand in an object of their own."""

Written = Callable[[tuple[By, ...], int], Iterator[Iterator[bytes]]]
"""Makes JSON in pieces: the fields of each interval, or of the whole where no key comes first.
The pieces have to be read in turn.
"""


def series(answer: Answer, window: Window, written: Written, around: tuple[bytes, bytes] = (b"", b"")) -> Response[Any]:
    """Intervals and their summary, or only the summary, without objects for all of it."""
    stamps = window.stamps
    if not window.in_intervals:
        return _added(answer, [b"{"], *written((), 1), [b"}"]).response(JSON, _VARY)
    answer.add(b'{"metricsByIntervals":[')
    before, after = around
    for number, (stamp, fields) in enumerate(zip(stamps, written(("interval",), len(stamps)), strict=True)):
        _added(answer, [b'%s{"timestamp":%d,' % (b"," if number else b"", stamp), before], fields, [after, b"}"])
    return _added(answer, [b'],"timeframeSummary":{'], *written((), 1), [b"}}"]).response(JSON, _VARY)


def _added(answer: Answer, *parts: Iterable[bytes]) -> Answer:
    for piece in chain.from_iterable(parts):
        answer.add(piece)
    return answer


@lru_cache(maxsize=256)
def _element_type(metrics: tuple[Metric, ...]) -> type[Element]:
    fields = [(metric.name, int | float) for metric in metrics]
    made = msgspec.defstruct("Element", fields, bases=(Element,), frozen=True, gc=False)
    return cast("type[Element]", made)


def _elements(sums: Sums, metrics: tuple[Metric, ...]) -> Iterator[list[bytes]]:
    """The metrics of each group as JSON, some at a time."""
    encode = msgspec.json.Encoder().encode
    for begin in range(0, len(sums), _AT_ONCE):
        part = sums.part(begin, begin + _AT_ONCE)
        columns = (part.values_of(metric) for metric in metrics)
        yield list(map(encode, map(_element_type(metrics), *columns)))


def members(sums: Sums, metrics: tuple[Metric, ...]) -> Iterator[bytes]:
    """The elements one by one, each under its last key, which is an id."""
    begin = 0
    for elements in _elements(sums, metrics):
        ids = sums.keys[next(reversed(sums.keys))][begin : begin + _AT_ONCE].tolist()
        yield from [b'"%d":%s' % each for each in zip(ids, elements, strict=True)]
        begin += _AT_ONCE


def json_object(members: Iterator[bytes], count: int) -> Iterator[bytes]:
    """A JSON object of the next members, of the given number."""
    yield b"{"
    for begin in range(0, count, _AT_ONCE):
        yield (b"," if begin else b"") + b",".join(islice(members, min(_AT_ONCE, count - begin)))
    yield b"}"


def counts(sums: Sums, prefix: tuple[By, ...], number: int) -> list[int]:
    """The number of groups in each interval, or in the whole."""
    return np.bincount(sums.keys[prefix[0]], minlength=number).tolist() if prefix else [len(sums)]


def totals(finest: Sums, metrics: tuple[Metric, ...], prefix: tuple[By, ...], number: int) -> Iterator[bytes]:
    """The metrics of each interval, or of the whole; zeros where there are no segments."""
    sums = finest.rolled_up(prefix)
    elements = chain.from_iterable(_elements(sums, metrics))
    zeros = msgspec.json.encode(_element_type(metrics)(*[0] * len(metrics)))
    return (next(elements) if count else zeros for count in counts(sums, prefix, number))
