"""Columns of numbers: drawn by a seed, or hashed from other numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handletime.simulate.times import DAY, SECOND

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Numbers = NDArray[np.int32]
Bools = NDArray[np.bool_]


class Dice:
    """Random columns."""

    def __init__(self, *seeds: int) -> None:
        self.rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seeds)))

    def share(self, n: int, share: float) -> Bools:
        """True for about this share."""
        return self.uniform(n) < np.float32(share)

    def uniform(self, n: int) -> Floats:
        return self.rng.random(n, np.float32)

    def one_of(self, n: int, shares: dict[int, float]) -> NDArray[np.uint8]:
        """One of the keys each."""
        total = np.cumsum(np.array(list(shares.values()), np.float32))
        total[-1] = np.inf
        return np.array(list(shares), np.uint8)[np.searchsorted(total, self.uniform(n), side="right")]

    def spans(self, n: int, seconds: Any, sigma: Any = 0.8, most: Any = 2 * DAY) -> Integers:
        """Log-normal times in milliseconds, from 1, by their median in seconds."""
        z = self.rng.standard_normal(n, np.float32)
        z *= np.asarray(sigma, np.float32)
        z += np.log(np.asarray(seconds, np.float32) * np.float32(SECOND))
        np.exp(z, out=z)
        return np.clip(z, 1, most).astype(np.int64)


def hashed(numbers: Any, *seeds: int) -> NDArray[np.uint64]:
    """64 bits for each number (splitmix64)."""
    bits = np.asarray(numbers).astype(np.uint64)
    for seed in seeds:
        bits = bits + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits = bits ^ (bits >> np.uint64(31))
    return bits
