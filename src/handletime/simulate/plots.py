"""What happens in legs and how they end: which of it, and how often."""

from __future__ import annotations

from typing import Final

import numpy as np

from handletime.simulate.chance import Dice
from handletime.simulate.legs import BOT, CLOSED, DIALOGUE, MANAGER, MONOLOGUE, SILENT, Legs
from handletime.simulate.rows import (
    BACK_TO_QUEUE,
    CLOSED_BY_AGENT,
    CLOSED_BY_CONSUMER,
    CLOSED_BY_SYSTEM,
    IMPLICIT,
    TAKEOVER,
    TO_AGENT,
    TO_SKILL,
)
from handletime.simulate.world import World

_PLOTS: Final = {SILENT: 0.17, MONOLOGUE: 0.16, DIALOGUE: 0.67}
_ENDINGS: Final[dict[int, dict[int, float]]] = {
    BOT: {TO_SKILL: 0.82, CLOSED_BY_CONSUMER: 0.09, CLOSED_BY_SYSTEM: 0.05, CLOSED_BY_AGENT: 0.04},
    SILENT: {
        CLOSED_BY_CONSUMER: 0.53,
        BACK_TO_QUEUE: 0.14,
        TO_SKILL: 0.09,
        TO_AGENT: 0.05,
        IMPLICIT: 0.04,
        TAKEOVER: 0.05,
        CLOSED_BY_AGENT: 0.05,
        CLOSED_BY_SYSTEM: 0.05,
    },
    MONOLOGUE: {
        CLOSED_BY_SYSTEM: 0.62,
        CLOSED_BY_AGENT: 0.20,
        CLOSED_BY_CONSUMER: 0.08,
        TO_SKILL: 0.04,
        BACK_TO_QUEUE: 0.03,
        TO_AGENT: 0.02,
        TAKEOVER: 0.01,
    },
    DIALOGUE: {
        CLOSED_BY_AGENT: 0.40,
        CLOSED_BY_CONSUMER: 0.22,
        CLOSED_BY_SYSTEM: 0.16,
        TO_SKILL: 0.07,
        TO_AGENT: 0.06,
        BACK_TO_QUEUE: 0.04,
        IMPLICIT: 0.03,
        TAKEOVER: 0.02,
    },
}
SHIFT_ENDINGS: Final = {BACK_TO_QUEUE: 0.5, TO_AGENT: 0.2, IMPLICIT: 0.15, CLOSED_BY_SYSTEM: 0.15}


def choose_plot(world: World, legs: Legs, dice: Dice, *, is_last: bool) -> None:
    """Sets `plot`, `turns` and `ending`."""
    number = len(legs)
    is_bot = legs["agent"] >= world.staff.humans
    legs["plot"] = np.where(is_bot, BOT, dice.one_of(number, _PLOTS))
    further = np.log(1 - dice.uniform(number)) / np.log(np.where(is_bot, np.float32(0.4), np.float32(0.77)))
    turns = 1 + np.minimum(further, np.where(is_bot, 3, 9)).astype(np.int64)
    legs["turns"] = np.choose(legs["plot"], [turns, 0, 1, turns])
    for plot, shares in _ENDINGS.items():
        its = np.flatnonzero(legs["plot"] == plot)
        legs["ending"][its] = dice.one_of(len(its), shares)
    legs["ending"][(legs["follows"] == MANAGER) & (legs["ending"] == TAKEOVER)] = CLOSED_BY_AGENT
    if is_last:
        legs["ending"][~np.isin(legs["ending"], CLOSED)] = CLOSED_BY_SYSTEM
