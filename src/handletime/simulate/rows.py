"""Events before they are Arrow: NumPy's rows, and the kinds of them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from handletime.events import model
from handletime.simulate.chance import Bools, Integers
from handletime.simulate.times import MINUTE

Rows = NDArray[np.void]
"""Events before they are Arrow, of `ROW`."""
LOOK_MAX: Final = 10 * MINUTE

ROW: Final = np.dtype(
    {
        "names": ["time", "conversation", "agent", "look", "id", "skill", "kind", "sequence"],
        "formats": [np.int64, np.int32, np.int32, np.int32, np.uint32, np.int16, np.uint8, np.int8],
        "itemsize": 32,
    }
)
"""Milliseconds; numbers of the conversation, of the agent in the staff and of the skill in the account (-1: none);
the milliseconds for which the agent has looked at the conversation before (0: nobody looks); a number for `eventId`.
32 bytes, as NumPy gathers those fastest."""

_BYTES: Final = np.dtype("V32")

KINDS: Final[tuple[tuple[int, str, str], ...]] = (
    (model.OPENED, "", ""),
    (model.RESUMED, "", ""),
    (model.TRANSFERRED, "reason", "agent"),
    (model.TRANSFERRED, "reason", "skill"),
    (model.TRANSFERRED, "reason", "backToQueue"),
    (model.TRANSFERRED, "reason", "takeover"),
    (model.ASSIGNED, "", ""),
    (model.FOCUSED, "", ""),
    (model.UNFOCUSED, "", ""),
    (model.MESSAGE, "sentBy", "consumer"),
    (model.MESSAGE, "sentBy", "agent"),
    (model.MESSAGE, "sentBy", "agent"),
    (model.MESSAGE, "sentBy", "system"),
    (model.CLOSED, "closedBy", "consumer"),
    (model.CLOSED, "closedBy", "agent"),
    (model.CLOSED, "closedBy", "system"),
)
OPENED, RESUMED, TO_AGENT, TO_SKILL, BACK_TO_QUEUE, TAKEOVER, ASSIGNED, FOCUSED, UNFOCUSED = range(9)
BY_CONSUMER, BY_AGENT, BY_AGENT_UNNAMED, BY_SYSTEM = range(9, 13)
CLOSED_BY_CONSUMER, CLOSED_BY_AGENT, CLOSED_BY_SYSTEM = range(13, 16)
"""Kinds of rows: places in `KINDS`. Unnamed: by an agent, but the message does not say by whom."""
READ: Final = 16
"""No event: an agent looks at a conversation and leaves it again."""
LEFT_OPEN: Final = 17
"""No event: an agent looks at a conversation and goes home."""
IMPLICIT: Final = 18
"""No event: another agent is assigned while the leg still runs."""
KIND_RANK: Final = np.array([model.RANKS[type_] for type_, _, _ in KINDS], np.int64)


def rows_of(time: Integers, conversation: Any, kind: Any, agent: Any = -1, look: Any = 0) -> Rows:
    """Rows of a kind, or of one kind each; without a skill, an id and a sequence."""
    rows = np.zeros(len(time), ROW)
    rows["time"], rows["conversation"], rows["kind"] = time, conversation, kind
    rows["agent"], rows["look"], rows["skill"] = agent, look, -1
    return rows


def joined(parts: list[Rows]) -> Rows:
    """One part behind the other."""
    # As 32 bytes each: NumPy copies structures field by field.
    together = np.empty(sum(map(len, parts)), _BYTES)
    at = 0
    for rows in parts:
        together[at : at + len(rows)] = rows.view(_BYTES)
        at += len(rows)
    return together.view(ROW)


def where(there: Bools, rows: Rows) -> Rows:
    """The rows for which that is true."""
    return rows.view(_BYTES).compress(there).view(ROW)


def in_order(rows: Rows, by: Integers) -> Rows:
    """The rows by an integer, then as they stand; its range times the number of rows is below 2**62."""
    if not len(rows):
        return rows
    bits = len(rows).bit_length()
    # Sorting integers that hold key and place is some ten times faster than argsort.
    packed = np.sort(((by - by.min()) << bits) | np.arange(len(rows)))
    return rows.view(_BYTES).take(packed & ((1 << bits) - 1)).view(ROW)
