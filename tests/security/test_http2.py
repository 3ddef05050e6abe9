"""HTTP/2 is not spoken: who asks for it gets HTTP/1.1. And requests that nobody waits for: others are answered."""

from __future__ import annotations

import multiprocessing
import re
import ssl
import statistics
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.cli.test_serve import Server, certificate, serving
from tests.security.strangers import connected, times_of

ASK: Final = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FLOOD_S: Final = 6.0
THREADS: Final = 4
MORE_MIB: Final = 200
SOON_S, AT_WORST_S = 3.0, 15.0


def test_whoever_offers_http_2_gets_http_1(tmp_path: Path) -> None:
    """Its streams could be withdrawn as soon as they are begun, so that no limit of the HTTP server counts them."""
    cert, key = certificate(tmp_path)
    with serving(tmp_path / "store", "--tls-cert", str(cert), "--tls-key", str(key)) as server:
        with connected(server.url, None, "h2", "http/1.1") as both:
            assert isinstance(both, ssl.SSLSocket)
            assert both.selected_alpn_protocol() == "http/1.1"
            both.sendall(PREFACE)
            assert not both.recv(1000).startswith(b"HTTP/1.1 2")
        with pytest.raises(OSError, match=r"(?i)no application protocol|alert"):
            connected(server.url, None, "h2")


def ask_and_leave(url: str, seconds: float) -> None:
    """Asks, does not wait for the answer, and comes again."""
    until = time.monotonic() + seconds

    def go_on() -> None:
        while time.monotonic() < until:
            with suppress(OSError), connected(url) as connection:
                connection.sendall(ASK)

    threads = [threading.Thread(target=go_on) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def resident_mib(server: Server) -> int:
    told = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    assert told
    return int(told[1]) // 1024


@pytest.mark.parametrize("tls", [False, True])
def test_requests_that_nobody_waits_for_cost_little_memory_and_others_are_answered(tls: bool, tmp_path: Path) -> None:
    options = []
    if tls:
        cert, key = certificate(tmp_path)
        options = ["--tls-cert", str(cert), "--tls-key", str(key)]
    with serving(tmp_path / "store", "--log-level", "warning", *options) as server:
        times_of(server.url, 1)
        before = resident_mib(server)
        flood = multiprocessing.get_context("spawn").Process(target=ask_and_leave, args=(server.url, FLOOD_S))
        flood.start()
        times = times_of(server.url, FLOOD_S)
        flood.join()
        assert flood.exitcode == 0
        assert resident_mib(server) - before < MORE_MIB
        assert statistics.median(times) < SOON_S
        assert max(times) < AT_WORST_S
        assert max(times_of(server.url, 1)) < SOON_S
        assert server.stop() == 0
        assert "Traceback" not in server.log.read_text()
