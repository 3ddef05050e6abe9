"""Removes old conversations while the server runs, a little at a time."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Final

from handletime.admin.house import House
from handletime.clock import Clock
from handletime.errors import NotNow
from handletime.store.watch import Stopped, Watch

DAY_MS: Final = 86_400_000
EVERY_S: Final = 3600.0
FIRST_S: Final = 30.0
"""The first round comes so long after the start, when the server has other things to do."""
AT_ONCE: Final = 1_000
"""So many conversations are removed in one transaction."""
PAUSE_S: Final = 0.5
"""The time between two transactions: what is removed costs ingest and readers little."""
_log: Final = logging.getLogger(__name__)


class Retention:
    """Keeps conversations for so many days after their last event, while it is entered."""

    def __init__(
        self, house: House, days: int, clock: Clock, *, first_s: float = FIRST_S, every_s: float = EVERY_S
    ) -> None:
        self._house, self._days, self._clock = house, days, clock
        self._first_s, self._every_s = first_s, every_s
        self._watch = Watch()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def __enter__(self) -> Retention:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._thread.is_alive():
            self._watch.stop()
            self._thread.join(0.1)

    def round(self) -> int:
        """Removes what is too old now; says how many conversations. Raises NotNow, StoreError."""
        before = self._clock.now() - self._days * DAY_MS
        return self._house.store.prune(
            before, at_once=AT_ONCE, pause_s=PAUSE_S, removing=self._house.removing, watch=self._watch
        )

    def _run(self) -> None:
        try:
            self._watch.pause(self._first_s)
            while True:
                self._try()
                self._watch.pause(self._every_s)
        except Stopped:
            return

    def _try(self) -> None:
        try:
            removed = self.round()
        except Stopped:
            raise
        except NotNow as error:
            _log.warning("old conversations stay until the next round: %s", error)
        except Exception:
            _log.exception("old conversations could not be removed")
        else:
            if removed:
                _log.info("removed %d conversations older than %d days", removed, self._days)
