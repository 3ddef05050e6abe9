"""The Chatwoot of the tests delivers as the real one does, in the shapes of the made-up deliveries."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.sources.chatwoot_stories import START, story
from tests.sources.chatwoot_stub import SECRET, Chatwoot, Deliverer, headers_of, post

STORIES = Path(__file__).parent / "chatwoot"
Delivery = tuple[dict[str, str], bytes]


@contextmanager
def receiving(before: Callable[[], object] = lambda: None) -> Iterator[tuple[str, list[Delivery]]]:
    """Takes deliveries: the address, and what came."""
    came: list[Delivery] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            before()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/hook?x=1", came
        finally:
            server.shutdown()
            thread.join()


def shape(value: Any, depth: int) -> Any:
    """The keys of an object, and of those within it."""
    if not isinstance(value, dict) or depth == 0:
        return None
    return {name: shape(each, depth - 1) for name, each in value.items()}


def made_up(name: str) -> Any:
    (path,) = STORIES.glob(f"{name}*.json")
    return json.loads(path.read_bytes())


def told() -> Chatwoot:
    """A conversation that is assigned to agent 7, with a team, whose last messages are 7's and the consumer's."""
    chatwoot = Chatwoot()
    chatwoot.create(42, START)
    chatwoot.change(42, START + 10_000, assignee=7, team=5)
    chatwoot.reply(42, START + 20_000, 7)
    chatwoot.incoming(42, START + 30_000)
    return chatwoot


def test_bodies_have_the_keys_of_the_made_up_ones() -> None:
    chatwoot = told()
    bodies = [chatwoot.render(job) for job in chatwoot.jobs]
    like = ["01-", "12-", "08-", "09-", "22-"]
    for body, name in zip(bodies, like, strict=True):
        wanted = made_up(name)
        assert shape(body, 1) == shape(wanted, 1), name
        state, wanted = body.get("conversation", body), wanted.get("conversation", wanted)
        assert shape(state, 1) | {"event": None} == shape(wanted, 1) | {"event": None} | (
            {"changed_attributes": None} if "changed_attributes" in state else {}
        ), name
        assert state["meta"].keys() == wanted["meta"].keys()
    assert [shape(each, 2) for each in bodies[1]["changed_attributes"]] == [
        shape({name: {"previous_value": 0, "current_value": 0}}, 2) for name in ("team_id", "assignee_id", "updated_at")
    ]


def test_rest_has_the_keys_of_the_made_up_answers() -> None:
    chatwoot = told()
    _, listed = chatwoot.answer("GET", "/api/v1/accounts/1/conversations?status=all", b"")
    record, wanted = listed["data"]["payload"][0], made_up("91-")["data"]["payload"][0]
    assert record.keys() == wanted.keys()
    assert record["meta"].keys() == wanted["meta"].keys() | {"channel"}
    _, written = chatwoot.answer("GET", "/api/v1/accounts/1/conversations/42/messages?after=0", b"")
    assert written["payload"][0].keys() == made_up("90-")["payload"][4].keys()


def test_a_body_is_rendered_when_its_job_runs() -> None:
    chatwoot, bodies = Chatwoot(), list[bytes]()
    deliverer = Deliverer(chatwoot, bodies.append)
    for _ in story(chatwoot, random.Random(3)):
        deliverer.hold()
    deliverer.run_late(random.Random(3), doubled=0.5)
    states = [json.loads(body) for body in bodies]
    updated = {(each.get("conversation") or each)["updated_at"] for each in states}
    assert updated == {chatwoot.conversations[42].updated / 1000}
    assert len(bodies) > len({*bodies})


def test_each_delivery_is_signed_and_has_an_id_of_its_own() -> None:
    with receiving() as (url, came):
        assert post(url)(b"{}")
        assert post(url)(b"{}")
        assert post(url, secret=None)(b"{}")
    for headers, body in came[:2]:
        signed = f"{headers['X-Chatwoot-Timestamp']}.".encode() + body
        wanted = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert headers["X-Chatwoot-Signature"] == f"sha256={wanted}"
    assert len({headers["X-Chatwoot-Delivery"] for headers, _ in came}) == 3
    assert "X-Chatwoot-Signature" not in came[2][0]
    assert headers_of(b"{}", SECRET, at_s=1)["X-Chatwoot-Timestamp"] == "1"


@pytest.mark.parametrize("why", ["slow", "away"])
def test_what_is_not_taken_in_time_is_never_sent_again(why: str) -> None:
    go_on = threading.Event()
    with receiving(lambda: go_on.wait(30)) as (url, came):
        try:
            assert not post("http://127.0.0.1:1/" if why == "away" else url, timeout_s=0.2)(b"{}")
        finally:
            go_on.set()
    assert len(came) == (1 if why == "slow" else 0)
