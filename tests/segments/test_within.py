"""What a scope lets one see of a conversation: nothing of anybody else, and all of what lies within."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from handletime.answers.words import OUTSIDE_SCOPE, event
from handletime.scope import WHOLE, Scope
from handletime.segments.explain import Reading, read
from handletime.segments.parts import prepare
from handletime.segments.within import limited
from tests.messy_streams import GROUPS, SKILLS, messy_stream
from tests.segments.tables import events_of

BASE = 1_795_165_200_000


def reading_of(events: list[dict[str, object]]) -> Reading:
    table = events_of([{"accountId": "a", "conversationId": "c", **event} for event in events])
    return read(prepare(table), "a", "c")


def named(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in some JSON, with the name that it stands under."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from named(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from named(part, name)
    else:
        yield name, value


def test_a_wait_that_goes_on_for_somebody_outside_is_not_seen() -> None:
    script: list[dict[str, object]] = [
        {"type": "opened"},
        {"type": "message", "sentBy": "consumer"},
        {"type": "assigned", "agentId": 1, "groupId": 51},
        {"type": "focused", "agentId": 1},
        {"type": "assigned", "agentId": 1, "groupId": 52},
        {"type": "assigned", "agentId": 2, "groupId": 52},
    ]
    rows = [
        {"accountId": "a", "conversationId": "c", "eventId": f"e{i}", "time": BASE + 1000 * i, **each}
        for i, each in enumerate(script)
    ]
    whole = read(prepare(events_of(rows)), "a", "c", now=BASE + 60_000)
    assert whole.waits[-1] == (whole.waiting_since, BASE + 60_000)
    seen = limited(whole, Scope((51,)))
    assert seen is not None
    assert (seen.waits, seen.waiting_since) == ([(BASE + 2000, BASE + 5000)], None)
    assert seen.focus == {1: [(BASE + 3000, BASE + 5000)]}


def test_of_a_handover_one_sees_ones_own_part() -> None:
    """Group 52 has it first, then 51, and 52 again; the supervisor 9 of nobody's group looks on."""
    script: list[dict[str, object]] = [
        {"type": "opened", "skillId": 10},
        {"type": "message", "sentBy": "consumer"},
        {"type": "focused", "agentId": 2},
        {"type": "assigned", "agentId": 2, "groupId": 52, "employeeId": "e2"},
        {"type": "message", "sentBy": "agent"},
        {"type": "transferred", "reason": "agent"},
        {"type": "assigned", "agentId": 1, "groupId": 51, "employeeId": "e1"},
        {"type": "focused", "agentId": 1},
        {"type": "focused", "agentId": 9},
        {"type": "message", "sentBy": "agent", "agentId": 9},
        {"type": "message", "sentBy": "agent"},
        {"type": "assigned", "agentId": 3, "groupId": 52},
        {"type": "message", "sentBy": "agent", "agentId": 3},
        {"type": "closed", "closedBy": "agent"},
    ]
    whole = reading_of([{"eventId": f"e{i}", "time": BASE + 1000 * i, **each} for i, each in enumerate(script)])
    seen = limited(whole, Scope((51,)))
    assert seen is not None
    assert [row["agentId"] for row in seen.explanation.agent_segments] == [1]
    assert (seen.explanation.skill_segments, seen.explanation.queue_segments) == ([], [])
    assert [*seen.focus] == [1]
    said = [(each.type, each.outside_scope, each.assigned_agent_id) for each in seen.explanation.moments]
    assert said == [
        ("opened", False, None),
        ("message", False, None),
        ("assigned", True, None),
        ("message", True, None),
        ("transferred", False, None),
        ("assigned", False, 1),
        ("focused", False, 1),
        ("message", True, 1),  # of 9
        ("message", False, 1),
        ("assigned", True, None),
        ("message", True, None),
        ("closed", False, None),
    ]
    told = [event(each, lambda kind, number: f"{kind} {number}") for each in seen.explanation.moments]
    assert told[2] == f"assigned to somebody {OUTSIDE_SCOPE}"
    assert told[7] == f"message of agent {OUTSIDE_SCOPE}"
    text = msgspec.json.encode(seen.explanation).decode()
    assert not any(secret in text for secret in (":52", ":9", ":2,", "e2", '"agentId":3'))
    # Its handle time, and where it is not handled, is as it was: the focus of others cuts nothing.
    assert sum(each.handle_time_millis for each in seen.explanation.moments) == 3000
    assert seen.explanation.moments[6].lasts_millis == 2000
    assert seen.explanation.moments[2].not_handled_because == "outsideScope"
    assert limited(whole, Scope((53,))) is None
    assert limited(whole, Scope(None, (11,))) is None
    assert limited(whole, Scope((51,), (11,))) is None
    assert limited(whole, WHOLE) is whole


@pytest.mark.parametrize(("group", "since"), [(51, BASE + 1000), (52, None)])
def test_a_wait_that_goes_on_is_that_of_ones_own(group: int, since: int | None) -> None:
    """51 had it before in any case."""
    script: list[dict[str, object]] = [
        {"type": "assigned", "agentId": 1, "groupId": 51},
        {"type": "assigned", "agentId": 2, "groupId": group},
        {"type": "message", "sentBy": "consumer"},
    ]
    events = [{"eventId": f"e{i}", "time": BASE + 500 * i, **each} for i, each in enumerate(script)]
    assert reading_of(events).waiting_since == BASE + 1000
    seen = limited(reading_of(events), Scope((51,)))
    assert seen is not None
    assert seen.waiting_since == since


def test_of_a_queue_one_sees_that_of_ones_own_skills() -> None:
    script: list[dict[str, object]] = [
        {"type": "opened", "skillId": 10},
        {"type": "transferred", "reason": "skill", "skillId": 11},
        {"type": "transferred", "reason": "skill", "skillId": 12},
        {"type": "closed", "closedBy": "consumer"},
    ]
    whole = reading_of([{"eventId": f"e{i}", "time": BASE + 1000 * i, **each} for i, each in enumerate(script)])
    seen = limited(whole, Scope(None, (11,)))
    assert seen is not None
    assert [row["skillId"] for row in seen.explanation.queue_segments] == [11]
    assert [row["sequence"] for row in seen.explanation.skill_segments] == [2]
    assert [each.queue_segment for each in seen.explanation.moments] == [None, 2, None, None]
    assert [each.detail for each in seen.explanation.moments] == [
        {},
        {"reason": "skill", "skillId": 11},
        {"reason": "skill"},
        {"closedBy": "consumer"},
    ]
    assert limited(whole, Scope((51,), (11,))) is None


@pytest.mark.parametrize("number", range(60))
def test_nothing_of_others_is_told(number: int, seed: int) -> None:
    dice = random.Random(f"{seed} {number}")
    events = messy_stream(seed + number, events=dice.choice([40, 150]))
    prepared = prepare(events_of(events))
    names = {(event["accountId"], event["conversationId"]) for event in prepared.events.to_pylist()}
    for account, conversation in sorted(names):
        whole = read(prepared, account, conversation)
        told = whole.explanation
        groups = tuple(sorted(dice.sample(GROUPS, dice.randint(1, 3)))) if dice.random() < 0.7 else None
        skills = tuple(sorted(dice.sample(SKILLS, dice.randint(1, 3))))
        scope = Scope(groups, skills if groups is None or dice.random() < 0.5 else None)
        seen = limited(whole, scope)
        mine = [row for row in told.agent_segments if scope.has(row["skillId"], row["groupId"])]
        of_skills = [row for row in told.skill_segments if scope.has_queues and scope.has_skill(row["skillId"])]
        if seen is None:
            assert mine == of_skills == []
            continue
        assert seen.explanation.agent_segments == mine
        assert seen.explanation.skill_segments == of_skills
        agents = {row["agentId"] for row in mine}
        assert seen.focus.keys() <= agents
        allowed = {
            "agentId": agents,
            "assignedAgentId": agents,
            "employeeId": {row["employeeId"] for row in mine} | {None},
            "skillId": {skill for _, skill in named(told_of(whole), "") if _ == "skillId" and scope.has_skill(skill)},
            "groupId": {row["groupId"] for row in mine},
        }
        for name, value in named(told_of(seen)):
            if name in allowed:
                assert value in allowed[name], (name, value)
        times = [each.lasts_millis for each in seen.explanation.moments]
        assert len(times) == len(seen.times)
        assert times == [b - a for a, b in zip(seen.times, seen.times[1:], strict=False)] + [None]
        ended = [row for row in mine if row["end"] is not None]
        if len(ended) == len(mine):
            units = sum(unit["handleTimeMillis"] for row in mine for unit in row["handleTimeUnits"])  # type: ignore[attr-defined]
            assert sum(each.handle_time_millis for each in seen.explanation.moments) == units


def told_of(reading: Reading) -> Any:
    """The JSON of an explanation."""
    return msgspec.json.decode(msgspec.json.encode(reading.explanation))


def test_all_skills_are_all_of_it(seed: int) -> None:
    prepared = prepare(events_of(messy_stream(seed, events=200)))
    for account, conversation in {(e["accountId"], e["conversationId"]) for e in prepared.events.to_pylist()}:
        whole = read(prepared, account, conversation)
        skills = {row["skillId"] for row in whole.explanation.skill_segments}
        if not skills:
            continue
        seen = limited(whole, Scope(None, tuple(sorted({*SKILLS, *skills}))))  # type: ignore[arg-type]
        assert seen is not None
        assert seen.explanation.agent_segments == whole.explanation.agent_segments
        assert seen.explanation.queue_segments == whole.explanation.queue_segments
