"""The real application on a real socket, over a store in memory and keys that name what they may."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from copy import copy
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

import duckdb
import httpx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from handletime.answers.files import OfFiles
from handletime.answers.relations import Definition, Snapshot, with_relations
from handletime.api.app import make_app
from handletime.api.auth import AuthRequest
from handletime.api.connections import Connections
from handletime.api.ports import Store
from handletime.api.serve import ListenSettings, make_server
from handletime.api.service import ApiSettings, Service
from handletime.api.unit_files import ShelvedFiles
from handletime.deadline import Deadline
from handletime.errors import NotNow, Unauthorized
from handletime.events.book import instant
from handletime.events.model import EVENTS
from handletime.keys.keys import Key, Permission
from handletime.scope import WHOLE, Scope
from handletime.segments.agent_focus import Focus, FocusTime, Move, focus_of, time_of
from handletime.segments.derive import derive
from handletime.segments.parts import Prepared, prepare
from handletime.store.reader import focus_within
from handletime.store.requests import Ingested, Outcome
from handletime.store.shelf import Shelf
from tests.segments.tables import events_of

NOW = cast(int, instant("2026-11-20T12:00:00.000Z"))
Event = Mapping[str, object]


class FixedClock:
    """Stands still until it is told otherwise."""

    def __init__(self, moment: int = NOW) -> None:
        self.moment = moment

    def now(self) -> int:
        return self.moment


class MemoryReader:
    """One account's events, derived anew whenever they changed."""

    def __init__(self, account: str) -> None:
        self.account, self.scope = account, WHOLE
        self.deadline = Deadline()
        self.events = EVENTS.empty_table()
        self.removed: set[str] = set()
        self._database: duckdb.DuckDBPyConnection | None = None
        self._lock = threading.Lock()

    def within(self, scope: Scope) -> MemoryReader:
        """A reader of the present events that sees what lies within a scope."""
        limited = copy(self)
        limited.scope = scope
        return limited

    def add(self, events: pa.Table) -> Ingested:
        with self._lock:
            known = set(_identities(self.events))
            fresh: list[bool] = []
            for identity in _identities(events):
                fresh.append(identity not in known)
                known.add(identity)
            self.events = pa.concat_tables(
                [self.events, events.filter(pa.array(fresh, pa.bool_()))]
            ).unify_dictionaries()
            self._database = None
            return Ingested(sum(fresh), len(fresh) - sum(fresh))

    def remove(self, conversation: str) -> None:
        with self._lock:
            self.events = self.events.filter(pc.not_equal(self.events["conversationId"], conversation))
            self.removed.add(conversation)
            self._database = None

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        with self._lock:
            if self._database is None:
                self._database = _derived(self.events)
            cursor = self._database.cursor()
        with cursor:
            yield Snapshot(cursor, OfFiles() if self.scope.is_whole else OfScope(self.scope), self.deadline)

    def state(self) -> str:
        return str(id(self.events))

    def prepared(self, conversation: str) -> Prepared | None:
        found = pc.any(pc.equal(self.events["conversationId"], conversation)).as_py()
        return prepare(self.events) if found else None

    def focus(self, agent: int, start: int, end: int) -> list[Focus]:
        rows = self.events.set_column(
            self.events.schema.get_field_index("time"), "time", self.events["time"].cast(pa.int64())
        ).filter(pc.equal(self.events["agentId"], agent))
        moves = [
            Move(row["time"], row["sequence"], row["type"] == "focused", row["eventId"], row["conversationId"])
            for row in rows.to_pylist()
            if row["type"] in ("focused", "unfocused")
        ]
        found = list(focus_of(moves, start, end))
        if self.scope.is_whole:
            return found
        with self.snapshot() as snapshot:
            return focus_within(snapshot, agent, found, lambda _conversations: iter(()), start, end)

    def focus_times(self, agents: Sequence[int], start: int, end: int) -> dict[int, FocusTime]:
        return {agent: time_of(self.focus(agent, start, end)) for agent in agents}

    def open_conversations(self) -> Generator[Prepared, None, None]:
        running = derive(self.events).skill_segments
        names = running.filter(pc.is_null(running["end"]))["conversationId"].unique()
        found = self.events.filter(pc.is_in(self.events["conversationId"], names))
        if found.num_rows:
            yield prepare(found)

    def open_left_out(self) -> int:
        return 0

    def holds_all(self, conversations: Sequence[str]) -> bool:
        return self.removed.isdisjoint(conversations)


class OfScope(NamedTuple):
    """The views of `OfFiles` within a scope."""

    scope: Scope
    keeps_sums: bool = False

    def composed(self, sql: str, parameters: Mapping[str, object] | None) -> str:  # noqa: ARG002
        return with_relations(sql, lambda name: Definition(f"select * from main.{name}"), self.scope)  # noqa: S608


def _identities(events: pa.Table) -> list[tuple[str, str]]:
    return list(zip(events["conversationId"].to_pylist(), events["eventId"].to_pylist(), strict=True))


def _derived(events: pa.Table) -> duckdb.DuckDBPyConnection:
    derived = derive(events)
    connection = duckdb.connect()
    tables = {
        "agent_segments": derived.agent_segments,
        "skill_segments": derived.skill_segments,
        "queue_segments": derived.queue_segments,
        "running_queue_segments": derived.running_queue_segments,
        "open_conversations": derived.skill_segments.filter(pc.is_null(derived.skill_segments["end"])),
        "handle_time_units": derived.handle_time_units,
    }
    for name, table in tables.items():
        connection.register("arriving", table)
        numbered = ", hash(segmentId) as segmentNumber" if name == "agent_segments" else ""
        connection.execute(f"create table {name} as select *{numbered} from arriving")  # noqa: S608
        connection.unregister("arriving")
    connection.execute("alter table handle_time_units rename to units")
    connection.execute(
        """create view handle_time_units as select u.*, s.userType, s."end" as segmentEnd, s.segmentNumber,
            s.skillId, s.groupId, s.source
        from units u join agent_segments s using (segmentId)"""
    )
    return connection


class MemoryStore:
    """All accounts, in memory."""

    def __init__(self) -> None:
        self.readers: dict[str, MemoryReader] = {}
        self.trouble: str | None = None
        self.broken = False

    def reader(self, account: str, scope: Scope = WHOLE) -> MemoryReader:
        if self.broken:
            raise RuntimeError("a secret of the inside")
        found = self.readers.setdefault(account, MemoryReader(account))
        return found if scope.is_whole else found.within(scope)

    def submit(self, account: str, events: pa.Table) -> Future[Ingested]:
        if self.trouble:
            raise NotNow(self.trouble)
        done: Future[Ingested] = Future()
        done.set_result(self.reader(account).add(events))
        return done

    def submit_together(self, account: str, events: pa.Table, sizes: Sequence[int]) -> Future[list[Outcome]]:
        if self.trouble:
            raise NotNow(self.trouble)
        ends = np.cumsum([0, *sizes]).tolist()
        done: Future[list[Outcome]] = Future()
        done.set_result([self.reader(account).add(events.slice(low, high - low)) for low, high in pairwise(ends)])
        return done

    def problem(self) -> str | None:
        return self.trouble

    @property
    def read_only(self) -> None:
        return None

    def put(self, account: str, events: Sequence[Event]) -> None:
        """Stores events of rules.md 1."""
        self.reader(account).add(events_of([{"accountId": account, **event} for event in events]))


class NamingAuthenticator:
    """Takes bearer tokens that say themselves what they are: `key-<account>-<permission>+<permission>-<scope>`."""

    def __init__(self) -> None:
        self.asked: list[AuthRequest] = []

    def authenticate(self, request: AuthRequest) -> Key:
        self.asked.append(request)
        given = request.authorization
        token = given if isinstance(given, str) else given[0] if given else ""
        named, _, scope = token.partition("/")
        scheme, account, permissions = [*named.split("-", 2), "", ""][:3]
        if scheme != "Bearer key":
            reason = "oauth_problem=token_rejected&oauth_problem_advice=Use%20another."
            raise Unauthorized(reason, "Who are you?", 'Bearer realm="handletime"')
        account, _, agent = account.partition("@")
        may = tuple(cast(Permission, name) for name in permissions.split("+"))
        ids = [tuple(map(int, each.split(","))) if each else None for each in scope.split("/")]
        of = Scope(*ids) if scope else WHOLE
        return Key("1", account, may, agent_id=int(agent) if agent else None, scope=of)


def token(account: str, *permissions: Permission, scope: Scope = WHOLE) -> dict[str, str]:
    """The header of a key; without permissions one that may everything. `acme@12` is one of agent 12."""
    ids = "/".join(",".join(map(str, each or ())) for each in scope)
    limited = "" if scope.is_whole else f"/{ids}"
    return {"Authorization": f"Bearer key-{account}-{'+'.join(permissions) or 'admin'}{limited}"}


class World:
    """A running server and what it stands on."""

    def __init__(
        self,
        settings: ApiSettings | None = None,
        real: Store | None = None,
        connections: Connections | None = None,
        tls: tuple[Path, Path] | None = None,
        page: Callable[[Service], Sequence[Any]] | None = None,
    ) -> None:
        """`tls` is a certificate and its key, `page` makes the routes of the page."""
        self._page = page
        self.store, self.clock, self.authenticator = MemoryStore(), FixedClock(), NamingAuthenticator()
        self.shelf = Shelf()
        store = real or self.store
        files = ShelvedFiles(store, self.shelf, self.clock)
        self.service = Service(store, self.authenticator, self.clock, files, settings)
        self.connections = connections or Connections()
        self.port = _free_port()
        cert, key = tls or (None, None)
        self._listen = ListenSettings(port=self.port, tls_cert=cert, tls_key=key)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        more = self._page(self.service) if self._page else ()
        app = self.connections.noting(make_app(self.service, more_routes=list(more)))
        self._server = make_server(app, self._listen, self.connections.room)
        self.connections.watch(self.port)
        await self._server.serve()

    def __enter__(self) -> World:
        self._thread.start()
        for _ in range(200):
            try:
                httpx.get(self.url + "/healthz", verify=False).raise_for_status()  # noqa: S501 — our own server
            except httpx.TransportError:
                threading.Event().wait(0.02)
            else:
                break
        else:
            raise RuntimeError("the server did not start")
        self.client = httpx.Client(base_url=self.url, timeout=120, verify=False)  # noqa: S501
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join(10)
        self.connections.stop()
        self.shelf.close()

    def get(self, path: str, account: str = "acme", **headers: str) -> httpx.Response:
        """A GET with a key that may everything; `accept_encoding` becomes Accept-Encoding."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.get(path, headers=token(account) | named)

    def post(self, path: str, content: bytes, account: str = "acme", **headers: str) -> httpx.Response:
        """A POST of NDJSON, if the headers say nothing else."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        base = token(account) | {"Content-Type": "application/x-ndjson"}
        return self.client.post(path, content=content, headers=base | named)

    def raw(self, request: bytes) -> bytes:
        """What comes back for bytes on the socket, until the other side closes it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as connection:
            connection.sendall(request)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return answer


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
