"""When consumers give up in the queue: a heat map of weekdays and hours, and where conversations were transferred."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from handletime.answers.by_weekday import SPAN_MAX, Hour, abandoned_by_weekday
from handletime.answers.clocks import WEEKDAYS, Clocks
from handletime.answers.difference import Difference, difference
from handletime.answers.flat import Namer
from handletime.answers.registry import METRICS, Metric
from handletime.answers.relations import Snapshot
from handletime.answers.transfers import Transfer, into_and_out_of, transfers_between
from handletime.api.errors import BadRequest
from handletime.api.ports import Reader
from handletime.clock import DAY
from handletime.web.sheet import Sheet, compared_cells, compared_names
from handletime.web.view import View

STEPS: Final = (0, 5, 10, 20, 40)
"""Percentages from which on a cell is darker."""
TELLING: Final = 10
"""Of fewer waits a share says little: such a cell is not darker."""
_SHARE: Final = METRICS["abandonedQueueSegmentsPercent"]
_TRANSFERS: Final = Metric("transfers", "Transfers to another skill", "transfers", table="skillSegments")
TRANSFERS_MAX: Final = 100


class Cell(NamedTuple):
    """One hour of a weekday: its share in words, how dark it is (0 to 5; 0: nobody gave up; -1: of too few), what it is
    made of, and how it differs from the hour that it is compared with, where both have enough waits to say something.
    """

    text: str
    step: int
    says: str
    differs: Difference | None = None


class Line(NamedTuple):
    """A weekday with its 24 hours and its whole day."""

    name: str
    cells: list[Cell]
    whole: Cell


class Weekdays(NamedTuple):
    """The heat map, whether anybody gave up, and how many waits ended in all; None for a span that is too long.

    `differs` is how the share that was given up differs from what the view is compared with.
    """

    lines: list[Line] | None
    abandoned: int
    total: int
    differs: Difference | None = None


class Pair(NamedTuple):
    """A line of transfers, and how their number differs from what the view is compared with."""

    transfer: Transfer
    differs: Difference | None


class Count(NamedTuple):
    """A number of transfers, and how it differs."""

    number: int
    differs: Difference | None


class Transfers(NamedTuple):
    """Where conversations went from one skill to another, the most first, how many lines are not shown; and of one
    chosen skill how many came in, and went out.
    """

    lines: list[Pair]
    more: int
    all: Count
    into: Count | None = None
    out_of: Count | None = None


def queue_of(reader: Reader, view: View) -> tuple[Weekdays, Transfers]:
    """What there is to say of a view's queues, and of transfers between skills."""
    with reader.snapshot() as snapshot:
        weekdays = _weekdays(_hours(snapshot, view), _hours_before(snapshot, view), view.clocks)
        return weekdays, _shown(_transfers(snapshot, view), _transfers_before(snapshot, view), view.skill)


def _shown(now: list[Transfer], before: list[Transfer] | None, skill: int | None) -> Transfers:
    then = _by_pair(before)
    lines = [
        Pair(each, None if then is None else difference(_TRANSFERS, each.number, then.get(each[:2], 0)))
        for each in now[:TRANSFERS_MAX]
    ]
    numbers = _numbers(now, skill)
    earlier = [None] * len(numbers) if before is None else _numbers(before, skill)
    counts = (Count(each, difference(_TRANSFERS, each, other)) for each, other in zip(numbers, earlier, strict=True))
    return Transfers(lines, max(len(now) - TRANSFERS_MAX, 0), *counts)


def _by_pair(transfers: list[Transfer] | None) -> dict[tuple[int, int | None], int] | None:
    """The numbers of transfers by where they came from and went to; None where there is nothing to compare with."""
    return None if transfers is None else {each[:2]: each.number for each in transfers}


def _numbers(transfers: list[Transfer], skill: int | None) -> list[int]:
    """How many there were; of one skill also how many came in, and went out."""
    return [sum(each.number for each in transfers), *(() if skill is None else into_and_out_of(transfers, skill))]


def _hours(snapshot: Snapshot, view: View) -> list[list[Hour]] | None:
    return abandoned_by_weekday(snapshot, view.skill_segments, view.zone)


def _hours_before(snapshot: Snapshot, view: View) -> list[list[Hour]] | None:
    """Those of what the view is compared with; None where it is not."""
    before = view.before(view.skill_segments)
    return None if before is None else abandoned_by_weekday(snapshot, before, view.zone)


def _transfers(snapshot: Snapshot, view: View) -> list[Transfer]:
    return transfers_between(snapshot, view.start, view.end, view.skill)


def _transfers_before(snapshot: Snapshot, view: View) -> list[Transfer] | None:
    """Those of what the view is compared with; None where it is not."""
    if not view.compared:
        return None
    return transfers_between(snapshot, view.compared[0], view.compared[-1], view.skill)


def _weekdays(hours: list[list[Hour]] | None, before: list[list[Hour]] | None, clocks: Clocks) -> Weekdays:
    if hours is None:
        return Weekdays(None, 0, 0)
    now = _with_all_days(hours)
    then = [None] * len(now) if before is None else _with_all_days(before)
    names = [*clocks.weekdays(), (len(hours), "all days")]
    lines = [_line(name, now[day], then[day]) for day, name in names]
    whole = _together(now[-1])
    differs = None if before is None else difference(_SHARE, whole.percent, _together(then[-1] or ()).percent)
    return Weekdays(lines, whole.abandoned, whole.total, differs)


def _with_all_days(hours: list[list[Hour]]) -> list[list[Hour]]:
    """The hours of each weekday, and those of all of them together."""
    return [*hours, [_together(of_all) for of_all in zip(*hours, strict=True)]]


def _line(name: str, hours: Sequence[Hour], before: Sequence[Hour] | None) -> Line:
    then = [None] * len(hours) if before is None else before
    cells = [_cell(*both) for both in zip(hours, then, strict=True)]
    return Line(name, cells, _cell(_together(hours), None if before is None else _together(before)))


def _together(hours: Sequence[Hour]) -> Hour:
    return Hour(sum(hour.abandoned for hour in hours), sum(hour.total for hour in hours))


def _cell(hour: Hour, before: Hour | None) -> Cell:
    percent = hour.percent
    earlier = f"; before {_made_of(before)}" if before and before.total else ""
    if percent is None:
        return Cell("", 0, f"no wait ended{earlier}")
    step = 0 if not hour.abandoned else -1 if hour.total < TELLING else sum(percent >= least for least in STEPS)
    text = "0" if not hour.abandoned else "<1" if percent < 1 else f"{percent:.0f}"
    says = f"{_made_of(hour)} abandoned in queue{earlier}"
    if before is None or min(hour.total, before.total) < TELLING:
        return Cell(text, step, says)
    return Cell(text, step, says, difference(_SHARE, percent, before.percent))


def _made_of(hour: Hour) -> str:
    return f"{hour.abandoned:,} of {hour.total:,}"


# --- as files --------------------------------------------------------------------------------------------------------


def weekdays_sheet(reader: Reader, view: View) -> Sheet:
    """Waits in the queue by weekday and hour, a row for each hour of the week. Raises BadRequest for a long span."""
    with reader.snapshot() as snapshot:
        hours, before = _hours(snapshot, view), _hours_before(snapshot, view)
    if hours is None:
        raise BadRequest([f"from: must be at most {SPAN_MAX // DAY} days before to for a table by weekday and hour"])
    windows = [hours] if before is None else [hours, before]
    rows = [
        [weekday, hour, *compared_cells(*((each.total, each.abandoned, each.percent) for each in each_window))]
        for weekday, *days in zip(WEEKDAYS, *windows, strict=True)
        for hour, each_window in enumerate(zip(*days, strict=True))
    ]
    names = [*("weekday", "hour"), *compared_names(_HOUR_NAMES, compared=before is not None)]
    return Sheet("weekdays", view.start, view.end, names, rows)


_HOUR_NAMES: Final = ("totalQueueSegments", "queueSegmentsAbandonedByConsumers", "abandonedQueueSegmentsPercent")


def transfers_sheet(reader: Reader, view: View, name: Namer) -> Sheet:
    """Where conversations went from one skill to another, the most first."""
    with reader.snapshot() as snapshot:
        found, before = _transfers(snapshot, view), _transfers_before(snapshot, view)
    then = _by_pair(before)
    rows = [
        [
            *(each.source, name("skill", each.source)),
            *((None, None) if each.target is None else (each.target, name("skill", each.target))),
            *(each.number, *(() if then is None else (then.get(each[:2], 0),))),
        ]
        for each in found
    ]
    names = [
        *("fromSkillId", "fromSkill", "toSkillId", "toSkill"),
        *compared_names(["transfers"], compared=then is not None),
    ]
    return Sheet("transfers", view.start, view.end, names, rows)
