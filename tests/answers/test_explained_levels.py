"""What an explanation says of targets: the same verdicts that reports count, each with what it is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random

import msgspec
import pytest

from handletime.answers.explained_levels import COUNTED_MAX, KEY, ServiceLevel, Stretch, add_levels, levels_of
from handletime.answers.figures import span
from handletime.answers.levels import VERDICTS, verdicts_of
from handletime.answers.selection import Selection
from handletime.clock import DAY, HOUR, MINUTE
from handletime.segments.explain import Reading, read
from handletime.segments.parts import prepare
from handletime.targets.targets import CLOCKS, AccountTargets, Target
from tests.answers.test_levels import random_targets
from tests.api.world import MemoryReader
from tests.messy_streams import messy_stream
from tests.segments.tables import events_of
from tests.segments.test_explain import BASE, Row, event
from tests.targets.test_hours import calendar


def levels(reading: Reading) -> Iterable[tuple[Row, ServiceLevel]]:
    told = reading.explanation
    for row in (*told.agent_segments, *told.queue_segments):
        yield from ((row, level) for level in levels_of(row))


@pytest.mark.parametrize("seed", range(4))
def test_verdicts_are_those_that_reports_count(seed: int) -> None:
    stream = [{**each, "accountId": "local"} for each in messy_stream(seed, events=300)]
    reader = MemoryReader("local")
    reader.events = events_of(stream)
    prepared = prepare(reader.events)
    with reader.snapshot() as snapshot:
        first, last = span(snapshot) or (0, 0)
        own = random_targets(Random(seed), first).of("local")
        of = Selection((first, last + 1))
        counted = Counter[tuple[str, str]]()
        for clock in CLOCKS:
            sums = verdicts_of(snapshot, clock, own, (), of)
            for verdict in VERDICTS:
                number = int(sums.sums[f"{clock}{verdict}"].sum())
                counted[clock, verdict.lower()] += number
    told = Counter[tuple[str, str]]()
    for conversation in {str(each["conversationId"]) for each in stream}:
        reading = read(prepared, "local", conversation)
        add_levels(reading, own, last)
        told.update((level.clock, level.verdict) for row, level in levels(reading) if row["end"] is not None)
    assert told == counted


def test_a_wait_is_told_with_all_that_it_is_made_of() -> None:
    hours = calendar("09:00-10:00", "10:00-10:01", "10:02-10:04")  # BASE is 10:00 in Berlin
    own = AccountTargets((Target("sales", {"firstResponse": 90_000, "queueWait": MINUTE}, calendar=hours),))
    reading = read(
        prepare(
            events_of(
                [
                    event(0, "opened", skillId=1),
                    event(30, "assigned", agentId=7),
                    event(180, "message", sentBy="agent"),
                ]
            )
        ),
        "local",
        "c",
    )
    add_levels(reading, own, BASE + HOUR)
    (queue,), (segment,) = reading.explanation.queue_segments, reading.explanation.agent_segments
    assert [level.verdict for level in levels_of(queue)] == ["met"]
    assert levels_of(segment) == [
        ServiceLevel(
            clock="firstResponse",
            target="sales",
            calendar="made-up",
            target_millis=90_000,
            waiting_since="2026-11-20T09:00:30.000Z",
            until="2026-11-20T09:03:00.000Z",
            elapsed_millis=90_000,
            due="2026-11-20T09:03:00.000Z",
            verdict="met",
            counted=[
                Stretch("2026-11-20T09:00:30.000Z", "2026-11-20T09:01:00.000Z"),
                Stretch("2026-11-20T09:02:00.000Z", "2026-11-20T09:03:00.000Z"),
            ],
            counted_more=0,
        )
    ]
    shown = msgspec.json.decode(msgspec.json.encode(reading.explanation))
    assert shown["agentSegments"][0][KEY][0]["elapsedMillis"] == 90_000


def test_who_still_waits_is_pending_or_past_due_now() -> None:
    own = AccountTargets((Target("all", {"response": MINUTE}),))
    events = [
        event(0, "opened"),
        event(1, "assigned", agentId=7),
        event(2, "message", sentBy="agent"),
        event(3, "message", sentBy="consumer"),
    ]
    for now, verdict in ((BASE + 63_000, "pending"), (BASE + 63_001, "pastDue")):
        reading = read(prepare(events_of(events)), "local", "c")
        add_levels(reading, own, now)
        assert [level.verdict for _, level in levels(reading)] == [verdict]


def test_of_very_many_intervals_some_are_told_and_the_others_counted() -> None:
    own = AccountTargets((Target("all", {"queueWait": DAY}, calendar=calendar("09:00-10:00")),))
    reading = read(prepare(events_of([event(0, "opened")])), "local", "c")
    add_levels(reading, own, BASE + 150 * DAY)
    ((_, level),) = levels(reading)
    assert (len(level.counted), level.counted_more) == (COUNTED_MAX, 50)


def test_without_targets_nothing_is_added() -> None:
    reading = read(prepare(events_of([event(0, "opened")])), "local", "c")
    add_levels(reading, AccountTargets(), BASE)
    assert KEY not in reading.explanation.queue_segments[0]
