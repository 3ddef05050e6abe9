"""Where an agent's focus was, over all conversations of an account (rules.md 1, "Focus").

A conversation's own events say when an agent's focus is on it, not where the focus is otherwise. People want to know
that of time which does not count as handle time.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from itertools import groupby
from typing import Final, NamedTuple

from handletime.segments.columns import NEVER


class Move(NamedTuple):
    """A `focused` or `unfocused` of one agent; or a loss that a removed conversation left, which has no conversation.

    `lease` is that of a `focused`, in milliseconds.
    `position` says of such a loss how many of the agent's moves, of the same time and sequence, come before it.
    """

    time: int
    sequence: int
    focused: bool
    event: str
    conversation: str | None
    position: int = -1
    lease: int | None = None


OUTSIDE: Final = ""
"""Stands in place of the id of a conversation that whoever asks may not know of."""


class Focus(NamedTuple):
    """Where an agent's focus was from a moment to another (epoch ms): on a conversation, or on none if it is known."""

    start: int
    end: int
    conversation: str | None
    known: bool = True


class FocusTime(NamedTuple):
    """For how many milliseconds an agent's focus was on a conversation, and for how many it is known where it was."""

    on: int
    known: int


def time_of(focus: Iterable[Focus]) -> FocusTime:
    """The time of these stretches; on conversations that whoever asks may not know of it is on none."""
    known = [each for each in focus if each.known]
    on = sum(each.end - each.start for each in known if each.conversation not in (None, OUTSIDE))
    return FocusTime(on, sum(each.end - each.start for each in known))


def focus_of(moves: Iterable[Move], start: int, end: int) -> Iterator[Focus]:
    """Where the focus of the agent who made these moves was in [start, end), stretch by stretch, without gaps.

    The moves begin with the agent's last `focused` before `start`, if there is one, and there are none missing after
    it up to `end`. What comes before the first of them is not known, and neither is what follows a removed one.
    """
    was = Focus(start, end, None, known=False)
    for time, conversation, known in _changes(moves):
        change = min(max(time, was.start), end)
        if (conversation, known) != was[2:]:
            if was.start < change:
                yield was._replace(end=change)
            was = Focus(change, end, conversation, known)
    if was.start < end:
        yield was


def limited(focus: Iterable[Focus], conversations: Container[str]) -> Iterator[Focus]:
    """Stretches of which only these conversations are named; those on others become `OUTSIDE`, neighbours one."""
    was: Focus | None = None
    for each in focus:
        if each.conversation is not None and each.conversation not in conversations:
            each = each._replace(conversation=OUTSIDE)
        if was is not None and was.conversation == each.conversation == OUTSIDE and was.end == each.start:
            was = was._replace(end=each.end)
            continue
        if was is not None:
            yield was
        was = each
    if was is not None:
        yield was


def _changes(moves: Iterable[Move]) -> Iterator[tuple[int, str | None, bool]]:
    """When the focus may have changed, the conversation that has it from then on, and whether that is known."""
    conversation, known, lease_end = None, False, NEVER
    for move in in_order(moves):
        if lease_end < move.time:
            yield lease_end, None, True
            conversation, lease_end = None, NEVER
        if move.focused:
            conversation, known = move.conversation, move.conversation is not None
            lease_end = NEVER if move.lease is None else move.time + move.lease
        elif known and move.conversation == conversation:
            conversation, lease_end = None, NEVER
        yield move.time, conversation, known
    if lease_end != NEVER:
        yield lease_end, None, True


def in_order(moves: Iterable[Move]) -> Iterator[Move]:
    """Moves of one agent, those of removed conversations too, in the order of all events (rules.md 1, "Order")."""
    for _, found in groupby(sorted(moves, key=_moment), key=_moment):
        together = list(found)
        named = sorted((each for each in together if each.position < 0), key=lambda each: each[3:5])
        placed = [((i, 1), each) for i, each in enumerate(named)]
        placed += [((each.position, 0), each) for each in together if each.position >= 0]
        yield from (each for _, each in sorted(placed, key=lambda pair: pair[0]))


def _moment(move: Move) -> tuple[int, int]:
    return move.time, move.sequence
