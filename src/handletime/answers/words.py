"""How values, times, states, outcomes and effects are said: once, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final, Literal, cast

from handletime.clock import HOUR, MINUTE, SECOND
from handletime.segments import LONG_UNIT_MINUTES

if TYPE_CHECKING:
    from handletime.segments.explain import Moment

Kind = Literal["agent", "skill", "group"]
"""What has ids, and may have names."""

NONE: Final = "–"
"""An average over nothing, a percentile of nothing."""
NO_FOCUS_DATA: Final = "no focus data"
"""Stands in the place of an unknown handle time: no event says where the agent looked."""

STATES: Final = {"queued": "in queue", "waits": "waiting for an answer", "answered": "answered"}
"""States of an open conversation (`answers.live`)."""
OUTCOMES: Final = {
    "interactive": "interactive",
    "nonResponsiveConsumer": "non-responsive consumer",
    "nonResponsiveAgent": "non-responsive agent",
    "abandoned": "abandoned",
}
UNANSWERED_IN_QUEUE: Final = "abandoned in queue, unanswered"
"""What a skill segment was that the consumer closed in queue, if no agent had written in it."""
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
QUEUE_FOLLOWS: Final = {
    "newConversation": "a new conversation",
    "resume": "a resumption",
    "agentTransfer": "a transfer to another agent",
    "skillTransfer": "a transfer to this skill",
    "backToQueue": "going back to the queue",
    "takeover": "a takeover",
}
QUEUE_ENDS: Final = {
    "closedByConsumer": "closed by the consumer",
    "closedByAgent": "closed by an agent",
    "closedBySystem": "closed by the system",
    "skillTransfer": "passed to another skill",
    "assigned": "assigned",
}
CLOCKS: Final = {"firstResponse": "first response", "response": "response", "queueWait": "wait in the queue"}
"""The clocks of targets (rules.md 5.2)."""
VERDICTS: Final = {
    "met": "within its target",
    "missed": "missed its target",
    "left": "without a verdict",
    "pending": "not answered yet",
    "pastDue": "past due",
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
OUTSIDE_SCOPE: Final = "outside of this key's scope"
NOT_HANDLED: Final = {
    "notOpen": "not open",
    "nobodyAssigned": "nobody assigned",
    "bot": "a bot has it",
    "focusElsewhere": "focus elsewhere",
    "noFocusData": NO_FOCUS_DATA,
    "nobodyWaits": "nobody waits",
    "running": "still running",
    "outsideScope": OUTSIDE_SCOPE,
}
"""Why time does not count as handle time."""
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
"""Why an event changed nothing (`segments.rules.EFFECTS`)."""
CLAUSES: Final = {
    "1 State": "What opens and closes a conversation, and what counts for nothing while it is closed.",
    "1 Focus": "An agent's focus moves by the agent's own focus events alone, one conversation at a time. A focus with "
    "a lease ends by itself unless it is said again.",
    "1 Copies": "Of copies of one event the highest revision stands; a withdrawn event does nothing.",
    "2.1": "An agent segment goes from an assignment to a close, a transfer or the next assignment.",
    "2.3": "Only the consumer's messages and those of the assigned agent count.",
    "2.4": "Every ended segment has exactly one outcome.",
    "2.5": "A queue segment goes from where nobody is assigned to an assignment, a close or another skill's queue.",
    "3.2": "The consumer waits from a message on until the assigned agent writes; after a transfer from its start on.",
    "3.3": "Handle time is what a human agent looks at while the consumer waits, or between two messages in a row.",
    "3.3 a": "The agent's focus is here and the consumer waits.",
    "3.3 b": "The agent's focus is here, between two of the agent's messages in a row.",
}
"""What the clauses of rules.md say, in a sentence each."""


def duration(milliseconds: float) -> str:
    """A duration as people say it: 450 ms, 9.9 s, 55 s, 12 min 5 s, 34 h 12 min, 86 h 08 min. Days are no unit of work.

    What is smaller than the last digit is cut off, as everywhere here (rules.md 1 and 4): a wait of 9,996 ms is no
    wait of 10 s. So nothing ever reads as 60 s or 60 min, or as longer than it was.
    `static/charts.js` says the same in the browser, which a test holds.
    """
    whole = int(milliseconds)
    if whole < SECOND:
        return f"{whole} ms" if whole else "0 s"
    if whole < 10 * SECOND:
        return f"{whole // 1000}.{whole // 100 % 10} s"
    if whole < MINUTE:
        return f"{whole // SECOND} s"
    if whole < HOUR:
        rest = whole % MINUTE // SECOND
        return f"{whole // MINUTE} min {rest} s" if rest else f"{whole // MINUTE} min"
    rest = whole % HOUR // MINUTE
    return f"{whole // HOUR:,} h {rest:02} min" if rest else f"{whole // HOUR:,} h"


def count(number: int, singular: str, plural: str = "") -> str:
    """`1 conversation`, `1,025 conversations`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def local(millis: int, zone: tzinfo) -> datetime:
    """A moment on the clocks of a zone; at the edges of the calendar, where it has none there, on those of UTC."""
    seconds, rest = divmod(millis, SECOND)
    try:
        at = datetime.fromtimestamp(seconds, zone)
    except (OverflowError, ValueError):
        at = datetime.fromtimestamp(seconds, UTC)
    return at.replace(microsecond=rest * 1000)


def which_of_two(at: datetime) -> str:
    """The offset from UTC, ` +02:00`, of a time that the clocks show twice as they are put back; else ""."""
    first, second = at.replace(fold=0).utcoffset(), at.replace(fold=1).utcoffset()
    return f" {offset_of(at)}" if first is not None and second is not None and first > second else ""


def offset_of(at: datetime) -> str:
    """The offset from UTC of a moment in a zone: `+02:00`."""
    return at.isoformat()[len(at.replace(tzinfo=None).isoformat()) :]


def moment_exactly(millis: int, zone: tzinfo) -> str:
    """A moment without seconds and milliseconds that are 0: 2026-11-20 09:00; an offset in an hour that comes twice."""
    at = local(millis, zone)
    text = at.replace(tzinfo=None).isoformat(" ", "milliseconds").removesuffix(".000").removesuffix(":00")
    return text + which_of_two(at)


def rfc_3339(millis: int, zone: tzinfo = UTC) -> str:
    """A moment for programs, to the millisecond: with the offset of the zone, `Z` for UTC."""
    text = local(millis, zone).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z" if str(zone) == "UTC" else text


def utc(at: datetime) -> str:
    """A moment in UTC: 2026-11-20 09:04:31Z."""
    return f"{at:%Y-%m-%d %H:%M:%SZ}"


# --- events ----------------------------------------------------------------------------------------------------------


def event(moment: Moment, name: Callable[[Kind, int], str]) -> str:
    """What happened at a moment of an explanation, with names: `assigned to 7 (skill 10)`."""
    detail = {key: value for key, value in moment.detail.items() if _UNSAID.get(key) != value}
    given = detail.pop("agentId", None)
    agent = "" if given is None else name("agent", cast(int, given))
    if given is None and moment.outside_scope and (moment.type == "assigned" or detail.get("sentBy") == "agent"):
        agent = OUTSIDE_SCOPE if moment.type == "message" else f"somebody {OUTSIDE_SCOPE}"
    by, reason, lease = (detail.pop(key, None) for key in ("sentBy", "reason", "leaseMillis"))
    by = detail.pop("closedBy", by)
    texts = {
        "assigned": f"assigned to {agent}",
        "focused": f"{agent} looks here",
        "unfocused": f"{agent} looks away",
        "focusLost": f"{agent} looks at another conversation",
        "leaseEnded": f"{agent}'s focus ends: the lease ended",
        "message": f"message of {by} {agent}".rstrip(),
        "closed": f"closed by {by}",
        "transferred": f"transferred: {reason}",
    }
    further = [
        f"{key} {name(cast('Kind', key), cast(int, value))}" if key in ("skill", "group") else f"{key} {value}"
        for key, value in ((key.removesuffix("Id"), value) for key, value in detail.items())
    ]
    if lease and moment.type == "focused":
        further.append(f"for {duration(cast(int, lease))} at most")
    if moment.revision:
        further.append(f"corrected, revision {moment.revision}")
    return texts.get(moment.type, moment.type) + (f" ({', '.join(further)})" if further else "")


_UNSAID: Final = {"groupId": -1, "userType": "human"}
"""Values that go without saying."""


def queue_segment(row: Mapping[str, object], name: Callable[[Kind, int], str]) -> str:
    """A row of an explanation: `queue segment 1 (skill 10), after a new conversation: 24 s, assigned to a human`."""
    asked = f"queue segment {row['sequence']} (skill {name('skill', cast(int, row['skillId']))})"
    return f"{asked}, {queue_came(row)}: {queue_ended(row)}"


def queue_came(row: Mapping[str, object]) -> str:
    """What brought a conversation to the queue: `from a bot, after a transfer to this skill`."""
    before = "" if row["fromUserType"] == "none" else f"from a {row['fromUserType']}, "
    return f"{before}after {QUEUE_FOLLOWS[str(row['follows'])]}"


def queue_ended(row: Mapping[str, object]) -> str:
    """How long it waited there, and what ended that: `24 s, assigned to a human`."""
    if row["end"] is None:
        return "still running"
    whom = f" to a {row['toUserType']}" if row["toUserType"] is not None else ""
    return f"{duration(cast(int, row['waitMillis']))}, {QUEUE_ENDS[str(row['endReason'])]}{whom}"


# --- what the data are worth -----------------------------------------------------------------------------------------


def begins_in_the_middle(what: str, number: int = 1) -> str:
    """`2 conversations begin in the middle: no opening comes first`."""
    return f"{what} {'begins' if number == 1 else 'begin'} in the middle: no opening comes first"


def left_out(number: int) -> str:
    """`5 more conversations are open that were opened before all of these, and are not counted here`."""
    is_, was = ("is", "was") if number == 1 else ("are", "were")
    what = f"{count(number, 'more conversation')} {is_} open that {was} opened before all of these"
    return f"{what}, and {is_} not counted here"


def without_focus_data(number: int, of: int, what: str) -> str:
    """`2 of 3 human agents have no focus data: handle time is unknown there, not zero`."""
    have = "has" if number == 1 else "have"
    return f"{number:,} of {count(of, what)} {have} {NO_FOCUS_DATA}: handle time is unknown there, not zero"


def no_focus_data_of(name: str) -> str:
    """`Jackdaw's screen sent no focus data: handle time unknown`."""
    return f"{name}'s screen sent {NO_FOCUS_DATA}: handle time unknown"


def long_units(number: int, minutes: int = LONG_UNIT_MINUTES, more: str = "") -> str:
    """`1 handle-time unit is longer than 30 minutes: a focus that nobody ended?`; `more` stands in brackets."""
    units = f"{count(number, 'handle-time unit')} {'is' if number == 1 else 'are'}"
    return f"{units} longer than {minutes} minutes{f' ({more})' if more else ''}: a focus that nobody ended?"
