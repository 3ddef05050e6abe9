"""What happens beside the story: messages that do not move it, and looks that come to nothing."""

from __future__ import annotations

import numpy as np

from handletime.simulate.chance import Dice, Integers
from handletime.simulate.legs import BOT, CLOSED, QUEUE, SILENT, Legs
from handletime.simulate.rows import BY_AGENT, BY_CONSUMER, BY_SYSTEM, CLOSED_BY_SYSTEM, LEFT_OPEN, READ, Rows, rows_of
from handletime.simulate.times import SECOND
from handletime.simulate.world import World


def asides(world: World, legs: Legs, dice: Dice) -> list[Rows]:
    """Messages that do not move the story: by consumers in the queue or after the end, the system, other agents."""
    is_human, is_closed = legs["plot"] != BOT, np.isin(legs["ending"], CLOSED)
    impatient = legs[(legs["follows"] == QUEUE) & dice.share(len(legs), 0.1)]
    greeted = legs[is_human & dice.share(len(legs), 0.06)]
    reminded = legs[(legs["ending"] == CLOSED_BY_SYSTEM) & dice.share(len(legs), 0.5)]
    helped = legs[is_human & (legs["turns"] > 0) & dice.share(len(legs), 0.01)]
    thankful = legs[is_closed & dice.share(len(legs), 0.01)]
    helpers = world.staff.draw_managers(helped["account"].astype(np.int64), dice)
    help_ = _between(helped["assigned"], helped["until"], dice)
    reads = np.minimum(15 * SECOND, help_ - helped["assigned"])
    return [
        rows_of(_between(impatient["at"], impatient["assigned"], dice), impatient["conversation"], BY_CONSUMER),
        rows_of(greeted["assigned"] + 50, greeted["conversation"], BY_SYSTEM),
        rows_of(_between(reminded["until"], reminded["ended"], dice), reminded["conversation"], BY_SYSTEM),
        rows_of(help_, helped["conversation"], BY_AGENT, helpers, reads),
        rows_of(thankful["ended"] + dice.spans(len(thankful), 20), thankful["conversation"], BY_CONSUMER),
    ]


def idle_looks(legs: Legs, dice: Dice) -> list[Rows]:
    """Looks of human agents that come to nothing, more of them where the agent writes nothing at all."""
    silent = legs["plot"] == SILENT
    some = legs[dice.share(len(legs), 0.15) & (legs["plot"] != BOT) | dice.share(len(legs), 0.6) & silent]
    end = _between(some["assigned"], some["ended"], dice)
    look = np.minimum(dice.spans(len(some), 12), end - some["assigned"])
    left_open = (legs["leave"] > 0) & (legs["ending"] == CLOSED_BY_SYSTEM) & dice.share(len(legs), 0.4)
    last = legs[left_open]
    return [
        rows_of(end, some["conversation"], READ, some["agent"], look),
        rows_of(last["leave"], last["conversation"], LEFT_OPEN, last["agent"], 20 * SECOND),
    ]


def _between(first: Integers, last: Integers, dice: Dice) -> Integers:
    """Moments between others."""
    return first + (dice.rng.random(len(first)) * (last - first)).astype(np.int64)
