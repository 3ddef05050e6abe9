"""The fields of Chatwoot's deliveries and REST answers that are read. Nothing else of them is ever decoded.

A value of another type is a fault that names its place and never repeats it: "Expected `int`, got `str` - at `$.id`".
"""

from __future__ import annotations

from msgspec import Struct

Number = int | float
Value = str | int | float | bool | None
"""A value that is compared, and otherwise not used."""


class Named(Struct):
    """What every delivery has."""

    event: str


class Identified(Struct):
    """A user, a bot, a contact or a team, without the name."""

    id: int | None = None
    type: str | None = None


class Meta(Struct):
    """Who has a conversation; in REST also its channel."""

    assignee: Identified | None = None
    assignee_type: str | None = None
    team: Identified | None = None
    channel: str | None = None


class Conversation(Struct):
    """The state of a conversation when a delivery was rendered. `id` is the display id; times are epoch seconds."""

    id: int
    status: str
    created_at: Number
    inbox_id: int | None = None
    channel: str | None = None
    updated_at: Number | None = None
    last_activity_at: Number | None = None
    meta: Meta | None = None


class Change(Struct):
    """What an attribute was, and is. Only numbers and short words are looked at."""

    previous_value: object = None
    current_value: object = None


class Updated(Conversation):
    """A conversation's state, and what a change has changed."""

    changed_attributes: list[dict[str, Change]] | None = None


class Marks(Struct):
    """Who else may have made a message."""

    automation_rule_id: Value = None
    campaign_id: Value = None
    external_echo: Value = None


class Message(Struct):
    """A message without what was written, and the state of its conversation. Its time is a text, in REST a number."""

    id: int
    created_at: str | Number
    message_type: str | int
    private: bool | None = None
    sender: Identified | None = None
    content_attributes: Marks | None = None
    additional_attributes: Marks | None = None


class Delivered(Message, kw_only=True):
    """A message as a webhook brings it."""

    conversation: Conversation
