"""Numbers for accounts and conversations, in order of first arrival."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from handletime.segments.columns import I64
from handletime.store.arrow import insert

RECENT_MAX: Final = 200_000
"""The number of conversations that are remembered, up to twice as many; others are looked up in the table."""
SEEN_BITS: Final = 1 << 26
"""Each conversation sets one of these bits. Where it is not set, a conversation is new and needs no look-up."""
AT_ONCE: Final = 256
"""The number of keys that are looked up through the index at a time."""

Conversation = tuple[int, str]
"""Account number and conversation id."""


class Directory:
    """The numbers of one open store. Not for several threads."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        rows = connection.execute("select account, accountId from kept.accounts").fetchall()
        self._accounts: dict[str, int] = {name: number for number, name in rows}
        self._recent: dict[Conversation, int] = {}
        self._older: dict[Conversation, int] = {}
        self._seen = np.zeros(SEEN_BITS // 8, np.uint8)
        self._next = 0
        keys = connection.sql("select number, key from kept.conversations").to_arrow_reader(1_000_000)
        for batch in keys:
            self._see(batch["key"].to_numpy())
            self._next = max(self._next, int(batch["number"].to_numpy().max()) + 1)

    @property
    def first_free(self) -> int:
        """The number that the next new conversation gets."""
        return self._next

    def account(self, name: str) -> int | None:
        """The number of an account that has events; None for others."""
        return self._accounts.get(name)

    def number_account(self, connection: duckdb.DuckDBPyConnection, name: str) -> int:
        """The number of an account; a new one is numbered."""
        if name not in self._accounts:
            self._accounts[name] = len(self._accounts)
            connection.execute("insert into kept.accounts values (?, ?)", [self._accounts[name], name])
        return self._accounts[name]

    def known(self, connection: duckdb.DuckDBPyConnection, wanted: Sequence[Conversation]) -> list[int]:
        """The numbers of different conversations, -1 for those that are new."""
        recent, older = self._recent, self._older
        found = [recent.get(c, -1) for c in wanted]
        missing = [c for c, number in zip(wanted, found, strict=True) if number < 0]
        if not missing:
            return found
        known = {c: older[c] for c in missing if c in older}
        known |= self._look_up(connection, [c for c in missing if c not in known])
        self._remember(known)
        return [number if number >= 0 else known.get(c, -1) for c, number in zip(wanted, found, strict=True)]

    def add(self, connection: duckdb.DuckDBPyConnection, new: list[Conversation]) -> range:
        """Numbers different new conversations, in this order."""
        numbers = range(self._next, self._next + len(new))
        self._add(connection, new)
        self._remember(dict(zip(new, numbers, strict=True)))
        return numbers

    def forget(self, numbers: Iterable[int]) -> None:
        """Drops removed conversations from memory; should one come again, it is a new one."""
        gone = set(numbers)
        for memory in (self._recent, self._older):
            for conversation in [c for c, number in memory.items() if number in gone]:
                del memory[conversation]

    def _remember(self, known: dict[Conversation, int]) -> None:
        if len(self._recent) + len(known) > RECENT_MAX:
            self._older, self._recent = self._recent, {}
        self._recent |= known

    def _look_up(
        self, connection: duckdb.DuckDBPyConnection, wanted: Sequence[Conversation]
    ) -> dict[Conversation, int]:
        """The numbers of those that the table has."""
        keys = np.array([key_of(c) for c in wanted], np.int64)
        slots = keys & (SEEN_BITS - 1)
        maybe = self._seen[slots >> 3] >> (slots & 7) & 1
        return find(connection, [c for c, asked in zip(wanted, maybe.tolist(), strict=True) if asked])

    def _add(self, connection: duckdb.DuckDBPyConnection, new: list[Conversation]) -> None:
        if not new:
            return
        keys = np.array([key_of(c) for c in new], np.int64)
        rows = pa.table(
            {
                "number": np.arange(self._next, self._next + len(new)),
                "account": pa.array([account for account, _id in new], pa.int32()),
                "conversationId": pa.array([id_ for _account, id_ in new], pa.string()),
                "key": keys,
            }
        )
        insert(connection, "kept.conversations", rows)
        self._see(keys)
        self._next += len(new)

    def _see(self, keys: I64) -> None:
        slots = keys & (SEEN_BITS - 1)
        for bit in range(8):
            # One that stands twice is set twice: of the same bit that is all the same.
            self._seen[slots[slots & 7 == bit] >> 3] |= np.uint8(1 << bit)


def find(connection: duckdb.DuckDBPyConnection, wanted: Sequence[Conversation]) -> dict[Conversation, int]:
    """The numbers of those conversations that are stored."""
    found: dict[Conversation, int] = {}
    for first in range(0, len(wanted), AT_ONCE):
        # Integers, so nothing can be injected; only for a list of literals does DuckDB ask the index.
        keys = ", ".join(str(key_of(conversation)) for conversation in wanted[first : first + AT_ONCE])
        query = f"select account, conversationId, number from kept.conversations where key in ({keys})"  # noqa: S608
        found |= {(account, id_): number for account, id_, number in connection.execute(query).fetchall()}
    return {conversation: found[conversation] for conversation in wanted if conversation in found}


def key_of(conversation: Conversation) -> int:
    """A signed 64-bit number for a conversation, by which the table finds it. Others may have the same."""
    account, id_ = conversation
    digest = hashlib.blake2b(id_.encode(), digest_size=8, key=account.to_bytes(4, "big")).digest()
    return int.from_bytes(digest, "big", signed=True)
