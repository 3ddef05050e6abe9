"""Queue segments for conversations that were stored before there were any, bit by bit, beside whatever else goes on.

A migration lists these conversations (`store.schema`). Until the last one is done, nobody is told anything about queue
segments of their account: half of them would be a wrong number.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Final

import numpy as np

from handletime.errors import NotNow
from handletime.segments.columns import I64
from handletime.store.arrow import query
from handletime.store.events import groups_of_sizes, sizes_of
from handletime.store.store import Store
from handletime.store.watch import Stopped, Watch
from handletime.store.writer import Changed, Writer
from handletime.upkeep.background import Background
from handletime.upkeep.data_folder import DataFolder

AT_ONCE: Final = 2_000
"""The most conversations of one transaction: new events wait for it."""
AGAIN_S: Final = 5.0
"""Seconds until it is tried again where the store could not write."""
TELL_S: Final = 10.0
"""Seconds between two lines of the log."""
_log: Final = logging.getLogger(__name__)


def derive_queues(store: Store, watch: Watch | None = None) -> int:
    """Derives the queue segments of all conversations that still lack them; gives how many these were.

    What an interrupted one leaves, the next one does. Raises NotNow, and Stopped where `watch` says so.
    """
    watch = watch or Watch()
    if not store.lacks_queues:
        return 0
    done, of = 0, 0
    while True:
        with store.snapshot(watch) as cursor:
            lacking = np.asarray(query(cursor, _LACKING)["number"].to_numpy(), np.int64)
            sizes = np.maximum(sizes_of(cursor, lacking[:_LOOKED_AT]), -(-store.settings.part_events // AT_ONCE))
        of = of or len(lacking)
        watch.progress("deriving queue segments", done, of)
        if not len(lacking):
            store.has_queues()
            return done
        for low, high in groups_of_sizes(sizes, store.settings.part_events):
            store.transact(partial(_derive, numbers=lacking[low:high]))
            done += high - low
            watch.progress("deriving queue segments", done, max(of, done))
            watch.pause()


_LOOKED_AT: Final = 50 * AT_ONCE
_LACKING: Final = "select number from kept.without_queues order by number"


def _derive(writer: Writer, numbers: I64) -> Changed:
    writer.derive_queues(numbers)
    return Changed(writer.count_commit(), len(numbers), writer.accounts_of(numbers))


class DerivingQueues(Background):
    """Derives them in the background, while it is entered."""

    def __init__(self, data: DataFolder) -> None:
        self._data = data
        self._told = time.monotonic()
        super().__init__("deriving-queues", Watch(self._tell))

    def _tell(self, what: str, done: int, of: int) -> None:
        if time.monotonic() - self._told >= TELL_S:
            self._told = time.monotonic()
            _log.info("%s: %d of %d conversations", what, done, of)

    def work(self) -> None:
        """Derives what is lacking; where the store cannot be written, again and again."""
        if not self._data.store.lacks_queues:
            return
        _log.info("deriving the queue segments of what was stored before there were any")
        while not self._try():
            self.watch.pause(AGAIN_S)

    def _try(self) -> bool:
        """Whether it is done."""
        try:
            done = derive_queues(self._data.store, self.watch)
        except Stopped:
            raise
        except NotNow as error:
            _log.warning("queue segments are derived later: %s", error)
        except Exception:
            _log.exception("queue segments could not be derived")
        else:
            _log.info("derived the queue segments of %d conversations", done)
            return True
        return False
