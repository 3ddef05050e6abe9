"""A stub of LivePerson's Messaging Interactions API: a real HTTP server over records that go on."""

from __future__ import annotations

import copy
import json
import random
import string
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

from oauthlib.oauth1 import RequestValidator, ResourceEndpoint

from handletime.clock import DAY, MINUTE

SAMPLE: Final = Path(__file__).parents[1] / "golden" / "liveperson-history-sample.json"
ACCOUNT: Final = "sample1"
ROUNDED_MS: Final = 10 * MINUTE
LISTS: Final = {"messageRecords", "agentParticipants", "agentParticipantsActive", "transfers", "interactions"}
CONTENT: Final = LISTS | {"dialogs", "agentParticipantsLeave", "consumerParticipants"}
Record = dict[str, Any]
Body = Mapping[str, Any]

KEY: Final = {"appKey": "k" * 32, "appSecret": "s" * 16, "accessToken": "t" * 32, "accessTokenSecret": "u" * 16}
BEARER: Final = {"bearer": "made.up-token"}


# --- records that go on ------------------------------------------------------------------------------------


def as_of(record: Record, moment: int) -> Record | None:
    """What LivePerson would have answered at a moment: what is later is not there yet."""
    if record["info"]["startTimeL"] > moment:
        return None
    then = copy.deepcopy(record)
    for name, parts in then.items():
        if isinstance(parts, list) and name != "dialogs":
            then[name] = [part for part in parts if part.get("timeL", part.get("interactionTimeL", 0)) <= moment]
    then["dialogs"] = [dialog for dialog in then.get("dialogs", []) if dialog["startTimeL"] <= moment]
    for span in [then["info"], *then["dialogs"]]:
        if not 0 <= span["endTimeL"] <= moment:
            span.update(status="OPEN", endTime="undefined", endTimeL=-1, closeReason=None)
    if then["info"].get("conversationEndTimeL", 0) > moment:
        del then["info"]["conversationEndTimeL"], then["info"]["conversationEndTime"]
    elif "conversationEndTimeL" in then["info"]:
        then["info"]["closeReason"] = record["info"]["closeReason"]
    if then.get("transfers"):
        then["info"]["latestSkillId"] = then["transfers"][-1]["targetSkillId"]
    elif not then["agentParticipants"]:
        then["info"]["latestSkillId"] = -1
    elif record.get("transfers"):
        then["info"]["latestSkillId"] = record["transfers"][0]["sourceSkillId"]
    return then


def moved(value: Any, begin: int, to: int, stretch: int, name: str = "") -> Any:
    """A record that begins at another time, and is `stretch` times as long; its times stand in milliseconds alone."""
    if isinstance(value, list):
        return [moved(one, begin, to, stretch) for one in value]
    if not isinstance(value, dict):
        is_time = name.endswith("L") and type(value) is int and value > 0
        return to + (value - begin) * stretch if is_time else value
    kept = {key: one for key, one in value.items() if f"{key}L" not in value or one == "undefined"}
    return {key: moved(one, begin, to, stretch, key) for key, one in kept.items()}


def conversations(dice: random.Random, number: int, begin: int, end: int) -> list[Record]:
    """So many made-up conversations that begin in some span; some last for days, one never ends."""
    records = json.loads(SAMPLE.read_bytes())["conversationHistoryRecords"]
    made = []
    for n in range(number):
        was = dice.choice(records)
        first, stretch = was["info"]["startTimeL"], dice.choice((1, 1, 1, 5, 40))
        then = moved(was, first, dice.randrange(begin, end), stretch)
        _join_late(then, "3900", dice.choice((0, 20_000)) * stretch)
        text = json.dumps(then)
        made.append(json.loads(text.replace(was["info"]["conversationId"], f"c{n}")))
    return made


def _join_late(record: Record, agent: str, by: int) -> None:
    """Whoever takes a conversation over joins a while after that."""
    for part in record["agentParticipants"]:
        if part["agentId"] == agent:
            part["timeL"] += by
    for part in record.get("interactions") or []:
        if part["assignedAgentId"] == agent:
            part["interactionTimeL"] += by


# --- the server --------------------------------------------------------------------------------------------

Trouble = Callable[[BaseHTTPRequestHandler], bool]
"""Answers a request in LivePerson's place; gives whether it has."""


class Stub:
    """What the server answers. `now` is the moment as of which it tells; `asked` are the questions, with their query.

    `troubles` are used up, one a request; `meanwhile` is called before each answer.
    """

    def __init__(self, records: list[Record], credentials: Mapping[str, str] = BEARER) -> None:
        self.records, self.credentials = records, credentials
        self.now = 0
        self.url = ""
        self.asked: list[tuple[dict[str, str], Record]] = []
        self.troubles: list[Trouble] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.refused: list[str] = []

    def answer(self, query: dict[str, str], body: Record) -> Record:
        """A page, as the documents say."""
        self.meanwhile()
        limit, offset = int(query["limit"]), int(query["offset"])
        assert 1 <= limit <= 100
        assert query["sort"] == "start:asc"
        assert set(body) <= {"start", "end", "status", "contentToRetrieve"}
        assert set(body["status"]) <= {"OPEN", "CLOSE"}
        assert set(body["contentToRetrieve"]) <= CONTENT
        found = [then for record in self.records if (then := as_of(record, self.now))]
        for name in ("start", "end"):
            if name in body:
                found = [then for then in found if _is_within(then["info"][f"{name}TimeL"], body[name])]
        found = [then for then in found if then["info"]["status"] in body["status"]]
        found.sort(key=lambda then: (then["info"]["startTimeL"], then["info"]["conversationId"]))
        wanted = {"info", *body["contentToRetrieve"]}
        page = [{name: part for name, part in then.items() if name in wanted} for then in found[offset:][:limit]]
        metadata = {"count": len(found), "shardsStatusResult": {"partialResult": False}}
        return {"_metadata": metadata, "conversationHistoryRecords": page}

    def is_allowed(self, url: str, authorization: str) -> bool:
        """Whether the one Authorization header is right."""
        if "bearer" in self.credentials:
            return authorization == f"Bearer {self.credentials['bearer']}"
        endpoint = ResourceEndpoint(_Validator(self.credentials))
        valid, _ = endpoint.validate_protected_resource_request(
            url, "POST", headers={"Authorization": authorization, "Content-Type": "application/json"}
        )
        return bool(valid)


def _is_within(moment: int, window: Mapping[str, int]) -> bool:
    first, last = window["from"], window["to"]
    assert 0 < last - first <= 89 * DAY
    return first // ROUNDED_MS * ROUNDED_MS <= moment <= -(-last // ROUNDED_MS) * ROUNDED_MS


class _Validator(RequestValidator):
    enforce_ssl = False
    client_key_length = access_token_length = nonce_length = (1, 64)
    dummy_client = dummy_access_token = "nobody"  # noqa: S105
    safe_characters: ClassVar = set(string.ascii_letters + string.digits)

    def __init__(self, key: Mapping[str, str]) -> None:
        super().__init__()
        self._key = key

    def validate_client_key(self, client_key: str, *_: object) -> bool:
        return client_key == self._key["appKey"]

    def validate_access_token(self, _: str, token: str, *__: object) -> bool:
        return token == self._key["accessToken"]

    def get_client_secret(self, *_: object) -> str:
        return self._key["appSecret"]

    def get_access_token_secret(self, *_: object) -> str:
        return self._key["accessTokenSecret"]

    def validate_timestamp_and_nonce(self, *_: object, **__: object) -> bool:
        return True

    def validate_realms(self, *_: object, **__: object) -> bool:
        return True


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that has gone is no error."""


@contextmanager
def serving(stub: Stub, do_get: Callable[[BaseHTTPRequestHandler], object] | None = None) -> Iterator[Stub]:
    """Serves on a free port of loopback, in threads, until the end; `stub.url` is its address.

    `do_get` answers in the place of the Domain API.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if do_get is not None:
                do_get(self)
                return None
            assert "Authorization" not in self.headers
            path = f"/api/account/{ACCOUNT}/service/msgHist/baseURI.json?version=1.0"
            if self.path != path:
                return reply(self, 404)
            host = stub.url.partition("//")[2]
            return reply(self, 200, {"service": "msgHist", "account": ACCOUNT, "baseURI": host})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if stub.troubles and stub.troubles.pop(0)(self):
                return None
            parts = urlsplit(self.path)
            if parts.path != f"/messaging_history/api/account/{ACCOUNT}/conversations/search":
                return reply(self, 404)
            if not stub.is_allowed(f"{stub.url}{self.path}", self.headers["Authorization"]):
                return reply(self, 401)
            query = {name: value for name, (value,) in parse_qs(parts.query, strict_parsing=True).items()}
            asked = json.loads(body)
            stub.asked.append((query, asked))
            try:
                answer = stub.answer(query, asked)
            except AssertionError as error:
                stub.refused.append(repr(error))
                return reply(self, 400)
            return reply(self, 200, answer)

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reply(handler: BaseHTTPRequestHandler, status: int, body: object = None, **headers: str) -> None:
    """An answer; bytes as they are, else JSON."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text)


def answering(status: int, body: object = None, **headers: str) -> Trouble:
    """Trouble: this answer, once."""

    def trouble(handler: BaseHTTPRequestHandler) -> bool:
        reply(handler, status, body, **headers)
        return True

    return trouble
