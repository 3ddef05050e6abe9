"""The queue before the journal: bounded, fair, and none of it lost or out of order."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pytest

from handletime.errors import NotNow
from handletime.events.model import EVENTS
from handletime.store import waiting
from handletime.store.requests import Request
from handletime.store.waiting import Job, Queue


def a_job(account: str, events: int = 1) -> Job:
    table = pa.table({name: pa.nulls(events, EVENTS.field(name).type) for name in EVENTS.names}, schema=EVENTS)
    return Job(Request(account, table, ()))


def a_queue(
    most: int = 400_000, at_once: int = 20_000, has_room: Callable[[int, str], bool] = lambda _events, _account: True
) -> Queue:
    return Queue(most, 10_000, at_once, has_room)


def accounts(jobs: list[Job]) -> list[str]:
    return [job.request.account for job in jobs]


def test_what_waits_is_taken_together() -> None:
    queue = a_queue()
    jobs = [a_job(f"account{number % 7}") for number in range(100)]
    for job in jobs:
        queue.put(job)
    assert Counter(queue.take()) == Counter(jobs)


def test_one_account_alone_is_taken_in_order_up_to_the_size_of_a_group() -> None:
    queue = a_queue(at_once=100)
    jobs = [a_job("loud", 30) for _ in range(12)]
    for job in jobs:
        queue.put(job)
    sizes: list[int] = []
    taken: list[Job] = []
    while len(taken) < len(jobs):
        some = queue.take()
        sizes.append(sum(job.events for job in some))
        taken += some
    assert taken == jobs
    assert max(sizes) <= 100 + 30


def test_who_comes_with_little_is_in_the_next_group_whatever_waits() -> None:
    queue = a_queue()
    for _ in range(20):
        queue.put(a_job("loud", 10_000))
    queue.take()
    quiet = [a_job("quiet") for _ in range(3)]
    for job in quiet:
        queue.put(job)
    taken = queue.take()
    assert taken[:3] == quiet
    assert set(accounts(taken)) == {"quiet", "loud"}


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


def test_turns_are_of_events_and_not_of_requests() -> None:
    queue = a_queue()
    for _ in range(5):
        queue.put(a_job("large", 10_000))
    for _ in range(50_000 // 20):
        queue.put(a_job("small", 20))
    taken = Counter[str]()
    for _ in range(2):
        for job in queue.take():
            taken[job.request.account] += job.events
    assert taken["large"] == 40_000
    assert taken["small"] >= 2 * waiting.TURN_EVENTS


def test_a_job_waits_until_there_is_room_and_others_do_not() -> None:
    """What has been acknowledged of its account has to be worked into the tables first."""
    full = {"loud"}
    queue = a_queue(has_room=lambda _events, account: account not in full)
    loud, quiet = a_job("loud", 10), a_job("quiet")
    queue.put(loud)
    queue.put(quiet)
    assert queue.take() == [quiet]

    def make_room() -> None:
        full.clear()
        queue.look_again()

    threading.Timer(0.1, make_room).start()
    assert queue.take() == [loud]


def test_what_is_taken_together_has_room_together() -> None:
    queue = a_queue(has_room=lambda events, _account: events <= 25)
    jobs = [a_job("loud", 10) for _ in range(4)]
    for job in jobs:
        queue.put(job)
    assert queue.take() == jobs[:2]
    assert queue.take() == jobs[2:]
    queue.put(a_job("loud", 30))
    (refused,) = queue.without_room()
    assert refused.events == 30
    assert queue.waiting().events == 20  # those that were taken


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
