"""Requests that wait to be written: bounded, in the order they came."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import NamedTuple

from handletime.errors import NotNow
from handletime.store.writer import Ingested, Request


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
    """Jobs for one worker."""

    def __init__(self, most_events: int, most_requests: int, at_once: int) -> None:
        self._most_events, self._most_requests, self._at_once = most_events, most_requests, at_once
        self._jobs: deque[Job] = deque()
        self._taken: list[Job] = []
        self._events = self._requests = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, job: Job) -> None:
        """Adds a job. Raises NotNow where the queue is full, or closed."""
        with self._changed:
            if self._closed:
                raise NotNow("the server is stopping; come again later")
            full = self._events and self._events + job.events > self._most_events
            if full or self._requests >= self._most_requests:
                raise NotNow("too many events wait to be stored; come again later")
            self._jobs.append(job)
            self._events += job.events
            self._requests += job.requests
            self._changed.notify()

    def take(self) -> list[Job]:
        """The next jobs that are written together, at least one; waits for it. None once it is closed and empty."""
        with self._changed:
            self._taken = []
            while not self._jobs and not self._closed:
                self._changed.wait()
            taken: list[Job] = []
            events = 0
            while self._jobs and (not taken or events + self._jobs[0].events <= self._at_once):
                job = self._jobs.popleft()
                taken.append(job)
                events += job.events
            self._events -= events
            self._requests -= sum(job.requests for job in taken)
            self._taken = taken
            return taken

    def waiting(self) -> Waiting:
        """What was not yet answered, that which the worker has taken included."""
        with self._changed:
            oldest = self._taken[0] if self._taken else self._jobs[0] if self._jobs else None
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
