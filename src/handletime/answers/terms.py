"""What is summed over segments, as SQL over the columns of `segments.tables`: metrics ask for it, the store keeps it.

Sums add up over any groups and intervals. So averages are taken last, and agree at every level (rules.md 4).
"""

from __future__ import annotations

from typing import Final, Literal

Table = Literal["agentSegments", "skillSegments", "queueSegments"]

RELATIONS: Final[dict[Table, str]] = {
    "agentSegments": "agent_segments",
    "skillSegments": "skill_segments",
    "queueSegments": "queue_segments",
}
"""The tables' names in queries."""

LENGTH: Final = '(epoch_us("end") - epoch_us(start)) // 1000'
"""How long a segment was, in milliseconds."""

SUMS: Final[dict[Table, dict[str, str]]] = {
    "agentSegments": {
        "segments": "1",
        "interactive": "(outcome = 'interactive')::int",
        "nonResponsiveConsumer": "(outcome = 'nonResponsiveConsumer')::int",
        "abandoned": "(outcome = 'abandoned')::int",
        "nonResponsiveAgent": "(outcome = 'nonResponsiveAgent')::int",
        "agentMessages": "agentMessages",
        "duration": LENGTH,
        "firstResponse": "coalesce(firstResponseMillis, 0)",
        "firstResponses": "(firstResponseMillis is not null)::int",
        "firstResponseAfterTransfer": "case when follows = 'transfer' then coalesce(firstResponseMillis, 0) else 0 end",
        "firstResponsesAfterTransfer": "(follows = 'transfer' and firstResponseMillis is not null)::int",
        "firstResponseNew": ("case when follows = 'newConversation' then coalesce(firstResponseMillis, 0) else 0 end"),
        "firstResponsesNew": "(follows = 'newConversation' and firstResponseMillis is not null)::int",
        "response": "coalesce(list_sum(responseMillis), 0)",
        "responses": "len(responseMillis)",
        "humanSegments": "(userType = 'human')::int",
        "handled": "(focusData and userType = 'human')::int",
        "handleTime": "case when focusData and userType = 'human' then totalHandleTimeMillis else 0 end",
    },
    "skillSegments": {
        "segments": "1",
        "interactive": "(outcome = 'interactive')::int",
        "nonResponsiveConsumer": "(outcome = 'nonResponsiveConsumer')::int",
        "abandoned": "(outcome = 'abandoned')::int",
        "abandonedInQueue": "abandonedInQueue::int",
        "nonResponsiveAgent": "(outcome = 'nonResponsiveAgent')::int",
        "firstResponse": "coalesce(list_sum(firstResponseMillis), 0)",
        "firstResponses": "len(firstResponseMillis)",
    },
    "queueSegments": {
        "segments": "1",
        "assigned": "(endReason = 'assigned')::int",
        "abandoned": "(endReason = 'closedByConsumer')::int",
        "transferred": "(endReason = 'skillTransfer')::int",
        "closed": "(endReason in ('closedByAgent', 'closedBySystem'))::int",
        "wait": f"case when endReason = 'assigned' then {LENGTH} else 0 end",
        "abandonedWait": f"case when endReason = 'closedByConsumer' then {LENGTH} else 0 end",
    },
}
"""What one segment adds to each sum. `focusData` is whether the segment's agent has any focus event at all."""

KEPT: Final[dict[Table, dict[str, str]]] = {
    table: {
        name: term
        for name, term in terms.items()
        if term != "1" and "focusData" not in term and term.removesuffix("::int") != name  # else: a column as it is
    }
    for table, terms in SUMS.items()
}
"""The terms that a store keeps as columns: they depend on nothing but the segment's own row."""

_OUTCOMES: Final = {"segments": 1, "interactive": -1, "nonResponsiveConsumer": -1, "abandoned": -1}
MADE: Final[dict[Table, dict[str, dict[str, int]]]] = {
    "agentSegments": {
        "nonResponsiveAgent": _OUTCOMES,
        "firstResponse": {"firstResponseAfterTransfer": 1, "firstResponseNew": 1},
        "firstResponses": {"firstResponsesAfterTransfer": 1, "firstResponsesNew": 1},
    },
    "skillSegments": {"nonResponsiveAgent": _OUTCOMES},
    "queueSegments": {},
}
"""Sums over ended segments that follow from other sums, with the factors of these. They are not queried then.

An ended segment has exactly one outcome (rules.md 2.4); first responses follow a new conversation or a transfer (3.1).
"""

VALUES: Final[dict[Table, dict[str, tuple[str, str]]]] = {
    "agentSegments": {
        "firstResponse": ("[firstResponseMillis]", "firstResponseMillis is not null"),
        "response": ("responseMillis", "true"),
        "handleTime": ("[totalHandleTimeMillis]", "focusData and userType = 'human'"),
    },
    "skillSegments": {},
    "queueSegments": {
        "queueWait": (f"[{LENGTH}]", "endReason = 'assigned'"),
        "abandonedWait": (f"[{LENGTH}]", "endReason = 'closedByConsumer'"),
    },
}
"""Single values, for percentiles: a list for each segment, and which segments have it."""
