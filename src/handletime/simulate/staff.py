"""When conversations open, and which agents and bots there are to answer them."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import pyarrow as pa

from handletime.clock import DAY, HOUR
from handletime.events import model
from handletime.simulate.centre import AGENTS_MAX, Centre
from handletime.simulate.dice import Bools, Dice, Integers

HOURS_EACH: Final = 0.2
"""An agent's hours for a conversation, where the number of agents is not given: some three run at once."""
SHIFT_HOURS: Final = 8
WORKDAYS: Final = 5
_GOLDEN: Final = (math.sqrt(5) - 1) / 2


def opening_time(centre: Centre, part: Any) -> Any:
    """When this part (0 to 1) of all conversations has opened: most at 10 and 15 o'clock, few at night and weekends."""
    hour = np.arange(24)
    day = np.exp(-(((hour - 10) / 2.6) ** 2)) + 0.9 * np.exp(-(((hour - 15) / 3.4) ** 2)) + 0.06
    week = np.concatenate([np.tile(day, 5), np.tile(0.5 * day, 2)])
    edges = np.linspace(centre.begin, centre.end, math.ceil((centre.end - centre.begin) / HOUR) + 1)
    opened = np.cumsum(week[_hour_of_week(((edges[1:] + edges[:-1]) / 2).astype(np.int64))])
    return np.floor(np.interp(part, np.concatenate([[0], opened / opened[-1]]), edges)).astype(np.int64)


class Staff:
    """Everybody who can be assigned, by number: the humans of one account after the other, then the bots.

    The agents of an account are ordered by the skill that they mostly answer.
    """

    def __init__(self, centre: Centre, conversations: int) -> None:
        dice, accounts = Dice(centre.seed, 1), np.arange(len(centre.accounts))
        shares, skills = (1 + accounts) ** -0.5, (1 + np.arange(centre.skills)) ** -0.5
        self._accounts = shares.cumsum() / shares.sum()
        self._skills = np.concatenate([[0], skills.cumsum() / skills.sum()])
        shift_hours = (centre.end - centre.begin) / DAY * SHIFT_HOURS * WORKDAYS / 7
        total = centre.agents or min(AGENTS_MAX, math.ceil(conversations * HOURS_EACH / shift_hours))
        self._size = np.maximum(np.round(shares / shares.sum() * total).astype(np.int64), 1 if centre.agents else 2)
        self._first = np.cumsum(self._size) - self._size
        self.skills, self.bots, self.humans = centre.skills, centre.bots, int(self._size.sum())
        account, bots = np.repeat(accounts, self._size), np.tile(np.arange(self.bots), len(accounts))
        local, size = np.arange(self.humans) - self._first[account], self._size[account]
        self.ids = np.concatenate([3001 + local, 1001 + bots])
        self.employees = pa.array([f"E{1001 + n}" if n % 20 else None for n in local.tolist()] + [None] * len(bots))
        self.groups = np.concatenate([501 + local * (1 + size // 12) // size, np.full(len(bots), model.UNASSIGNED)])
        self.has_focus = dice.share(len(self.ids), 1 - centre.without_focus) & (np.arange(len(self.ids)) < self.humans)
        first_hour, anybody = 7 + dice.below(np.full(self.humans, 6)), np.full(self.humans, 24)
        self._first_hour = np.where(dice.share(self.humans, 0.06), dice.below(anybody), first_hour)
        self._first_free = np.where(dice.share(self.humans, 0.35), 5, dice.below(anybody) % 7)

    def accounts_of(self, conversations: Integers) -> Integers:
        """The account of each conversation, by number: the first one has most."""
        return np.asarray(np.searchsorted(self._accounts[:-1], conversations * _GOLDEN % 1, side="right"))

    def draw_skills(self, n: int, dice: Dice) -> Integers:
        """A skill for each of `n` conversations: the first one most often."""
        return np.asarray(np.searchsorted(self._skills[1:-1], dice.uniform(n), side="right"))

    def draw(self, conversations: Integers, skills: Integers, times: Integers, dice: Dice) -> Integers:
        """A human agent for each conversation, on shift if one of eight drawn is; a quarter of any skill."""
        accounts = self.accounts_of(conversations)
        low, high = self._skills[skills], self._skills[skills + 1]
        agents, off = np.zeros(len(accounts), np.int64), np.arange(len(accounts))
        for _ in range(8):
            of_skill = low[off] + (high - low)[off] * dice.uniform(len(off))
            part = np.where(dice.share(len(off), 0.25), dice.uniform(len(off)), of_skill)
            agents[off] = self._first[accounts[off]] + (part * self._size[accounts[off]]).astype(np.int64)
            off = off[~self._on_shift(agents[off], times[off])]
        return agents

    def bots_of(self, conversations: Integers, skills: Integers) -> Integers:
        """The bot that answers each conversation first, -1 where the skill has none."""
        bots = self.humans + self.accounts_of(conversations) * self.bots + skills
        return np.where(skills < self.bots, bots, -1)

    def _on_shift(self, agents: Integers, times: Integers) -> Bools:
        hour = _hour_of_week(times)
        worked = (hour - self._first_hour[agents]) % 24
        day = (hour - worked) % 168 // 24
        return (worked < SHIFT_HOURS) & ((day - self._first_free[agents]) % 7 >= 7 - WORKDAYS)


def _hour_of_week(times: Integers) -> Integers:
    """Hours since Monday 0:00 (UTC)."""
    return (times // HOUR + 72) % 168  # 1970-01-01 was a Thursday
