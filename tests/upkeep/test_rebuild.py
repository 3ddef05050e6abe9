"""Everything derived anew is what is stored, and what differs is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from handletime.upkeep.check import check
from handletime.upkeep.rebuild import rebuild
from tests.store.worlds import ended_rows
from tests.upkeep.folders import SEEDS, a_filled_store


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rebuild_finds_the_rows_that_are_stored(seed: int, tmp_path: Path) -> None:
    store, events = a_filled_store(tmp_path, seed)
    with store:
        rebuilt = rebuild(store)
        assert (rebuilt.events, rebuilt.differences, rebuilt.shown) == (len(events), 0, [])
        rows = ended_rows(store, "local")
        assert rebuilt.rows == {name: len(rows[name]) for name in rows if rows[name]}
        assert check(store) == []


@pytest.mark.parametrize(
    "damage",
    [
        "update kept.agent_segments set agentMessages = agentMessages + 1 where started = {started}",
        "delete from kept.agent_segments where started = {started}",
        "insert into kept.agent_segments from kept.agent_segments where started = {started}",
        'update kept.agent_segments set "end" = "start" - interval 1 millisecond where started = {started}',
        'update kept.agent_segments set "end" = null where started = {started}',
    ],
)
def test_a_rebuild_names_what_differs(damage: str, tmp_path: Path) -> None:
    store, _events = a_filled_store(tmp_path, 3)
    with store, store.snapshot() as cursor:
        query = "select started, conversationId from kept.agent_segments order by all limit 1"
        ((started, conversation),) = cursor.execute(query).fetchall()
        cursor.execute(damage.format(started=started))
        cursor.commit()
        rebuilt = rebuild(store)
        assert {difference.conversation_id for difference in rebuilt.shown} == {conversation}
