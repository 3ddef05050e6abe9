"""An event as sources make it; `msgspec.json.encode` writes it as one (rules.md 1)."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from handletime.events import model


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, rename="camel"):
    """An event of rules.md 1. `time` is in epoch milliseconds; what is None is left out."""

    account_id: str | None = None
    conversation_id: str
    event_id: str
    time: int
    sequence: int
    revision: int = 0
    type: str
    agent_id: int | None = None
    employee_id: str | None = None
    group_id: int | None = None
    user_type: str | None = None
    skill_id: int | None = None
    source: str | None = None
    sent_by: str | None = None
    reason: str | None = None
    closed_by: str | None = None


def order(event: Event) -> tuple[int, int, int, bytes]:
    """A sort key: the order of rules.md 1 within a conversation."""
    return event.time, event.sequence, _RANKS[event.type], event.event_id.encode()


_RANKS: Final = dict(zip(model.TYPES, model.RANKS, strict=True))
