"""The events of many bodies together: never half of one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from handletime.sources.batch import batch_of
from handletime.sources.event import Event


def event(id_: str, *, is_good: bool = True) -> Event:
    return Event(
        conversation_id="1", event_id=id_ if is_good else "", time=1_795_165_200_000, sequence=0, type="opened"
    )


@given(st.lists(st.tuples(st.lists(st.booleans(), max_size=4), st.booleans()), max_size=8))
def test_a_body_gives_all_its_events_or_says_why_not(bodies: list[tuple[list[bool], bool]]) -> None:
    given_ = [
        ([event(f"{place}.{number}", is_good=good) for number, good in enumerate(events)], "it" if wrong else None)
        for place, (events, wrong) in enumerate(bodies)
    ]
    batch = batch_of(given_, account="acme")
    good = [all(events) and not wrong for events, wrong in bodies]
    assert batch.sizes == [len(events) if good[place] else 0 for place, (events, _) in enumerate(bodies)]
    assert batch.events["eventId"].to_pylist() == [
        f"{place}.{number}" for place, (events, _) in enumerate(bodies) if good[place] for number in range(len(events))
    ]
    assert set(batch.problems) == {place for place, is_good in enumerate(good) if not is_good}
    fewer = batch.without({0: "late"}) if bodies else batch
    assert sum(fewer.sizes) == fewer.events.num_rows
    assert not bodies or fewer.sizes[0] == 0
    assert set(batch.events["accountId"].to_pylist()) <= {"acme"}


def test_a_problem_names_the_field() -> None:
    batch = batch_of([([event("")], None)], account="acme")
    assert batch.problems == {0: "eventId: must be a string of 1 to 128 characters without control characters"}
