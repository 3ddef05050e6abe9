"""A Chatwoot to test against: a small model that a scenario drives, its REST API, and its deliveries.

What counts of the real one (docs/chatwoot.md): a body is rendered when its job runs, not when the thing happened; a
delivery is tried once, for some seconds; the whole dispatch may be repeated; jobs run in any order; each delivery is
signed. Bodies have the keys of the made-up ones in `chatwoot/`.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

TOKEN: Final = "made-up-administrator"  # noqa: S105
SECRET: Final = "made-up-secret-of-the-webhook"  # noqa: S105
ACCOUNT: Final = 1
KINDS: Final = ("incoming", "outgoing", "activity", "template")
Json = dict[str, Any]


def iso(at: int) -> str:
    """A time as Rails writes it."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Message:
    """A message; `sender` is a type and an id."""

    id: int
    conversation: int
    at: int
    kind: str
    sender: tuple[str, int] | None = None
    private: bool = False
    marks: Json = field(default_factory=dict)
    campaign: Json = field(default_factory=dict)


@dataclass
class Conversation:
    """The state of a conversation; times are epoch milliseconds."""

    id: int
    inbox: int
    created: int
    updated: int
    status: str
    active: int
    assignee: tuple[str, int] | None = None
    team: int | None = None
    replied: int | None = None
    messages: list[Message] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """A delivery that is to be made: what happened, but not the state."""

    event: str
    conversation: int
    message: int | None = None
    changes: list[Json] | None = None


class Chatwoot:
    """The model. Each thing that happens appends its jobs to `jobs`; callers say when, in epoch milliseconds."""

    def __init__(self) -> None:
        self.conversations: dict[int, Conversation] = {}
        self.jobs: list[Job] = []
        self.webhooks: list[Json] = []
        self.agents, self.inboxes, self.teams, self.bots = [7, 8, 9], [3, 4], [5, 6], [2]
        self.signs = self.has_bots = self.sorts = True
        self.auto_resolve: Json = {"auto_resolve_duration": None}
        self._next = 1000
        self.lock = threading.RLock()

    # --- what happens -----------------------------------------------------------------------------------------

    def create(self, id_: int, at: int, *, inbox: int = 3, status: str = "open") -> None:
        """A consumer's conversation begins."""
        self.conversations[id_] = Conversation(id_, inbox, at, at, status, at)
        self.jobs.append(Job("conversation_created", id_))

    def incoming(self, id_: int, at: int) -> None:
        """The consumer writes; what was resolved is open again."""
        self._write(id_, at, "incoming", ("contact", 89))
        if self.conversations[id_].status == "resolved":
            self.change(id_, at + 40, status="open")

    def reply(self, id_: int, at: int, agent: int) -> None:
        """An agent writes."""
        self._write(id_, at, "outgoing", ("user", agent))
        conversation = self.conversations[id_]
        if conversation.replied is None:
            conversation.replied = at
            conversation.updated = at
            self._job_of_change(id_, at, [_change("first_reply_created_at", None, iso(at))], at)

    def bot(self, id_: int, at: int, bot: int = 2) -> None:
        """A bot writes."""
        self._write(id_, at, "outgoing", ("agent_bot", bot))

    def note(self, id_: int, at: int, agent: int) -> None:
        """An agent writes a private note."""
        self._write(id_, at, "outgoing", ("user", agent), private=True)

    def greet(self, id_: int, at: int) -> None:
        """The inbox greets."""
        self._write(id_, at, "template", None)

    def automate(self, id_: int, at: int) -> None:
        """An automation writes."""
        self._write(id_, at, "outgoing", None, marks={"automation_rule_id": 4})

    def change(self, id_: int, at: int, **to: Any) -> None:
        """Changes `status`, `assignee` (a user's id, or a pair of type and id) or `team`; only what is given."""
        conversation = self.conversations[id_]
        changes = []
        if "status" in to:
            changes.append(_change("status", conversation.status, to["status"]))
            conversation.status = to["status"]
        if "team" in to:
            changes.append(_change("team_id", conversation.team, to["team"]))
            conversation.team = to["team"]
        if "assignee" in to:
            now = ("User", to["assignee"]) if isinstance(to["assignee"], int) else to["assignee"]
            was, conversation.assignee = conversation.assignee, now
            for type_, name in (("User", "assignee_id"), ("AgentBot", "assignee_agent_bot_id")):
                before, after = (each[1] if each and each[0] == type_ else None for each in (was, now))
                if before != after:
                    changes.append(_change(name, before, after))
        if "label" in to:
            changes.append(_change("label_list", [], [to["label"]]))
        before, conversation.updated = conversation.updated, at
        if "status" in to:
            self._activity(id_, at)
            self.jobs.append(Job("conversation_status_changed", id_))
        self._job_of_change(id_, at, changes, before)

    def _job_of_change(self, id_: int, at: int, changes: list[Json], before: int) -> None:
        changes = [*changes, _change("updated_at", iso(before), iso(at))]
        self.jobs.append(Job("conversation_updated", id_, changes=changes))

    def _write(self, id_: int, at: int, kind: str, sender: tuple[str, int] | None, **more: Any) -> None:
        self._next += 1
        conversation = self.conversations[id_]
        conversation.messages.append(Message(self._next, id_, at, kind, sender, **more))
        conversation.updated = conversation.active = at
        self.jobs.append(Job("message_created", id_, self._next))

    def _activity(self, id_: int, at: int) -> None:
        self._next += 1
        self.conversations[id_].messages.append(Message(self._next, id_, at, "activity"))

    # --- deliveries -------------------------------------------------------------------------------------------

    def render(self, job: Job) -> Json:
        """The body of a delivery, with the state as it is now."""
        conversation = self.conversations[job.conversation]
        if job.message is None:
            body = self._state(conversation) | {"event": job.event}
            changed = {} if job.event == "conversation_created" else {"changed_attributes": job.changes}
            return body | changed
        message = next(each for each in conversation.messages if each.id == job.message)
        return {
            "account": {"id": ACCOUNT, "name": "Made Up Ltd"},
            "additional_attributes": message.campaign,
            "content_attributes": message.marks,
            "content_type": "text",
            "content": "made up",
            "conversation": self._state(conversation),
            "created_at": iso(message.at),
            "id": message.id,
            "inbox": {"id": conversation.inbox, "name": f"Inbox {conversation.inbox}"},
            "message_type": message.kind,
            "private": message.private,
            "sender": _sender(message),
            "source_id": None,
            "event": job.event,
        }

    def _state(self, conversation: Conversation) -> Json:
        written = [message for message in conversation.messages if message.kind != "activity"]
        return {
            "additional_attributes": {},
            "can_reply": True,
            "channel": "Channel::WebWidget",
            "contact_inbox": {"id": 547, "contact_id": 89, "inbox_id": conversation.inbox, "source_id": "made-up"},
            "id": conversation.id,
            "inbox_id": conversation.inbox,
            "messages": [_nested(message) for message in written[-1:]],
            "labels": [],
            "meta": _meta(conversation),
            "status": conversation.status,
            "custom_attributes": {},
            "snoozed_until": None,
            "unread_count": 0,
            "first_reply_created_at": None if conversation.replied is None else iso(conversation.replied),
            "priority": None,
            "waiting_since": conversation.created // 1000,
            "agent_last_seen_at": 0,
            "contact_last_seen_at": 0,
            "last_activity_at": conversation.active // 1000,
            "timestamp": conversation.active // 1000,
            "created_at": conversation.created // 1000,
            "updated_at": conversation.updated / 1000,
        }

    # --- the REST API -----------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, Any]:
        """The status and the JSON of an answer to an administrator."""
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        prefix = f"/api/v1/accounts/{ACCOUNT}"
        if not (parts.path + "/").startswith(prefix + "/"):
            return 404, {"error": "Resource could not be found"}
        match [method, *parts.path.removeprefix(prefix).strip("/").split("/")]:
            case ["GET", ""]:
                return 200, {"id": ACCOUNT, "name": "Made Up Ltd", **self.auto_resolve}
            case ["GET", "conversations"]:
                return 200, self._listed(query)
            case ["GET", "conversations", id_, "messages"] if int(id_) in self.conversations:
                return 200, self._written(self.conversations[int(id_)], int(query.get("after", 0)))
            case ["GET", "agents"]:
                return 200, [{"id": id_, "name": f"Agent {id_}", "role": "agent"} for id_ in self.agents]
            case ["GET", "inboxes"]:
                return 200, {"payload": [{"id": id_, "name": f"Inbox {id_}"} for id_ in self.inboxes]}
            case ["GET", "teams"]:
                return 200, [{"id": id_, "name": f"team {id_}"} for id_ in self.teams]
            case ["GET", "agent_bots"] if self.has_bots:
                return 200, [{"id": id_, "name": f"Bot {id_}"} for id_ in self.bots]
            case ["GET", "webhooks"]:
                return 200, {"payload": {"webhooks": self.webhooks}}
            case ["POST", "webhooks"]:
                return self._add_webhook(json.loads(body)["webhook"])
            case ["PATCH", "webhooks", id_]:
                found = next(each for each in self.webhooks if each["id"] == int(id_))
                found |= json.loads(body)["webhook"]
                return 200, {"payload": {"webhook": found}}
        return 404, {"error": "Resource could not be found"}

    def _add_webhook(self, asked: Json) -> tuple[int, Any]:
        if any(each["url"] == asked["url"] for each in self.webhooks):
            return 422, {"message": "Url has already been taken"}
        made = {"id": len(self.webhooks) + 1, "account_id": ACCOUNT, "name": None, **asked}
        self.webhooks.append(made | ({"secret": SECRET} if self.signs else {}))
        return 200, {"payload": {"webhook": self.webhooks[-1]}}

    def _listed(self, query: Json) -> Json:
        page, order = int(query.get("page", 1)), query.get("sort_by")
        listed = [each for each in self.conversations.values() if query.get("status") in ("all", each.status)]
        by_age = self.sorts and order == "created_at_asc"
        listed.sort(key=lambda each: (each.created, each.id) if by_age else (-each.active, each.id))
        meta = {"mine_count": 0, "assigned_count": 0, "unassigned_count": 0, "all_count": len(listed)}
        return {"data": {"meta": meta, "payload": [self._record(each) for each in listed[25 * (page - 1) : 25 * page]]}}

    def _record(self, conversation: Conversation) -> Json:
        state = self._state(conversation)
        del state["channel"], state["contact_inbox"]
        replied = 0 if conversation.replied is None else conversation.replied // 1000
        return state | {
            "meta": state["meta"] | {"channel": "Channel::WebWidget"},
            "account_id": ACCOUNT,
            "uuid": f"00000000-0000-4000-8000-{conversation.id:012}",
            "assignee_last_seen_at": 0,
            "first_reply_created_at": replied,
            "muted": False,
            "last_non_activity_message": None,
            "sla_policy_id": None,
        }

    def _written(self, conversation: Conversation, after: int) -> Json:
        found = sorted((each for each in conversation.messages if each.id > after), key=lambda each: each.at)
        return {"meta": {}, "payload": [_rest_message(each, conversation) for each in found[:100]]}


def _change(name: str, was: object, now: object) -> Json:
    return {name: {"previous_value": was, "current_value": now}}


def _meta(conversation: Conversation) -> Json:
    type_, id_ = conversation.assignee or (None, None)
    assignee = None if type_ is None else {"id": id_, "name": f"Agent {id_}", "type": type_.lower()}
    team = None if conversation.team is None else {"id": conversation.team, "name": f"Team {conversation.team}"}
    return {
        "sender": {"id": 89, "name": "Made Up", "email": None, "phone_number": None, "type": "contact"},
        "assignee": assignee,
        "assignee_type": type_,
        "team": team,
        "hmac_verified": False,
    }


def _sender(message: Message) -> Json | None:
    if message.sender is None:
        return None
    type_, id_ = message.sender
    named = {"id": id_, "name": f"{type_} {id_}"}
    return named if type_ == "contact" else named | {"type": type_}


def _nested(message: Message) -> Json:
    return {
        "id": message.id,
        "content": "made up",
        "message_type": KINDS.index(message.kind),
        "created_at": message.at // 1000,
        "private": message.private,
        "sender": _sender(message),
    }


def _rest_message(message: Message, conversation: Conversation) -> Json:
    told = {
        "id": message.id,
        "content": "made up",
        "inbox_id": conversation.inbox,
        "conversation_id": conversation.id,
        "message_type": KINDS.index(message.kind),
        "content_type": "text",
        "status": "sent",
        "content_attributes": message.marks,
        "created_at": message.at // 1000,
        "private": message.private,
        "source_id": None,
    }
    return told if message.sender is None else told | {"sender": _sender(message)}


# --- deliveries over HTTP -------------------------------------------------------------------------------------


def headers_of(body: bytes, secret: str | None, at_s: int | None = None) -> dict[str, str]:
    """The headers of a delivery; signed where there is a secret. `at_s` is its timestamp, else the moment."""
    headers = {"Content-Type": "application/json", "X-Chatwoot-Delivery": str(uuid.uuid4())}
    if secret is not None:
        stamp = str(int(time.time()) if at_s is None else at_s)
        signature = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        headers |= {"X-Chatwoot-Timestamp": stamp, "X-Chatwoot-Signature": f"sha256={signature}"}
    return headers


def post(url: str, secret: str | None = SECRET, timeout_s: float = 5.0) -> Callable[[bytes], bool]:
    """A deliverer that posts to a URL, once; says whether that was answered 2xx in time."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")

    def deliver(body: bytes) -> bool:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
        try:
            connection.request("POST", target, body, headers_of(body, secret))
            return 200 <= connection.getresponse().status < 300
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return deliver


class Deliverer:
    """Runs the jobs of a model: each renders its body and hands it to `deliver`, whatever comes of that."""

    def __init__(self, chatwoot: Chatwoot, deliver: Callable[[bytes], object]) -> None:
        self._chatwoot, self._deliver = chatwoot, deliver
        self._waiting: list[Job] = []

    def run(self) -> None:
        """Runs what has come up, at once and in order."""
        self._run(self._taken())

    def hold(self) -> None:
        """Lets what has come up wait."""
        self._waiting += self._taken()

    def run_late(self, dice: random.Random, *, doubled: float = 0.0) -> None:
        """Runs what waits in any order, some of it twice."""
        jobs, self._waiting = [*self._waiting, *self._taken()], []
        jobs += [job for job in jobs if dice.random() < doubled]
        dice.shuffle(jobs)
        self._run(jobs)

    def _taken(self) -> list[Job]:
        jobs, self._chatwoot.jobs = self._chatwoot.jobs, []
        return jobs

    def _run(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._deliver(json.dumps(self._chatwoot.render(job)).encode())


# --- the REST API over HTTP -----------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Serves a model's REST API on loopback. `asked` is what was asked for, `before` is called with each request.

    What `before` returns, a status and headers, is answered instead.
    """

    daemon_threads = True

    def __init__(self, chatwoot: Chatwoot) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.chatwoot = chatwoot
        self.asked: list[str] = []
        self.before: Callable[[str], tuple[int, dict[str, str], bytes] | None] = lambda _target: None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(f"{self.command} {self.path}")
        headers: dict[str, str] = {}
        instead = self.server.before(self.path)
        if instead is not None:
            status, headers, content = instead
        elif self.headers.get("api_access_token") != TOKEN:
            status, content = 401, b'{"errors":["You need to sign in"]}'
        else:
            with self.server.chatwoot.lock:
                status, found = self.server.chatwoot.answer(self.command, self.path, body)
            content = json.dumps(found).encode()
        with suppress(OSError):
            self.send_response(status)
            for name, value in ({"Content-Type": "application/json"} | headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    do_GET = do_POST = do_PATCH = _serve  # noqa: N815

    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def serving(chatwoot: Chatwoot) -> Iterator[Server]:
    """A server of a model, stopped afterwards."""
    with Server(chatwoot) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
