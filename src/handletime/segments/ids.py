"""Ids of agent segments (rules.md 2.1): account, agent, conversation, and a token of the event that starts one."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handletime.errors import InputError

_BYTES: Final = 16
"""Bytes of a digest that a token has."""
_LETTERS: Final = 22
"""Letters of a token: its bytes in URL-safe base64, unpadded."""
_DIGEST: Final = 32
_FILLED: Final = 24
"""Letters of a token whose bytes are filled up with zeros to a multiple of three; the first 22 are the token's own."""


def segment_id(account: str, agent: int, conversation: str, event: str) -> str:
    """The id of one agent segment."""
    token = urlsafe_b64encode(sha256(f"{account}\0{conversation}\0{event}".encode()).digest()[:_BYTES])[:_LETTERS]
    return f"{account}:{agent}:{conversation}:{token.decode()}"


def segment_ids(accounts: pa.Array, agents: pa.Array, conversations: pa.Array, events: pa.Array) -> pa.Array:
    """The ids of many: three times as fast as one by one. Raises InputError where they take 2 GiB or more."""
    accounts = accounts.cast(pa.string())
    try:
        messages = pc.binary_join_element_wise(accounts, conversations, events, "\0").cast(pa.binary())
        digests = b"".join([sha256(message).digest() for message in messages.to_pylist()])
        filled = np.zeros((len(messages), _FILLED // 4 * 3), np.uint8)
        filled[:, :_BYTES] = np.frombuffer(digests, np.uint8).reshape(-1, _DIGEST)[:, :_BYTES]
        letters = np.frombuffer(urlsafe_b64encode(filled.tobytes()), np.uint8).reshape(-1, _FILLED)[:, :_LETTERS]
        buffers = [None, pa.py_buffer(np.ascontiguousarray(letters))]
        tokens = pa.Array.from_buffers(pa.binary(_LETTERS), len(messages), buffers).cast(pa.binary()).cast(pa.string())
        return pc.binary_join_element_wise(accounts, agents.cast(pa.string()), conversations, tokens, ":")
    except pa.ArrowCapacityError as error:
        raise InputError(
            "too many segments at once: their ids take more than 2 GiB; give the events in parts"
        ) from error
