"""What one sees of a conversation at a glance: who waits since when, and where the focus is, as the rules say."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest

from handletime.events.book import instant
from handletime.segments.explain import Reading, Span, queues_begun, read
from handletime.segments.parts import prepare
from tests.messy_streams import messy_stream
from tests.segments.tables import events_of

Row = dict[str, Any]
BASE = 1_795_165_200_000


def event(second: int, type_: str, **more: object) -> Row:
    known = {"conversationId": "c", "eventId": f"{second} {type_}", "time": BASE + second * 1000}
    return {**known, "type": type_, **more}


def read_of(*events: Row) -> Reading:
    return read(prepare(events_of([*events])), "local", "c")


def seconds(spans: Iterable[Span]) -> list[Span]:
    return [((start - BASE) // 1000, (end - BASE) // 1000) for start, end in spans]


def test_after_a_transfer_the_consumer_waits_for_the_new_agent_from_the_start_of_the_segment() -> None:
    """Rules 3.2: two waits, though the consumer waits all the time."""
    found = read_of(
        event(0, "opened"),
        event(1, "assigned", agentId=7),
        event(2, "message", sentBy="consumer"),
        event(5, "assigned", agentId=8),
        event(9, "message", sentBy="agent"),
        event(10, "closed", closedBy="agent"),
    )
    assert seconds(found.waits) == [(2, 5), (5, 9)]


def test_in_another_skill_the_consumer_is_in_another_queue() -> None:
    """Rules 2.2: a transfer to another skill ends one stretch in queue and starts the next; any other one does not."""
    found = read_of(
        event(0, "opened", skillId=1),
        event(2, "transferred", reason="agent"),
        event(4, "transferred", reason="skill", skillId=2),
        event(7, "assigned", agentId=7),
        event(8, "transferred", reason="backToQueue"),
        event(9, "closed", closedBy="consumer"),
        event(20, "resumed"),
        event(30, "message", sentBy="consumer"),
    )
    rows = found.explanation.queue_segments
    assert seconds(queued_of(found)) == [(0, 4), (4, 7), (8, 9), (20, 30)]
    assert [row["waitMillis"] for row in rows] == [4000, 3000, 1000, None]
    assert [each.queue_segment for each in found.explanation.moments] == [1, 1, 2, None, 3, None, 4, 4]
    begun = [row and row["sequence"] for row in queues_begun(found.explanation)]
    assert begun == [1, None, 2, None, 3, None, 4, None]


def queued_of(found: Reading) -> list[Span]:
    """The stretches of its queue segments; what goes on ends with the last moment."""
    rows = found.explanation.queue_segments
    return [(_millis(row["start"]), found.times[-1] if row["end"] is None else _millis(row["end"])) for row in rows]


def test_a_focus_ends_as_the_rules_say_and_what_goes_on_ends_with_the_last_moment() -> None:
    found = read_of(
        event(0, "opened"),
        event(1, "focused", agentId=7),
        event(2, "focused", agentId=8, leaseMillis=3000),
        event(3, "unfocused", agentId=7),
        event(4, "focused", agentId=8, leaseMillis=4000),
        event(6, "focused", agentId=7),
        event(20, "message", sentBy="consumer"),
    )
    assert {agent: seconds(spans) for agent, spans in found.focus.items()} == {7: [(1, 3), (6, 20)], 8: [(2, 8)]}


@pytest.mark.parametrize(
    ("types", "begins"),
    [
        ("message", True),
        ("focused message", True),
        ("focused", False),
        ("message opened", False),
        ("opened message", False),
        ("resumed", True),
        ("assigned opened", True),
        ("closed", True),
    ],
)
def test_a_conversation_begins_in_the_middle_where_no_opened_comes_first(types: str, begins: bool) -> None:
    """Messages and focus aside; also where there are messages only."""
    more: dict[str, Row] = {
        "message": {"sentBy": "consumer"},
        "focused": {"agentId": 7},
        "assigned": {"agentId": 7},
        "closed": {"closedBy": "agent"},
    }
    found = read_of(*(event(place, type_, **more.get(type_, {})) for place, type_ in enumerate(types.split())))
    assert found.begins_in_the_middle == begins


@pytest.mark.parametrize("seed", range(20))
def test_stretches_are_those_of_the_moments_each_within_a_segment(seed: int) -> None:
    rows = [{**row, "accountId": "acme"} for row in messy_stream(seed, events=200, conversations=4, accounts=1)]
    prepared = prepare(events_of(rows))
    for conversation in sorted({str(row["conversationId"]) for row in rows}):
        found = read(prepared, "acme", conversation)
        explanation, last = found.explanation, found.times[-1]
        agents, skills = (
            [(_millis(row["start"]), last if row["end"] is None else _millis(row["end"])) for row in segments]
            for segments in (explanation.agent_segments, explanation.skill_segments)
        )
        assert all(any(start <= a and b <= end for start, end in agents) for a, b in found.waits)
        assert all(any(start <= a and b <= end for start, end in skills) for a, b in queued_of(found))
        begun = [row["sequence"] for row in queues_begun(explanation) if row]
        assert begun == [row["sequence"] for row in explanation.queue_segments]
        looking = {agent for agent in found.focus if found.focus[agent]}
        for moment, (start, end) in zip(explanation.moments, pairwise(found.times), strict=False):
            if start < end:
                assert _covers(found.waits, start, end) == moment.consumer_waits
                queued = moment.open and moment.assigned_agent_id is None
                assert _covers(queued_of(found), start, end) == queued == (moment.queue_segment is not None)
                if moment.queue_segment is not None:
                    of_moment = queued_of(found)[moment.queue_segment - 1]
                    assert of_moment[0] <= start < end <= of_moment[1]
                if moment.assigned_agent_id is not None:
                    mine = found.focus.get(moment.assigned_agent_id, [])
                    assert _covers(mine, start, end) == moment.agent_looks
        responses = [each for row in explanation.agent_segments for each in row["responseMillis"] if each]  # type: ignore[attr-defined]
        lengths = [end - start for start, end in found.waits]
        assert all(lengths.count(each) >= responses.count(each) for each in responses)
        assert looking or seed


def _covers(spans: Iterable[Span], start: int, end: int) -> bool:
    """Whether one of the stretches has this one in it; none may have a part of it only."""
    found = [span for span in spans if span[0] < end and span[1] > start]
    assert len(found) <= 1
    assert all(a <= start and end <= b for a, b in found)
    return bool(found)


def _millis(value: object) -> int:
    found = instant(str(value))
    assert found is not None
    return found
