"""When conversations open, and for which skill."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from handletime.simulate.centre import Centre
from handletime.simulate.chance import Bools, Dice, Integers
from handletime.simulate.times import HOUR

_QUARTERS: Final = 7 * 24 * 4


class Load:
    """How many conversations open when: for each skill a curve over the day, less at night and on weekends."""

    def __init__(self, centre: Centre, start: int, end: int) -> None:
        dice = Dice(centre.seed, 1)
        self.skill_weights = (1 + np.arange(centre.skills)) ** -0.5
        hour = np.arange(_QUARTERS)[:, None] % 96 / 4 + dice.uniform(centre.skills) - 0.5
        peaks = np.exp(-(((hour - 10) / 2.6) ** 2)) + 0.9 * np.exp(-(((hour - 15) / 3.4) ** 2))
        night = 0.03 + 0.07 * dice.uniform(centre.skills)
        weekend = np.where(np.arange(_QUARTERS)[:, None] < 5 * 96, 1, 0.3 + 0.4 * dice.uniform(centre.skills))
        curves = self.skill_weights * (peaks + night) * weekend
        self.of_week = curves.sum(axis=1)
        self._skills = (np.cumsum(curves, axis=1) / self.of_week[:, None])[:, :-1]
        self._edges = np.linspace(start, end, math.ceil((end - start) * 4 / HOUR) + 1)
        middles = ((self._edges[1:] + self._edges[:-1]) / 2).astype(np.int64)
        opened = np.cumsum(self.of_week[_quarter_of_week(middles)])
        self._opened = np.concatenate([[0], opened / opened[-1]])

    def time_of(self, part: Any) -> Any:
        """By when this part of all conversations has opened."""
        return np.floor(np.interp(part, self._opened, self._edges)).astype(np.int64)

    def skills(self, time: Integers, dice: Dice) -> Integers:
        """A skill for each conversation that opens at these times."""
        above: Bools = dice.uniform(len(time))[:, None] >= self._skills[_quarter_of_week(time)]
        skills: Integers = above.sum(axis=1, dtype=np.int64)
        return skills


def hour_of_week(time: Integers) -> Integers:
    """Hours since Monday 0:00 (UTC)."""
    return (time // HOUR + 72) % 168  # 1970-01-01 was a Thursday


def _quarter_of_week(time: Integers) -> Integers:
    return hour_of_week(time) * 4 + time % HOUR * 4 // HOUR
