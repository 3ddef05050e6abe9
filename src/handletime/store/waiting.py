"""Requests that wait to be written: bounded, account by account, those of each in the order they came."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import Final, NamedTuple

from handletime.errors import NotNow
from handletime.store.budget import Budget
from handletime.store.requests import Outcome, Request

TURN_EVENTS: Final = 1_000
"""The number of events of an account that are taken in a turn; at least one job."""
SHARED_EVENTS: Final = 10_000
SHARED_S: Final = 10.0
"""Seconds after a second account brought events for which groups stay small."""


class Job:
    """Requests that came as one table, and the future answers, one for each.

    `cost` is the number of events that the job touches; as long as that is unknown, the number that it has.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.answers: Future[list[Outcome]] = Future()
        self.requests = len(request.parts)
        self.cost = self.events = request.events.num_rows
        self.since = time.monotonic()


class Waiting(NamedTuple):
    """The requests that are not yet answered, their events, and the age of the oldest, 0 where there is none."""

    requests: int
    events: int
    oldest_s: float


class Queue:
    """Jobs for one worker.

    Accounts take turns, each with jobs of up to `TURN_EVENTS` events, or one larger job. The worker takes some jobs
    together: of accounts for which one turn is enough, and of the others; of either up to `at_once` events and one
    turn more. While several accounts bring events it takes fewer, and every other time only the former, so that no
    account waits long for what another one brought.

    How much a job touches is known only once the writer has looked: then the job comes back (`put_back`). One that
    touches more than `at_once` is taken alone, and accounts with little go before it, every other time.
    """

    def __init__(self, most_events: int, most_requests: int, at_once: int) -> None:
        self._most_requests, self._at_once = most_requests, at_once
        self._events = Budget(most_events, "queue-events")
        self._jobs: dict[str, deque[Job]] = {}
        """Jobs by account; the account whose turn is next stands first."""
        self._costs: Counter[str] = Counter()
        """What events touch, by account."""
        self._taken: list[Job] = []
        self._requests = 0
        self._last = ""
        self._alone_from = 0.0
        """The account of the last job, and from when on one account counts as alone, if no other one comes."""
        self._light_alone = False
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
            if self._last and account != self._last:
                self._alone_from = job.since + SHARED_S
            self._last = account
            self._jobs.setdefault(account, deque()).append(job)
            self._count(job, 1)
            self._changed.notify()

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Puts jobs back, before all others of their accounts, even where the queue is full or closed."""
        with self._changed:
            for job in reversed(jobs):
                self._jobs.setdefault(job.request.account, deque()).appendleft(job)
                self._count(job, 1)
                self._taken = [taken for taken in self._taken if taken is not job]

    def _count(self, job: Job, times: int) -> None:
        account = job.request.account
        self._costs[account] += times * job.cost
        if not self._costs[account]:
            del self._costs[account]
        self._events.hold(times * job.events, account)
        self._requests += times * job.requests

    def take(self) -> list[Job]:
        """The next jobs that are written together, at least one; waits for it. None once it is closed and empty."""
        with self._changed:
            self._taken = []
            while not self._jobs and not self._closed:
                self._changed.wait()
            shared = time.monotonic() < self._alone_from
            room = min(self._at_once, SHARED_EVENTS) if shared else self._at_once
            light = [account for account in self._jobs if self._costs[account] <= TURN_EVENTS]
            heavy = [account for account in self._jobs if self._costs[account] > TURN_EVENTS]
            large = [account for account in heavy if self._jobs[account][0].cost > self._at_once]
            self._light_alone = bool(light and (large or (shared and heavy))) and not self._light_alone
            if large and not self._light_alone:
                self._take_turn(large[0], 1)
                return self._taken
            self._take_turns(light, room)
            if not self._light_alone:
                self._take_turns(heavy, room)
            return self._taken

    def _take_turns(self, accounts: Iterable[str], room: int) -> None:
        """Takes jobs of these accounts in turn until there is no more room."""
        line = deque(accounts)
        while line and room > 0:
            account = line.popleft()
            room -= self._take_turn(account, min(room, TURN_EVENTS))
            if account in self._jobs:
                line.append(account)

    def _take_turn(self, account: str, most: int) -> int:
        """Takes the next jobs of an account: at least one, and up to a number of events. Gives their cost."""
        jobs = self._jobs.pop(account)
        cost = 0
        while jobs and (not cost or cost + jobs[0].cost <= most):
            job = jobs.popleft()
            cost += job.cost
            self._count(job, -1)
            self._taken.append(job)
        if jobs:
            self._jobs[account] = jobs  # Behind all other accounts.
        return cost

    def waiting(self) -> Waiting:
        """What is not yet answered, including what the worker has taken."""
        with self._changed:
            heads = (jobs[0] for jobs in self._jobs.values())
            oldest = min((*self._taken, *heads), key=_since, default=None)
            return Waiting(
                sum(job.requests for job in self._taken) + self._requests,
                sum(job.events for job in self._taken) + self._events.held,
                time.monotonic() - oldest.since if oldest else 0.0,
            )

    def close(self) -> None:
        """Accepts no more jobs."""
        with self._changed:
            self._closed = True
            self._changed.notify()


def _since(job: Job) -> float:
    return job.since
