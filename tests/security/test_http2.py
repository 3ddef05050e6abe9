"""HTTP/2 is not spoken: who asks for it gets HTTP/1.1. And requests that nobody waits for: others are answered."""

from __future__ import annotations

import re
import ssl
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final

import httpx
import pytest

from handletime.api import connections
from tests.cli.test_serve import EXPORT, INTAKE, Server, bearer, certificate, lines, messages, new_key, serving
from tests.security.strangers import connected, measured, times_of
from tests.seeds import mostly_long

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FLOOD_S: Final = 6.0
FEW: Final = 10
ROOT: Final = Path(__file__).parents[2]
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


def resident_mib(server: Server) -> int:
    told = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    assert told
    return int(told[1]) // 1024


@pytest.mark.parametrize("tls", mostly_long([True, False], 1))
def test_requests_that_nobody_waits_for_cost_little_memory_and_others_are_answered(tls: bool, tmp_path: Path) -> None:
    """Queries with a right key, each of which waits for its turn."""
    options = ["--address-connections", str(FEW)]
    if tls:
        cert, tls_key = certificate(tmp_path)
        options += ["--tls-cert", str(cert), "--tls-key", str(tls_key)]
    with serving(tmp_path / "store", "--log-level", "warning", *options) as server:
        key = bearer(new_key(tmp_path / "store", "admin"))
        sent = lines(messages("c", 1000))
        httpx.post(server.url + INTAKE, content=sent, headers=key, verify=False).raise_for_status()  # noqa: S501
        before = resident_mib(server)
        ask = f"GET {EXPORT} HTTP/1.1\r\nHost: x\r\nAuthorization: {key['Authorization']}\r\n\r\n".encode()
        program = (
            "from tests.security.strangers import ask_and_leave\n"
            f"print(1, flush=True)\nask_and_leave({server.url!r}, {FLOOD_S + 1}, {ask!r})"
        )
        # Another process, since this one measures.
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT) as flood:
            assert flood.stdout
            assert flood.stdout.readline() == b"1\n"
            times, under_way = [], 0.0
            for _ in range(int(FLOOD_S)):
                times += times_of(server.url, 0.7)
                under_way = max(under_way, measured(server.url, "handletime_requests_under_way "))
        assert flood.returncode == 0
        # Many thousands, did nobody count them.
        assert under_way <= 2 * connections.REQUESTS * FEW
        assert resident_mib(server) - before < MORE_MIB
        assert statistics.median(times) < SOON_S
        assert max(times) < AT_WORST_S
        assert max(times_of(server.url, 1)) < SOON_S
        assert server.stop() == 0
        assert "Traceback" not in server.log.read_text()
