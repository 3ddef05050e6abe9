"""What readers get fits those who work with it: metrics and explanations come out as from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from handletime.metrics.aggregate import Window, aggregate
from handletime.metrics.registry import METRICS
from handletime.metrics.source import connect
from handletime.segments.derive import derive
from handletime.segments.explain import explain
from handletime.segments.parts import prepare
from tests.messy_streams import BASE, messy_stream
from tests.segments.tables import events_of
from tests.store.worlds import a_store, standing_copies

EVERYTHING = Window(-(2**45), 2**45)


@pytest.mark.parametrize("seed", range(0, 60, 6))
def test_metrics_and_explanations_are_those_of_the_same_events_in_files(seed: int, tmp_path: Path) -> None:
    events = standing_copies(messy_stream(seed, accounts=1, events=150))
    table = events_of(events)
    from_files, _quality = connect([derive(table)], tmp_path, memory=1 << 28)
    with a_store(tmp_path / "store") as store:
        for place in range(0, len(events), 40):
            store.ingest("local", events_of(events[place : place + 40]))
        reader = store.reader("local")
        with reader.snapshot() as connection:
            for by in ([], ["agentId"], ["skillId", "agentId"]):
                expected = aggregate(from_files, METRICS.values(), by, EVERYTHING)  # type: ignore[arg-type]
                assert aggregate(connection, METRICS.values(), by, EVERYTHING) == expected  # type: ignore[arg-type]
        for conversation in {str(event["conversationId"]) for event in events}:
            prepared = reader.prepared(conversation)
            assert prepared is not None
            assert explain(prepared, "local", conversation) == explain(prepare(table), "local", conversation)
    from_files.close()


def test_all_conversations_are_there_until_one_is_forgotten(tmp_path: Path) -> None:
    place = {"eventId": "o", "type": "opened"}
    opened = [{**place, "conversationId": f"c{number}", "time": BASE + number} for number in range(600)]
    everyone = [str(event["conversationId"]) for event in opened]
    with a_store(tmp_path / "store") as store:
        store.ingest("local", events_of(opened))
        store.ingest("other", events_of(opened[:1]))
        reader = store.reader("local")
        assert reader.holds_all([])
        assert reader.holds_all(everyone)
        assert reader.holds_all([*everyone, "c0", "c0"])
        assert not reader.holds_all([*everyone, "c600"])
        assert not store.reader("other").holds_all(everyone)
        assert not store.reader("nobody").holds_all(["c0"])
        store.forget("local", "c300")
        assert not reader.holds_all(everyone)
        assert reader.holds_all([id_ for id_ in everyone if id_ != "c300"])
        assert store.reader("other").holds_all(["c0"])
