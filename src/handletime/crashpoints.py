"""Named steps of the code that changes the store, at which tests kill the process.

`HANDLETIME_CRASH_AT=committed` kills it, as kill −9 does, where the step is reached; `committed:3` where it is reached
for the third time. Only tests set it.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from typing import Final

VARIABLE: Final = "HANDLETIME_CRASH_AT"
_name = ""
_count: Iterator[bool] = itertools.repeat(False)


def arm(wanted: str) -> None:
    """From now on, the step `wanted` (`name`, or `name:which time`) ends this process; "" is none."""
    global _name, _count
    _name, _, time = wanted.partition(":")
    _count = itertools.chain(itertools.repeat(False, int(time or 1) - 1), itertools.repeat(True))


def crash_point(name: str) -> None:
    """A step is reached."""
    if _name == name and next(_count):
        os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get(VARIABLE, ""))
