"""Lengths of times by skill: as single values say one by one; and counters that never go back within a day."""

from __future__ import annotations

import pytest

from handletime.answers.selection import Selection
from handletime.answers.times_today import LIMITS_S, TIMES, Counted, Figures, lengths_of
from handletime.clock import DAY
from handletime.scope import WHOLE, Scope
from tests.api.world import MemoryReader
from tests.messy_streams import messy_stream
from tests.plain_reading import Row, read
from tests.segments.tables import events_of

BEGIN, END = 946_684_800_000, 4_000_000_000_000


def of_values(values: list[int]) -> Figures:
    within = [sum(value <= limit * 1000 for value in values) for limit in LIMITS_S]
    return (*within, len(values), sum(values))


def values_of(name: str, row: Row) -> list[int]:
    """What one ended segment adds."""
    if name == "queue_wait":
        is_counted = row["endReason"] == "assigned" and row["toUserType"] == "human"
        return [row["end"] - row["start"]] if is_counted else []  # type: ignore[operator]
    if row["userType"] != "human":
        return []
    if name == "response":
        return list(row["responseMillis"])  # type: ignore[call-overload, no-any-return]
    return [] if row["firstResponseMillis"] is None else [row["firstResponseMillis"]]  # type: ignore[list-item]


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("seed", range(10))
def test_lengths_are_those_of_the_single_values(seed: int, name: str) -> None:
    events = [{**event, "accountId": "local"} for event in messy_stream(seed, events=300)]
    reader = MemoryReader("local")
    reader.events = events_of(events)
    reading = read(events)
    rows = reading.queue_segments if name == "queue_wait" else reading.agent_segments
    expected: dict[object, list[int]] = {}
    for row in rows:
        if row["end"] is not None and BEGIN <= row["end"] < END:  # type: ignore[operator]
            expected.setdefault(row["skillId"], []).extend(values_of(name, row))
    with reader.snapshot() as snapshot:
        found = lengths_of(snapshot, name, Selection((BEGIN, END), user_type="human"))
    assert found == {skill: of_values(values) for skill, values in expected.items() if values}


def test_what_was_counted_stays_counted_until_the_next_day() -> None:
    counted = Counted()
    more, less = of_values([1000, 6000, 90_000]), of_values([1000, 70_000])
    assert counted.never_less("a", WHOLE, 0, {"response": {7: more}}) == {"response": {7: more}}
    assert counted.never_less("a", WHOLE, 0, {"response": {7: less, 8: less}}) == {"response": {7: more, 8: less}}
    assert counted.never_less("a", WHOLE, 0, {"response": {}}) == {"response": {7: more, 8: less}}
    assert counted.never_less("b", WHOLE, 0, {"response": {7: less}}) == {"response": {7: less}}
    assert counted.never_less("a", Scope((51,)), 0, {"response": {7: less}}) == {"response": {7: less}}
    assert counted.never_less("a", WHOLE, DAY, {"response": {7: less}}) == {"response": {7: less}}
