"""The backlog between journal and tables: in order, bounded, and whoever waits for it comes first."""

from __future__ import annotations

import random
import threading
import time

import pyarrow as pa
import pytest

from handletime.errors import NotNow
from handletime.store import backlog as module
from handletime.store.backlog import Backlog, Batch
from handletime.store.journal import ROW, Entry
from handletime.store.schema import ARRIVING


def a_batch(number: int, account: str, events: int = 1, sizes: dict[int, int] | None = None) -> Batch:
    rows = pa.table({field.name: pa.nulls(events, field.type) for field in ARRIVING}, ARRIVING)
    entry = Entry(number, account, ROW.empty_table())
    return Batch(entry, 0, rows, pa.nulls(events, pa.string()), {}, sizes or {number: events})


def a_backlog(most: int = 120_000, fold: int = 50_000, touched: int = 250_000) -> Backlog:
    return Backlog(most, fold, touched)


def numbers(backlog: Backlog) -> list[int]:
    fold = backlog.take()
    assert fold is not None
    return [batch.number for batch in fold.batches]


def a_read_backlog(account: str, *batches: Batch) -> Backlog:
    """With batches in it, and an account that was asked about just now."""
    backlog = a_backlog()
    backlog.wait(account, no_problem)
    backlog.add(batches)
    return backlog


def acknowledge(backlog: Backlog, account: str) -> None:
    """Answers the account's requests, if that is possible at once."""
    backlog.acknowledge(account, lambda: None)


def no_problem() -> None:
    return None


class Waiting(threading.Thread):
    """Waits for an account."""

    def __init__(self, backlog: Backlog, account: str | None, left_s: float | None = 30) -> None:
        super().__init__(daemon=True)
        self._backlog, self._account, self._left_s = backlog, account, left_s
        self.error: NotNow | None = None
        self.start()
        while not backlog._asked and self.is_alive():
            time.sleep(0.001)

    def run(self) -> None:
        try:
            self._backlog.wait(self._account, no_problem, self._left_s)
        except NotNow as error:
            self.error = error


def test_nothing_is_folded_before_its_time_while_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLD_S", 0.3)
    backlog = a_backlog()
    begun = time.monotonic()
    backlog.add([a_batch(1, "A"), a_batch(2, "B")])
    backlog.add([a_batch(3, "A")])
    assert numbers(backlog) == [1, 2, 3]
    assert time.monotonic() - begun >= 0.3


def test_what_somebody_waits_for_is_folded_at_once_and_others_wait_if_they_are_many() -> None:
    backlog = a_backlog()
    backlog.add([a_batch(1, "loud", 20_000), a_batch(2, "quiet"), a_batch(3, "small", 10), a_batch(4, "quiet")])
    acknowledge(backlog, "quiet")
    waiting = Waiting(backlog, "quiet")
    fold = backlog.take()
    assert fold is not None
    assert [batch.number for batch in fold.batches] == [2, 4]
    assert fold.up_to == 0
    backlog.done(fold.batches)
    waiting.join(5)
    assert not waiting.is_alive()
    assert backlog.first() == 1


def test_the_few_of_others_go_along() -> None:
    backlog = a_backlog()
    backlog.add([a_batch(1, "other", 100), a_batch(2, "asked"), a_batch(3, "loud", 20_000), a_batch(4, "other")])
    acknowledge(backlog, "asked")
    Waiting(backlog, "asked")
    fold = backlog.take()
    assert fold is not None
    assert [batch.number for batch in fold.batches] == [2, 1]
    assert fold.up_to == 2


def test_of_two_who_wait_the_one_with_little_comes_first() -> None:
    backlog = a_backlog()
    backlog.add([a_batch(1, "loud", 50_000), a_batch(2, "quiet")])
    for account in ("loud", "quiet"):
        acknowledge(backlog, account)
        Waiting(backlog, account)
    while len(backlog._asked) < 2:
        time.sleep(0.001)
    assert numbers(backlog) == [2]


def test_whoever_waits_does_not_wait_for_what_comes_later() -> None:
    backlog = a_backlog()
    backlog.add([a_batch(1, "A")])
    acknowledge(backlog, "A")
    waiting = Waiting(backlog, "A")
    fold = backlog.take()
    assert fold is not None
    backlog.add([a_batch(2, "A")])
    backlog.done(fold.batches)
    waiting.join(5)
    assert not waiting.is_alive()
    backlog.wait("nobody", no_problem)


def test_a_fold_is_bounded_by_what_it_brings_and_by_what_it_touches() -> None:
    backlog = a_backlog(fold=100, touched=1_000)
    backlog.add([a_batch(1, "A", 60), a_batch(2, "A", 60), a_batch(3, "A", 1, {7: 900}), a_batch(4, "A", 1, {7: 901})])
    backlog.add([a_batch(5, "A", 1, {8: 200}), a_batch(6, "A", 1, {9: 5_000})])
    backlog.close()
    taken = []
    while (fold := backlog.take()) is not None:
        taken.append([batch.number for batch in fold.batches])
        backlog.done(fold.batches)
    assert taken == [[1], [2, 3, 4], [5], [6]]


def test_what_takes_too_long_is_told() -> None:
    backlog = a_backlog()
    backlog.add([a_batch(1, "A")])
    acknowledge(backlog, "A")
    waiting = Waiting(backlog, "A", 0.1)
    waiting.join(5)
    assert "still being worked" in str(waiting.error)
    with pytest.raises(NotNow, match="opened anew"):
        backlog.wait("A", lambda: "the store is being opened anew")


def test_what_cannot_be_folded_stops_nobody_else() -> None:
    backlog = a_backlog()
    backlog.add([a_batch(1, "bad"), a_batch(2, "good"), a_batch(3, "bad")])
    acknowledge(backlog, "bad")
    Waiting(backlog, None, 30)
    fold = backlog.take()
    assert fold is not None
    backlog.failed(fold.batches)
    singly = backlog.take()
    assert singly is not None
    assert [batch.number for batch in singly.batches] == [1]
    backlog.failed(singly.batches)
    assert numbers(backlog) == [2]
    with pytest.raises(NotNow, match="cannot be worked into the tables"):
        backlog.wait("bad", no_problem)


def test_a_question_waits_for_nothing_that_was_not_acknowledged() -> None:
    backlog = a_backlog()
    backlog.add([a_batch(1, "A")])
    backlog.wait("A", no_problem)
    acknowledge(backlog, "A")
    backlog.add([a_batch(2, "A")])
    waiting = Waiting(backlog, "A")
    backlog.done([a_batch(1, "A")])
    waiting.join(5)
    assert not waiting.is_alive()
    assert backlog.first() == 2


def test_much_of_an_account_that_is_asked_about_is_answered_when_it_is_folded() -> None:
    backlog = a_read_backlog("A", a_batch(1, "A", 2_000), a_batch(2, "A", 2_000))
    answered: list[str] = []
    backlog.acknowledge("A", lambda: answered.append("A"))
    backlog.wait("A", no_problem)
    assert not answered
    begun = time.monotonic()
    assert numbers(backlog) == [1, 2]
    assert time.monotonic() - begun < module.FOLD_S / 2  # at once, because an answer waits
    assert backlog.done([a_batch(1, "A", 2_000)]) == []
    for answer in backlog.done([a_batch(2, "A", 2_000)]):
        answer()
    assert answered == ["A"]


@pytest.mark.parametrize(
    ("read", "events"),
    [pytest.param("other", 2_000, id="nobody asks"), pytest.param("A", module.FEW_EVENTS, id="few events")],
)
def test_what_nobody_would_wait_for_long_is_answered_at_once(read: str, events: int) -> None:
    backlog = a_read_backlog(read, a_batch(1, "A", events), a_batch(2, "B", 2_000))
    answered: list[str] = []
    backlog.acknowledge("A", lambda: answered.append("A"))
    assert answered == ["A"]
    waiting = Waiting(backlog, "A")
    assert waiting.is_alive()
    backlog.done([a_batch(1, "A", events)])
    waiting.join(5)
    assert not waiting.is_alive()


def test_an_account_counts_as_asked_about_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_S", 0.1)
    backlog = a_read_backlog("A", a_batch(1, "A", 2_000))
    time.sleep(0.15)
    answered: list[str] = []
    backlog.acknowledge("A", lambda: answered.append("A"))
    assert answered == ["A"]


def test_no_answer_waits_for_more_than_the_next_fold_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LATER_S", 0.0)
    backlog = a_read_backlog("A", a_batch(1, "B"), a_batch(2, "A", 2_000))
    acknowledge(backlog, "A")
    assert len(backlog.done([a_batch(1, "B")])) == 1
    # It was acknowledged, so from now on whoever asks waits for it.
    waiting = Waiting(backlog, "A", 0.1)
    waiting.join(5)
    assert waiting.error is not None


def test_what_could_not_be_folded_is_answered_all_the_same() -> None:
    """It stands in the journal."""
    batch = a_batch(1, "A", 2_000)
    backlog = a_read_backlog("A", batch)
    acknowledge(backlog, "A")
    assert len(backlog.failed([batch])) == 1
    answered: list[str] = []
    backlog.acknowledge("A", lambda: answered.append("A"))
    assert answered == ["A"]


def test_an_account_has_room_for_its_share() -> None:
    backlog = a_backlog(most=400)
    assert backlog.has_room(5_000, "A")
    backlog.add([a_batch(1, "A", 300)])
    assert not backlog.has_room(1, "A")
    assert backlog.has_room(50, "B")
    assert not backlog.has_room(101, "B")
    backlog.close()
    fold = backlog.take()
    assert fold is not None
    backlog.done(fold.batches)
    assert backlog.has_room(300, "A")
    assert backlog.waiting() == (0, 0.0)


def test_all_is_folded_once_and_each_accounts_order_stays(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLD_S", 0.001)
    dice = random.Random(seed)
    backlog = a_backlog(fold=40, touched=60)
    put: dict[str, list[int]] = {}
    got: dict[str, list[int]] = {}
    folded: set[int] = set()
    tries: dict[int, int] = {}

    def work() -> None:
        while (fold := backlog.take()) is not None:
            some = [batch.number for batch in fold.batches]
            if dice.random() < 0.05 and max(tries.get(number, 0) for number in some) == 0:
                tries.update(dict.fromkeys(some, 1))
                backlog.failed(fold.batches)
                continue
            for batch in fold.batches:
                got.setdefault(batch.entry.account, []).append(batch.number)
            folded.update(some)
            assert set(range(1, fold.up_to + 1)) <= folded
            backlog.done(fold.batches)

    monkeypatch.setattr(module, "STUCK_S", 0.01)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    for number in range(1, 1_500):
        account = dice.choice("aaaaabbc")
        backlog.add([a_batch(number, account, dice.choice((1, 1, 5, 60)))])
        acknowledge(backlog, account)
        put.setdefault(account, []).append(number)
        if dice.random() < 0.02:
            asked = dice.choice("abcd")
            for _ in range(100):
                try:
                    backlog.wait(asked, no_problem, 30)
                    break
                except NotNow:  # what could not be folded is tried again
                    time.sleep(0.01)
            assert got.get(asked, []) == put.get(asked, [])
    backlog.close()
    thread.join(30)
    assert got == put
    assert backlog.first() == 1_500
