"""Upkeep that goes on by itself beside a server: a thread that works while it is entered, and stops between steps."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Final, Self

from handletime.store.watch import Stopped, Watch

LOOK_S: Final = 0.1
"""Seconds between two attempts to stop it."""


class Background(ABC):
    """Work in a thread of its own. Its steps ask `watch`, and are stopped by it."""

    def __init__(self, name: str, watch: Watch) -> None:
        self.watch = watch
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._thread.is_alive():
            self.watch.stop()
            self._thread.join(LOOK_S)

    @abstractmethod
    def work(self) -> None:
        """All that is to be done. Raises Stopped where `watch` says so."""

    def _run(self) -> None:
        try:
            self.work()
        except Stopped:
            return
