"""One delivery of Chatwoot's webhooks becomes events: a pure function of its body (docs/chatwoot.md).

| Chatwoot | events | `eventId` |
|---|---|---|
| `conversation_created` | `opened`, and `assigned` to whom it has | `o`, `o:a` |
| `message_created` | `message`; before the consumer's, `resumed` and `assigned` | `m<id>`, `m<id>:r`, `m<id>:a` |
| `conversation_updated` | `resumed`, `transferred`, `assigned`, `closed` | `u<ms>:r`, `:t`, `:a`, `:c` |

The state in a body is of the moment when it was rendered. It is fresh if that was within `FRESH_MS` of what happened.
Facts that only the state tells have revision 1 where it is fresh, else 0 or no event; all others have revision 1. What
a fresh state tells more exactly (a team, which bot wrote) has revision 2, so that a copy made later never stands; where
it tells that nobody has the conversation, `withdrawn` stands in the place of what a copy made later guesses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Struct

from handletime.events import model
from handletime.events.book import instant
from handletime.sources.chatwoot.agents import BOTS, assignee_of, bot_of, is_bot, writer_of
from handletime.sources.chatwoot.fields import Change, Conversation, Delivered, Message, Named, Updated
from handletime.sources.event import Event

FRESH_MS: Final = 2_000
"""A state is fresh if it was rendered less than this after what happened."""
TOLD: Final = 1
"""The revision of what a delivery tells."""
SURE: Final = 2
"""The revision of what a delivery tells more exactly because its state is fresh."""
GUESSED: Final = 0
"""The revision of what its state says too late, and of what REST tells."""
IDS_MAX: Final = BOTS - 1
"""The largest id of a user, a bot, an inbox or a team; beyond it, they could not be told apart."""
_CHANNEL: Final = re.compile(r"(?:Channel::)?(\w{1,64})", re.ASCII)


class Options(Struct, frozen=True):
    """What a body does not tell. `skill` is what counts as skill.

    `auto_resolve_minutes` is the account's setting of that name, None where Chatwoot resolves nothing by itself.
    """

    skill: Literal["inbox", "team"] = "inbox"
    auto_resolve_minutes: int | None = None


class Mapped(NamedTuple):
    """The events of one body, in order; `problem` says why it has none though it should, else it is None."""

    events: list[Event]
    problem: str | None = None


def events_of(body: bytes, options: Options) -> Mapped:
    """The events of a delivery. Never raises for content; problems name places, never what stood there."""
    try:
        name = msgspec.json.decode(body, type=Named).event
        match name:
            case "conversation_created":
                return Mapped(list(_created(msgspec.json.decode(body, type=Conversation), options)))
            case "message_created":
                return Mapped(list(_written(msgspec.json.decode(body, type=Delivered), options)))
            case "conversation_updated":
                return Mapped(list(_updated(msgspec.json.decode(body, type=Updated), options)))
    except RecursionError:
        return Mapped([], "is nested too deep")
    except ValueError as error:  # msgspec's errors and UnicodeDecodeError are some.
        return Mapped([], str(error))
    return Mapped([])


class Told(ValueError):
    """What is wrong with a body, in words that do not repeat it."""


# --- the three deliveries that count --------------------------------------------------------------------------


def _created(conversation: Conversation, options: Options) -> Iterator[Event]:
    at = seconds(conversation.created_at, "created_at")
    is_fresh = _is_fresh(conversation, at)
    make = partial(Event, conversation_id=id_of(conversation), time=at, sequence=0, revision=TOLD)
    yield make(**_begun(conversation, options, is_fresh=is_fresh), event_id="o", type="opened")
    if not is_fresh:
        return
    if conversation.status == "pending":
        yield from assigned(make, "o:a", _bot(conversation))
    elif conversation.status == "open":
        yield from assigned(make, "o:a", assignee_of(conversation.meta))


def _written(message: Delivered, options: Options) -> Iterator[Event]:
    conversation = message.conversation
    at = instant(message.created_at)
    if at is None:
        raise Told("created_at: must be a time with an offset")
    id_ = f"m{number(message.id, 'id', model.INTEGER_MAX)}"
    make = partial(Event, conversation_id=id_of(conversation), time=at, sequence=message.id, revision=TOLD)
    kind = kind_of(message)
    if kind is None:
        return
    if kind == "consumer" and conversation.status == "open" and _is_fresh(conversation, at):
        yield make(**_begun(conversation, options, is_fresh=True), event_id=f"{id_}:r", type="resumed")
        yield from assigned(make, f"{id_}:a", assignee_of(conversation.meta))
    writer, revision = None, TOLD
    if kind == "agent" and message.sender is not None and not echoes(message):
        sender = number(message.sender.id, "sender.id")
        is_fresh = _is_fresh(conversation, at)
        writer = writer_of(sender, message.sender.type, conversation.meta if is_fresh else None, inbox_of(conversation))
        revision = SURE if is_fresh and message.sender.type != "user" else TOLD
    yield make(event_id=id_, type="message", sent_by=kind, agent_id=writer, revision=revision)


def _updated(conversation: Updated, options: Options) -> Iterator[Event]:
    changes = {name: change for each in conversation.changed_attributes or [] for name, change in each.items()}
    team = changes.get("team_id") if options.skill == "team" else None
    moved = any(name in changes for name in _ASSIGNEES)
    if "status" not in changes and not moved and team is None:
        return
    at = instant(changes["updated_at"].current_value) if "updated_at" in changes else None
    if at is None:
        raise Told("changed_attributes: updated_at must say when, with an offset")
    was, now = _statuses(changes.get("status"))
    is_fresh = _is_fresh(conversation, at)
    make = partial(Event, conversation_id=id_of(conversation), time=at, sequence=0, revision=TOLD)
    id_ = f"u{at}"

    reopened = was == "resolved" and now in ("open", "pending")
    handed_over = was == "pending" and now == "open"
    to_bot = now == "pending" and was != "pending"
    holder, revision = _changed_assignee(changes), TOLD
    by_state = to_bot or (not moved and (reopened or handed_over or team is not None))
    if by_state:
        holder = _bot(conversation) if to_bot else assignee_of(conversation.meta)
        revision = TOLD if is_fresh else GUESSED

    is_open = now == "open" or (now is None and is_fresh and conversation.status == "open")
    if reopened or (moved and holder is not None and is_open):
        yield make(**_begun(conversation, options, is_fresh=is_fresh), event_id=f"{id_}:r", type="resumed")
    if team is not None:
        yield make(event_id=f"{id_}:t", type="transferred", reason="skill", skill_id=_team(team.current_value))
    elif handed_over:
        yield make(event_id=f"{id_}:t", type="transferred", reason="skill")
    elif (to_bot and not reopened) or (moved and holder is None and now != "resolved"):
        yield make(event_id=f"{id_}:t", type="transferred", reason="backToQueue")
    if holder is not None:
        yield from assigned(partial(make, revision=revision), f"{id_}:a", holder)
    elif by_state and is_fresh:  # A copy made later may name somebody who got the conversation since.
        yield make(event_id=f"{id_}:a", type="withdrawn")
    if now == "resolved":
        by, revision = closed_by(conversation, at, options)
        yield make(event_id=f"{id_}:c", type="closed", closed_by=by, revision=revision)


_ASSIGNEES: Final = ("assignee_id", "assignee_agent_bot_id")


def _statuses(change: Change | None) -> tuple[str | None, str | None]:
    """The status before and after a change; nothing where it did not change."""
    if change is None:
        return None, None
    was, now = change.previous_value, change.current_value
    if not isinstance(now, str) or not isinstance(was, str | None):
        raise Told("changed_attributes: status must be a word")
    return was, now


def _changed_assignee(changes: Mapping[str, Change]) -> int | None:
    """To whom a change assigns the conversation; None where to nobody, or where that did not change."""
    for name, first in zip(_ASSIGNEES, (0, BOTS), strict=True):
        if name in changes and changes[name].current_value is not None:
            return first + number(changes[name].current_value, name)
    return None


def _team(value: object) -> int:
    return model.UNASSIGNED if value is None else number(value, "team_id")


def _bot(conversation: Conversation) -> int | None:
    """The bot that has a pending conversation."""
    assignee = assignee_of(conversation.meta)
    return assignee if assignee is not None and is_bot(assignee) else bot_of(inbox_of(conversation))


def _begun(conversation: Conversation, options: Options, *, is_fresh: bool) -> dict[str, Any]:
    """The fields of `opened` and `resumed`, and their revision: a fresh state may say more."""
    revision = SURE if is_fresh and options.skill == "team" else TOLD
    return {"revision": revision, **opening(conversation, options, is_fresh=is_fresh)}


def _is_fresh(conversation: Conversation, at: int) -> bool:
    updated = conversation.updated_at
    return updated is not None and seconds(updated, "updated_at") - at < FRESH_MS


# --- what REST's answers have too -----------------------------------------------------------------------------


def kind_of(message: Message) -> str | None:
    """Who wrote a message: `consumer`, `agent` or `system`; None where it is a note, or none at all. Raises Told."""
    kind = message.message_type
    if isinstance(kind, int):
        kind = _KINDS[kind] if 0 <= kind < len(_KINDS) else ""
    if kind not in _KINDS:
        raise Told(f"message_type: must be one of {', '.join(_KINDS)}")
    if message.private or kind == "activity":
        return None
    if kind == "incoming":
        return "consumer"
    marks = [marks for marks in (message.content_attributes, message.additional_attributes) if marks is not None]
    if kind == "outgoing" and echoes(message):
        return "agent"
    by_rule = any(_is_set(each.automation_rule_id) or _is_set(each.campaign_id) for each in marks)
    nobody = message.sender is None or message.sender.id is None
    return "system" if kind == "template" or by_rule or nobody else "agent"


_KINDS: Final = ("incoming", "outgoing", "activity", "template")
"""Types of messages; REST has the place in this list instead."""


def echoes(message: Message) -> bool:
    """Whether a message was written in the channel's own app: nobody knows by whom."""
    return message.content_attributes is not None and _is_set(message.content_attributes.external_echo)


def _is_set(mark: object) -> bool:
    return mark not in (None, False, "", 0)


def id_of(conversation: Conversation) -> str:
    """The id of a conversation. Raises Told."""
    return str(number(conversation.id, "id", model.INTEGER_MAX))


def inbox_of(conversation: Conversation) -> int | None:
    """The inbox of a conversation. Raises Told."""
    return None if conversation.inbox_id is None else number(conversation.inbox_id, "inbox_id")


def skill_of(conversation: Conversation, options: Options) -> int | None:
    """The skill that the state says. Raises Told."""
    if options.skill == "inbox":
        return inbox_of(conversation)
    team = conversation.meta.team if conversation.meta else None
    return None if team is None or team.id is None else number(team.id, "meta.team.id")


def source_of(conversation: Conversation) -> str | None:
    """The channel: `WebWidget`, `Whatsapp`, `Email`, …"""
    channel = conversation.channel or (conversation.meta.channel if conversation.meta else None)
    found = _CHANNEL.fullmatch(channel or "")
    return found[1] if found else None


def opening(conversation: Conversation, options: Options, *, is_fresh: bool) -> dict[str, Any]:
    """The fields of `opened` and `resumed`: the inbox never changes, the team only a fresh state tells. Raises Told."""
    known = is_fresh or options.skill == "inbox"
    return {"source": source_of(conversation), "skill_id": skill_of(conversation, options) if known else None}


def assigned(make: Callable[..., Event], id_: str, agent: int | None) -> Iterator[Event]:
    """An assignment to an agent, a user or a bot; none to nobody. `make` gives it all but what is said here."""
    if agent is not None:
        yield make(event_id=id_, type="assigned", agent_id=agent, user_type="bot" if is_bot(agent) else None)


def closed_by(conversation: Conversation, at: int, options: Options) -> tuple[str, int]:
    """Who closed a conversation, as far as that can be known, and the revision of this. Raises Told."""
    last = conversation.last_activity_at
    if last is None or options.auto_resolve_minutes is None:
        return "agent", TOLD
    silent_ms = at - seconds(last, "last_activity_at")
    if silent_ms < 0:  # There has been more since.
        return "agent", GUESSED
    return "system" if silent_ms >= options.auto_resolve_minutes * 60_000 else "agent", TOLD


def seconds(value: float, name: str) -> int:
    """Epoch seconds in milliseconds. Raises Told."""
    at = instant(round(value * 1000)) if abs(value) < model.TIME_MAX else None
    if at is None:
        raise Told(f"{name}: must be epoch seconds, from 2000 on")
    return at


def number(value: object, name: str, most: int = IDS_MAX) -> int:
    """An id. Raises Told."""
    if type(value) is not int or not 0 < value <= most:
        raise Told(f"{name}: must be an integer from 1 to {most}")
    return value
