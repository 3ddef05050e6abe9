"""A slow, literal reading of rules.md, chapters 1 to 3: the judge of the compiled derivation.

Written from the text alone and in its order; the numbers in the comments are the text's clauses. Where it
says "at every moment", there is a question per moment; nothing here is fast, and nothing should be made so.

An account's events stand in one list. A **place** is an index into it; "before", "after" and "within" compare
places, never times. The **gap** of a place is the stretch from its event to the next event of the account.
"""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

Row = dict[str, object]


@dataclass(frozen=True)
class Reading:
    """What a set of events means. Rows of queue segments that run also have `opened` and `consumerLast`.

    Every list is sorted by account, conversation and the place in the order of what starts the row.
    `effects` counts the kept events that changed nothing, by reason; a reason without events is left out.
    """

    agent_segments: list[Row]
    skill_segments: list[Row]
    queue_segments: list[Row]
    handle_time_units: list[Row]
    duplicates: int
    corrected: int
    differing_copies: int
    effects: dict[str, int]


def read(
    events: Sequence[Mapping[str, object]],
    *,
    default_account: str = "local",
    losses: Sequence[Mapping[str, object]] = (),
) -> Reading:
    """Read valid events, in any order and with duplicates, as rules.md 1 to 3 say.

    `losses` are the focus moves of removed conversations: accountId, agentId, time (epoch ms), sequence, and
    position, the number of the agent's present focus events of that time and sequence that come before it.
    """
    copies = [event_of(raw, default_account) for raw in events]
    kept, corrected, differing_copies = without_duplicates(copies)
    all_losses = [_loss(raw, default_account) for raw in losses]

    agent_segments: list[Row] = []
    skill_segments: list[Row] = []
    queue_segments: list[Row] = []
    handle_time_units: list[Row] = []
    effects: Counter[str] = Counter()
    for account in sorted({event.account for event in kept}, key=_utf8):
        order = one_order(
            [event for event in kept if event.account == account],
            [loss for loss in all_losses if loss.account == account],
        )
        focus_after = _focus_after_every_place(order, effects)
        conversations = {entry.conversation for entry in order if isinstance(entry, Event)}
        for conversation in sorted(conversations, key=_utf8):
            story = _story(conversation, order, effects)
            for agent_segment in story.agent_segments:
                units = _handle_time_units(agent_segment, order, focus_after)
                agent_segments.append(_agent_segment_row(agent_segment, units))
                handle_time_units.extend(units)
            skill_segments.extend(_skill_segment_row(segment) for segment in story.skill_segments)
            queue_segments.extend(_queue_segment_row(segment, story) for segment in story.queue_segments)
    return Reading(
        agent_segments=agent_segments,
        skill_segments=skill_segments,
        queue_segments=queue_segments,
        handle_time_units=handle_time_units,
        duplicates=len(copies) - len(kept) - corrected,
        corrected=corrected,
        differing_copies=differing_copies,
        effects=dict(effects),
    )


# --- 1. Events ----------------------------------------------------------------------------------------------

# 1, second table: the fields of its own of each type. For a message, agentId is one only where sentBy is
# agent.
OWN_FIELDS: dict[str, tuple[str, ...]] = {
    "opened": ("source", "skillId"),
    "assigned": ("agentId", "employeeId", "groupId", "userType", "skillId"),
    "message": ("sentBy", "agentId"),
    "transferred": ("reason", "skillId"),
    "focused": ("agentId", "leaseMillis"),
    "unfocused": ("agentId",),
    "closed": ("closedBy",),
    "resumed": ("source", "skillId"),
    "withdrawn": (),
}

# 1, Order: the rank of the type.
RANK: dict[str, int] = {
    "opened": 0,
    "resumed": 0,
    "transferred": 1,
    "assigned": 2,
    "focused": 3,
    "unfocused": 3,
    "message": 4,
    "withdrawn": 5,
    "closed": 6,
}


@dataclass(frozen=True)
class Event:
    """One event, its defaults filled in and the fields that are not its own left out."""

    account: str
    conversation: str
    id: str
    time: int
    sequence: int
    revision: int
    type: str
    canonical_json: bytes
    agent: int | None = None
    employee: str | None = None
    group: int = -1
    user_type: str = "human"
    skill: int | None = None
    source: str | None = None
    sent_by: str | None = None
    reason: str | None = None
    closed_by: str | None = None
    lease: int | None = None


@dataclass(frozen=True)
class LeaseEnd:
    """The moment at which the lease of a `focused` ends (1, Focus). It ends nothing if the focus moved meanwhile."""

    focused: Event
    time: int


@dataclass(frozen=True)
class Loss:
    """One focus move of a removed conversation (1, Removing): the agent selected some other conversation."""

    account: str
    agent: int
    time: int
    sequence: int
    position: int


def event_of(raw: Mapping[str, object], default_account: str) -> Event:
    # 1: "An optional field that is null counts as absent."
    present = {name: value for name, value in raw.items() if value is not None}
    type_ = _text(present["type"])
    own_fields = OWN_FIELDS[type_]
    if type_ == "message" and present["sentBy"] != "agent":
        own_fields = ("sentBy",)

    content: Row = {
        "accountId": _text(present.get("accountId", default_account)),
        "conversationId": _text(present["conversationId"]),
        "eventId": _text(present["eventId"]),
        "time": _epoch_milliseconds(present["time"]),
        "sequence": _number(present.get("sequence", 0)),
        "revision": _number(present.get("revision", 0)),
        "type": type_,
    }
    if type_ == "assigned":
        content["groupId"] = -1
        content["userType"] = "human"
    # 1: "unknown further fields are ignored", and so are those of other types.
    for name in own_fields:
        if name in present:
            content[name] = present[name]

    return Event(
        account=_text(content["accountId"]),
        conversation=_text(content["conversationId"]),
        id=_text(content["eventId"]),
        time=_number(content["time"]),
        sequence=_number(content["sequence"]),
        revision=_number(content["revision"]),
        type=type_,
        canonical_json=_utf8(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)),
        agent=_number_or_none(content.get("agentId")),
        employee=_text_or_none(content.get("employeeId")),
        group=_number(content.get("groupId", -1)),
        user_type=_text(content.get("userType", "human")),
        skill=_number_or_none(content.get("skillId")),
        source=_text_or_none(content.get("source")),
        sent_by=_text_or_none(content.get("sentBy")),
        reason=_text_or_none(content.get("reason")),
        closed_by=_text_or_none(content.get("closedBy")),
        lease=_number_or_none(content.get("leaseMillis")),
    )


def _loss(raw: Mapping[str, object], default_account: str) -> Loss:
    present = {name: value for name, value in raw.items() if value is not None}
    return Loss(
        account=_text(present.get("accountId", default_account)),
        agent=_number(present["agentId"]),
        time=_number(present["time"]),
        sequence=_number(present.get("sequence", 0)),
        position=_number(present["position"]),
    )


_RFC_3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)


def _epoch_milliseconds(time: object) -> int:
    """RFC 3339 with offset, or epoch milliseconds; 1: "what is finer than a millisecond is cut off"."""
    if isinstance(time, int):
        return time
    match = _RFC_3339.fullmatch(_text(time))
    assert match, time
    year, month, day, hour, minute, second, fraction, sign, offset_hours, offset_minutes = match.groups()
    days = date(int(year), int(month), int(day)).toordinal() - date(1970, 1, 1).toordinal()
    minutes = (days * 24 + int(hour)) * 60 + int(minute)
    if sign == "+":
        minutes -= int(offset_hours) * 60 + int(offset_minutes)
    if sign == "-":
        minutes += int(offset_hours) * 60 + int(offset_minutes)
    milliseconds = int(((fraction or "") + "000")[:3])
    return (minutes * 60 + int(second)) * 1000 + milliseconds


OrderKey = tuple[int, int, int, bytes, bytes]


def _order_key(event: Event) -> OrderKey:
    # 1, Order: time, sequence, rank of the type, eventId, conversationId (strings by their UTF-8 bytes).
    return event.time, event.sequence, RANK[event.type], _utf8(event.id), _utf8(event.conversation)


def without_duplicates(copies: Iterable[Event]) -> tuple[list[Event], int, int]:
    """1, Copies: "Of copies of one event (same conversation and `eventId`) the one of the highest `revision` stands".

    Gives the events that stand, the number of copies of lower revisions, and the number of dropped copies that say
    something else than the first of their revision.
    """
    by_key: dict[tuple[str, str, str], list[Event]] = {}
    for copy in copies:
        by_key.setdefault((copy.account, copy.conversation, copy.id), []).append(copy)
    kept: list[Event] = []
    corrected, differing = 0, 0
    for same in by_key.values():
        highest = max(copy.revision for copy in same)
        corrected += sum(copy.revision < highest for copy in same)
        for revision in {copy.revision for copy in same}:
            of_revision = [copy for copy in same if copy.revision == revision]
            # "in files the first in the order below (then by the bytes of its canonical JSON ...)"
            first = min(of_revision, key=lambda copy: (_order_key(copy), copy.canonical_json))
            if revision == highest:
                kept.append(first)
            # 1, `eventId`: "copies of one revision that differ are reported"
            differing += sum(1 for copy in of_revision if copy.canonical_json != first.canonical_json)
    return kept, corrected, differing


Entry = Event | Loss | LeaseEnd


def one_order(events: Iterable[Event], losses: Iterable[Loss]) -> list[Entry]:
    """1, Order: all events of one account in one order, the losses and the ends of leases among them."""
    in_order = sorted(events, key=_order_key)
    before: dict[int, list[Loss | LeaseEnd]] = {}
    for event in in_order:
        if event.lease is not None:
            # 1, Focus: "holds the focus until `time` + `leaseMillis`, and is lost then ..., after all events of that
            # millisecond"
            end = event.time + event.lease
            place = sum(1 for other in in_order if other.time <= end)
            before.setdefault(place, []).append(LeaseEnd(event, end))
    for loss in losses:
        before.setdefault(_place_of_loss(loss, in_order), []).append(loss)
    for between in before.values():
        between.sort(key=lambda entry: (entry.time, isinstance(entry, LeaseEnd)))
    order: list[Entry] = []
    for place, event in enumerate(in_order):
        order.extend(before.get(place, []))
        order.append(event)
    order.extend(before.get(len(in_order), []))
    return order


def _place_of_loss(loss: Loss, in_order: Sequence[Event]) -> int:
    """The place of the event before which the loss stands.

    That is as early as its time, sequence, rank and position allow.
    """
    own_moves_before = [
        place
        for place, event in enumerate(in_order)
        if event.type in ("focused", "unfocused")
        and event.agent == loss.agent
        and (event.time, event.sequence) == (loss.time, loss.sequence)
    ][: loss.position]
    if own_moves_before:
        return own_moves_before[-1] + 1
    earlier = (loss.time, loss.sequence, RANK["focused"])
    return sum(1 for event in in_order if (event.time, event.sequence, RANK[event.type]) < earlier)


# --- 1, Focus -----------------------------------------------------------------------------------------------

Focus = dict[int, str | None]


def _focus_after_every_place(order: Sequence[Entry], effects: Counter[str]) -> list[Focus]:
    """For every place, the conversation that every agent's focus is on in its gap.

    1: "Focus depends on the agent's own `focused` and `unfocused` alone, whatever the state or assignment of
    the conversations".
    """
    focus: Focus = {}
    said_by: dict[int, Event] = {}  # the `focused` that said last when the agent's focus ends
    after: list[Focus] = []
    for entry in order:
        if isinstance(entry, Loss):
            # 1, Removing: "anonymous losses"
            focus[entry.agent] = None
        elif isinstance(entry, LeaseEnd):
            agent, conversation = entry.focused.agent, entry.focused.conversation
            assert agent is not None
            # 1, Focus: one that is said again "says its end anew"
            if focus.get(agent) == conversation and said_by[agent] is entry.focused:
                focus[agent] = None
        elif entry.type == "focused":
            assert entry.agent is not None
            if focus.get(entry.agent) == entry.conversation and _end_of(entry) == _end_of(said_by[entry.agent]):
                # "`focused` on the conversation that has it already changes nothing but the focus's end."
                effects["focusedAlready"] += 1
            said_by[entry.agent] = entry
            # 1, `focused`: "any other conversation loses that agent's focus at that moment"
            focus[entry.agent] = entry.conversation
        elif entry.type == "unfocused":
            assert entry.agent is not None
            if focus.get(entry.agent) == entry.conversation:
                focus[entry.agent] = None
            else:
                # 1, `unfocused`: "Ignored if the agent's focus is not on this conversation"
                effects["unfocusedWithoutFocus"] += 1
        after.append(dict(focus))
    return after


def _end_of(focused: Event) -> int | None:
    return None if focused.lease is None else focused.time + focused.lease


# --- 1, State of a conversation; 2.1 and 2.2 where segments start and end -----------------------------------


@dataclass
class Message:
    """One counted message (2.3): the consumer's, or that of the agent assigned at that moment."""

    place: int
    time: int
    by_agent: bool


@dataclass
class SkillSegment:
    account: str
    conversation: str
    sequence: int
    skill: int
    start: int
    end: int | None = None
    end_reason: str | None = None
    nobody_assigned_at_end: bool | None = None
    messages: list[Message] = field(default_factory=list)
    agent_segments: list["AgentSegment"] = field(default_factory=list)


@dataclass
class AgentSegment:
    assigned: Event
    place: int
    agent: int
    skill: int
    source: str | None
    follows: str
    consumer_spoke_before: bool
    skill_segment: SkillSegment
    queued_since: int | None = None
    end: int | None = None
    end_place: int | None = None
    end_reason: str | None = None
    messages: list[Message] = field(default_factory=list)

    @property
    def start(self) -> int:
        return self.assigned.time


@dataclass
class QueueSegment:
    sequence: int
    skill_segment: SkillSegment
    source: str | None
    follows: str
    from_user_type: str
    start: int
    end: int | None = None
    end_reason: str | None = None
    to_user_type: str | None = None


@dataclass
class Story:
    """The state of one conversation, and all its segments."""

    account: str
    conversation: str
    state: str = "neverOpenedNorClosed"  # then "open" or "closed"
    skill: int = -1  # 1: "-1 before the first"
    source: str | None = None
    consumer_has_spoken: bool = False
    follows: str = ""  # what an agent segment that started now would follow
    skill_segment: SkillSegment | None = None  # the one that runs
    agent_segment: AgentSegment | None = None  # the one that runs: its agent is the assigned one
    skill_segments: list[SkillSegment] = field(default_factory=list)
    agent_segments: list[AgentSegment] = field(default_factory=list)
    queue_segments: list[QueueSegment] = field(default_factory=list)
    opened: int | None = None  # the time of the latest opening
    agent_segments_before_opening: int = 0
    queue_follows: str = ""  # what a queue segment that started now would follow
    consumer_wrote_last: bool = False


def _story(conversation: str, order: Sequence[Entry], effects: Counter[str]) -> Story:
    own = [
        (place, entry)
        for place, entry in enumerate(order)
        if isinstance(entry, Event) and entry.conversation == conversation
    ]
    story = Story(account=own[0][1].account, conversation=conversation)
    for place, event in own:
        before = (story.state == "open", story.agent_segment, story.skill_segment)
        if event.type in ("opened", "resumed"):
            nothing = _opened_or_resumed(story, event)
        elif event.type == "transferred":
            nothing = _transferred(story, event, place)
        elif event.type == "assigned":
            nothing = _assigned(story, event, place)
        elif event.type == "message":
            nothing = _message(story, event, place)
        elif event.type == "closed":
            nothing = _closed(story, event, place)
        elif event.type == "withdrawn":
            # 1, `withdrawn`: "does nothing, in no state"
            nothing = "withdrawn"
        else:
            # 1: "Messages and focus events do not open it", and focus is no matter of the conversation's
            # state.
            nothing = None
        if nothing is not None:
            effects[nothing] += 1
        elif event.type not in ("message", "withdrawn"):
            _queue_segments_around(story, event, *before)
    return story


def _queue_segments_around(
    story: Story,
    event: Event,
    was_open: bool,
    agent_before: AgentSegment | None,
    skill_segment_before: SkillSegment | None,
) -> None:
    """2.5, "where, after an event has acted, ...": the state before it and the state now say it all."""
    is_open, assigned = story.state == "open", story.agent_segment
    if is_open and not was_open:
        story.opened = event.time
        # "since the latest opening": an `assigned` that opens has started its own by now
        story.agent_segments_before_opening = len(story.agent_segments) - (assigned is not None)
    # "the latest opening or `transferred` up to and with the event that starts it (a `transferred` that opens
    # counts as that transfer)"
    if event.type == "transferred":
        names = {"agent": "agentTransfer", "skill": "skillTransfer"}
        story.queue_follows = names.get(str(event.reason), str(event.reason))
    elif is_open and not was_open:
        story.queue_follows = story.follows
    another_skill = is_open and was_open and story.skill_segment is not skill_segment_before
    # "It ends at the first of"
    if was_open and agent_before is None:
        running = story.queue_segments[-1]
        if assigned is not None:
            running.end, running.end_reason, running.to_user_type = event.time, "assigned", assigned.assigned.user_type
            # 5.2: "the start of the queue segment that this assignment ended"
            assigned.queued_since = running.start
        elif not is_open:
            assert event.closed_by is not None
            running.end, running.end_reason = event.time, f"closedBy{event.closed_by.capitalize()}"
        elif another_skill:
            running.end, running.end_reason = event.time, "skillTransfer"
    # "the conversation is open, nobody is assigned, and either somebody was assigned before the event, or the
    # event opened the conversation, or it changed the skill"
    if is_open and assigned is None and (agent_before is not None or not was_open or another_skill):
        assert story.skill_segment is not None
        since = story.agent_segments[story.agent_segments_before_opening :]
        story.queue_segments.append(
            QueueSegment(
                sequence=len(story.queue_segments) + 1,
                skill_segment=story.skill_segment,
                source=story.source,
                follows=story.queue_follows,
                from_user_type=since[-1].assigned.user_type if since else "none",
                start=event.time,
            )
        )


def _opened_or_resumed(story: Story, event: Event) -> str | None:
    # 1: "While it is open, `opened` and `resumed` change nothing: no skill, no source, not what the next
    # segment follows."
    if story.state == "open":
        return "openedWhileOpen"
    # 1: "The opening is a resumption if it is a `resumed`, or an `opened` after a `closed`." An opening after
    # a `closed` finds the conversation closed: no other opening can lie between.
    resumption = event.type == "resumed" or story.state == "closed"
    story.state = "open"
    # 2.1, what it follows: "the conversation's opening"
    story.follows = "resume" if resumption else "newConversation"
    # 1: "`skillId` on an event that takes effect sets the current skill; absent, it stays."
    if event.skill is not None:
        story.skill = event.skill
    # 1: "The first `source` of an `opened`/`resumed` that takes effect is the conversation's for good."
    if story.source is None:
        story.source = event.source
    # 2.2: "Every opening starts one, in the skill current after the opening event"
    _start_skill_segment(story, event)
    return None


def _transferred(story: Story, event: Event, place: int) -> str | None:
    # 1: "While it is closed, `assigned`, `transferred`, `closed` and messages count for nothing"
    if story.state == "closed":
        return "transferredWhileClosed"
    # 1: "where a stream begins in the middle, by its first `assigned` or `transferred`"
    opens = story.state == "neverOpenedNorClosed"
    story.state = "open"
    # 2.2: "One event acts in this order: the agent segment ends, ..." (2.1: with one of these reasons)
    if story.agent_segment is not None:
        reason = {
            "agent": "agentTransfer",
            "skill": "skillTransfer",
            "backToQueue": "backToQueue",
            "takeover": "other",
        }[str(event.reason)]
        _end_agent_segment(story, event, place, reason)
    # "... the skill segment ends, the next skill segment starts"
    _skill_segments_around(story, event, opens)
    # 2.1, what it follows: "a `transferred`: `takeover` if that is its reason, else `transfer`", "also as the
    # event that opens"; 1: "`transferred` while nobody is assigned ends no agent segment, and otherwise acts
    # the same"
    story.follows = "takeover" if event.reason == "takeover" else "transfer"
    return None


def _assigned(story: Story, event: Event, place: int) -> str | None:
    assert event.agent is not None
    # 1: "While it is closed, `assigned`, ... count for nothing"
    if story.state == "closed":
        return "assignedWhileClosed"
    # 2.1: "`assigned` to the agent who already has the conversation is ignored entirely, its other fields
    # too."
    if story.agent_segment is not None and story.agent_segment.agent == event.agent:
        return "assignedTwice"
    # 1: "where a stream begins in the middle, by its first `assigned` or `transferred`"
    opens = story.state == "neverOpenedNorClosed"
    story.state = "open"
    if opens:
        # 2.1, what it follows: "the conversation's opening"; never a resumption, as it is neither type of
        # one.
        story.follows = "newConversation"
    # 2.1: "`assigned` to another agent while it still runs: `agentTransfer`"
    if story.agent_segment is not None:
        _end_agent_segment(story, event, place, "agentTransfer")
    # 2.2: "... the skill segment ends, the next skill segment starts, the next agent segment starts."
    _skill_segments_around(story, event, opens)
    assert story.skill_segment is not None
    story.agent_segment = AgentSegment(
        assigned=event,
        place=place,
        agent=event.agent,
        # 2.1: "the skill current at its start (`assigned.skillId` first makes itself current)"
        skill=story.skill,
        source=story.source,
        follows=story.follows,
        consumer_spoke_before=story.consumer_has_spoken,
        skill_segment=story.skill_segment,
    )
    story.agent_segments.append(story.agent_segment)
    story.skill_segment.agent_segments.append(story.agent_segment)
    # 2.1, what the next one follows: "an earlier agent segment: `transfer`", until something later
    story.follows = "transfer"
    return None


def _message(story: Story, event: Event, place: int) -> str | None:
    # 1: "that holds in every state, also before the first opening: a consumer's message means that 'the
    # consumer has spoken'"
    made_it_true = event.sent_by == "consumer" and not story.consumer_has_spoken
    if event.sent_by == "consumer":
        story.consumer_has_spoken = True
    # One that comes while it is not open and says that the consumer has spoken is the last word, too.
    if made_it_true:
        story.consumer_wrote_last = True
    # 1: "While it is closed, ... messages count for nothing"; 1: "Messages ... do not open it."
    if story.state == "closed":
        return None if made_it_true else "messageWhileClosed"
    if story.state == "neverOpenedNorClosed":
        return None if made_it_true else "messageBeforeOpening"
    # 2.3: "Other agents' and `system` messages, and an agent's while nobody is assigned, are omitted
    # everywhere."
    if event.sent_by == "system":
        return "systemMessage"
    if event.sent_by == "agent":
        if story.agent_segment is None:
            return "messageWithNobodyAssigned"
        # 1, `message`: "`agentId` for `agent` (absent: the assigned agent)"
        if event.agent is not None and event.agent != story.agent_segment.agent:
            return "messageByAnotherAgent"
    # 2.3: "Only the consumer's messages and those of the agent assigned at that moment." "For a skill
    # segment: consumer messages, and the counted messages of its agent segments"
    counted = Message(place=place, time=event.time, by_agent=event.sent_by == "agent")
    assert story.skill_segment is not None
    story.skill_segment.messages.append(counted)
    story.consumer_wrote_last = not counted.by_agent
    if story.agent_segment is not None:
        story.agent_segment.messages.append(counted)
    return None


def _closed(story: Story, event: Event, place: int) -> str | None:
    # 1: "While it is closed, ... `closed` ... count for nothing"
    if story.state == "closed":
        return "closedWhileClosed"
    # 1: "It is closed from any `closed` on, also one that comes before every opening"
    story.state = "closed"
    nobody_assigned = story.agent_segment is None
    reason = {"consumer": "closedByConsumer", "agent": "closedByAgent", "system": "closedBySystem"}[
        str(event.closed_by)
    ]
    # 2.2: "One event acts in this order: the agent segment ends, the skill segment ends"
    if story.agent_segment is not None:
        _end_agent_segment(story, event, place, reason)
    # 2.2: "A close ends it."
    if story.skill_segment is not None:
        _end_skill_segment(story, event, reason, nobody_assigned)
    return None


def _skill_segments_around(story: Story, event: Event, opens: bool) -> None:
    """2.2 for a `transferred` or `assigned` that takes effect."""
    # 2.2: "whose `skillId` is there and differs from the current one"
    changes_skill = event.skill is not None and event.skill != story.skill
    # 1: "`skillId` on an event that takes effect sets the current skill; absent, it stays."
    if event.skill is not None:
        story.skill = event.skill
    if opens:
        # 2.2: "Every opening starts one, in the skill current after the opening event (one segment only, also
        # where `assigned` or `transferred` opens)."
        _start_skill_segment(story, event)
    elif changes_skill:
        # 2.2: "ends it and starts the next, whatever its reason"
        _end_skill_segment(story, event, "skillTransfer", nobody_assigned=None)
        _start_skill_segment(story, event)


def _start_skill_segment(story: Story, event: Event) -> None:
    assert story.skill_segment is None
    story.skill_segment = SkillSegment(
        account=story.account,
        conversation=story.conversation,
        sequence=len(story.skill_segments) + 1,
        skill=story.skill,
        start=event.time,
    )
    story.skill_segments.append(story.skill_segment)


def _end_skill_segment(story: Story, event: Event, reason: str, nobody_assigned: bool | None) -> None:
    assert story.skill_segment is not None
    story.skill_segment.end = event.time
    story.skill_segment.end_reason = reason
    story.skill_segment.nobody_assigned_at_end = nobody_assigned
    story.skill_segment = None


def _end_agent_segment(story: Story, event: Event, place: int, reason: str) -> None:
    assert story.agent_segment is not None
    story.agent_segment.end = event.time
    story.agent_segment.end_place = place
    story.agent_segment.end_reason = reason
    story.agent_segment = None


# --- 2.4 Outcome --------------------------------------------------------------------------------------------


def _outcome(messages: Sequence[Message], end_reason: str | None) -> str | None:
    if end_reason is None:
        return None  # 2.1: "A segment still running has no end and no outcome"
    by_agent = [message for message in messages if message.by_agent]
    by_consumer = [message for message in messages if not message.by_agent]
    agent_wrote = len(by_agent) > 0
    consumer_follows = agent_wrote and any(message.place > by_agent[0].place for message in by_consumer)
    if agent_wrote and consumer_follows:
        return "interactive"  # 1.
    if agent_wrote:
        return "nonResponsiveConsumer"  # 2.
    if end_reason == "closedByConsumer":
        return "abandoned"  # 3.
    return "nonResponsiveAgent"  # 4.


def _abandoned_in_queue(segment: SkillSegment) -> bool | None:
    if segment.end_reason is None:
        return None
    # 2.4, 3.: "(a skill segment of these is also abandoned in queue if nobody was assigned when the consumer
    # closed)"
    abandoned = _outcome(segment.messages, segment.end_reason) == "abandoned"
    return abandoned and segment.nobody_assigned_at_end is True


def _user_type_of_skill_segment(segment: SkillSegment) -> str:
    # 2.4: "`human` or `bot` if all its agent segments are of that type, `mixed` if both occur, `none` if it
    # has none"
    user_types = {agent_segment.assigned.user_type for agent_segment in segment.agent_segments}
    if not user_types:
        return "none"
    if len(user_types) == 2:
        return "mixed"
    return user_types.pop()


# --- 3.1 First response, 3.2 Responses ----------------------------------------------------------------------


def _first_response(segment: AgentSegment) -> int | None:
    # 3.1: "Valid only if the segment follows `newConversation` or `transfer`"
    if segment.follows not in ("newConversation", "transfer"):
        return None
    by_agent = [message for message in segment.messages if message.by_agent]
    if not by_agent:
        return None
    # 3.1: "First message of the assigned agent - start of the agent segment."
    return by_agent[0].time - segment.start


def _responses(segment: AgentSegment) -> list[tuple[Message, int]]:
    """The messages that are responses, each with the start of the wait that it ended."""
    responses: list[tuple[Message, int]] = []
    previous: Message | None = None  # the agent's message before
    for message in (message for message in segment.messages if message.by_agent):
        wait_start = _wait_start(segment, previous, message)
        # 3.2: "After a takeover or resume the segment's first agent message ends the wait but gives no
        # response time"
        gives_none = previous is None and segment.follows in ("takeover", "resume")
        # 3.2: "An agent message while the consumer waits is a response; its time is that message - the start
        # of the wait. Further agent messages are not responses."
        if wait_start is not None and not gives_none:
            responses.append((message, wait_start))
        previous = message
    return responses


def _wait_start(segment: AgentSegment, previous: Message | None, answer: Message) -> int | None:
    """3.2: when the wait began that the agent's message `answer` ends; None if the consumer does not wait."""
    # "the start of the segment, if the consumer has spoken at all before it"
    if previous is None and segment.consumer_spoke_before:
        return segment.start
    # "otherwise, and after every agent message, from the next consumer message"
    after = segment.place if previous is None else previous.place
    for message in segment.messages:
        if not message.by_agent and after < message.place < answer.place:
            return message.time
    return None


# --- 3.3 Handle time ----------------------------------------------------------------------------------------


def _handle_time_units(segment: AgentSegment, order: Sequence[Entry], focus_after: Sequence[Focus]) -> list[Row]:
    # 3.3: "human agents only"
    if segment.assigned.user_type != "human":
        return []
    # The gaps of the segment: from its start to its end, or to the last event known if it still runs.
    until = len(order) if segment.end_place is None else segment.end_place
    handled = [
        place
        for place in range(segment.place, until)
        # 3.3: "at which A's focus is on it and either (a) ... or (b) ..."
        if focus_after[place].get(segment.agent) == segment.assigned.conversation
        and (_consumer_waits(segment, place) or _still_writing(segment, place))
    ]

    # 3.3: "one uninterrupted stretch of handling, cut at A's own messages and at nothing else; every loss of
    # focus, even one of no length, ends it" (after a loss there is a gap that is not handled, be it of no
    # length).
    own_messages = {message.place for message in segment.messages if message.by_agent}
    stretches: list[list[int]] = []
    for place in handled:
        goes_on = bool(stretches) and stretches[-1][-1] == place - 1 and place not in own_messages
        if goes_on:
            stretches[-1].append(place)
        else:
            stretches.append([place])

    units: list[Row] = []
    for stretch in stretches:
        first, last = stretch[0], stretch[-1] + 1  # the places of the events that switch it on and off
        if last == len(order):
            continue  # still running: its end is not known
        start, end = order[first].time, order[last].time
        if start == end:
            continue  # 3.3: "Units of no length are dropped afterwards"
        units.append(
            {
                "accountId": segment.assigned.account,
                "conversationId": segment.assigned.conversation,
                "segmentId": _segment_id(segment),
                # 3.3: "`sequence` then counts from 1 in time order"
                "sequence": len(units) + 1,
                "startReason": _start_reason(segment, first, order),
                "endReason": _end_reason(segment, last, order),
                "start": start,
                "end": end,
                "handleTimeMillis": end - start,
            }
        )
    return units


def _consumer_waits(segment: AgentSegment, place: int) -> bool:
    """3.3 (a): the consumer waits (3.2) in the gap of `place`."""
    so_far = [message for message in segment.messages if message.place <= place]
    by_agent = [message for message in so_far if message.by_agent]
    # 3.2: "the start of the segment, if the consumer has spoken at all before it"; an agent message ends a
    # wait.
    if not by_agent and segment.consumer_spoke_before:
        return True
    # 3.2: "otherwise, and after every agent message, from the next consumer message"
    after = by_agent[-1].place if by_agent else segment.place
    return any(not message.by_agent and message.place > after for message in so_far)


def _still_writing(segment: AgentSegment, place: int) -> bool:
    """3.3 (b): the gap of `place` lies between two neighbouring counted messages that are both A's."""
    so_far = [message for message in segment.messages if message.place <= place]
    to_come = [message for message in segment.messages if message.place > place]
    return bool(so_far) and bool(to_come) and so_far[-1].by_agent and to_come[0].by_agent


def _start_reason(segment: AgentSegment, place: int, order: Sequence[Entry]) -> str:
    event = order[place]
    assert isinstance(event, Event)
    if place == segment.place:
        # "the segment began, A already looking at it and the consumer waiting"
        return "conversationAssigned"
    if event.type == "focused" and event.agent == segment.agent:
        assert event.conversation == segment.assigned.conversation
        return "conversationEntered"  # "A selected the conversation"
    [message] = [message for message in segment.messages if message.place == place]
    # "A wrote, and writes again next"; "the consumer wrote"
    return "agentMessage" if message.by_agent else "consumerMessage"


def _end_reason(segment: AgentSegment, place: int, order: Sequence[Entry]) -> str:
    event = order[place]
    if place == segment.end_place:
        assert isinstance(event, Event)
        # "the segment ended by a close"; "the segment ended otherwise"
        return "conversationClosed" if event.type == "closed" else "conversationTransferred"
    if isinstance(event, LeaseEnd):
        assert event.focused.agent == segment.agent
        return "conversationExited"  # 1, Focus: "the unit that it ends has `conversationExited`"
    if isinstance(event, Loss) or event.type in ("focused", "unfocused"):
        assert event.agent == segment.agent
        return "conversationExited"  # "A's focus left it"
    [message] = [message for message in segment.messages if message.place == place]
    assert message.by_agent
    return "agentResponse"  # "A wrote"


# --- The rows -----------------------------------------------------------------------------------------------


def _segment_id(segment: AgentSegment) -> str:
    # 2.1: "`{accountId}:{agentId}:{conversationId}:{token}`, token = the unpadded URL-safe base64 (22
    # characters) of the first 16 bytes of SHA-256 over ... account, conversation and the assigning `eventId`,
    # joined by one zero byte"
    account, conversation = segment.assigned.account, segment.assigned.conversation
    assigned_by = segment.assigned.id
    digest = hashlib.sha256(b"\0".join([_utf8(account), _utf8(conversation), _utf8(assigned_by)])).digest()
    token = base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode("ascii")
    return f"{account}:{segment.agent}:{conversation}:{token}"


def _agent_segment_row(segment: AgentSegment, units: Sequence[Row]) -> Row:
    responses = _responses(segment)
    by_agent = [message for message in segment.messages if message.by_agent]
    return {
        "accountId": segment.assigned.account,
        "conversationId": segment.assigned.conversation,
        "segmentId": _segment_id(segment),
        # 2.1: "agent, employee, group, user type (all from this `assigned` alone)"
        "agentId": segment.agent,
        "employeeId": segment.assigned.employee,
        "groupId": segment.assigned.group,
        "userType": segment.assigned.user_type,
        "skillId": segment.skill,
        "source": segment.source,
        "follows": segment.follows,
        "start": segment.start,
        "end": segment.end,
        "endReason": segment.end_reason,
        "outcome": _outcome(segment.messages, segment.end_reason),
        "agentMessages": len(by_agent),
        "firstResponseMillis": _first_response(segment),
        "responseMillis": [message.time - since for message, since in responses],
        # 5.2: "start of the wait (3.2)", "the one that is the agent's first message in the segment"
        "responseWaitingSince": [since for _message, since in responses],
        "firstMessageIsResponse": any(message is by_agent[0] for message, _since in responses),
        "queuedSince": segment.queued_since,
        # 3.3: "`totalHandleTimeMillis` of a segment is the sum of its units."
        "totalHandleTimeMillis": sum(_number(unit["handleTimeMillis"]) for unit in units),
        "skillSegmentSequence": segment.skill_segment.sequence,
    }


def _skill_segment_row(segment: SkillSegment) -> Row:
    # 3.1: "A skill segment's first responses are those of its agent segments."
    first_responses = [_first_response(agent_segment) for agent_segment in segment.agent_segments]
    return {
        "accountId": segment.account,
        "conversationId": segment.conversation,
        "sequence": segment.sequence,
        "skillId": segment.skill,
        "userType": _user_type_of_skill_segment(segment),
        "start": segment.start,
        "end": segment.end,
        "endReason": segment.end_reason,
        "outcome": _outcome(segment.messages, segment.end_reason),
        "abandonedInQueue": _abandoned_in_queue(segment),
        "firstResponseMillis": sorted(time for time in first_responses if time is not None),
    }


def _queue_segment_row(segment: QueueSegment, story: Story) -> Row:
    row: Row = {
        "accountId": story.account,
        "conversationId": story.conversation,
        "sequence": segment.sequence,
        "skillId": segment.skill_segment.skill,
        "skillSegmentSequence": segment.skill_segment.sequence,
        "source": segment.source,
        "follows": segment.follows,
        "fromUserType": segment.from_user_type,
        "toUserType": segment.to_user_type,
        "start": segment.start,
        "end": segment.end,
        "endReason": segment.end_reason,
    }
    if segment.end is None:
        row |= {"opened": story.opened, "consumerLast": story.consumer_wrote_last}
    return row


# --- Reading JSON -------------------------------------------------------------------------------------------


def _utf8(text: str) -> bytes:
    return text.encode("utf-8")


def _text(value: object) -> str:
    assert isinstance(value, str), value
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _number(value: object) -> int:
    assert isinstance(value, int), value
    return value


def _number_or_none(value: object) -> int | None:
    return None if value is None else _number(value)


def losses_of(removed: tuple[str, str], kept: list[Event]) -> list[Row]:
    """The focus moves of the removed conversation, as they are left in the order of the rest."""
    losses: list[Row] = []
    present: Counter[tuple[int | None, int, int]] = Counter()
    for event in one_order([event for event in kept if event.account == removed[0]], []):
        if not isinstance(event, Event):
            continue
        place = (event.agent, event.time, event.sequence)
        if event.type in ("focused", "unfocused") and event.conversation != removed[1]:
            present[place] += 1
        elif event.type == "focused":
            losses.append(
                {
                    "accountId": event.account,
                    "agentId": event.agent,
                    "time": event.time,
                    "sequence": event.sequence,
                    "position": present[place],
                }
            )
    return losses
