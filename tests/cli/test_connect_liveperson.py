"""`handletime connect liveperson`: a history that goes on, asked for while it does.

Covers: cli/connecting, cli/connect_notes.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from handletime.clock import DAY, HOUR, SystemClock
from handletime.keys.keys import create
from handletime.keys.sidefile import SideFile
from tests.cli.conftest import Run
from tests.crash.nursery import LIMIT_S, Child, shared
from tests.sources.liveperson_stub import ACCOUNT, BEARER, KEY, Stub, answering, conversations, serving
from tests.store.worlds import a_store, stored_rows

TOKEN = {"HANDLETIME_LIVEPERSON_BEARER": BEARER["bearer"]}
QUICK = {"handletime.sources.liveperson.search.PAUSE_S": 0.01}


@pytest.fixture
def stub() -> Iterator[Stub]:
    """LivePerson's history of the last days: 150 conversations, of which some go on."""
    now = SystemClock().now()
    made = Stub(conversations(random.Random(1), 150, now - 10 * DAY, now - HOUR))
    made.now = now - DAY
    with serving(made):
        yield made
    assert made.refused == []


def asking(stub: Stub, *options: object) -> list[object]:
    """The command, into a store of the folder in which it runs."""
    return ["connect", "liveperson", "--account", ACCOUNT, "--url", stub.url, *(options or ("--data", "polled"))]


def test_two_polls_of_a_history_that_goes_on_equal_its_import(run: Run, tmp_path: Path, stub: Stub) -> None:
    """The first was three days ago, by what it noted."""
    stub.now -= 2 * DAY
    first = run(*asking(stub), "--once", **TOKEN)
    assert first.returncode == 0, first.stderr
    notes = tmp_path / f"liveperson-{ACCOUNT}.json"
    noted = json.loads(notes.read_bytes())
    noted["state"] = {name: moment - 3 * DAY for name, moment in noted["state"].items()}
    notes.write_text(json.dumps(noted))
    stub.now += 3 * DAY
    done = run(*asking(stub), "--once", **TOKEN)
    assert done.returncode == 0, done.stderr
    imported(run, tmp_path, stub)
    assert rows(tmp_path / "polled") == rows(tmp_path / "imported")
    assert notes.stat().st_mode & 0o777 == 0o600
    everything = first.stdout + first.stderr + done.stdout + done.stderr
    everything += notes.read_text()
    assert not any(text in everything for text in ("made up", "Sample", *BEARER.values()))


def test_a_fault_is_told_once(run: Run, tmp_path: Path, stub: Stub) -> None:
    stub.now = SystemClock().now()
    stub.records[0]["info"]["brandId"] = "another"
    first = run(*asking(stub), "--once", "--faults", "faults", **TOKEN)
    assert first.returncode == 0
    assert first.stderr == ""
    told = (tmp_path / "faults").read_text().splitlines()
    assert len(set(told)) == len(told) > 20
    assert any(f"info.brandId: is not {ACCOUNT}, which was asked for" in line for line in told)
    assert run(*asking(stub), "--once", "--faults", "faults", **TOKEN).returncode == 0
    assert (tmp_path / "faults").read_text().splitlines() == told
    Path(tmp_path / f"liveperson-{ACCOUNT}.json").unlink()
    again = run(*asking(stub), "--once", **TOKEN)
    assert again.stdout.count(" 0 events accepted") == 1
    assert "--faults FILE has them all" in again.stderr


def test_killed_anywhere_it_goes_on_and_loses_nothing(run: Run, tmp_path: Path, stub: Stub) -> None:
    dice = random.Random(2)
    stub.now += DAY
    for _ in range(4):
        stub.asked.clear()
        pages = dice.randrange(1, 14)
        child = shared().start(tmp_path / "killed", *asking(stub), "--once", env=TOKEN, cwd=tmp_path)
        wait_until(lambda pages=pages, child=child: len(stub.asked) >= pages or child.has_ended())  # type: ignore[misc]
        child.kill()
        child.wait()
    done = run(*asking(stub), "--once", **TOKEN)
    assert done.returncode == 0, done.stderr
    imported(run, tmp_path, stub)
    assert rows(tmp_path / "polled") == rows(tmp_path / "imported")


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_polls_until_it_is_stopped_and_says_how_it_goes_on(tmp_path: Path, stub: Stub, how: signal.Signals) -> None:
    """In between LivePerson is away for once, and it tries again."""
    child = shared().start(
        tmp_path / "connect", *asking(stub), "--every", "0.01", env=TOKEN, cwd=tmp_path, constants=QUICK
    )
    polls(child, 1)
    stub.troubles = [answering(503)] * 6
    polls(child, 3)
    child.kill(how)
    assert child.wait() == 130
    told = child.log.read_text()
    assert told.count("is busy or broken (status 503); asked 6 times; it is tried again") == 1
    assert "The same command goes on where it was" in told


def polls(child: Child, number: int) -> None:
    """Waits until so many polls are done."""
    wait_until(lambda: child.said.read_text().count("\n") >= number or child.has_ended())
    assert not child.has_ended(), child.log.read_text()


def test_a_first_poll_that_fails_ends_it(run: Run, stub: Stub) -> None:
    def refuse(handler: BaseHTTPRequestHandler) -> bool:
        return answering(401)(handler)

    stub.troubles = [refuse]
    done = run(*asking(stub), **TOKEN)
    assert done.returncode == 1
    assert "it refuses the bearer token" in done.stderr
    assert BEARER["bearer"] not in done.stderr


def test_into_a_running_server_with_a_signed_question(run: Run, tmp_path: Path, stub: Stub) -> None:
    stub.credentials, stub.now = KEY, SystemClock().now() + 3 * DAY
    ahead = next(record for record in stub.records if record["messageRecords"])
    ahead["messageRecords"][-1]["timeL"] = stub.now - DAY
    (tmp_path / "key").touch(0o600)
    (tmp_path / "key").write_text(json.dumps(KEY))
    (tmp_path / "served").mkdir(0o700)
    with SideFile(tmp_path / "served") as side:
        made = create(side, "other", ["ingest"])
    server = shared().start(tmp_path / "server", "serve", "--data", "served", "--port", "0", cwd=tmp_path)
    address = server.address()
    assert address is not None
    options = ("--to", address, "--as", "other", "--credentials", "key", "--once", "--faults", "faults")
    env = {"HANDLETIME_TOKEN": made.token}
    done = run(*asking(stub, *options), **env)
    assert done.returncode == 0, done.stderr
    assert "150 conversations" in done.stdout
    id_ = ahead["info"]["conversationId"]
    wrong = f"conversation {id_}: a time is more than 24 hours in the future; not imported"
    assert wrong in (tmp_path / "faults").read_text()
    beside = run(*asking(stub, "--data", "served", "--credentials", "key", "--state", "second", "--once"))
    assert beside.returncode == 1
    assert "connect … --to" in beside.stderr
    server.kill(signal.SIGTERM)
    assert server.wait() == 0
    with a_store(tmp_path / "served") as store:
        stored = {row["conversationId"] for row in stored_rows(store, "other")["skill_segments"]}
    assert stored
    assert id_ not in stored


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "name either --data DIR, or --to URL and --key TOKEN"),
        (["--data", "x", "--to", "http://127.0.0.1:9"], "name either --data DIR"),
        (["--to", "http://127.0.0.1:9"], "--to needs --key, or HANDLETIME_TOKEN"),
        (["--data", "x", "--as", "a/b"], "must be 1 to 64 letters and digits"),
        (["--data", "x", "--since", "soon"], "is no time"),
    ],
)
def test_wrong_options_say_what_is_right(run: Run, stub: Stub, options: list[str], told: str) -> None:
    done = run("connect", "liveperson", "--account", ACCOUNT, "--url", stub.url, *options, **TOKEN)
    assert done.returncode == 2
    assert told in done.stderr
    assert stub.asked == []


def test_notes_of_something_else_are_not_used(run: Run, tmp_path: Path, stub: Stub) -> None:
    assert run(*asking(stub), "--once", **TOKEN).returncode == 0
    done = run(*asking(stub, "--data", "elsewhere"), "--once", **TOKEN)
    assert done.returncode == 1
    assert "name another --state" in done.stderr
    (tmp_path / f"liveperson-{ACCOUNT}.json").write_text("{}")
    done = run(*asking(stub), "--once", **TOKEN)
    assert done.returncode == 1
    assert "holds no notes of this command" in done.stderr


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
