"""LivePerson's Singer tap, as it lies on PyPI, replicates the queue from a server of ours, unchanged (http-api.md 3).

It looks up the host at LivePerson's address, over plain HTTP. A proxy, which the environment names, leads that here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest

from handletime.clock import MINUTE, SystemClock
from tests.cli.test_serve import Server, bearer, certificate, lines, new_key, serving

TAP: Final = Path(sys.prefix) / "tap"
STREAM: Final = "messaging_queue_health"
_RUN: Final = "import tap_liveperson; tap_liveperson.main()"
Json = dict[str, Any]

pytestmark = pytest.mark.skipif(not TAP.is_dir(), reason="needs what requirements/tap.txt pins, in .venv/tap")


class ToUs(BaseHTTPRequestHandler):
    """A proxy that asks our server, whomever it was to ask."""

    server: LookUps

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        self.server.asked.append(asked.netloc)
        answer = httpx.get(f"{self.server.url}{asked.path}?{asked.query}", verify=False)  # noqa: S501 — our own server
        self.send_response(answer.status_code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        pass


class LookUps(ThreadingHTTPServer):
    """Where the proxy listens; `asked` are the hosts that were meant."""

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), ToUs)
        self.url, self.asked = url, list[str]()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Server, Json, Path]]:
    """A server with TLS, a key, and its certificate."""
    cert, cert_key = certificate(tmp_path)
    key = new_key(tmp_path / "store", "operations", "ingest")
    with serving(tmp_path / "store", "--tls-cert", str(cert), "--tls-key", str(cert_key)) as server:
        yield server, key, cert


def run(folder: Path, proxy: LookUps, cert: Path, *arguments: str) -> str:
    """Runs the tap; gives what it writes."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "PYTHONPATH": str(TAP),
        "PYTHONWARNINGS": "ignore",
        "http_proxy": f"http://127.0.0.1:{proxy.server_port}",
        "REQUESTS_CA_BUNDLE": str(cert),
    }
    command = [sys.executable, "-c", _RUN, "--config", str(folder / "config.json"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tap_replicates_the_queue(site: tuple[Server, Json, Path], tmp_path: Path) -> None:
    server, key, cert = site
    now = SystemClock().now()
    told: list[Json] = []
    for name, skill, begin, end in (("a", 7, 60, 50), ("b", 7, 58, 57), ("c", 8, 90, 30)):
        told += [
            {"eventId": "o", "time": now - begin * MINUTE, "type": "opened", "skillId": skill, "conversationId": name},
            {"eventId": "a", "time": now - end * MINUTE, "type": "assigned", "agentId": 3, "conversationId": name},
        ]
    url = f"{server.url}/api/account/acme/events"
    httpx.post(url, content=lines(told), headers=bearer(key), verify=False).raise_for_status()  # noqa: S501
    config = {"account_id": "acme", "start_date": "2026-01-01T00:00:00Z"}
    names = {"app_key": "appKey", "app_secret": "appSecret"}
    names |= {"access_token": "accessToken", "access_token_secret": "accessTokenSecret"}
    (tmp_path / "config.json").write_text(json.dumps(config | {ours: key[theirs] for ours, theirs in names.items()}))
    with LookUps(server.url) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        catalog = json.loads(run(tmp_path, proxy, cert, "--discover"))
        for stream in catalog["streams"]:
            for each in stream["metadata"]:
                if not each["breadcrumb"]:
                    each["metadata"]["selected"] = stream["stream"] == STREAM
        (tmp_path / "catalog.json").write_text(json.dumps(catalog))
        written = run(tmp_path, proxy, cert, "--catalog", str(tmp_path / "catalog.json"))
        proxy.shutdown()
    assert proxy.asked == ["api.liveperson.net"]
    said = [json.loads(line) for line in written.splitlines()]
    records = [each["record"] for each in said if each["type"] == "RECORD"]
    assert {each["stream"] for each in said if each["type"] == "RECORD"} == {STREAM}
    columns = set(json.loads((TAP / "tap_liveperson" / "schemas" / f"{STREAM}.json").read_text())["properties"])
    for record in records:
        assert record.keys() == columns
        assert record["id"] == f"{record['skill']}@{record['timestamp']}"
        assert all(isinstance(record[name], int | float) for name in columns - {"id", "skill"})
    assert len({record["id"] for record in records}) == len(records)
    # Means over five minutes: added up, they are the time that all have waited.
    for of, minutes, longest in (("7", 11, 10), ("8", 60, 60)):
        mine = [record for record in records if record["skill"] == of]
        assert sum(record["unassignedConversations"] for record in mine) * 5 == pytest.approx(minutes)
        assert max(record["maxWaitTimeForAgentAssignment"] for record in mine) == longest * MINUTE
