"""Numbers for accounts, conversations and events, in order of first arrival."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from handletime.segments.columns import I64, Bools
from handletime.store.arrow import insert, registered

SEEN_BITS: Final = 1 << 26
"""Each conversation sets one of these bits. Where it is not set, a conversation is new and needs no look-up."""

Conversation = tuple[int, str]
"""Account number and conversation id."""


class Directory:
    """The numbers that are taken in one open store. What is given out need not stand in its tables yet.

    One thread at a time may give out numbers; any may read. `next_arrival` is the number of the next event.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        rows = connection.execute("select account, accountId from kept.accounts").fetchall()
        self.accounts: dict[str, int] = {name: number for number, name in rows}
        ((arrivals,),) = connection.execute("select arrivals from kept.meta").fetchall()
        self.next_arrival = int(arrivals)
        self.next_conversation = 0
        self._seen = np.zeros(SEEN_BITS // 8, np.uint8)
        keys = connection.sql("select number, key from kept.conversations").to_arrow_reader(1_000_000)
        for batch in keys:
            self._see(batch["key"].to_numpy())
            self.next_conversation = max(self.next_conversation, int(batch["number"].to_numpy().max()) + 1)

    def account(self, name: str) -> int:
        """The number of an account; a new one is numbered.

        Not by how many there are: one that was numbered before may have come to the tables later, or not at all.
        """
        if name not in self.accounts:
            self.accounts[name] = 1 + max(self.accounts.values(), default=-1)
        return self.accounts[name]

    def arrive(self, events: int) -> int:
        """The number of the first of so many new events."""
        first = self.next_arrival
        self.next_arrival += events
        return first

    def number(self, new: Sequence[Conversation]) -> range:
        """Numbers different new conversations, in this order."""
        self._see(_keys(new))
        first = self.next_conversation
        self.next_conversation += len(new)
        return range(first, self.next_conversation)

    def may_be_stored(self, conversations: Sequence[Conversation]) -> Bools:
        """Of each conversation whether it has to be looked up: the others are certainly new."""
        slots = _keys(conversations) & (SEEN_BITS - 1)
        return np.asarray(self._seen[slots >> 3] >> (slots & 7) & 1, np.bool_)

    def _see(self, keys: I64) -> None:
        slots = keys & (SEEN_BITS - 1)
        for bit in range(8):
            # One that stands twice is set twice: of the same bit that is all the same.
            self._seen[slots[slots & 7 == bit] >> 3] |= np.uint8(1 << bit)


def insert_conversations(connection: duckdb.DuckDBPyConnection, conversations: dict[int, Conversation]) -> None:
    """Adds conversations, by number."""
    rows = pa.table(
        {
            "number": pa.array(list(conversations), pa.int64()),
            "account": pa.array([account for account, _id in conversations.values()], pa.int32()),
            "conversationId": pa.array([id_ for _account, id_ in conversations.values()], pa.string()),
            "key": _keys(list(conversations.values())),
        }
    )
    insert(connection, "kept.conversations", rows)


def find(connection: duckdb.DuckDBPyConnection, wanted: Sequence[Conversation]) -> dict[Conversation, int]:
    """The numbers of those conversations that are stored."""
    if not wanted:
        return {}
    with registered(connection, asked=pa.table({"key": _keys(wanted)})):
        rows = connection.execute(_BY_KEY).fetchall()
    found = {(account, id_): number for account, id_, number in rows}
    return {conversation: found[conversation] for conversation in wanted if conversation in found}


_BY_KEY: Final = """
    select account, conversationId, number from kept.conversations where key in (select key from asked)"""


def key_of(conversation: Conversation) -> int:
    """A signed 64-bit number for a conversation, by which the table finds it. Others may have the same."""
    account, id_ = conversation
    digest = hashlib.blake2b(id_.encode(), digest_size=8, key=account.to_bytes(4, "big")).digest()
    return int.from_bytes(digest, "big", signed=True)


def _keys(conversations: Sequence[Conversation]) -> I64:
    return np.array([key_of(conversation) for conversation in conversations], np.int64)
