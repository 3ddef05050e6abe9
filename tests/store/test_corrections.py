"""Corrections in a store (rules.md 1, "Copies"): what replaces what, and that nothing of it stays."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from handletime.store.schema import MIGRATIONS
from handletime.upkeep.check import check
from handletime.upkeep.deriving import bring_up_to_date
from handletime.upkeep.rebuild import rebuild
from handletime.upkeep.removing import forget
from tests.messy_streams import RawEvent
from tests.segments.tables import events_of
from tests.store.worlds import a_store, derived_rows, stored_rows, without_journal, without_queues

START = 1_795_165_200_000  # 2026-11-20T09:00:00Z


def event(id_: str, type_: str, at: int, *, conversation: str = "c1", **fields: object) -> RawEvent:
    return {"eventId": id_, "conversationId": conversation, "time": START + at, "type": type_, **fields}


STORY = [
    event("o", "opened", 0, skillId=1),
    event("m", "message", 1, sentBy="consumer"),
    event("a", "assigned", 2, agentId=1),
    event("f", "focused", 3, agentId=1),
    event("x", "focused", 50, conversation="c2", agentId=1),
    event("r", "message", 90, sentBy="agent", agentId=1),
    event("c", "closed", 100, closedBy="agent"),
]


def test_of_several_revisions_in_one_request_the_highest_is_stored(tmp_path: Path) -> None:
    copies = [event("c", "closed", 100 + revision, closedBy="agent", revision=revision) for revision in (1, 3, 2, 3)]
    with a_store(tmp_path) as store:
        assert store.ingest("local", events_of(STORY)) == (7, 0)
        assert store.ingest("local", events_of(copies)) == (1, 3)
        assert store.ingest("local", events_of(copies)) == (0, 4)
        assert stored_rows(store, "local") == derived_rows([*STORY, copies[1]])
        assert rebuild(store).differences == 0


def test_a_focus_elsewhere_that_is_taken_back_gives_the_focus_back(tmp_path: Path) -> None:
    """The correction names c2 only; c1, which lost the focus to it, is derived again."""
    with a_store(tmp_path) as store:
        store.ingest("local", events_of(STORY))
        assert handled(store) == 50 - 3
        store.ingest("local", events_of([event("x", "withdrawn", 50, conversation="c2", revision=1)]))
        assert handled(store) == 90 - 3
        # Said again, later, by a still higher revision.
        store.ingest("local", events_of([event("x", "focused", 60, conversation="c2", agentId=1, revision=2)]))
        assert handled(store) == 60 - 3
        assert rebuild(store).differences == 0
        assert check(store) == []


def handled(store: object) -> object:
    (segment,) = stored_rows(store, "local")["agent_segments"]  # type: ignore[arg-type]
    return segment["totalHandleTimeMillis"]


def test_nothing_stays_of_what_was_replaced(tmp_path: Path) -> None:
    """No event, focus move, loss or row; and of whom no focus event stands, the handle time is unknown again."""
    back = [event("f", "withdrawn", 3, revision=1), event("x", "withdrawn", 50, conversation="c2", revision=1)]
    with a_store(tmp_path) as store:
        store.ingest("local", events_of([*STORY, event("g", "focused", 60, conversation="c2", agentId=2)]))
        store.ingest("local", events_of(back))
        (segment,) = stored_rows(store, "local")["agent_segments"]
        assert segment["focusData"] is False
        store.ingest("local", events_of([event("f", "focused", 4, agentId=1)]))  # a copy of a lower revision
        assert stored_rows(store, "local")["agent_segments"] == [segment]
    with duckdb.connect(str(tmp_path / "store.duckdb")) as file:
        assert file.sql("select agentId, focused from kept.agents").fetchall() == [(2, True)]
        assert file.sql("select agentId, eventId from kept.focus_moves").fetchall() == [(2, "g")]
        assert file.sql("select count(*) from kept.losses").fetchall() == [(0,)]
        assert file.sql("select count(*), count(distinct (number, eventId)) from kept.events").fetchall() == [(8, 8)]


@pytest.mark.parametrize("late", [False, True], ids=["remembered", "read-again"])
def test_what_moves_in_time_takes_its_focus_along(late: bool, tmp_path: Path) -> None:
    """Also where the store remembers nothing of the agent's moves any more."""
    moved = event("x", "focused", 80, conversation="c2", agentId=1, revision=5)
    with a_store(tmp_path) as store:
        store.ingest("local", events_of(STORY))
        if late:
            forget(store, "local", "a conversation that is not there")
        store.ingest("local", events_of([moved]))
        assert handled(store) == 80 - 3
        assert rebuild(store).differences == 0


def test_a_lease_survives_in_the_store(tmp_path: Path) -> None:
    """It ends the focus at once in what is derived, is said anew by a later event, and is there after a restart."""
    leased = [*STORY[:3], event("f", "focused", 3, agentId=1, leaseMillis=20), *STORY[5:]]
    with a_store(tmp_path) as store:
        store.ingest("local", events_of(leased))
        assert handled(store) == 20
    with a_store(tmp_path) as store:
        store.ingest("local", events_of([event("f2", "focused", 13, agentId=1, leaseMillis=30)]))
        assert handled(store) == 40
        assert rebuild(store).differences == 0


def test_a_store_of_the_first_version_becomes_todays(tmp_path: Path) -> None:
    """Its events have revision 0 and no lease; corrections of them count from then on."""
    with a_store(tmp_path) as store:
        store.ingest("local", events_of(STORY))
    without_journal(tmp_path)
    with duckdb.connect(str(tmp_path / "store.duckdb")) as file:
        assert len(MIGRATIONS) == 6
        without_queues(file)
        for column in ("revision", "leaseMillis"):
            file.execute(f"alter table kept.events drop column {column}")
        file.execute("alter table kept.agent_segments add column messages integer")
        file.execute("drop table kept.open_conversations")
        file.execute("update kept.meta set version = 1")
    with a_store(tmp_path) as store:
        assert bring_up_to_date(store) == 2
        assert stored_rows(store, "local") == derived_rows(STORY)
        back = event("x", "withdrawn", 50, conversation="c2", revision=1)
        assert store.ingest("local", events_of([*STORY, back])) == (1, 7)
        assert handled(store) == 90 - 3
        assert rebuild(store).differences == 0
