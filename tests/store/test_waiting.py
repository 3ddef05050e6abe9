"""The queue before the writer: bounded, fair, and none of it lost or out of order."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import pyarrow as pa
import pytest

from handletime.errors import NotNow
from handletime.events.model import EVENTS
from handletime.store import waiting
from handletime.store.requests import Request
from handletime.store.waiting import SHARED_EVENTS, Job, Queue


def a_job(account: str, events: int = 1) -> Job:
    table = pa.table({name: pa.nulls(events, EVENTS.field(name).type) for name in EVENTS.names}, schema=EVENTS)
    return Job(Request(account, table, ()))


def a_queue(most: int = 400_000, at_once: int = 60_000) -> Queue:
    return Queue(most, 10_000, at_once)


def accounts(jobs: list[Job]) -> list[str]:
    return [job.request.account for job in jobs]


def test_what_waits_is_taken_together() -> None:
    queue = a_queue()
    jobs = [a_job(f"account{number % 7}") for number in range(100)]
    for job in jobs:
        queue.put(job)
    assert Counter(queue.take()) == Counter(jobs)


def test_one_account_alone_is_taken_in_order_up_to_the_size_of_a_transaction() -> None:
    queue = a_queue(at_once=100)
    queue._alone_from = 0.0
    jobs = [a_job("loud", 30) for _ in range(12)]
    for job in jobs:
        queue.put(job)
    queue._alone_from = 0.0
    sizes: list[int] = []
    taken: list[Job] = []
    while len(taken) < len(jobs):
        some = queue.take()
        sizes.append(sum(job.events for job in some))
        taken += some
    assert taken == jobs
    assert max(sizes) <= 2 * (100 + 30)


def test_who_comes_with_little_is_in_the_next_transaction_whatever_waits() -> None:
    queue = a_queue()
    for _ in range(20):
        queue.put(a_job("loud", 10_000))
    queue.take()
    quiet = a_job("quiet")
    queue.put(quiet)
    assert queue.take() == [quiet]
    # Whoever waited goes on, with a small part each time, so that whoever comes next is answered soon.
    queue.put(a_job("quiet"))
    taken = queue.take()
    assert set(accounts(taken)) == {"loud", "quiet"}
    assert sum(job.events for job in taken) - 1 <= SHARED_EVENTS + 10_000


def test_newcomers_do_not_keep_those_who_wait_from_their_turn() -> None:
    queue = a_queue()
    for _ in range(5):
        queue.put(a_job("loud", 10_000))
    queue.put(a_job("other", 1))
    taken: list[str] = []
    for number in range(12):
        for each in range(20):
            queue.put(a_job(f"new{number}-{each}", 900))
        taken += accounts(queue.take())
    assert taken.count("loud") == 5


def test_all_that_one_with_little_has_sent_goes_at_once() -> None:
    queue = a_queue()
    for _ in range(20):
        queue.put(a_job("loud", 10_000))
    few = [a_job("quiet", 20) for _ in range(40)]
    for job in few:
        queue.put(job)
    assert queue.take() == few


def test_turns_are_of_events_and_not_of_requests() -> None:
    queue = a_queue()
    for _ in range(5):
        queue.put(a_job("large", 10_000))
    for _ in range(50_000 // 20):
        queue.put(a_job("small", 20))
    taken = Counter[str]()
    for _ in range(4):
        for job in queue.take():
            taken[job.request.account] += job.events
    assert taken["large"] == 40_000
    assert taken["small"] == 3 * waiting.TURN_EVENTS  # The first large one had left no room.


def test_groups_are_large_again_once_one_account_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SHARED_S", 0.05)
    queue = a_queue()
    queue.put(a_job("quiet"))
    for _ in range(8):
        queue.put(a_job("loud", 10_000))
    assert sum(job.events for job in queue.take()) <= 2 * SHARED_EVENTS + 10_001
    time.sleep(0.1)
    assert sum(job.events for job in queue.take()) >= 50_000


def test_one_account_cannot_fill_it() -> None:
    queue = a_queue(most=400)
    for _ in range(300):
        queue.put(a_job("loud"))
    with pytest.raises(NotNow, match="wait to be stored"):
        queue.put(a_job("loud"))
    for name in ("quiet", "other"):
        for _ in range(10):
            queue.put(a_job(name))


def test_what_is_larger_than_all_of_it_is_taken_alone() -> None:
    queue = a_queue(most=100, at_once=10)
    queue.put(a_job("loud", 5_000))
    for name in ("loud", "quiet"):
        with pytest.raises(NotNow):
            queue.put(a_job(name))
    assert accounts(queue.take()) == ["loud"]
    queue.put(a_job("quiet"))


def test_nothing_is_lost_and_each_accounts_order_stays(seed: int) -> None:
    dice = random.Random(seed)
    queue = a_queue(most=2_000, at_once=50)
    put: dict[str, list[Job]] = {}
    got: dict[str, list[Job]] = {}
    ended = threading.Event()

    def work() -> None:
        while jobs := queue.take():
            for job in jobs:
                got.setdefault(job.request.account, []).append(job)
        ended.set()

    threading.Thread(target=work).start()
    for _ in range(3_000):
        job = a_job(dice.choice("aaaaaabbc"), dice.choice((0, 1, 1, 5, 60)))
        try:
            queue.put(job)
        except NotNow:
            continue
        put.setdefault(job.request.account, []).append(job)
    queue.close()
    assert ended.wait(30)
    assert got == put
    assert queue.waiting().events == queue.waiting().requests == 0


def test_a_job_that_touches_much_comes_back_and_goes_alone() -> None:
    """What it touches is known once somebody has looked. Who has little goes first, every other time."""
    queue = a_queue(at_once=100)
    large = a_job("loud", 5)
    queue.put(large)
    assert queue.take() == [large]
    large.cost = 6_000_000
    queue.put_back([large])
    assert (queue.waiting().requests, queue.waiting().events) == (1, 5)
    after, quiet = a_job("loud"), a_job("quiet")
    queue.put(after)
    queue.put(quiet)
    assert queue.take() == [quiet]
    again = a_job("quiet")
    queue.put(again)
    assert queue.take() == [large]
    assert Counter(queue.take()) == Counter([after, again])
    assert queue.waiting().events == 2


def test_what_comes_back_stays_in_its_order_and_is_taken_after_the_end_too() -> None:
    queue = a_queue(at_once=100)
    jobs = [a_job("loud", 2) for _ in range(3)]
    for job in jobs:
        queue.put(job)
    queue.close()
    assert queue.take() == jobs
    for job in jobs:
        job.cost = 1_000
    queue.put_back(jobs)
    assert [queue.take() for _ in range(4)] == [[jobs[0]], [jobs[1]], [jobs[2]], []]
