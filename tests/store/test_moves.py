"""What is remembered of agents: only of so many, however many are named."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handletime.segments.columns import I64
from handletime.store import moves
from handletime.upkeep.check import check
from handletime.upkeep.rebuild import rebuild
from tests.messy_streams import BASE, RawEvent
from tests.segments.tables import events_of
from tests.store.worlds import a_store, derived_rows, stored_rows

AGENTS = 300


def test_whoever_names_many_agents_fills_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each agent that was ever named took 350 bytes for good, and was loaded again at each start."""
    monkeypatch.setattr(moves, "AGENTS_MAX", 20)
    story = [
        {"eventId": f"{agent}-{step}", "conversationId": "c", "time": BASE + 1000 * agent + step, **what}
        for agent in range(AGENTS)
        for step, what in enumerate(
            [
                {"type": "assigned", "agentId": agent},
                {"type": "unfocused", "agentId": agent},
                {"type": "focused", "agentId": agent},
                {"type": "message", "sentBy": "agent", "agentId": agent},
            ]
        )
    ]
    opened = {"eventId": "o", "conversationId": "c", "time": BASE - 1, "type": "opened"}
    events = [opened, *story]
    with a_store(tmp_path) as store:
        for first in range(0, len(events), 7):
            store.ingest("local", events_of(events[first : first + 7]))
            store.settle()
            assert len(store._database._writer.moves._focused) <= 20
        assert check(store) == []
        assert rebuild(store).differences == 0
        with store.snapshot() as cursor:
            found = cursor.execute("select count(*), count(distinct agentId) from kept.agents where focused").fetchall()
            assert found == [(AGENTS, AGENTS)]
        assert stored_rows(store, "local") == derived_rows(events)
    with a_store(tmp_path) as store:
        assert store._database._writer.moves._focused == {}


def focused(number: int, agents: int, request: int, apart: int) -> list[RawEvent]:
    return [
        {
            "eventId": f"{request}-{each}",
            "conversationId": f"c{each % 100}",
            "time": BASE + 1000 * request + apart * each,
            "type": "focused",
            "agentId": each % agents,
        }
        for each in range(number)
    ]


@pytest.mark.parametrize("agents", [1, 50_001])
def test_many_focus_events_take_seconds_however_they_are_spread(agents: int, tmp_path: Path) -> None:
    """Joins went through all of both sides: 65 s for the second request of 50,001 agents, 71 s for 50,000 late events
    of one.
    """
    with a_store(tmp_path) as store:
        for request in range(2):
            events = events_of(focused(50_001, agents, request, 1 if agents > 1 else 2000))
            begun = time.monotonic()
            store.ingest("local", events)
            assert time.monotonic() - begun < 20


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.integers(0, 12)), min_size=1, max_size=40),
)
def test_spans_that_touch_become_one(spans: list[tuple[int, int, int]]) -> None:
    slots, low, length = (np.array(each, np.int64) for each in zip(*spans, strict=True))
    first, lows, highs = moves._apart(slots, low, low + length)

    def covered(slots: I64, low: I64, high: I64) -> set[tuple[int, int]]:
        each = zip(slots.tolist(), low.tolist(), high.tolist(), strict=True)
        return {(slot, moment) for slot, begin, end in each for moment in range(begin, end + 1)}

    assert covered(slots[first], lows, highs) == covered(slots, low, low + length)
    ends: dict[int, int] = {}
    for slot, begin, end in zip(slots[first].tolist(), lows.tolist(), highs.tolist(), strict=True):
        assert begin > ends.get(slot, -1)
        ends[slot] = end
