"""Folders that get their name when they are complete."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from handletime.errors import InputError
from handletime.store.opening import BACKUPS
from handletime.upkeep.staging import staged


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Path:
    (tmp_path / "store" / BACKUPS).mkdir(parents=True)
    return tmp_path / "store"


def test_an_empty_folder_is_filled(tmp_path: Path, store: Path) -> None:
    (tmp_path / "out").mkdir()
    with staged(tmp_path / "out", store) as folder:
        (folder / "file").write_text("all")
    assert (tmp_path / "out" / "file").read_text() == "all"
    assert not list((store / BACKUPS).iterdir())


@pytest.mark.parametrize("place", ["folder", "nowhere"])
def test_a_link_is_refused_before_anything_is_copied(place: str, tmp_path: Path, store: Path) -> None:
    """A folder cannot take the place of a link: it would fail when all is done."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / place)
    with pytest.raises(InputError, match="is a link or a mounted disk"), staged(tmp_path / "out", store):
        pytest.fail("this copies everything")
    assert (tmp_path / "out").is_symlink()


def test_a_mounted_disk_is_refused_before_anything_is_copied(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path / "out")
    with pytest.raises(InputError, match="is a link or a mounted disk"), staged(tmp_path / "out", store):
        pytest.fail("this copies everything")
