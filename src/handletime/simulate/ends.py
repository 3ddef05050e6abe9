"""The ends of legs, and the legs that follow them."""

from __future__ import annotations

from typing import Final

import numpy as np

from handletime.simulate.chance import Dice
from handletime.simulate.legs import AGAIN, BOT, CLOSED, DIRECT, MANAGER, QUEUE, SILENT, Legs
from handletime.simulate.messages import first_words
from handletime.simulate.rows import (
    BACK_TO_QUEUE,
    BY_CONSUMER,
    CLOSED_BY_AGENT,
    CLOSED_BY_CONSUMER,
    CLOSED_BY_SYSTEM,
    IMPLICIT,
    LOOK_MAX,
    OPENED,
    RESUMED,
    TAKEOVER,
    TO_AGENT,
    TO_SKILL,
    Rows,
    rows_of,
    where,
)
from handletime.simulate.times import DAY, SECOND
from handletime.simulate.world import World

_ENDING_SECONDS: Final = np.zeros(IMPLICIT + 1, np.float32)
_ENDING_SECONDS[[CLOSED_BY_CONSUMER, CLOSED_BY_AGENT, CLOSED_BY_SYSTEM]] = 40, 45, 4000
_ENDING_SECONDS[[TO_SKILL, TO_AGENT, BACK_TO_QUEUE, IMPLICIT, TAKEOVER]] = 25, 30, 40, 30, 60
_SILENT_SLOWER: Final = 3
_BY_ITS_AGENT: Final = (CLOSED_BY_AGENT, TO_SKILL, TO_AGENT, BACK_TO_QUEUE)
_FOLLOWS: Final = np.full(IMPLICIT + 1, QUEUE)
_FOLLOWS[[TO_AGENT, IMPLICIT, TAKEOVER]] = DIRECT, DIRECT, MANAGER


def ended(world: World, legs: Legs, dice: Dice) -> Rows:
    """The event that ends each leg; none where the next `assigned` does. Sets `ended`, and `skill` to the next."""
    number, ending = len(legs), legs["ending"]
    silent = legs["plot"] == SILENT
    seconds = _ENDING_SECONDS[ending]
    seconds[silent] *= _SILENT_SLOWER
    seconds[legs["plot"] == BOT] /= 10
    seconds[(ending == CLOSED_BY_SYSTEM) & dice.share(number, 0.04)] = DAY / SECOND
    begin = np.maximum(legs["until"], legs["assigned"])
    gap = dice.spans(number, seconds, np.where(seconds < 80_000, np.float32(0.8), np.float32(0.01)))
    at_leave = np.maximum(begin + 1, legs["leave"]) + np.where(ending == CLOSED_BY_SYSTEM, gap, 0)
    legs["ended"] = np.where(legs["leave"] > 0, at_leave, begin + gap)
    other = (ending == TO_SKILL) | ((ending == IMPLICIT) & dice.share(number, 0.2))
    skills = world.centre.skills
    changed = (legs["skill"] + 1 + (dice.uniform(number) * (skills - 1)).astype(np.int32)) % skills
    changed = np.where((legs["plot"] == BOT) & dice.share(number, 0.6), legs["skill"], changed)
    legs["skill"] = np.where(other, changed, legs["skill"])
    named = ((ending == TO_SKILL) & ~dice.share(number, 0.1)) | ((ending == BACK_TO_QUEUE) & dice.share(number, 0.3))
    legs["names_skill"] = other & ~named
    rows = rows_of(legs["ended"], legs["conversation"], ending, legs["agent"])
    rows["skill"] = np.where(named, legs["skill"], -1)
    acts = np.isin(ending, _BY_ITS_AGENT) & (legs["plot"] != BOT) & ~(silent & dice.share(number, 0.4))
    rows["look"] = np.where(acts, np.minimum(dice.spans(number, 20, 0.6, LOOK_MAX), legs["ended"] - begin), 0)
    return where(ending != IMPLICIT, rows)


def transfers(legs: Legs) -> Legs:
    """The legs after transfers."""
    legs = legs[~np.isin(legs["ending"], CLOSED)]
    legs["follows"] = _FOLLOWS[legs["ending"]]
    legs["at"] = legs["until"] = legs["ended"]
    legs["last"] = legs["agent"]
    return legs


def resumptions(world: World, closed: Legs, dice: Dice) -> tuple[Legs, list[Rows]]:
    """Some closed conversations opened again, hours or a day later."""
    again = np.where(closed["ending"] == CLOSED_BY_SYSTEM, dice.share(len(closed), 0.15), dice.share(len(closed), 0.06))
    legs = closed[again]
    number = len(legs)
    legs["last"] = legs["agent"]
    legs["at"] = legs["ended"] + dice.spans(number, 9000, 1.2, 3 * DAY) + SECOND
    legs["follows"] = AGAIN
    other = dice.share(number, 0.15)
    legs["skill"] = np.where(other, (legs["skill"] + 1) % world.centre.skills, legs["skill"])
    legs["names_skill"] = False
    rows = rows_of(legs["at"], legs["conversation"], np.where(dice.share(number, 0.1), OPENED, RESUMED))
    rows["skill"] = np.where(other | dice.share(number, 0.6), legs["skill"], -1)
    early = legs[dice.share(number, 0.03)]
    too_early = rows_of(early["at"] - SECOND, early["conversation"], BY_CONSUMER)
    return legs, [rows, too_early, *first_words(legs, dice)]
