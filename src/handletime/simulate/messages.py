"""Messages of consumers and of the agents they are assigned to, turn by turn."""

from __future__ import annotations

from typing import Final

import numpy as np

from handletime.simulate.chance import Dice, Integers
from handletime.simulate.legs import BOT, MONOLOGUE, Legs
from handletime.simulate.plots import SHIFT_ENDINGS
from handletime.simulate.rows import BY_AGENT, BY_AGENT_UNNAMED, BY_CONSUMER, LOOK_MAX, Rows, rows_of
from handletime.simulate.times import MINUTE
from handletime.simulate.world import World

FIRST, ANSWER, MORE, REPLY, MORE_BY_CONSUMER, BOT_ANSWER, BOT_MORE, BOT_REPLY = range(8)
"""Messages, by what decides how long they take."""
_GAP_SECONDS: Final = np.array([80, 75, 18, 70, 8, 1.0, 0.7, 12], np.float32)
_GAP_SIGMA: Final = np.array([0.95, 0.8, 0.7, 1.3, 0.8, 0.5, 0.5, 0.9], np.float32)
_GAP_MAX: Final = np.array([60, 60, 10, 240, 20, 1, 1, 60], np.float32) * MINUTE


def first_words(legs: Legs, dice: Dice) -> list[Rows]:
    """The consumer's messages at the beginning: mostly one, sometimes none or two. Sets `until`."""
    delay = dice.spans(len(legs), 2, 1.0, MINUTE) * ~dice.share(len(legs), 0.2)
    legs["until"] = legs["at"] + delay
    words = rows_of(legs["until"], legs["conversation"], BY_CONSUMER)[~dice.share(len(legs), 0.03)]
    more = legs[dice.share(len(legs), 0.1)]
    return [words, rows_of(more["until"] + dice.spans(len(more), 5), more["conversation"], BY_CONSUMER)]


def talked(world: World, legs: Legs, dice: Dice) -> Rows:
    """The messages of consumers and assigned agents, turn by turn. Sets `until`, `leave`; an end of shift cuts."""
    talks = np.flatnonzero(legs["turns"])
    said = legs[talks]
    leg, kind = _script(said, dice)
    gap = dice.spans(len(leg), _GAP_SECONDS[kind], _GAP_SIGMA[kind], _GAP_MAX[kind])
    begin, after = _extents(leg, len(said))
    passed = np.cumsum(gap)
    start = np.maximum(said["assigned"], said["until"]) - passed[begin] + gap[begin]
    time = start[leg] + passed
    leave = _leaves(world, said, dice)
    kept = time < leave[leg]
    count = np.add.reduceat(kept, begin, dtype=np.int64) if len(leg) else np.zeros(0, np.int64)
    cut = count < after - begin
    said["until"] = np.where(count > 0, time[begin + count - 1], said["assigned"])
    said["leave"] = np.where(cut, leave, 0)
    said["ending"][cut] = dice.one_of(int(cut.sum()), SHIFT_ENDINGS)
    legs[talks] = said
    return _message_rows(said, leg[kept], kind[kept], time[kept], gap[kept], dice)


def _script(legs: Legs, dice: Dice) -> tuple[Integers, Integers]:
    """Who speaks: for each message its leg and which of `FIRST`, … it is."""
    turn_leg = np.repeat(np.arange(len(legs)), legs["turns"])
    turns, plot = len(turn_leg), legs["plot"][turn_leg]
    is_bot = plot == BOT
    begins = np.diff(turn_leg, prepend=-1) > 0
    ends = np.diff(turn_leg, append=len(legs)) > 0
    by_agent = 1 + _few(turns, dice, (0.74, 0.93, 0.98))
    by_consumer = 1 + _few(turns, dice, (0.82, 0.97, 1.0))
    unanswered = ends & dice.share(turns, 0.55) & (~begins | (is_bot & dice.share(turns, 0.5)))
    by_consumer[unanswered | (plot == MONOLOGUE)] = 0
    messages = by_agent + by_consumer
    turn = np.repeat(np.arange(turns), messages)
    place = np.arange(len(turn)) - np.repeat(np.cumsum(messages) - messages, messages)
    consumer_from = by_agent[turn]
    kind = np.where(place < consumer_from, np.where(is_bot, BOT_MORE, MORE)[turn], MORE_BY_CONSUMER)
    kind[place == 0] = np.where(is_bot, BOT_ANSWER, np.where(begins, FIRST, ANSWER))
    replies = np.flatnonzero(place == consumer_from)
    kind[replies] = np.where(is_bot, BOT_REPLY, REPLY)[turn[replies]]
    return turn_leg[turn], kind


def _few(number: int, dice: Dice, below: tuple[float, ...]) -> Integers:
    """0, 1, 2 or 3."""
    return np.searchsorted(np.array(below, np.float32), dice.uniform(number), side="right")


def _extents(leg: Integers, number: int) -> tuple[Integers, Integers]:
    """Where each leg's messages begin and end."""
    after = np.cumsum(np.bincount(leg, minlength=number))
    return np.concatenate([[0], after[:-1]]).astype(np.int64)[:number], after


def _leaves(world: World, legs: Legs, dice: Dice) -> Integers:
    """When the agents of legs stop working, some minutes after their shifts; bots never do."""
    never = np.iinfo(np.int64).max
    is_bot = legs["agent"] >= world.staff.humans
    leave = world.staff.rosters.leave(np.where(is_bot, 0, legs["agent"]), legs["assigned"])
    leave += dice.spans(len(legs), 300)
    leave[is_bot] = never
    return leave


def _message_rows(legs: Legs, leg: Integers, kind: Integers, time: Integers, gap: Integers, dice: Dice) -> Rows:
    by_agent = (kind <= MORE) | (kind == BOT_ANSWER) | (kind == BOT_MORE)
    rows = rows_of(time, legs["conversation"][leg], np.where(by_agent, BY_AGENT, BY_CONSUMER))
    agents = np.flatnonzero(by_agent)
    rows["agent"][agents] = legs["agent"][leg[agents]]
    rows["kind"][agents[dice.share(len(agents), 0.06)]] = BY_AGENT_UNNAMED
    humans = np.flatnonzero(kind <= MORE)
    look = np.minimum(gap[humans], LOOK_MAX)
    answers = kind[humans] != MORE
    look[answers] = np.minimum(look[answers], dice.spans(int(answers.sum()), 60, 0.7))
    rows["look"][humans] = look
    return rows
