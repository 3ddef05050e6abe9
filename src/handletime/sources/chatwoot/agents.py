"""Whose id is whose: Chatwoot counts users and bots apart, events have one number for each agent."""

from __future__ import annotations

from typing import Final

from handletime.sources.chatwoot.fields import Meta

BOTS: Final = 10**12
"""The agent of an agent bot is this and the bot's id."""
INBOX_BOTS: Final = 2 * 10**12
"""The bot that an inbox has, whichever it is, is this and the inbox's id."""


def is_bot(agent: int) -> bool:
    """Whether an agent is one of the bots."""
    return agent > BOTS


def bot_of(inbox: int | None) -> int | None:
    """The bot of an inbox; None where the inbox is not known."""
    return None if inbox is None else INBOX_BOTS + inbox


def assignee_of(meta: Meta | None) -> int | None:
    """The agent who has a conversation; None where nobody has."""
    if meta is None or meta.assignee is None or meta.assignee.id is None:
        return None
    return meta.assignee.id + (BOTS if meta.assignee_type == "AgentBot" else 0)


def writer_of(sender: int, type_: str | None, meta: Meta | None, inbox: int | None) -> int | None:
    """The agent who wrote a message: a user by that id, or a bot.

    A bot is the one to whom the conversation is assigned, or else the bot of the inbox: a conversation that waits
    for that one does not say which it is, and its messages have to count as its own (docs/chatwoot.md).
    """
    if type_ == "user":
        return sender
    bot = BOTS + sender
    return bot if assignee_of(meta) == bot else bot_of(inbox)
