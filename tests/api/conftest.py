"""One running server for all tests of the methods; each test takes accounts of its own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from handletime.api.ports import Store as StoreOfTheMethods
from handletime.keys.sidefile import SideFile
from handletime.store.store import Store
from handletime.targets.file import TargetsFile
from tests.api.world import Event, World

GOLDEN = Path(__file__).parent.parent / "golden" / "metrics" / "agents-12-and-13.json"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The server; the account `acme` has the events of LivePerson's agents 12 and 13."""
    with World() as running:
        running.store.put("acme", golden()["events"])
        yield running


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[World]:
    """A server over a store on disk."""
    with SideFile(tmp_path) as side, Store(tmp_path, side) as real:
        fits: StoreOfTheMethods = real
        with World(real=fits) as world:
            yield world


@pytest.fixture
def account() -> str:
    """An account that no other test uses."""
    return f"own{next(_numbers)}"


@pytest.fixture
def set_targets(tmp_path: Path) -> Iterator[Callable[[World, str], None]]:
    """Gives a server targets, as a file says; until the test ends."""
    given: list[tuple[World, TargetsFile]] = []

    def set_(of: World, text: str) -> None:
        file = tmp_path / "targets.toml"
        file.write_text(text)
        given.append((of, of.service.targets))
        of.service.targets = TargetsFile(file)

    yield set_
    for of, before in reversed(given):
        of.service.targets = before


def golden() -> dict[str, list[Event]]:
    """The golden case of LivePerson's agent page."""
    case: dict[str, list[Event]] = json.loads(GOLDEN.read_text())
    return case
