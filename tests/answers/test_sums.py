"""Sums of the finest groups: what is made of them is what the oracle says, which asks for each group by itself.

Covers: answers/files, answers/percentiles, answers/terms.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handletime.answers import percentiles
from handletime.answers.figures import figures_of
from handletime.answers.files import asked
from handletime.answers.intervals import clock_bounds
from handletime.answers.percentiles import percentiles_of
from handletime.answers.registry import AGENT_METRICS, METRICS, SKILL_METRICS
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection, instant_of
from handletime.answers.sums import By, Sums, slots, sums_of
from handletime.answers.terms import Table
from handletime.segments.derive import derive
from tests.answers.oracle import Window, aggregate, value_of
from tests.messy_streams import messy_stream
from tests.segments.tables import events_of

AGENT: Final[Table] = "agentSegments"
COUNTS = st.integers(0, 2**40)
ASnapshot = Callable[[int], Snapshot]
BY_SUMS = [metric for metric in METRICS.values() if not metric.values]


@pytest.fixture
def a_snapshot(tmp_path: Path) -> Iterator[ASnapshot]:
    """Derives a messy stream; gives a snapshot of its segments."""
    with ExitStack() as stack:

        def of_seed(seed: int) -> Snapshot:
            parts = [derive(events_of(messy_stream(seed, events=300)))]
            return stack.enter_context(asked(parts, tmp_path, memory=1 << 30))[0]

        yield of_seed


@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=1))
def test_values_of_many_groups_are_those_of_each(rows: list[tuple[int, int]]) -> None:
    for metric in BY_SUMS:
        names = [metric.sum, *([metric.per] if metric.per and metric.per != metric.sum else [])]
        sums = {name: np.array([row[i] for row in rows], np.int64) for i, name in enumerate(names)}
        expected = [value_of(metric, {name: int(v[i]) for name, v in sums.items()}) for i in range(len(rows))]
        assert Sums({}, sums).values_of(metric) == expected


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("interval", [300_000, 7_000])
def test_what_is_rolled_up_is_what_was_asked_by_itself(seed: int, interval: int, a_snapshot: ASnapshot) -> None:
    connection = a_snapshot(seed)
    (first, last) = connection.execute(
        'select min(epoch_ms("end")), max(epoch_ms("end")) from agent_segments'
    ).fetchone() or (0, 0)
    window = Window(first, last + 1, range(first, last + 1, interval))
    bounds = [*range(first, last + 1, interval), last + 1]
    for table, metrics in (("agentSegments", AGENT_METRICS), ("skillSegments", SKILL_METRICS)):
        ids = ("skillId", "agentId") if table == "agentSegments" else ("skillId",)
        finest = sums_of(connection, table, metrics, ("interval", *ids), Selection(bounds))  # type: ignore[arg-type]
        for by in [(), ("interval",), ("skillId",), ("interval", "skillId"), ids]:
            rolled = finest.rolled_up(by)  # type: ignore[arg-type]
            wanted = aggregate(connection, metrics, by, window)  # type: ignore[arg-type]
            keys = [rolled.keys[key].tolist() for key in by]  # type: ignore[index]
            if "interval" in by:
                keys[0] = [bounds[place] for place in keys[0]]
            found = [
                {
                    **dict(zip(by, (key[i] for key in keys), strict=True)),
                    **{m.key: rolled.values_of(m)[i] for m in metrics},
                }
                for i in range(len(rolled))
            ]
            assert found == wanted


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_by_interval_are_the_same_where_intervals_have_nothing_in_common(
    seed: int, a_snapshot: ASnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = a_snapshot(seed)
    first, last = connection.execute(
        'select min(epoch_ms("end")), max(epoch_ms("end")) from agent_segments'
    ).fetchone() or (0, 0)
    bounds = [*range(first, last + 1, 300_000), last + 1]
    ranked = [metric for metric in METRICS.values() if metric.values and metric.table == AGENT]
    assert ranked
    by: tuple[By, ...] = ("interval", "agentId")
    on_grid = percentiles_of(connection, AGENT, ranked, by, Selection(bounds), with_total=True)
    monkeypatch.setattr(percentiles, "PLACES_MAX", 0)
    assert percentiles_of(connection, AGENT, ranked, by, Selection(bounds), with_total=True) == on_grid
    assert len(on_grid) > 2


MILLIS = st.integers(-(10**14), 10**14)


@given(st.lists(MILLIS, min_size=2, max_size=6, unique=True), st.data())
def test_a_slot_is_in_the_interval_of_all_its_moments(bounds: list[int], data: st.DataObject) -> None:
    bounds.sort()
    moment = data.draw(st.integers(bounds[0], bounds[-1] - 1))
    base, size = slots(bounds)
    assert base <= bounds[0]
    begin = base + (moment - base) // size * size
    assert max(bisect_right(bounds, begin) - 1, 0) == bisect_right(bounds, moment) - 1


@pytest.mark.parametrize(
    "bounds",
    [
        [-86_400_001, *range(-82_800_000, 1, 3_600_000)],
        [-86_400_001, *range(-86_400_000, -1, 3_600_000), -1],
        [-1_800_000, 0, 3_600_000],
        [-90_000, -60_000, -30_000],
    ],
)
def test_intervals_before_1970_have_what_ended_in_them(bounds: list[int], tmp_path: Path) -> None:
    """It was counted in the interval after, or in none; and a page with percentiles was a 500."""
    story: list[dict[str, object]] = [
        {"type": "opened"},
        {"type": "message", "sentBy": "consumer"},
        {"type": "assigned", "agentId": 7},
        {"type": "message", "sentBy": "agent"},
        {"type": "closed", "closedBy": "agent"},
    ]
    events = [
        {"conversationId": "c", "eventId": str(i), "time": f"1969-12-31T23:59:00.00{i}Z", **event}
        for i, event in enumerate(story)
    ]
    metrics = [METRICS[key] for key in ("totalAgentConversationSegments", "medianResponseMillis")]
    with asked([derive(events_of(events))], tmp_path, memory=1 << 30) as (snapshot, *_):
        groups = figures_of(snapshot, metrics, ("interval",), Selection(bounds))
    assert set(groups) == {(), (bisect_right(bounds, -59_996) - 1,)}
    assert {tuple(group.values()) for group in groups.values()} == {(1, 1)}


def test_weeks_of_eighteen_years_where_clocks_are_changed(a_snapshot: ASnapshot) -> None:
    """All that their bounds have in common is an hour."""
    connection = a_snapshot(1)
    (last,) = connection.execute('select max(epoch_ms("end")) from agent_segments').fetchone() or (0,)
    bounds = clock_bounds(last - 18 * 365 * 86_400_000, last + 1, "week", ZoneInfo("Europe/Berlin"))
    ranked = [metric for metric in METRICS.values() if metric.values and metric.table == AGENT]
    found = percentiles_of(connection, AGENT, ranked, ("interval",), Selection(bounds), with_total=True)
    whole = percentiles_of(connection, AGENT, ranked, (), Selection([bounds[0], bounds[-1]]))
    assert found[()] == whole[()]
    assert {key for key in found if key} <= {(place,) for place in range(len(bounds) - 1)}
    assert (len(bounds) - 2,) in found


def test_a_moment_beyond_the_years_is_moved_to_their_edge() -> None:
    assert instant_of(2**62).year == 9999
    assert instant_of(-(2**62)).year == 1
    assert instant_of(1_795_176_000_125).isoformat() == "2026-11-20T12:00:00.125000+00:00"
