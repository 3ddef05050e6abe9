"""A stub desk: a page that looks like an inbox, at Chatwoot's addresses, to try the focus tracker on.

It is no part of handletime, and knows of it what a desk does: the address that takes events, and a key. Three consumers
have written; an agent answers and resolves. What happens is told to the server: opened, assigned, messages, closed.
What the agent looks at is not: that is the tracker's. What is written stays in the browser, and is in no event.

    python scripts/desk.py --server http://127.0.0.1:8080 --account demo --agent 1001 --token ht_…
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

import httpx

PAGE: Final = Path(__file__).with_name("desk.html")
LOOPBACK: Final = "127.0.0.1"
SKILL: Final = 10
LINES: Final = 4
"""What each consumer has to say, in the page; the first line is said at once."""
BODY_MAX: Final = 4096
SEND_MAX: Final = 500
"""Events in one request to the server."""
AGAIN_S: Final = (1, 2, 5, 10)
"""So long the desk waits before it tries a server again that did not take its events."""
ENDS: Final = (signal.SIGINT, signal.SIGTERM)
ROUTES: Final = re.compile(r"/app/accounts/1/(dashboard|inbox/3|(inbox/3/)?conversations/\d+)")

Event = dict[str, Any]


@dataclass
class Message:
    """Who wrote, when (epoch ms), and which of their texts it was: these are in the browser."""

    by: Literal["consumer", "agent"]
    time: int
    number: int


@dataclass
class Conversation:
    """A conversation of the inbox. `due` is when its consumer writes again (seconds of the monotonic clock)."""

    id: int
    topic: int
    messages: list[Message] = field(default_factory=list)
    is_open: bool = True
    due: float | None = None

    def said(self, by: str) -> int:
        """How many messages one side has written."""
        return sum(message.by == by for message in self.messages)


class Outbox:
    """Events on their way to the server, in order, each sent until it was taken."""

    def __init__(self, address: str, token: str) -> None:
        self._address, self._token = address, token
        self._events: list[Event] = []
        self._news = threading.Condition()
        self._closing = False
        self.trouble = ""
        """Why the server does not have what waits; empty where all is well."""
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Takes an event; the server has it soon."""
        with self._news:
            self._events.append(event)
            self._news.notify()

    def waiting(self) -> int:
        """How many the server does not have yet."""
        return len(self._events)

    def close(self) -> int:
        """Tries once more to send what waits; gives how many events the server never got."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(5)
        return self.waiting()

    def _work(self) -> None:
        tries = 0
        with httpx.Client(headers={"Authorization": f"Bearer {self._token}"}, timeout=10) as client:
            while True:
                with self._news:
                    self._news.wait_for(lambda: self._events or self._closing)
                    some = self._events[:SEND_MAX]
                if some:
                    self.trouble = self._send(client, some)
                with self._news:
                    if some and not self.trouble:
                        del self._events[: len(some)]
                        tries = 0
                    elif some and not self._closing:
                        self._news.wait_for(lambda: self._closing, AGAIN_S[min(tries, len(AGAIN_S) - 1)])
                        tries += 1
                        continue
                    if self._closing and (self.trouble or not self._events):
                        return

    def _send(self, client: httpx.Client, events: list[Event]) -> str:
        """Sends events; what went wrong, or nothing. Sent twice, they count once: their ids are the same."""
        try:
            answer = client.post(self._address, json=events)
        except httpx.HTTPError as error:
            return f"{self._address} cannot be reached ({type(error).__name__})"
        if answer.is_success:
            return ""
        return f"{self._address} answers {answer.status_code}: {answer.text[:300]}"


class Desk:
    """The inbox: its conversations, and what is told of them."""

    def __init__(self, outbox: Outbox, agent: int, first: int, pause_s: float) -> None:
        self._outbox, self._agent, self._pause_s = outbox, agent, pause_s
        self._ids, self._numbers, self._run = count(first), count(1), first
        self._conversations: dict[int, Conversation] = {}
        self._lock = threading.RLock()

    def begin(self) -> None:
        """Three consumers write, if nobody has before: when the page is opened, so that nobody waits earlier."""
        with self._lock:
            if not self._conversations:
                self.more()

    def more(self) -> None:
        """Three more consumers write."""
        with self._lock:
            for topic in range(3):
                conversation = Conversation(next(self._ids), topic)
                self._conversations[conversation.id] = conversation
                self._tell(conversation, "opened", source="WEB", skillId=SKILL)
                self._write(conversation, "consumer")
                # As where a desk hands out by itself what comes in: what the agent reads before answering counts.
                self._tell(conversation, "assigned", agentId=self._agent, skillId=SKILL)

    def reply(self, id_: int) -> None:
        """The agent has written. Raises KeyError where there is no such open conversation."""
        with self._lock:
            conversation = self._open(id_)
            self._write(conversation, "agent")
            if conversation.said("consumer") < LINES:
                conversation.due = time.monotonic() + self._pause_s

    def resolve(self, id_: int) -> None:
        """The agent has closed it. Raises KeyError where there is no such open conversation."""
        with self._lock:
            conversation = self._open(id_)
            conversation.is_open, conversation.due = False, None
            self._tell(conversation, "closed", closedBy="agent")

    def write_what_is_due(self) -> None:
        """Consumers who were answered a while ago write again."""
        with self._lock:
            for conversation in self._conversations.values():
                if conversation.due is not None and conversation.due <= time.monotonic():
                    conversation.due = None
                    self._write(conversation, "consumer")

    def state(self) -> dict[str, Any]:
        """What the page shows."""
        with self._lock:
            conversations = [
                {
                    "id": each.id,
                    "topic": each.topic,
                    "open": each.is_open,
                    "messages": [vars(message) for message in each.messages],
                }
                for each in self._conversations.values()
            ]
        trouble = self._outbox.trouble
        return {
            "conversations": conversations,
            "agent": self._agent,
            "waiting": self._outbox.waiting() if trouble else 0,
            "trouble": trouble,
        }

    def _open(self, id_: int) -> Conversation:
        conversation = self._conversations[id_]
        if not conversation.is_open:
            raise KeyError(id_)
        return conversation

    def _write(self, conversation: Conversation, by: Literal["consumer", "agent"]) -> None:
        more = {"agentId": self._agent} if by == "agent" else {}
        moment = self._tell(conversation, "message", sentBy=by, **more)
        conversation.messages.append(Message(by, moment, conversation.said(by)))

    def _tell(self, conversation: Conversation, type_: str, **more: Any) -> int:
        number, moment = next(self._numbers), time.time_ns() // 1_000_000
        event = {"conversationId": str(conversation.id), "eventId": f"desk:{self._run}:{number}", "time": moment}
        self._outbox.put({**event, "sequence": number, "type": type_, **more})
        return moment


class Handler(BaseHTTPRequestHandler):
    """The desk's few addresses."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    server: Site

    def do_GET(self) -> None:
        """The page, wherever it stands in the desk; and what it shows, as JSON."""
        path = self.path.partition("?")[0]
        if not self._is_ours():
            self._answer(HTTPStatus.FORBIDDEN)
        elif path == "/":
            self._answer(HTTPStatus.FOUND, Location="/app/accounts/1/dashboard")
        elif ROUTES.fullmatch(path):
            self.server.desk.begin()
            self._answer(HTTPStatus.OK, PAGE.read_bytes(), "text/html; charset=utf-8")
        elif path == "/desk/state":
            state = {**self.server.desk.state(), "server": self.server.handletime}
            self._answer(HTTPStatus.OK, json.dumps(state).encode(), "application/json")
        else:
            self._answer(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """What the agent did: `{"conversation": 1}` to `/desk/reply` or `/desk/resolve`, `{}` to `/desk/more`."""
        length = self.headers.get("Content-Length", "")
        # Another site's page may not send this type here without asking, and the desk lets nobody who asks.
        if not self._is_ours() or self.headers.get("Content-Type") != "application/json":
            return self._refuse(HTTPStatus.FORBIDDEN)
        if not length.isdecimal() or int(length) > BODY_MAX:
            return self._refuse(HTTPStatus.BAD_REQUEST)
        try:
            asked = json.loads(self.rfile.read(int(length)))
            match self.path:
                case "/desk/reply":
                    self.server.desk.reply(asked["conversation"])
                case "/desk/resolve":
                    self.server.desk.resolve(asked["conversation"])
                case "/desk/more":
                    self.server.desk.more()
                case _:
                    return self._answer(HTTPStatus.NOT_FOUND)
        except (KeyError, TypeError, ValueError):
            return self._answer(HTTPStatus.BAD_REQUEST)
        return self._answer(HTTPStatus.OK, b"{}", "application/json")

    def _is_ours(self) -> bool:
        host = self.headers.get("Host", "").rpartition(":")[0]
        return host in (LOOPBACK, "localhost")

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True  # What it sent was not read.
        self._answer(status)

    def _answer(self, status: HTTPStatus, body: bytes = b"", type_: str = "text/plain", **more: str) -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), "Content-Type": type_, "Cache-Control": "no-store", **more}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing of each request."""


class Site(ThreadingHTTPServer):
    """The desk's server."""

    daemon_threads = True

    def __init__(self, port: int, desk: Desk, handletime: str) -> None:
        self.desk, self.handletime = desk, handletime
        super().__init__((LOOPBACK, port), Handler)

    def service_actions(self) -> None:
        """What is done twice a second."""
        self.desk.write_what_is_due()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that went away in the middle is nothing to tell."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _arguments() -> argparse.Namespace:
    said = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    said.add_argument("--server", required=True, help="handletime's address")
    said.add_argument("--account", required=True)
    said.add_argument("--token", default=os.environ.get("DESK_TOKEN"), help="a key with `ingest` (or $DESK_TOKEN)")
    said.add_argument("--agent", type=int, default=1001, help="who handles the conversations (1001)")
    said.add_argument("--port", type=int, default=0, help="any that is free, if not said")
    said.add_argument("--first-id", type=int, help="of the conversations; from the time, if not said")
    said.add_argument("--pause", type=float, default=10, help="seconds until a consumer answers (10)")
    found = said.parse_args()
    if not found.token:
        said.error("a key is needed: --token, or DESK_TOKEN in the environment")
    return found


def _end(*_: object) -> None:
    """Ends the desk as Ctrl-C does; whoever is in a hurry does not hinder what is under way."""
    for which in ENDS:
        # Not SIG_IGN: a signal that has come already would be told as an error then.
        signal.signal(which, lambda *_: None)
    raise KeyboardInterrupt


def main() -> int:
    """Serves the desk until Ctrl-C. Its first line on standard output ends with its address."""
    said = _arguments()
    for which in ENDS:  # In a script's background, Ctrl-C would be ignored.
        signal.signal(which, _end)
    server = said.server.rstrip("/")
    outbox = Outbox(f"{server}/api/account/{said.account}/events", said.token)
    # Another desk, a second later, has other conversations, as long as nobody writes a thousand times here.
    first = said.first_id or time.time_ns() // 1_000_000_000 * 1000
    try:
        with Site(said.port, Desk(outbox, said.agent, first, said.pause), server) as site:
            print(f"the desk is at http://{LOOPBACK}:{site.server_port}", flush=True)
            site.serve_forever()
    except KeyboardInterrupt:
        pass
    except OSError as error:
        print(f"the desk cannot listen on port {said.port}: {error.strerror}", file=sys.stderr)
        return 1
    if lost := outbox.close():
        print(f"{lost} events of the desk did not reach {server}: {outbox.trouble}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
