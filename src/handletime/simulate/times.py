"""Times, in milliseconds."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import numpy as np

from handletime.events import model

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
NEVER: Final = np.iinfo(np.int64).max // 2
"""Later than every time; neither a sum with a time nor `-NEVER` overflows."""


def millis(time: datetime) -> int:
    """Since 1970-01-01 (UTC); what is finer is cut off."""
    return (time - model.EPOCH) // timedelta(milliseconds=1)
