"""`handletime connect chatwoot`, against a Chatwoot of our own and a real store."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from pyarrow.dataset import dataset

from handletime.answers import labels
from handletime.cli import connect_chatwoot
from handletime.sources.chatwoot.webhook import Options, events_of
from tests.cli.conftest import Run
from tests.crash.nursery import LIMIT_S, Child, shared
from tests.sources.chatwoot_stories import in_rest, lived, story
from tests.sources.chatwoot_stub import SECRET, TOKEN, Chatwoot, Deliverer, Server, post, serving


class Done(NamedTuple):
    """What a command said."""

    returncode: int
    stdout: str
    stderr: str


Connect = Callable[..., Done]
HOOK = "https://handletime.example.com/api/account/acme/sources/chatwoot"


@pytest.fixture
def chatwoot() -> Chatwoot:
    """Some sixty conversations: three pages."""
    made = Chatwoot()
    dice = random.Random(5)
    for id_ in range(1, 61):
        for _ in story(made, dice, first=id_, steps=6):
            pass
    return made


@pytest.fixture
def server(chatwoot: Chatwoot) -> Iterator[Server]:
    with serving(chatwoot) as server:
        yield server


@pytest.fixture
def connect(server: Server, tmp_path: Path) -> Connect:
    """Runs the command to its end, with what is always needed."""
    number = count()

    def connected(*more: object) -> Done:
        child = begun(server, tmp_path, tmp_path / f"connect-{next(number)}", *more)
        child.wait()
        done = Done(child.code or 0, child.said.read_text(), child.log.read_text())
        assert "Traceback" not in done.stderr
        return done

    return connected


def begun(server: Server, folder: Path, place: Path, *more: object) -> Child:
    """Begins the command, which asks without pausing."""
    env = {"CHATWOOT_TOKEN": TOKEN, "COLUMNS": "120"}
    constants = {"handletime.sources.chatwoot.client.PACE_S": 0.0}
    return shared().start(place, *arguments(server), *more, cwd=folder, env=env, constants=constants)


def arguments(server: Server) -> list[object]:
    return [
        *("connect", "chatwoot", "--url", server.url, "--account", 1, "--as", "acme", "--data", "store"),
        *("--address", "https://handletime.example.com", "--settings-out", "source.toml"),
    ]


def test_all_is_connected_and_what_happened_before_is_brought(
    connect: Connect, run: Run, chatwoot: Chatwoot, tmp_path: Path
) -> None:
    chatwoot.auto_resolve = {"settings": {"auto_resolve_after": 43_200}}
    done = connect("--labels", "labels.csv")
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "resolves after 43,200 silent minutes" in said
    assert "Backfill: 60 conversations; " in said
    assert ", 0 duplicates" in said
    assert "Reconstructed before 2" in said
    assert "SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true" in said
    (webhook,) = chatwoot.webhooks
    assert webhook["url"] == HOOK
    assert webhook["subscriptions"] == ["conversation_created", "conversation_updated", "message_created"]
    assert tomllib.loads((tmp_path / "source.toml").read_text()) == {
        "source": {
            "chatwoot": {
                "kind": "chatwoot",
                "account": "acme",
                "secret": SECRET,
                "proof": "signature",
                "skill": "inbox",
                "auto-resolve-minutes": 43_200,
            }
        }
    }
    assert (tmp_path / "source.toml").stat().st_mode & 0o777 == 0o600
    names = labels.read_labels(tmp_path / "labels.csv")
    assert names["acme", "agent"] == {
        **{id_: f"Agent {id_}" for id_ in (7, 8, 9)},
        10**12 + 2: "Bot 2",
        2 * 10**12 + 3: "Bot of Inbox 3",
        2 * 10**12 + 4: "Bot of Inbox 4",
    }
    assert names["acme", "skill"] == {3: "Inbox 3", 4: "Inbox 4"}
    assert SECRET not in said + done.stderr
    assert TOKEN not in said + done.stderr
    checked = run("check", "--data", "store")
    assert checked.returncode == 0, checked.stderr


def test_once_more_changes_nothing(connect: Connect, chatwoot: Chatwoot) -> None:
    first, again = connect(), connect()
    events = next(line for line in first.stdout.splitlines() if line.startswith("Backfill"))
    number = events.partition("; ")[2].partition(" events")[0]
    assert f"0 events accepted, {number} duplicates" in again.stdout
    assert "Webhook: is there" in again.stdout
    assert "put what stands there into the server's settings file" in first.stdout
    assert "Secret: in source.toml, as before.\n" in again.stdout
    assert "put what stands there" not in again.stdout
    assert "Reconstructed" in again.stdout  # It still knows when the webhook was made.
    assert len(chatwoot.webhooks) == 1


def test_a_webhook_that_was_there_told_who_had_what(connect: Connect, chatwoot: Chatwoot) -> None:
    chatwoot.answer("POST", "/api/v1/accounts/1/webhooks", _asked({"url": HOOK, "subscriptions": ["message_created"]}))
    done = connect()
    assert "Webhook: mended" in done.stdout
    assert sorted(chatwoot.webhooks[0]["subscriptions"]) == [
        *("conversation_created", "conversation_updated", "message_created")
    ]
    assert "and no assignments" in done.stdout
    assert "Reconstructed" not in done.stdout
    assert "Reconstructed before 2030-01-01" in connect("--until", "2030-01-01").stdout


def _asked(webhook: dict[str, Any]) -> bytes:
    return json.dumps({"webhook": webhook}).encode()


def test_an_old_chatwoot_signs_nothing_and_a_secret_stands_in_the_address(
    connect: Connect, chatwoot: Chatwoot, tmp_path: Path
) -> None:
    chatwoot.signs, chatwoot.has_bots = False, False
    first = connect("--no-backfill", "--labels", "labels.csv")
    assert "too old to sign deliveries" in first.stdout, first.stderr
    secret = tomllib.loads((tmp_path / "source.toml").read_text())["source"]["chatwoot"]["secret"]
    assert chatwoot.webhooks[0]["url"] == f"{HOOK}?secret={secret}"
    assert secret not in first.stdout
    connect("--no-backfill")
    assert len(chatwoot.webhooks) == 1
    assert secret in (tmp_path / "source.toml").read_text()


def test_names_that_are_there_stay(connect: Connect, tmp_path: Path) -> None:
    before = "kind,id,label\nagent,7,Ours\n\nskill,99,Old"
    (tmp_path / "labels.csv").write_text(before)
    assert "7 names added" in connect("--no-backfill", "--labels", "labels.csv", "--skill", "team").stdout
    after = (tmp_path / "labels.csv").read_text()
    assert after.startswith(before + "\n")
    names = labels.read_labels(tmp_path / "labels.csv")
    assert (names["", "agent"][7], names["", "skill"]) == ("Ours", {99: "Old", 5: "team 5", 6: "team 6"})
    assert "0 names added" in connect("--no-backfill", "--labels", "labels.csv", "--skill", "team").stdout
    assert (tmp_path / "labels.csv").read_text() == after


def test_a_backfill_of_a_period_asks_for_what_was_active_since(
    connect: Connect, chatwoot: Chatwoot, server: Server
) -> None:
    for id_ in range(1, 60):
        chatwoot.conversations[id_].updated = chatwoot.conversations[id_].active = 1_700_000_000_000
        chatwoot.conversations[id_].created = 1_700_000_000_000
    assert "Backfill: 1 conversation; " in connect("--since", "2026-01-01").stdout
    assert len([each for each in server.asked if "/messages" in each]) == 1


def test_killed_in_the_backfill_it_goes_on_and_has_all(
    connect: Connect, run: Run, server: Server, tmp_path: Path
) -> None:
    held, go_on = threading.Event(), threading.Event()

    def hold(target: str) -> None:
        if "page=3" in target and not go_on.is_set():
            held.set()
            go_on.wait(LIMIT_S)

    server.before = hold
    child = begun(server, tmp_path, tmp_path / "killed")
    try:
        assert held.wait(LIMIT_S), child.log.read_text()
        child.kill()
        child.wait()
    finally:
        go_on.set()
    server.asked.clear()
    again = connect()
    assert "Backfill: goes on at page 3" in again.stdout, again.stderr
    assert "Backfill: 10 conversations; " in again.stdout
    assert not [each for each in server.asked if "page=1" in each]
    whole = connect("--data", "whole", "--state", "other.state", "--until", "2030-01-01")
    assert whole.returncode == 0, whole.stderr
    assert segments(run, tmp_path, "store", "one") == segments(run, tmp_path, "whole", "two") != []


def test_lost_deliveries_are_brought_into_the_same_segments(
    run: Run, chatwoot: Chatwoot, connect: Connect, tmp_path: Path, seed: int
) -> None:
    """What came: in any order, some of it twice; what REST has, often not at all."""
    dice = random.Random(seed)
    chatwoot.conversations.clear()
    chatwoot.jobs.clear()
    chatwoot.answer("POST", "/api/v1/accounts/1/webhooks", _asked({"url": HOOK, "subscriptions": []}))
    whole, came = list[bytes](), list[bytes]()
    for id_ in range(1, 31):
        _, bodies, jobs = lived(seed + id_, chatwoot=chatwoot, first=id_, bots=False, millis=False)
        whole += bodies
        known = in_rest(chatwoot, jobs)
        came += [body for body, is_known in zip(bodies, known, strict=True) if not is_known or dice.random() < 0.3]
    came += dice.sample(came, len(came) // 3)
    dice.shuffle(came)
    for place, part in (("whole", whole), ("store", came[::2]), ("store", came[1::2])):
        told = [event for body in part for event in events_of(body, Options()).events]
        lines = b"\n".join(map(msgspec.json.encode, told))
        assert run("ingest", "-", "--data", place, "--account", "acme", stdin=lines).returncode == 0
    assert segments(run, tmp_path, "store", "before") != segments(run, tmp_path, "whole", "whole.out")
    done = connect()
    assert "Backfill: 30 conversations; " in done.stdout, done.stderr
    assert segments(run, tmp_path, "store", "after") == segments(run, tmp_path, "whole", "again")


def test_what_may_be_missing_is_said(connect: Connect, chatwoot: Chatwoot, server: Server) -> None:
    chatwoot.sorts = False
    wrong = json.dumps({"payload": [{"id": 1, "message_type": 0, "created_at": "made up"}]}).encode()
    server.before = lambda target: (200, {}, wrong) if "/conversations/7/messages" in target else None
    done = connect()
    assert "conversation 7: message 1: created_at: must be epoch seconds" in done.stderr
    assert "lists conversations by their last activity: run this again" in done.stderr
    assert "Backfill: 60 conversations; " in done.stdout
    assert "made up" not in done.stderr


def test_a_running_server_takes_the_events_and_its_folder_does_not(run: Run, connect: Connect, tmp_path: Path) -> None:
    running = shared().start(tmp_path / "serve", "serve", "--data", tmp_path / "store", "--port", "0")
    try:
        url = running.address()
        assert url is not None, running.log.read_text()
        beside = connect()
        assert beside.returncode == 1
        assert "Where a server runs on the folder, its events go to --to SERVER." in beside.stderr
        created = run("keys", "create", "acme", "--data", "store", "--json", "--permission", "ingest").stdout
        token = json.loads(created)["token"]
        done = connect("--to", url, "--key", token)
        assert "Backfill: 60 conversations; " in done.stdout, done.stderr
        assert token not in done.stdout + done.stderr
        refused = connect("--to", url, "--key", "made-up")
        assert "refused the events of account acme (401)" in refused.stderr
    finally:
        running.kill(signal.SIGTERM)
        running.wait()
    assert segments(run, tmp_path, "store", "out")


def test_from_a_chatwoot_to_segments_through_a_running_server(run: Run, tmp_path: Path) -> None:
    chatwoot, dice = Chatwoot(), random.Random(7)
    running = shared().start(tmp_path / "serve", "serve", "--data", tmp_path / "store", "--port", "0")
    try:
        url = running.address()
        assert url is not None, running.log.read_text()
        created = run("keys", "create", "acme", "--data", "store", "--json", "--permission", "ingest").stdout
        token = json.loads(created)["token"]
        with serving(chatwoot) as desk:
            given = ("connect", "chatwoot", "--url", desk.url, "--account", 1, "--as", "acme", "--data", "store")
            done = run(*given, "--to", url, "--no-backfill", CHATWOOT_TOKEN=TOKEN, HANDLETIME_TOKEN=token)
            assert "Secret: kept, sealed, in store" in done.stdout, done.stderr
            assert SECRET not in done.stdout + done.stderr
            hook = chatwoot.webhooks[0]["url"]
            assert hook == f"{url}/api/account/acme/sources/chatwoot"
            delivered: list[bytes] = []
            send = post(hook)
            deliverer = Deliverer(chatwoot, lambda body: delivered.append(body) if send(body) else None)
            for id_ in range(2, 12):
                for _ in story(chatwoot, dice, first=id_, steps=8):
                    deliverer.hold()
            deliverer.run_late(dice, doubled=0.2)
            assert len(delivered) > 100
            assert not post(hook, "another secret")(delivered[0])
            eventually(lambda: all(each["waiting"] == 0 for each in standings(run)))
            (standing,) = standings(run)
            assert standing["mapped"] + standing["empty"] == len(delivered)
            assert standing["refused"] == 0
            unknown = run("sources", "remove", "acme", "two", "--data", "store")
            assert "set up by connect: chatwoot of acme" in unknown.stderr
            assert run("sources", "remove", "acme", "chatwoot", "--data", "store").returncode == 0
            eventually(lambda: not send(delivered[0]))
    finally:
        running.kill(signal.SIGTERM)
        running.wait()
    lines = b"\n".join(msgspec.json.encode(event) for body in delivered for event in events_of(body, Options()).events)
    assert run("ingest", "-", "--data", "other", "--account", "acme", stdin=lines).returncode == 0
    assert segments(run, tmp_path, "store", "out") == segments(run, tmp_path, "other", "out2")


def standings(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("sources", "status", "--data", "store", "--json").stdout)
    return found


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def segments(run: Run, folder: Path, place: str, out: str) -> list[dict[str, Any]]:
    """The agent segments of a store."""
    assert run("export", "--data", place, "--out", out).returncode == 0
    rows = dataset(folder / out / "agent_segments", format="parquet").to_table().to_pylist()
    return sorted(rows, key=lambda row: str(row["segmentId"]))


@pytest.mark.parametrize(
    ("status", "headers", "content", "said"),
    [
        (401, {}, b"{}", "refuses / (401): it knows no such token, or nobody in account 1 has it"),
        (404, {}, b"{}", "has no / (404): is 1 the account's number"),
        (200, {"Content-Type": "text/html"}, b"<html>made up</html>", "does not answer / as Chatwoot does"),
        (302, {"Location": "https://elsewhere.example.com/login"}, b"", "leads elsewhere to elsewhere.example.com"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said(
    connect: Connect, server: Server, status: int, headers: dict[str, str], content: bytes, said: str
) -> None:
    server.before = lambda _target: (status, headers, content)
    done = connect()
    assert done.returncode == 1
    assert said in done.stderr
    assert TOKEN not in done.stderr
    assert "made up" not in done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--to", "http://127.0.0.1:1"], "--to needs --key"),
        (["--as", "no-account"], "must be 1 to 64 letters and digits"),
        (["--name", "../x"], "must be 1 to 40 small letters, digits, - and _"),
        (["--address", "example.com"], "must be https://host"),
        (["--url", "ftp://example.com"], "is no address of a Chatwoot"),
    ],
    ids=str,
)
def test_what_is_wrongly_given_is_said(connect: Connect, given: list[str], said: str) -> None:
    done = connect(*given)
    assert done.returncode != 0
    assert said in done.stderr


def test_a_token_that_would_go_unencrypted_is_told(connect: Connect, server: Server) -> None:
    assert "is not encrypted" not in connect("--no-backfill").stderr
    elsewhere = server.url.replace("127.0.0.1", "0.0.0.0")  # noqa: S104 - it is this machine all the same
    assert "is not encrypted" in connect("--no-backfill", "--url", elsewhere, "--state", "other.state").stderr


def test_a_state_of_another_account_is_refused(connect: Connect, tmp_path: Path) -> None:
    assert connect("--no-backfill").returncode == 0
    assert "is of another Chatwoot, account, server, folder or --skill" in connect("--as", "other").stderr
    assert (
        "is of another Chatwoot, account, server, folder or --skill" in connect("--data", tmp_path / "elsewhere").stderr
    )
    (tmp_path / "handletime-chatwoot.state").write_text("{")
    assert "is no state of this command" in connect().stderr


def test_a_file_with_other_settings_is_not_replaced(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "source.toml").write_text('[source.chatwoot]\nkind = "chatwoot"\n')
    (tmp_path / "source.toml").chmod(0o644)
    assert connect("--no-backfill").returncode == 0
    assert (tmp_path / "source.toml").stat().st_mode & 0o777 == 0o600
    ours = (tmp_path / "source.toml").read_text()
    for other in ("port = 8080\n", f"{ours}[source.other]\n", "source = 1\n", "\xff", ""):
        (tmp_path / "source.toml").write_text(other, "latin-1")
        assert "source.toml holds something else" in connect("--no-backfill").stderr
        assert (tmp_path / "source.toml").read_text("latin-1") == other


def test_labels_are_as_long_as_the_page_takes_them() -> None:
    assert connect_chatwoot.LABEL_MAX == labels.LABEL_MAX
