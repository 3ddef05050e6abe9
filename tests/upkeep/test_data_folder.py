"""A folder that no server has."""

from __future__ import annotations

from pathlib import Path

import pytest

from handletime.errors import StoreError
from handletime.upkeep.client import ask
from handletime.upkeep.commands import Check, Checked
from handletime.upkeep.data_folder import open_data_folder
from tests.upkeep.folders import QUIET, a_data_folder

# --- without a server


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="has no store"):
        ask(tmp_path, Check(), Checked, QUIET)
    with a_data_folder(tmp_path / "store"):
        pass
    (tmp_path / "store" / "store.duckdb").write_bytes(b"x" * 10_000)
    with pytest.raises(StoreError, match="cannot be opened"):
        ask(tmp_path / "store", Check(), Checked, QUIET)


def test_what_a_killed_command_left_is_taken_away(tmp_path: Path) -> None:
    with a_data_folder(tmp_path):
        pass
    for name in ("backups/.a.duckdb", ".handletime-x", ".admin-y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").write_bytes(b"x")
    with open_data_folder(tmp_path) as data:
        assert not [path for path in data.folder.rglob("*") if path.name == "part"]
