"""Records become events on all processors, where there are many records."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
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
    busy: deque[_Process] = deque()
    resource_tracker.ensure_running()  # Else the first process would begin it, and unblock signals.
    # Not forked: the libraries of this process have threads.
    context = multiprocessing.get_context("spawn")
    with ExitStack() as processes:
        while some := [(file, place, bytes(record)) for file, place, record in islice(records, _TOGETHER)]:
            done: list[Converted] = []
            if len(busy) < number:
                process = processes.enter_context(_begun(context))
            else:
                process = busy.popleft()
                done = process.result()
            process.give(some)
            busy.append(process)
            yield from done
        while busy:
            yield from busy.popleft().result()


class _Process:
    """A process that converts some records at a time. It has a pipe of its own, of which it alone holds the other end:
    so whoever reads from it or writes to it is told at once when the process is gone, also in the midst of a message.
    A pool of the library shares its pipes, and may wait without end then.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def give(self, records: list[Found]) -> None:
        """Gives it records; it has none, so it takes them. Raises HandletimeError."""
        with _there():
            self._pipe.send(records)

    def result(self) -> list[Converted]:
        """What has become of the records that it was given. Raises HandletimeError, and what converting raised."""
        with _there():
            found = self._pipe.recv()
        if isinstance(found, Exception):
            raise found
        return list(found)


@contextmanager
def _there() -> Iterator[None]:
    """Raises HandletimeError where the process at the other end of a pipe is gone."""
    try:
        yield
    except (EOFError, OSError) as error:
        raise HandletimeError("a process that converts records was ended; was the memory used up?") from error


@contextmanager
def _begun(context: SpawnContext) -> Iterator[_Process]:
    """A process that ends with the context, or with this one."""
    ours, its = context.Pipe()
    process = context.Process(target=_work, args=(its,), daemon=True)
    with _uninterrupted():
        process.start()
    its.close()
    try:
        yield _Process(ours)
    finally:
        ours.close()
        process.kill()  # It holds nothing that could be lost.
        process.join()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits, and never reaches processes that begin here: they would say so, each for itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection) -> None:
    """Converts what comes, until nothing does. Ctrl-C is for the process that began this one, and with that it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    while True:
        records = pipe.recv()
        try:
            pipe.send(list(map(_converted, records)))
        except Exception as error:  # It is raised where the records come from.
            pipe.send(error)


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        wait([parent.sentinel])
        os._exit(1)


def _converted(found: Found) -> Converted:
    file, place, record = found
    account, conversation_id, events, faults = events_of(record)
    return Converted(file, place, account, conversation_id, _ENCODER.encode_lines(events), faults)
