"""Metrics against LivePerson's page and against arithmetic done by hand over the plain reading.

Covers: answers/figures, answers/selection.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from handletime.answers.figures import Value, figures_of
from handletime.answers.files import asked
from handletime.answers.registry import AGENT_METRICS, HANDLE_TIME, METRICS, SKILL_METRICS, Metric
from handletime.answers.relations import Snapshot
from handletime.answers.selection import Selection
from handletime.answers.sums import By
from handletime.segments.derive import derive
from tests.messy_streams import messy_stream
from tests.plain_reading import read
from tests.segments.tables import Row, events_of

GOLDEN = Path(__file__).parent.parent / "golden" / "metrics"
EVERYTHING = Selection((-(2**62), 2**62))
Connect = Callable[[Iterable[Row]], Snapshot]


@pytest.fixture
def connected(tmp_path: Path) -> Iterator[Connect]:
    """Derives events and gives a snapshot that has the segments."""
    with ExitStack() as stack:

        def connect_to(events: Iterable[Row]) -> Snapshot:
            return stack.enter_context(asked([derive(events_of(events))], tmp_path, memory=1 << 30))[0]

        yield connect_to


def rows_of(
    snapshot: Snapshot, metrics: Iterable[Metric], by: Sequence[By], of: Selection = EVERYTHING
) -> list[dict[str, Value]]:
    """A row for each group, or one for all."""
    found = figures_of(snapshot, metrics, by, of)
    return [{**dict(zip(by, key, strict=True)), **row} for key, row in found.items() if len(key) == len(by)]


def test_the_numbers_of_livepersons_agent_page_come_out(connected: Connect) -> None:
    case = json.loads((GOLDEN / "agents-12-and-13.json").read_text())
    connection = connected(case["events"])
    by_agent = rows_of(connection, AGENT_METRICS, ["agentId"])
    by_both = rows_of(connection, AGENT_METRICS, ["skillId", "agentId"])
    expected = case["expected"]
    assert {str(row.pop("agentId")): row for row in by_agent} == expected["agentsMetrics"]["metricsPerAgent"]
    assert rows_of(connection, AGENT_METRICS, []) == [expected["metricsTotal"]]
    for row in by_both:
        skill, agent = str(row.pop("skillId")), str(row.pop("agentId"))
        assert row == expected["metricsPerSkill"][skill]["metricsPerAgent"][agent]
    assert len(by_both) == 2


def test_responses_are_counted_and_messages_are_a_metric_of_their_own(connected: Connect) -> None:
    case = json.loads((GOLDEN / "responses-not-messages.json").read_text())
    connection, expected = connected(case["events"]), case["expected"]
    metrics = [METRICS[name] for name in expected["metricsTotal"]]
    assert rows_of(connection, metrics, []) == [expected["metricsTotal"]]
    by_agent = rows_of(connection, metrics, ["agentId"])
    assert {str(row.pop("agentId")): row for row in by_agent} == expected["metricsPerAgent"]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("by", [(), ("agentId",), ("skillId",), ("skillId", "agentId")])
def test_every_metric_is_what_arithmetic_by_hand_says(seed: int, by: tuple[By, ...], connected: Connect) -> None:
    events = messy_stream(seed, events=200)
    reading = read(events)
    focused = {(str(e.get("accountId") or "local"), e["agentId"]) for e in events if e["type"] == "focused"}
    unsure = focused_is_unsure(events)
    rows = rows_of(connected(events), METRICS.values(), by)
    found = {tuple(row[key] for key in by): row for row in rows}
    groups = {
        tuple(segment[key] for key in by)
        for segment in (
            *reading.agent_segments,
            *(() if "agentId" in by else (*reading.skill_segments, *reading.queue_segments)),
        )
        if segment["end"] is not None
    }
    assert set(found) == groups
    for group, row in found.items():
        agent_segments = members(reading.agent_segments, by, group)
        skill_segments = [] if "agentId" in by else members(reading.skill_segments, by, group)
        queue_segments = [] if "agentId" in by else members(reading.queue_segments, by, group)
        tables = {"agentSegments": agent_segments, "skillSegments": skill_segments, "queueSegments": queue_segments}
        for metric in METRICS.values():
            segments = tables[metric.table]
            if unsure and ("HandleTime" in metric.name or "Focus" in metric.name):
                continue
            assert row[metric.key] == by_hand(metric, segments, focused), metric.key


def focused_is_unsure(events: list[Row]) -> bool:
    """Whether copies differ, so that an event named here may have been dropped."""
    keys = [(e.get("accountId"), e["conversationId"], e["eventId"]) for e in events]
    return len(set(keys)) != len(keys)


def members(segments: list[Row], by: tuple[By, ...], group: tuple[object, ...]) -> list[Row]:
    return [s for s in segments if s["end"] is not None and tuple(s[key] for key in by) == group]


def by_hand(metric: Metric, segments: list[Row], focused: set[tuple[str, object]]) -> object:
    """One metric, in plain Python, from rules.md 4; a handle time is unknown where there is no focus data (3.3)."""
    with_focus = [
        s
        for s in segments
        if metric.table == "agentSegments"
        and s["userType"] == "human"
        and (str(s["accountId"]), s["agentId"]) in focused
    ]
    if metric.key in HANDLE_TIME and not with_focus:
        return None
    if metric.percent:
        values = sorted(single_values(metric.values, segments, with_focus))
        return values[-(-len(values) * metric.percent // 100) - 1] if values else None
    total = sum(number(metric.sum, s) for s in (with_focus if metric.sum == "handleTime" else segments))
    if metric.sum == "handled":
        return len(with_focus)
    if not metric.per:
        return total
    count = len(with_focus) if metric.per == "handled" else sum(number(metric.per, s) for s in segments)
    if not count:
        return -1
    return {"percent": 100 * total / count, "responses": total / count}.get(metric.unit, total // count)


ENDS = {"queueWait": "assigned", "abandonedWait": "closedByConsumer"}
"""The end reasons of the queue segments whose waits these are."""


def wait_of(segment: Row) -> int:
    return int(str(segment["end"])) - int(str(segment["start"]))


def single_values(name: str, segments: list[Row], with_focus: list[Row]) -> list[int]:
    if name == "handleTime":
        return [number("handleTime", s) for s in with_focus]
    if name in ENDS:
        return [wait_of(s) for s in segments if s["endReason"] == ENDS[name]]
    if name == "response":
        return [int(str(v)) for s in segments for v in as_list(s["responseMillis"])]
    return [int(str(s["firstResponseMillis"])) for s in segments if s["firstResponseMillis"] is not None]


def as_list(value: object) -> list[object]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def of_queue(name: str, s: Row) -> int:
    """What a queue segment adds to a sum."""
    if name in ("wait", "abandonedWait"):
        return wait_of(s) if s["endReason"] == ENDS["queueWait" if name == "wait" else name] else 0
    ends = {
        "segments": {str(s["endReason"])},
        "assigned": {"assigned"},
        "abandoned": {"closedByConsumer"},
        "transferred": {"skillTransfer"},
        "closed": {"closedByAgent", "closedBySystem"},
    }
    return int(str(s["endReason"]) in ends[name])


def number(name: str, s: Row) -> int:
    """What one segment adds to a sum."""
    if "fromUserType" in s:
        return of_queue(name, s)
    firsts = [int(str(v)) for v in as_list(s["firstResponseMillis"])]
    follows = s.get("follows")
    match name:
        case "segments":
            return 1
        case "interactive" | "nonResponsiveConsumer" | "abandoned" | "nonResponsiveAgent":
            return int(s["outcome"] == name)
        case "abandonedInQueue":
            return int(bool(s["abandonedInQueue"]))
        case "agentMessages":
            return int(str(s["agentMessages"]))
        case "duration":
            return int(str(s["end"])) - int(str(s["start"]))
        case "firstResponse":
            return sum(firsts)
        case "firstResponses":
            return len(firsts)
        case "firstResponseAfterTransfer":
            return sum(firsts) if follows == "transfer" else 0
        case "firstResponsesAfterTransfer":
            return len(firsts) if follows == "transfer" else 0
        case "firstResponseNew":
            return sum(firsts) if follows == "newConversation" else 0
        case "firstResponsesNew":
            return len(firsts) if follows == "newConversation" else 0
        case "response":
            return sum(int(str(v)) for v in as_list(s["responseMillis"]))
        case "responses":
            return len(as_list(s["responseMillis"]))
        case "handleTime":
            return int(str(s["totalHandleTimeMillis"]))
        case "handled":
            return 0
    raise AssertionError(name)


def test_intervals_are_half_open_and_add_up(connected: Connect) -> None:
    events = messy_stream(3, events=300)
    connection = connected(events)
    ends = [s["end"] for s in read(events).agent_segments if s["end"] is not None]
    first, last = min(ends), max(ends)  # type: ignore[type-var]
    assert isinstance(first, int)
    assert isinstance(last, int)
    metric = METRICS["totalAgentConversationSegments"]
    bounds = [*range(first, last + 1, 10), last + 1]
    rows = rows_of(connection, [metric], ["interval"], Selection(bounds))
    assert sum(int(str(row[metric.key])) for row in rows) == len(ends)
    for row in rows:
        start = bounds[int(str(row["interval"]))]
        assert row[metric.key] == sum(start <= int(str(end)) < start + 10 for end in ends)
    (without_last,) = rows_of(connection, [metric], [], Selection((first, last)))
    assert without_last[metric.key] == sum(end != last for end in ends)


def test_the_names_of_livepersons_pages_stand_as_they_stand_there() -> None:
    expected = json.loads((GOLDEN / "agents-12-and-13.json").read_text())["expected"]["metricsTotal"]
    assert [metric.name for metric in AGENT_METRICS] == list(expected)
    assert [metric.name for metric in SKILL_METRICS] == [
        "totalSkillConversationSegments",
        "skillSegmentsAbandonedByConsumers",
        "skillSegmentsAbandonedByConsumersInQueue",
        "skillSegmentsWithNonResponsiveConsumers",
        "skillSegmentsWithNonResponsiveAgents",
        "interactiveSkillSegments",
        "avgTimetoFirstAgentMessageFromAgentAssignment",
    ]


def test_every_metric_says_what_it_means_and_has_a_name_of_its_own() -> None:
    assert all(metric.meaning and metric.name for metric in METRICS.values())
    assert len(METRICS) == len({metric.key for metric in METRICS.values()})
