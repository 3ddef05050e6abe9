"""What a check finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from handletime.upkeep.check import check
from tests.upkeep.folders import a_filled_store


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("update kept.conversations set key = key + 1 where number = 0", "have a wrong key"),
        ("insert into kept.events from kept.events where arrival = 3", "events are stored more than once"),
        ("delete from kept.conversations where number = 0", "the directory does not have"),
        ("delete from kept.agents", "not known to have any"),
        ("update kept.meta set arrivals = 3", "newer than the last commit"),
        ("delete from kept.focus_moves where number = 1", "not among the focus moves"),
        ("insert into kept.losses values (0, 0, 0, 0)", "losses of focus are of no event"),
        ("update kept.agent_segments set totalHandleTimeMillis = -1", "another handle time than their units"),
        ("insert into kept.skill_segments from kept.skill_segments", "skill segments are stored more than once"),
        ('update kept.agent_segments set "end" = null', "agent segments have no end"),
        ("insert into kept.open_conversations from kept.open_conversations", "conversations are stored more than once"),
        (
            "insert into kept.open_conversations values (-1, 0, now(), 1)",
            "open conversations are of conversations that",
        ),
        ("insert into kept.accounts from kept.accounts", "numbers are of more than one account"),
    ],
)
def test_a_check_names_what_is_broken(damage: str, problem: str, tmp_path: Path) -> None:
    store, _events = a_filled_store(tmp_path, 3)
    with store:
        assert check(store) == []
        with store.snapshot() as cursor:
            cursor.execute(damage)
            cursor.commit()
        assert [found for found in check(store) if problem in found]
