"""Every row of the error table of http-api.md 1, over a real socket; and what is not HTTP at all.

Covers: errors, api/app, api/health.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Request

from handletime.api.app import Gateway
from handletime.api.errors import answer_to
from handletime.api.prometheus import Meters
from handletime.api.requestlog import EVERY_S, Line, RequestLog
from handletime.store.budget import Budget
from tests.api.world import World, token

SEGMENTS = "/api/account/acme/agent-segments?source=test"
METHODS = [
    SEGMENTS,
    "/api/account/acme/agent-segments/breakdown?source=test",
    "/api/account/acme/agent-segments/files?source=test&path=x",
    "/operations/api/account/acme/msgagentsegments?timeframe=60&v=1",
    "/operations/api/account/acme/msgskillsegments?timeframe=60&v=1",
    "/api/account/acme/conversations/twelve-0/explain",
    "/api/account/acme/agent-segments/x/explain",
]


@contextmanager
def broken(world: World) -> Iterator[None]:
    world.store.broken = True
    try:
        yield
    finally:
        world.store.broken = False


@contextmanager
def in_trouble(world: World) -> Iterator[None]:
    world.store.trouble = "The disk is full."
    try:
        yield
    finally:
        world.store.trouble = None


def test_a_400_names_all_faults_at_once_each_beginning_with_its_parameter(world: World) -> None:
    answer = world.get("/api/account/acme/agent-segments?limit=501&offset=-1&sort=size&AgentId=me&to=soon")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"causes", "message"}
    assert "limit: must be less than or equal to 500" in body["causes"]
    assert [cause.split(":")[0] for cause in body["causes"]] == ["source", "to", "sort", "offset", "limit", "AgentId"]


@pytest.mark.parametrize("path", METHODS)
def test_without_a_key_every_method_is_a_401_with_reason_and_challenge(world: World, path: str) -> None:
    answer = world.client.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"]
    assert set(answer.json()) == {"reason", "message"}
    assert answer.json()["reason"].startswith("oauth_problem=")
    assert "&oauth_problem_advice=" in answer.json()["reason"]


@pytest.mark.parametrize("path", METHODS)
def test_a_key_of_another_account_is_told_the_same_whether_the_account_exists_or_not(world: World, path: str) -> None:
    answers = [
        world.client.get(path.replace("acme", name), headers=token("beta"))
        for name in ("acme", "nobody", "n%2Fo", "%C3%A9")
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize("path", METHODS)
def test_a_key_without_the_permission_is_a_403(world: World, path: str) -> None:
    answer = world.client.get(path, headers=token("acme", "ingest"))
    assert answer.status_code == 403
    assert set(answer.json()) == {"message"}


@pytest.mark.parametrize("path", [*METHODS, "/api/account/acme/events"])
def test_who_may_not_is_told_so_before_anything_about_the_request(world: World, path: str) -> None:
    assert (
        world.client.request("POST" if "events" in path else "GET", path.split("?")[0] + "?limit=x").status_code == 401
    )


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nope",
        "/api/account/acme",
        "/api/account/acme/agent-segments/nope",
        "/%ff",
        "/a%00b",
        "/api/account//events",
    ],
)
def test_what_is_not_there_is_a_404(world: World, path: str) -> None:
    answer = world.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"content-type: application/json" in head
    assert set(json.loads(body)) == {"message"}


@pytest.mark.parametrize(
    ("method", "path"), [("POST", SEGMENTS), ("DELETE", SEGMENTS), ("GET", "/api/account/acme/events")]
)
def test_another_method_is_a_405_that_names_those_that_are_allowed(world: World, method: str, path: str) -> None:
    answer = world.client.request(method, path, headers=token("acme"))
    assert answer.status_code == 405
    assert set(answer.json()) == {"message"}
    assert ("POST" if "events" in path else "GET") in answer.headers["allow"]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"FOO /healthz HTTP/1.1", 405),
        (b"TRACE /healthz HTTP/1.1", 405),
        (b"FOO /nowhere HTTP/1.1", 404),
        (b"CONNECT a:80 HTTP/1.1", 404),
    ],
)
def test_a_method_that_nobody_knows_is_like_any_other_that_is_not_allowed(
    world: World, line: bytes, status: int
) -> None:
    answer = world.raw(line + b"\r\nHost: x\r\nConnection: close\r\n\r\n").lower()
    assert answer.startswith(b"http/1.1 %d " % status)
    assert (b"\r\nallow: get, head, options\r\n" in answer) == (status == 405)


def test_a_body_that_is_too_large_is_a_413(world: World, account: str) -> None:
    answer = world.post(f"/api/account/{account}/events", b" " * (33 << 20), account)
    assert answer.status_code == 413
    assert set(answer.json()) == {"message"}


def test_another_content_type_is_a_415(world: World, account: str) -> None:
    answer = world.post(f"/api/account/{account}/events", b"", account, Content_Type="text/plain")
    assert answer.status_code == 415
    assert set(answer.json()) == {"message"}


def test_a_store_that_cannot_answer_now_is_a_503_with_retry_after(world: World, account: str) -> None:
    with in_trouble(world):
        answers = [world.post(f"/api/account/{account}/events", b"", account), world.client.get("/readyz")]
    for answer in answers:
        assert answer.status_code == 503
        assert answer.json() == {"message": "The disk is full."}
        assert int(answer.headers["retry-after"]) >= 1
    assert world.client.get("/readyz").json() == {"status": "ok"}


def test_what_is_broken_inside_is_a_500_with_a_number_that_is_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with broken(world), caplog.at_level(logging.ERROR, "handletime.api"):
        answer = world.get(SEGMENTS)
    assert answer.status_code == 500
    body = answer.json()
    assert set(body) == {"internalCode", "message"}
    assert "secret" not in answer.text
    assert str(uuid.UUID(body["internalCode"])) in caplog.text
    assert "a secret of the inside" in caplog.text


def test_where_memory_is_not_enough_it_is_a_503_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    scope: Any = {"type": "http", "method": "GET", "path_template": "/x", "state": {}}
    answer = answer_to(Request(scope), MemoryError())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "not enough memory" in caplog.text


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GARBAGE\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHo st: x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"H%d: x\r\n" % i for i in range(200)) + b"\r\n", b"431"),
    ],
    ids=["no request line", "a header that is none", "a length that is none", "a path without end", "200 headers"],
)
def test_what_is_not_http_at_all_is_refused(world: World, request_: bytes, status: bytes) -> None:
    assert world.raw(request_).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Type: application/json\r\nContent-Length: 4\r\n\r\nnull",
        b"Content-Type: nonsense\r\nContent-Encoding: br, gzip\r\nContent-Length: 3\r\n\r\n\xff\xff\xff",
        b"Content-Type: multipart/form-data\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ],
)
def test_a_body_on_a_get_is_ignored_whatever_its_headers_say(world: World, headers: bytes) -> None:
    key = token("acme")["Authorization"].encode()
    head = b"GET " + SEGMENTS.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: " + key
    assert world.raw(head + b"\r\n" + headers).startswith(b"HTTP/1.1 200 ")


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[float, Line]]:
    return [each for record in caplog.records for each in getattr(record, "requests", [])]


def test_each_request_is_one_line_in_the_log_without_query_and_key(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "handletime.requests"):
        begun = time.time()  # Requests of other tests may not be written yet.
        world.get(SEGMENTS + "&ConversationId=private")
        time.sleep(2 * EVERY_S)
    (line,) = [line for at, line in logged(caplog) if at >= begun and "agent-segments" in str(line)]
    assert re.fullmatch("[0-9a-f]{32}", line.id)
    assert msgspec.to_builtins(line) | {"millis": 0, "id": ""} == {
        "method": "GET",
        "route": "/api/account/{account}/agent-segments",
        "status": 200,
        "millis": 0,
        "source": "test",
        "key": "1",
        "id": "",
    }


def test_the_authenticator_sees_the_url_as_the_client_does_its_escapes_untouched(world: World) -> None:
    world.get("/api/account/acme/agent-segments?source=test&from=2026-11-20T09%3a00:00%2B00:00")
    asked = world.authenticator.asked[-1]
    assert asked.url == world.url + "/api/account/acme/agent-segments?source=test&from=2026-11-20T09%3a00:00%2B00:00"
    assert asked.method == "GET"
    assert asked.authorization == [token("acme")["Authorization"]]


def test_what_fails_while_an_error_is_answered_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(*_: object) -> None:
        raise RuntimeError("a secret of the inside")

    async def asked() -> httpx.Response:
        budget, paths = Budget(1 << 20, "memory"), re.compile(b"/metrics")
        gateway: Any = Gateway(failing, Meters(), budget, paths, answer_to, RequestLog(), failing, frozenset())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(gateway), base_url="http://a") as client:
            return await client.get("/metrics")

    answer = asyncio.run(asked())
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["internalCode"] in caplog.text
    assert "a secret of the inside" in caplog.text
