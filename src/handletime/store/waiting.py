"""Requests that wait to be written: bounded, account by account, those of each in the order they came."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from concurrent.futures import Future
from typing import Final, NamedTuple

from handletime.errors import NotNow
from handletime.store.writer import Ingested, Request

SHARED_EVENTS: Final = 10_000
SHARED_S: Final = 10.0
"""For so long after a second account brought events, so many are written together."""
_FREE_TIMES: Final = 3


def may_hold(held: int, free: int) -> bool:
    """Whether one account may hold so much, with so much left free by all.

    At most three times what is free: alone it gets three quarters. The more accounts want much, the less each gets,
    and something is always left for whoever comes with little (Choudhury and Hahne's dynamic thresholds).
    """
    return free >= 0 and (held <= _FREE_TIMES * free or held == 1)


class Job:
    """Requests that came as one table, and the answers that somebody waits for, one for each."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.answers: Future[list[Ingested]] = Future()
        self.requests = len(request.parts)
        self.events = request.events.num_rows
        self.since = time.monotonic()


class Waiting(NamedTuple):
    """What is not yet answered: requests, their events, and the age of the oldest, 0 where there is none."""

    requests: int
    events: int
    oldest_s: float


class Queue:
    """Jobs for one worker.

    It takes some together: those of accounts that had nothing waiting, and those of the others in turn, of either up
    to `at_once` events and those of one job more. While several accounts bring events these are fewer, and every
    other time the former go alone, so that nobody waits for long until what another one brought is written.
    """

    def __init__(self, most_events: int, most_requests: int, at_once: int) -> None:
        self._most_events, self._most_requests, self._at_once = most_events, most_requests, at_once
        self._fresh: dict[str, deque[Job]] = {}
        self._jobs: dict[str, deque[Job]] = {}
        """By account, whose turn is next first; the fresh ones had nothing waiting when their first job came."""
        self._of: Counter[str] = Counter()
        """Events by account."""
        self._taken: list[Job] = []
        self._events = self._requests = 0
        self._last = ""
        self._alone_from = 0.0
        """Of whom the last job was, and from when on all are one account's, if no other one comes."""
        self._fresh_alone = False
        self._closed = False
        self._changed = threading.Condition()

    def put(self, job: Job) -> None:
        """Adds a job. Raises NotNow where the queue is full, or closed, or its account has its share of it."""
        account = job.request.account
        with self._changed:
            if self._closed:
                raise NotNow("the server is stopping; come again later")
            full = self._events and self._events + job.events > self._most_events
            if self._of[account]:
                free = self._most_events - self._events - job.events
                full = full or not may_hold(self._of[account] + job.events, free)
            if full or self._requests >= self._most_requests:
                raise NotNow("too many events wait to be stored; come again later")
            if self._last and account != self._last:
                self._alone_from = job.since + SHARED_S
            self._last = account
            jobs = self._jobs.get(account)
            (self._fresh.setdefault(account, deque()) if jobs is None else jobs).append(job)
            self._of[account] += job.events
            self._events += job.events
            self._requests += job.requests
            self._changed.notify()

    def take(self) -> list[Job]:
        """The next jobs that are written together, at least one; waits for it. None once it is closed and empty."""
        with self._changed:
            self._taken = []
            while not self._fresh and not self._jobs and not self._closed:
                self._changed.wait()
            shared = time.monotonic() < self._alone_from
            self._fresh_alone = shared and bool(self._fresh and self._jobs) and not self._fresh_alone
            for line in (self._fresh,) if self._fresh_alone else (self._fresh, self._jobs):
                room = min(self._at_once, SHARED_EVENTS) if shared else self._at_once
                while line and room > 0:
                    self._taken.append(self._next(line))
                    room -= self._taken[-1].events
            return self._taken

    def _next(self, line: dict[str, deque[Job]]) -> Job:
        """The next job of the account whose turn it is."""
        account = next(iter(line))
        jobs = line.pop(account)
        job = jobs.popleft()
        if jobs:
            self._jobs[account] = jobs  # Behind all others.
        self._of[account] -= job.events
        if not jobs:
            del self._of[account]
        self._events -= job.events
        self._requests -= job.requests
        return job

    def waiting(self) -> Waiting:
        """What was not yet answered, that which the worker has taken included."""
        with self._changed:
            heads = (jobs[0] for line in (self._fresh, self._jobs) for jobs in line.values())
            oldest = min((*self._taken, *heads), key=_since, default=None)
            return Waiting(
                sum(job.requests for job in self._taken) + self._requests,
                sum(job.events for job in self._taken) + self._events,
                time.monotonic() - oldest.since if oldest else 0.0,
            )

    def close(self) -> None:
        """Takes no more jobs."""
        with self._changed:
            self._closed = True
            self._changed.notify()


def _since(job: Job) -> float:
    return job.since
