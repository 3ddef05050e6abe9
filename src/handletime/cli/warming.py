"""Loads all code that requests run before the first request, and compiles it where that is needed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from handletime.compiled import is_complete, is_now_complete
from handletime.events.decode import decode_lines
from handletime.keys.sidefile import SideFile
from handletime.segments.derive import derive_prepared
from handletime.store.opening import StoreSettings
from handletime.store.store import Store
from handletime.upkeep.rebuild import rebuild

_PR_SET_PDEATHSIG: Final = 1
"""A constant of sys/prctl.h."""
_EVENTS: Final = b"""\
{"eventId":"1","conversationId":"a","time":1795165200001,"type":"opened","skillId":1}
{"eventId":"2","conversationId":"a","time":1795165200002,"type":"message","sentBy":"consumer"}
{"eventId":"3","conversationId":"a","time":1795165200003,"type":"assigned","agentId":1}
{"eventId":"4","conversationId":"a","time":1795165200004,"type":"focused","agentId":1,"leaseMillis":1000}
{"eventId":"5","conversationId":"a","time":1795165200005,"type":"message","sentBy":"agent","agentId":1}
{"eventId":"6","conversationId":"b","time":1795165200006,"type":"focused","agentId":1}
{"eventId":"7","conversationId":"a","time":1795165200007,"type":"closed","closedBy":"agent"}
{"eventId":"7","conversationId":"a","time":1795165200008,"revision":1,"type":"closed","closedBy":"consumer"}
"""


def warm_up() -> None:
    """Ingests a few events into a store that is thrown away. Raises StoreError, OSError."""
    with _filled_store():
        pass


def compile_all() -> None:
    """Also derives the events for an explanation and for a rebuild: everything that a server ever compiles.

    Raises StoreError, OSError.
    """
    with _filled_store() as store:
        prepared = store.reader("local").prepared("a")
        if prepared is not None:
            derive_prepared(prepared)
        rebuild(store)
    is_now_complete()


@contextmanager
def _filled_store() -> Iterator[Store]:
    events = decode_lines(_EVENTS, account="local").events
    with TemporaryDirectory(prefix="handletime-") as name:
        folder = Path(name)
        with SideFile(folder) as side, Store(folder, side, StoreSettings(memory_bytes=128 << 20, threads=1)) as store:
            for part in (events.slice(0, 5), events.slice(5)):
                store.ingest("local", part)
                store.settle()
            yield store


def _end_with(starter: int) -> None:
    """Has this process killed when the one that started it ends, however that ends; it may have ended. Linux only."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != starter:
        sys.exit()


if __name__ == "__main__" and not is_complete():
    if len(sys.argv) > 1:
        _end_with(int(sys.argv[1]))
    compile_all()
