"""A centre's load, staff and blocks: all that is fixed before the first conversation opens."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from handletime.simulate.centre import Centre
from handletime.simulate.chance import Integers, Numbers, hashed
from handletime.simulate.load import Load
from handletime.simulate.staff import Staff
from handletime.simulate.times import DAY, millis

BLOCK: Final = 20_000
"""Conversations written together; what a simulation needs of memory follows from it."""


class World:
    """A centre with everything that is fixed before the first conversation opens."""

    def __init__(self, centre: Centre, conversations: int) -> None:
        self.centre = centre
        self.conversations = conversations
        self.start = millis(centre.start)
        self.end = self.start + max(1, round(centre.days * DAY))
        self.load = Load(centre, self.start, self.end)
        self.staff = Staff(centre, self.load, conversations, self.start, self.end)
        self.blocks = math.ceil(conversations / BLOCK)
        ends = self.load.time_of(np.arange(1, self.blocks + 1) * BLOCK / conversations)
        self.borders = np.append(ends[:-1], self.end)
        """Where blocks end: nothing of a later one is before."""

    def numbers_of(self, block: int) -> range:
        """The numbers of a block's conversations."""
        return range(block * BLOCK, min((block + 1) * BLOCK, self.conversations))

    def accounts_of(self, conversations: Numbers) -> Integers:
        """The accounts of conversations, by number."""
        part = hashed(conversations, self.centre.seed, 1) / 2.0**64
        places = np.searchsorted(self.staff.account_shares.cumsum()[:-1], part, side="right")
        return places.astype(np.int64)
