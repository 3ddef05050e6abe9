"""Removes old conversations while the server runs, a little at a time.

The clock says what is old. A clock that is far ahead would empty the store. So a clock that has jumped is not believed
for two days, and days are never counted from later than the newest stored event.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from handletime.clock import DAY, HOUR, Clock
from handletime.errors import NotNow
from handletime.store.watch import Stopped, Watch
from handletime.upkeep.background import Background
from handletime.upkeep.data_folder import DataFolder
from handletime.upkeep.removing import newest_event, prune

FAR_MS: Final = 2 * DAY
"""Milliseconds. A clock that is further from the newest stored event, or has jumped by more, is not believed."""
AHEAD_MS: Final = DAY
"""Milliseconds that the newest event may be ahead of the clock: events from so far in the future are accepted."""
EVERY_S: Final = 3600.0
FIRST_S: Final = 30.0
"""Seconds from the start to the first round: the server has other things to do at first."""
AT_ONCE: Final = 1_000
"""Conversations that are removed in one transaction."""
PAUSE_S: Final = 0.5
"""Seconds between two transactions, so that removing costs ingest and readers little."""
_log: Final = logging.getLogger(__name__)


class Today(NamedTuple):
    """What retention counts days from (epoch milliseconds), and what is wrong with the clock, "" where nothing is."""

    at: int
    doubt: str = ""


class ClockReading(NamedTuple):
    """The clock's time in a round (epoch milliseconds), and for how long it has run since it jumped (milliseconds).

    The latter is None where the clock is believed.
    """

    at: int
    waited: int | None = None

    def next(self, now: int) -> ClockReading:
        """The reading of the next round."""
        step = now - self.at
        if abs(step) > FAR_MS:
            # Also after a server was off. What it has waited stays: else one that runs once a week would wait for ever.
            return ClockReading(now, self.waited or 0 if step > 0 else 0)
        if self.waited is None or self.waited + step >= FAR_MS:
            return ClockReading(now)
        return ClockReading(now, self.waited + max(step, 0))


def today(now: int, newest: int) -> Today:
    """The moment that days are counted from, by the clock and the time of the newest stored event.

    Never after that event where the clock is far ahead of it, and never after the clock.
    """
    if now - newest > FAR_MS:
        return Today(
            newest - AHEAD_MS,
            f"the clock is {days_of(now - newest)} days ahead of the newest stored event: "
            "days are counted from a day before that event",
        )
    if newest - now > FAR_MS:
        return Today(now, f"the clock is {days_of(newest - now)} days behind the newest stored event")
    return Today(min(now, newest))


def days_of(milliseconds: int) -> int:
    """Whole days in a number of milliseconds."""
    return milliseconds // DAY


class Retention(Background):
    """Removes conversations a number of days after their last event, while it is entered."""

    def __init__(
        self,
        data: DataFolder,
        days: int,
        clock: Clock,
        *,
        first_s: float = FIRST_S,
        every_s: float = EVERY_S,
        doubted: Callable[[bool], None] = lambda _doubt: None,
    ) -> None:
        """`doubted` is called in each round with whether the clock is doubted."""
        self._data, self._days, self._clock, self._doubted = data, days, clock, doubted
        self._first_s, self._every_s = first_s, every_s
        super().__init__("retention", Watch())

    def round(self) -> int:
        """Removes what is too old; gives the number of conversations. Raises NotNow, StoreError."""
        now = self._clock.now()
        moved = self._moved(now)
        newest = newest_event(self._data.store, self.watch)
        if newest is None:
            return 0
        at, doubt = today(now, newest)
        self._doubted(bool(moved or doubt))
        if moved or doubt:
            _log.warning("%s. If the clock is right, `handletime prune` removes what is too old", moved or doubt)
        if moved:
            return 0
        before = at - self._days * DAY
        return prune(
            self._data.store,
            before,
            at_once=AT_ONCE,
            pause_s=PAUSE_S,
            removing=self._data.removing,
            watch=self.watch,
        )

    def _moved(self, now: int) -> str:
        """Says that the clock has jumped recently, and keeps this for later rounds; "" where it has not.

        Events do not prove that a clock is right: their producer may have followed the same wrong one.
        """
        last = self._data.side.clock()
        seen = ClockReading(now) if last is None else ClockReading(*last).next(now)
        self._data.side.set_clock(*seen)
        if seen.waited is None:
            return ""
        return (
            "the clock has gone on by more than two days, or back, since days were last counted: "
            f"nothing is removed for the next {(FAR_MS - seen.waited) // HOUR} hours that the server runs"
        )

    def work(self) -> None:
        """Removes what is too old, round by round."""
        self.watch.pause(self._first_s)
        while True:
            self._try()
            self.watch.pause(self._every_s)

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
