"""The rules: the one place where rules.md 2 and 3 are code. Reads a conversation's events in order, writes its rows.

Everything here is compiled. `derive_conversations` walks the events; one function for each type of event says what it
does; the functions below them start and end segments, waits and units. `state` is one conversation's state, `out` the
rows written so far.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Compiled code: its integers are NumPy's, and records are seen as Any.

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from handletime.compiled import borrowing, compiled
from handletime.events import model
from handletime.segments.columns import I8, I64, NEVER, RANKS, U8, Columns, mix
from handletime.segments.sorting import Record, Records

# --- closed lists of what is derived ---------------------------------------------------------------------------------

FOLLOWS: Final = ("newConversation", "resume", "transfer", "takeover")
NEW_CONVERSATION, RESUME, TRANSFER, TAKEOVER = range(4)

END_REASONS: Final = (
    "closedByConsumer",
    "closedByAgent",
    "closedBySystem",
    "agentTransfer",
    "skillTransfer",
    "backToQueue",
    "other",
)
CLOSED_BY_CONSUMER, CLOSED_BY_AGENT, CLOSED_BY_SYSTEM, AGENT_TRANSFER, SKILL_TRANSFER, BACK_TO_QUEUE, OTHER = range(7)
_END_OF_TRANSFER: Final = np.array([AGENT_TRANSFER, SKILL_TRANSFER, BACK_TO_QUEUE, OTHER], np.int8)
"""The end reason for each reason of a `transferred`, in the order of `model.REASONS`."""

OUTCOMES: Final = ("interactive", "nonResponsiveConsumer", "abandoned", "nonResponsiveAgent")
INTERACTIVE, NON_RESPONSIVE_CONSUMER, ABANDONED, NON_RESPONSIVE_AGENT = range(4)

SKILL_USER_TYPES: Final = ("none", "human", "bot", "mixed")
"""The user types of a skill segment: the place is 1 if it has a human, plus 2 if it has a bot."""

QUEUE_FOLLOWS: Final = ("newConversation", "resume", "agentTransfer", "skillTransfer", "backToQueue", "takeover")
"""What a queue segment follows: an opening, or a `transferred`, by the places of `model.REASONS`."""
QUEUE_NEW, QUEUE_RESUME, QUEUE_TRANSFER = range(3)

QUEUE_ENDS: Final = ("closedByConsumer", "closedByAgent", "closedBySystem", "skillTransfer", "assigned")
"""The end reasons of a queue segment; the first three are those of a close."""
QUEUE_SKILL_TRANSFER, QUEUE_ASSIGNED = 3, 4

QUEUE_USER_TYPES: Final = ("none", *model.USER_TYPES)
"""From whom a conversation came to the queue: nobody, or an agent of a user type (its place in `model` plus one)."""

UNIT_STARTS: Final = ("consumerMessage", "conversationEntered", "conversationAssigned", "agentMessage")
CONSUMER_MESSAGE, ENTERED, ASSIGNED_LOOKING, AGENT_MESSAGE = range(4)
UNIT_ENDS: Final = ("agentResponse", "conversationExited", "conversationClosed", "conversationTransferred")
AGENT_RESPONSE, EXITED, CONVERSATION_CLOSED, CONVERSATION_TRANSFERRED = range(4)

EFFECTS: Final = (
    "",
    "messageWhileClosed",
    "messageBeforeOpening",
    "messageWithNobodyAssigned",
    "messageByAnotherAgent",
    "systemMessage",
    "assignedTwice",
    "assignedWhileClosed",
    "transferredWhileClosed",
    "closedWhileClosed",
    "openedWhileOpen",
    "focusedAlready",
    "unfocusedWithoutFocus",
    "withdrawn",
)
"""Why an event changed nothing; the first: it changed something."""
(
    TOOK_EFFECT,
    MESSAGE_WHILE_CLOSED,
    MESSAGE_BEFORE_OPENING,
    MESSAGE_WITH_NOBODY_ASSIGNED,
    MESSAGE_BY_ANOTHER_AGENT,
    SYSTEM_MESSAGE,
    ASSIGNED_TWICE,
    ASSIGNED_WHILE_CLOSED,
    TRANSFERRED_WHILE_CLOSED,
    CLOSED_WHILE_CLOSED,
    OPENED_WHILE_OPEN,
    FOCUSED_ALREADY,
    UNFOCUSED_WITHOUT_FOCUS,
    NOTHING_LEFT,
) = range(len(EFFECTS))

STATE_OPEN, STATE_ASSIGNED, STATE_WAITING, STATE_LOOKING, STATE_WRITING = 1, 2, 4, 8, 16
"""Bits of the state after an event: open; assigned; the consumer waits; the assigned agent's focus is here;
the last counted message is the assigned agent's."""

# --- rows and state --------------------------------------------------------------------------------------------------

AGENT_SEGMENT: Final = np.dtype(
    [
        ("assigned_row", np.int32),  # the row of its `assigned`
        ("source_row", np.int32),  # the row that gave the conversation its source, -1: none
        ("skill_segment", np.int32),  # place of its skill segment
        ("first_unit", np.int64),
        ("units_end", np.int64),
        ("first_response", np.int64),  # milliseconds, -1: none that is valid
        ("responses_end", np.int64),  # its responses end here, and begin where those of the one before end
        ("queued_since", np.int64),  # the start of the queue segment that its `assigned` ended, `NEVER`: it ended none
        ("skill", np.int64),
        ("end", np.int64),
        ("handle_time", np.int64),
        ("agent_messages", np.int32),
        ("follows", np.int8),
        ("end_reason", np.int8),  # -1: still running
        ("outcome", np.int8),
        ("first_is_response", np.bool_),  # the first message of its agent is a response
    ],
    align=True,
)
SKILL_SEGMENT: Final = np.dtype(
    [
        ("row", np.int32),  # a row of its conversation: the event that starts it
        ("sequence", np.int32),
        ("firsts_end", np.int64),
        ("skill", np.int64),
        ("end", np.int64),
        ("user_types", np.int8),
        ("end_reason", np.int8),
        ("outcome", np.int8),
        ("abandoned_in_queue", np.bool_),
    ],
    align=True,
)
QUEUE_SEGMENT: Final = np.dtype(
    [
        ("row", np.int32),  # the event that starts it
        ("source_row", np.int32),  # the row that gave the conversation its source, -1: none
        ("skill_segment", np.int32),  # place of its skill segment
        ("sequence", np.int32),
        ("skill", np.int64),
        ("end", np.int64),
        ("opened", np.int64),  # the time of the conversation's latest opening
        ("consumer_last", np.bool_),  # of one that runs: the last counted message is the consumer's
        ("follows", np.int8),
        ("from_user_type", np.int8),
        ("to_user_type", np.int8),  # -1: it was not assigned
        ("end_reason", np.int8),  # -1: still running
    ],
    align=True,
)
UNIT: Final = np.dtype(
    [
        ("segment", np.int32),
        ("sequence", np.int32),
        ("start", np.int64),
        ("end", np.int64),
        ("start_reason", np.int8),
        ("end_reason", np.int8),
    ],
    align=True,
)
BEFORE_OPENING, OPEN, CLOSED = range(3)
UNKNOWN, MESSAGES_ONLY, AT_ITS_OPENING, IN_THE_MIDDLE = range(4)
STATE: Final = np.dtype(
    [
        ("phase", np.int8),
        ("beginning", np.int8),
        ("spoken", np.bool_),  # the consumer has spoken
        ("source_row", np.int32),
        ("skill", np.int64),
        ("follows", np.int8),  # what the next agent segment follows
        ("opened", np.int64),  # the time of the latest opening
        ("consumer_last", np.bool_),  # the last counted message is the consumer's
        # the queue segment
        ("queue_sequence", np.int32),
        ("from_user_type", np.int8),  # of the last agent segment since the latest opening, 0: there is none
        # the skill segment
        ("sequence", np.int32),
        ("skill_wrote", np.bool_),  # one of its agents wrote
        ("skill_followed", np.bool_),  # … and a consumer message follows
        # the agent segment
        ("assigned", np.bool_),
        ("agent", np.int64),
        ("human", np.bool_),
        ("assigned_row", np.int32),
        ("start", np.int64),
        ("waiting", np.bool_),
        ("waits_since", np.int64),  # the consumer: for the assigned agent, or in queue where nobody is assigned
        ("wrote", np.bool_),
        ("followed", np.bool_),
        # handling
        ("looking", np.bool_),
        ("lost_time", np.int64),
        ("lost_sequence", np.int64),
        ("lease_end", np.int64),
        ("writing", np.bool_),  # the last counted message is the agent's: whether it counts is known with the next
        ("sure_units", np.int64),
        ("handling", np.bool_),
        ("unit_start", np.int64),
        ("unit_reason", np.int8),
        # agents whose focus is, or was, on the conversation
        ("viewers", np.int64),
        ("conversation", np.int64),  # its place, plus one
        ("seed", np.uint64),  # of the viewers' places, which nobody who sends events can know
    ],
    align=True,
)
VIEWER: Final = np.dtype(
    [
        ("agent", np.int64),
        ("lost_time", np.int64),  # when another conversation gets the agent's focus
        ("lost_sequence", np.int64),
        ("lease_end", np.int64),  # the last millisecond of the focus, `NEVER` without a lease
        ("of", np.int64),  # the conversation, as in the state; of another one nothing is here
        ("start", np.int64),
        ("left_at", np.int64),  # the time of its `unfocused`, `NEVER` without one
        ("row", np.int64),  # of its last `focused`
        ("stretch", np.int64),  # its place in `Out.focus`
    ]
)
"""An agent's focus on a conversation, in a table that is found by the agent. It stays there when it has ended."""


class Out(NamedTuple):
    """Rows written so far: `counts[k]` of each kind, see below; `effect` and `state` have a place for each event, and
    `responded_since` says of each response when the consumer's wait for it began.

    The last three are empty where nobody asks for them: since when the consumer waits, or is in queue, after each event
    (`NEVER`: neither); every stretch of an agent's focus (`VIEWER`); the state after each conversation's last event.
    """

    agent_segments: Records
    skill_segments: Records
    queue_segments: Records
    units: Records
    responses: I64
    responded_since: I64
    firsts: I64
    counts: I64
    effect: I8
    state: U8
    waits_since: I64
    focus: Records
    last: Records


SEGMENTS, SKILL_SEGMENTS, QUEUE_SEGMENTS, UNITS, RESPONSES, FIRSTS, BEGIN_IN_THE_MIDDLE, STRETCHES = range(8)

# --- the walk --------------------------------------------------------------------------------------------------------


@compiled
def derive_conversations(
    columns: Columns, records: Records, starts: I64, out: Out, states: Records, low: int, high: int
) -> None:
    """Derives the conversations from low to high; their events are `records[starts[i]:starts[i + 1]]`, in order.

    `states` is an array of one `STATE`, the caller's: a record does not hold its array (`handletime.compiled`).
    """
    state = states[0]
    viewers = np.zeros(64, VIEWER)
    for conversation in range(low, high):
        begin_conversation(state)
        state.conversation = conversation + 1
        if starts[conversation] < starts[conversation + 1]:
            state.seed = records[starts[conversation]].event
        for place in range(starts[conversation], starts[conversation + 1]):
            event = records[place]
            is_focus = event.type == model.FOCUSED or event.type == model.UNFOCUSED
            if not is_focus and event.type != model.WITHDRAWN:
                note_beginning(state, event.type)
            lose_focus_before(state, out, event)
            if is_focus and 2 * state.viewers >= len(viewers):
                viewers = larger(state, viewers)
            out.effect[place] = take(state, out, viewers, columns, event)
            out.state[place] = state_bits(state)
            if len(out.waits_since):
                out.waits_since[place] = waits_since(state)
        if len(out.last):
            out.last[conversation] = states[0]
        end_conversation(state, out)
        middle = state.beginning == MESSAGES_ONLY or state.beginning == IN_THE_MIDDLE
        out.counts[BEGIN_IN_THE_MIDDLE] += middle
    sort_first_responses(out)


@compiled
def larger(state: Record, viewers: Records) -> Records:
    """The viewers of the conversation in twice the room."""
    more = np.zeros(2 * len(viewers), VIEWER)
    for i in range(len(viewers)):
        if viewers[i].of == state.conversation:
            place = place_of(state, more, viewers[i].agent)
            more[place] = viewers[i]
    return more


@compiled
def sort_first_responses(out: Out) -> None:
    """Puts the first responses of each skill segment in ascending order."""
    start = 0
    for i in range(out.counts[SKILL_SEGMENTS]):
        end = out.skill_segments[i].firsts_end
        if end - start > 1:
            out.firsts[start:end].sort()
        start = end


@borrowing
def note_beginning(state: Record, type_: int) -> None:
    """Counts a conversation that begins in the middle: what comes first, messages aside, is no `opened`."""
    if state.beginning <= MESSAGES_ONLY:
        if type_ == model.MESSAGE:
            state.beginning = MESSAGES_ONLY
        else:
            state.beginning = AT_ITS_OPENING if type_ == model.OPENED else IN_THE_MIDDLE


@borrowing
def begin_conversation(state: Record) -> None:
    """The state before the first event."""
    state.beginning = UNKNOWN
    state.phase = BEFORE_OPENING
    state.spoken = False
    state.source_row = -1
    state.skill = model.UNASSIGNED
    state.sequence = 0
    state.queue_sequence = 0
    state.consumer_last = False
    state.assigned = False
    state.looking = False
    state.handling = False
    state.waiting = False
    state.writing = False
    state.viewers = 0


@borrowing
def take(state: Record, out: Out, viewers: Records, columns: Columns, event: Record) -> int:
    """Lets one event act; gives the effect."""
    type_ = event.type
    if type_ == model.MESSAGE:
        return on_message(state, out, event)
    if type_ == model.FOCUSED:
        return on_focused(state, out, viewers, columns, event)
    if type_ == model.UNFOCUSED:
        return on_unfocused(state, out, viewers, event)
    if type_ == model.ASSIGNED:
        return on_assigned(state, out, viewers, event)
    if type_ == model.TRANSFERRED:
        return on_transferred(state, out, event)
    if type_ == model.CLOSED:
        return on_closed(state, out, event)
    if type_ == model.WITHDRAWN:
        return NOTHING_LEFT
    return on_opened(state, out, event)


@borrowing
def state_bits(state: Record) -> int:
    """The state as the bits of `STATE_OPEN` and so on."""
    bits = STATE_OPEN * (state.phase == OPEN)
    if state.assigned:
        bits |= STATE_ASSIGNED | STATE_WAITING * state.waiting | STATE_LOOKING * state.looking
        bits |= STATE_WRITING * state.writing
    return bits


@borrowing
def waits_since(state: Record) -> int:
    """Since when the consumer waits for the assigned agent, or is in queue; `NEVER` where neither is so."""
    return state.waits_since if state.phase == OPEN and (state.waiting or not state.assigned) else NEVER


@borrowing
def end_conversation(state: Record, out: Out) -> None:
    """No more events are known: segments go on running, and what they have so far is written."""
    is_queued = not state.assigned
    if state.assigned:
        if state.looking and ends_at(state) != NEVER:
            end_unit(state, out, EXITED, ends_at(state))
        if state.writing:
            out.counts[UNITS] = state.sure_units
        segment = out.agent_segments[out.counts[SEGMENTS]]
        segment.end_reason = -1
        segment.outcome = -1
        finish_agent_segment(state, out, segment)
    if state.phase == OPEN:
        segment = out.skill_segments[out.counts[SKILL_SEGMENTS]]
        segment.end_reason = -1
        segment.outcome = -1
        finish_skill_segment(out, segment)
        if is_queued:
            out.queue_segments[out.counts[QUEUE_SEGMENTS]].consumer_last = state.consumer_last
            end_queue_segment(out, NEVER, -1, -1)


# --- one function a type of event (rules.md 1, "State of a conversation") --------------------------------------------


@borrowing
def on_opened(state: Record, out: Out, event: Record) -> int:
    """`opened` and `resumed`."""
    if state.phase == OPEN:
        return OPENED_WHILE_OPEN
    resumption = event.type == model.RESUMED or state.phase == CLOSED
    has_source = event.code != 0
    if has_source and state.source_row < 0:
        state.source_row = event.row
    open_conversation(state, out, event)
    state.follows = RESUME if resumption else NEW_CONVERSATION
    start_queue_segment(state, out, event, QUEUE_RESUME if resumption else QUEUE_NEW)
    return TOOK_EFFECT


@borrowing
def on_assigned(state: Record, out: Out, viewers: Records, event: Record) -> int:
    """`assigned` (rules.md 2.1; the order of acting: 2.2)."""
    if state.phase == CLOSED:
        return ASSIGNED_WHILE_CLOSED
    queued_since = NEVER
    if state.phase == BEFORE_OPENING:
        open_conversation(state, out, event)
        state.follows = NEW_CONVERSATION
    elif state.assigned and state.agent == event.agent:
        return ASSIGNED_TWICE
    else:
        if state.assigned:
            end_agent_segment(state, out, event.time, AGENT_TRANSFER)
        else:
            queued_since = state.waits_since
            end_queue_segment(out, event.time, QUEUE_ASSIGNED, event.code)
        change_skill(state, out, event)
    start_agent_segment(state, out, viewers, event, queued_since)
    return TOOK_EFFECT


@borrowing
def on_transferred(state: Record, out: Out, event: Record) -> int:
    """`transferred`, with or without an assigned agent."""
    if state.phase == CLOSED:
        return TRANSFERRED_WHILE_CLOSED
    reason = event.code
    comes_to_queue = state.phase == BEFORE_OPENING or state.assigned
    if state.phase == BEFORE_OPENING:
        open_conversation(state, out, event)
    else:
        if state.assigned:
            end_agent_segment(state, out, event.time, _END_OF_TRANSFER[reason])
        elif changes_skill(state, event):
            end_queue_segment(out, event.time, QUEUE_SKILL_TRANSFER, -1)
            comes_to_queue = True
        change_skill(state, out, event)
    if comes_to_queue:
        start_queue_segment(state, out, event, QUEUE_TRANSFER + reason)
    state.follows = TAKEOVER if _END_OF_TRANSFER[reason] == OTHER else TRANSFER
    return TOOK_EFFECT


@borrowing
def on_closed(state: Record, out: Out, event: Record) -> int:
    """`closed`; the places of `model.CLOSED_BY` are those of the first three end reasons."""
    if state.phase == CLOSED:
        return CLOSED_WHILE_CLOSED
    if state.phase == OPEN:
        in_queue = not state.assigned
        if state.assigned:
            end_agent_segment(state, out, event.time, event.code)
        else:
            end_queue_segment(out, event.time, event.code, -1)
        end_skill_segment(state, out, event.time, event.code, in_queue)
    state.phase = CLOSED
    return TOOK_EFFECT


@borrowing
def on_message(state: Record, out: Out, event: Record) -> int:
    """`message` (rules.md 2.3: which messages count)."""
    by_consumer = event.code == 0
    if state.phase != OPEN:
        if by_consumer and not state.spoken:
            state.spoken = True
            state.consumer_last = True
            return TOOK_EFFECT
        return MESSAGE_WHILE_CLOSED if state.phase == CLOSED else MESSAGE_BEFORE_OPENING
    if by_consumer:
        consumer_message(state, out, event.time)
        return TOOK_EFFECT
    if event.code == 2:
        return SYSTEM_MESSAGE
    if not state.assigned:
        return MESSAGE_WITH_NOBODY_ASSIGNED
    if event.has_agent and event.agent != state.agent:
        return MESSAGE_BY_ANOTHER_AGENT
    agent_message(state, out, event.time)
    return TOOK_EFFECT


@borrowing
def on_focused(state: Record, out: Out, viewers: Records, columns: Columns, event: Record) -> int:
    """`focused`: the agent's focus is here, until it is lost. Where it is here already, its end is said anew."""
    place = find_viewer(state, viewers, event)
    already = place >= 0
    if not already:
        place = place_of(state, viewers, event.agent)
        state.viewers += viewers[place].of != state.conversation
        viewers[place].of = state.conversation
        viewers[place].start = event.time
        viewers[place].stretch = out.counts[STRETCHES]
        out.counts[STRETCHES] += 1
    viewer = viewers[place]
    ended = viewer.lease_end
    give_focus(viewer, columns, event)
    note_focus(out, viewer)
    changed = not already or viewer.lease_end != ended
    if state.assigned and state.agent == event.agent:
        see_as(state, viewer)
        if not already:
            state.looking = True
            if state.waiting or state.writing:
                start_unit(state, ENTERED, event.time)
    return TOOK_EFFECT if changed else FOCUSED_ALREADY


@borrowing
def give_focus(viewer: Record, columns: Columns, event: Record) -> None:
    """Writes when the focus ends that a `focused` gives."""
    viewer.agent = event.agent
    viewer.lost_time = columns.lost_time[event.row]
    viewer.lost_sequence = columns.lost_sequence[event.row]
    viewer.lease_end = min(event.time + event.skill, model.TIME_MAX) if event.has_skill else NEVER
    viewer.left_at = NEVER
    viewer.row = event.row


@borrowing
def note_focus(out: Out, viewer: Record) -> None:
    """Writes the stretch of focus as it is known by now."""
    if len(out.focus):
        out.focus[viewer.stretch] = viewer


@borrowing
def see_as(state: Record, viewer: Record) -> None:
    """The assigned agent's focus ends as the viewer's does."""
    state.lost_time = viewer.lost_time
    state.lost_sequence = viewer.lost_sequence
    state.lease_end = viewer.lease_end


@borrowing
def on_unfocused(state: Record, out: Out, viewers: Records, event: Record) -> int:
    """`unfocused`: ignored if the agent's focus is not here."""
    viewer = find_viewer(state, viewers, event)
    if viewer < 0:
        return UNFOCUSED_WITHOUT_FOCUS
    viewers[viewer].left_at = event.time
    note_focus(out, viewers[viewer])
    if state.assigned and state.agent == event.agent:
        state.looking = False
        end_unit(state, out, EXITED, event.time)
    return TOOK_EFFECT


# --- focus (rules.md 1) ----------------------------------------------------------------------------------------------


@borrowing
def comes_before(lost_time: int, lost_sequence: int, event: Record, own: bool) -> bool:
    """Whether a loss of focus lies before an event; it always lies before the agent's own next focus event."""
    if lost_time != event.time:
        return bool(lost_time < event.time)
    if lost_sequence != event.sequence:
        return bool(lost_sequence < event.sequence)
    rank = RANKS[event.type]
    return bool(rank > RANKS[model.FOCUSED] or (own and rank == RANKS[model.FOCUSED]))


@borrowing
def is_lost_before(focus: Record, event: Record, own: bool) -> bool:
    """Whether a focus (a viewer's, or the state's) went elsewhere or its lease ended before an event.

    A lease ends after all events of its last millisecond.
    """
    return focus.lease_end < event.time or comes_before(focus.lost_time, focus.lost_sequence, event, own)


@borrowing
def ends_at(focus: Record) -> int:
    """The time at which a focus (a viewer's, or the state's) goes elsewhere or its lease ends, `NEVER` for neither."""
    return min(focus.lost_time, focus.lease_end)


@borrowing
def lose_focus_before(state: Record, out: Out, event: Record) -> None:
    """Ends the assigned agent's focus if it was lost before this event."""
    if not (state.assigned and state.looking) or ends_at(state) == NEVER:
        return
    if is_lost_before(state, event, event.agent == state.agent):
        state.looking = False
        end_unit(state, out, EXITED, ends_at(state))


@borrowing
def find_viewer(state: Record, viewers: Records, event: Record) -> int:
    """The place of the event's agent among those whose focus is here, -1 if it is not."""
    place = place_of(state, viewers, event.agent)
    viewer = viewers[place]
    if viewer.of != state.conversation or viewer.left_at != NEVER or is_lost_before(viewer, event, True):
        return -1
    return place


@borrowing
def place_of(state: Record, viewers: Records, agent: int) -> int:
    """The place of an agent among the viewers, or the free one for it; there is always a free one."""
    last = len(viewers) - 1
    place = np.int64(mix(np.uint64(agent) ^ state.seed) & np.uint64(last))
    while viewers[place].of == state.conversation and viewers[place].agent != agent:
        place = (place + 1) & last
    return place


# --- skill segments (rules.md 2.2) -----------------------------------------------------------------------------------


@borrowing
def open_conversation(state: Record, out: Out, event: Record) -> None:
    """An opening: the skill becomes current first, then its segment starts."""
    state.phase = OPEN
    state.opened = event.time
    state.from_user_type = 0
    if event.has_skill:
        state.skill = event.skill
    start_skill_segment(state, out, event)


@borrowing
def change_skill(state: Record, out: Out, event: Record) -> None:
    """Ends the skill segment and starts the next if the event brings another skill."""
    if not changes_skill(state, event):
        return
    end_skill_segment(state, out, event.time, SKILL_TRANSFER, False)
    state.skill = event.skill
    start_skill_segment(state, out, event)


@borrowing
def changes_skill(state: Record, event: Record) -> bool:
    """Whether an event brings another skill than the current one."""
    return bool(event.has_skill and event.skill != state.skill)


@borrowing
def start_skill_segment(state: Record, out: Out, event: Record) -> None:
    """Starts a skill segment in the current skill; who is in queue waits in this one from here on."""
    state.waits_since = event.time
    state.sequence += 1
    state.skill_wrote = False
    state.skill_followed = False
    segment = out.skill_segments[out.counts[SKILL_SEGMENTS]]
    segment.row = event.row
    segment.sequence = state.sequence
    segment.skill = state.skill
    segment.user_types = 0
    segment.abandoned_in_queue = False


@borrowing
def end_skill_segment(state: Record, out: Out, time: int, reason: int, in_queue: bool) -> None:
    """Ends the skill segment with its outcome."""
    segment = out.skill_segments[out.counts[SKILL_SEGMENTS]]
    segment.end = time
    segment.end_reason = reason
    segment.outcome = outcome(state.skill_wrote, state.skill_followed, reason)
    segment.abandoned_in_queue = in_queue and segment.outcome == ABANDONED
    finish_skill_segment(out, segment)


@borrowing
def finish_skill_segment(out: Out, segment: Record) -> None:
    """Counts the skill segment as written."""
    segment.firsts_end = out.counts[FIRSTS]
    out.counts[SKILL_SEGMENTS] += 1


@borrowing
def outcome(wrote: bool, followed: bool, end_reason: int) -> int:
    """The outcome of a segment that ended (rules.md 2.4)."""
    if wrote:
        return INTERACTIVE if followed else NON_RESPONSIVE_CONSUMER
    return ABANDONED if end_reason == CLOSED_BY_CONSUMER else NON_RESPONSIVE_AGENT


# --- queue segments (rules.md 2.5) -----------------------------------------------------------------------------------


@borrowing
def start_queue_segment(state: Record, out: Out, event: Record, follows: int) -> None:
    """Starts a queue segment in the current skill segment: from here on nobody is assigned."""
    state.queue_sequence += 1
    segment = out.queue_segments[out.counts[QUEUE_SEGMENTS]]
    segment.row = event.row
    segment.source_row = state.source_row
    segment.skill_segment = out.counts[SKILL_SEGMENTS]
    segment.sequence = state.queue_sequence
    segment.skill = state.skill
    segment.opened = state.opened
    segment.consumer_last = False
    segment.follows = follows
    segment.from_user_type = state.from_user_type


@borrowing
def end_queue_segment(out: Out, time: int, reason: int, user_type: int) -> None:
    """Ends the queue segment, and counts it as written; `user_type` is that of who was assigned, else -1."""
    segment = out.queue_segments[out.counts[QUEUE_SEGMENTS]]
    segment.end = time
    segment.end_reason = reason
    segment.to_user_type = user_type
    out.counts[QUEUE_SEGMENTS] += 1


# --- agent segments (rules.md 2.1) -----------------------------------------------------------------------------------


@borrowing
def start_agent_segment(state: Record, out: Out, viewers: Records, event: Record, queued_since: int) -> None:
    """Starts an agent segment, which ends a queue segment of this start (`NEVER`: none); the consumer who has spoken
    waits from here on (3.2).
    """
    segment = out.agent_segments[out.counts[SEGMENTS]]
    segment.assigned_row = event.row
    segment.source_row = state.source_row
    segment.skill_segment = out.counts[SKILL_SEGMENTS]
    segment.first_unit = out.counts[UNITS]
    segment.skill = state.skill
    segment.follows = state.follows
    segment.queued_since = queued_since
    segment.first_response = -1
    segment.first_is_response = False
    segment.agent_messages = 0
    segment.handle_time = 0
    state.follows = TRANSFER
    state.assigned = True
    state.agent = event.agent
    state.human = event.code == 0
    state.from_user_type = 1 + event.code
    state.assigned_row = event.row
    state.start = event.time
    state.waiting = state.spoken
    state.waits_since = state.start
    state.wrote = False
    state.followed = False
    state.writing = False
    skill_segment = out.skill_segments[out.counts[SKILL_SEGMENTS]]
    skill_segment.user_types |= 1 if state.human else 2
    viewer = find_viewer(state, viewers, event)
    state.looking = viewer >= 0
    if state.looking:
        see_as(state, viewers[viewer])
        if state.waiting:
            start_unit(state, ASSIGNED_LOOKING, state.start)


@borrowing
def end_agent_segment(state: Record, out: Out, time: int, reason: int) -> None:
    """Ends the agent segment with its outcome; the time after its last message does not count (3.3 b)."""
    if state.writing:
        out.counts[UNITS] = state.sure_units
        state.handling = False
    else:
        end_unit(state, out, CONVERSATION_CLOSED if reason <= CLOSED_BY_SYSTEM else CONVERSATION_TRANSFERRED, time)
    segment = out.agent_segments[out.counts[SEGMENTS]]
    segment.end = time
    segment.end_reason = reason
    segment.outcome = outcome(state.wrote, state.followed, reason)
    finish_agent_segment(state, out, segment)
    state.waits_since = time


@borrowing
def finish_agent_segment(state: Record, out: Out, segment: Record) -> None:
    """Sums the units and counts the agent segment as written."""
    for unit in range(segment.first_unit, out.counts[UNITS]):
        segment.handle_time += out.units[unit].end - out.units[unit].start
    segment.units_end = out.counts[UNITS]
    segment.responses_end = out.counts[RESPONSES]
    out.counts[SEGMENTS] += 1
    state.assigned = False
    state.handling = False
    state.looking = False
    state.writing = False
    state.waiting = False


# --- messages, waits and responses (rules.md 3.1, 3.2) ---------------------------------------------------------------


@borrowing
def consumer_message(state: Record, out: Out, time: int) -> None:
    """A consumer's message in an open conversation: the consumer waits, if not already."""
    state.spoken = True
    state.consumer_last = True
    state.skill_followed = state.skill_followed or state.skill_wrote
    if not state.assigned:
        return
    state.followed = state.followed or state.wrote
    if state.writing:
        state.writing = False
        out.counts[UNITS] = state.sure_units
        state.handling = False
    if not state.waiting:
        state.waiting = True
        state.waits_since = time
        if state.looking:
            start_unit(state, CONSUMER_MESSAGE, time)


@borrowing
def agent_message(state: Record, out: Out, time: int) -> None:
    """A message of the assigned agent: first response, response, and the cut of the handle-time unit."""
    segment = out.agent_segments[out.counts[SEGMENTS]]
    interrupted = segment.follows == TAKEOVER or segment.follows == RESUME
    end_unit(state, out, AGENT_RESPONSE, time)
    if not state.wrote and not interrupted:
        segment.first_response = time - state.start
        out.firsts[out.counts[FIRSTS]] = segment.first_response
        out.counts[FIRSTS] += 1
    if state.waiting and (state.wrote or not interrupted):
        out.responses[out.counts[RESPONSES]] = time - state.waits_since
        out.responded_since[out.counts[RESPONSES]] = state.waits_since
        segment.first_is_response |= not state.wrote
        out.counts[RESPONSES] += 1
    segment.agent_messages += 1
    state.waiting = False
    state.consumer_last = False
    state.wrote = True
    state.skill_wrote = True
    state.writing = True
    state.sure_units = out.counts[UNITS]
    if state.looking:
        start_unit(state, AGENT_MESSAGE, time)


# --- handle-time units (rules.md 3.3) --------------------------------------------------------------------------------


@borrowing
def start_unit(state: Record, reason: int, time: int) -> None:
    """Handling begins, of a human."""
    if state.human:
        state.handling = True
        state.unit_start = time
        state.unit_reason = reason


@borrowing
def end_unit(state: Record, out: Out, reason: int, time: int) -> None:
    """Handling ends, if it was going on; a unit of no length is dropped."""
    if not state.handling:
        return
    state.handling = False
    if time == state.unit_start:
        return
    segment = out.agent_segments[out.counts[SEGMENTS]]
    unit = out.units[out.counts[UNITS]]
    unit.segment = out.counts[SEGMENTS]
    unit.sequence = out.counts[UNITS] - segment.first_unit + 1
    unit.start = state.unit_start
    unit.end = time
    unit.start_reason = state.unit_reason
    unit.end_reason = reason
    out.counts[UNITS] += 1
