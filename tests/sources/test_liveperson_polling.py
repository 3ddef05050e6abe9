"""A history that is asked for while it goes on is the one that is imported at its end.

Covers: sources/liveperson/polling.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from itertools import chain, pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from handletime.clock import DAY, HOUR, MINUTE
from handletime.sources.liveperson import polling, read_history
from handletime.sources.liveperson.credentials import Bearer
from handletime.sources.liveperson.polling import OVERLAP, State, first_state, reaching_back, steps
from handletime.sources.liveperson.search import Page, Query, Search, Window
from handletime.sources.tables import tables_of
from handletime.store.store import Store
from tests.seeds import mostly_long
from tests.sources.liveperson_stub import ACCOUNT, BEARER, Record, Stub, as_of, conversations, serving
from tests.store.worlds import a_store, stored_rows

NOW = 1_794_900_000_000
LAG = MINUTE
"""LivePerson's answers are as old as this."""


def no_tell(what: str) -> None:
    raise AssertionError(what)


def poll(store: Store, stub: Stub, ask: polling.Ask, state: State, now: int, stop: Callable[[], bool]) -> State:
    """One poll, or its beginning: it is killed where `stop` says so, and what was noted is given."""
    stub.now = now - LAG
    for pages, then in steps(ask, state, now, no_tell):
        for page in pages:
            for events in tables_of(chain.from_iterable(one.events for one in page), account=ACCOUNT):
                store.ingest(ACCOUNT, events)
            if stop():
                return state
        state = then
        if stop():
            return state
    return state


def imported(store: Store, records: list[Record]) -> None:
    lines = io.BytesIO(b"\n".join(json.dumps(record).encode() for record in records))
    for events in tables_of(read_history([("history", lines)]).events, account=ACCOUNT):
        store.ingest(ACCOUNT, events)


@pytest.mark.parametrize("seed", mostly_long(range(8), 2))
def test_a_history_polled_while_it_goes_on_equals_the_one_imported_once(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the polling is killed, wherever; queries are split, too."""
    dice = random.Random(seed)
    monkeypatch.setattr(polling, "OFFSET_MAX", dice.choice((30, 10_000)))
    stub = Stub(conversations(dice, 160, NOW - 6 * DAY, NOW + 3 * DAY))
    moments = sorted([NOW, *(dice.randrange(NOW, NOW + 5 * DAY) for _ in range(12)), NOW + 5 * DAY])
    state = first_state(NOW - 7 * DAY, NOW)
    with a_store(tmp_path / "polled") as polled, a_store(tmp_path / "imported") as once, serving(stub):
        with Search(ACCOUNT, Bearer(**BEARER), stub.url) as search:
            for moment in moments:
                state = poll(polled, stub, search.page, state, moment, lambda: dice.random() < 0.1)
            state = poll(polled, stub, search.page, state, moments[-1] + HOUR, lambda: False)
        assert stub.refused == []
        last = [then for record in stub.records if (then := as_of(record, stub.now))]
        assert {then["info"]["status"] for then in last} == {"OPEN", "CLOSE"}
        imported(once, last)
        assert stored_rows(polled, ACCOUNT) == stored_rows(once, ACCOUNT)


class Remembered:
    """Answers from lists, and remembers what was asked."""

    def __init__(self, *totals: int) -> None:
        self.totals = list(totals)
        self.asked: list[tuple[Query, int]] = []

    def __call__(self, query: Query, offset: int) -> Page:
        self.asked.append((query, offset))
        return Page([], self.totals.pop(0) if self.totals else 0)

    def windows(self) -> list[tuple[Window, Window | None, tuple[str, ...]]]:
        return [(query.began, query.ended, query.status) for query, _ in self.asked]


def polled_to(ask: Remembered, state: State, now: int) -> State:
    for pages, then in steps(ask, state, now, no_tell):
        assert not any(pages)
        state = then
    return state


def test_the_first_poll_asks_for_the_past_by_days_and_then_for_what_changed() -> None:
    ask = Remembered()
    state = polled_to(ask, first_state(NOW - 2 * DAY - HOUR, NOW), NOW)
    since = NOW - 2 * DAY - HOUR
    both, ended = ("OPEN", "CLOSE"), Window(NOW - OVERLAP, NOW)
    assert ask.windows() == [
        (Window(since, since + DAY), None, both),
        (Window(since + DAY, since + 2 * DAY), None, both),
        (Window(since + 2 * DAY, NOW), None, both),
        (Window(since, NOW), ended, ("CLOSE",)),
        (Window(since, NOW), None, ("OPEN",)),
    ]
    assert state == State(since=since, begun=NOW, filled=NOW, ended=NOW, deep=NOW)


def test_later_polls_ask_for_what_ended_since_and_what_is_open() -> None:
    first = State(since=NOW - DAY, begun=NOW, filled=NOW, ended=NOW, deep=NOW)
    ask, later = Remembered(), NOW + 5 * MINUTE
    state = polled_to(ask, first, later)
    assert ask.windows() == [
        (Window(NOW - DAY, later), Window(NOW - OVERLAP, later), ("CLOSE",)),
        (Window(NOW - DAY, later), None, ("OPEN",)),
    ]
    assert (state.ended, state.deep) == (later, NOW)


def test_once_a_day_the_ends_overlap_by_days() -> None:
    first = State(since=NOW - 9 * DAY, begun=NOW, filled=NOW, ended=NOW + 23 * HOUR, deep=NOW)
    ask, later = Remembered(), NOW + DAY
    state = polled_to(ask, first, later)
    ends = [ended for _, ended, _ in ask.windows() if ended]
    assert (ends[0].start, ends[-1].end) == (NOW - polling.DEEP_OVERLAP, later)
    assert all(one.end == following.start for one, following in pairwise(ends))
    assert all(one.end - one.start <= DAY for one in ends)
    assert state.deep == later


def test_windows_of_starts_are_never_longer_than_livepersons_three_months() -> None:
    ask = Remembered()
    state = State(since=NOW - 900 * DAY, begun=NOW, filled=NOW, ended=NOW, deep=NOW)
    polled_to(ask, state, NOW + MINUTE)
    assert all(began.end - began.start <= 80 * DAY for began, _, _ in ask.windows())
    assert min(began.start for began, _, _ in ask.windows()) == NOW + MINUTE - polling.KEPT


def test_an_earlier_since_asks_for_the_past_again_and_a_later_one_for_nothing() -> None:
    state = State(since=NOW - DAY, begun=NOW, filled=NOW, ended=NOW, deep=NOW)
    assert reaching_back(state, NOW) == state
    assert reaching_back(state, NOW - 2 * DAY) == State(
        since=NOW - 2 * DAY, begun=NOW, filled=NOW - 2 * DAY, ended=NOW, deep=NOW
    )


def test_a_clock_that_goes_back_takes_nothing_back() -> None:
    state = State(since=NOW - DAY, begun=NOW, filled=NOW, ended=NOW, deep=NOW)
    assert polled_to(Remembered(), state, NOW - HOUR).ended == NOW


def test_a_query_of_many_is_asked_in_halves_that_meet() -> None:
    ask = Remembered(25_000, 12_000, 9_000)
    windows = Window(NOW - 4 * HOUR, NOW)
    told: list[str] = []
    assert not any(polling._conversations(ask, Query(windows), told.append))
    hours = [(4, 0), (4, 2), (4, 3)]
    assert [query.began for query, _ in ask.asked[:3]] == [Window(NOW - a * HOUR, NOW - b * HOUR) for a, b in hours]
    asked = {query.began for query, _ in ask.asked}
    assert {Window(NOW - 3 * HOUR, NOW - 2 * HOUR), Window(NOW - 2 * HOUR, NOW)} <= asked


@pytest.mark.parametrize("number", [1, 9, 40])
def test_what_leaves_a_query_while_it_is_paged_hides_nothing(number: int) -> None:
    """Conversations that close move all behind them forward: some fall between two pages, if they do not overlap."""
    records = conversations(random.Random(5), 230, NOW - 3 * DAY, NOW - DAY)
    stub = Stub(records)
    stub.now = NOW
    told: list[str] = []
    gone: list[Record] = []

    def forgetful() -> None:
        if len(stub.asked) == 2 and not gone:  # between the first page and the second
            gone.extend(stub.records[:number])
            del stub.records[:number]

    stub.meanwhile = forgetful
    stub.records.sort(key=lambda record: record["info"]["startTimeL"])
    with serving(stub), Search(ACCOUNT, Bearer(**BEARER), stub.url) as search:
        query = Query(Window(NOW - 4 * DAY, NOW))
        pages = list(polling._conversations(search.page, query, told.append))
    seen = {one.conversation_id for page in pages for one in page}
    assert len(gone) == number
    assert len(stub.asked) == (4 if number < polling.SHARED else 5)
    assert seen >= {record["info"]["conversationId"] for record in stub.records}
    assert told == []


def test_a_query_that_never_gives_all_is_told_and_goes_on() -> None:
    told: list[str] = []
    ask = Remembered(7, 7, 7)
    assert [*polling._conversations(ask, Query(Window(NOW - DAY, NOW)), told.append)] == [[], [], []]
    assert len(ask.asked) == polling.TIMES
    assert told == ["LivePerson gave 0 conversations of 7, asked 3 times"]


def test_a_state_of_the_future_is_not_believed() -> None:
    """It was kept while the clock was wrong: what ended meanwhile would never be asked for."""
    asked: list[Query] = []

    def ask(query: Query, _offset: int) -> Page:
        asked.append(query)
        return Page([], 0)

    ahead = first_state(NOW - 2 * DAY, NOW + 365 * DAY)
    states = [then for pages, then in steps(ask, ahead, NOW, no_tell) if not any(pages)]
    assert states[-1] == replace(first_state(NOW - 2 * DAY, NOW), filled=NOW)
    assert {query.status for query in asked} >= {("CLOSE",), ("OPEN",)}
    assert asked[0].began == Window(NOW - 2 * DAY, NOW - DAY)
