"""Who had the conversation when, out of a record's participants, interactions and transfers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from itertools import zip_longest
from typing import Final, NamedTuple

from handletime.events import model
from handletime.sources.liveperson.fields import (
    Interaction,
    Participant,
    Placed,
    Tell,
    Transfer,
    integer,
    is_nobody,
    says,
    told_integer,
    told_time,
    written,
    wrong,
)

NEAR_MS: Final = 1000
"""Milliseconds that the signs of one assignment (joining, interaction, transfer) may lie apart."""


class Transferred(NamedTuple):
    """A transfer; `by` lost the conversation, `to` is whom it was meant for (each None: nobody)."""

    place: str
    time: int
    reason: str
    source_skill: int | None
    target_skill: int | None
    by: int | None
    to: int | None


class Agent(NamedTuple):
    """What a participant is; `user_type` is `human`, `bot` or `system`."""

    user_type: str = "human"
    group: int = model.UNASSIGNED


class Assigned(NamedTuple):
    """An agent took the conversation; `time` is when it counts, `own_time` what the record says."""

    place: str
    time: int
    own_time: int
    agent_id: int
    agent: Agent


Agents = dict[str, Agent]
"""The participants by their ids as written."""


def assignments(
    participants: Placed[Participant],
    interactions: Placed[Interaction],
    transfers: list[Transferred],
    agents: Agents,
    tell: Tell,
    *,
    is_over: bool,
) -> list[Assigned]:
    """Who took the conversation when, by time; each assignment once, however many signs it has.

    `is_over` says that no newer copy of the record will have more of them.
    """
    assigned = _by_participants(participants, tell)
    assigned += _by_interactions(interactions, assigned, transfers, agents, tell)
    assigned += _by_takeovers(assigned, transfers, agents, tell, is_over=is_over)
    return sorted(_after_their_transfers(assigned, transfers, tell), key=lambda one: one.own_time)


# --- transfers ----------------------------------------------------------------------------------------------

_REASONS: Final = {
    "agent": "agent",
    "skill": "skill",
    "back2q": "backToQueue",
    "suggestedagenttimeout": "backToQueue",
    "takeover": "takeover",
}


def transfers_of(parts: Placed[Transfer], tell: Tell) -> list[Transferred]:
    """The transfers by time. One without a time is reported and left out."""
    transfers = []
    for place, part in parts:
        time = told_time(part.time_l, part.time, f"{place}.time", tell)
        if time is None:
            continue
        source = told_integer(part.source_skill_id, f"{place}.sourceSkillId", tell)
        target = told_integer(part.target_skill_id, f"{place}.targetSkillId", tell)
        reason = _reason(place, part, source, target, tell)
        by = _agent_or_nobody(part.source_agent_id, f"{place}.sourceAgentId", tell)
        to = _agent_or_nobody(part.assigned_agent_id, f"{place}.assignedAgentId", tell)
        transfers.append(Transferred(place, time, reason, source, target, by, to))
    return sorted(transfers, key=lambda transfer: transfer.time)


def _reason(place: str, part: Transfer, source: int | None, target: int | None, tell: Tell) -> str:
    if is_nobody(part.reason) or not isinstance(part.reason, str):
        tell(f"{place}.reason: {wrong(part.reason, 'a string')}; the skills decide")
    skill_changes = None not in (source, target) and source != target
    return _REASONS.get(written(part.reason).casefold(), "skill" if skill_changes else "agent")


def _agent_or_nobody(value: object, place: str, tell: Tell) -> int | None:
    return None if value is not None and is_nobody(value) else told_integer(value, place, tell)


# --- participants -------------------------------------------------------------------------------------------

_USER_TYPES: Final = {"0": "system", "1": "human", "2": "bot"}


def agents_of(parts: Placed[Participant]) -> Agents:
    """Who took part, readers too, as first listed."""
    return {part.agent: _agent(part) for _, part in reversed(parts)}


def _agent(part: Participant) -> Agent:
    group = integer(part.agent_group_id)
    return Agent(_USER_TYPES.get(written(part.user_type), "human"), model.UNASSIGNED if group is None else group)


def _by_participants(parts: Placed[Participant], tell: Tell) -> list[Assigned]:
    """One assignment for each joining of an assigned participant, also where both lists hold it."""
    assigned: dict[tuple[int, int], Assigned] = {}
    for place, part in parts:
        agent = _agent(part)
        if agent.user_type == "system" or not _is_assigned(place, part, tell):
            continue
        agent_id = told_integer(part.agent_id, f"{place}.agentId", tell)
        time = None if agent_id is None else told_time(part.time_l, part.time, f"{place}.time", tell)
        if agent_id is not None and time is not None and (time, agent_id) not in assigned:
            assigned[time, agent_id] = Assigned(place, time, time, agent_id, agent)
            _tell_defaults(place, part, tell)
    return list(assigned.values())


def _is_assigned(place: str, part: Participant, tell: Tell) -> bool:
    if is_nobody(part.permission) or not isinstance(part.permission, str):
        tell(f"{place}.permission: {wrong(part.permission, 'a string')}; not an assignment")
    return says(part.permission, "assigned_agent") or says(part.permission, "assigned")


def _tell_defaults(place: str, part: Participant, tell: Tell) -> None:
    told_integer(part.agent_group_id, f"{place}.agentGroupId", tell)
    if written(part.user_type) not in _USER_TYPES:
        allowed = '"0", "1" or "2"'
        tell(f"{place}.userType: {wrong(part.user_type, allowed)}; counts as human")


# --- the other signs ----------------------------------------------------------------------------------------


def _by_interactions(
    parts: Placed[Interaction],
    assigned: list[Assigned],
    transfers: list[Transferred],
    agents: Agents,
    tell: Tell,
) -> list[Assigned]:
    """What no participant's joining shows: an interaction is a second sign, and its first may be missing."""
    times = _times_by_agent(assigned)
    moves = sorted([one.time for one in assigned] + [transfer.time for transfer in transfers])
    missing = []
    for place, part in parts:
        agent_id = told_integer(part.assigned_agent_id, f"{place}.assignedAgentId", tell)
        time = told_time(part.time_l, part.time, f"{place}.interactionTime", tell)
        if agent_id is None or time is None or _is_second_sign(time, times[agent_id], moves):
            continue
        agent = agents.get(str(agent_id), Agent())
        if agent.user_type != "system":
            tell(f"{place}: agent {agent_id} is no assigned participant by then; counts as an assignment")
            missing.append(Assigned(place, time, time, agent_id, agent))
    return missing


def _times_by_agent(assigned: list[Assigned]) -> defaultdict[int, list[int]]:
    times: defaultdict[int, list[int]] = defaultdict(list)
    for one in sorted(assigned, key=lambda one: one.time):
        times[one.agent_id].append(one.time)
    return times


def _is_second_sign(time: int, own: list[int], moves: list[int]) -> bool:
    """Whether the agent was assigned near this time, or nothing happened between that and this time."""
    after = bisect_left(own, time)
    return any(
        abs(other - time) <= NEAR_MS or bisect_right(moves, min(other, time)) >= bisect_left(moves, max(other, time))
        for other in own[max(after - 1, 0) : after + 1]
    )


def _by_takeovers(
    assigned: list[Assigned], transfers: list[Transferred], agents: Agents, tell: Tell, *, is_over: bool
) -> list[Assigned]:
    """Agents named by a transfer (`assignedAgentId`) who never join after it.

    Of the last transfer nobody knows that while the conversation is open: a newer copy may have the joining.
    A takeover assigns them all the same, since nobody has to accept it. Any other transfer only offers them
    the conversation (hence SuggestedAgentTimeout).
    """
    times, missing = _times_by_agent(assigned), []
    for transfer, following in zip_longest(transfers, transfers[1:]):
        agent = agents.get(str(transfer.to), Agent())
        if transfer.to is None or transfer.reason == "backToQueue" or agent.user_type == "system":
            continue
        if following is None and not is_over:
            continue
        place, time = f"{transfer.place}.assignedAgentId", transfer.time
        until = model.TIME_MAX if following is None else max(following.time, time + NEAR_MS)
        if bisect_left(times[transfer.to], time - NEAR_MS) < bisect_right(times[transfer.to], until):
            continue
        if transfer.reason == "takeover":
            tell(f"{place}: agent {transfer.to} joins nowhere after it; counts as an assignment")
            missing.append(Assigned(transfer.place, time, time, transfer.to, agent))
        elif following is None or following.reason != "backToQueue":
            tell(f"{place}: agent {transfer.to} joins nowhere after it; not an assignment")
    return missing


def _after_their_transfers(assigned: list[Assigned], transfers: list[Transferred], tell: Tell) -> Iterator[Assigned]:
    """Moves agents who join some milliseconds before the transfer that names them to that transfer."""
    named: defaultdict[int, list[int]] = defaultdict(list)
    for transfer in transfers:
        if transfer.to not in (None, transfer.by) and transfer.reason != "backToQueue":
            named[transfer.to].append(transfer.time)
    for one in assigned:
        at = bisect_right(named[one.agent_id], one.time)
        transferred = [time for time in named[one.agent_id][at : at + 1] if time - one.time <= NEAR_MS]
        if transferred:
            tell(f"{one.place}: is just before the transfer that names agent {one.agent_id}; counts from there")
        yield one._replace(time=max(transferred, default=one.time))
