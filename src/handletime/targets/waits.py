"""The waits of segments, for which clocks run: of segments that ended, and of those that still run (rules.md 5.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from handletime.targets.targets import FIRST_RESPONSE_AFTER, AccountTargets, Judged, Of, Target, Wait, judge


class AgentSegment(NamedTuple):
    """What clocks ask of an agent segment. Times are epoch milliseconds, lengths milliseconds; `end` is None while it
    runs. `responses` has each wait's start and length, `waiting_since` is that of a wait which goes on.
    """

    of: Of
    end: int | None
    follows: str
    queued_since: int | None
    first_response: int | None
    responses: Sequence[tuple[int, int]]
    first_is_response: bool
    wrote: bool
    waiting_since: int | None = None

    def waits(self, target: Target) -> Iterator[Wait]:
        """The waits for which a target may set a clock, in order of clocks and time."""
        counts_first = self.follows in FIRST_RESPONSE_AFTER
        if counts_first:
            queued = self.queued_since if target.first_response_from == "queued" else None
            start = self.of.start if queued is None else queued
            answered = None if self.first_response is None else self.of.start + self.first_response
            yield Wait("firstResponse", start, answered, self.end)
        left_out = self.first_is_response and not target.response_first
        for since, length in self.responses[1 if left_out else 0 :]:
            yield Wait("response", since, since + length, self.end)
        would_be_one = self.wrote or (counts_first and target.response_first)
        if self.end is None and self.waiting_since is not None and would_be_one:
            yield Wait("response", self.waiting_since)


class QueueSegment(NamedTuple):
    """What clocks ask of a queue segment; `end` and `end_reason` are None while it runs."""

    of: Of
    end: int | None
    end_reason: str | None

    def waits(self, _target: Target) -> Iterator[Wait]:
        """Its one wait."""
        answered = self.end if self.end_reason == "assigned" else None
        yield Wait("queueWait", self.of.start, answered, self.end, self.end_reason == "closedByConsumer")


def judged(targets: AccountTargets, segment: AgentSegment | QueueSegment, now: int) -> Iterator[Judged]:
    """What each wait of a segment is to its target at a moment, in order; only those for which it sets a clock."""
    target = targets.first(segment.of)
    if target is None:
        return
    for wait in segment.waits(target):
        found = judge(target, wait, now)
        if found is not None:
            yield found
