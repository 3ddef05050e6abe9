"""A team in which one agent takes conversations over, and so has twice the handle time of the others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from tests.browser.centre import Event

SUPERVISOR, PEERS = 7, (8, 9, 10)
TAKEN_OVER, OWN, OF_EACH = 27, 1, 10
NEW_S, TAKEN_OVER_S = 60, 120
"""How long an agent handles a new conversation, and one that was taken over, whoever does."""


def a_team() -> list[Event]:
    """Agent 7 took 27 conversations over and got one of his own; the others got ten each, and took one over each."""
    return [*_conversations()]


def _conversations() -> Iterator[Event]:
    begun = datetime.now(UTC) - timedelta(hours=12)
    takers = [*[(SUPERVISOR, True)] * TAKEN_OVER, *[(SUPERVISOR, False)] * OWN]
    takers += [(peer, False) for peer in PEERS for _ in range(OF_EACH)] + [(peer, True) for peer in PEERS]
    for number, (agent, is_taken_over) in enumerate(takers, 1):
        at = begun + timedelta(minutes=10 * number)
        yield from _conversation(f"team {number}", at, agent, is_taken_over=is_taken_over)


def _conversation(name: str, at: datetime, agent: int, *, is_taken_over: bool) -> Iterator[Event]:
    length = TAKEN_OVER_S if is_taken_over else NEW_S
    steps: list[tuple[int, str, dict[str, object]]] = [(0, "opened", {"skillId": 10})]
    steps += [(0, "message", {"sentBy": "consumer"})]
    if is_taken_over:
        steps += [(1, "assigned", {"agentId": 99, "userType": "bot"}), (2, "transferred", {"reason": "takeover"})]
    steps += [(3, "assigned", {"agentId": agent}), (3, "focused", {"agentId": agent})]
    steps += [(3 + length, "message", {"sentBy": "agent"}), (4 + length, "unfocused", {"agentId": agent})]
    steps += [(5 + length, "message", {"sentBy": "consumer"}), (9 + length, "closed", {"closedBy": "consumer"})]
    for place, (seconds, type_, more) in enumerate(steps):
        time = (at + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
        yield {"conversationId": name, "eventId": f"{place}", "sequence": place, "time": time, "type": type_, **more}
