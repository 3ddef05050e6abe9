"""Conversations at once, against a count millisecond by millisecond."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, cast

import pytest

from handletime.answers.at_once import AtOnce, at_once
from handletime.answers.selection import Selection
from handletime.events.book import instant
from handletime.segments.derive import derive
from tests.api.world import MemoryReader
from tests.segments.tables import events_of, rows_of

START = cast(int, instant("2026-11-20T09:00:00Z"))


def a_reader(stretches: list[tuple[int, int | None]], agent: int = 7) -> MemoryReader:
    """Conversations that were assigned and closed at these milliseconds after the start; None still runs."""
    events: list[dict[str, object]] = []
    for place, (begin, end) in enumerate(stretches):
        event = {"conversationId": f"c{place}"}
        events.append({**event, "eventId": "1", "time": START + begin, "type": "assigned", "agentId": agent})
        if end is not None:
            events.append({**event, "eventId": "2", "time": START + end, "type": "closed", "closedBy": "agent"})
    reader = MemoryReader("local")
    reader.add(events_of(events))
    return reader


def found(reader: MemoryReader, start: int, end: int, agent: int = 7) -> AtOnce:
    with reader.snapshot() as snapshot:
        return at_once(snapshot, Selection((START + start, START + end), agents=(agent,)))


def test_a_case_by_hand() -> None:
    reader = a_reader([(0, 100), (50, 150), (150, 200), (60, 60), (80, None), (300, 400)])
    assert found(reader, 0, 1000) == AtOnce({1: 50 + 50 + 50 + 100, 2: 50})
    assert found(reader, 0, 1000).mean == pytest.approx(350 / 300)
    assert found(reader, 70, 120).times == {2: 30, 1: 20}, "as far as they lie within, whenever they ended"
    assert found(reader, 0, 60).times == {1: 50, 2: 10}
    assert found(reader, 210, 300) == AtOnce({})
    assert found(reader, 210, 300).mean is None
    assert found(reader, 0, 1000, agent=8).assigned == 0


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_a_plain_count_says(seed: int) -> None:
    chance = random.Random(seed)
    begins = [chance.randrange(0, 400) for _ in range(30)]
    reader = a_reader([(begin, begin + chance.randrange(0, 90)) for begin in begins])
    low, until = 50, 350
    count: Counter[int] = Counter()
    rows: list[dict[str, Any]] = rows_of(derive(reader.events).agent_segments)
    for row in rows:
        count.update(range(max(row["start"] - START, low), min(row["end"] - START, until)))
    assert found(reader, low, until).times == dict(sorted(Counter(count.values()).items()))
