"""What the tables and the upper half of Now say, against the derivation and a count by hand.

Covers: answers/doubts.
"""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any, cast
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from msgspec.structs import replace

from handletime.answers.difference import difference
from handletime.answers.levels import Verdicts
from handletime.answers.periods import Window
from handletime.answers.registry import LEVELS, METRICS, QUEUE_METRICS
from handletime.answers.report import Cut, Filters, Report, question_of
from handletime.answers.terms import Table
from handletime.api.parameters import Query
from handletime.segments.derive import derive
from handletime.targets.targets import NO_TARGETS, AccountTargets, Clock, Target
from handletime.web.charts import charts_of, tiles_of
from handletime.web.figures import (
    AGENT_COLUMNS,
    GROUPS,
    SKILL_COLUMNS,
    SKILL_GROUPS,
    Each,
    History,
    TableOf,
    agent_columns,
    comparable,
    data_quality_of,
    history_of,
    level_columns,
    metrics_of,
    seen_columns,
    skill_columns,
    slowest_of,
    table_of,
    with_numbers,
)
from handletime.web.view import View, read_view
from tests.api.world import MemoryReader
from tests.messy_streams import messy_stream
from tests.segments.tables import events_of, rows_of

Row = dict[str, Any]
UTC = ZoneInfo("UTC")


def test_every_metric_of_agent_and_skill_segments_has_a_column() -> None:
    """Those of queue segments are in reports."""
    shown = [metric.key for metric in (*metrics_of(AGENT_COLUMNS), *metrics_of(SKILL_COLUMNS))]
    of_queues = {metric.key for metric in QUEUE_METRICS}
    assert set(shown) - of_queues == METRICS.keys() - of_queues
    assert len(shown) == len(set(shown))


def test_seven_columns_are_seen_and_further_ones_on_demand() -> None:
    targets = AccountTargets((Target("all", {"firstResponse": 5000}),))
    seven = [
        *("avgHandleTimeMillis", "medianHandleTimeMillis", "totalAgentConversationSegments"),
        *("medianFirstResponseMillis", "medianResponseMillis", "interactiveAgentSegmentPercent"),
    ]
    level = "firstResponseServiceLevelPercent"
    without, with_level = (
        [metric.key for metric in metrics_of(seen_columns(agent_columns(each), ()))] for each in (NO_TARGETS, targets)
    )
    assert without == seven
    assert with_level == [*seven[:5], level, seven[5]]
    every = agent_columns(targets)
    assert metrics_of(seen_columns(every, GROUPS)) == metrics_of(every)
    assert [group.name for group in every] == list(GROUPS)
    more = seen_columns(every, {"response"}, "agentMessages")
    assert {metric.key for metric in metrics_of(more)} - {*with_level} == {
        *("p90ResponseMillis", "p95ResponseMillis", "avgTimeToResponseFromAgentAssignment", "agentMessages"),
    }
    numbers = {metric.key for metric in with_numbers(more)} - {metric.key for metric in metrics_of(more)}
    assert numbers == {"responseCount", "firstResponseCount", "segmentsWithFocusData"}


def test_seven_columns_of_skills_are_seen_too() -> None:
    """What skills are looked at for: service levels, waits in the queue, and who gave up there."""
    limits: dict[Clock, int] = {"firstResponse": 5000, "response": 60_000, "queueWait": 60_000}
    every = skill_columns(AccountTargets((Target("all", limits),)))
    assert [metric.key for metric in metrics_of(seen_columns(every, ()))] == [
        *("firstResponseServiceLevelPercent", "responseServiceLevelPercent", "queueWaitServiceLevelPercent"),
        *("medianQueueWaitMillis", "p90QueueWaitMillis", "abandonedQueueSegmentsPercent"),
        "totalSkillConversationSegments",
    ]
    assert [group.name for group in every] == list(SKILL_GROUPS)
    assert metrics_of(seen_columns(every, SKILL_GROUPS)) == metrics_of(every)
    assert not set(GROUPS) & set(SKILL_GROUPS), "each table of a page has its own"
    assert every[0].told, "what the targets are is said beside the figures"


def a_stream(seed: int, *, events: int, conversations: int) -> pa.Table:
    """A messy stream of one account, in no order."""
    rows = messy_stream(seed, events=events, conversations=conversations, accounts=1)
    random.Random(seed).shuffle(rows)
    return events_of([{**row, "accountId": "local"} for row in rows])


@pytest.fixture(scope="module", params=range(4))
def reader(request: pytest.FixtureRequest) -> MemoryReader:
    """An account with a messy stream."""
    reader = MemoryReader("local")
    reader.add(a_stream(request.param, events=600, conversations=25))
    return reader


def view_of(reader: MemoryReader, more: str = "") -> View:
    times = reader.events["time"].cast("int64").to_pylist()
    query = Query(f"from={min(times) - 1}&to={max(times) + 1}&interval=5&userType=all{more}".encode())
    view = read_view(query, max(times) + 10)
    query.check()
    return view


def a_table(reader: MemoryReader, view: View, each: Each, of: Table, sort: str, *, descending: bool) -> TableOf:
    """The table of a page without targets."""
    metrics = metrics_of(AGENT_COLUMNS if of == "agentSegments" else SKILL_COLUMNS)
    with reader.snapshot() as snapshot:
        return table_of(Verdicts(snapshot), view, each, of, metrics, sort, descending=descending)


def a_history(
    reader: MemoryReader, view: View, of: Table = "agentSegments", targets: AccountTargets = NO_TARGETS
) -> History:
    with reader.snapshot() as snapshot:
        return history_of(Verdicts(snapshot, targets), view, of)


def ended(reader: MemoryReader) -> list[Row]:
    return [row for row in rows_of(derive(reader.events).agent_segments) if row["end"] is not None]


def nearest(values: list[int], percent: int) -> int | None:
    ordered = sorted(values)
    return ordered[max(-(-percent * len(ordered) // 100), 1) - 1] if ordered else None


def test_a_table_counts_what_was_derived(reader: MemoryReader) -> None:
    by_agent: dict[int, list[Row]] = defaultdict(list)
    for segment in ended(reader):
        by_agent[segment["agentId"]].append(segment)
    table = a_table(reader, view_of(reader), "agentId", "agentSegments", "p90ResponseMillis", descending=True)
    assert {row.number for row in table.rows} == set(by_agent)
    for row in table.rows:
        mine = by_agent[cast(int, row.number)]
        assert row.values["totalAgentConversationSegments"] == len(mine)
        responses = [each for one in mine for each in one["responseMillis"]]
        assert row.values["p90ResponseMillis"] == nearest(responses, 90)
        firsts = [each["firstResponseMillis"] for each in mine if each["firstResponseMillis"] is not None]
        assert row.values["medianFirstResponseMillis"] == nearest(firsts, 50)
        assert len(row.trend) == len(view_of(reader).bounds) - 1
    assert table.total.values["totalAgentConversationSegments"] == len(ended(reader))
    whole = [each for segment in ended(reader) for each in segment["responseMillis"]]
    assert table.total.values["p90ResponseMillis"] == nearest(whole, 90)
    known = [each for row in table.rows if (each := row.values["p90ResponseMillis"]) is not None]
    assert known == sorted(known, reverse=True)


def test_the_median_of_peers_is_that_of_other_humans_with_the_same_skills(reader: MemoryReader) -> None:
    human = [row for row in ended(reader) if row["userType"] == "human"]
    times = reader.events["time"].cast("int64").to_pylist()
    view = read_view(Query(f"from={min(times) - 1}&to={max(times) + 1}&interval=5".encode()), max(times) + 10)
    table = a_table(reader, view, "agentId", "agentSegments", "id", descending=False)
    medians = {
        agent: nearest([each for row in human if row["agentId"] == agent for each in row["responseMillis"]], 50)
        for agent in {row["agentId"] for row in human}
    }
    for row in table.rows:
        own = {each["skillId"] for each in human if each["agentId"] == row.number}
        peers = {each["agentId"] for each in human if each["skillId"] in own} - {row.number}
        known = [each for peer in peers if (each := medians[peer]) is not None]
        assert table.of_peers(row, METRICS["medianResponseMillis"]) == nearest(known, 50)
    assert table.of_peers(table.total, METRICS["medianResponseMillis"]) is None


def test_what_is_unknown_is_not_nothing(reader: MemoryReader) -> None:
    by_agent: dict[int, list[Row]] = defaultdict(list)
    for segment in ended(reader):
        if segment["userType"] == "human":
            by_agent[segment["agentId"]].append(segment)
    table = a_table(reader, view_of(reader), "agentId", "agentSegments", "totalHandleTimeMillis", descending=False)
    for row in table.rows:
        mine = by_agent.get(cast(int, row.number), [])
        known = [each for each in mine if each["focusData"]]
        assert row.known == (len(known), len(mine))
        handled = sum(each["totalHandleTimeMillis"] for each in known)
        assert row.values["totalHandleTimeMillis"] == (handled if known else None)
        assert bool(row.trend) == bool(known)
    totals = [row.values["totalHandleTimeMillis"] for row in table.rows]
    some = [each for each in totals if each is not None]
    assert totals == sorted(some) + [None] * (len(totals) - len(some))
    assert table.total.known == tuple(sum(row.known[i] for row in table.rows) for i in (0, 1))


def test_bots_are_left_out_unless_asked_for(reader: MemoryReader) -> None:
    humans = [row for row in ended(reader) if row["userType"] == "human"]
    times = reader.events["time"].cast("int64").to_pylist()
    view = read_view(Query(f"from={min(times) - 1}&to={max(times) + 1}&interval=5".encode()), max(times) + 10)
    assert a_history(reader, view).total["totalAgentConversationSegments"] == len(humans)
    table = a_table(reader, view, "agentId", "agentSegments", "id", descending=False)
    assert table.total.values["totalAgentConversationSegments"] == len(humans)
    skills = [row for row in rows_of(derive(reader.events).skill_segments) if row["end"] is not None]
    of_skills = a_history(reader, view, "skillSegments")
    assert of_skills.total["totalSkillConversationSegments"] == len(skills)
    by_skill = a_table(reader, view, "skillId", "skillSegments", "id", descending=False)
    abandoned = "skillSegmentsAbandonedByConsumers"
    assert sum(cast(list[int], of_skills.values[abandoned])) == by_skill.total.values[abandoned]


def test_intervals_add_up_to_the_whole(reader: MemoryReader) -> None:
    view = view_of(reader)
    history = a_history(reader, view)
    found: dict[int, list[int]] = defaultdict(list)
    for row in ended(reader):
        place = max(i for i, bound in enumerate(view.bounds) if bound <= row["end"])
        found[place] += row["responseMillis"]
    assert sum(cast(list[int], history.values["totalAgentConversationSegments"])) == len(ended(reader))
    assert history.values["medianResponseMillis"] == [nearest(found[i], 50) for i in range(len(view.bounds) - 1)]


def test_the_slowest_answers_are_the_slowest(reader: MemoryReader) -> None:
    slowest = slowest_of(reader, view_of(reader), "local")
    humans = [row for row in ended(reader) if row["userType"] == "human" and row["responseMillis"]]
    waits = sorted((max(row["responseMillis"]) for row in humans), reverse=True)[:10]
    assert [each.waited for each in slowest] == waits
    ids = {row["segmentId"]: row for row in humans}
    assert all(max(ids[each.segment]["responseMillis"]) == each.waited for each in slowest)


def test_doubts_are_counted(reader: MemoryReader) -> None:
    human = [row for row in ended(reader) if row["userType"] == "human"]
    quality = data_quality_of(reader, view_of(reader, "&long=1"))
    assert (quality.human, quality.without_focus) == (len(human), sum(not row["focusData"] for row in human))
    ids = {row["segmentId"] for row in human}
    units = rows_of(derive(reader.events).handle_time_units)
    assert quality.long_units == sum(u["segmentId"] in ids and cast(int, u["handleTimeMillis"]) > 60_000 for u in units)


def first_end(reader: MemoryReader) -> int:
    derived = derive(reader.events)
    rows = [*rows_of(derived.agent_segments), *rows_of(derived.skill_segments)]
    return min(cast(int, row["end"]) for row in rows if row["end"] is not None)


def test_data_that_begin_later_than_what_they_are_compared_with_are_told(reader: MemoryReader) -> None:
    first = first_end(reader)
    times = reader.events["time"].cast("int64").to_pylist()
    whole = f"from={first + 1000}&to={max(times) + 1}&interval=5&userType=all&compare=previous"
    view = read_view(Query(whole.encode()), max(times) + 10)
    assert view.compared[0] < first
    assert data_quality_of(reader, view).begins == first
    later = (first + max(times)) // 2
    known = read_view(
        Query(f"from={later}&to={later + (later - first) // 2}&compare=previous".encode()), max(times) + 10
    )
    assert data_quality_of(reader, known).begins is None
    early = replace(view_of(reader), start=first - 1)
    assert data_quality_of(reader, early).begins == first, "the span itself is not whole"
    assert data_quality_of(reader, replace(early, start=first)).begins is None


def test_nothing_is_compared_with_a_time_before_all_data(reader: MemoryReader) -> None:
    first = first_end(reader)
    for later, is_dropped in ((0, True), (1, False)):
        query = f"from={first + later}&to={first + later + 3_600_000}&compare=previous"
        view = read_view(Query(query.encode()), first + 7_200_000)
        assert view.compared[-1] == first + later
        found = comparable(view, reader)
        assert (found.compared == (), found.has_nothing_before) == (is_dropped, is_dropped)
        assert data_quality_of(reader, found).begins == (None if is_dropped else first)


# --- compared ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["agentId", "skillId"])
def test_what_a_table_is_compared_with_is_what_the_report_says(reader: MemoryReader, kind: Any) -> None:
    """One window beside the one before: the page has what `GET …/report` has under `…Previous`."""
    times = reader.events["time"].cast("int64").to_pylist()
    first, last = min(times), max(times) + 1
    middle = (first + last) // 2
    query = Query(f"from={middle}&to={last}&interval=5&userType=all&compare=previous".encode())
    view = read_view(query, last + 10)
    query.check()
    table = a_table(reader, view, kind, "agentSegments", "totalAgentConversationSegments", descending=True)
    metrics = tuple(metrics_of(AGENT_COLUMNS))
    cut = Cut(Window(middle, last), None, UTC)
    for by, found in (((kind,), table.rows), ((), [table.total])):
        with reader.snapshot() as snapshot:
            question = question_of(cut, Filters(), by, metrics, compare="previous")
            (told,) = Report(snapshot, question).rows()
        numbers = told.keys[kind].values.tolist() if by else [None]
        assert sorted(row.number or 0 for row in found) == sorted(number or 0 for number in numbers)
        for place, number in enumerate(numbers):
            (row,) = [row for row in found if row.number == number]
            assert row.before is not None
            for key, beside in ((key, told.metrics[f"{key}Previous"]) for key in (metric.key for metric in metrics)):
                there = beside.there is None or bool(beside.there[place])
                value = row.before[key]
                assert (None if value == -1 and METRICS[key].per else value) == (
                    beside.values[place].item() if there else None
                ), key


def test_a_history_has_what_it_is_compared_with_interval_by_interval(reader: MemoryReader) -> None:
    times = reader.events["time"].cast("int64").to_pylist()
    first, last = min(times), max(times) + 1
    queries = (f"from={last}&to={2 * last - first}&compare=previous", f"from={first}&to={last}")
    views = [read_view(Query(f"{query}&interval=5&userType=all".encode()), 3 * last) for query in queries]
    compared, alone = (a_history(reader, view) for view in views)
    assert compared.before is not None
    assert compared.before.total == alone.total
    assert alone.total
    assert len(compared.before.bounds) == len(compared.bounds)
    counted = "totalAgentConversationSegments"
    assert sum(cast(int, each) for each in compared.before.values[counted]) == alone.total[counted]
    (line, *_) = charts_of(compared, views[0])[0].before
    assert (line.name, line.values) == ("all, before", compared.before.values[counted])
    tiles = tiles_of(compared, views[0])
    assert tiles[0].differs == difference(METRICS[counted], 0, alone.total[counted])
    assert [tile.text for tile in tiles if tile.differs is not tiles[0].differs] == ["–"] * 4, "of nothing, unknown"


# --- service levels ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "of"), [("agentId", "agentSegments"), ("skillId", "skillSegments")])
def test_service_levels_are_those_of_the_report(reader: MemoryReader, kind: Any, of: Table) -> None:
    limits: dict[Clock, int] = {"firstResponse": 5000, "response": 60_000, "queueWait": 60_000}
    targets = AccountTargets((Target("all", limits),))
    (group,) = level_columns(of, targets, has_queues=True)
    metrics = [column.metric for column in group.columns]
    assert len(metrics) == (6 if of == "agentSegments" else 9)
    view = view_of(reader)
    sort = metrics[0].key
    whole = "totalAgentConversationSegments" if of == "agentSegments" else "totalSkillConversationSegments"
    shown = [METRICS[whole], *metrics]
    with reader.snapshot() as snapshot:
        table = table_of(Verdicts(snapshot, targets), view, kind, of, shown, sort, descending=True)
    cut = Cut(Window(view.start, view.end), None, UTC)
    with reader.snapshot() as snapshot:
        for by, found in (((kind,), table.rows), ((), [table.total])):
            question = question_of(cut, Filters(), by, tuple(metrics))._replace(targets=targets)
            (told,) = Report(snapshot, question).rows()
            numbers = told.keys[kind].values.tolist() if by else [None]
            rows = {row.number: row for row in found}
            for place, number in enumerate(numbers):
                for metric in metrics:
                    column = told.metrics[metric.key]
                    known = column.there is None or column.there[place]
                    value = rows[number].values[metric.key] if number in rows else -1
                    # A group without any wait of a clock has no row of its verdicts.
                    assert (0 if value == -1 else value) == (column.values[place] if known else 0)
    levels = [row.values.get(sort) for row in table.rows]
    known = [each for each in levels if each not in (None, -1)]
    assert known == sorted(known, key=float, reverse=True)
    history = a_history(reader, view, of, targets)
    name = f"{LEVELS[metrics[-3].key]}ServiceLevelPercent"
    assert history.total[name] == table.total.values[name]
    assert name in {metric.key for metric in metrics}
    assert level_columns(of, NO_TARGETS, has_queues=True) == ()
