"""How long one request may take in all. It stops queries; other work asks it between steps."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from handletime.errors import NotNow

T = TypeVar("T")
EVERY: Final = 1024
"""The number of small steps between two looks at the deadline."""


class Deadline:
    """The end of the time for one request, so many seconds after it was made; without a limit it never comes."""

    __slots__ = ("_ends",)

    def __init__(self, limit_s: float | None = None) -> None:
        self._ends = None if limit_s is None else time.monotonic() + limit_s

    def left_s(self) -> float | None:
        """The seconds that are left; None where there is no limit. Raises NotNow where none are."""
        self.check()
        return None if self._ends is None else max(self._ends - time.monotonic(), 0.001)

    def check(self) -> None:
        """To be called between steps. Raises NotNow where no time is left."""
        if self._ends is not None and time.monotonic() > self._ends:
            raise NotNow("the query took too long; ask for less at once")

    def over(self, steps: Iterable[T]) -> Iterator[T]:
        """Gives the steps one by one, as long as there is time. Raises NotNow."""
        for number, step in enumerate(steps):
            if number % EVERY == 0:
                self.check()
            yield step
