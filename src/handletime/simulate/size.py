"""How many conversations a centre has."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from handletime.simulate.centre import Centre
from handletime.simulate.stream import arrivals
from handletime.simulate.world import World

CONVERSATIONS_A_DAY: Final = 2000
"""Where a centre names no size."""
SAMPLE: Final = 60_000
"""Conversations simulated to find out how many give a number of events; fewer are tried until they fit."""
_TRIES: Final = 12


def conversations_of(centre: Centre) -> int:
    """How many conversations the centre has; for a number of events, by simulating some and counting."""
    if centre.events is None:
        return centre.conversations or max(1, round(CONVERSATIONS_A_DAY * centre.days))
    number, tried = max(1, round(centre.events / 21)), []
    for _ in range(_TRIES):
        sample = min(number, SAMPLE)
        agents = centre.agents and math.ceil(centre.agents * sample / number)
        counted = sum(map(len, arrivals(World(replace(centre, agents=agents), sample))))
        wanted = max(1, round(sample * centre.events / max(counted, 1)))
        if min(number, wanted) > SAMPLE:
            return wanted
        if sample == number:
            tried.append((abs(counted - centre.events), number))
            if tried[-1][0] <= 0.01 * centre.events:
                break
        number = wanted if wanted != number else number + 1
    return min(tried, default=(0, number))[1]
