"""Plain Python: one loop over the sorted events, an object for each conversation and each segment.

Complete for agent segments, handle time included. Leaves out: accounts (there is one), skills, sources, employees
and groups, skill segments, handle-time units with their reasons (only their sum), single response times (only number
and sum), stable ids, what had no effect and why, the handle time of segments that are still running.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.peers import FOLLOWED_BY_FIRST_RESPONSE, Summary, program

RANKS = {
    "opened": 0,
    "resumed": 0,
    "transferred": 1,
    "assigned": 2,
    "focused": 3,
    "unfocused": 3,
    "message": 4,
    "closed": 5,
}
CLOSED = {"consumer": "closedByConsumer", "agent": "closedByAgent", "system": "closedBySystem"}
TRANSFERRED = {"agent": "agentTransfer", "skill": "skillTransfer", "backToQueue": "backToQueue", "takeover": "other"}

Event = tuple[int, int, int, str, str, int, str, int | None, str | None, str | None, str | None, str | None]
"""What the order needs (time, sequence, rank, event id, conversation id, place in the file), then the type, agent,
user type, sender, reason and who closed. The place is there so that comparing never gets to the rest."""


class Segment:
    """One agent segment, and the stopwatch of its handle time."""

    __slots__ = (
        "agent", "agent_messages", "end", "end_reason", "first_response", "followed", "follows", "handle_time",
        "human", "looks_since", "outcome", "perhaps", "response_millis", "responses", "start", "waits_since",
        "writing",
    )  # fmt: skip

    def __init__(self, agent: int, human: bool, start: int, follows: str, spoken: bool, looking: bool) -> None:
        self.agent, self.human, self.start, self.follows = agent, human, start, follows
        self.end: int | None = None
        self.end_reason = self.outcome = ""
        self.agent_messages = self.responses = self.response_millis = self.handle_time = 0
        self.first_response: int | None = None
        self.followed = self.writing = False
        self.perhaps = 0  # handle time if the agent's next message comes before the consumer's
        self.waits_since = start if spoken else None
        self.looks_since = start if looking and human else None

    def look_until(self, time: int) -> None:
        """Counts the time since the last event, if the agent looked on."""
        if self.looks_since is not None:
            if self.waits_since is not None:
                self.handle_time += time - self.looks_since
            elif self.writing:
                self.perhaps += time - self.looks_since
            self.looks_since = time

    def consumer_wrote(self, time: int) -> None:
        self.look_until(time)
        self.writing, self.perhaps = False, 0
        self.followed = self.followed or self.agent_messages > 0
        if self.waits_since is None:
            self.waits_since = time

    def agent_wrote(self, time: int) -> None:
        self.look_until(time)
        timely = self.follows in FOLLOWED_BY_FIRST_RESPONSE
        if not self.agent_messages and timely:
            self.first_response = time - self.start
        if self.waits_since is not None and (self.agent_messages or timely):
            self.responses += 1
            self.response_millis += time - self.waits_since
        self.handle_time += self.perhaps
        self.writing, self.perhaps, self.waits_since = True, 0, None
        self.agent_messages += 1

    def ends(self, time: int, reason: str) -> None:
        self.look_until(time)
        self.end, self.end_reason = time, reason
        if self.agent_messages:
            self.outcome = "interactive" if self.followed else "nonResponsiveConsumer"
        else:
            self.outcome = "abandoned" if reason == "closedByConsumer" else "nonResponsiveAgent"


class Conversation:
    """The state of one conversation."""

    __slots__ = ("closed", "follows", "open", "segment", "spoken")

    def __init__(self) -> None:
        self.open = self.closed = self.spoken = False
        self.follows = "newConversation"
        self.segment: Segment | None = None


def read(path: Path) -> list[Event]:
    """The events as a list of tuples."""
    table = pq.read_table(path)
    column = {name: _plain(table[name]).to_pylist() for name in table.column_names}
    ranks = [RANKS[type_] for type_ in column["type"]]
    order = (column["time"], column["sequence"], ranks, column["eventId"], column["conversationId"])
    rest = (column[name] for name in ("type", "agentId", "userType", "sentBy", "reason", "closedBy"))
    return list(zip(*order, range(table.num_rows), *rest, strict=True))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times as integers and closed lists as strings, from which Arrow makes Python's lists much faster."""
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64())
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def segments(events: list[Event]) -> list[Segment]:
    """All agent segments, in the order of their starts."""
    found: list[Segment] = []
    conversations: dict[str, Conversation] = {}
    focus: dict[int | None, str] = {}
    seen: set[tuple[str, str]] = set()
    for time, _, _, event_id, conversation_id, _, type_, agent, user_type, sent_by, reason, closed_by in sorted(events):
        if (conversation_id, event_id) in seen:
            continue
        seen.add((conversation_id, event_id))
        conversation = conversations.get(conversation_id)
        if conversation is None:
            conversation = conversations[conversation_id] = Conversation()
        segment = conversation.segment

        if type_ == "message":
            if sent_by == "consumer":
                conversation.spoken = True
                if segment is not None:
                    segment.consumer_wrote(time)
            elif sent_by == "agent" and segment is not None and (agent is None or agent == segment.agent):
                segment.agent_wrote(time)

        elif type_ == "focused":
            before = focus.get(agent)
            if before == conversation_id:
                continue
            if before is not None:
                left = conversations[before].segment
                if left is not None and left.agent == agent:
                    left.look_until(time)
                    left.looks_since = None
            focus[agent] = conversation_id
            if segment is not None and segment.agent == agent and segment.human:
                segment.looks_since = time

        elif type_ == "unfocused":
            if focus.get(agent) == conversation_id:
                del focus[agent]
                if segment is not None and segment.agent == agent:
                    segment.look_until(time)
                    segment.looks_since = None

        elif type_ == "opened" or type_ == "resumed":
            if not conversation.open:
                resumed = type_ == "resumed" or conversation.closed
                conversation.open, conversation.closed = True, False
                conversation.follows = "resume" if resumed else "newConversation"

        elif conversation.closed:
            continue

        elif type_ == "assigned":
            assert agent is not None
            if segment is not None:
                if segment.agent == agent:
                    continue
                segment.ends(time, "agentTransfer")
            conversation.open = True
            looking = focus.get(agent) == conversation_id
            segment = Segment(agent, user_type != "bot", time, conversation.follows, conversation.spoken, looking)
            conversation.segment, conversation.follows = segment, "transfer"
            found.append(segment)

        elif type_ == "transferred":
            assert reason is not None
            if segment is not None:
                segment.ends(time, TRANSFERRED[reason])
                conversation.segment = None
            conversation.open = True
            conversation.follows = "takeover" if reason == "takeover" else "transfer"

        else:
            assert closed_by is not None
            if segment is not None:
                segment.ends(time, CLOSED[closed_by])
                conversation.segment = None
            conversation.open, conversation.closed = False, True
    return found


def summary(rows: list[Segment]) -> Summary:
    """Sums over ended segments."""
    ended = [row for row in rows if row.end is not None]
    first_responses = [row.first_response for row in ended if row.first_response is not None]
    return Summary(
        ended=len(ended),
        duration_millis=sum(row.end - row.start for row in ended if row.end is not None),
        agent_messages=sum(row.agent_messages for row in ended),
        first_responses=len(first_responses),
        first_response_millis=sum(first_responses),
        responses=sum(row.responses for row in ended),
        response_millis=sum(row.response_millis for row in ended),
        handle_time_millis=sum(row.handle_time for row in ended),
        outcomes=dict(Counter(row.outcome for row in ended)),
        end_reasons=dict(Counter(row.end_reason for row in ended)),
    )


if __name__ == "__main__":
    program(read, segments, summary)
