"""Seeds of random tests: new each time, and printed with a command that sets them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from typing import Final

import pytest

VARIABLE: Final = "HANDLETIME_TEST_SEED"


def a_seed(test: str) -> int:
    """The seed of a run of a test (its node id), and the command that repeats it, on standard output."""
    seed = int(os.environ.get(VARIABLE) or secrets.randbelow(10**9))
    print(f'again: {VARIABLE}={seed} .venv/bin/pytest -n 0 -m "long or not long" "{test}"')
    return seed


def mostly_long(values: Iterable[object], short: int) -> list[object]:
    """Parameters of a test, of which only so many of the first are tried without `make test-long`."""
    every = list(values)
    return [*every[:short], *(pytest.param(value, marks=pytest.mark.long) for value in every[short:])]
