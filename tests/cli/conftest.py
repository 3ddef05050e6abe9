"""The commands as a user runs them: a real process, real files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.nursery import shared

Run = Callable[..., subprocess.CompletedProcess[str]]
GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs handletime in a folder of its own."""

    def run_in_folder(*arguments: object, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[str]:
        return shared().done(*arguments, stdin=stdin, cwd=tmp_path, env={"COLUMNS": "120", **env})

    return run_in_folder


def events_of(case: str) -> bytes:
    """The events of one of the ten examples, as NDJSON."""
    events = json.loads((GOLDEN / "examples" / f"{case}.json").read_text())["events"]
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)
