"""Maps deliveries that wait, many together, and has their events stored. Each source has a thread of its own, while
something of it waits: a mapping that takes long holds up nobody else.

deliveries ─> bodies of one source ─> events ─> store ─> removed, or kept without texts and told
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

import pyarrow.compute as pc

from handletime.clock import DAY, Clock
from handletime.closing import Closing
from handletime.crashpoints import crash_point
from handletime.deliveries.file import Deliveries, Delivery, Done, RefusedBody
from handletime.deliveries.mapping import Mapping
from handletime.deliveries.texts import without_texts
from handletime.errors import HandletimeError, InvalidEvents, NotNow
from handletime.events.model import EPOCH, FUTURE_MAX, MILLIS_MIN
from handletime.sources.batch import MappedBodies, said

if TYPE_CHECKING:
    import pyarrow as pa

    from handletime.deliveries.source import Finds, Source
    from handletime.store.requests import Outcome

COLLECTED_S: Final = 0.25
"""Seconds for which bodies are collected, to be mapped together."""
BODIES_MAX: Final = 2_000
BYTES_MAX: Final = 16 << 20
"""The most bodies, and about the most bytes of bodies, that are mapped together."""
LOOKED_S: Final = 1.0
"""Seconds between two looks at what waits: another process may have put it there."""
TIDIED_S: Final = 5.0
"""Seconds between two times at which the file's log is emptied."""
EXPIRED_S: Final = 600.0
AGAIN_S: Final = (0.5, 30.0)
"""Seconds before events are brought to the store again that it could not take: the first time, and at most."""
FAILED_S: Final = 5.0
"""Seconds after which mapping is tried again that failed as a whole."""
SOURCELESS_MS: Final = DAY
"""How long this process has deliveries wait for a source that is not there: its settings file may have been forgotten.
"""
TOLD_MAX: Final = 5
"""The most problems of one batch that the log names."""
_log: Final = logging.getLogger(__name__)


class Store(Protocol):
    """Where events go."""

    def submit_together(self, account: str, events: pa.Table, sizes: Sequence[int]) -> Future[list[Outcome]]:
        """Stores several requests of one account, one after the other; `sizes` are their numbers of events."""


class Observer(Protocol):
    """What is told of deliveries."""

    def mapped(self, *, mapped: int, empty: int, refused: int) -> None:
        """Counts deliveries that are done with: those that became events, that hold none, and that could not be."""


class Mapper(Closing):
    """Maps what waits, until it is closed."""

    def __init__(
        self, deliveries: Deliveries, sources: Finds, store: Store, clock: Clock, observer: Observer | None = None
    ) -> None:
        self._deliveries, self._sources, self._store, self._clock = deliveries, sources, store, clock
        self._observer = observer
        self._stopped = threading.Event()
        self._wake = threading.Event()
        self._lines: dict[tuple[str, str], threading.Thread] = {}
        self._mappings: dict[tuple[str, str], Mapping] = {}
        self._missed: dict[tuple[str, str], int] = {}
        self._looking = threading.Thread(target=self._look, name="deliveries-waiting", daemon=True)
        deliveries.arrived = self._wake.set
        self._looking.start()

    def close(self) -> None:
        """Ends. What is being mapped may be mapped again at the next start, which changes nothing."""
        self._stopped.set()
        self._wake.set()
        self._looking.join()
        for line in self._lines.values():
            line.join()
        for mapping in self._mappings.values():
            mapping.close()

    def _look(self) -> None:
        tidied = expired = -EXPIRED_S
        while not self._stopped.is_set():
            try:
                if self._clock.now() < MILLIS_MIN:
                    raise NotNow("the clock of this machine is wrong")
                now = time.monotonic()
                if now - expired > EXPIRED_S:
                    self._deliveries.expire(self._clock.now())
                    expired = now
                for line in self._deliveries.lines():
                    if (thread := self._lines.get(line)) is None or not thread.is_alive():
                        self._lines[line] = threading.Thread(target=self._work, args=line, name="mapping", daemon=True)
                        self._lines[line].start()
                if now - tidied > TIDIED_S:
                    self._deliveries.tidy()
                    tidied = now
            except NotNow as error:
                _log.warning("deliveries wait: %s", error)
            except (HandletimeError, OSError):
                _log.exception("deliveries cannot be mapped")
            self._wake.wait(LOOKED_S)
            self._stopped.wait(COLLECTED_S)
            self._wake.clear()

    def _work(self, account: str, name: str) -> None:
        """Maps what waits of one source, until nothing does."""
        while not self._stopped.is_set():
            try:
                waiting = self._deliveries.waiting(account, name, BODIES_MAX, BYTES_MAX)
                if not waiting:
                    return
                source = self._sources.find(account, name)
                if source:
                    self._missed.pop((account, name), None)
                done = self._done(source, waiting) if source else self._sourceless(account, name, waiting)
                if done is None:
                    return
                self._deliveries.settle(account, name, done, self._clock.now())
            except (HandletimeError, OSError) as error:
                _log.error("deliveries of source %s wait: %s", name, error)
                self._stopped.wait(FAILED_S)
                return  # The next look begins again.
            except Exception:
                _log.exception("deliveries of source %s wait", name)
                self._stopped.wait(FAILED_S)
                return
            if self._observer is not None:
                self._observer.mapped(mapped=len(done.mapped), empty=len(done.empty), refused=len(done.refused))
            self._tell(name, done.refused)

    def _sourceless(self, account: str, name: str, waiting: list[Delivery]) -> Done | None:
        """Refuses what has waited too long for a source; None where there is nothing, or nothing yet."""
        now = self._clock.now()
        gone, latest = "there is no such source any more", now - SOURCELESS_MS
        if (account, name) not in self._missed:
            self._missed[account, name] = now
            _log.warning(
                "deliveries wait for source %s of account %s, which is not there: is its settings file given? They "
                "are refused in a day",
                name,
                account,
            )
        if self._missed[account, name] >= latest:
            return None
        refused = [RefusedBody(each, gone, without_texts(each.body)) for each in waiting if each.received < latest]
        return Done(refused=refused) if refused else None

    def _done(self, source: Source, waiting: list[Delivery]) -> Done | None:
        """Maps deliveries and has their events stored; None where this ends before."""
        mapping = self._mappings.setdefault((source.account, source.name), Mapping(self._stopped.is_set))
        map_ = mapping.map_again if waiting[0].is_again else mapping.map_bodies
        batch = map_(source, [(each.body, each.received) for each in waiting])
        late = self._too_late(batch)
        if late and not batch.is_apart:
            return self._halves(source, waiting)
        batch = batch.without(late)
        places = [place for place, size in enumerate(batch.sizes) if size]
        problems = dict(batch.problems)
        if places:
            outcomes = self._stored(source.account, batch, [batch.sizes[place] for place in places])
            if outcomes is None:
                return None
            crash_point("deliveries-stored")
            for place, outcome in zip(places, outcomes, strict=True):
                if isinstance(outcome, InvalidEvents):
                    problems[place] = said(outcome.faults)
            if len(problems) > len(batch.problems) and not batch.is_apart:
                return self._halves(source, waiting)
        # Where nobody knows which bodies the events are of, it counts as all.
        empty = {place for place, size in enumerate(batch.sizes) if not size and (batch.is_apart or not places)}
        tried = [place for place in range(len(waiting)) if place not in problems and place not in batch.untried]
        return Done(
            [waiting[place].number for place in tried if place not in empty],
            [waiting[place].number for place in tried if place in empty],
            [
                RefusedBody(waiting[place], problem, mapping.kept(source, waiting[place].body))
                for place, problem in sorted(problems.items())
            ],
        )

    def _halves(self, source: Source, waiting: list[Delivery]) -> Done | None:
        """The same of each half, where something is wrong and nobody knows with which body."""
        middle = len(waiting) // 2
        first = self._done(source, waiting[:middle])
        second = first and self._done(source, waiting[middle:])
        if first is None or second is None:
            return None
        return Done([*first.mapped, *second.mapped], [*first.empty, *second.empty], [*first.refused, *second.refused])

    def _too_late(self, batch: MappedBodies) -> dict[int, str]:
        """The bodies of which an event is too far in the future (http-api.md 5)."""
        if not batch.events.num_rows:
            return {}
        latest = EPOCH + timedelta(milliseconds=self._clock.now()) + FUTURE_MAX
        late = pc.greater(batch.events["time"], latest).to_numpy()
        return {int(body): "time: must not be more than 24 hours in the future" for body in batch.owners()[late]}

    def _stored(self, account: str, batch: MappedBodies, sizes: Sequence[int]) -> list[Outcome] | None:
        """What became of the events of each body, once the store takes them; None where this ends before."""
        pause, most = AGAIN_S
        while True:
            try:
                return self._store.submit_together(account, batch.events, sizes).result()
            except (HandletimeError, OSError) as error:
                _log.warning("deliveries wait for the store: %s", error)
            if self._stopped.wait(pause):
                return None
            pause = min(2 * pause, most)

    def _tell(self, name: str, refused: Sequence[RefusedBody]) -> None:
        for each in refused[:TOLD_MAX]:
            _log.warning("source %s: delivery %d was not mapped: %s", name, abs(each.delivery.number), each.problem)
        if len(refused) > TOLD_MAX:
            more = len(refused) - TOLD_MAX
            _log.warning("source %s: %d more were not mapped; `handletime sources status` says why", name, more)
