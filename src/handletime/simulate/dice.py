"""Columns of random numbers, which follow from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handletime.clock import DAY, SECOND

Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Dice:
    """Random columns, of `n` rows each."""

    def __init__(self, *seeds: int) -> None:
        self._rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seeds)))

    def uniform(self, n: int) -> NDArray[np.float64]:
        """From 0 to below 1."""
        return self._rng.random(n)

    def share(self, n: int, share: Any) -> Bools:
        """True in about this share of the rows."""
        return np.asarray(self._rng.random(n, np.float32) < np.asarray(share, np.float32))

    def below(self, limits: Any) -> Integers:
        """An integer from 0 to below each limit."""
        return np.asarray(self.uniform(len(limits)) * limits).astype(np.int64)

    def one_of(self, shares: NDArray[np.float64]) -> Integers:
        """The number of a column for each row of `shares`, whose columns add up to 1."""
        above = self.uniform(len(shares))[:, None] >= np.cumsum(shares, axis=1)[:, :-1]
        return np.asarray(above.sum(axis=1, dtype=np.int64))

    def spans(self, n: int, seconds: Any, sigma: float = 0.8, most: int = 2 * DAY) -> Integers:
        """Log-normal times in milliseconds, from 1 to `most`, by their median in seconds."""
        factor = np.exp(self._rng.standard_normal(n, np.float32) * np.float32(sigma))
        return np.asarray(np.clip(factor * (np.asarray(seconds, np.float32) * SECOND), 1, most), np.int64)
