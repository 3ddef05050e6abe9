"""When consumers give up in the queue: a heat map of weekdays and hours, and where conversations were transferred."""

from __future__ import annotations

from typing import Final, NamedTuple

from handletime.answers.by_weekday import Hour, abandoned_by_weekday
from handletime.answers.clocks import Clocks
from handletime.answers.transfers import Transfer, into_and_out_of, transfers_between
from handletime.api.ports import Reader
from handletime.web.view import View

STEPS: Final = (0, 5, 10, 20, 40)
"""Percentages from which on a cell is darker."""
TELLING: Final = 10
"""Of fewer waits a share says little: such a cell is not darker."""
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
    """The heat map, whether anybody gave up, and how many waits ended in all; None for a span that is too long."""

    lines: list[Line] | None
    abandoned: int
    total: int


class Transfers(NamedTuple):
    """Where conversations went from one skill to another, the most first, how many lines are not shown; and of one
    chosen skill how many came in, and went out.
    """

    lines: list[Transfer]
    more: int
    number: int
    into: int | None = None
    out_of: int | None = None


def queue_of(reader: Reader, view: View) -> tuple[Weekdays, Transfers]:
    """What there is to say of a view's queues, and of transfers between skills."""
    of = view.skill_segments
    with reader.snapshot() as snapshot:
        hours = abandoned_by_weekday(snapshot, of, view.zone)
        transfers = transfers_between(snapshot, view.start, view.end, view.skill)
    into, out_of = (None, None) if view.skill is None else into_and_out_of(transfers, view.skill)
    number = sum(each.number for each in transfers)
    shown = Transfers(transfers[:TRANSFERS_MAX], max(len(transfers) - TRANSFERS_MAX, 0), number, into, out_of)
    return _weekdays(hours, view.clocks), shown


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
