"""An explanation of a conversation as far as a scope goes: what lies outside is left out, and marked where it was.

Of what happened while somebody outside had the conversation, one sees when something happened and of which kind: no
ids of agents, groups and skills outside, no focus of these agents, no time that was handled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from msgspec.structs import replace

from handletime.scope import Scope
from handletime.segments.explain import Explanation, Json, Moment, Reading, Span

_OF_FOCUS: Final = frozenset({"focused", "unfocused", "focusLost", "leaseEnded"})
_OF_ASSIGNMENT: Final = ("employeeId", "groupId", "userType")
_KEPT: Final = frozenset({"source", "sentBy", "reason", "closedBy", "leaseMillis"})
"""What a moment may say of its event, whoever asks."""


def limited(reading: Reading, scope: Scope) -> Reading | None:
    """What of a reading lies within a scope; None where no segment does.

    With a scope of groups there are no skill segments and queue segments. Moments of other agents' focus are left out;
    the stretches between all others, and what was handled in them, stay as they are.
    """
    if scope.is_whole:
        return reading
    told = reading.explanation
    agents = [row for row in told.agent_segments if scope.has(row["skillId"], row["groupId"])]
    skills, queues = (
        [row for row in rows if scope.has_queues and scope.has_skill(row["skillId"])]
        for rows in (told.skill_segments, told.queue_segments)
    )
    if not agents and not skills:
        return None
    shown: list[Moment] = []
    is_outside = False
    times: list[int] = []
    outside: list[Span] = []
    waiting = {row["sequence"] for row in queues}
    for each, at in zip(_seen(told, scope), reading.times, strict=True):
        is_outside = each.is_outside
        if is_outside:
            lasts = each.moment.lasts_millis
            outside.append((at, reading.until if lasts is None else at + lasts))
        moment = _limited(each, {row["agentId"] for row in agents}, scope)
        if moment is None:
            if shown:
                _lengthen(shown[-1], each)
            continue
        if moment.queue_segment not in waiting:
            moment = replace(moment, queue_segment=None)
        shown.append(moment)
        times.append(at)
    explanation = Explanation(told.account_id, told.conversation_id, shown, agents, skills, queues)
    mine = {row["agentId"] for row in agents}
    focus = {agent: list(_without(spans, outside)) for agent, spans in reading.focus.items() if agent in mine}
    waits = list(_without(reading.waits, outside))
    waits_since = None if is_outside else reading.waiting_since
    return Reading(explanation, times, waits, focus, reading.begins_in_the_middle, reading.until, waits_since)


class _Seen(NamedTuple):
    """A moment, and whether somebody outside of a scope had the conversation before, and has it after it."""

    moment: Moment
    was_outside: bool
    is_outside: bool
    begins: bool
    """Whether an agent segment begins with it."""


def _seen(told: Explanation, scope: Scope) -> Iterator[_Seen]:
    following = iter(told.agent_segments)
    segment: Json | None = None
    outside = False
    for moment in told.moments:
        was_outside = outside
        begins = moment.type == "assigned" and moment.no_effect is None
        if moment.assigned_agent_id is None:
            segment = None
        elif begins:
            segment = next(following)
        outside = segment is not None and not scope.has(segment["skillId"], segment["groupId"])
        yield _Seen(moment, was_outside, outside, begins)


def _limited(seen: _Seen, agents: set[object], scope: Scope) -> Moment | None:
    """A moment as it may be seen; None where it is nothing but the focus of somebody outside."""
    moment, was_outside, is_outside, begins = seen
    agent = moment.detail.get("agentId")
    # Who acts may be named where the conversation is within the scope before or after it, and an agent of it.
    is_named = agent in agents and not (is_outside and (was_outside or begins))
    if moment.type in _OF_FOCUS and not is_named:
        return None
    detail = {name: value for name, value in moment.detail.items() if name in _KEPT}
    if is_named:
        detail["agentId"] = agent
    is_mine = begins and not is_outside
    if is_mine:
        detail |= {name: moment.detail[name] for name in _OF_ASSIGNMENT if name in moment.detail}
    skill = moment.detail.get("skillId")
    if skill is not None and scope.has_skill(skill) and (moment.type != "assigned" or is_mine):
        detail["skillId"] = skill
    is_by_others = agent is not None and not is_named
    moment = replace(
        moment,
        detail={name: detail[name] for name in moment.detail if name in detail},
        # Whoever made the events may have made their ids of others.
        event_id=None if is_by_others or was_outside or is_outside else moment.event_id,
        outside_scope=is_by_others or is_outside,
    )
    if not is_outside:
        return moment
    return replace(
        moment,
        assigned_agent_id=None,
        consumer_waits=False,
        agent_looks=False,
        handle_time_millis=0,
        handled_under=None,
        not_handled_because="outsideScope" if moment.lasts_millis else None,
    )


def _lengthen(before: Moment, left_out: _Seen) -> None:
    """Gives what lasted from a moment that is left out to the one before it: who has the conversation is the same."""
    moment = left_out.moment
    if before.lasts_millis is None:
        return
    if moment.lasts_millis is None:
        before.lasts_millis = before.handled_under = before.not_handled_because = None
        before.handle_time_millis = 0
        return
    before.lasts_millis += moment.lasts_millis
    if left_out.is_outside:
        before.not_handled_because = "outsideScope" if before.lasts_millis else None
    else:
        before.handle_time_millis += moment.handle_time_millis
        before.handled_under = before.handled_under or moment.handled_under
        before.not_handled_because = before.not_handled_because or moment.not_handled_because


def _without(spans: Iterable[Span], outside: list[Span]) -> Iterator[Span]:
    """Stretches, without what of them lies in others, which are in order."""
    for start, end in spans:
        for out, back in outside:
            if out < end and back > start:
                if start < out:
                    yield start, out
                start = max(start, back)
        if start < end:
            yield start, end
