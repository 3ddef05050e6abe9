"""What each column of each table means, once: for docs/tables.md and for what an export says of itself.

Words in backquotes are values, or columns.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Meaning(NamedTuple):
    """What a column means; `null` says when it is empty, and is empty itself where it never is."""

    meaning: str
    null: str = ""


_ACCOUNT: Final = Meaning("The account")
_CONVERSATION: Final = Meaning("The conversation")
_SEGMENT: Final = Meaning("Its agent segment")
_RUNS: Final = "while it runs"
_OUTCOME: Final = Meaning("`interactive`, `nonResponsiveConsumer`, `abandoned`, `nonResponsiveAgent`", _RUNS)

TABLES: Final = {
    "events": "One row an event (rules 1)",
    "agent_segments": "One row an agent segment (rules 2.1)",
    "skill_segments": "One row a skill segment (rules 2.2)",
    "queue_segments": (
        "One row a queue segment (rules 2.5): a stretch in which the conversation was open and nobody was assigned"
    ),
    "handle_time_units": "One row a handle-time unit that has ended (rules 3.3)",
}
"""What a row of each table is."""

COLUMNS: Final[dict[str, dict[str, Meaning]]] = {
    "events": {
        "eventId": Meaning("Its id, unique within the conversation"),
        "conversationId": _CONVERSATION,
        "time": Meaning("When it happened"),
        "sequence": Meaning("Orders events of one millisecond"),
        "revision": Meaning("The highest of its copies stands; 0 is what was sent first"),
        "accountId": _ACCOUNT,
        "type": Meaning(
            "`opened`, `assigned`, `message`, `transferred`, `focused`, `unfocused`, `closed`, `resumed`, `withdrawn`"
        ),
        "agentId": Meaning("The agent", "where it is of no agent, or names none"),
        "employeeId": Meaning("The agent's employee id", "but on `assigned`, where it says one"),
        "groupId": Meaning("The agent's group; −1: none", "but on `assigned`"),
        "userType": Meaning("`human`, `bot`", "but on `assigned`"),
        "skillId": Meaning("The skill that becomes current", "where it changes none"),
        "source": Meaning("Where the conversation comes from", "but on `opened` and `resumed`, where they say one"),
        "leaseMillis": Meaning("How long the focus holds unless it is said again, in ms", "where it has no end"),
        "sentBy": Meaning("`consumer`, `agent`, `system`", "but on `message`"),
        "reason": Meaning("`agent`, `skill`, `backToQueue`, `takeover`", "but on `transferred`"),
        "closedBy": Meaning("`consumer`, `agent`, `system`", "but on `closed`"),
    },
    "agent_segments": {
        "accountId": _ACCOUNT,
        "conversationId": _CONVERSATION,
        "segmentId": Meaning("Stable id: the same events give the same id on every machine"),
        "assignedEventId": Meaning("The event that started it"),
        "agentId": Meaning("Its agent"),
        "employeeId": Meaning("As the `assigned` says", "where it says none"),
        "groupId": Meaning("As the `assigned` says; −1: none"),
        "userType": Meaning("`human`, `bot`"),
        "skillId": Meaning("The skill current at its start; −1: none"),
        "skillSegmentSequence": Meaning("The skill segment it lies in: its `sequence`"),
        "source": Meaning("The conversation's source at its start", "where it has none"),
        "follows": Meaning("`newConversation`, `resume`, `transfer`, `takeover`"),
        "start": Meaning("The assignment"),
        "end": Meaning("When it ended", _RUNS),
        "endReason": Meaning(
            "`closedByConsumer`, `closedByAgent`, `closedBySystem`, `agentTransfer`, `skillTransfer`, `backToQueue`, "
            "`other` (a takeover)",
            _RUNS,
        ),
        "outcome": _OUTCOME,
        "agentMessages": Meaning("All counted messages of its agent"),
        "firstResponseMillis": Meaning(
            "From the start to the agent's first message",
            "where there is none, or the segment follows a takeover or resume",
        ),
        "responseMillis": Meaning("Each response, in order of time"),
        "totalHandleTimeMillis": Meaning("The sum of its units; 0 for a bot", "where `focusData` is false"),
        "focusData": Meaning("Whether there is any `focused` event of its agent, in any conversation"),
        "queuedSince": Meaning("The start of the queue segment that the assignment ended", "where it ended none"),
        "responseWaitingSince": Meaning("When the wait for each response began, in the order of `responseMillis`"),
        "firstMessageIsResponse": Meaning("Whether the agent's first message is the first of the responses"),
    },
    "skill_segments": {
        "accountId": _ACCOUNT,
        "conversationId": _CONVERSATION,
        "sequence": Meaning("Counts from 1 within the conversation"),
        "skillId": Meaning("Its skill; −1: none"),
        "userType": Meaning("Of its agent segments: `none`, `human`, `bot`, `mixed`"),
        "start": Meaning("When it started"),
        "end": Meaning("When it ended", _RUNS),
        "endReason": Meaning(
            "`closedByConsumer`, `closedByAgent`, `closedBySystem`, or `skillTransfer` where the skill changed", _RUNS
        ),
        "outcome": _OUTCOME,
        "abandonedInQueue": Meaning("Abandoned, and nobody was assigned when the consumer closed", _RUNS),
        "firstResponseMillis": Meaning("The first responses of its agent segments, ascending"),
    },
    "queue_segments": {
        "accountId": _ACCOUNT,
        "conversationId": _CONVERSATION,
        "sequence": Meaning("Counts from 1 within the conversation"),
        "skillId": Meaning("Its skill; −1: none"),
        "skillSegmentSequence": Meaning("The skill segment it lies in: its `sequence`"),
        "source": Meaning("The conversation's source at its start", "where it has none"),
        "follows": Meaning(
            "What brought the conversation to the queue: `newConversation`, `resume`, `agentTransfer`, "
            "`skillTransfer`, `backToQueue`, `takeover`"
        ),
        "fromUserType": Meaning("Who had it before, since its latest opening: `human`, `bot`, `none`"),
        "toUserType": Meaning("Who got it: `human`, `bot`", "where it was not assigned"),
        "start": Meaning("When it started"),
        "end": Meaning("When it ended", _RUNS),
        "endReason": Meaning(
            "`assigned`, `skillTransfer`, `closedByConsumer`, `closedByAgent`, `closedBySystem`", _RUNS
        ),
    },
    "handle_time_units": {
        "accountId": _ACCOUNT,
        "conversationId": _CONVERSATION,
        "segmentId": _SEGMENT,
        "agentId": Meaning("Its agent"),
        "sequence": Meaning("Counts from 1 within the segment, in order of time"),
        "startReason": Meaning("`consumerMessage`, `conversationEntered`, `conversationAssigned`, `agentMessage`"),
        "endReason": Meaning("`agentResponse`, `conversationExited`, `conversationClosed`, `conversationTransferred`"),
        "start": Meaning("When it started"),
        "end": Meaning("When it ended"),
        "handleTimeMillis": Meaning("From start to end; more than 0"),
    },
}
