"""A real server, a key of it that may everything, and a browser that is signed in with that key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import httpx

from handletime.clock import SystemClock
from handletime.keys.keys import create
from handletime.keys.sidefile import SideFile
from handletime.web.page import COOKIE
from handletime.web.sessions import SESSIONS, Sessions
from tests.crash.nursery import Nursery

ACCOUNT: Final = "acme"


class Site(NamedTuple):
    """The server as the browser sees it. `cookie` is the value alone, `token` the key's."""

    client: httpx.Client
    token: str
    cookie: str
    folder: Path
    log: Path

    def bring(self, *events: Mapping[str, object]) -> None:
        """Sends events of rules.md 1."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/x-ndjson"}
        lines = "\n".join(map(json.dumps, events))
        self.client.post(f"/api/account/{ACCOUNT}/events", content=lines, headers=headers).raise_for_status()

    def ended(self, conversations: Sequence[str]) -> None:
        """Brings conversations that an agent has just handled."""
        begun = SystemClock().now() - 60_000
        kinds: list[dict[str, object]] = [
            {"type": "assigned", "agentId": 7},
            {"type": "message", "sentBy": "consumer"},
            {"type": "focused", "agentId": 7},
            {"type": "message", "sentBy": "agent"},
            {"type": "closed", "closedBy": "agent"},
        ]
        self.bring(
            *(
                {"conversationId": name, "eventId": str(place), "time": begun + 1000 * place, **kind}
                for name in conversations
                for place, kind in enumerate(kinds)
            )
        )


@contextmanager
def signed_in(nursery: Nursery, folder: Path, zone: str = "UTC", *options: object) -> Iterator[Site]:
    """Serves a new store in a folder that is made, until the end; the browser is in a time zone."""
    folder.mkdir(mode=0o700)
    with SideFile(folder) as side:
        key = create(side, ACCOUNT, ["admin"])
    server = nursery.start(folder, "serve", "--data", folder, "--port", "0", *options)
    try:
        url = server.address()
        assert url is not None, server.log.read_text()
        with Sessions(folder / SESSIONS) as sessions:
            cookie = sessions.begin(key.token, zone, SystemClock().now())
        with httpx.Client(base_url=url, timeout=60, headers={"Cookie": f"{COOKIE}={cookie}"}) as client:
            yield Site(client, key.token, cookie, folder, server.log)
    finally:
        server.kill()
