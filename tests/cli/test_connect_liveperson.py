"""`handletime connect liveperson`: a history that goes on, asked for while it does.

Covers: cli/connect, cli/connecting, cli/connect_notes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from handletime.clock import DAY, HOUR, SystemClock
from tests.cli.conftest import Run
from tests.sources.liveperson_stub import ACCOUNT, BEARER, Stub, conversations, serving
from tests.store.worlds import a_store, stored_rows

TOKEN = {"HANDLETIME_LIVEPERSON_BEARER": BEARER["bearer"]}


@pytest.fixture
def stub() -> Iterator[Stub]:
    """LivePerson's history of the last days: 150 conversations, of which some go on."""
    now = SystemClock().now()
    made = Stub(conversations(random.Random(1), 150, now - 10 * DAY, now - HOUR))
    made.now = now
    with serving(made):
        yield made
    assert made.refused == []


def test_one_poll_of_a_history_equals_its_import(run: Run, tmp_path: Path, stub: Stub) -> None:
    done = run("connect", "liveperson", "--account", ACCOUNT, "--url", stub.url, "--data", "polled", "--once", **TOKEN)
    assert done.returncode == 0, done.stderr
    assert "150 conversations" in done.stdout
    imported(run, tmp_path, stub)
    assert rows(tmp_path / "polled") == rows(tmp_path / "imported")


def imported(run: Run, tmp_path: Path, stub: Stub) -> None:
    """The history as it is now, imported and brought into a store."""
    body = {"start": {"from": stub.now - 80 * DAY, "to": stub.now}, "status": ["OPEN", "CLOSE"]}
    body["contentToRetrieve"] = ["messageRecords", "agentParticipants", "transfers", "interactions", "dialogs"]
    with (tmp_path / "history.ndjson").open("w") as out:
        for offset in range(0, len(stub.records), 100):
            page = stub.answer({"offset": str(offset), "limit": "100", "sort": "start:asc"}, body)
            out.writelines(json.dumps(record) + "\n" for record in page["conversationHistoryRecords"])
    assert run("import", "liveperson", "history.ndjson", "--out", "events.ndjson").returncode == 0
    assert run("ingest", "events.ndjson", "--data", "imported").returncode == 0


def rows(folder: Path) -> object:
    """What a store holds of the account."""
    with a_store(folder) as store:
        return stored_rows(store, ACCOUNT)
