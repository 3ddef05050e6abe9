"""SIGTERM ends the server, whoever holds on to it; a second one at once. What was acknowledged stays.

Covers: api/serve, api/stopping.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
import pytest

from handletime.api.serve import GRACE_S
from tests.cli.test_serve import (
    INTAKE,
    Server,
    bearer,
    certificate,
    handletime,
    lines,
    messages,
    new_key,
    serving,
)
from tests.security.strangers import OVER_TLS, connected
from tests.seeds import mostly_long

ROOT: Final = Path(__file__).parents[2]
SLOW: Final = """
import signal, time
from litestar import get
from handletime.api import serve
from handletime.api.app import make_app
from handletime.api.connections import Connections
from handletime.api.serve import ListenSettings
from handletime.api.stopping import Signals
from contextlib import ExitStack
from handletime.cli.server import end, free, run_app
from tests.api.world import World

@get("/slow", sync_to_thread=True)
def slow() -> None:
    time.sleep(300)

serve.GRACE_S = 2.0
signals = Signals()
signal.pthread_sigmask(signal.SIG_BLOCK, ELSEWHERE)
app = make_app(World().service, more_routes=[slow])
host, port = free("127.0.0.1", 0, ExitStack())
run_app(app, ListenSettings(host, port), Connections(), signals, 0.0, lambda url: print(url, flush=True), lambda: None)
end()
"""
BEYOND_S: Final = 15.0
"""Until what is cut off is gone, and the process with it."""
AT_ONCE_S: Final = 5.0
ASKS: Final = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"


def dripping_body(server: Server, key: str) -> socket.socket:
    """A body with a right key, of which a byte comes each second as long as it can."""
    connection = connected(server.url)
    head = f"POST {INTAKE} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Type: application/x-ndjson\r\n"
    connection.sendall(head.encode() + b"Content-Length: 100000\r\n\r\n")

    def drip() -> None:
        with suppress(OSError):
            for _ in range(int(GRACE_S + BEYOND_S)):
                connection.sendall(b"\n")
                time.sleep(1)

    threading.Thread(target=drip, daemon=True).start()
    return connection


def unread_answers(server: Server, _: str) -> socket.socket:
    """More answers than the kernel keeps, none of them read."""
    connection = connected(server.url, receives=4096)
    connection.sendall(ASKS * 200)
    return connection


def quiet(name: str) -> Callable[[Server, str], socket.socket]:
    return lambda server, _: OVER_TLS[name](server.url)


HOLDING: Final = {
    "a body that drips": dripping_body,
    "answers that are not read": unread_answers,
    **{name: quiet(name) for name in OVER_TLS},
}


@contextmanager
def with_key(folder: Path, grace_s: float = GRACE_S) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server that answers for so long after it was told to stop, and a key."""
    cert, key = certificate(folder.parent)
    options, constants = ("--tls-cert", str(cert), "--tls-key", str(key)), {"handletime.api.serve.GRACE_S": grace_s}
    with serving(folder, *options, constants=constants) as server:
        yield server, bearer(new_key(folder, "admin"))


@pytest.fixture
def server_with_key(tmp_path: Path) -> Iterator[tuple[Server, dict[str, str]]]:
    with with_key(tmp_path / "store") as started:
        yield started


def stopped_after(server: Server, code: int, *again: signal.Signals) -> float:
    """Tells a server to stop, perhaps more than once, and says how long it took to end with a code."""
    begun = time.monotonic()
    for how in (signal.SIGTERM, *again):
        server.process.kill(how)
        time.sleep(1)
    assert server.process.wait(60) == code
    return time.monotonic() - begun


@pytest.mark.parametrize("grace_s", mostly_long([2.0, GRACE_S], 1))
def test_it_ends_whoever_holds_on_and_what_is_acknowledged_stays(grace_s: float, tmp_path: Path) -> None:
    with with_key(tmp_path / "store", grace_s) as (server, key), ExitStack() as stack:
        for hold in HOLDING.values():
            stack.enter_context(hold(server, key["Authorization"]))
        assert accepted(server, key, "a", 1000) == 1000
        assert grace_s < stopped_after(server, 0) < grace_s + BEYOND_S
        log = server.log.read_text()
        assert "stopped" in log
        assert "Traceback" not in log
    with serving(tmp_path / "store") as again:
        assert accepted(again, key, "a", 1000) == 0


def accepted(server: Server, key: dict[str, str], conversation: str, number: int) -> int:
    sent = lines(messages(conversation, number))
    answer = httpx.post(server.url + INTAKE, content=sent, headers=key, verify=False)  # noqa: S501 — our own server
    return int(answer.json()["accepted"])


def test_a_closed_terminal_stops_it_like_that_unless_it_was_told_to_stay(
    server_with_key: tuple[Server, dict[str, str]], tmp_path: Path
) -> None:
    """It ended at once, and without a word."""
    server, key = server_with_key
    assert accepted(server, key, "a", 1000) == 1000
    server.process.kill(signal.SIGHUP)
    assert server.process.wait(60) == 0
    assert "stopped" in server.log.read_text()
    with ignored(signal.SIGHUP), serving(tmp_path / "store", anew=True) as again:
        again.process.kill(signal.SIGHUP)
        time.sleep(1)
        assert not again.process.has_ended()
        assert accepted(again, key, "a", 1000) == 0


@contextmanager
def ignored(number: signal.Signals) -> Iterator[None]:
    """As `nohup` does, for what is started within."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_one_ends_it_at_once(
    second: signal.Signals, server_with_key: tuple[Server, dict[str, str]], tmp_path: Path
) -> None:
    server, key = server_with_key
    with ExitStack() as stack:
        stack.enter_context(dripping_body(server, key["Authorization"]))
        assert accepted(server, key, "a", 1000) == 1000
        assert stopped_after(server, 128 + second, second) < AT_ONCE_S
        assert "told to for the second time" in server.log.read_text()
    with serving(tmp_path / "store") as again:
        assert accepted(again, key, "a", 1000) == 0
        assert again.stop() == 0
    handletime("check", "--data", tmp_path / "store")


def test_a_request_under_way_is_answered(server_with_key: tuple[Server, dict[str, str]], tmp_path: Path) -> None:
    server, key = server_with_key
    sent = lines(messages("a", 1000))

    def slowly() -> Iterator[bytes]:
        for at in range(0, len(sent), len(sent) // 10 + 1):
            yield sent[at : at + len(sent) // 10 + 1]
            if at == 0:
                server.process.kill(signal.SIGTERM)
            time.sleep(0.3)

    answer = httpx.post(server.url + INTAKE, content=slowly(), headers=key, verify=False, timeout=60)  # noqa: S501
    assert answer.json() == {"accepted": 1000, "duplicates": 0}
    assert server.process.wait(60) == 0
    with serving(tmp_path / "store") as again:
        assert accepted(again, key, "a", 1000) == 0


def test_a_first_one_whose_exception_got_lost_in_the_start_counts_as_soon_as_it_can() -> None:
    program = (
        "import os, signal\n"
        "from handletime.api.stopping import Signals\n"
        "signals = Signals()\n"
        "try: os.kill(os.getpid(), signal.SIGTERM)\n"
        "except SystemExit: pass\n"
        "signals.at_first(lambda number: print(number))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert done.stdout == b"15\n"


def test_time_and_a_second_signal_end_the_process_whatever_its_threads_do() -> None:
    """The main thread is in the middle of a call that no signal ends."""
    stuck = (
        "import hashlib\n"
        "from handletime.api.stopping import Signals\n"
        "signals = Signals(limit_s=float('{}'))\n"
        "signals.at_first(lambda _: None)\n"
        "print('ready', flush=True)\n"
        "hashlib.pbkdf2_hmac('sha256', b'', b'', 1_000_000_000)\n"
    )
    for limit, times, code, most in ((1.0, 1, 143, 10.0), (60.0, 2, 130, 10.0)):
        with subprocess.Popen([sys.executable, "-c", stuck.format(limit)], stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            begun = time.monotonic()
            for how in (signal.SIGTERM, signal.SIGINT)[:times]:
                process.send_signal(how)
                time.sleep(0.2)
            assert process.wait(60) == code
            assert time.monotonic() - begun < most


def test_it_ends_while_a_query_runs_that_nothing_can_stop() -> None:
    """Its client is cut off with all others; the process does not wait for the thread."""
    program = f"ELSEWHERE = []\n{SLOW}"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout
        url = process.stdout.readline().decode().strip()
        with connected(url) as connection:
            connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            assert httpx.get(f"{url}/healthz").status_code == 200
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            assert time.monotonic() - begun < 2.0 + BEYOND_S


def test_it_ends_where_the_system_gives_the_signal_to_another_thread() -> None:
    """The main thread waits for clients, and nothing interrupts that: it ended after 33 s."""
    program = f"ELSEWHERE = [{signal.SIGTERM:d}]\n{SLOW}"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout
        assert process.stdout.readline().startswith(b"http://")
        time.sleep(0.5)  # until it waits
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert time.monotonic() - begun < BEYOND_S
