"""How figures differ: by how much, which way, and whether that is better; and where nobody can say."""

from __future__ import annotations

import pytest

from handletime.answers.difference import difference
from handletime.answers.figures import Value
from handletime.answers.registry import METRICS


@pytest.mark.parametrize(
    ("key", "value", "before", "told"),
    [
        ("totalAgentConversationSegments", 162, 150, ("▲", "+12 (+8.0 %)", "")),
        ("totalAgentConversationSegments", 1, 0, ("▲", "+1", "")),
        ("totalAgentConversationSegments", 0, 2500, ("▼", "−2,500 (−100 %)", "")),
        ("totalAgentConversationSegments", 7, 7, ("=", "±0", "")),
        ("medianResponseMillis", 60_000, 75_000, ("▼", "−15 s (−20 %)", "better")),
        ("medianResponseMillis", 75_000, 60_000, ("▲", "+15 s (+25 %)", "worse")),
        ("avgTimetoFirstAgentMessageFromAgentAssignment", 3, 2, ("▲", "+1 ms (+50 %)", "worse")),
        ("medianHandleTimeMillis", 75_000, 60_000, ("▲", "+15 s (+25 %)", "")),
        ("totalHandleTimeMillis", 0, 60_000, ("▼", "−1 min (−100 %)", "")),
        ("interactiveAgentSegmentPercent", 64.3, 50.0, ("▲", "+14.3 points", "better")),
        ("abandonedSkillSegmentPercent", 12.0, 10.0, ("▲", "+2.0 points", "worse")),
        ("nonResponsiveConsumerAgentSegmentPercent", 12.0, 10.0, ("▲", "+2.0 points", "")),
        ("avgAgentMessagesinAgentSegment", 2.5, 2.0, ("▲", "+0.5 (+25 %)", "")),
        ("medianQueueWaitMillis", 1000, 2000, ("▼", "−1.0 s (−50 %)", "better")),
        ("medianResponseMillis", 60_352, 60_000, ("▲", "+0.3 s (+0.6 %)", "")),
        ("medianResponseMillis", 60_599, 60_000, ("▲", "+0.5 s (+1.0 %)", "")),
        ("medianResponseMillis", 60_600, 60_000, ("▲", "+0.6 s (+1.0 %)", "worse")),
        ("medianResponseMillis", 60_099, 60_000, ("=", "±0", "")),
        ("medianResponseMillis", 600, 900, ("▼", "−300 ms (−33 %)", "better")),
        ("interactiveAgentSegmentPercent", 50.04, 50.0, ("=", "±0", "")),
        ("interactiveAgentSegmentPercent", 50.4, 50.0, ("▲", "+0.4 points", "")),
        ("interactiveAgentSegmentPercent", 49.5, 50.0, ("▼", "−0.5 points", "worse")),
        ("avgAgentMessagesinAgentSegment", 2.51, 2.5, ("=", "±0", "")),
        ("avgQueueWaitMillis", 1000, 2000, ("▼", "−1.0 s (−50 %)", "better")),
    ],
)
def test_a_difference_has_an_arrow_and_a_sign(
    key: str, value: Value, before: Value, told: tuple[str, str, str]
) -> None:
    assert difference(METRICS[key], value, before) == told


@pytest.mark.parametrize(
    ("key", "value", "before"),
    [
        ("medianResponseMillis", None, 1000),
        ("medianResponseMillis", 1000, None),
        ("totalHandleTimeMillis", 1000, None),
        ("avgTimeToResponseFromAgentAssignment", -1, 1000),
        ("avgTimeToResponseFromAgentAssignment", 1000, -1),
    ],
)
def test_what_is_unknown_differs_by_nothing_that_is_known(key: str, value: Value, before: Value) -> None:
    assert difference(METRICS[key], value, before) is None
