"""When consumers give up in the queue: a heat map of weekdays and hours, and where conversations were transferred."""

from __future__ import annotations

from typing import Final, NamedTuple

from handletime.answers.by_weekday import SPAN_MAX, Hour, abandoned_by_weekday
from handletime.answers.clocks import WEEKDAYS, Clocks
from handletime.answers.difference import Difference, difference
from handletime.answers.figures import Value, figures_of
from handletime.answers.flat import Namer
from handletime.answers.registry import METRICS, Metric
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection
from handletime.answers.transfers import Transfer, into_and_out_of, transfers_between
from handletime.api.errors import BadRequest
from handletime.api.ports import Reader
from handletime.clock import DAY
from handletime.web.sheet import Sheet
from handletime.web.view import View

STEPS: Final = (0, 5, 10, 20, 40)
"""Percentages from which on a cell is darker."""
TELLING: Final = 10
"""Of fewer waits a share says little: such a cell is not darker."""
_SHARE: Final = METRICS["abandonedQueueSegmentsPercent"]
_TRANSFERS: Final = Metric("transfers", "Transfers to another skill", "transfers", table="skillSegments")
TRANSFERS_MAX: Final = 100


class Cell(NamedTuple):
    """One hour of a weekday: its share in words, how dark it is (0 to 5; 0: nobody gave up), and what it is made of."""

    text: str
    step: int
    says: str


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
    before = view.before(view.skill_segments)
    with reader.snapshot() as snapshot:
        weekdays = _weekdays(_hours(snapshot, view), view.clocks)
        if before is not None and weekdays.total:
            share = Hour(weekdays.abandoned, weekdays.total).percent
            weekdays = weekdays._replace(differs=difference(_SHARE, share, _share(snapshot, before)))
        return weekdays, _shown(_transfers(snapshot, view), _transfers_before(snapshot, view), view.skill)


def _share(snapshot: Snapshot, of: Selection) -> Value:
    """The share of waits in the queue that the consumer ended, of a selection."""
    return figures_of(snapshot, [_SHARE], (), of).get((), {}).get(_SHARE.key)


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


def _transfers(snapshot: Snapshot, view: View) -> list[Transfer]:
    return transfers_between(snapshot, view.start, view.end, view.skill)


def _transfers_before(snapshot: Snapshot, view: View) -> list[Transfer] | None:
    """Those of what the view is compared with; None where it is not."""
    if not view.compared:
        return None
    return transfers_between(snapshot, view.compared[0], view.compared[-1], view.skill)


def _weekdays(hours: list[list[Hour]] | None, clocks: Clocks) -> Weekdays:
    if hours is None:
        return Weekdays(None, 0, 0)
    lines = [
        Line(name, [_cell(hour) for hour in hours[day]], _cell(_together(hours[day])))
        for day, name in clocks.weekdays()
    ]
    of_hours = [_together([day[hour] for day in hours]) for hour in range(24)]
    whole = _together(of_hours)
    lines.append(Line("all days", [_cell(hour) for hour in of_hours], _cell(whole)))
    return Weekdays(lines, whole.abandoned, whole.total)


def _together(hours: list[Hour]) -> Hour:
    return Hour(sum(hour.abandoned for hour in hours), sum(hour.total for hour in hours))


def _cell(hour: Hour) -> Cell:
    percent = hour.percent
    if percent is None:
        return Cell("", 0, "no wait ended")
    step = 0 if not hour.abandoned or hour.total < TELLING else sum(percent >= least for least in STEPS)
    text = "0" if not hour.abandoned else "<1" if percent < 1 else f"{percent:.0f}"
    return Cell(text, step, f"{hour.abandoned:,} of {hour.total:,} abandoned in queue")


# --- as files --------------------------------------------------------------------------------------------------------


def weekdays_sheet(reader: Reader, view: View) -> Sheet:
    """Waits in the queue by weekday and hour, a row for each hour of the week. Raises BadRequest for a long span."""
    with reader.snapshot() as snapshot:
        hours = _hours(snapshot, view)
    if hours is None:
        raise BadRequest([f"from: must be at most {SPAN_MAX // DAY} days before to for a table by weekday and hour"])
    rows = [
        [weekday, hour, found.total, found.abandoned, found.percent]
        for weekday, day in zip(WEEKDAYS, hours, strict=True)
        for hour, found in enumerate(day)
    ]
    return Sheet("weekdays", view.start, view.end, HOUR_NAMES, rows)


HOUR_NAMES: Final = (
    *("weekday", "hour"),
    *("totalQueueSegments", "queueSegmentsAbandonedByConsumers", "abandonedQueueSegmentsPercent"),
)


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
    names = [*("fromSkillId", "fromSkill", "toSkillId", "toSkill", "transfers")]
    names += [] if then is None else ["transfersPrevious"]
    return Sheet("transfers", view.start, view.end, names, rows)
