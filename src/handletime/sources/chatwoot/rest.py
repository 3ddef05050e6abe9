"""A conversation of Chatwoot's REST API and its messages become events (docs/chatwoot.md).

| REST | events | `eventId` |
|---|---|---|
| a conversation | `opened` | `o` |
| a message | `message`; in a time without deliveries, `assigned` before an agent's | `m<id>`, `m<id>:a` |
| the present state, true since `updated_at` | open: `resumed`, `assigned`; resolved: `closed` | `u<ms>:r`, `:a`, `:c` |

All have revision 0 and the ids of the deliveries that tell the same, so that these win. What the state says is true
at `updated_at`, whatever came before: where deliveries told it, it changes nothing; where they were lost, it makes
that good.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import msgspec
from msgspec import Struct

from handletime.events import model
from handletime.events.book import instant
from handletime.sources.chatwoot.agents import assignee_of, writer_of
from handletime.sources.chatwoot.fields import Conversation, Message
from handletime.sources.chatwoot.webhook import (
    GUESSED,
    Options,
    Told,
    assigned,
    closed_by,
    echoes,
    id_of,
    inbox_of,
    kind_of,
    number,
    opening,
    seconds,
)
from handletime.sources.event import Event


class Period(Struct, frozen=True):
    """A time without deliveries, [since, until) in epoch milliseconds. Only within it are assignments inferred."""

    since: int = model.MILLIS_MIN
    until: int = model.MILLIS_MIN

    def has(self, at: int) -> bool:
        """Whether a moment lies in it."""
        return self.since <= at < self.until


class History(NamedTuple):
    """What REST tells of a conversation: its events, what is wrong with the rest, and whether some was inferred."""

    events: list[Event]
    problems: list[str]
    is_reconstructed: bool


def history_of(conversation: bytes, messages: Iterable[bytes], options: Options, silent: Period) -> History:
    """The events of a conversation, from JSON: an element of `GET conversations`, and those of `GET messages`.

    Messages may come in any order and twice. `silent` is when no deliveries were made. Never raises for content;
    problems name places, never what stood there.
    """
    try:
        state = msgspec.json.decode(conversation, type=Conversation)
        make = partial(Event, conversation_id=id_of(state), revision=GUESSED)
        events = [_opened(make, state, options, silent)]
        present = list(_present(make, state, options, silent))
    except ValueError as error:  # msgspec's errors and Told are some.
        return History([], [str(error)], False)
    written: dict[int, Message] = {}
    problems: list[str] = []
    for each in messages:
        try:
            message = msgspec.json.decode(each, type=Message)
            written[number(message.id, "id", model.INTEGER_MAX)] = message
        except ValueError as error:
            problems.append(f"a message: {error}")
    holder: int | None = None
    for id_ in sorted(written):
        try:
            told = list(_written(make, written[id_], state, silent, holder))
        except ValueError as error:
            problems.append(f"message {id_}: {error}")
            continue
        events += told
        holder = next((event.agent_id for event in told if event.type == "assigned"), holder)
    events += present
    return History(events, problems, holder is not None or any(silent.has(event.time) for event in present))


def _opened(make: Callable[..., Event], state: Conversation, options: Options, silent: Period) -> Event:
    """Of teams only the present one is known: it counts from the start where no delivery tells another."""
    at = seconds(state.created_at, "created_at")
    told = opening(state, options, is_fresh=silent.has(at))
    return make(event_id="o", type="opened", time=at, sequence=0, **told)


def _written(
    make: Callable[..., Event], message: Message, state: Conversation, silent: Period, holder: int | None
) -> Iterator[Event]:
    kind = kind_of(message)
    if kind is None:
        return
    if isinstance(message.created_at, str):
        raise Told("created_at: must be epoch seconds")
    at = seconds(message.created_at, "created_at")
    write = partial(make, time=at, sequence=message.id)
    writer = None
    if kind == "agent" and message.sender is not None and not echoes(message):
        writer = writer_of(number(message.sender.id, "sender.id"), message.sender.type, state.meta, inbox_of(state))
    if writer is not None and writer != holder and silent.has(at):
        yield from assigned(write, f"m{message.id}:a", writer)
    yield write(event_id=f"m{message.id}", type="message", sent_by=kind, agent_id=writer)


def _present(make: Callable[..., Event], state: Conversation, options: Options, silent: Period) -> Iterator[Event]:
    at = _since(state, silent)
    if at is None:
        return
    id_, now = f"u{at}", partial(make, time=at, sequence=0)
    if state.status == "open":
        yield now(event_id=f"{id_}:r", type="resumed", **opening(state, options, is_fresh=True))
        yield from assigned(now, f"{id_}:a", assignee_of(state.meta))
    elif state.status == "resolved":
        by, _ = closed_by(state, at, options)
        yield now(event_id=f"{id_}:c", type="closed", closed_by=by)


def _since(state: Conversation, silent: Period) -> int | None:
    """Since when the state is as it is, cut to the millisecond as deliveries are; None where nobody knows.

    Before version 4.0.2 there is no `updated_at`. A state is younger than the last activity: where deliveries tell
    when it began, that would contradict them.
    """
    if state.updated_at is None:
        if state.last_activity_at is None:
            return None
        at = seconds(state.last_activity_at, "last_activity_at")
        return at if silent.has(at) else None
    seconds(state.updated_at, "updated_at")
    return instant(math.floor(state.updated_at * 1000 + 0.0005))  # A number of microseconds, as near as a float gets.
