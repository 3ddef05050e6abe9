"""Legs: the ways of conversations from entering a queue to a transfer or close, as columns."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from handletime.simulate.rows import CLOSED_BY_AGENT, CLOSED_BY_CONSUMER, CLOSED_BY_SYSTEM

LEG: Final = np.dtype(
    {
        "names": [
            *("at", "assigned", "until", "ended", "leave"),
            *("conversation", "account", "skill", "agent", "last", "turns"),
            *("follows", "plot", "ending", "names_skill"),
        ],
        "formats": [np.int64] * 5 + [np.int32] * 6 + [np.uint8] * 3 + [np.bool_],
    },
    align=True,
)
"""A leg: in the queue from `at`, with `agent` from `assigned` to `ended`; `until` is its last message so far.

`last` is the agent of the leg before, `leave` when the agent's shift ends if that cuts the leg (else 0),
`names_skill` that `assigned` has to name the skill, as no event before it does.
"""
Legs = NDArray[np.void]

NEW, AGAIN, QUEUE, DIRECT, MANAGER = range(5)
"""What a leg follows: opening, resumption, transfer through the queue, transfer to an agent, takeover."""
BOT, SILENT, MONOLOGUE, DIALOGUE = range(4)
"""Plots: the consumer comes to a bot, or a human does not write, gets no answer, gets one."""
CLOSED: Final = (CLOSED_BY_CONSUMER, CLOSED_BY_AGENT, CLOSED_BY_SYSTEM)
