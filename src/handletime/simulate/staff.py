"""Agents and bots, and who is there when."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from handletime.events import model
from handletime.simulate.centre import AGENTS_MAX, Centre
from handletime.simulate.chance import Bools, Dice, Integers, Numbers
from handletime.simulate.load import Load, hour_of_week
from handletime.simulate.times import HOUR

CONCURRENCY: Final = 3.0
"""Conversations an agent has at once, on average, where the number of agents is not given."""
ASSIGNED_HOURS: Final = 0.9
"""How long a conversation has a human agent, on average: measured, for the number of agents."""
SHIFT_HOURS: Final = 8


class Staff:
    """Everybody who can be assigned, by number: the humans of one account after the other, then the bots."""

    def __init__(self, centre: Centre, load: Load, conversations: int, start: int, end: int) -> None:
        dice = Dice(centre.seed, 2)
        accounts = len(centre.accounts)
        self.skills, self.bots = centre.skills, centre.bots
        self.account_shares = (1 + np.arange(accounts)) ** -0.5
        self.account_shares /= self.account_shares.sum()
        hours = np.bincount(hour_of_week(np.arange(start, end, HOUR // 4)), minlength=168) / 4
        total = centre.agents or _headcount(load, conversations, hours)
        least = 1 if centre.agents else max(2, centre.skills)
        counts = np.maximum(np.round(self.account_shares * total).astype(np.int64), least)
        self.humans = int(counts.sum())
        self.number = self.humans + accounts * self.bots
        self._name(counts, dice)
        self.has_focus = (np.arange(self.number) < self.humans) & ~dice.share(self.number, centre.without_focus)
        self.rosters = _Rosters(self.humans, load, dice)
        self._list(load, accounts, np.flatnonzero(hours), dice)

    def _name(self, counts: Integers, dice: Dice) -> None:
        """Ids, employees and groups; the last agents of an account are its managers."""
        self.account = np.repeat(np.arange(len(counts)), counts)
        self.local = np.arange(self.humans) - np.repeat(np.cumsum(counts) - counts, counts)
        size = np.repeat(counts, counts)
        self.is_manager = self.local >= size - np.where(size >= 4, 1 + size // 20, 0)
        bots = np.tile(np.arange(self.bots), len(counts))
        self.id = np.concatenate([3001 + self.local, 1001 + bots])
        group = 501 + self.local * (1 + size // 12) // size
        self.group = np.concatenate([group, np.full(len(bots), model.UNASSIGNED)])
        employees = np.where(dice.share(self.humans, 0.05), -1, 1001 + self.local).tolist()
        self.employee = pa.array(
            [f"E{number}" if number >= 0 else None for number in employees] + [None] * len(bots), pa.string()
        )

    def _list(self, load: Load, accounts: int, hours: Integers, dice: Dice) -> None:
        """Who there is for a skill, at an hour of the week and at all."""
        weights = load.skill_weights.cumsum() / load.skill_weights.sum()
        first = np.where(self.local < self.skills, self.local, np.searchsorted(weights, dice.uniform(self.humans)))
        more = [np.searchsorted(weights, dice.uniform(self.humans)) for _ in range(2)]
        agents = np.arange(self.humans)
        second, third = (agents[dice.share(self.humans, share)] for share in (0.6, 0.25))
        who = np.concatenate([agents, second, third])
        skill = np.concatenate([first, more[0][second], more[1][third]]) % self.skills
        key = self.account[who] * self.skills + skill
        works = ~self.is_manager[who]
        who, key = who[works], key[works]
        self._by_skill = _Lists(key, who, accounts * self.skills)
        place, hour = np.nonzero(self.rosters.on_shift(hours)[who])
        self._by_hour = _Lists(key[place] * 168 + hours[hour], who[place], accounts * self.skills * 168)
        self._by_account = _Lists(self.account, agents, accounts)
        managers = np.flatnonzero(self.is_manager)
        self._managers = _Lists(self.account[managers], managers, accounts)

    def draw(self, account: Integers, skill: Integers, time: Integers, dice: Dice) -> Numbers:
        """An agent for the skill, on shift if there is one."""
        key = account * self.skills + skill
        drawn = self._by_hour.draw(key * 168 + hour_of_week(time), dice)
        for lists, keys in ((self._by_skill, key), (self._by_account, account)):
            missing = np.flatnonzero(drawn < 0)
            drawn[missing] = lists.draw(keys[missing], dice)
        return drawn

    def draw_managers(self, account: Integers, dice: Dice) -> Numbers:
        """A manager of the account, or anybody where there is none."""
        drawn = self._managers.draw(account, dice)
        return np.where(drawn < 0, self._by_account.draw(account, dice), drawn)

    def draw_bots(self, account: Integers, skill: Integers, dice: Dice) -> Numbers:
        """One of the bots of the skill, -1 where it has none."""
        count = np.maximum(0, (self.bots - skill - 1) // self.skills + 1)
        local = skill + self.skills * (dice.uniform(len(skill)) * count).astype(np.int64)
        return np.where(count > 0, self.humans + account * self.bots + local, -1).astype(np.int32)


class _Rosters:
    """Who works when: a shift of eight hours, at the same time on five days a week."""

    def __init__(self, number: int, load: Load, dice: Dice) -> None:
        day = load.of_week[: 5 * 96].reshape(5, 24, 4).sum(axis=(0, 2)).cumsum()
        middle = np.searchsorted(day / day[-1], dice.uniform(number))
        middle = np.where(dice.share(number, 0.06), dice.rng.integers(24, size=number), middle)
        self.first_hour = ((middle - 2) % 24).astype(np.int64)
        first_free = np.where(dice.share(number, 0.35), 5, dice.rng.integers(7, size=number))
        self.free_days = np.stack([first_free, (first_free + 1) % 7])

    def on_shift(self, hours: Integers) -> Bools:
        """By agent and hour of the week."""
        since = (hours - self.first_hour[:, None]) % 24
        day = ((hours - since) % 168) // 24
        is_free: Bools = (day[None] == self.free_days[:, :, None]).any(axis=0)
        return (since < SHIFT_HOURS) & ~is_free

    def leave(self, agents: Numbers, time: Integers) -> Integers:
        """The end of the shift; three hours later for those who work outside it."""
        since = (time // HOUR - self.first_hour[agents]) % 24
        return (time // HOUR + np.where(since < SHIFT_HOURS, SHIFT_HOURS - since, 3)) * HOUR


class _Lists:
    """For each key a list of agents, to draw one from."""

    def __init__(self, keys: Integers, agents: Integers, number: int) -> None:
        order = np.lexsort((agents, keys))
        self.agents = agents[order].astype(np.int32)
        self.first = np.searchsorted(keys[order], np.arange(number + 1))

    def draw(self, keys: Integers, dice: Dice) -> Numbers:
        """An agent for each key, -1 where the list is empty."""
        first, count = self.first[keys], self.first[keys + 1] - self.first[keys]
        drawn = np.full(len(keys), -1, np.int32)
        some = np.flatnonzero(count)
        drawn[some] = self.agents[(first + dice.rng.random(len(keys)) * count).astype(np.int64)[some]]
        return drawn


def _headcount(load: Load, conversations: int, hours: NDArray[np.float64]) -> int:
    """How many agents the load needs, with `CONCURRENCY` conversations at once; `hours` by hour of the week."""
    on_shift = _Rosters(500, load, Dice(0)).on_shift(np.arange(168))
    worked = max(float((on_shift @ hours).mean()), 0.05 * float(hours.sum()))
    return min(AGENTS_MAX, math.ceil(conversations * ASSIGNED_HOURS / CONCURRENCY / worked))
