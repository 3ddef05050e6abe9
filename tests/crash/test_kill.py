"""kill −9 of a serving process while clients send: nothing acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import random
import signal
import threading
from pathlib import Path

import pytest

from handletime.errors import HandletimeError
from handletime.keys.keys import create
from handletime.keys.sidefile import SideFile
from handletime.segments.parts import Progress
from handletime.upkeep.client import ask
from handletime.upkeep.commands import Check, Checked, Forget, Rebuild, Removed
from handletime.upkeep.rebuild import Rebuilt
from tests.crash.client import ACCOUNT, Client, Record, Senders, prepared, resend
from tests.crash.nursery import LIMIT_S, Child, Nursery
from tests.store.worlds import a_store, derived_rows, of_account, stored_rows

QUIET: Progress = lambda _what, _done, _of: None  # noqa: E731
ACKNOWLEDGED_MAX = 14
LATER_S = 0.02
EVENTS_A_CYCLE = 220


def test_nothing_acknowledged_is_lost_by_4_kills(nursery: Nursery, tmp_path: Path, seed: int) -> None:
    kills(4, nursery, tmp_path / "store", seed)


@pytest.mark.long
def test_nothing_acknowledged_is_lost_by_200_kills(nursery: Nursery, tmp_path: Path, seed: int) -> None:
    for part in range(8):
        kills(25, nursery, tmp_path / f"store{part}", seed + part)


def kills(cycles: int, nursery: Nursery, folder: Path, seed: int) -> None:
    """So many times: a server starts, is seen to have all that was acknowledged, is sent more, and killed."""
    dice = random.Random(seed)
    record = prepared(seed, cycles * EVENTS_A_CYCLE)
    token = a_key(folder)
    for _ in range(cycles):
        server = nursery.start(folder, "serve", "--data", folder, "--port", "0")
        url = listening(server)
        settle(record, folder, url, token)
        senders = Senders(record, url, token, dice.randint(1, ACKNOWLEDGED_MAX))
        checkpointer = at_once_with(dice.random() < 0.4, folder)
        assert senders.enough.wait(LIMIT_S)
        threading.Event().wait(dice.random() * LATER_S)
        server.kill()
        assert server.wait() == -9, server.log.read_text()
        senders.join()
        checkpointer.join()
    server = nursery.start(folder, "serve", "--data", folder, "--port", "0")
    url = listening(server)
    settle(record, folder, url, token)
    server.kill(signal.SIGTERM)
    assert server.wait() == 0, server.log.read_text()
    assert len(record.acknowledged()) > 3 * cycles
    events = [event for batch in record.acknowledged() for event in batch.events]
    with a_store(folder) as store:
        assert stored_rows(store, ACCOUNT) == of_account(derived_rows(events), ACCOUNT)


def settle(record: Record, folder: Path, url: str, token: str) -> None:
    """Of what was acknowledged nothing is new, of what was in doubt all is there once; derived rows follow from it."""
    client = Client(url, token)
    try:
        known = record.acknowledged()
        count = sum(len(batch.events) for batch in known)
        assert resend(client, known) == (0, count)
        for batch in record.in_doubt():
            # All of a request or none of it.
            assert resend(client, [batch]) in ((0, len(batch.events)), (len(batch.events), 0))
            batch.acknowledged = True
            count += len(batch.events)
    finally:
        client.close()
    found = ask(folder, Rebuild(dry_run=True), Rebuilt, QUIET)
    assert (found.events, found.differences) == (count, 0), found
    assert ask(folder, Check(), Checked, QUIET).problems == []


def a_key(folder: Path) -> str:
    """The token of a new key of a new store."""
    folder.mkdir(mode=0o700)
    with SideFile(folder) as side:
        return create(side, ACCOUNT, ["admin"]).token


def listening(server: Child) -> str:
    """Its address."""
    url = server.address()
    assert url is not None, server.log.read_text()
    return url


def at_once_with(wanted: bool, folder: Path) -> threading.Thread:
    """Has the write-ahead log worked into the file meanwhile, if wanted: `forget` does, whatever it finds."""

    def forget() -> None:
        try:
            ask(folder, Forget(ACCOUNT, "nothing of this name"), Removed, QUIET)
        except (HandletimeError, OSError):
            return  # The process was killed.

    thread = threading.Thread(target=forget if wanted else lambda: None)
    thread.start()
    return thread
