"""Every command, through a running server and without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from handletime.clock import DAY as DAY_MS
from handletime.errors import InputError
from handletime.store.shelf import NewFile, Shelf
from handletime.upkeep.backups import Manifest
from handletime.upkeep.client import ask
from handletime.upkeep.commands import Backup, Check, Checked, Export, Forget, Prune, Rebuild, Removed
from handletime.upkeep.exports import Exported
from handletime.upkeep.rebuild import Rebuilt
from tests.messy_streams import BASE
from tests.upkeep.conftest import LONG
from tests.upkeep.folders import QUIET


def test_every_command_is_done_with_and_without_a_server(folder: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    rebuilt = ask(folder, Rebuild(), Rebuilt, lambda what, _done, _of: steps.append(what))
    assert (rebuilt.events, rebuilt.conversations, rebuilt.differences) == (72, 12, 0)
    assert "reading events" in steps
    assert ask(folder, Check(), Checked, QUIET).problems == []
    made = ask(folder, Backup(str(tmp_path / "copy")), Manifest, QUIET)
    assert sorted(made.files) == ["side.sqlite", "store.duckdb"]
    written = ask(folder, Export(str(tmp_path / "out")), Exported, QUIET)
    assert written.rows == dict.fromkeys(
        ("agent_segments", "skill_segments", "queue_segments", "handle_time_units"), 12
    ) | {"events": 72}
    assert ask(folder, Forget("local", "c3"), Removed, QUIET).conversations == 1
    assert ask(folder, Forget("local", "c3"), Removed, QUIET).conversations == 0
    assert ask(folder, Prune(BASE + 3 * DAY_MS, dry_run=True), Removed, QUIET).conversations == 3
    assert ask(folder, Prune(BASE + 3 * DAY_MS), Removed, QUIET).conversations == 3
    assert ask(folder, Rebuild(), Rebuilt, QUIET).conversations == 8
    assert ask(folder, Check(), Checked, QUIET).problems == []
    with pytest.raises(InputError, match="there already"):
        ask(folder, Backup(str(tmp_path / "copy")), Manifest, QUIET)
    with pytest.raises(InputError, match="there is no account nobody"):
        ask(folder, Export(str(tmp_path / "more"), "nobody"), Exported, QUIET)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name not in (LONG.parts[0], "store")) == [
        "copy",
        "out",
    ]


def test_what_is_removed_is_in_no_made_file(folder: Path) -> None:
    assert ask(folder, Forget("local", "c5"), Removed, QUIET).conversations == 1
    shelf = Shelf(folder / "shelf.sqlite")
    assert shelf.find("local", "/file") is not None
    assert ask(folder, Prune(BASE + DAY_MS), Removed, QUIET).conversations == 1
    assert shelf.find("local", "/file") is None
    shelf.close()


def test_a_made_file_that_names_what_is_gone_is_told(folder: Path) -> None:
    shelf = Shelf(folder / "shelf.sqlite")
    shelf.put("local", 1, "print", 2, [NewFile("/older", b"units", ["gone"])])
    shelf.close()
    (problem,) = ask(folder, Check(), Checked, QUIET).problems
    assert problem == "the made file /older names a conversation that was removed"
