"""Records become events on all processors, where there are many records."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import chain, islice
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from threading import Thread
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw

from handletime.errors import HandletimeError
from handletime.processors import processors
from handletime.sources.liveperson.record import events_of

FEW: Final = 2_000
"""So many records are done sooner than processes have begun."""
PROCESSES_MAX: Final = 8
"""More have nothing to do: the process that reads the files does not bring more."""
ASKING_S: Final = 1.0
"""Seconds of waiting after which the processes are asked whether they are there."""
_TOGETHER: Final = 200
"""Records that a process gets at once."""
_ENCODER: Final = msgspec.json.Encoder()


class Converted(NamedTuple):
    """A record's conversation: its events, in order, as NDJSON, and its faults (`record.events_of`)."""

    file: str
    place: str
    account: str
    conversation_id: str
    lines: bytes
    faults: list[str]


Found = tuple[str, str, bytes | Raw]
"""A record: its file, its place there, and its JSON."""


def converted(records: Iterable[Found]) -> Iterator[Converted]:
    """The events of each record, in the order of the records.

    Many records are spread over processes, which end with this one. Raises HandletimeError where one is ended from
    outside, and what `records` raises.
    """
    records = iter(records)
    first = list(islice(records, FEW))
    if len(first) < FEW or processors() == 1:
        return map(_converted, chain(first, records))
    return _spread(chain(first, records), min(processors(), PROCESSES_MAX))


def _spread(records: Iterator[Found], number: int) -> Iterator[Converted]:
    under_way: deque[Future[list[Converted]]] = deque()
    resource_tracker.ensure_running()  # Else the first process would begin it, and unblock signals.
    # Not forked: the libraries of this process have threads.
    with ProcessPoolExecutor(number, multiprocessing.get_context("spawn"), _begin) as pool:
        try:
            while True:
                some = [(file, place, bytes(record)) for file, place, record in islice(records, _TOGETHER)]
                if some:
                    with _uninterrupted():
                        under_way.append(pool.submit(_all_converted, some))
                if not under_way:
                    return
                if not some or len(under_way) > 2 * number:
                    yield from _result(pool, under_way.popleft())
        except BrokenProcessPool as error:
            raise HandletimeError("a process that converts records was ended; was the memory used up?") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _result(pool: ProcessPoolExecutor, future: Future[list[Converted]]) -> list[Converted]:
    """What was worked out. Raises BrokenProcessPool.

    What is submitted in the moment in which a process is ended may never be done: the pool has told those that it knew.
    So it is asked now and then.
    """
    while not wait_for([future], ASKING_S).done:
        pool.submit(_nothing)
    return future.result()


def _nothing() -> None:
    """Does nothing."""


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits, and never reaches processes that begin here: they would say so, each for itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Prepares a process: Ctrl-C is for the one that began it, and with that one it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        wait([parent.sentinel])
        os._exit(1)


def _all_converted(records: list[Found]) -> list[Converted]:
    return list(map(_converted, records))


def _converted(found: Found) -> Converted:
    file, place, record = found
    account, conversation_id, events, faults = events_of(record)
    return Converted(file, place, account, conversation_id, _ENCODER.encode_lines(events), faults)
