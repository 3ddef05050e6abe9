"""What each agent's screen shows: looks, one after the other, become `focused` and `unfocused`."""

from __future__ import annotations

import numpy as np

from handletime.simulate.chance import Bools, Dice, Integers, Numbers
from handletime.simulate.rows import FOCUSED, LEFT_OPEN, LOOK_MAX, UNFOCUSED, Rows, in_order, joined, rows_of, where
from handletime.simulate.times import MINUTE, NEVER, SECOND
from handletime.simulate.world import World


class Focus:
    """What each agent's screen shows: fed with looks in order of time, it gives `focused` and `unfocused`.

    A look that begins before the agent's previous one has ended begins right after it. After a look the agent stays
    until the next one, or until idle for some minutes, and that is an `unfocused`; seldom it is forgotten.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        staff = world.staff.number
        self.looked = np.full(staff, -NEVER)
        self.conversation = np.full(staff, -1, np.int32)
        self.unfocus = np.full(staff, NEVER)
        self.given = 0

    def follow(self, looks: Rows, safe: int, dice: Dice) -> Rows:
        """The focus events of the next looks. No look to come begins before `safe`: until then they are complete."""
        looks = where(self.world.staff.has_focus[looks["agent"]], looks)
        looks = in_order(looks, looks["time"])
        looks = in_order(looks, looks["agent"].astype(np.int64))
        agent, end = looks["agent"], looks["time"]
        is_first = np.diff(agent, prepend=-1) > 0
        idle_at = np.where(looks["kind"] == LEFT_OPEN, NEVER, self._idle(end, dice))
        looked, unfocus, conversation = self._before(looks, is_first, idle_at)
        start = np.minimum(np.maximum(end - np.minimum(looks["look"], LOOK_MAX), looked + 1), end)
        leaves = unfocus < start
        changes = leaves | (conversation != looks["conversation"])
        enters = changes | dice.share(len(looks), 0.02)
        rows = [
            rows_of(unfocus[leaves], conversation[leaves], UNFOCUSED, agent[leaves]),
            rows_of(start[enters], looks["conversation"][enters], FOCUSED, agent[enters]),
            *_interruptions(looks, start, dice),
        ]
        last = np.flatnonzero(np.diff(agent, append=-1) != 0)
        self.looked[agent[last]], self.unfocus[agent[last]] = end[last], idle_at[last]
        self.conversation[agent[last]] = looks["conversation"][last]
        return self._numbered([*rows, self._gone_idle(safe)])

    def _idle(self, end: Integers, dice: Dice) -> Integers:
        """When agents look away after looks if nothing else comes: often after minutes, sometimes at once or never."""
        seconds = np.where(dice.share(len(end), 0.1), np.float32(8), np.float32(200))
        idle = dice.spans(len(end), seconds, 0.8, 40 * MINUTE)
        return np.where(dice.share(len(end), 0.005), NEVER, end + idle)

    def _before(self, looks: Rows, is_first: Bools, idle_at: Integers) -> tuple[Integers, Integers, Numbers]:
        """The end of the agent's previous look, when it is left at the latest, and its conversation."""
        carried = looks["agent"][is_first]
        looked, unfocus = np.roll(looks["time"], 1), np.roll(idle_at, 1)
        conversation = np.roll(looks["conversation"], 1)
        looked[is_first], unfocus[is_first] = self.looked[carried], self.unfocus[carried]
        conversation[is_first] = self.conversation[carried]
        return looked, unfocus, conversation

    def _gone_idle(self, before: int) -> Rows:
        """Those who have looked away by then."""
        agents = np.flatnonzero(self.unfocus < before)
        rows = rows_of(self.unfocus[agents], self.conversation[agents], UNFOCUSED, agents)
        self.unfocus[agents], self.conversation[agents] = NEVER, -1
        return rows

    def _numbered(self, rows: list[Rows]) -> Rows:
        together = joined(rows)
        numbers = self.given + np.arange(len(together))
        self.given += len(together)
        together["id"] = (numbers * 2 + 1) & 0xFFFFFFFF
        return together


def _interruptions(looks: Rows, start: Integers, dice: Dice) -> list[Rows]:
    """A few long looks with a moment away in them."""
    some = np.flatnonzero((looks["time"] - start > 10 * SECOND) & dice.share(len(looks), 0.03))
    begin, span = start[some], looks["time"][some] - start[some]
    conversation, agent = looks["conversation"][some], looks["agent"][some]
    return [
        rows_of(begin + span // 3, conversation, UNFOCUSED, agent),
        rows_of(begin + span * 2 // 3, conversation, FOCUSED, agent),
    ]
