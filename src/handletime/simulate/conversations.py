"""What happens in conversations and what their agents' screens show, many at a time, as rows of events.

A conversation is a chain of *legs*: from entering the queue over an agent's messages to a transfer or a close. Another
leg follows a transfer, and a close if the consumer comes back. All legs take each step together, as columns. A row also
says for how long the agent who acts has looked at the conversation. From these looks follow `focused` and `unfocused`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from handletime.clock import DAY, MINUTE, SECOND
from handletime.events.model import ASSIGNED, CLOSED, FOCUSED, MESSAGE, OPENED, RESUMED, TRANSFERRED, UNFOCUSED
from handletime.simulate.dice import Dice, Integers
from handletime.simulate.staff import Staff

NEVER: Final = np.iinfo(np.int64).max // 16
"""Later than every time, and small enough to reckon with."""
LOOK_MAX: Final = 10 * MINUTE
"""For how long an agent looks at a conversation at most before doing something with it."""
LOOKED: Final = -1
"""In place of a type: no event, an agent looks at a conversation and does nothing."""

Rows = NDArray[np.void]
ROW: Final = np.dtype(
    {
        "names": ["arrival", "time", "conversation", "agent", "look", "id", "skill", "type", "by", "sequence"],
        "formats": ["i8", "i8", "i4", "i4", "i4", "u4", "i2", "i1", "i1", "i1"],
    }
)
"""An event, by numbers: the conversation, the agent in the staff and the skill in the account (-1: none), `look` (the
milliseconds for which the agent has looked at the conversation, 0: nobody looks), what `eventId` is made of, the type,
and `by`, the place of `sentBy`, `reason` or `closedBy` in its closed list. `arrival` is in eighths of a millisecond, by
which what happens at one time stands in the order of rules.md 1."""

Legs = NDArray[np.void]
_COLUMNS: Final = "at assigned until ended conversation skill agent last follows plot ending"
LEG: Final = np.dtype([(name, "i8") for name in _COLUMNS.split()])
"""In the queue from `at`, with `agent` from `assigned` to `ended`; `until` is its last message so far; `last` is the
agent of the leg before (-1: none)."""
NEW, AGAIN, QUEUE, DIRECT = range(4)
"""What a leg follows: opening, resumption, transfer through the queue, transfer to an agent."""
BOT, SILENT, MONOLOGUE, DIALOGUE = range(4)
"""Plots: a bot writes, or a human does not write, gets no answer, gets one."""
CONSUMER, AGENT, SYSTEM = range(3)
TO_AGENT, TO_SKILL, BACK_TO_QUEUE, TAKEOVER, UNTOLD = range(3, 8)
"""Endings: a close by one of the three, a transfer, or just another agent's assignment."""
_ENDINGS: Final = np.array(
    [
        [0.09, 0.04, 0.05, 0, 0.82, 0, 0, 0],
        [0.53, 0.05, 0.05, 0.05, 0.09, 0.14, 0.05, 0.04],
        [0.08, 0.20, 0.62, 0.02, 0.04, 0.03, 0.01, 0],
        [0.22, 0.40, 0.16, 0.06, 0.07, 0.04, 0.02, 0.03],
    ]
)
"""How often each plot has each ending."""
_ENDING_SECONDS: Final = np.array([40, 45, 4000, 30, 25, 40, 60, 30])
_PLOTS: Final = np.array([0, 0.17, 0.16, 0.67])
_MESSAGES: Final = np.array([2.5, 0, 0.5, 6.5])
_GAP_SECONDS: Final = np.array([[75, 18], [70, 8], [1, 0.7], [12, 4]])
"""How long one waits before writing in answer, and once more: an agent, a consumer, a bot, a consumer with a bot."""


def conversations(numbers: Integers, times: Integers, staff: Staff, dice: Dice) -> Rows:
    """All events of the conversations of these numbers, which open at these times, but for focus; in no order."""
    legs = np.zeros(len(numbers), LEG)
    legs["conversation"], legs["at"], legs["last"] = numbers, times, -1
    legs["skill"] = staff.draw_skills(len(legs), dice)
    named = np.where(dice.share(len(legs), 0.99), legs["skill"], -1)
    written = [_rows(legs, times, OPENED, skill=named), *_first_words(legs, dice)]
    for leg in range(7):
        taken, left, rows = _queue(legs, staff, dice)
        written += [*rows, _talk(taken, staff, dice), _end(taken, staff, dice, is_last=leg == 6)]
        written += _asides(taken, dice)
        is_closed = taken["ending"] <= SYSTEM
        resumed, rows = _resumed(np.concatenate([left, taken[is_closed]]), dice)
        passed = taken[~is_closed]
        passed["at"] = passed["until"] = passed["ended"]
        passed["last"] = passed["agent"]
        passed["follows"] = np.where(np.isin(passed["ending"], (TO_SKILL, BACK_TO_QUEUE)), QUEUE, DIRECT)
        legs, written = np.concatenate([resumed, passed]), written + rows
    return joined(*written)


def joined(*parts: Rows) -> Rows:
    """One part behind the other."""
    # As bytes: NumPy copies structures field by field.
    return np.concatenate([rows.view(f"V{ROW.itemsize}") for rows in parts]).view(ROW)


def _rows(legs: Legs, time: Any, type_: Any, by: Any = 0, agent: Any = -1, look: Any = 0, skill: Any = -1) -> Rows:
    """A row for each leg."""
    rows = np.zeros(len(legs), ROW)
    rows["time"], rows["conversation"], rows["type"], rows["by"] = time, legs["conversation"], type_, by
    rows["agent"], rows["look"], rows["skill"] = agent, look, skill
    return rows


def _first_words(legs: Legs, dice: Dice) -> list[Rows]:
    """The consumer's messages at the beginning: mostly one, sometimes none or two. Sets `until`."""
    legs["until"] = legs["at"] + dice.spans(len(legs), 2, 1.0, MINUTE) * dice.share(len(legs), 0.8)
    most, some = legs[dice.share(len(legs), 0.97)], legs[dice.share(len(legs), 0.1)]
    more = _rows(some, some["until"] + dice.spans(len(some), 5), MESSAGE, CONSUMER)
    return [_rows(most, most["until"], MESSAGE, CONSUMER), more]


def _queue(legs: Legs, staff: Staff, dice: Dice) -> tuple[Legs, Legs, list[Rows]]:
    """The legs that a bot or an agent takes, and those whose consumer leaves the queue before."""
    n, follows, conversation, skill = len(legs), legs["follows"], legs["conversation"], legs["skill"]
    bots = staff.bots_of(conversation, skill)
    is_bot = (bots >= 0) & (follows <= AGAIN) & dice.share(n, 0.9)
    wait = dice.spans(n, np.where(is_bot, 0.5, np.where(follows == DIRECT, 2, 40)), 1.0)
    wait[(follows == DIRECT) & dice.share(n, 0.3)] = 0
    patience = dice.spans(n, 420, 1.0)
    legs["assigned"], legs["ended"] = legs["at"] + wait, np.maximum(legs["at"] + patience, legs["until"] + SECOND)
    humans, others = (staff.draw(conversation, skill, legs["assigned"], dice) for _ in range(2))
    legs["agent"] = np.where(is_bot, bots, np.where(humans == legs["last"], others, humans))
    look = np.minimum(dice.spans(n, 20, 0.6), wait) * (dice.share(n, 0.05) & ~is_bot)
    named = np.where(dice.share(n, 0.5), skill, -1)
    assigned = _rows(legs, legs["assigned"], ASSIGNED, 0, legs["agent"], look, named)
    assigned["sequence"] = (wait == 0) & dice.share(n, 0.5)
    leaves = (patience < wait) & ~is_bot & (follows != DIRECT)
    left = legs[leaves]
    left["agent"], left["ending"] = -1, CONSUMER
    return legs[~leaves], left, [assigned[~leaves], _rows(left, left["ended"], CLOSED, CONSUMER)]


def _talk(legs: Legs, staff: Staff, dice: Dice) -> Rows:
    """The messages of consumers and agents, in turns; a few are of the agent before. Sets `plot` and `until`."""
    n, is_bot = len(legs), legs["agent"] >= staff.humans
    legs["plot"] = plot = np.where(is_bot, BOT, dice.one_of(np.tile(_PLOTS, (n, 1))))
    many = dice.spans(n, _MESSAGES[plot], 0.8, 60 * SECOND) // SECOND
    messages = np.where(plot == SILENT, 0, np.where(plot == DIALOGUE, 2, 1) + many)
    leg = np.repeat(np.arange(n), messages)
    first = np.repeat(np.cumsum(messages) - messages, messages)
    place = np.arange(len(leg)) - first
    # An agent writes first, the consumer second, if at all; later on one message may follow another.
    is_turn = (place > 0) & (plot[leg] != MONOLOGUE) & ((place == 1) | dice.share(len(leg), 0.78))
    turns = np.cumsum(is_turn)
    by = np.where((turns - turns[first]) % 2, CONSUMER, AGENT)
    again = (place > 0) & ~is_turn
    gap = dice.spans(len(leg), _GAP_SECONDS[(by == CONSUMER) + 2 * is_bot[leg], again.astype(int)], 0.95, 240 * MINUTE)
    passed = np.cumsum(gap)
    legs["until"] = np.maximum(legs["assigned"], legs["until"])
    time = legs["until"][leg] + passed - (passed - gap)[first]
    legs["until"][leg] = time  # that of the last message stays
    longest = np.where(again, LOOK_MAX, dice.spans(len(leg), 60, 0.7, LOOK_MAX))
    look = np.where((by == CONSUMER) | is_bot[leg], 0, np.minimum(gap, longest))
    is_other = ((legs["last"] >= 0) & ~is_bot)[leg] & dice.share(len(leg), 0.03)
    agent = np.where(is_other, legs["last"][leg], legs["agent"][leg])
    return _rows(legs[["conversation"]][leg], time, MESSAGE, by, agent, look)


def _end(legs: Legs, staff: Staff, dice: Dice, *, is_last: bool) -> Rows:
    """How each leg ends. Sets `ending` and `ended`, and `skill` to that of the next leg."""
    n, plot = len(legs), legs["plot"]
    ending = dice.one_of(_ENDINGS[plot])
    legs["ending"] = ending = np.where(is_last & (ending > SYSTEM), SYSTEM, ending)
    seconds = _ENDING_SECONDS[ending] * np.array([0.1, 3, 1, 1])[plot]
    gap = dice.spans(n, np.where((ending == SYSTEM) & dice.share(n, 0.04), DAY / SECOND, seconds))
    legs["ended"] = legs["until"] + gap
    other = (legs["skill"] + 1 + dice.below(np.full(n, staff.skills - 1))) % staff.skills
    changes = dice.share(n, np.where(ending == TO_SKILL, np.where(plot == BOT, 0.4, 1), 0.2 * (ending == UNTOLD)))
    legs["skill"] = np.where(changes, other, legs["skill"])
    named = dice.share(n, 0.9 * (ending == TO_SKILL) + 0.3 * (ending == BACK_TO_QUEUE))
    by_its_agent = np.isin(ending, (AGENT, TO_AGENT, TO_SKILL, BACK_TO_QUEUE)) & (plot != BOT)
    look = np.minimum(dice.spans(n, 20, 0.6), gap) * (by_its_agent & dice.share(n, np.where(plot == SILENT, 0.6, 1)))
    type_, by = np.where(ending > SYSTEM, TRANSFERRED, CLOSED), np.where(ending > SYSTEM, ending - TO_AGENT, ending)
    rows = _rows(legs, legs["ended"], type_, by, legs["agent"], look, np.where(named, legs["skill"], -1))
    return np.asarray(rows[ending != UNTOLD])


def _resumed(closed: Legs, dice: Dice) -> tuple[Legs, list[Rows]]:
    """Some closed conversations opened again, hours or a day later."""
    legs = closed[dice.share(len(closed), np.where(closed["ending"] == SYSTEM, 0.15, 0.06))]
    n = len(legs)
    legs["at"] = legs["ended"] + dice.spans(n, 9000, 1.2, 3 * DAY) + SECOND
    legs["last"], legs["follows"] = legs["agent"], AGAIN
    named = np.where(dice.share(n, 0.6), legs["skill"], -1)
    rows = _rows(legs, legs["at"], np.where(dice.share(n, 0.1), OPENED, RESUMED), skill=named)
    early = legs[dice.share(n, 0.03)]
    return legs, [rows, _rows(early, early["at"] - SECOND, MESSAGE, CONSUMER), *_first_words(legs, dice)]


def _asides(legs: Legs, dice: Dice) -> list[Rows]:
    """Messages of the system, and looks after which an agent does nothing."""
    is_human, is_silent = legs["plot"] != BOT, legs["plot"] == SILENT
    greeted = legs[is_human & dice.share(len(legs), 0.15)]
    looked = legs[is_human & dice.share(len(legs), np.where(is_silent, 0.6, 0.15))]
    after = dice.below(looked["ended"] - looked["assigned"])
    look = np.minimum(dice.spans(len(looked), 12), after)
    idle = _rows(looked, looked["assigned"] + after, LOOKED, 0, looked["agent"], look)
    return [_rows(greeted, greeted["assigned"] + 50, MESSAGE, SYSTEM), idle]


class Focus:
    """What each agent's screen shows: given looks part by part, it gives `focused` and `unfocused`.

    A look that begins before the agent's previous one has ended begins right after it. After a look the agent stays
    until the next one, or until idle for some minutes, and that is an `unfocused`; now and then it is forgotten.
    """

    def __init__(self, staff: Staff) -> None:
        self._has_focus = staff.has_focus
        self._last = np.zeros(len(staff.ids), [("ended", "i8"), ("idle", "i8"), ("conversation", "i8")])
        self._last[:] = (-NEVER, NEVER, -1)

    def follow(self, looks: Rows, until: int, dice: Dice) -> Rows:
        """The focus events of these looks. No later look begins before `until`: up to then they are complete."""
        looks = looks.compress(self._has_focus[looks["agent"]])
        looks = looks.take(np.lexsort((looks["time"], looks["agent"])))
        n, agent, end = len(looks), looks["agent"], looks["time"]
        idle_after = dice.spans(n, np.where(dice.share(n, 0.1), 8, 200), 0.8, 40 * MINUTE)
        now = np.zeros(n, self._last.dtype)
        now["ended"], now["conversation"] = end, looks["conversation"]
        now["idle"] = np.where(dice.share(n, 0.005), NEVER, end + idle_after)
        is_first, is_last = np.diff(agent, prepend=-1) != 0, np.diff(agent, append=-1) != 0
        before = np.roll(now, 1)
        before[is_first] = self._last[agent[is_first]]
        self._last[agent[is_last]] = now[is_last]
        start = np.minimum(np.maximum(end - looks["look"], before["ended"] + 1), end)
        leaves = before["idle"] < start
        enters = leaves | (before["conversation"] != looks["conversation"]) | dice.share(n, 0.02)
        idle = np.flatnonzero(self._last["idle"] < until)
        left, who = np.concatenate([before[leaves], self._last[idle]]), np.concatenate([agent[leaves], idle])
        self._last["idle"][idle], self._last["conversation"][idle] = NEVER, -1
        focused, unfocused = looks.compress(enters), np.zeros(len(left), ROW)
        focused["time"], focused["type"], focused["sequence"] = start[enters], FOCUSED, 0
        unfocused["time"], unfocused["conversation"] = left["idle"], left["conversation"]
        unfocused["agent"], unfocused["type"] = who, UNFOCUSED
        moves = joined(focused, unfocused)
        moves["skill"] = -1
        return moves
