"""How a metric says its values, of each unit."""

import pytest

from handletime.answers.registry import METRICS

SHARE, DURATION, RESPONSES = "abandonedAgentSegmentPercent", "avgAgentSegmentDuration", "avgAgentMessagesinAgentSegment"
COUNT, PERCENTILE = "interactiveAgentSegments", "p90ResponseMillis"


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        *((COUNT, 1025, "1,025"), (COUNT, 0, "0"), (RESPONSES, 2, "2.0"), (RESPONSES, 2.25, "2.2")),
        *((SHARE, 0, "0 %"), (SHARE, 100, "100 %"), (SHARE, 99.5, "99.5 %"), (SHARE, 33.333, "33.3 %")),
        *((DURATION, 725_000, "12 min 5 s"), (PERCENTILE, 0, "0 s")),
        *((DURATION, -1, "–"), (SHARE, -1, "–"), (PERCENTILE, None, "–"), (PERCENTILE, -1, "–")),
    ],
)
def test_a_value_is_said_with_its_unit(metric: str, value: float | None, said: str) -> None:
    assert METRICS[metric].said(value) == said
