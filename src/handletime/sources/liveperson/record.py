"""One record of LivePerson's messaging history becomes events (liveperson-history.md).

Ids and sequences depend only on what happened, so that a newer copy of a record repeats them:

| event | `eventId` | `sequence` |
|---|---|---|
| `opened` | `opened` | −4·10⁹ |
| the consumer's message of `seq` 0 | `messageId` | −3·10⁹ |
| `transferred` | `transferred:<timeL>:<sourceAgentId>:<targetSkillId>:<reason>` | −2·10⁹ + n |
| `assigned` | `assigned:<timeL>:<agentId>` | −10⁹ + n |
| any other message | `messageId` | `seq` |
| `closed`, or `withdrawn` while the record is open | `closed` | 2⁵³ − 1 |

n counts those of one millisecond, in the record's order. Of a transfer, what the record does not tell is left empty;
the reason is the event's. A `messageId` that cannot be an event's id becomes `message:<its SHA-256>`, a missing one
`message:<timeL>:<seq>`. 2⁵³ − 1 is the largest integer that every reader of JSON keeps.

What can differ between two copies of a record is its opening, whose skill comes late, and its close. So these two have
the newest time in the record as `revision`: the newer copy counts, whichever comes first (docs/liveperson-history.md).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from handletime.events import model
from handletime.events.book import is_account
from handletime.sources.event import Event, order
from handletime.sources.liveperson.assignments import (
    Agents,
    Assigned,
    Transferred,
    agents_of,
    assignments,
    transfers_of,
)
from handletime.sources.liveperson.fields import (
    UNREADABLE,
    Dialog,
    Happened,
    Info,
    Interaction,
    Message,
    Participant,
    Placed,
    Record,
    Span,
    Tell,
    Timed,
    Transfer,
    elements,
    integer,
    is_nobody,
    is_text,
    moment,
    says,
    told_integer,
    told_time,
    written,
    wrong,
)
from handletime.sources.liveperson.span import Close, Open, close_of, start_of

_OPENED: Final = -4 * 10**9
_FIRST_MESSAGE: Final = -3 * 10**9
_TRANSFERRED: Final = -2 * 10**9
_ASSIGNED: Final = -(10**9)
_CLOSED: Final = 2**53 - 1
_COUNTED: Final = {"transferred": _TRANSFERRED, "assigned": _ASSIGNED}


class Conversation(NamedTuple):
    """One record as events, in order, and its faults: `agentParticipants[1].agentId: must be …`.

    `account` is "" where the record names none; `conversation_id` is "" where the record is not imported.
    """

    account: str
    conversation_id: str
    events: list[Event]
    faults: list[str]


def events_of(record: bytes | Raw) -> Conversation:
    """The events of one record. Takes its JSON; never raises, whatever stands in it.

    A record without a usable `info.conversationId` is refused as a whole. Otherwise missing, wrong and contradicting
    fields are reported, and the rest is imported; a part without a usable time or agent is left out.
    """
    faults: list[str] = []
    try:
        parts = msgspec.json.decode(record, type=Record)
        info = msgspec.json.decode(parts.info, type=Info)
    except UNREADABLE:
        return Conversation("", "", [], ["must be a record: a JSON object with `info`"])
    if not is_text(info.conversation_id, model.ID_MAX):
        allowed = f"a string of 1 to {model.ID_MAX} characters without control characters"
        return Conversation("", "", [], [f"info.conversationId: {wrong(info.conversation_id, allowed)}"])
    account, conversation_id = written(info.brand_id), str(info.conversation_id)
    if not is_account(account):
        account = ""
        faults.append(f"info.brandId: {wrong(info.brand_id, 'letters and digits')}; the events name no account")
    if info.is_partial is True or says(info.is_partial, "true"):
        faults.append("info.isPartial: parts of the conversation are missing")
    make = partial(Event, account_id=account or None, conversation_id=conversation_id)
    events = _once_each(_placed_events(parts, info, make, faults.append), faults.append)
    return Conversation(account, conversation_id, sorted(events, key=order), faults)


Make = Callable[..., Event]
"""Makes an event of this record's account and conversation."""
PlacedEvents = Iterator[tuple[str, Event]]
"""Events, each with the place in the record that it comes from: `transfers[0]`."""


def _placed_events(parts: Record, info: Info, make: Make, tell: Tell) -> PlacedEvents:
    """All events of a record: its opening and close, then each kind in the record's order."""
    dialogs = elements(parts.dialogs, Dialog, "dialogs", tell)
    main, surveys = _main_and_surveys(dialogs, tell)
    transfers = elements(parts.transfers, Transfer, "transfers", tell)
    participants = elements(parts.agent_participants, Participant, "agentParticipants", tell)
    active = "agentParticipantsActive"
    participants += elements(parts.agent_participants_active, Participant, active, tell, needed=False)
    interactions = elements(parts.interactions, Interaction, "interactions", tell, needed=False)
    messages = elements(parts.message_records, Message, "messageRecords", tell)
    newest = _newest(info, dialogs, [*transfers, *participants, *interactions, *messages])

    start = start_of(info, main, tell)
    close = close_of(info, main, start, bool(surveys), tell)
    if not dialogs and isinstance(close, Close) and close.without_survey:
        survey = _Survey(surveys, close.time, _bots_of_survey(close.time, participants))
    else:
        survey = _Survey(surveys)
    moved = transfers_of(survey.left_out_of(transfers), tell)
    joined = survey.left_out_of(participants)
    agents = agents_of(joined)
    taken = survey.left_out_of(interactions)
    assigned = assignments(joined, taken, moved, agents, tell, is_over=not isinstance(close, Open))

    if start is not None:
        yield "info", _opened(info, start, moved, partial(make, revision=newest), tell)
    if close is not None and newest:
        yield close.place, _closed(close, newest, make)
    moves = chain(_transferred(moved, make), _assigned(assigned, make))
    for place, event in chain(moves, _messages(survey.left_out_of(messages), agents, make, tell)):
        yield place, _within(place, event, start, close, tell)


def _newest(info: Info, dialogs: Placed[Dialog], happened: Iterable[tuple[str, Timed]]) -> int:
    """The newest time in the record, notes and surveys too, in epoch milliseconds; 0 where there is none."""
    spans: list[Span] = [info, *(dialog for _, dialog in dialogs)]
    times = [moment(span.start_time_l, span.start_time) for span in spans]
    times += [moment(span.end_time_l, span.end_time) for span in spans]
    times += [moment(info.conversation_end_time_l, info.conversation_end_time)]
    times += [moment(part.time_l, part.time) for _, part in happened]
    return max(filter(None, times), default=0)


class _Survey(NamedTuple):
    """What belongs to a survey: its dialogs; in a record without dialogs, what its bots do after its start."""

    dialogs: set[str]
    start: int = model.TIME_MAX
    bots: Mapping[str, int] = MappingProxyType({})
    """By bot, the time from which on its actions belong to the survey."""

    def left_out_of(self, parts: Placed[Happened]) -> Placed[Happened]:
        """The parts that do not belong to the survey."""
        if not self.dialogs and not self.bots and self.start == model.TIME_MAX:
            return parts
        return [(place, part) for place, part in parts if not self._has(part)]

    def _has(self, part: Timed) -> bool:
        at = part.moment
        if written(part.dialog_id) in self.dialogs:
            return True
        return at is not None and (at > self.start or at >= self.bots.get(part.agent, model.TIME_MAX))


def _bots_of_survey(start: int, participants: Placed[Participant]) -> dict[str, int]:
    """The bots that join as the survey starts or later, as written; one that was there before, from the start on."""
    bots = {agent_id for agent_id, agent in agents_of(participants).items() if agent.user_type == "bot"}
    joined = [(part.agent, part.moment) for _, part in participants if part.agent in bots and part.moment is not None]
    before = {bot for bot, at in joined if at < start}
    return {bot: start if bot in before else model.TIME_MIN for bot, at in joined if at >= start}


def _main_and_surveys(dialogs: Placed[Dialog], tell: Tell) -> tuple[Placed[Dialog], set[str]]:
    """The MAIN dialogs, and the ids of the surveys, which are no part of the conversation."""
    main: Placed[Dialog] = []
    surveys: set[str] = set()
    for place, dialog in dialogs:
        if says(dialog.dialog_type, "main"):
            main.append((place, dialog))
        elif not says(dialog.dialog_type, "post_survey"):
            tell(f"{place}.dialogType: {wrong(dialog.dialog_type, 'MAIN or POST_SURVEY')}; its parts count")
        elif is_nobody(dialog.dialog_id) or not written(dialog.dialog_id):
            tell(f"{place}.dialogId: {wrong(dialog.dialog_id, 'a string')}; its survey counts as conversation")
        else:
            surveys.add(written(dialog.dialog_id))
    return main, surveys


def _within(place: str, event: Event, start: int | None, close: Close | Open | None, tell: Tell) -> Event:
    """Reports events outside the conversation. Those that would open it too early count from its start."""
    if isinstance(close, Close) and event.time > close.time:
        tell(f"{place}: is after the conversation's close")
    if start is None or event.time >= start:
        return event
    if event.type == "message":
        tell(f"{place}: is before the conversation's start")
        return event
    tell(f"{place}: is before the conversation's start; counts from there")
    return replace(event, time=start)


def _once_each(placed: PlacedEvents, tell: Tell) -> Iterable[Event]:
    """Each id once, as it first stands. Transfers and assignments are counted within their millisecond."""
    kept: dict[str, Event] = {}
    counts: Counter[tuple[str, int]] = Counter()
    for place, event in placed:
        first = kept.setdefault(event.event_id, event)
        if first is not event:
            if replace(event, sequence=first.sequence) != first:
                tell(f"{place}: has the id of another event of this record; not imported")
            continue
        if event.type in _COUNTED:
            moment = event.type, event.time
            event = replace(event, sequence=_COUNTED[event.type] + counts[moment])
            counts[moment] += 1
        kept[event.event_id] = event
    return kept.values()


# --- its parts ----------------------------------------------------------------------------------------------


def _opened(info: Info, start: int, transfers: list[Transferred], make: Make, tell: Tell) -> Event:
    skill = transfers[0].source_skill if transfers else None
    if skill is None:
        skill = told_integer(info.latest_skill_id, "info.latestSkillId", tell)
    source = None if is_nobody(info.source) or not is_text(info.source, model.TEXT_MAX) else written(info.source)
    if source is None:
        allowed = f"a string of at most {model.TEXT_MAX} characters without control characters"
        tell(f"info.source: {wrong(info.source, allowed)}")
    elif says(source, "shark"):
        source = "WEB"
    return make(event_id="opened", time=start, sequence=_OPENED, type="opened", skill_id=skill, source=source)


def _closed(close: Close | Open, newest: int, make: Make) -> Event:
    """The close; for an open record a withdrawal of the close that an older copy had."""
    closed = partial(make, event_id="closed", sequence=_CLOSED, revision=newest)
    if isinstance(close, Open):
        return closed(time=newest, type="withdrawn")
    return closed(time=close.time, type="closed", closed_by=close.by)


def _transferred(transfers: list[Transferred], make: Make) -> PlacedEvents:
    for transfer in transfers:
        by = "" if transfer.by is None else transfer.by
        skill = "" if transfer.target_skill is None else transfer.target_skill
        yield (
            transfer.place,
            make(
                event_id=f"transferred:{transfer.time}:{by}:{skill}:{transfer.reason}",
                time=transfer.time,
                sequence=_TRANSFERRED,
                type="transferred",
                reason=transfer.reason,
                skill_id=transfer.target_skill,
            ),
        )


def _assigned(assigned: list[Assigned], make: Make) -> PlacedEvents:
    for one in assigned:
        yield (
            one.place,
            make(
                event_id=f"assigned:{one.own_time}:{one.agent_id}",
                time=one.time,
                sequence=_ASSIGNED,
                type="assigned",
                agent_id=one.agent_id,
                group_id=one.agent.group,
                user_type=one.agent.user_type,
            ),
        )


def _messages(parts: Placed[Message], agents: Agents, make: Make, tell: Tell) -> PlacedEvents:
    for place, part in parts:
        if _is_note(place, part, tell):
            continue
        time = told_time(part.time_l, part.time, f"{place}.time", tell)
        sender = _sender(place, part, agents, tell)
        if time is None or sender is None:
            continue
        seq = integer(part.seq)
        if seq is None or not 0 <= seq < _CLOSED:
            tell(f"{place}.seq: {wrong(part.seq, f'an integer from 0 to {_CLOSED - 1}')}; counts as 0")
        sequence = seq if seq is not None and 0 <= seq < _CLOSED else 0
        if seq == 0 and sender.sent_by == "consumer":
            sequence = _FIRST_MESSAGE
        id_ = _message_id(place, part, time, tell)
        yield (
            place,
            make(
                event_id=id_,
                time=time,
                sequence=sequence,
                type="message",
                sent_by=sender.sent_by,
                agent_id=sender.agent_id,
            ),
        )


def _is_note(place: str, part: Message, tell: Tell) -> bool:
    """Whether a message is a note for agents and managers only, which is no message."""
    if is_nobody(part.audience):
        return False
    if not isinstance(part.audience, str):
        tell(f"{place}.audience: must be ALL or AGENTS_AND_MANAGERS; not imported")
    return not says(part.audience, "all")


class _Sender(NamedTuple):
    sent_by: str
    agent_id: int | None = None


def _sender(place: str, part: Message, agents: Agents, tell: Tell) -> _Sender | None:
    """The sender of a message; None where it is unknown. An agent's message without an id is the assigned agent's."""
    if says(part.sent_by, "consumer"):
        return _Sender("consumer")
    if not says(part.sent_by, "agent"):
        tell(f"{place}.sentBy: {wrong(part.sent_by, 'Agent or Consumer')}; not imported")
        return None
    agent = agents.get(written(part.participant_id))
    if agent is not None and agent.user_type == "system":
        return _Sender("system")
    agent_id = integer(part.participant_id)
    if agent_id is None and not is_nobody(part.participant_id):
        tell(f"{place}.participantId: must be a signed 64-bit integer; not imported")
        return None
    if agent_id is None:
        tell(f"{place}.participantId: is missing; counts as the assigned agent's")
    return _Sender("agent", agent_id)


def _message_id(place: str, part: Message, time: int, tell: Tell) -> str:
    if is_nobody(part.message_id) or not isinstance(part.message_id, str):
        tell(f"{place}.messageId: {wrong(part.message_id, 'a string')}")
        return f"message:{time}:{integer(part.seq)}"
    if is_text(part.message_id, model.ID_MAX):
        return part.message_id
    return f"message:{hashlib.sha256(part.message_id.encode()).hexdigest()}"
