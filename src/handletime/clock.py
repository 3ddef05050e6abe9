"""What time it is, and how long a second, a minute, an hour and a day are, in milliseconds."""

from __future__ import annotations

import time
from typing import Final, Protocol

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


class Clock(Protocol):
    """Tells the time: the machine's, or a fixed one in tests."""

    def now(self) -> int:
        """The moment, in epoch milliseconds."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> int:
        """The moment, in epoch milliseconds."""
        return time.time_ns() // 1_000_000
