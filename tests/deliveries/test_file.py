"""The file of deliveries: durable when it says so, empty of what was removed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from handletime.deliveries.file import FILE, KEPT_MS, Came, Deliveries, Delivery, Done, RefusedBody, Standing
from handletime.errors import StoreError

NOW = 1_795_165_200_000
TEXT = b'{"content":"some words that nobody should find"}'


@pytest.fixture
def deliveries(tmp_path: Path) -> Iterator[Deliveries]:
    with Deliveries(tmp_path) as opened:
        yield opened


def keep(deliveries: Deliveries, *bodies: bytes, source: str = "chatwoot", at: int = NOW) -> None:
    deliveries.keep([Came("acme", source, at, body) for body in bodies])


def waiting(deliveries: Deliveries, source: str = "chatwoot") -> list[Delivery]:
    return deliveries.waiting("acme", source, 1000, 1 << 20)


def content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob(f"{FILE}*"))


def test_what_came_waits_in_order_until_it_is_settled(deliveries: Deliveries) -> None:
    keep(deliveries, b"1", b"2", b"3")
    keep(deliveries, b"other", source="another")
    assert sorted(deliveries.lines()) == [("acme", "another"), ("acme", "chatwoot")]
    found = waiting(deliveries)
    assert [each.body for each in found] == [b"1", b"2", b"3"]
    done = Done([found[0].number], [found[1].number], [RefusedBody(found[2], "no", b"{}")])
    deliveries.settle("acme", "chatwoot", done, NOW + 1)
    assert waiting(deliveries) == []
    assert deliveries.backlog() == (1, NOW)
    assert deliveries.standings() == [
        Standing("acme", "another", 1, NOW, 0, 0, 0, None, 0, {}),
        Standing("acme", "chatwoot", 0, None, 1, 1, 1, NOW + 1, 1, {"no": 1}),
    ]


def test_some_at_a_time_by_number_and_by_size_but_always_one(deliveries: Deliveries) -> None:
    keep(deliveries, *[b"x" * 100] * 10)
    assert len(deliveries.waiting("acme", "chatwoot", 3, 1 << 20)) == 3
    assert len(deliveries.waiting("acme", "chatwoot", 1000, 250)) == 3
    assert len(deliveries.waiting("acme", "chatwoot", 1000, 1)) == 1
    assert deliveries.waiting("acme", "nobody", 1000, 1000) == []


def test_nothing_of_what_was_removed_is_left_in_the_files(tmp_path: Path) -> None:
    with Deliveries(tmp_path) as deliveries:
        keep(deliveries, *[TEXT] * 500)
        assert b"nobody should find" in content(tmp_path)
        found = waiting(deliveries)
        deliveries.settle("acme", "chatwoot", Done([each.number for each in found]), NOW)
        deliveries.tidy()
        assert b"nobody should find" not in content(tmp_path)


def test_what_was_kept_is_there_after_the_file_was_opened_anew(tmp_path: Path) -> None:
    with Deliveries(tmp_path) as deliveries:
        keep(deliveries, b"1")
    with Deliveries(tmp_path) as deliveries:
        assert [each.body for each in waiting(deliveries)] == [b"1"]
        assert deliveries.problems() == []
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_refused_ones_wait_again_with_their_time_but_not_those_without_a_body(deliveries: Deliveries) -> None:
    keep(deliveries, b"1", b"2", at=NOW - 5)
    first, second = waiting(deliveries)
    refused = [RefusedBody(first, "no", b'{"id":1}'), RefusedBody(second, "no JSON", b"")]
    deliveries.settle("acme", "chatwoot", Done(refused=refused), NOW)
    assert deliveries.retry("another") == []
    assert deliveries.retry() == [first.number]
    assert deliveries.still_waiting([first.number]) == 1
    (again,) = waiting(deliveries)
    assert again == Delivery(-first.number, NOW - 5, b'{"id":1}')
    keep(deliveries, b"3")
    (third,) = waiting(deliveries)
    assert (third.body, third.is_again, again.is_again) == (b"3", False, True)
    assert len({first.number, second.number, third.number}) == 3
    deliveries.settle("acme", "chatwoot", Done(mapped=[third.number]), NOW)
    assert waiting(deliveries) == [again]
    deliveries.settle("acme", "chatwoot", Done(refused=[RefusedBody(again, "still", b'{"id":1}')]), NOW)
    assert deliveries.still_refused([first.number]) == 1


def test_what_is_tried_again_counts_once(deliveries: Deliveries) -> None:
    keep(deliveries, b"1", b"2", b"3")
    bodies = [b'{"id":1}', b'{"id":2}', b""]
    refused = [RefusedBody(each, "no", body) for each, body in zip(waiting(deliveries), bodies, strict=True)]
    deliveries.settle("acme", "chatwoot", Done(refused=refused), NOW)
    for _ in range(3):
        deliveries.retry()
        assert deliveries.standings()[0].refused == 1
        again = [RefusedBody(each, "still", each.body) for each in waiting(deliveries)]
        deliveries.settle("acme", "chatwoot", Done(refused=again), NOW)
        assert deliveries.standings()[0].refused == 3
    deliveries.retry()
    deliveries.settle("acme", "chatwoot", Done(mapped=[each.number for each in waiting(deliveries)]), NOW)
    assert (deliveries.standings()[0].mapped, deliveries.standings()[0].refused) == (2, 1)


def test_refused_ones_go_after_a_week(deliveries: Deliveries) -> None:
    keep(deliveries, b"1")
    (one,) = waiting(deliveries)
    deliveries.settle("acme", "chatwoot", Done(refused=[RefusedBody(one, "no", b"{}")]), NOW)
    deliveries.expire(NOW + KEPT_MS)
    assert deliveries.standings()[0].problems == {"no": 1}
    deliveries.expire(NOW + KEPT_MS + 1)
    assert deliveries.standings()[0].problems == {}


def test_whoever_waits_is_told_that_the_file_was_removed(deliveries: Deliveries) -> None:
    deliveries.path.rename(deliveries.path.with_suffix(".away"))
    with pytest.raises(StoreError, match="was removed or replaced"):
        keep(deliveries, b"1")


def test_a_copy_is_whole(deliveries: Deliveries, tmp_path: Path) -> None:
    keep(deliveries, b"1", b"2")
    (tmp_path / "copy").mkdir()
    deliveries.copy_to(tmp_path / "copy" / FILE)
    with Deliveries(tmp_path / "copy") as copy:
        assert [each.body for each in waiting(copy)] == [b"1", b"2"]


def test_another_database_is_not_taken_for_it(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute("create table something (x)")
    with pytest.raises(StoreError, match="is no file of deliveries"):
        Deliveries(tmp_path)
