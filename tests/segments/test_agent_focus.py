"""Where an agent's focus was, against the plain reading of the rules; and what is not known is not told."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest

from handletime.segments.agent_focus import Focus, Move, focus_of
from tests.messy_streams import messy_stream
from tests.plain_reading import Entry, Event, LeaseEnd, Loss, losses_of, one_order, without_duplicates
from tests.plain_reading import _loss as loss_read
from tests.plain_reading import event_of as event_read


def move(time: int, conversation: str | None, *, focused: bool = True, position: int = -1) -> Move:
    return Move(time, 0, focused, f"e{time}", conversation, position)


def told(moves: Sequence[Move], start: int = 0, end: int = 100) -> list[Focus]:
    return list(focus_of(moves, start, end))


def test_focus_goes_from_one_conversation_to_the_next_and_away() -> None:
    moves = [move(10, "a"), move(20, "b"), move(30, "a", focused=False), move(40, "b", focused=False), move(60, "a")]
    assert told(moves, 10) == [Focus(10, 20, "a"), Focus(20, 40, "b"), Focus(40, 60, None), Focus(60, 100, "a")]
    assert told(moves, 25, 50) == [Focus(25, 40, "b"), Focus(40, 50, None)]


def test_a_focus_with_a_lease_ends_by_itself_unless_it_is_said_again() -> None:
    def leased(time: int, conversation: str, lease: int | None) -> Move:
        return move(time, conversation)._replace(lease=lease)

    assert told([leased(10, "a", 20)], 10) == [Focus(10, 30, "a"), Focus(30, 100, None)]
    assert told([leased(10, "a", 20), leased(30, "a", 15)], 10) == [Focus(10, 45, "a"), Focus(45, 100, None)]
    assert told([leased(10, "a", 20), leased(25, "a", None)], 10) == [Focus(10, 100, "a")]
    assert told([leased(10, "a", 50), leased(20, "b", 5)], 10) == [
        *(Focus(10, 20, "a"), Focus(20, 25, "b")),
        Focus(25, 100, None),
    ]


def test_what_comes_before_the_first_focus_is_not_known() -> None:
    assert told([]) == [Focus(0, 100, None, known=False)]
    assert told([move(5, "a", focused=False), move(10, "a")]) == [Focus(0, 10, None, known=False), Focus(10, 100, "a")]


def test_a_removed_conversation_is_not_known_and_no_place_of_no_length_is_told() -> None:
    moves = [move(0, "a"), move(0, "b"), move(30, None, position=0), move(50, "b")]
    assert told(moves) == [Focus(0, 30, "b"), Focus(30, 50, None, known=False), Focus(50, 100, "b")]
    # Of one millisecond and sequence: the loss stands before the agent's second move.
    tied = [move(10, "a"), move(20, "b"), Move(20, 0, True, "z", "c"), move(20, None, position=1)]
    assert told(tied, 10) == [Focus(10, 20, "a"), Focus(20, 100, "c")]
    assert told([*tied[:3], move(20, None, position=2)], 10)[-1] == Focus(20, 100, None, known=False)


@pytest.mark.parametrize("seed", range(40))
def test_it_is_where_the_rules_say(seed: int) -> None:
    raw = messy_stream(seed, events=300, conversations=8, accounts=1)
    events, *_copies = without_duplicates([event_read(event, "local") for event in raw])
    gone = random.Random(seed).choice(sorted({event.conversation for event in events}))
    kept = [event for event in events if event.conversation != gone]
    losses = [loss_read(loss, "local") for loss in losses_of(("local", gone), events)]
    agents = {event.agent for event in kept if event.type == "focused" and event.agent is not None}
    assert agents
    for agent in agents:
        order = one_order(kept, losses)
        moves = [each for each in (_move(entry, agent) for entry in order) if each is not None]
        random.Random(seed).shuffle(moves)
        start, end = min(each.time for each in moves) - 5, max(each.time for each in moves) + 5
        found = list(focus_of(moves, start, end))
        assert [each.start for each in found] == [start, *(each.end for each in found[:-1])]
        assert found[-1].end == end
        for time, conversation, known in after(order, agent):
            if not start <= time < end:
                continue
            (here,) = [each for each in found if each.start <= time < each.end]
            assert (here.conversation, here.known) == (conversation, known)


def _move(entry: Entry, agent: int) -> Move | None:
    if isinstance(entry, LeaseEnd) or entry.agent != agent:
        return None
    if isinstance(entry, Loss):
        return Move(entry.time, entry.sequence, True, "", None, entry.position)
    if entry.type not in ("focused", "unfocused"):
        return None
    is_focus = entry.type == "focused"
    return Move(entry.time, entry.sequence, is_focus, entry.id, entry.conversation, lease=entry.lease)


def after(order: Iterable[Entry], agent: int) -> Iterable[tuple[int, str | None, bool]]:
    """Where the focus is after all of each millisecond, read off the rules; and whether that is known."""
    conversation: str | None = None
    known = False
    by: Event | None = None
    states: dict[int, tuple[str | None, bool]] = {}
    for entry in order:
        if isinstance(entry, LeaseEnd):
            # It ends after all of this millisecond: the stretch ends there, exclusively, like a unit of handle time.
            if by is entry.focused:
                conversation, by = None, None
                states[entry.time] = (conversation, known)
            continue
        if entry.agent == agent and isinstance(entry, Loss):
            conversation, known, by = None, False, None
        elif entry.agent == agent and isinstance(entry, Event) and entry.type == "focused":
            conversation, known, by = entry.conversation, True, entry
        elif entry.agent == agent and isinstance(entry, Event) and entry.type == "unfocused":
            conversation = None if conversation == entry.conversation else conversation
        states[entry.time] = (conversation, known)
    return [(time, *state) for time, state in states.items()]
