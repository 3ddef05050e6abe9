import uuid
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from handletime.events import model
from handletime.simulate import simulate as simulation
from handletime.simulate.centre import Centre
from handletime.simulate.simulate import simulate
from tests.simulate.made import IDENTITY, MONDAY, events_of, plain


def test_tables_have_exactly_the_schema_of_events() -> None:
    for table in simulate(Centre(start=MONDAY, conversations=100)):
        table.validate(full=True)
        assert table.schema.equals(model.EVENTS, check_metadata=True)
        for field in model.FIELDS:
            if field.choices:
                assert table[field.name].chunk(0).dictionary.to_pylist() == list(field.choices)


def test_every_event_has_the_fields_of_its_type_and_no_others(day: pa.Table) -> None:
    for type_ in model.TYPES:
        if type_ == "withdrawn":  # A simulated centre says what is right at once, and its screens tell when they close.
            continue
        rows = day.filter(pc.equal(day["type"].cast(pa.string()), type_))
        assert rows.num_rows > 0
        for field in model.FIELDS:
            if not field.belongs_to(type_):
                assert rows[field.name].null_count == rows.num_rows, (type_, field.name)
            elif field.is_required(type_) or field.name in ("accountId", "sequence", "groupId", "userType"):
                assert rows[field.name].null_count == 0, (type_, field.name)
            elif field.name not in ("agentId", "sentBy", "reason", "closedBy", "leaseMillis"):
                assert rows[field.name].null_count < rows.num_rows, (type_, field.name)
    by_others = day.filter(
        pc.and_(
            pc.is_valid(day["agentId"]), pc.is_in(day["sentBy"].cast(pa.string()), pa.array(["consumer", "system"]))
        )
    )
    assert by_others.num_rows == 0


def test_ids_are_what_they_promise(day: pa.Table) -> None:
    assert day.group_by(list(IDENTITY)).aggregate([]).num_rows == day.num_rows
    ids = day["conversationId"].unique().to_pylist()
    assert len(ids) == 2000
    assert all(str(uuid.UUID(id_)) == id_ and uuid.UUID(id_).version == 4 for id_ in ids)
    assert set(pc.utf8_length(day["eventId"]).unique().to_pylist()) == {8}
    assert set(day["skillId"].unique().to_pylist()) == {None, 10, 20, 30, 40, 50}


@pytest.mark.usefixtures("small_blocks")
def test_events_come_in_order_of_time_and_none_outside_the_span() -> None:
    events = events_of(conversations=500, days=0.5)
    times = events["time"].to_pylist()
    assert times == sorted(times)
    assert times[0] >= MONDAY
    assert times[-1] < MONDAY + timedelta(days=0.5)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("messiness", [0.0, 0.3])
def test_blocks_yield_tables_of_which_none_is_empty(messiness: float) -> None:
    """And long before the end: no more than what a block needs is kept."""
    tables = list(simulate(Centre(start=MONDAY, seed=7, conversations=600, days=2, messiness=messiness)))
    assert len(tables) == 10
    assert min(map(len, tables)) > 100


def test_the_same_centre_gives_the_same_events() -> None:
    assert events_of(seed=3).equals(events_of(seed=3))
    assert not events_of(seed=3).equals(events_of(seed=4))


@pytest.mark.usefixtures("small_blocks")
def test_a_messy_centre_delays_and_repeats_but_says_the_same() -> None:
    clean, messy = events_of(), events_of(messiness=0.2)
    assert len(messy) == pytest.approx(1.1 * len(clean), rel=0.02)
    distinct = {tuple(event.values()) for event in plain(messy).to_pylist()}
    assert distinct == {tuple(event.values()) for event in plain(clean).to_pylist()}
    times = messy["time"].to_pylist()
    assert 0.1 < sum(time < before for before, time in pairwise(times)) / len(times) < 0.3


@pytest.mark.parametrize("settings", [{}, {"skills": 1, "bots": 0, "agents": 1}, {"days": 0.01}, {"days": 400.0}])
def test_one_conversation(settings: dict[str, Any]) -> None:
    for seed in range(5):
        events = events_of(conversations=1, seed=seed, **settings)
        assert len(events["conversationId"].unique()) == 1
        assert events["type"][0].as_py() == "opened"


@pytest.mark.parametrize(
    ("events", "settings"),
    [(5000, {}), (20_000, {"days": 7}), (20_000, {"accounts": ("a", "b"), "days": 0.1}), (30_000, {"agents": 10})],
)
def test_a_number_of_events_is_hit(events: int, settings: dict[str, Any]) -> None:
    assert len(events_of(conversations=None, events=events, **settings)) == pytest.approx(events, rel=0.02)


def test_a_number_of_events_is_hit_beyond_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "SAMPLE", 4000)
    assert len(events_of(conversations=None, events=150_000)) == pytest.approx(150_000, rel=0.03)


def test_without_a_size_there_are_two_thousand_conversations_a_day() -> None:
    assert len(events_of(conversations=None, days=0.25)["conversationId"].unique()) == 500
