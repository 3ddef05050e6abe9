"""Every metric once: its name, unit and meaning, and the sums or single values it is made of (rules.md 4).

Names of LivePerson's operations pages are used as they stand there. What is summed stands in `answers.terms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, Literal

import msgspec

from handletime.answers.terms import Table
from handletime.answers.words import NONE, OUTCOMES, duration
from handletime.targets.targets import Clock

Unit = Literal["count", "responses", "millis", "exactMillis", "percent"]


class Metric(msgspec.Struct, frozen=True):
    """One metric.

    A count is `sum`; an average `sum` / `per`, -1 over nothing, truncated unless it counts responses; one of
    `exactMillis` is not truncated, and 0 over nothing; a share the same in percent; a percentile the nearest rank of
    the single values of `values`.
    """

    name: str
    meaning: str
    sum: str = ""
    per: str = ""
    unit: Unit = "count"
    table: Table = "agentSegments"
    values: str = ""
    percent: int = 0
    label: str = ""

    @property
    def key(self) -> str:
        """A name of its own where two tables have a metric of the same name."""
        return f"skillSegments.{self.name}" if self.table == "skillSegments" and self.name == _SHARED else self.name

    def said(self, value: float | None) -> str:
        """A value of it with its unit; -1 is an average over nothing."""
        if value is None or (value == -1 and (self.per or self.values)):
            return NONE
        match self.unit:
            case "millis" | "exactMillis":
                return duration(value)
            case "percent":
                return f"{value:.0f} %" if value in (0, 100) else f"{value:.1f} %"
            case "responses":
                return f"{value:.1f}"
            case "count":
                return f"{value:,}"


_SHARED: Final = "avgTimetoFirstAgentMessageFromAgentAssignment"

_skill_metric: Final = partial(Metric, table="skillSegments")
_queue_metric: Final = partial(Metric, table="queueSegments")


def _percentiles(what: str, values: str, meaning: str, table: Table = "agentSegments") -> list[Metric]:
    prefixes = (("median", 50, "Half"), ("p90", 90, "Nine in ten"), ("p95", 95, "95 in 100"))
    return [
        Metric(
            f"{prefix}{what}Millis",
            f"{share} of {meaning} are at most this long (nearest rank)",
            unit="millis",
            table=table,
            values=values,
            percent=percent,
            label=prefix,
        )
        for prefix, percent, share in prefixes
    ]


def _waits(what: str, values: str, meaning: str) -> list[Metric]:
    """Percentiles of waits, and the longest one: the rank of 100 percent."""
    longest = _queue_metric(
        f"longest{what}Millis", f"The longest of {meaning}", unit="millis", values=values, percent=100, label="longest"
    )
    return [*_percentiles(what, values, meaning, "queueSegments"), longest]


def _shares(table: Table, per: str, counts: Sequence[Metric]) -> list[Metric]:
    """The shares of outcomes, whose meaning the metrics that count them have."""
    said = {metric.sum: metric.meaning for metric in counts}
    ending = f"{table[0].upper()}{table[1:-1]}Percent"
    return [
        Metric(
            f"{name}{ending}",
            f"Share of {per} segments that ended so: {said[name][0].lower()}{said[name][1:]}",
            name,
            "segments",
            "percent",
            table,
            label=OUTCOMES[name].replace("non-responsive ", "non-resp.\n"),
        )
        for name in ("interactive", "nonResponsiveConsumer", "abandoned", "nonResponsiveAgent")
    ]


AGENT_METRICS: Final = (
    Metric("totalAgentConversationSegments", "Agent segments that ended", "segments", label="segments"),
    Metric(
        "avgAgentMessagesinAgentSegment",
        "Responses per segment, not messages; the first answer after a takeover or resume is none",
        "responses",
        "segments",
        "responses",
        label="responses\nper segment",
    ),
    Metric(
        "avgAgentSegmentDuration",
        "From the assignment to the end of the segment",
        "duration",
        "segments",
        "millis",
        label="duration",
    ),
    Metric("interactiveAgentSegments", "The agent wrote, and a consumer message follows", "interactive"),
    Metric("agentSegmentsAbandonedByConsumers", "Closed by the consumer without a message of the agent", "abandoned"),
    Metric(
        "agentSegmentsWithNonResponsiveConsumers",
        "The agent wrote, and no consumer message follows",
        "nonResponsiveConsumer",
    ),
    Metric(
        "agentSegmentsWithNonResponsiveAgents", "Ended otherwise without a message of the agent", "nonResponsiveAgent"
    ),
    Metric(
        "avgTimetoFirstAgentMessageFromAgentAssignment",
        "First response: from the assignment to the agent's first message; not after a takeover or resume",
        "firstResponse",
        "firstResponses",
        "millis",
        label="average",
    ),
    Metric(
        "avgTimetoFirstAgentMessageFromAgentAssignment_AfterTransfer",
        "First response in segments that follow a transfer",
        "firstResponseAfterTransfer",
        "firstResponsesAfterTransfer",
        "millis",
    ),
    Metric(
        "avgTimetoFirstAgentMessageFromAgentAssignment_NewConversation",
        "First response in segments that follow the opening of a new conversation",
        "firstResponseNew",
        "firstResponsesNew",
        "millis",
    ),
    Metric(
        "avgTimeToResponseFromAgentAssignment",
        "Response time, per response: from the start of the consumer's wait to the agent's next message",
        "response",
        "responses",
        "millis",
        label="average",
    ),
)
"""The metrics of LivePerson's page "Messaging Agent Segment", in its order."""

SKILL_METRICS: Final = (
    _skill_metric("totalSkillConversationSegments", "Skill segments that ended", "segments", label="segments"),
    _skill_metric(
        "skillSegmentsAbandonedByConsumers", "Closed by the consumer without a message of an agent", "abandoned"
    ),
    _skill_metric(
        "skillSegmentsAbandonedByConsumersInQueue",
        "Closed by the consumer while nobody was assigned, without a message of an agent",
        "abandonedInQueue",
        label="abandoned\nin queue",
    ),
    _skill_metric(
        "skillSegmentsWithNonResponsiveConsumers",
        "An agent wrote, and no consumer message follows",
        "nonResponsiveConsumer",
    ),
    _skill_metric(
        "skillSegmentsWithNonResponsiveAgents", "Ended otherwise without a message of an agent", "nonResponsiveAgent"
    ),
    _skill_metric("interactiveSkillSegments", "An agent wrote, and a consumer message follows", "interactive"),
    _skill_metric(
        _SHARED,
        "From an assignment to the agent's first message, on average over the agent segments in these skill segments",
        "firstResponse",
        "firstResponses",
        "millis",
    ),
)
"""The metrics of LivePerson's page "Messaging Skill Segment", in its order."""

_CLOSED_BY: Final = {
    "": ("", "closes", "time"),
    "_byCCP": (" by an agent", "byAgent", "timeByAgent"),
    "_byConsumer": (" by the consumer", "byConsumer", "timeByConsumer"),
    "_bySystem": (" by the system", "bySystem", "timeBySystem"),
}
"""Whose closes: the ending of a metric's name, its meaning, and the sums of `answers.closes`."""

CLOSE_METRICS: Final = (
    *(
        Metric(f"resolvedConversations{ending}", f"Conversations that were closed{who}", count)
        for ending, (who, count, _) in _CLOSED_BY.items()
        if ending
    ),
    Metric("totalResolvedConversations", "Conversations that were closed", "closes"),
    *(
        Metric(
            f"totalHandlingTime_resolvedConversations{ending}",
            f"From the opening to the close, of conversations that were closed{who}",
            time,
            unit="millis",
        )
        for ending, (who, _, time) in _CLOSED_BY.items()
    ),
    *(
        Metric(
            f"avgTime_resolvedConversations{ending}",
            f"From the opening to the close{who}, not truncated; 0 over nothing",
            time,
            count,
            "exactMillis",
        )
        for ending, (who, count, time) in _CLOSED_BY.items()
    ),
)
"""The metrics of LivePerson's page "Messaging Conversation". They are of closes, which are no table."""

QUEUE_METRICS: Final = (
    _queue_metric("totalQueueSegments", "Queue segments that ended: nobody was assigned", "segments", label="segments"),
    _queue_metric("queueSegmentsAssigned", "Ended by an assignment", "assigned", label="assigned"),
    _queue_metric(
        "queueSegmentsAbandonedByConsumers",
        "Closed by the consumer while nobody was assigned",
        "abandoned",
        label="abandoned",
    ),
    _queue_metric("queueSegmentsTransferred", "Went on to the queue of another skill", "transferred"),
    _queue_metric("queueSegmentsClosed", "Closed by an agent or the system while nobody was assigned", "closed"),
    _queue_metric(
        "abandonedQueueSegmentsPercent",
        "Share of queue segments that the consumer closed",
        "abandoned",
        "segments",
        "percent",
        label="abandoned",
    ),
    _queue_metric("totalQueueWaitMillis", "Sum of the waits that ended by an assignment", "wait", unit="millis"),
    _queue_metric(
        "avgQueueWaitMillis", "Wait in the queue until an assignment", "wait", "assigned", "millis", label="average"
    ),
    *_waits("QueueWait", "queueWait", "the waits in the queue until an assignment"),
    _queue_metric(
        "totalAbandonedQueueWaitMillis",
        "Sum of the waits that ended by the consumer's close",
        "abandonedWait",
        unit="millis",
    ),
    _queue_metric(
        "avgAbandonedQueueWaitMillis",
        "Wait in the queue until the consumer's close",
        "abandonedWait",
        "abandoned",
        "millis",
    ),
    *_waits("AbandonedQueueWait", "abandonedWait", "the waits in the queue until the consumer's close"),
)
"""Metrics of queue segments (rules.md 2.5), which are on no page of LivePerson's."""

OUR_METRICS: Final = (
    Metric(
        "agentMessages", "Messages that the assigned agents wrote, responses or not", "agentMessages", label="messages"
    ),
    *_shares("agentSegments", "agent", AGENT_METRICS),
    *_shares("skillSegments", "skill", SKILL_METRICS),
    *_percentiles(
        "FirstResponse", "firstResponse", "the first responses, from the assignment to the agent's first message,"
    ),
    *_percentiles(
        "Response",
        "response",
        "the single responses, from the start of the consumer's wait to the agent's next message,",
    ),
    Metric(
        "segmentsWithFocusData",
        "Human segments of agents of whom there is any focus event; only these have a handle time",
        "handled",
        label="segments\nwith focus",
    ),
    Metric("totalHandleTimeMillis", "Sum of all handle-time units", "handleTime", unit="millis", label="total"),
    Metric(
        "avgHandleTimeMillis",
        "How long agents looked at a conversation while its consumer waited for them, or between two messages of their "
        "own in a row: the handle-time units of a segment together, per human segment with focus data",
        "handleTime",
        "handled",
        "millis",
        label="average",
    ),
    *_percentiles("HandleTime", "handleTime", "the handle times, the sum of a segment's handle-time units,"),
)
"""Metrics that are on no page of LivePerson's."""

PARTS: Final = (
    Metric("agentSegmentDurationMillis", "Sum of the durations of agent segments", "duration", unit="millis"),
    Metric("firstResponseCount", "Agent segments with a valid first response", "firstResponses"),
    Metric("firstResponseMillis", "Sum of the first responses", "firstResponse", unit="millis"),
    Metric(
        "firstResponseAfterTransferCount",
        "First responses in segments that follow a transfer",
        "firstResponsesAfterTransfer",
    ),
    Metric("firstResponseAfterTransferMillis", "Sum of these", "firstResponseAfterTransfer", unit="millis"),
    Metric(
        "firstResponseNewConversationCount",
        "First responses in segments that follow the opening of a new conversation",
        "firstResponsesNew",
    ),
    Metric("firstResponseNewConversationMillis", "Sum of these", "firstResponseNew", unit="millis"),
    Metric("responseCount", "Responses", "responses"),
    Metric("responseMillis", "Sum of the response times", "response", unit="millis"),
    _skill_metric(
        "skillSegmentFirstResponseCount", "First responses of the agent segments in skill segments", "firstResponses"
    ),
    _skill_metric("skillSegmentFirstResponseMillis", "Sum of these", "firstResponse", unit="millis"),
)
"""The sums that averages are made of, where they are no metric: columns of reports, so that every tool can roll up."""

CLOCK_TABLES: Final[dict[Clock, Table]] = {
    "firstResponse": "agentSegments",
    "response": "agentSegments",
    "queueWait": "queueSegments",
}
"""Whose segments the verdicts of a clock belong to (rules.md 5.2)."""
_CLOCK_WORDS: Final[dict[Clock, tuple[str, str]]] = {
    "firstResponse": ("First responses", "first\nresponse"),
    "response": ("Responses", "response"),
    "queueWait": ("Waits in the queue", "queue\nwait"),
}


def _levels(clock: Clock) -> list[Metric]:
    """The service level of a clock, and the counts beside it."""
    table, (what, label) = CLOCK_TABLES[clock], _CLOCK_WORDS[clock]
    counts = {"Met": "within their target", "Missed": "later than their target, or never where it had passed"}
    if clock != "response":
        counts["Left"] = "without a verdict: they ended otherwise; in no service level"
    each = [
        Metric(f"{clock}{verdict}Count", f"{what} {meaning}", f"{clock}{verdict}", table=table, label=verdict.lower())
        for verdict, meaning in counts.items()
    ]
    level = Metric(
        f"{clock}ServiceLevelPercent",
        f"{what} within their target: met / (met + missed)",
        f"{clock}Met",
        f"{clock}Judged",
        "percent",
        table,
        label=label,
    )
    return [*each, level]


LEVELS: Final[dict[str, Clock]] = {metric.key: clock for clock in CLOCK_TABLES for metric in _levels(clock)}
"""The clock of each metric of service levels, by the metric's key."""
LEVEL_METRICS: Final = tuple(metric for clock in CLOCK_TABLES for metric in _levels(clock))
"""Service levels and their counts (rules.md 5), which there are where an account has targets. Their sums stand in no
table of segments: `answers.levels` has them.
"""

METRICS: Final = {metric.key: metric for metric in (*AGENT_METRICS, *SKILL_METRICS, *QUEUE_METRICS, *OUR_METRICS)}
HANDLE_TIME: Final = frozenset(metric.key for metric in OUR_METRICS if "HandleTime" in metric.name)
"""Metrics that are unknown where there is no focus data."""
WITH_LEVELS: Final = METRICS | {metric.key: metric for metric in LEVEL_METRICS}
"""All that segments are asked for, service levels too."""
