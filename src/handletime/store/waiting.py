"""Requests that wait to be written: bounded, in the order they came."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future

from handletime.errors import NotNow
from handletime.store.writer import Ingested, Request


class Job:
    """A request, and the answer that somebody waits for."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.answer: Future[Ingested] = Future()
        self.events = request.events.num_rows


class Queue:
    """Jobs for one worker."""

    def __init__(self, most_events: int, most_jobs: int, at_once: int) -> None:
        self._most_events, self._most_jobs, self._at_once = most_events, most_jobs, at_once
        self._jobs: deque[Job] = deque()
        self._events = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, job: Job) -> None:
        """Adds a job. Raises NotNow where the queue is full, or closed."""
        with self._changed:
            if self._closed:
                raise NotNow("the server is stopping; come again later")
            full = self._events and self._events + job.events > self._most_events
            if full or len(self._jobs) >= self._most_jobs:
                raise NotNow("too many events wait to be stored; come again later")
            self._jobs.append(job)
            self._events += job.events
            self._changed.notify()

    def take(self) -> list[Job]:
        """The next jobs that are written together, at least one; waits for it. None once it is closed and empty."""
        with self._changed:
            while not self._jobs and not self._closed:
                self._changed.wait()
            taken: list[Job] = []
            events = 0
            while self._jobs and (not taken or events + self._jobs[0].events <= self._at_once):
                job = self._jobs.popleft()
                taken.append(job)
                events += job.events
            self._events -= events
            return taken

    def close(self) -> None:
        """Takes no more jobs."""
        with self._changed:
            self._closed = True
            self._changed.notify()
