"""From the queue to an agent, or out of it."""

from __future__ import annotations

from typing import Final

import numpy as np

from handletime.simulate.chance import Dice, Numbers
from handletime.simulate.legs import AGAIN, DIRECT, MANAGER, QUEUE, Legs
from handletime.simulate.rows import ASSIGNED, CLOSED_BY_CONSUMER, Rows, rows_of
from handletime.simulate.times import SECOND
from handletime.simulate.world import World

_WAIT_SECONDS: Final = np.array([40, 40, 45, 2, 1], np.float32)
_BOT_SHARE: Final = 0.9


def queued(world: World, legs: Legs, dice: Dice) -> tuple[Legs, Legs, Rows]:
    """Draws agents and waits: the legs that an agent takes, and those whose consumer left the queue before."""
    staff, follows = world.staff, legs["follows"]
    account, skill = legs["account"].astype(np.int64), legs["skill"].astype(np.int64)
    bots = np.where(dice.share(len(legs), _BOT_SHARE), staff.draw_bots(account, skill, dice), -1)
    is_bot = (bots >= 0) & (follows <= AGAIN)
    wait = dice.spans(len(legs), np.where(is_bot, np.float32(0.5), _WAIT_SECONDS[follows]), 1.0)
    at_once = ((follows == DIRECT) & dice.share(len(legs), 0.3)) | ((follows == MANAGER) & dice.share(len(legs), 0.5))
    wait[at_once] = 0
    patience = dice.spans(len(legs), 420, 1.0)
    gives_up = (patience < wait) & ~is_bot & (follows <= QUEUE)
    legs["assigned"] = legs["at"] + wait
    legs["agent"] = _agents(world, legs, dice)
    legs["agent"][is_bot] = bots[is_bot]
    left = legs[gives_up]
    left["ended"] = np.maximum(left["at"] + patience[gives_up], left["until"] + SECOND)
    left["ending"], left["agent"] = CLOSED_BY_CONSUMER, -1
    return legs[~gives_up], left, rows_of(left["ended"], left["conversation"], CLOSED_BY_CONSUMER)


def _agents(world: World, legs: Legs, dice: Dice) -> Numbers:
    """A human for each leg: another one than before, but sometimes the same after a resumption."""
    staff, follows, last = world.staff, legs["follows"], legs["last"]
    account, skill = legs["account"].astype(np.int64), legs["skill"].astype(np.int64)
    agents = staff.draw(account, skill, legs["assigned"], dice)
    again = np.flatnonzero((agents == last) & (follows != AGAIN))
    agents[again] = staff.draw(account[again], skill[again], legs["assigned"][again], dice)
    takes_over = np.flatnonzero(follows == MANAGER)
    agents[takes_over] = staff.draw_managers(account[takes_over], dice)
    same = (follows == AGAIN) & (last >= 0) & (last < staff.humans) & dice.share(len(legs), 0.4)
    return np.where(same, last, agents)


def assigned(legs: Legs, dice: Dice) -> Rows:
    """The `assigned`; who takes over has looked before, others seldom."""
    number, follows = len(legs), legs["follows"]
    rows = rows_of(legs["assigned"], legs["conversation"], ASSIGNED, legs["agent"])
    looked = np.where(follows == MANAGER, dice.share(number, 0.8), dice.share(number, 0.03) & (follows <= QUEUE))
    longest = np.where(follows == MANAGER, 8 * SECOND, legs["assigned"] - legs["at"])
    reads = np.minimum(dice.spans(number, 20, 0.6), longest)
    rows["look"] = np.where(looked, reads, 0)
    rows["skill"] = np.where(legs["names_skill"] | dice.share(number, 0.5), legs["skill"], -1)
    rows["sequence"] = (follows >= DIRECT) & (legs["assigned"] == legs["at"]) & dice.share(number, 0.5)
    return rows
