"""The load of a soak: everything that a server is asked for, by several clients at once, for as long as wanted.

Events come in at a steady rate, as they would: late, twice, packed and unpacked, and some that nobody should send.
Meanwhile all methods are asked, pages are looked at, keys come and go, conversations are removed, backups are made.
"""

from __future__ import annotations

import gzip
import http.client
import itertools
import json
import math
import random
import re
import shutil
import threading
import time
from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import oauthlib.oauth1

from bench.process import BenchmarkFailed, handletime, run

SIZES: Final = (1, 1, 5, 10, 20, 50)
"""Events of a request."""
CONNECTIONS: Final = 2
"""For each account's events."""
REPLAYED: Final = 0.04
HELD_BACK: Final = 0.02
"""Requests that are sent once more; those that come half a minute late."""
ASKED_EVERY_S: Final = 1.0
PAGES_EVERY_S: Final = 2.0
BROKEN_EVERY_S: Final = 3.0
UPKEEP_EVERY_S: Final[dict[str, float]] = {"keys": 30, "forget": 60, "prune": 120, "backup": 300, "check": 600}
"""In an hour; shorter runs do each at least a few times."""
TIMEOUT_S: Final = 60.0
ZONE: Final = "tz=UTC"
"""Belongs to every address of a page; without it the page is a 303."""
NO_ANSWER: Final = 0
BUSY: Final = (429, 503)
NDJSON: Final = "application/x-ndjson"
_TIME: Final = re.compile(rb'"time":"([^"]{24})"')
_CONVERSATION: Final = re.compile(rb'"conversationId":"([^"]+)"')
_FORM: Final = re.compile(rb'name="form_token" value="([^"]*)"')


class Key(NamedTuple):
    """A key of an account."""

    id: str
    account: str
    token: str
    oauth: oauthlib.oauth1.Client


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    body: bytes
    cookies: dict[str, str]
    wait_s: float


class Tally:
    """How many answers of which kind there were, how long they took, and which were wrong. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self.statuses: dict[str, Counter[int]] = defaultdict(Counter)
        self.times: dict[str, array[float]] = defaultdict(lambda: array("d"))
        """Of each kind: when, and how long it took, in turns; in seconds."""
        self.events = self.doubles = self.wrong = 0
        self.problems: list[str] = []

    def answered(self, kind: str, status: int, seconds: float) -> None:
        """An answer has come, or (0) none."""
        with self._lock:
            self.statuses[kind][status] += 1
            self.times[kind].extend((time.monotonic() - self._begun, seconds))

    def accepted(self, events: int, doubles: int) -> None:
        """Events are stored."""
        with self._lock:
            self.events += events
            self.doubles += doubles

    def problem(self, what: str) -> None:
        """Something is not as it should be."""
        with self._lock:
            self.wrong += 1
            if len(self.problems) < 20:
                self.problems.append(what)

    def all_statuses(self) -> Counter[int]:
        """Of all kinds."""
        with self._lock:
            return sum(self.statuses.values(), Counter())

    def seconds(self, kind: str, start: float = 0.0, end: float = math.inf) -> list[float]:
        """How long the answers of a kind took in a span of time, ascending."""
        with self._lock:
            flat = self.times[kind].tolist()
        return sorted(took for at, took in zip(flat[::2], flat[1::2], strict=True) if start <= at < end)


class Client:
    """One connection that stays open, for one thread."""

    def __init__(self, url: str, tally: Tally) -> None:
        parts = urlsplit(url)
        self.url, self._tally = url, tally
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT_S)
        self._used = False

    def close(self) -> None:
        """Ends it."""
        self._connection.close()

    def ask(
        self,
        kind: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        fine: tuple[int, ...] = (200,),
    ) -> Answer:
        """Asks, and tells the tally; an answer other than those that are fine, or busy, is a problem."""
        begun = time.perf_counter()
        try:
            answer = self._answer(path, headers, body)
        except (OSError, http.client.HTTPException) as error:
            self._end()
            answer = Answer(NO_ANSWER, repr(error).encode(), {}, 1.0)
        self._tally.answered(kind, answer.status, time.perf_counter() - begun)
        if answer.status not in fine and answer.status not in BUSY:
            told = answer.body[:2000].decode(errors="replace")
            self._tally.problem(f"{kind}: {answer.status or 'no answer'} for {path[:120]}: {told}")
        return answer

    def _answer(self, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        try:
            return self._once(path, headers, body)
        except (http.client.RemoteDisconnected, ConnectionError):
            # A server may end a connection that was quiet for long; then the next one is asked.
            if not self._used:
                raise
            self._end()
            return self._once(path, headers, body)

    def _once(self, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        self._connection.request("GET" if body is None else "POST", path, body, dict(headers))
        answer = self._connection.getresponse()
        content = answer.read()
        self._used = True
        set_ = (each.partition(";")[0].partition("=") for each in answer.headers.get_all("set-cookie", []))
        wait_s = float(answer.headers.get("retry-after") or 1)
        return Answer(answer.status, content, {name: value for name, _, value in set_}, wait_s)

    def _end(self) -> None:
        self._connection.close()
        self._used = False


class Body(NamedTuple):
    """Events of one request."""

    lines: bytes
    number: int
    due: float


class Feed:
    """The events of one account, at a steady rate; and what became of them. Any thread may use it."""

    def __init__(self, folder: Path, account: str, per_second: float, seed: int) -> None:
        self.account = account
        self._lines = (folder / f"{account}.ndjson").open("rb")
        self._acknowledged = (folder / f"acknowledged-{account}.ndjson").open("wb")
        self._doubtful = (folder / f"doubtful-{account}.ndjson").open("wb")
        self._lock = threading.Lock()
        self._dice = random.Random(seed)
        self._per_second, self._taken, self._begun = per_second, 0, time.monotonic()
        self._held: deque[Body] = deque()
        self.until = ""
        """The latest time of an event that was sent."""
        self.conversations: deque[str] = deque(maxlen=400)
        """Some that are stored."""

    def take(self) -> Body | None:
        """The next events, and when they are due; None where there are no more."""
        with self._lock:
            while True:
                if self._held and (len(self._held) > 20 or self._held[0].due + 30 < time.monotonic()):
                    return self._held.popleft()
                lines = list(itertools.islice(self._lines, self._dice.choice(SIZES)))
                if not lines:
                    return None
                self._taken += len(lines)
                due = self._begun + self._taken / self._per_second
                body = Body(b"".join(lines), len(lines), due)
                if self._dice.random() >= HELD_BACK:
                    self.until = max(self.until, *(time_.decode() for time_ in _TIME.findall(body.lines)))
                    return body
                self._held.append(body)

    def acknowledge(self, body: Body) -> None:
        """It is stored, says the server."""
        with self._lock:
            self._acknowledged.write(body.lines)
            self.conversations.append(_CONVERSATION.findall(body.lines)[-1].decode())

    def doubt(self, body: Body) -> None:
        """It was sent, and perhaps stored."""
        with self._lock:
            self._doubtful.write(body.lines)

    def conversation(self, dice: random.Random) -> str | None:
        """One that is stored."""
        with self._lock:
            return dice.choice(self.conversations) if self.conversations else None

    def forget(self) -> str | None:
        """One that is stored, and will not be asked for any more."""
        with self._lock:
            if len(self.conversations) < 100:
                return None
            chosen = self.conversations[-100]  # the oldest, in a short run, may be pruned by now
            kept = [each for each in self.conversations if each != chosen]
            self.conversations.clear()
            self.conversations.extend(kept)
            return chosen

    def close(self) -> None:
        """Nothing comes after this."""
        with self._lock:
            for file in (self._lines, self._acknowledged, self._doubtful):
                file.close()


class Load:
    """All clients of one server, until `stop` is set."""

    def __init__(self, url: str, store: Path, work: Path, keys: list[Key], per_second: float, seconds: float) -> None:
        self.url, self.store, self.work, self.keys = url, store, work, keys
        self.seconds = seconds
        self.tally = Tally()
        self.stop = threading.Event()
        shares = dict(zip((key.account for key in keys), (0.6, 0.4), strict=True))
        self.feeds = {
            account: Feed(work, account, per_second * share, seed)
            for seed, (account, share) in enumerate(shares.items())
        }
        self.cutoff = ""
        """Up to here the store was pruned."""
        self.forgotten: set[str] = set()
        self.done: Counter[str] = Counter()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begins all of it."""
        for number, key in enumerate(self.keys):
            feed = self.feeds[key.account]
            for each in range(CONNECTIONS):
                self._thread(f"events-{key.account}-{each}", self._send, key, feed, random.Random(100 * number + each))
            self._thread(f"queries-{key.account}", self._ask, key, feed, random.Random(10 + number))
            self._thread(f"pages-{key.account}", self._look, key, feed, random.Random(20 + number))
            self._thread(f"stream-{key.account}", self._follow, key, random.Random(30 + number))
        self._thread("broken", self._break, self.keys[0], random.Random(40))
        self._thread("upkeep", self._keep_up, random.Random(50))

    def end(self) -> None:
        """Waits for all clients; `stop` is set. Raises BenchmarkFailed where one does not end."""
        self.stop.set()
        for thread in self._threads:
            thread.join(2 * TIMEOUT_S)
        for feed in self.feeds.values():
            feed.close()
        (self.work / "forgotten.txt").write_text("\n".join(self.forgotten))
        if left := [thread.name for thread in self._threads if thread.is_alive()]:
            raise BenchmarkFailed(f"these clients do not end: {', '.join(left)}")

    def _thread(self, name: str, work: Callable[..., None], *arguments: object) -> None:
        def working() -> None:
            try:
                work(*arguments)
            except Exception as error:
                self.tally.problem(f"{name} failed: {error!r}")

        thread = threading.Thread(target=working, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    # --- events

    def _send(self, key: Key, feed: Feed, dice: random.Random) -> None:
        sent: deque[Body] = deque(maxlen=20)
        with closing(Client(self.url, self.tally)) as client:
            while not self.stop.is_set() and (body := feed.take()) is not None:
                if self.stop.wait(max(0.0, body.due - time.monotonic())):
                    return
                if not self._sent(client, key, body, dice):
                    feed.doubt(body)
                    return
                feed.acknowledge(body)
                sent.append(body)
                if dice.random() < REPLAYED:
                    self._replay(client, key, dice.choice(sent), dice)

    def _sent(self, client: Client, key: Key, body: Body, dice: random.Random) -> bool:
        """Sends events until they are acknowledged, or until the end."""
        while True:
            answer = self._post(client, "events", key, body, dice)
            if answer.status == 200:
                self._count(answer, body)
                return True
            if self.stop.wait(answer.wait_s):
                return False

    def _replay(self, client: Client, key: Key, body: Body, dice: random.Random) -> None:
        answer = self._post(client, "events again", key, body, dice)
        if answer.status == 200 and self._count(answer, body):
            removed = {name.decode() for name in _CONVERSATION.findall(body.lines)} & self.forgotten
            if not removed:
                self.tally.problem("events that were acknowledged are new when they are sent again")

    def _post(self, client: Client, kind: str, key: Key, body: Body, dice: random.Random) -> Answer:
        path = f"/api/account/{key.account}/events"
        headers = {"Authorization": f"Bearer {key.token}", "Content-Type": NDJSON}
        packed, more = _packed(body.lines, dice)
        return client.ask(kind, path, {**headers, **more}, packed)

    def _count(self, answer: Answer, body: Body) -> int:
        said = json.loads(answer.body)
        if said["accepted"] + said["duplicates"] != body.number:
            self.tally.problem(f"{body.number} events were sent, the answer was {said}")
        self.tally.accepted(said["accepted"], said["duplicates"])
        return int(said["accepted"])

    def _break(self, key: Key, dice: random.Random) -> None:
        """Sends what nobody should, and ends connections in the middle of it."""
        path = f"/api/account/{key.account}/events"
        good = (
            b'{"time":"2026-11-20T09:00:00Z","conversationId":"c","eventId":"e","type":"closed","closedBy":"agent"}\n'
        )
        bodies: list[tuple[bytes, dict[str, str], int]] = [
            (good + b'{"time":', {}, 400),
            (b'{"type":"opened"}\n' * 50, {}, 400),
            (good.replace(b"2026-", b"2126-"), {}, 400),
            (gzip.compress(good * 100)[:-20], {"Content-Encoding": "gzip"}, 400),
            (_zstd(good * 1000)[:-9], {"Content-Encoding": "zstd"}, 400),
            (dice.randbytes(100_000), {"Content-Encoding": "zstd"}, 400),
            (b"[" + good.strip() + b",", {"Content-Type": "application/json"}, 400),
            (good, {"Content-Type": "text/plain"}, 415),
            (good, {"Authorization": "Bearer ht_nobody"}, 401),
        ]
        with closing(Client(self.url, self.tally)) as client:
            for number, (body, more, status) in enumerate(itertools.cycle(bodies)):
                if self.stop.wait(BROKEN_EVERY_S):
                    return
                headers = {"Authorization": f"Bearer {key.token}", "Content-Type": NDJSON, **more}
                client.ask("broken events", path, headers, body, (status,))
                if number % len(bodies) == 0:
                    self._hang_up(path, headers)

    def _hang_up(self, path: str, headers: Mapping[str, str]) -> None:
        """Promises a body, sends a part of it, and is gone."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT_S)
        with closing(connection), suppress(OSError):
            connection.putrequest("POST", path)
            for name, value in {**headers, "Content-Length": "100000"}.items():
                connection.putheader(name, value)
            connection.endheaders(b'{"time":')

    # --- queries

    def _ask(self, key: Key, feed: Feed, dice: random.Random) -> None:
        with closing(Client(self.url, self.tally)) as client:
            for query in itertools.cycle(_queries(key, feed, dice)):
                if self.stop.wait(ASKED_EVERY_S):
                    return
                if feed.until:
                    query(client)

    # --- pages

    def _look(self, key: Key, feed: Feed, dice: random.Random) -> None:
        """Signs in, looks at all pages, signs out; or leaves without that."""
        while not self.stop.is_set():
            with closing(Client(self.url, self.tally)) as client:
                cookies = self._signed_in(client, key)
                if cookies is None:
                    self.stop.wait(1.0)
                    continue
                for kind, path, fine in _pages(feed, dice):
                    if self.stop.wait(PAGES_EVERY_S):
                        return
                    client.ask(kind, path, {"Cookie": cookies, "Accept": "text/html"}, fine=fine)
                if dice.random() < 0.7:
                    self._sign_out(client, cookies)

    def _signed_in(self, client: Client, key: Key) -> str | None:
        """The cookie of a new session."""
        form = client.ask("sign-in form", "/sign-in", {"Accept": "text/html"})
        token = _FORM.search(form.body)
        if token is None:
            return None
        fields = urlencode({"form_token": token[1].decode(), "key": key.token, "next": "/", "tz": "Europe/Berlin"})
        headers = {
            "Cookie": _cookies(form.cookies),
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "text/html",
        }
        answer = client.ask("sign-in", "/sign-in", headers, fields.encode(), (303,))
        return _cookies(answer.cookies) if answer.status == 303 else None

    def _sign_out(self, client: Client, cookies: str) -> None:
        page = client.ask("page /", f"/?{ZONE}", {"Cookie": cookies, "Accept": "text/html"})
        token = _FORM.search(page.body)
        if token is None:
            return
        headers = {"Cookie": cookies, "Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
        client.ask("sign-out", "/sign-out", headers, urlencode({"form_token": token[1].decode()}).encode(), (303,))

    def _follow(self, key: Key, dice: random.Random) -> None:
        """Is sent what is new, as a browser that shows the page Now; and goes away without a word."""
        while not self.stop.wait(1.0):
            with closing(Client(self.url, self.tally)) as client:
                cookies = self._signed_in(client, key)
            if cookies is None:
                continue
            parts = urlsplit(self.url)
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT_S)
            with closing(connection):
                self._read_stream(connection, cookies, time.monotonic() + dice.choice((7, 20, 130)))

    def _read_stream(self, connection: http.client.HTTPConnection, cookies: str, until: float) -> None:
        begun = time.perf_counter()
        try:
            connection.request("GET", f"/now/events?{ZONE}", headers={"Cookie": cookies, "Accept": "text/event-stream"})
            answer = connection.getresponse()
            first = answer.readline()
            self.tally.answered("stream", answer.status, time.perf_counter() - begun)
            if answer.status != 200:
                self.tally.problem(f"stream: {answer.status} {first!r}")
                return
            while not self.stop.is_set() and time.monotonic() < until and (line := answer.readline()):
                if line.startswith(b"event: fresh"):
                    self.done["fresh in a stream"] += 1
        except (OSError, http.client.HTTPException) as error:
            self.tally.answered("stream", NO_ANSWER, time.perf_counter() - begun)
            self.tally.problem(f"stream: {error!r}")

    # --- upkeep

    def _keep_up(self, dice: random.Random) -> None:
        """What somebody who looks after the server does, with the commands that are there for it."""
        faster = min(1.0, self.seconds / 1800)
        every = {name: max(2.0, seconds * faster) for name, seconds in UPKEEP_EVERY_S.items()}
        due = {name: time.monotonic() + seconds for name, seconds in every.items()}
        while True:
            name = min(due, key=lambda each: due[each])
            if self.stop.wait(max(0.0, due[name] - time.monotonic())):
                return
            due[name] = time.monotonic() + every[name]
            begun = time.perf_counter()
            try:
                if self._upkeep(name, dice):
                    self.done[name] += 1
                    self.tally.answered(f"handletime {name}", 200, time.perf_counter() - begun)
            except BenchmarkFailed as error:
                self.tally.problem(f"{name}: {error}")

    def _upkeep(self, name: str, dice: random.Random) -> bool:
        """Does one of them; False where there is nothing to do yet. Raises BenchmarkFailed."""
        data = ["--data", str(self.store)]
        match name:
            case "keys":
                self._change_keys(dice)
            case "forget":
                account, feed = dice.choice(list(self.feeds.items()))
                if (conversation := feed.forget()) is None:
                    return False
                self.forgotten.add(conversation)
                run([*handletime(), "forget", *data, "--account", account, "--conversation", conversation])
            case "prune":
                if not (until := min(feed.until for feed in self.feeds.values())):
                    return False
                self.cutoff = _hours_before(until, 24)
                run([*handletime(), "prune", *data, "--before", self.cutoff])
            case "backup":
                target = self.work / "backup"
                try:
                    run([*handletime(), "backup", str(target), *data])
                finally:
                    shutil.rmtree(target, ignore_errors=True)
            case "check":
                run([*handletime(), "check", *data])
        return True

    def _change_keys(self, dice: random.Random) -> None:
        """A key is made, used, revoked, and refused."""
        key = new_key(self.store, dice.choice(self.keys).account)
        path = f"/api/account/{key.account}/agent-segments?source=soak&limit=1"
        headers = {"Authorization": f"Bearer {key.token}"}
        with closing(Client(self.url, self.tally)) as client:
            client.ask("new key", path, headers)
            run([*handletime(), "keys", "revoke", key.id, "--data", str(self.store)])
            client.ask("revoked key", path, headers, fine=(401,))


def new_key(store: Path, account: str, *permissions: str) -> Key:
    """Makes a key with the command for it. Raises BenchmarkFailed."""
    wanted = [word for permission in permissions for word in ("--permission", permission)]
    made = run([*handletime(), "keys", "create", account, "--data", str(store), "--json", *wanted])
    said = json.loads(made.output)
    oauth = oauthlib.oauth1.Client(said["appKey"], said["appSecret"], said["accessToken"], said["accessTokenSecret"])
    return Key(said["id"], account, said["token"], oauth)


def _queries(key: Key, feed: Feed, dice: random.Random) -> list[Callable[[Client], object]]:
    """All methods, each as somebody asks for it."""
    bearer = {"Authorization": f"Bearer {key.token}"}
    segments = f"/api/account/{key.account}/agent-segments"
    operations = f"/operations/api/account/{key.account}"
    last: dict[str, str] = {}

    def get(kind: str, path: str, *, fine: tuple[int, ...] = (200,), **headers: str) -> Callable[[Client], Answer]:
        def asked(client: Client) -> Answer:
            return client.ask(kind, path.replace("TO", feed.until), {**bearer, **headers}, fine=fine)

        return asked

    def page(client: Client) -> None:
        answer = get("agent-segments", f"{segments}?source=soak&to=TO&limit=500")(client)
        if answer.status == 200 and (found := json.loads(answer.body)["segments"]):
            last["segment"] = str(dice.choice(found)["segmentId"])

    def signed(client: Client) -> None:
        path = f"{segments}?source=soak&limit=5"
        _, headers, _ = key.oauth.sign(f"{client.url}{path}")
        client.ask("agent-segments, OAuth", path, headers)

    def files(client: Client) -> None:
        # A few hours: what is listed has to be made.
        listed = get("breakdown", f"{segments}/breakdown?source=soak&from={_hours_before(feed.until, 2)}&to=TO")(client)
        paths = json.loads(listed.body)["files"] if listed.status == 200 else []
        for path in paths[-2:]:
            get("file", f"{segments}/files?source=soak&path={quote(path, safe='')}", fine=(200, 404))(client)

    def explained(client: Client) -> None:
        # What was removed just now may have been chosen before.
        if conversation := feed.conversation(dice):
            path = f"/api/account/{key.account}/conversations/{quote(conversation)}/explain"
            get("explain", path, fine=(200, 404))(client)
        if "segment" in last:
            get("explain a segment", f"{segments}/{quote(last['segment'])}/explain", fine=(200, 404))(client)

    day = "v=1&timeframe=1440&to=TO"
    return [
        page,
        get("agent-segments, CSV", f"{segments}?source=soak&to=TO&limit=500", Accept="text/csv"),
        get("agent-segments", f"{segments}?source=soak&to=TO&sort=Agent&offset=1000"),
        signed,
        files,
        explained,
        get("msgagentsegments", f"{operations}/msgagentsegments?{day}&agentIds=all"),
        get("msgagentsegments, skills", f"{operations}/msgagentsegments?{day}&agentIds=all&skillIds=all"),
        get("msgagentsegments, interval", f"{operations}/msgagentsegments?{day}&interval=30"),
        get("msgagentsegments, CSV", f"{operations}/msgagentsegments?{day}&format=csv&interval=60"),
        get("msgskillsegments", f"{operations}/msgskillsegments?{day}&skillIds=all&interval=30"),
        get("msgskillsegments, now", f"{operations}/msgskillsegments?v=1&timeframe=60"),
        get("wrong query", f"{segments}?limit=1000&sort=Nothing", fine=(400,)),
        get("baseURI", f"/api/account/{key.account}/service/agentActivityDomain/baseURI.json"),
        get("metrics", "/metrics"),
        get("health", "/readyz"),
        get("openapi", "/openapi.json"),
        get("nowhere", "/nowhere", fine=(404,)),
    ]


def _pages(feed: Feed, dice: random.Random) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """All pages, with what they may be answered."""
    day = f"from={_hours_before(feed.until, 24)}&to={feed.until}" if feed.until else "last=24h"
    for path in ("/", "/agents", "/skills", "/segments", "/skill-segments", "/segments.csv", "/open"):
        yield f"page {path}", f"{path}?{day}&{ZONE}", (200,)
    yield "page /now/data", f"/now/data?last=7d&{ZONE}", (200,)
    if conversation := feed.conversation(dice):
        yield "page /why", f"/why?conversation={quote(conversation)}&{ZONE}", (200, 404)


def _packed(body: bytes, dice: random.Random) -> tuple[bytes, dict[str, str]]:
    """Events as producers send them, and the headers that say so."""
    match dice.randrange(6):
        case 0:
            return gzip.compress(body, 1), {"Content-Encoding": "gzip"}
        case 1:
            return _zstd(body), {"Content-Encoding": "zstd"}
        case 2:
            return b"[" + body.strip().replace(b"\n", b",") + b"]", {"Content-Type": "application/json"}
        case _:
            return body, {}


def _zstd(body: bytes) -> bytes:
    import pyarrow as pa

    return bytes(pa.Codec("zstd", 1).compress(body, asbytes=True))


def _cookies(cookies: Mapping[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items() if value)


def _hours_before(moment: str, hours: int) -> str:
    return f"{datetime.fromisoformat(moment) - timedelta(hours=hours):%Y-%m-%dT%H:%M:%S.000Z}"
