"""A contact centre of one agent, and the tracker that was built for it, for each module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracker.office import Office


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    office = Office(tmp_path_factory.mktemp("office"))
    yield office
    office.end()


@pytest.fixture(scope="module")
def tracker(office: Office, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return office.tracker(tmp_path_factory.mktemp("tracker"))
