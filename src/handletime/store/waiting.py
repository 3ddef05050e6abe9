"""Requests that wait until they are put into the journal, in turn by account, and with limits."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, NamedTuple

from handletime.errors import NotNow
from handletime.store.budget import Budget
from handletime.store.requests import Outcome, Request

TURN_EVENTS: Final = 2_000
"""The most events that an account brings in one turn, if its first job has no more."""


class Job:
    """Requests that came as one table, and the future answers, one for each."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.answers: Future[list[Outcome]] = Future()
        self.requests = len(request.parts)
        self.events = request.events.num_rows
        self.since = time.monotonic()


class Waiting(NamedTuple):
    """The requests that are not yet answered, their events, and the age of the oldest, 0 where there is none."""

    requests: int
    events: int
    oldest_s: float


class Queue:
    """Jobs for one worker, who takes some together.

    Accounts take turns, each with jobs of up to `TURN_EVENTS` events, or one larger job; those who bring little come
    first. Up to `at_once` events and one turn more are taken. A job waits as long as `has_room` says that what has
    been acknowledged of its account has to be folded first.
    """

    def __init__(
        self, most_events: int, most_requests: int, at_once: int, has_room: Callable[[int, str], bool]
    ) -> None:
        self._most_requests, self._at_once, self._has_room = most_requests, at_once, has_room
        self._events = Budget(most_events, "queue-events")
        self._jobs: dict[str, deque[Job]] = {}
        """Jobs by account; the account whose turn is next stands first."""
        self._taken: list[Job] = []
        self._requests = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, job: Job) -> None:
        """Adds a job. Raises NotNow where the queue is full or closed, or the account has used its share."""
        account = job.request.account
        with self._changed:
            if self._closed:
                raise NotNow("the server is stopping; come again later")
            if not self._events.has_room(job.events, account) or self._requests >= self._most_requests:
                raise NotNow("too many events wait to be stored; come again later")
            self._jobs.setdefault(account, deque()).append(job)
            self._events.hold(job.events, account)
            self._requests += job.requests
            self._changed.notify()

    def take(self) -> list[Job]:
        """The next jobs, at least one; waits for them. None once the queue is closed and empty."""
        with self._changed:
            self._taken = []
            while not self._taken and (self._jobs or not self._closed):
                self._take_turns()
                if not self._taken:
                    self._changed.wait()
            return self._taken

    def look_again(self) -> None:
        """There may be room again."""
        with self._changed:
            self._changed.notify()

    def without_room(self) -> list[Job]:
        """Takes out the jobs that are not taken for lack of room."""
        with self._changed:
            found = []
            for account in list(self._jobs):
                while account in self._jobs and not self._has_room(self._jobs[account][0].events, account):
                    found.append(self._next(account))
            return found

    def waiting(self) -> Waiting:
        """What is not yet answered, including what the worker has taken."""
        with self._changed:
            heads = (jobs[0] for jobs in self._jobs.values())
            oldest = min((job.since for job in (*self._taken, *heads)), default=None)
            return Waiting(
                sum(job.requests for job in self._taken) + self._requests,
                sum(job.events for job in self._taken) + self._events.held,
                time.monotonic() - oldest if oldest is not None else 0.0,
            )

    def close(self) -> None:
        """Accepts no more jobs. Those that are here are taken, whether there is room or not."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _take_turns(self) -> None:
        """Takes jobs of the accounts in turn until there is no more room."""
        line = deque(sorted(self._jobs, key=lambda account: self._events.of(account) > TURN_EVENTS))
        coming: dict[str, int] = {}
        room = self._at_once
        while line and room > 0:
            account = line.popleft()
            events = self._take_turn(account, min(room, TURN_EVENTS), coming.get(account, 0))
            coming[account] = coming.get(account, 0) + events
            room -= events
            if events and account in self._jobs:
                line.append(account)

    def _take_turn(self, account: str, most: int, coming: int) -> int:
        """Takes the next jobs of an account, of which so many events are taken already: at least one if there is room
        for it, and up to a number of events. Gives the events.
        """
        events = 0
        while (jobs := self._jobs.get(account)) and (not events or events + jobs[0].events <= most):
            if not self._closed and not self._has_room(coming + events + jobs[0].events, account):
                break
            events += max(jobs[0].events, 1)
            self._taken.append(self._next(account))
        if jobs:
            self._jobs[account] = self._jobs.pop(account)  # Behind all other accounts.
        return events

    def _next(self, account: str) -> Job:
        """Takes out the next job of an account."""
        job = self._jobs[account].popleft()
        if not self._jobs[account]:
            del self._jobs[account]
        self._events.give_back(job.events, account)
        self._requests -= job.requests
        return job
