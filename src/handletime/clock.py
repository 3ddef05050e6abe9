"""What time it is."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time: the machine's, or a fixed one in tests."""

    def now(self) -> int:
        """The moment, in epoch milliseconds."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> int:
        """The moment, in epoch milliseconds."""
        return time.time_ns() // 1_000_000
