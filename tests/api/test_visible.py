"""Whoever asks sees what was acknowledged before: no lag, ever."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from handletime.keys.keys import create
from handletime.keys.sidefile import SideFile
from tests.cli.test_serve import serving

SECONDS = 3.0
"""How long it asks, at least."""
QUESTIONS = 20
"""And how often, at least: that takes a slow machine longer."""
SENDERS = 3
MANY = 150
"""How many conversations a sender has in a request: so many, twice as many, or one."""
NOW = 1_795_165_200_000


def test_no_answer_lacks_what_was_acknowledged_before_the_question(tmp_path: Path) -> None:
    """Conversations come in whole, one by one or many together; whoever asks counts them."""
    folder = tmp_path / "store"
    folder.mkdir(mode=0o700)
    with SideFile(folder) as side:
        tokens = {account: create(side, account, ["admin"]).token for account in ("one", "two")}
    acknowledged = dict.fromkeys(tokens, 0)
    lock, stop = threading.Lock(), threading.Event()
    with serving(folder) as server:

        def send(account: str, name: str, stories: int) -> None:
            connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
            headers = {"Authorization": f"Bearer {tokens[account]}", "Content-Type": "application/x-ndjson"}
            number = 0
            while not stop.is_set():
                number += 1
                body = b"".join(a_story(f"{name}-{number}-{story}") for story in range(stories))
                connection.request("POST", f"/api/account/{account}/events", body, headers)
                answer = connection.getresponse()
                assert (answer.status, json.loads(answer.read())) == (200, {"accepted": 4 * stories, "duplicates": 0})
                with lock:
                    acknowledged[account] += stories
            connection.close()

        threads = [
            threading.Thread(target=send, args=(account, f"{account}{n}", n * MANY or 1))
            for account in tokens
            for n in range(SENDERS)
        ]
        for thread in threads:
            thread.start()
        ends = time.monotonic() + SECONDS
        try:
            for asked, (account, token) in enumerate(itertools.cycle(tokens.items())):
                if asked >= QUESTIONS and time.monotonic() > ends:
                    break
                before = acknowledged[account]
                assert counted(server.url, account, token) >= before
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        for account, token in tokens.items():
            assert counted(server.url, account, token) == acknowledged[account] > 10


def a_story(name: str) -> bytes:
    """A conversation from its beginning to its end."""
    steps: tuple[tuple[str, dict[str, object]], ...] = (
        ("opened", {"skillId": 1}),
        ("assigned", {"agentId": 7}),
        ("message", {"sentBy": "agent"}),
        ("closed", {"closedBy": "agent"}),
    )
    return b"".join(
        json.dumps({"conversationId": name, "eventId": type_, "time": NOW + place, "type": type_, **fields}).encode()
        + b"\n"
        for place, (type_, fields) in enumerate(steps)
    )


def counted(url: str, account: str, token: str) -> int:
    """How many agent segments an account has."""
    path = f"/operations/api/account/{account}/msgagentsegments?v=1&timeframe=1440&to={NOW + 3_600_000}"
    answer = httpx.get(f"{url}{path}", headers=bearer(token), timeout=60)
    assert answer.status_code == 200, answer.text
    # Before the first there is no total.
    return int(answer.json().get("metricsTotal", {}).get("totalAgentConversationSegments", 0))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
