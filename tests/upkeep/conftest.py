"""A data folder that is open, and the folder of one with and without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from handletime.upkeep.command_server import CommandServer
from handletime.upkeep.data_folder import DataFolder
from handletime.upkeep.messages import SOCKET
from tests.upkeep.folders import a_data_folder

LONG = Path(*["a-folder-whose-name-is-fifty-letters-long-and-deep-"] * 4)


@pytest.fixture(params=["served", "alone", "long path"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The folder of a store, with a server and without one; also where its path is longer than an address."""
    folder = tmp_path / (LONG if request.param == "long path" else "store")
    if request.param == "alone":
        with a_data_folder(folder):
            pass
        yield folder
    else:
        with a_data_folder(folder) as data, CommandServer(data):
            yield folder
        assert not (folder / SOCKET).exists()


@pytest.fixture
def data(tmp_path: Path) -> Iterator[DataFolder]:
    """A data folder without a server."""
    with a_data_folder(tmp_path / "store") as data:
        yield data
