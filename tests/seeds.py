"""Seeds of random tests: new each time, and printed with a command that sets them."""

from __future__ import annotations

import os
import secrets
from typing import Final

VARIABLE: Final = "HANDLETIME_TEST_SEED"


def a_seed(test: str) -> int:
    """The seed of a run of a test (its node id), and the command that repeats it, on standard output."""
    seed = int(os.environ.get(VARIABLE) or secrets.randbelow(10**9))
    print(f'again: {VARIABLE}={seed} .venv/bin/pytest -n 0 -m "long or not long" "{test}"')
    return seed
