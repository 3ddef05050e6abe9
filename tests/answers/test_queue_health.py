"""The queue now and over intervals: as the plain reading's rows have it, skill by skill and in all."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
import pytest

from handletime.answers.queue_health import COUNTS, WAITS, Queue, QueueOver, queue_now, queue_over
from handletime.clock import DAY
from tests.answers.queue_oracle import Row, Values, is_there, now_of, over
from tests.api.world import MemoryReader
from tests.messy_streams import RawEvent, messy_stream
from tests.plain_reading import read
from tests.segments.tables import events_of

MOST: Final = 100_000


def a_day(seed: int) -> tuple[MemoryReader, list[Row]]:
    """A messy stream of one account: its reader, and its queue segments by the plain reading."""
    events: list[RawEvent] = [{**event, "accountId": "local"} for event in messy_stream(seed, events=250)]
    reader = MemoryReader("local")
    reader.events = events_of(events)
    return reader, read(events).queue_segments


def shown(queue: Queue) -> list[Values]:
    """The groups one by one."""
    columns = {name: queue.values[name].tolist() for name in (*COUNTS, *WAITS)}
    return [{name: values[place] for name, values in columns.items()} for place in range(len(queue))]


def moments(rows: list[Row]) -> list[int]:
    return sorted({row["start"] for row in rows} | {row["end"] for row in rows if row["end"] is not None})


@pytest.mark.parametrize("seed", range(40))
def test_now_it_is_what_runs(seed: int) -> None:
    reader, rows = a_day(seed)
    starts = [row["start"] for row in rows if row["end"] is None] or [1]
    for at in (max(starts), min(starts) - 1, max(starts) + 7, max(starts) + DAY):
        with reader.snapshot() as snapshot:
            skills, whole = queue_now(snapshot, at, None)
        assert shown(whole) == [now_of(rows, at)]
        expected = {row["skillId"] for row in rows if row["end"] is None}
        assert skills.skills.tolist() == sorted(expected)
        assert shown(skills) == [now_of([row for row in rows if row["skillId"] == s], at) for s in sorted(expected)]
        for chosen in ([], sorted(expected)[:2], [4711]):
            with reader.snapshot() as snapshot:
                some, of_some = queue_now(snapshot, at, chosen)
            assert some.skills.tolist() == [s for s in chosen if s in expected]
            assert shown(of_some) == [now_of([row for row in rows if row["skillId"] in chosen], at)]


@pytest.mark.parametrize("until_now", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_over_intervals_it_is_the_mean_and_the_end(seed: int, until_now: bool) -> None:
    reader, rows = a_day(seed)
    times = moments(rows)
    low, middle, high = times[0], times[len(times) // 2], times[-1]
    step = max((high - low) // 7, 1)
    for bounds in (
        [low, high + 1],
        [low - 10, low],
        [*range(low, high + 1, step), high + 2],
        [middle - 2, middle - 1, middle + 1, middle + 60_000, middle + 60_001],
        [high + 1, high + 5],
    ):
        with reader.snapshot() as snapshot:
            found = queue_over(snapshot, bounds, None, most=MOST, until_now=until_now)
        agrees(found, rows, bounds, until_now)
        agrees_backwards(found)
        chosen = sorted({row["skillId"] for row in rows})[:1]
        with reader.snapshot() as snapshot:
            found = queue_over(snapshot, bounds, chosen, most=MOST, until_now=until_now)
        agrees(found, [row for row in rows if row["skillId"] in chosen], bounds, until_now)


def agrees(found: QueueOver, rows: list[Row], bounds: list[int], until_now: bool) -> None:
    spans = list(pairwise(bounds))
    place = 0
    for number, (start, end) in enumerate(spans):
        is_last = until_now and end == bounds[-1]
        assert shown(found.intervals)[number] == pytest.approx(over(rows, start, end, until_now=is_last))
        skills = sorted({row["skillId"] for row in rows if is_there(row, start, end)})
        groups = found.groups.taken(np.arange(place, place + found.counts[number]))
        assert groups.skills.tolist() == skills
        assert shown(groups) == [
            pytest.approx(over([row for row in rows if row["skillId"] == s], start, end, until_now=is_last))
            for s in skills
        ]
        place += int(found.counts[number])
    start, end = bounds[0], bounds[-1]
    assert shown(found.whole) == [pytest.approx(over(rows, start, end, until_now=until_now))]
    skills = sorted({row["skillId"] for row in rows if is_there(row, start, end)})
    assert found.skills.skills.tolist() == skills
    assert shown(found.skills) == [
        pytest.approx(over([row for row in rows if row["skillId"] == s], start, end, until_now=until_now))
        for s in skills
    ]


def agrees_backwards(found: QueueOver) -> None:
    turned = found.backwards()
    ends = np.cumsum(found.counts)
    expected: list[Any] = []
    for number in reversed(range(len(found.counts))):
        places = np.arange(ends[number] - found.counts[number], ends[number])
        expected += zip(found.groups.skills[places].tolist(), shown(found.groups.taken(places)), strict=True)
    assert list(zip(turned.groups.skills.tolist(), shown(turned.groups), strict=True)) == expected
    assert turned.counts.tolist() == found.counts.tolist()[::-1]
    assert shown(turned.intervals) == shown(found.intervals)[::-1]


def test_too_many_groups_are_not_made() -> None:
    reader, rows = a_day(3)
    times = moments(rows)
    with reader.snapshot() as snapshot, pytest.raises(OverflowError):
        queue_over(snapshot, [times[0], times[1], times[2], times[-1]], None, most=3)
