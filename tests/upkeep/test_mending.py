"""A rebuild puts right what differs, also what the next events rest on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from handletime.store.watch import Stopped, Watch
from handletime.upkeep import mending
from handletime.upkeep.check import check
from handletime.upkeep.rebuild import rebuild
from handletime.upkeep.removing import forget
from tests.messy_streams import messy_stream
from tests.seeds import mostly_long
from tests.segments.tables import events_of
from tests.store.worlds import SMALL, a_store, standing_copies, stored_rows
from tests.upkeep.folders import a_filled_store

# --- mending


@pytest.mark.parametrize("part_events", mostly_long([250_000, 20], 1))
@pytest.mark.parametrize(
    "damage",
    [
        "delete from kept.agent_segments",
        "insert into kept.handle_time_units from kept.handle_time_units",
        "update kept.skill_segments set skillId = skillId - sign(skillId)",
        "update kept.agent_segments set responses = responses + 1",
        "delete from kept.open_conversations where number % 2 = 0",
        "update kept.open_conversations set start = start + interval 1 hour",
        "insert into kept.open_conversations select number, account, start, skillId from kept.skill_segments",
        "update kept.open_conversations set skillId = skillId + 1",
        "delete from kept.losses where arrival % 2 = 0",
        "update kept.losses set lost_time = lost_time + 1",
        "delete from kept.focus_moves where number is not null and arrival % 3 = 0",
        "update kept.focus_moves set number = number + 1 where arrival % 2 = 0",
        "delete from kept.agents",
    ],
)
def test_a_rebuild_puts_right_what_differs(damage: str, part_events: int, tmp_path: Path) -> None:
    """With everything derived gone wrong, also what the next events rest on; at once, or bit by bit."""
    events = standing_copies(messy_stream(9, accounts=1, events=240, conversations=9))
    late = events[::4]
    with a_store(tmp_path, replace(SMALL, part_events=part_events)) as store:
        store.ingest("local", events_of(event for event in events if event not in late))
        forget(store, "local", str(events[0]["conversationId"]))
        before = stored_rows(store, "local")
        with store.snapshot() as cursor:
            cursor.execute(damage)
            cursor.commit()
        found = rebuild(store)
        assert (found.mended, rebuild(store, mend=True).differences) == (0, found.differences)
        assert rebuild(store).differences == 0
        assert check(store) == []
        assert stored_rows(store, "local") == before
        store.ingest("local", events_of(late))
        assert rebuild(store).differences == 0
        assert check(store) == []


@pytest.mark.parametrize("transactions", range(4))
def test_a_rebuild_that_was_interrupted_starts_over(transactions: int, tmp_path: Path) -> None:
    store, _events = a_filled_store(tmp_path, 3)
    steps: list[str] = []

    def told(what: str, _done: int, _of: int) -> None:
        if what.startswith("mending"):
            steps.append(what)
            if len(steps) > transactions:
                watch.stop()

    watch = Watch(told)
    with store:
        before = stored_rows(store, "local")
        with store.snapshot() as cursor:
            cursor.execute("delete from kept.agent_segments")
            cursor.execute("delete from kept.focus_moves")
            cursor.commit()
        with patch.object(mending, "AT_ONCE", 3), pytest.raises(Stopped):
            rebuild(store, mend=True, watch=watch)
        assert rebuild(store, mend=True).differences > 0
        assert rebuild(store).differences == 0
        assert check(store) == []
        assert stored_rows(store, "local") == before
