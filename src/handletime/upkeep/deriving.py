"""Conversations whose rows are of an older derivation are derived anew, bit by bit, beside whatever else goes on.

A migration that adds to what is derived lists these conversations (`store.schema`). Until the last one is done, nobody
is told anything about what it adds, in their account: half of it would be a wrong number.
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
DERIVING: Final = "deriving what an earlier version stored"
"""What is being done, for whoever watches."""
_log: Final = logging.getLogger(__name__)


def bring_up_to_date(store: Store, watch: Watch | None = None) -> int:
    """Derives all conversations anew whose rows are of an older derivation; gives how many these were.

    What an interrupted one leaves, the next one does. Raises NotNow, and Stopped where `watch` says so.
    """
    watch = watch or Watch()
    if not store.is_outdated:
        return 0
    done, of = 0, 0
    while True:
        with store.snapshot(watch) as cursor:
            outdated = np.asarray(query(cursor, _OUTDATED)["number"].to_numpy(), np.int64)
            sizes = np.maximum(sizes_of(cursor, outdated[:_LOOKED_AT]), -(-store.settings.part_events // AT_ONCE))
        of = of or len(outdated)
        watch.progress(DERIVING, done, of)
        if not len(outdated):
            store.note_up_to_date()
            return done
        for low, high in groups_of_sizes(sizes, store.settings.part_events):
            store.transact(partial(_derive, numbers=outdated[low:high]))
            done += high - low
            watch.progress(DERIVING, done, max(of, done))
            watch.pause()


_LOOKED_AT: Final = 50 * AT_ONCE
_OUTDATED: Final = "select number from kept.outdated order by number"


def _derive(writer: Writer, numbers: I64) -> Changed:
    writer.bring_up_to_date(numbers)
    return Changed(writer.count_commit(), len(numbers), writer.accounts_of(numbers))


class Deriving(Background):
    """Derives them in the background, while it is entered."""

    def __init__(self, data: DataFolder) -> None:
        self._data = data
        self._told = time.monotonic()
        super().__init__("deriving", Watch(self._tell))

    def _tell(self, what: str, done: int, of: int) -> None:
        if time.monotonic() - self._told >= TELL_S:
            self._told = time.monotonic()
            _log.info("%s: %d of %d conversations", what, done, of)

    def work(self) -> None:
        """Derives what is outdated; where the store cannot be written, again and again."""
        if not self._data.store.is_outdated:
            return
        _log.info("deriving what an earlier version stored once more: what is new in it is answered when that is done")
        while not self._try():
            self.watch.pause(AGAIN_S)

    def _try(self) -> bool:
        """Whether it is done."""
        try:
            done = bring_up_to_date(self._data.store, self.watch)
        except Stopped:
            raise
        except NotNow as error:
            _log.warning("what an earlier version stored is derived later: %s", error)
        except Exception:
            _log.exception("what an earlier version stored could not be derived")
        else:
            _log.info("derived %d conversations of an earlier version once more", done)
            return True
        return False
