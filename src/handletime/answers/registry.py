"""Every metric once: its name, unit and meaning, and the sums or single values it is made of (rules.md 4).

Names of LivePerson's operations pages are used as they stand there. What is summed stands in `answers.terms`.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from handletime.answers.terms import Table
from handletime.answers.words import OUTCOMES

Unit = Literal["count", "responses", "millis", "percent"]

VALUES: Final[dict[Table, dict[str, tuple[str, str]]]] = {
    "agentSegments": {
        "firstResponse": ("[firstResponseMillis]", "firstResponseMillis is not null"),
        "response": ("responseMillis", "true"),
        "handleTime": ("[totalHandleTimeMillis]", "focusData and userType = 'human'"),
    },
    "skillSegments": {},
}
"""Single values, for percentiles: a list for each segment, and which segments have it."""


class Metric(msgspec.Struct, frozen=True):
    """One metric.

    A count is `sum`; an average `sum` / `per`, -1 over nothing, truncated unless it counts responses; a share the
    same in percent; a percentile the nearest rank of the single values of `values`.
    """

    name: str
    table: Table
    unit: Unit
    meaning: str
    sum: str = ""
    per: str = ""
    values: str = ""
    percent: int = 0
    label: str = ""

    @property
    def key(self) -> str:
        """A name of its own where two tables have a metric of the same name."""
        return f"skillSegments.{self.name}" if self.table == "skillSegments" and self.name == _SHARED else self.name


_SHARED: Final = "avgTimetoFirstAgentMessageFromAgentAssignment"


def _percentiles(what: str, values: str, meaning: str) -> tuple[Metric, ...]:
    return tuple(
        Metric(
            f"{prefix}{what}Millis",
            "agentSegments",
            "millis",
            f"{title} of {meaning}, nearest rank",
            values=values,
            percent=percent,
            label=prefix,
        )
        for prefix, percent, title in (
            ("median", 50, "Median"),
            ("p90", 90, "90th percentile"),
            ("p95", 95, "95th percentile"),
        )
    )


def _shares(table: Table, per: str) -> tuple[Metric, ...]:
    prefix = table.removesuffix("s")
    return tuple(
        Metric(
            f"{name}{prefix[0].upper()}{prefix[1:]}Percent",
            table,
            "percent",
            f"Share of {per} segments whose outcome is {title}",
            name,
            "segments",
            label=title.replace("non-responsive ", "non-resp.\n"),
        )
        for name in ("interactive", "nonResponsiveConsumer", "abandoned", "nonResponsiveAgent")
        for title in (OUTCOMES[name],)
    )


AGENT_METRICS: Final = (
    Metric(
        "totalAgentConversationSegments",
        "agentSegments",
        "count",
        "Agent segments that ended",
        "segments",
        label="segments",
    ),
    Metric(
        "avgAgentMessagesinAgentSegment",
        "agentSegments",
        "responses",
        "Responses per segment, not messages; the first answer after a takeover or resume is none",
        "responses",
        "segments",
        label="responses\nper segment",
    ),
    Metric(
        "avgAgentSegmentDuration",
        "agentSegments",
        "millis",
        "From the assignment to the end of the segment",
        "duration",
        "segments",
        label="duration",
    ),
    Metric(
        "interactiveAgentSegments",
        "agentSegments",
        "count",
        "The agent wrote, and a consumer message follows",
        "interactive",
    ),
    Metric(
        "agentSegmentsAbandonedByConsumers",
        "agentSegments",
        "count",
        "Closed by the consumer without a message of the agent",
        "abandoned",
    ),
    Metric(
        "agentSegmentsWithNonResponsiveConsumers",
        "agentSegments",
        "count",
        "The agent wrote, and no consumer message follows",
        "nonResponsiveConsumer",
    ),
    Metric(
        "agentSegmentsWithNonResponsiveAgents",
        "agentSegments",
        "count",
        "Ended otherwise without a message of the agent",
        "nonResponsiveAgent",
    ),
    Metric(
        "avgTimetoFirstAgentMessageFromAgentAssignment",
        "agentSegments",
        "millis",
        "First response: from the assignment to the agent's first message; not after a takeover or resume",
        "firstResponse",
        "firstResponses",
        label="average",
    ),
    Metric(
        "avgTimetoFirstAgentMessageFromAgentAssignment_AfterTransfer",
        "agentSegments",
        "millis",
        "First response in segments that follow a transfer",
        "firstResponseAfterTransfer",
        "firstResponsesAfterTransfer",
    ),
    Metric(
        "avgTimetoFirstAgentMessageFromAgentAssignment_NewConversation",
        "agentSegments",
        "millis",
        "First response in segments that follow the opening of a new conversation",
        "firstResponseNew",
        "firstResponsesNew",
    ),
    Metric(
        "avgTimeToResponseFromAgentAssignment",
        "agentSegments",
        "millis",
        "Response time, per response: from the start of the consumer's wait to the agent's next message",
        "response",
        "responses",
        label="average",
    ),
)
"""The metrics of LivePerson's page "Messaging Agent Segment", in its order."""

SKILL_METRICS: Final = (
    Metric(
        "totalSkillConversationSegments",
        "skillSegments",
        "count",
        "Skill segments that ended",
        "segments",
        label="segments",
    ),
    Metric(
        "skillSegmentsAbandonedByConsumers",
        "skillSegments",
        "count",
        "Closed by the consumer without a message of an agent",
        "abandoned",
    ),
    Metric(
        "skillSegmentsAbandonedByConsumersInQueue",
        "skillSegments",
        "count",
        "… of these, closed while nobody was assigned",
        "abandonedInQueue",
        label="abandoned\nin queue",
    ),
    Metric(
        "skillSegmentsWithNonResponsiveConsumers",
        "skillSegments",
        "count",
        "An agent wrote, and no consumer message follows",
        "nonResponsiveConsumer",
    ),
    Metric(
        "skillSegmentsWithNonResponsiveAgents",
        "skillSegments",
        "count",
        "Ended otherwise without a message of an agent",
        "nonResponsiveAgent",
    ),
    Metric(
        "interactiveSkillSegments",
        "skillSegments",
        "count",
        "An agent wrote, and a consumer message follows",
        "interactive",
    ),
    Metric(
        _SHARED,
        "skillSegments",
        "millis",
        "First response of the agent segments in the skill segments",
        "firstResponse",
        "firstResponses",
    ),
)
"""The metrics of LivePerson's page "Messaging Skill Segment", in its order."""

OUR_METRICS: Final = (
    Metric(
        "agentMessages",
        "agentSegments",
        "count",
        "Messages that the assigned agents wrote, responses or not",
        "agentMessages",
        label="messages",
    ),
    *_shares("agentSegments", "agent"),
    *_shares("skillSegments", "skill"),
    *_percentiles("FirstResponse", "firstResponse", "the first responses"),
    *_percentiles("Response", "response", "the single response times"),
    Metric(
        "segmentsWithFocusData",
        "agentSegments",
        "count",
        "Human segments of agents of whom there is any focus event; only these have a handle time",
        "handled",
        label="segments\nwith focus",
    ),
    Metric(
        "totalHandleTimeMillis",
        "agentSegments",
        "millis",
        "Sum of all handle-time units",
        "handleTime",
        label="total",
    ),
    Metric(
        "avgHandleTimeMillis",
        "agentSegments",
        "millis",
        "Handle time per human segment with focus data",
        "handleTime",
        "handled",
        label="average",
    ),
    *_percentiles("HandleTime", "handleTime", "the handle times of segments"),
)
"""Metrics that are on no page of LivePerson's."""

METRICS: Final = {metric.key: metric for metric in (*AGENT_METRICS, *SKILL_METRICS, *OUR_METRICS)}
HANDLE_TIME: Final = frozenset(metric.key for metric in OUR_METRICS if "HandleTime" in metric.name)
"""Metrics that are unknown where there is no focus data."""
