"""Requests that come at the same time: what is wrong with one is not said of another (http-api.md 5)."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time

import pytest

from tests.api.test_events import post_head
from tests.api.world import NOW, World

SECONDS = 3.0


def test_many_faults_of_one_request_refuse_no_other(world: World, account: str) -> None:
    path = f"/api/account/{account}/events"
    bad = b'{"type":"opened"}\n' * 50
    good = json.dumps({"conversationId": "c", "eventId": "e", "time": NOW, "type": "opened"}).encode() + b"\n"
    ends = time.monotonic() + SECONDS
    statuses: dict[bytes, set[int]] = {good: set(), bad: set()}

    def send(body: bytes) -> None:
        while time.monotonic() < ends:
            statuses[body].add(world.post(path, body, account).status_code)

    threads = [threading.Thread(target=send, args=(body,)) for body in (good, good, good, bad, bad)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {good: {200}, bad: {400}}


def test_a_sender_that_goes_away_is_no_error_of_the_server(
    world: World, account: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), socket.create_connection(("127.0.0.1", world.port)) as connection:
        connection.sendall(post_head(account, 1000) + b'{"type":')
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        assert world.client.get("/healthz").status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
