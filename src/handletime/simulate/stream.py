"""The events of all blocks as one stream, in the order in which they arrive."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from handletime.simulate.chance import Dice, Integers
from handletime.simulate.course import events_of_block
from handletime.simulate.focus import Focus
from handletime.simulate.rows import KIND_RANK, LOOK_MAX, READ, ROW, Rows, in_order, joined, where
from handletime.simulate.times import NEVER
from handletime.simulate.world import World


def arrivals(world: World) -> Iterator[Rows]:
    """All events in the order in which they arrive."""
    messiness = world.centre.messiness
    delayed, delayed_to = np.empty(0, ROW), np.empty(0, np.int64)
    for part, (rows, until) in enumerate(_in_time(world)):
        if messiness == 0:
            yield rows
            continue
        dice = Dice(world.centre.seed, 5, part)
        late = dice.share(len(rows), messiness / 2)
        arrival = rows["time"] + np.where(late, dice.spans(len(rows), 30, 1.5), 0)
        copied = np.flatnonzero(dice.share(len(rows), messiness / 2))
        copied_to = arrival[copied] + dice.spans(len(copied), 10, 2.0)
        delayed = joined([delayed, rows, rows[copied]])
        delayed_to = np.concatenate([delayed_to, arrival, copied_to])
        here = delayed_to < (until if until < world.end else NEVER)
        yield in_order(where(here, delayed), delayed_to[here])
        delayed, delayed_to = where(~here, delayed), delayed_to[~here]


def _in_time(world: World) -> Iterator[tuple[Rows, int]]:
    """All events in order of time, in parts, each with a time that all later events reach."""
    focus = Focus(world)
    later: defaultdict[int, list[Rows]] = defaultdict(list)
    settled = np.empty(0, ROW)
    for block, border in enumerate(world.borders.tolist()):
        for number, part in _by_border(events_of_block(world, block), world.borders):
            later[number].append(part)
        rows = joined(later.pop(block, []))
        safe = border - LOOK_MAX if block + 1 < world.blocks else world.end
        moves = focus.follow(where(rows["look"] > 0, rows), safe, Dice(world.centre.seed, 4, block))
        settled = joined([settled, where(rows["kind"] < READ, rows), moves])
        settled = in_order(settled, settled["time"] * 8 + KIND_RANK[settled["kind"]])
        ready = int(np.searchsorted(settled["time"], safe))
        yield settled[:ready], safe
        settled = joined([settled[ready:]])


def _by_border(rows: Rows, borders: Integers) -> Iterator[tuple[int, Rows]]:
    """The rows before each border (and not before an earlier one), with its number; what is after all is dropped."""
    number = np.searchsorted(borders, rows["time"], side="right")
    rows = in_order(rows, number)
    after = np.cumsum(np.bincount(number, minlength=len(borders)))
    for block in np.unique(number[number < len(borders)]).tolist():
        yield block, joined([rows[after[block - 1] if block else 0 : after[block]]])
