"""The derivation against rules.md: golden cases, the plain reading on messy streams, and what must always hold.

Covers: segments/doubles, segments/focus, segments/order, segments/parts, segments/rules, segments/sorting.
Covers: segments/spill, segments/tables, segments/threads.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from handletime.events.decode import decode_columns
from handletime.segments.derive import Derived, derive, derive_prepared
from handletime.segments.explain import explain
from handletime.segments.ids import segment_id
from handletime.segments.parts import prepare, prepared_parts
from handletime.segments.tables import (
    AGENT_SEGMENTS,
    HANDLE_TIME_UNITS,
    QUEUE_SEGMENTS,
    RUNNING_QUEUE_SEGMENTS,
    SKILL_SEGMENTS,
)
from tests.messy_streams import BASE, RawEvent, messy_stream
from tests.plain_reading import Reading, event_of, losses_of, read, without_duplicates
from tests.seeds import mostly_long
from tests.segments.tables import Row, agent_segments_of, events_of, in_order, losses_table, rows_of

GOLDEN = sorted(Path(__file__).parent.parent.joinpath("golden").glob("[ce]*/*.json"))
SHORT = range(200)
FEW = range(0, 200, 8)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_golden_case_comes_out(path: Path) -> None:
    case = json.loads(path.read_text())
    derived = derive(events_of(case["events"]))
    units: dict[object, list[Row]] = {}
    for unit in rows_of(derived.handle_time_units):
        units.setdefault(unit["segmentId"], []).append(unit)
    segments = by_start(agent_segments_of(derived.agent_segments))
    for segment in segments:
        segment["handleTimeUnits"] = units.get(segment["segmentId"], [])
    assert like(case["agentSegments"], segments) == in_milliseconds(case["agentSegments"])
    skill_segments = by_start(rows_of(derived.skill_segments))
    assert like(case["skillSegments"], skill_segments) == in_milliseconds(case["skillSegments"])
    if "queueSegments" in case:
        queue_segments = by_start(rows_of(derived.queue_segments))
        assert like(case["queueSegments"], queue_segments) == in_milliseconds(case["queueSegments"])


TIMES = ("start", "end", "queuedSince", "responseWaitingSince")


def by_start(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (str(row["conversationId"]), int(str(row["start"]))))


def like(expected: object, found: object) -> object:
    """What was found, with the keys that are expected."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return {key: like(expected[key], found[key]) for key in expected}
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [like(e, f) for e, f in zip(expected, found, strict=True)]
    return found


def in_milliseconds(value: object, key: str = "") -> object:
    """The expected rows with times as epoch milliseconds."""
    if isinstance(value, dict):
        return {name: in_milliseconds(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [in_milliseconds(inner, key) for inner in value]
    if key in TIMES and isinstance(value, str):
        return event_of({"time": value, "type": "closed", "eventId": "", "conversationId": ""}, "local").time
    return value


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_it_agrees_with_the_plain_reading_on_messy_streams(first: int) -> None:
    for seed in range(first, first + 20):
        agree(seed)


@pytest.mark.long
@pytest.mark.parametrize("first", range(200, 10_000, 100))
def test_it_agrees_with_the_plain_reading_on_ten_thousand_messy_streams(first: int) -> None:
    for seed in range(first, first + 100):
        agree(seed)


@pytest.mark.parametrize("seed", range(4))
def test_it_agrees_where_hundreds_of_agents_look_at_one_conversation(seed: int) -> None:
    agree(seed, messy_stream(seed, events=1500, conversations=1 + seed % 2, accounts=1, agents=100 + 200 * seed))


def test_many_agents_who_look_at_one_conversation_take_time_by_their_number() -> None:
    """Each focus event looked through all of them: 2.5 s for 50,000, four times as long for twice as many."""

    def took(count: int) -> float:
        columns = {
            "eventId": [f"e{number}" for number in range(count)],
            "conversationId": ["c"] * count,
            "time": [BASE + number for number in range(count)],
            "type": ["focused"] * count,
            "agentId": [1 + number for number in range(count)],
        }
        prepared = prepare(decode_columns(pa.table(columns), account="local").events)
        begun = time.thread_time()
        derive_prepared(prepared)
        return time.thread_time() - begun

    took(10)
    assert took(200_000) < 10 * took(25_000) + 1


def agree(seed: int, events: list[RawEvent] | None = None) -> None:
    """One stream, read both ways; a failure names its seed."""
    events = events or messy_stream(seed, events=60 + seed % 7 * 30, conversations=1 + seed % 9, accounts=1 + seed % 3)
    expected, derived = read(events), derive(events_of(events))
    same_rows(derived, expected, seed)
    quality = derived.quality
    copies = (quality.duplicates, quality.corrected, quality.differing_copies)
    assert copies == (expected.duplicates, expected.corrected, expected.differing_copies), seed
    assert quality.without_effect == expected.effects, seed
    assert quality.events == len(events)


def same_rows(derived: Derived, expected: Reading, seed: int) -> None:
    for found, rows in (
        (agent_segments_of(derived.agent_segments), expected.agent_segments),
        (rows_of(derived.skill_segments), expected.skill_segments),
        (rows_of(derived.queue_segments), [without(row, OF_RUNNING) for row in expected.queue_segments]),
        (
            rows_of(derived.running_queue_segments),
            [without(row, OF_ENDED) for row in expected.queue_segments if row["end"] is None],
        ),
        (rows_of(derived.handle_time_units), expected.handle_time_units),
    ):
        assert in_order(found, like=rows) == in_order(rows), f"messy_stream({seed})"


OF_RUNNING = {"opened", "consumerLast"}
OF_ENDED = {"toUserType", "end", "endReason"}


def without(row: Row, names: set[str]) -> Row:
    return {name: value for name, value in row.items() if name not in names}


@pytest.mark.parametrize("seed", FEW)
def test_any_order_and_any_doubling_of_the_events_gives_the_same_tables(seed: int) -> None:
    events = messy_stream(seed)
    messy = random.Random(seed)
    shuffled = [*events, *messy.choices(events, k=40)]
    messy.shuffle(shuffled)
    first, second = derive(events_of(events)), derive(events_of(shuffled))
    assert equal(first, second)


def equal(first: Derived, second: Derived) -> bool:
    return all(mine.equals(theirs) for mine, theirs in zip(plain(first), plain(second), strict=True))


def plain(derived: Derived) -> Iterable[pa.Table]:
    """The tables without dictionaries, whose places depend on who came first."""
    for table in derived[:3]:
        yield table.cast(
            pa.schema(
                [
                    field.with_type(field.type.value_type if pa.types.is_dictionary(field.type) else field.type)
                    for field in table.schema
                ]
            )
        )


@pytest.mark.parametrize("seed", mostly_long(FEW, 5))
def test_parts_spilled_to_disk_give_the_same_tables(seed: int, tmp_path: Path) -> None:
    events = events_of(messy_stream(seed, events=300, conversations=20))
    whole = derive(events)
    pieces = [events.slice(i, 37) for i in range(0, events.num_rows, 37)]
    parts = [derive_prepared(part) for part in prepared_parts(pieces, memory=8_000, folder=tmp_path)]
    assert len(parts) > 1
    tables = [pa.concat_tables([part[i] for part in parts]) for i in range(5)]
    joined = Derived._make([*tables, sum((part.quality for part in parts[1:]), parts[0].quality)])
    assert equal(whole, joined)
    assert whole.quality == joined.quality
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", FEW)
def test_removing_a_conversation_changes_no_other(seed: int) -> None:
    events = messy_stream(seed)
    kept, *_copies = without_duplicates(event_of(event, "local") for event in events)
    removed = max((event.account, event.conversation) for event in kept if event.type == "focused")
    rest = [event for event in events if conversation_of(event) != removed]
    before = derive(events_of(events))
    after = derive(events_of(rest), losses=losses_table(losses_of(removed, kept)))
    for rows, rows_after in zip(before[:5], after[:5], strict=True):
        assert in_order(rows_of(rows_after)) == in_order(
            row for row in rows_of(rows) if (row["accountId"], row["conversationId"]) != removed
        )


def conversation_of(event: RawEvent) -> tuple[str, str]:
    return str(event.get("accountId") or "local"), str(event["conversationId"])


@pytest.mark.parametrize("seed", SHORT)
def test_outcomes_partition_and_handle_time_lies_within_the_time_in_focus(seed: int) -> None:
    prepared = prepare(events_of(messy_stream(seed)))
    derived = derive_prepared(prepared)
    ended = [row for row in agent_segments_of(derived.agent_segments) if row["end"] is not None]
    outcomes = ("interactive", "nonResponsiveConsumer", "abandoned", "nonResponsiveAgent")
    assert sum(row["outcome"] == outcome for row in ended for outcome in outcomes) == len(ended)
    for account, conversation in {(str(row["accountId"]), str(row["conversationId"])) for row in ended}:
        explanation = explain(prepared, account, conversation)
        for segment in ended:
            if (segment["accountId"], segment["conversationId"]) == (account, conversation):
                start, end = int(str(segment["start"])), int(str(segment["end"]))
                inside = [
                    moment
                    for moment in explanation.moments
                    if moment.assigned_agent_id == segment["agentId"] and start <= at(moment.time) < end
                ]
                in_focus = sum(moment.lasts_millis or 0 for moment in inside if moment.agent_looks)
                handled = sum(moment.handle_time_millis for moment in inside)
                assert segment["totalHandleTimeMillis"] == handled <= in_focus <= end - start


def at(time: str) -> int:
    return event_of({"time": time, "type": "closed", "eventId": "", "conversationId": ""}, "local").time


@pytest.mark.parametrize("seed", SHORT)
def test_the_units_of_one_agent_never_overlap(seed: int) -> None:
    derived = derive(events_of(messy_stream(seed)))
    by_agent: dict[object, list[tuple[int, int]]] = {}
    for unit in rows_of(derived.handle_time_units):
        by_agent.setdefault((unit["accountId"], unit["agentId"]), []).append(
            (int(str(unit["start"])), int(str(unit["end"])))
        )
    for units in by_agent.values():
        assert all(first[1] <= second[0] for first, second in pairwise(sorted(units)))


def test_no_events_give_empty_tables() -> None:
    derived = derive(events_of([]))
    assert [table.num_rows for table in derived[:5]] == [0, 0, 0, 0, 0]
    schemas = [AGENT_SEGMENTS, SKILL_SEGMENTS, QUEUE_SEGMENTS, HANDLE_TIME_UNITS, RUNNING_QUEUE_SEGMENTS]
    assert [table.schema for table in derived[:5]] == schemas


def test_the_segment_id_is_the_documented_hash() -> None:
    assert segment_id("local", 1, "c1", "e03") == "local:1:c1:HukZh_9Z2MPW6qSPD-zNOg"


@pytest.mark.parametrize("count", [3, 2_000, 70_000])
def test_one_conversation_may_have_any_number_of_events(count: int) -> None:
    """Also all within one millisecond, told apart by their ids alone, and looked at by as many agents."""
    events: list[RawEvent] = [{"type": "opened", "skillId": 1}, {"type": "assigned", "agentId": 1}]
    events += [{"type": "message", "sentBy": "agent"}] * (count // 2)
    events += [{"type": "focused", "agentId": agent} for agent in range(min(count // 2, 500))]
    numbered = [{**e, "conversationId": "c", "eventId": f"e{i:06}", "time": BASE} for i, e in enumerate(events)]
    random.Random(count).shuffle(numbered)
    (segment,) = rows_of(derive(events_of(numbered)).agent_segments)
    assert segment["agentMessages"] == count // 2
