"""Webhooks of a Chatwoot, a thousand a second: how long each waits for its answer, and when its events are visible."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.load import Sent, answer, connected, get, send
from bench.process import BenchmarkFailed, ask
from bench.results import Progress, Section, amount, gigabytes
from bench.server import Server, a_key, listening

ACCOUNT: Final = "bench"
SECRET: Final = "made-up-secret"  # noqa: S105 - it is made up
PATH: Final = f"/api/account/{ACCOUNT}/sources/chatwoot"
PER_SECOND: Final = 1_000
SECONDS: Final = 60
CONNECTIONS: Final = 64
CONVERSATIONS: Final = 5_000
MEDIAN_MS, WORST_MS, VISIBLE_S = 20, 500, 2.0
PROBES: Final = 20
PROBE_S: Final = 60.0
"""Seconds after which an event that is not yet visible is given up."""
_FIRST_PROBE: Final = 1_000_000
_PADDING: Final = "words that were made up for this measurement, as long as those of people are. " * 12
_SETTINGS: Final = f"""
[source.chatwoot]
kind = "chatwoot"
account = "{ACCOUNT}"
secret = "{SECRET}"
"""


def measure(progress: Progress, seconds: int = SECONDS) -> Section:
    """The times of answers, and of events until they are visible, while deliveries come in."""
    with tempfile.TemporaryDirectory(prefix="handletime-bench-") as name, tempfile.TemporaryFile() as log:
        folder, settings = Path(name, "store"), Path(name, "settings.toml")
        settings.write_text(_SETTINGS)
        settings.chmod(0o600)
        token = a_key(folder, ACCOUNT)
        with listening(folder, log, "--config", str(settings), "--log-level", "warning") as (url, process):
            server = Server(url, token, process, 0.0)
            progress(f"{PER_SECOND:,} deliveries a second for {seconds} s")
            with ThreadPoolExecutor(1) as threads:
                sending = threads.submit(ask, "webhooks", url, PER_SECOND, seconds, CONNECTIONS)
                visible = _probed(server, seconds / (PROBES + 1))
                sent, _ = sending.result()
            peak = server.peak_bytes()
    answers = Sent(sent["seconds"], sent["each"])
    rate = amount(len(answers.each) / answers.seconds)
    return Section(
        f"Chatwoot's webhooks, {PER_SECOND:,} a second for {seconds} s, {sent['bytes']:,} bytes each",
        ("", "p50", "p99", "worst", "target"),
        [
            (
                f"answer, ms ({rate} a second)",
                *(f"{1000 * answers.percentile(share):.0f}" for share in (0.5, 0.99)),
                f"{1000 * max(answers.each):.0f}",
                f"p50 ≤ {MEDIAN_MS}, worst ≤ {WORST_MS}",
            ),
            (
                f"events visible after the answer, s ({len(visible)} looked for)",
                *(f"{Sent(0, visible).percentile(share):.2f}" for share in (0.5, 0.99)),
                f"{max(visible):.2f}",
                f"≤ {VISIBLE_S:.0f}",
            ),
        ],
        f"Signed deliveries of messages of {CONVERSATIONS:,} conversations, on {CONNECTIONS} connections that stay "
        f"open; server and client on this machine. The server took {gigabytes(peak)} of memory at most.",
    )


def _probed(server: Server, apart_s: float) -> list[float]:
    """Seconds from the answer to one delivery, now and then, until its conversation can be explained."""
    took = []
    with connected(server.url) as connection:
        for number in range(PROBES):
            time.sleep(apart_s)
            conversation = _FIRST_PROBE + number
            answer(connection, _delivery(conversation, conversation))
            begun = time.perf_counter()
            path = f"/api/account/{ACCOUNT}/conversations/{conversation}/explain"
            while not _is_there(server, path):
                if time.perf_counter() - begun > PROBE_S:
                    raise BenchmarkFailed(f"{path} is not there after {PROBE_S:.0f} s")
                time.sleep(0.02)
            took.append(time.perf_counter() - begun)
    return took


def _is_there(server: Server, path: str) -> bool:
    with connected(server.url) as connection:
        try:
            answer(connection, get(path, server.token))
        except OSError:
            return False
    return True


def _delivery(message: int, conversation: int) -> bytes:
    """A signed delivery of a consumer's message, as it goes over the wire."""
    now = time.time()
    body = json.dumps(
        {
            "event": "message_created",
            "id": message,
            "message_type": "incoming",
            "created_at": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
            "content": _PADDING,
            "private": False,
            "sender": {"id": 1, "type": "contact", "name": "made up"},
            "account": {"id": 1, "name": "made up"},
            "conversation": {
                "id": conversation,
                "channel": "Channel::WebWidget",
                "inbox_id": 3,
                "status": "open",
                "created_at": int(now) - 60,
                "updated_at": now,
                "last_activity_at": int(now),
                "messages": [{"id": message, "content": _PADDING, "created_at": int(now)}],
                "meta": {"assignee": {"id": 100 + conversation % 50, "name": "made up", "type": "user"}, "team": None},
            },
        }
    ).encode()
    timestamp = str(int(now))
    made = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nX-Chatwoot-Signature: sha256={made}\r\n"
        f"X-Chatwoot-Timestamp: {timestamp}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def main(arguments: Sequence[str]) -> None:
    """Sends deliveries: address, deliveries a second, seconds, connections."""
    url, per_second, seconds, connections = arguments
    requests = [
        _delivery(number, 1 + number % CONVERSATIONS) for number in range(1, int(per_second) * int(seconds) + 1)
    ]
    sent = send(url, requests, int(connections), float(per_second))
    print(json.dumps({"seconds": sent.seconds, "each": sent.each, "bytes": len(requests[0].partition(b"\r\n\r\n")[2])}))


if __name__ == "__main__":
    main(sys.argv[1:])
