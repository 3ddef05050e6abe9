"""A queue's keys from the rows of the plain reading, one key after the other: slow, and as http-api.md 3 says it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any, Final

from handletime.answers.queue_health import COUNTS, WAITS

Row = dict[str, Any]
Values = dict[str, int | float]
DAY: Final = 86_400_000
TRANSFERS: Final = ("agentTransfer", "skillTransfer", "backToQueue")


def now_of(rows: Sequence[Row], at: int) -> Values:
    """The keys of what runs at a moment."""
    running = [row for row in rows if row["end"] is None]
    lately = [row for row in running if row["opened"] >= at - DAY]
    return _counts(running, lambda row: bool(row["consumerLast"])) | _waits(
        [(row, max(at - row["start"], 0)) for row in lately]
    )


def over(rows: Sequence[Row], start: int, end: int, *, until_now: bool = False) -> Values:
    """The keys of an interval."""
    assigned = [row for row in rows if row["endReason"] == "assigned" and start <= row["end"] < end]
    there = [row for row in rows if row["start"] < end and (row["end"] is None or row["end"] >= end)]

    def last(row: Row) -> bool:
        if until_now and row["end"] is None:
            return bool(row["consumerLast"])
        return bool(row["fromUserType"] == "none")

    means = {
        name: sum(_overlap(row, start, end) for row in chosen) / max(end - start, 1)
        for name, chosen in (
            ("unassignedConversations", rows),
            ("actionableAndDuringTransfer", [row for row in rows if row["follows"] in TRANSFERS]),
        )
    }
    return _counts(there, last) | means | _waits([(row, row["end"] - row["start"]) for row in assigned])


def is_there(row: Row, start: int, end: int) -> bool:
    """Whether a queue segment ran in an interval, or ended in it."""
    return bool(row["start"] < end and (row["end"] is None or row["end"] >= start))


def _overlap(row: Row, start: int, end: int) -> int:
    until = end if row["end"] is None else min(row["end"], end)
    return int(max(until - max(row["start"], start), 0))


def _counts(rows: Sequence[Row], is_last: Callable[[Row], bool]) -> Values:
    last = [row for row in rows if is_last(row)]
    transfer = [row for row in rows if row["follows"] in TRANSFERS]
    actionable = [row for row in rows if is_last(row) or row["follows"] in TRANSFERS]
    known = {
        "unassignedConversations": len(rows),
        "actionableConversations": len(actionable),
        "actionableAndConsumerLastMessage": len(last),
        "actionableAndDuringTransfer": len(transfer),
        "notActionableConversations": len(rows) - len(actionable),
        "unassignedConversationsAndFirstTimeConsumer": -1,
    }
    return {name: known.get(name, 0) for name in COUNTS}


def _waits(rows: Sequence[tuple[Row, int]]) -> Values:
    ordered = sorted(wait for _, wait in rows)
    chosen = {
        "NewConversation": [wait for row, wait in rows if row["follows"] == "newConversation"],
        "AfterTransfer": [wait for row, wait in rows if row["follows"] in TRANSFERS],
        "AfterTransferFromBot": [wait for row, wait in rows if row["fromUserType"] == "bot"],
        "AfterTransferFromAgent": [wait for row, wait in rows if row["fromUserType"] == "human"],
    }
    values: Values = {
        f"avgWaitTimeForAgentAssignment_{name}": sum(waits) // len(waits) if waits else -1
        for name, waits in chosen.items()
    }
    values["maxWaitTimeForAgentAssignment"] = max(ordered, default=-1)
    values["maxWaitTimeForAgentAssignment_AfterTransferFromAgent"] = max(chosen["AfterTransferFromAgent"], default=-1)
    for percent in (50, 90):
        rank = ordered[ceil(len(ordered) * percent / 100) - 1] if ordered else -1
        values[f"waitTimeForAgentAssignment_{percent}thPercentile"] = rank
    return {name: values[name] for name in WAITS}
