"""Webhooks of other systems at a real server: who may deliver, and that nothing delivered is lost (http-api.md 5.1).

Covers: cli/sources.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from handletime.keys.keys import create
from handletime.keys.sidefile import SideFile
from handletime.sources.chatwoot.webhook import Options, events_of
from tests.crash.nursery import LIMIT_S, Child, Nursery

SAMPLES = Path(__file__).parents[1] / "sources" / "chatwoot"
SECRET = b"made-up-secret"
SETTINGS = """
port = 0
[source.chatwoot]
kind = "chatwoot"
account = "acme"
secret = "made-up-secret"
[source.old]
kind = "chatwoot"
account = "acme"
secret = "another-made-up-secret"
proof = "address"
"""
MAPPED = """
[source.rocketchat]
kind = "sql"
account = "acme"
mapping = "rocketchat"
proof = "token"
header = "X-RocketChat-Livechat-Token"
secret = "made-up-secret"
[source.endless]
kind = "sql"
account = "acme"
mapping = "endless.sql"
proof = "address"
secret = "made-up-secret"
"""
ENDLESS = """
with recursive more(n) as (select 1 union all select n + 1 from more where n > 0)
select 'c' as "conversationId", n::text as "eventId", received as "time", 'opened' as "type" from more, input
"""
NEEDS_A_TEXT = """
select 'text' as "conversationId", "row"::text as "eventId", received as "time", "row",
    case txt(body, '$.messages[0].username') when 'ann' then 'closed' else 'opened' end as "type"
from input
"""
MENDED = """
select 'mended' as "conversationId", "row"::text as "eventId", received as "time", 'opened' as "type", "row" from input
"""
PATH = "/api/account/acme/sources/chatwoot"


class Place:
    """A server's folder and its settings file."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self.nursery, self.folder = nursery, folder / "store"
        self.file = folder / "settings.toml"
        self.file.write_text(SETTINGS)
        self.file.chmod(0o600)
        self.folder.mkdir(mode=0o700)
        with SideFile(self.folder) as side:
            self.token = create(side, "acme", ["admin"]).token

    def start(self, **environment: str) -> tuple[Child, httpx.Client]:
        arguments = ("serve", "--data", self.folder, "--config", self.file)
        server = self.nursery.start(self.folder, *arguments, env=environment)
        url = server.address()
        assert url is not None, server.log.read_text()
        return server, httpx.Client(base_url=url, timeout=60)

    def command(self, *arguments: object) -> str:
        done = self.nursery.done("sources", *arguments, "--data", self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def standing(self, name: str = "") -> Any:
        """How a source, or the only one, stands once nothing waits."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            standings = json.loads(self.command("status", "--json"))
            found = [each for each in standings if each["source"] == name or not name]
            if found and not any(each["waiting"] for each in found):
                return found[0]
            time.sleep(0.1)
        raise AssertionError(standings)

    def events(self, client: httpx.Client, conversation: str) -> list[str]:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = client.get(f"/api/account/acme/conversations/{conversation}/explain", headers=headers)
        if answer.status_code == 404:
            return []
        moments = answer.raise_for_status().json()["moments"]
        return [moment["eventId"] for moment in moments if moment.get("eventId")]


@pytest.fixture
def place(nursery: Nursery, tmp_path: Path) -> Place:
    return Place(nursery, tmp_path)


@pytest.fixture
def server(place: Place) -> Iterator[httpx.Client]:
    server, client = place.start()
    with client:
        yield client
    server.kill()


def signed(body: bytes, at: int | None = None, secret: bytes = SECRET) -> dict[str, str]:
    timestamp = str(int(time.time()) if at is None else at)
    made = hmac.new(secret, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Chatwoot-Signature": f"sha256={made}", "X-Chatwoot-Timestamp": timestamp}


def samples() -> list[bytes]:
    return [path.read_bytes() for path in sorted(SAMPLES.glob("[0-8]*.json"))]


def test_a_story_is_delivered_and_can_be_explained(place: Place, server: httpx.Client) -> None:
    bodies = samples()
    for body in bodies:
        answer = server.post(PATH, content=body, headers=signed(body))
        assert (answer.status_code, answer.json()) == (200, {})
    standing = place.standing()
    assert (standing["mapped"] + standing["empty"], standing["refused"]) == (27, 0)
    made = {event.event_id for body in bodies for event in events_of(body, Options()).events}
    conversation = str(json.loads(bodies[0])["id"])
    assert set(place.events(server, conversation)) <= made
    assert "o" in place.events(server, conversation)
    said = place.command("status")
    assert said.startswith("chatwoot of account acme, last at 20")
    assert "0 could not be mapped\n" in said
    log = place.folder.with_name("store.log").read_text()
    assert "made-up" not in log
    assert "made up" not in log


def test_who_may_not_deliver_is_a_401_whatever_is_wrong(place: Place, server: httpx.Client) -> None:
    body = samples()[0]
    now = int(time.time())
    wrong = [
        server.post(PATH, content=body),
        server.post(PATH, content=body, headers=signed(body, secret=b"wrong")),
        server.post(PATH, content=body + b" ", headers=signed(body)),
        server.post(PATH, content=body, headers=signed(body, now - 400)),
        server.post(PATH, content=body, headers=signed(body, now + 400)),
        server.post(PATH, content=body, headers=signed(body) | {"X-Chatwoot-Timestamp": "now"}),
        server.post(PATH, content=body, headers={"Authorization": f"Bearer {place.token}"}),
        server.post("/api/account/acme/sources/nosuch", content=body, headers=signed(body)),
        server.post("/api/account/other/sources/chatwoot", content=body, headers=signed(body)),
        server.post("/api/account/acme/sources/old?secret=made-up-secret", content=body),
        server.post("/api/account/acme/sources/old", content=body, headers=signed(body)),
        server.post(
            "/api/account/acme/sources/old?secret=another-made-up-secret&secret=another-made-up-secret", content=body
        ),
    ]
    assert {(answer.status_code, answer.text, answer.headers["www-authenticate"]) for answer in wrong} == {
        (401, wrong[0].text, 'Webhook realm="handletime"')
    }
    told = place.folder.with_name("store.log").read_text()
    assert "there is no source nosuch of account acme" in told
    right = server.post("/api/account/acme/sources/old?secret=another-made-up-secret", content=body)
    assert right.status_code == 200
    assert place.standing()["mapped"] == 1
    assert "secret=" not in place.folder.with_name("store.log").read_text()


def test_what_the_address_is_for(server: httpx.Client) -> None:
    there, nowhere = server.get(PATH), server.get("/api/account/nobody/sources/nothing")
    assert (there.status_code, there.text) == (nowhere.status_code, nowhere.text)
    assert "with POST" in there.text
    assert server.get("/api/account/acme/sources/Not%20a%20name").status_code == 404


def test_bad_bodies_are_kept_and_told_and_never_half_taken(place: Place, server: httpx.Client) -> None:
    large = json.dumps({"event": "message_created", "content": "words " * 1_800_000}).encode()
    assert len(large) > 10 << 20
    deep = b'{"event":"conversation_created","meta":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    created = json.loads(samples()[0])
    bodies = {
        b"": None,
        b"null": None,
        b"{": None,
        b"\xff\xfe": None,
        large: None,
        deep: None,
        b'{"event":"conversation_created"}': None,
        json.dumps(created | {"id": "7"}).encode(): None,
        json.dumps(created | {"created_at": "yesterday"}).encode(): None,
    }
    for body in bodies:
        assert server.post(PATH, content=body, headers=signed(body)).status_code == 200
    for other in (b'{"event":"contact_created","name":"made up"}', b'{"event":"something of a later version"}'):
        assert server.post(PATH, content=other, headers=signed(other)).status_code == 200
    standing = place.standing()
    assert (standing["mapped"], standing["empty"], standing["refused"]) == (0, 2, len(bodies))
    assert place.events(server, str(created["id"])) == []
    too_large = b"x" * (33 << 20)
    assert server.post(PATH, content=too_large, headers=signed(too_large)).status_code == 413
    metrics = server.get("/metrics").text
    assert f'handletime_source_deliveries_total{{result="refused"}} {len(bodies)}.0' in metrics
    assert "handletime_source_waiting_deliveries 0.0" in metrics
    said = place.command("retry")
    assert "tried again: 0 mapped" in said
    assert "words" not in place.folder.with_name("store.log").read_text()


def test_a_body_may_be_compressed_and_is_signed_as_it_was_sent(place: Place, server: httpx.Client) -> None:
    body = samples()[0]
    packed = gzip.compress(body)
    coded = {"Content-Encoding": "gzip"}
    assert server.post(PATH, content=packed, headers=signed(packed) | coded).status_code == 200
    assert place.standing()["mapped"] == 1
    assert server.post(PATH, content=packed, headers=signed(body) | coded).status_code == 401
    broken = packed[:-9]
    assert server.post(PATH, content=broken, headers=signed(broken) | coded).status_code == 400
    other = {"Content-Encoding": "br"}
    assert server.post(PATH, content=packed, headers=signed(packed) | other).status_code == 415
    bomb = gzip.compress(b" " * (33 << 20))
    assert server.post(PATH, content=bomb, headers=signed(bomb) | coded).status_code == 413
    assert place.standing()["mapped"] == 1


def test_a_removed_file_is_told_and_not_made_anew_beside_the_server(place: Place, server: httpx.Client) -> None:
    body = samples()[0]
    for path in place.folder.glob("deliveries.sqlite*"):
        path.unlink()
    answer = server.post(PATH, content=body, headers=signed(body))
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    assert "deliveries.sqlite was removed or replaced" in place.folder.with_name("store.log").read_text()
    assert place.command("status").startswith("There is no file of deliveries: ")
    assert place.command("retry") == "There is nothing to try again.\n"
    assert place.command("discard") == "0 deliveries removed.\n"
    assert not (place.folder / "deliveries.sqlite").exists()


def test_what_could_not_be_mapped_can_be_removed_at_once(place: Place, server: httpx.Client) -> None:
    body = b'{"event":"message_created","id":"x"}'
    server.post(PATH, content=body, headers=signed(body)).raise_for_status()
    server.post(PATH, content=b"{", headers=signed(b"{")).raise_for_status()
    place.standing()
    assert "2 could not be mapped, of which 1 are kept, to be tried again:" in place.command("status")
    nosuch = place.nursery.done("sources", "retry", "nosuch", "--data", place.folder)
    assert (nosuch.returncode, "sources of which something came: chatwoot" in nosuch.stderr) == (2, True)
    forgotten = place.nursery.done("forget", "--account=acme", "--conversation=7", "--data", place.folder)
    assert "1 delivery of account acme that could not be mapped may have its id" in forgotten.stderr
    assert place.command("discard", "chatwoot") == "2 deliveries removed.\n"
    assert place.standing()["problems"] == {}
    assert place.command("status").endswith("2 could not be mapped\n")


@pytest.mark.parametrize("step", ["deliveries-kept", "deliveries-stored", "deliveries-settled"])
def test_what_was_answered_becomes_events_though_the_server_is_killed(place: Place, step: str) -> None:
    server, client = place.start(HANDLETIME_CRASH_AT=step)
    answered: list[bytes] = []
    with client:
        for body in samples():
            try:
                client.post(PATH, content=body, headers=signed(body)).raise_for_status()
            except httpx.TransportError:
                break
            answered.append(body)
    server.wait()
    again, client = place.start()
    with client:
        conversations = {event.conversation_id for body in answered for event in events_of(body, Options()).events}
        if answered:
            place.standing()
        for conversation in conversations:
            made = {
                event.event_id
                for body in answered
                for event in events_of(body, Options()).events
                if event.conversation_id == conversation
            }
            assert made <= set(place.events(client, conversation)), conversation
    again.kill()


def test_mappings_in_sql_and_one_that_never_ends_harms_nobody_else(place: Place) -> None:
    place.file.write_text(SETTINGS + MAPPED)
    endless = place.file.with_name("endless.sql")
    endless.write_text(MENDED)
    bodies = json.loads((SAMPLES.parent / "sql" / "rocketchat.json").read_bytes())
    server, client = place.start()
    with client:
        endless.write_text(ENDLESS)
        path = "/api/account/acme/sources"
        token = {"X-RocketChat-Livechat-Token": "made-up-secret"}
        for body in bodies:
            assert client.post(f"{path}/endless?secret=made-up-secret", json=body).json() == {}
            assert client.post(f"{path}/rocketchat", json=body, headers=token).json() == {}
        assert client.post(f"{path}/rocketchat", json=bodies[0]).status_code == 401
        assert place.standing("rocketchat")["mapped"] == len(bodies)
        assert place.events(client, bodies[0]["_id"])
        refused = place.standing("endless")
        assert refused["mapped"] == 0
        assert refused["refused"] == len(bodies)
        endless.write_text(NEEDS_A_TEXT)
        assert "0 mapped" in place.command("retry", "endless")
        assert "username: not kept; name it in the setting keep" in place.command("status")
        assert place.events(client, "text") == []
        endless.write_text(MENDED)
        said = place.command("retry", "endless")
        assert f"{len(bodies)} deliveries tried again: {len(bodies)} mapped, 0 refused again." in said
        assert place.events(client, "mended")
    server.kill(signal.SIGTERM)
    assert server.wait() == 0
    place.file.write_text(SETTINGS + MAPPED.replace("endless.sql", "nothing.sql"))
    refused = place.nursery.done("serve", "--data", place.folder, "--config", place.file)
    assert "nothing.sql: there is no such file" in refused.stderr


def test_a_backup_and_a_check_know_what_was_refused(place: Place, server: httpx.Client, tmp_path: Path) -> None:
    body = b'{"event":"message_created","id":"x"}'
    server.post(PATH, content=body, headers=signed(body)).raise_for_status()
    assert place.standing()["refused"] == 1
    for command in (("check",), ("backup", tmp_path / "copy")):
        done = place.nursery.done(command[0], *command[1:], "--data", place.folder)
        assert done.returncode == 0, done.stdout + done.stderr
    restored = place.nursery.done("restore", tmp_path / "copy", "--data", tmp_path / "other")
    assert restored.returncode == 0, restored.stderr
    status = place.nursery.done("sources", "status", "--data", tmp_path / "other")
    assert "1 × Expected `int`" in status.stdout


def test_commands_say_what_there_is_not(place: Place, tmp_path: Path) -> None:
    missing = place.nursery.done("sources", "status", "--data", tmp_path / "nothing")
    assert missing.returncode == 2
    assert "has no store" in missing.stderr
    server, client = place.start()
    with client:
        assert place.command("status").startswith("No delivery has come yet.")
        assert place.command("retry") == "There is nothing to try again.\n"
    server.kill()
    place.file.write_text(SETTINGS.replace('secret = "made-up', 'secrets = "made-up'))
    refused = place.nursery.done("serve", "--data", place.folder, "--config", place.file)
    assert refused.returncode == 1
    assert "source.chatwoot.secrets: is no setting of a source; do you mean secret?" in refused.stderr
