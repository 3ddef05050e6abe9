"""What a server logs: a line a request, start and stop, and nothing that is secret or personal."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from handletime.api.requestlog import Line
from handletime.cli.logs import JsonLines, TextLines, WhileRead
from tests.cli.test_serve import INTAKE, SEGMENTS, bearer, new_key, serving

SECRET = "s3cret-that-nobody-may-see"  # noqa: S105


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_secret_of_a_request_gets_into_the_log(tmp_path: Path, form: str) -> None:
    key = new_key(tmp_path / "store", "admin")
    with serving(tmp_path / "store", "--log-level", "debug", "--log-format", form) as server:
        with httpx.Client(base_url=server.url) as client:
            good = client.get(SEGMENTS + f"&ConversationId={SECRET}", headers=bearer(key))
            assert good.status_code == 200
            for header in (f"Bearer {SECRET}", f'OAuth oauth_token="{SECRET}"', f"Basic {SECRET}", SECRET):
                assert client.get(SEGMENTS, headers={"Authorization": header}).status_code == 401
            client.get(f"/{SECRET}")
            client.get(f"/healthz/{SECRET}?token={SECRET}")
            client.get(f"/api/account/{SECRET}/agent-segments?source={SECRET}")
            client.get(f"/api/account/acme/conversations/{SECRET}/explain", headers=bearer(key))
            client.get(SEGMENTS + f"&from={SECRET}&{SECRET}={SECRET}", headers={**bearer(key), "Cookie": SECRET})
            client.request(SECRET, "/healthz")
            client.get("/healthz", headers={"X-Forwarded-Host": SECRET, "User-Agent": SECRET, "X-Request-Id": SECRET})
            body = json.dumps({"conversationId": SECRET, "eventId": SECRET, "type": SECRET}).encode()
            assert client.post(INTAKE, content=body, headers=bearer(key)).status_code == 400
        assert server.stop() == 0
    log = server.log.read_text()
    assert log.count(" 400 " if form == "text" else '"status":400') >= 1
    assert SECRET not in log
    assert all(key[name] not in log for name in ("token", "appKey", "appSecret", "accessToken", "accessTokenSecret"))
    assert key["id"] in log
    assert good.headers["x-request-id"] in log


def test_a_line_says_who_asked_for_what_and_how_it_went(tmp_path: Path) -> None:
    key = new_key(tmp_path / "store", "admin")
    with serving(tmp_path / "store") as server:
        answer = httpx.get(server.url + SEGMENTS, headers=bearer(key))
        httpx.get(server.url + "/nothing")
        assert server.stop() == 0
    logged = [json.loads(line) for line in server.log.read_text().splitlines()]
    said = [line["message"] for line in logged if "message" in line]
    assert said[0].startswith("starting, version ")
    assert any(message.startswith(f"listening at {server.url}") for message in said)
    assert said[-1] == "stopped"
    first, second = (line["request"] for line in logged if "request" in line)
    assert {**first, "millis": 0} == {
        "method": "GET",
        "route": "/api/account/{account}/agent-segments",
        "status": 200,
        "millis": 0,
        "source": "test",
        "key": key["id"],
        "id": answer.headers["x-request-id"],
    }
    assert (second["route"], second["key"], second["status"]) == (None, None, 404)


def test_fewer_lines_where_less_is_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path / "store", "--log-level", "warning") as server:
        assert httpx.get(server.url + "/healthz").status_code == 200
        assert server.stop() == 0
    assert server.log.read_text() == ""


def test_a_record_cannot_begin_a_line_of_its_own() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "a\nb\x1b[31m\udc80", None, None)
    assert json.loads(JsonLines().format(record))["message"] == "a\nb\x1b[31m\\udc80"
    assert "\n" not in JsonLines().format(record)
    text = TextLines().format(record)
    assert re.fullmatch(r"\S+Z INFO    x: a\\nb\\x1b\[31m\\udc80", text)


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_log_that_nobody_reads_holds_nothing_up(form: str) -> None:
    """The whole server stood still at its 303rd line, for as long as nobody read it."""
    code = f"""if True:
        import logging, sys, time
        from handletime.cli.logs import log_to_stderr
        log_to_stderr("info", "{form}")
        log = logging.getLogger("handletime.test")
        begun = time.monotonic()
        for number in range(20_000):
            log.info("line %d %s", number, "x" * (5_000 if number % 7 == 0 else 50))
        print(time.monotonic() - begun, flush=True)
        sys.stdin.readline()
        log.info("again")
        """
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        assert child.stdin and child.stdout and child.stderr  # noqa: PT018 - for the types
        assert float(child.stdout.readline()) < 20
        read: list[str] = []
        reading = threading.Thread(target=read.extend, args=(child.stderr,))
        reading.start()
        time.sleep(0.5)
        child.stdin.write("\n")
        child.stdin.close()
        reading.join(30)
    *before, told, again = read
    assert "again" in again
    dropped = int(re.findall(r"(\d+) lines were dropped", told)[0])
    whole = [line for line in before if "line" in line and (form == "text" or line.endswith("}\n"))]
    assert len(whole) in (20_000 - dropped, 20_000 - dropped + 1)  # one may be torn
    assert dropped > 10_000


@pytest.mark.parametrize("kind", ["terminal", "socket"])
def test_nor_does_a_terminal_or_a_socket(kind: str) -> None:
    """A terminal says that it has room for a line where it has some for a letter."""
    code = """if True:
        import logging, time
        from handletime.cli.logs import log_to_stderr
        log_to_stderr()
        begun = time.monotonic()
        for number in range(5_000):
            logging.getLogger("handletime.test").info("line %d %s", number, "x" * (5_000 if number % 7 == 0 else 50))
        print(time.monotonic() - begun)
        """
    if kind == "terminal":
        ours, theirs = os.openpty()
    else:
        pair = socket.socketpair()
        ours, theirs = (end.detach() for end in pair)
    try:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, text=True, check=True, timeout=60)
    finally:
        os.close(ours)
        os.close(theirs)
    assert float(done.stdout) < 20


def test_a_line_that_is_read_is_whole_however_many_write() -> None:
    code = """if True:
        import logging, threading
        from handletime.cli.logs import log_to_stderr
        log_to_stderr("info", "text")
        log = logging.getLogger("handletime.test")
        def many(name):
            for number in range(300):
                log.info("%s %d %s.", name, number, name * (9_000 if number % 5 == 0 else 9))
        threads = [threading.Thread(target=many, args=(name,)) for name in "abc"]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        """
    command = [sys.executable, "-c", code]
    read = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stderr.splitlines()
    assert len(read) == 900
    assert all(re.fullmatch(r".* INFO +handletime\.test: (\w) \d+ \1+\.", line) for line in read)


def test_lines_that_one_record_has_are_dropped_and_counted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handletime.cli.logs.WAIT_MS", 10)
    line = Line("GET", "/healthz", 200, 1.5, None, None, "0" * 32)
    ours, theirs = os.pipe()
    handler = WhileRead(theirs)
    handler.setFormatter(TextLines())
    sent = 40 * 50
    for _ in range(40):
        record = logging.LogRecord("x", logging.INFO, "", 0, "", None, None)
        record.requests = [(0.0, line)] * 50
        handler.emit(record)
    before = os.read(ours, 1 << 20).decode()
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "again", None, None))
    *_, told, again = os.read(ours, 1 << 20).decode().splitlines()
    os.close(ours)
    os.close(theirs)
    whole = before.count(str(line))
    assert int(re.findall(r"(\d+) lines were dropped", told)[0]) == sent - whole > 1000
    assert again.endswith("again")
