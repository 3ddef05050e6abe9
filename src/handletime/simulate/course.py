"""The course of conversations, block by block: all legs of a block take their n-th step together."""

from __future__ import annotations

from typing import Final

import numpy as np

from handletime.simulate.asides import asides, idle_looks
from handletime.simulate.chance import Dice
from handletime.simulate.ends import ended, resumptions, transfers
from handletime.simulate.legs import CLOSED, LEG, Legs
from handletime.simulate.messages import first_words, talked
from handletime.simulate.plots import choose_plot
from handletime.simulate.queue import assigned, queued
from handletime.simulate.rows import OPENED, Rows, joined, rows_of
from handletime.simulate.world import World

LEGS_MAX: Final = 7


def events_of_block(world: World, block: int) -> Rows:
    """All events of a block of conversations but those of focus, in no particular order; also after the end."""
    dice = Dice(world.centre.seed, 3, block)
    legs, written = _opened(world, block, dice)
    for step in range(LEGS_MAX):
        waiting = legs[legs["at"] < world.end]
        if not len(waiting):
            break
        legs, rows = _step(world, waiting, dice, is_last=step == LEGS_MAX - 1)
        written += rows
    together = joined(written)
    together["id"] = np.arange(len(together), dtype=np.uint32) * 2
    return together


def _opened(world: World, block: int, dice: Dice) -> tuple[Legs, list[Rows]]:
    """The conversations of a block as their first legs."""
    numbers = world.numbers_of(block)
    first, number = numbers.start, len(numbers)
    legs = np.zeros(number, LEG)
    legs["at"] = world.load.time_of((first + np.sort(dice.rng.random(number)) * number) / world.conversations)
    legs["conversation"] = np.arange(first, numbers.stop)
    legs["account"] = world.accounts_of(legs["conversation"])
    legs["skill"] = world.load.skills(legs["at"], dice)
    legs["names_skill"] = dice.share(number, 0.01)
    legs["last"] = -1
    rows = rows_of(legs["at"], legs["conversation"], OPENED)
    rows["skill"] = np.where(legs["names_skill"], -1, legs["skill"])
    return legs, [rows, *first_words(legs, dice)]


def _step(world: World, legs: Legs, dice: Dice, *, is_last: bool) -> tuple[Legs, list[Rows]]:
    """What becomes of legs, and the legs that come after them (none after the last step)."""
    taken, left, rows = queued(world, legs, dice)
    written = [rows, assigned(taken, dice)]
    choose_plot(world, taken, dice, is_last=is_last)
    written.append(talked(world, taken, dice))
    written.append(ended(world, taken, dice))
    written += asides(world, taken, dice) + idle_looks(taken, dice)
    if is_last:
        return legs[:0], written
    passed_on = transfers(taken)
    closed = np.concatenate([left, taken[np.isin(taken["ending"], CLOSED)]])
    resumed, words = resumptions(world, closed, dice)
    return np.concatenate([passed_on, resumed]), [*written, *words]
