"""Numbers, times and the names of things as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from handletime.answers.registry import Metric
from handletime.durations import duration
from handletime.events.model import EPOCH

NONE: Final = "–"
"""An average over nothing, a percentile of nothing."""

OUTCOMES: Final = {
    "interactive": "interactive",
    "nonResponsiveConsumer": "non-responsive consumer",
    "nonResponsiveAgent": "non-responsive agent",
    "abandoned": "abandoned",
}
END_REASONS: Final = {
    "closedByConsumer": "closed by the consumer",
    "closedByAgent": "closed by the agent",
    "closedBySystem": "closed by the system",
    "agentTransfer": "passed to another agent",
    "skillTransfer": "passed to another skill",
    "backToQueue": "back to the queue",
    "other": "taken over",
}
FOLLOWS: Final = {
    "newConversation": "a new conversation",
    "resume": "a resumption",
    "transfer": "a transfer",
    "takeover": "a takeover",
}
UNIT_STARTS: Final = {
    "consumerMessage": "the consumer wrote",
    "conversationEntered": "the agent selected the conversation",
    "conversationAssigned": "assigned while the agent looked and the consumer waited",
    "agentMessage": "the agent wrote, and writes again next",
}
UNIT_ENDS: Final = {
    "agentResponse": "the agent wrote",
    "conversationExited": "the focus left",
    "conversationClosed": "the conversation was closed",
    "conversationTransferred": "the conversation was passed on",
}
NOT_HANDLED: Final = {
    "notOpen": "the conversation is not open",
    "nobodyAssigned": "nobody is assigned",
    "bot": "a bot has it, and bots do not handle",
    "focusElsewhere": "the agent's focus is elsewhere",
    "noFocusData": "no focus data: where the agent looks is unknown",
    "nobodyWaits": "the agent looks, but nobody waits and it writes nothing more",
    "running": "still running: known once it ends",
}
NO_EFFECT: Final = {
    "messageWhileClosed": "the conversation is closed",
    "messageBeforeOpening": "the conversation is not open yet",
    "messageWithNobodyAssigned": "nobody is assigned",
    "messageByAnotherAgent": "not by the assigned agent",
    "systemMessage": "not by a person of the conversation",
    "assignedTwice": "the agent has it already",
    "assignedWhileClosed": "the conversation is closed",
    "transferredWhileClosed": "the conversation is closed",
    "closedWhileClosed": "it is closed already",
    "openedWhileOpen": "it is open already",
    "focusedAlready": "the focus is here already",
    "unfocusedWithoutFocus": "the focus was not here",
    "withdrawn": "it was taken back",
}
CLAUSES: Final = {
    "1 State": "What opens and closes a conversation, and what counts for nothing while it is closed.",
    "1 Focus": "An agent's focus moves by the agent's own focus events alone, one conversation at a time. A focus with "
    "a lease ends by itself unless it is said again.",
    "1 Copies": "Of copies of one event the highest revision stands; a withdrawn event does nothing.",
    "2.1": "An agent segment goes from an assignment to a close, a transfer or the next assignment.",
    "2.3": "Only the consumer's messages and those of the assigned agent count.",
    "2.4": "Every ended segment has exactly one outcome.",
    "3.2": "The consumer waits from a message on until the assigned agent writes; after a transfer from its start on.",
    "3.3": "Handled is only what a human agent looks at while the consumer waits, or between two messages in a row.",
    "3.3 a": "Handled: the agent's focus is here and the consumer waits.",
    "3.3 b": "Handled: the agent's focus is here, between two of the agent's messages in a row.",
}
"""What the clauses of rules.md say, in a sentence each."""


def value(metric: Metric, number: float | None) -> str:
    """A metric's value with its unit; -1 is an average over nothing."""
    if number is None or (number == -1 and (metric.per or metric.values)):
        return NONE
    match metric.unit:
        case "millis":
            return duration(number)
        case "percent":
            return f"{number:.0f} %" if number in (0, 100) else f"{number:.1f} %"
        case "responses":
            return f"{number:.1f}"
        case _:
            return f"{number:,}"


def local(millis: int, zone: ZoneInfo) -> datetime:
    """A moment on the clocks of a zone; one outside the years 1 to 9999 is moved to their edge."""
    try:
        return (EPOCH + timedelta(milliseconds=millis)).astimezone(zone)
    except OverflowError:
        return EPOCH + timedelta(milliseconds=millis)


def which_of_two(at: datetime) -> str:
    """The offset from UTC, ` +02:00`, of a time that the clocks show twice as they are put back; else ""."""
    first, second = at.replace(fold=0).utcoffset(), at.replace(fold=1).utcoffset()
    return f" {offset_of(at)}" if first is not None and second is not None and first > second else ""


def offset_of(at: datetime) -> str:
    """The offset from UTC of a moment in a zone: `+02:00`."""
    return at.isoformat()[len(at.replace(tzinfo=None).isoformat()) :]


def moment(millis: int, zone: ZoneInfo, *, seconds: bool = True) -> str:
    """A moment as people read it: 2026-11-20 09:04:31; in an hour that comes twice with its offset."""
    at = local(millis, zone)
    return at.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M") + which_of_two(at)


def clock(millis: int, zone: ZoneInfo) -> str:
    """The time of day with milliseconds: 09:04:31.250; in an hour that comes twice with its offset."""
    at = local(millis, zone)
    return at.strftime("%H:%M:%S.%f")[:-3] + which_of_two(at)
