"""The service as a user runs it: real processes, a real socket, a real disk.

Covers: cli/server, cli/folder, cli/ingest, cli/sending.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args

import httpx
import numba
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from handletime.api.app import make_app
from handletime.api.connections import Connections
from handletime.api.serve import ListenSettings
from handletime.api.stopping import Signals
from handletime.cli.keys import CHOICES
from handletime.cli.server import HEAPS, free, run_app
from handletime.keys.keys import Permission
from tests.api.world import World
from tests.crash.nursery import Child, shared

EXAMPLES = Path(__file__).parent.parent / "golden" / "examples"
COMMAND = [Path(sys.executable).parent / "handletime"]
EXPORT = "/operations/api/account/acme/msgagentsegments?v=1&timeframe=60&agentIds=all"
SEGMENTS = "/api/account/acme/agent-segments?source=test"
INTAKE = "/api/account/acme/events"
Event = dict[str, Any]


class Anew:
    """A process that loads all by itself, as a user's does, and is started with what is set and ignored here."""

    def __init__(self, said: Path, log: Path, *arguments: object) -> None:
        self.said = said
        with said.open("wb") as stdout, log.open("ab") as stderr:
            self._process = subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=stdout, stderr=stderr)
        self.pid = self._process.pid

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal."""
        self._process.send_signal(how)

    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def wait(self, limit_s: float = 60) -> int:
        """Its exit code, negative where a signal ended it."""
        return self._process.wait(limit_s)

    def address(self) -> str | None:
        """Where it listens, as soon as it does; None where it ended before."""
        wait_until(lambda: self.said.read_text().endswith("\n") or self.has_ended())
        return self.said.read_text().split()[-1] if self.said.read_text() else None


class Server:
    """A running `handletime serve`; `anew` is for what a forked process cannot show."""

    def __init__(
        self, folder: Path, *options: str, anew: bool = False, constants: Mapping[str, float] | None = None
    ) -> None:
        self.log = folder.parent / f"{folder.name}.log"
        arguments = ("serve", "--data", folder, "--port", "0", *options)
        self.process: Child | Anew
        if anew:
            self.process = Anew(folder.parent / f"{folder.name}.said", self.log, *arguments)
        else:
            self.process = shared().start(folder, *arguments, constants=constants)
        url = self.process.address()
        assert url is not None, self.log.read_text()
        self.url = url

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stops it; gives its exit code."""
        self.process.kill(how)
        return self.process.wait(60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is not there yet."""
    return tmp_path / "deep" / "store"


@contextmanager
def serving(
    folder: Path, *options: str, anew: bool = False, constants: Mapping[str, float] | None = None
) -> Iterator[Server]:
    """A server, which is killed where the test has not stopped it."""
    folder.parent.mkdir(exist_ok=True)
    server = Server(folder, *options, anew=anew, constants=constants)
    try:
        yield server
    finally:
        if not server.process.has_ended():
            server.stop(signal.SIGKILL)


def handletime(
    *arguments: object, code: int = 0, stdin: bytes = b"", env: Mapping[str, str] | None = None, anew: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs a command, which has to end with this code."""
    done = (run_anew if anew else shared().done)(*arguments, stdin=stdin, env=env)
    assert done.returncode == code, done.stderr
    return done


def run_anew(
    *arguments: object, stdin: bytes = b"", env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command as a user does: in a process that loads, and compiles if need be, by itself."""
    command, environment = [str(COMMAND[0]), *map(str, arguments)], {**os.environ, **(env or {})}
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=300, check=False, env=environment, cwd=cwd)
    assert b"Traceback" not in done.stderr, done.stderr
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def new_key(folder: Path, *permissions: str) -> dict[str, Any]:
    """A key of acme."""
    wanted = [word for permission in permissions for word in ("--permission", permission)]
    created: dict[str, Any] = json.loads(
        handletime("keys", "create", "acme", "--data", folder, "--json", *wanted).stdout
    )
    return created


def bearer(key: Mapping[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {key['token']}", "Content-Type": "application/x-ndjson"}


def example(name: str, minutes_ago: int = 10) -> tuple[list[Event], dict[str, Any]]:
    """The events of one of the ten examples, as if it had ended just now, and what follows from them."""
    case = json.loads((EXAMPLES / f"{name}.json").read_text())
    ended = max(datetime.fromisoformat(event["time"]) for event in case["events"])
    later = datetime.now(UTC) - timedelta(minutes=minutes_ago) - ended
    moved = [
        {**event, "time": (datetime.fromisoformat(event["time"]) + later).isoformat(timespec="milliseconds")}
        for event in case["events"]
    ]
    return moved, case


def lines(events: list[Event]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def messages(conversation: str, number: int) -> list[Event]:
    """Some events of a conversation."""
    moment = datetime.now(UTC).isoformat(timespec="milliseconds")
    said = {"conversationId": conversation, "time": moment, "type": "message", "sentBy": "consumer"}
    return [{"eventId": f"{conversation}-{each}", **said} for each in range(number)]


def test_the_choices_are_the_permissions() -> None:
    assert get_args(Permission) == CHOICES


def test_events_go_in_and_answers_come_out_also_after_a_restart(folder: Path, tmp_path: Path) -> None:
    key = new_key(folder, "admin")
    assert list(key) == [
        *("id", "account", "permissions", "agentId", "groups", "skills"),
        *("token", "appKey", "appSecret", "accessToken", "accessTokenSecret"),
    ]
    assert (key["account"], key["permissions"]) == ("acme", ["admin"])
    events, wanted = example("04-bot-to-human")
    (tmp_path / "bot.json").write_text(json.dumps(events))

    with serving(folder) as server:
        # Where the derivation was never compiled, it is now.
        wait_until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200)
        ingested = ["ingest", tmp_path / "bot.json", "--url", server.url, "--account", "acme"]
        done = handletime(*ingested, env={"HANDLETIME_TOKEN": key["token"]})
        assert done.stdout == "13 events accepted, 0 duplicates\n"
        assert handletime(*ingested, "--token", key["token"]).stdout == "0 events accepted, 13 duplicates\n"
        more = [{**event, "conversationId": "c2"} for event in example("01-one-answer")[0]]
        answer = httpx.post(server.url + INTAKE, content=lines(more), headers=bearer(key))
        assert answer.json() == {"accepted": 8, "duplicates": 0}
        answers = [numbers(server, key, wanted)]

        second = handletime("serve", "--data", folder, code=1)
        assert f"is in use by another handletime (process {server.process.pid})" in second.stderr
        beside = handletime("ingest", tmp_path / "bot.json", "--data", folder, code=1)
        assert "is in use by another handletime" in beside.stderr
        assert server.stop() == 0

    with serving(folder) as server:
        answers.append(numbers(server, key, wanted))
        assert server.stop(signal.SIGINT) == 0
    assert answers[0] == answers[1]
    logged = [json.loads(line) for line in Path(server.log).read_text().splitlines()]
    assert {"time", "level", "logger"} <= set.intersection(*(set(line) for line in logged))
    assert {line["request"]["status"] for line in logged if "request" in line} == {200}
    assert key["token"] not in Path(server.log).read_text()


def numbers(server: Server, key: Mapping[str, Any], wanted: Mapping[str, Any]) -> object:
    """What the server says of two examples, compared with what it should."""
    segments = httpx.get(server.url + SEGMENTS, headers=bearer(key)).json()["segments"]
    human = next(segment for segment in wanted["agentSegments"] if segment["userType"] == "human")
    (found,) = (segment for segment in segments if segment["conversationId"] == "c1")
    assert found["agentId"] == human["agentId"] == 2
    assert found["totalHandleTimeMillis"] == human["totalHandleTimeMillis"] == 69_000
    assert {segment["conversationId"]: segment["totalHandleTimeMillis"] for segment in segments}["c2"] == 45_000
    metrics = httpx.get(server.url + EXPORT, headers=bearer(key)).json()["agentsMetrics"]["metricsPerAgent"]
    assert {agent: numbers["totalAgentConversationSegments"] for agent, numbers in metrics.items()} == {
        **{"1": 1, "2": 1, "9": 1}
    }
    assert metrics["2"]["avgTimetoFirstAgentMessageFromAgentAssignment"] == 40_000
    return segments, metrics


def test_it_lives_but_is_not_ready_while_the_derivation_is_compiled(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANDLETIME_CACHE_DIR", str(tmp_path / "cache"))
    with serving(folder, anew=True) as server:
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        not_yet = httpx.get(f"{server.url}/readyz")
        assert not_yet.status_code == 503
        assert "retry-after" in not_yet.headers
        (compiler,) = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        assert b"warming" in Path(f"/proc/{compiler}/cmdline").read_bytes()
        assert server.stop() == 0
    for _ in range(500):
        if not is_running(compiler):
            break
        time.sleep(0.01)
    assert not is_running(compiler)
    assert all(line.startswith('{"time":') for line in server.log.read_text().splitlines())


def test_where_only_a_part_is_compiled_another_process_compiles_the_rest(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("HANDLETIME_CACHE_DIR", str(cache))
    known: str = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    there = cache / Path(known).name
    shutil.copytree(known, there)
    (there / "complete").unlink()
    for first in (True, False):
        with serving(folder, anew=True) as server:
            assert (httpx.get(f"{server.url}/readyz").status_code == 503) is first
            wait_until(lambda url=server.url: httpx.get(f"{url}/readyz").status_code == 200)  # type: ignore[misc]
            assert (there / "complete").exists()
            assert server.stop() == 0


def test_a_start_that_fails_leaves_nothing_that_compiles(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANDLETIME_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    labels = tmp_path / "labels.csv"
    labels.write_text("not,labels\n")
    handletime("serve", "--data", folder, "--port", "0", "--labels", labels, code=1, anew=True)
    told = str(tmp_path).encode()
    for each in Path("/proc").glob("[0-9]*"):
        try:
            assert told not in (each / "environ").read_bytes()
        except OSError:
            continue


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it goes on until it is through")
def test_a_killed_server_leaves_nothing_that_compiles(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANDLETIME_CACHE_DIR", str(tmp_path / "cache"))
    told = str(tmp_path).encode()

    def compiles() -> bool:
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                line = (each / "cmdline").read_bytes()
                found.append(b"warming" in line and told in (each / "environ").read_bytes())
        return any(found)

    with serving(folder, anew=True) as server:
        wait_until(compiles)
        server.stop(signal.SIGKILL)
        wait_until(lambda: not compiles())


HEAPS_OF_MANY_THREADS = """
import ctypes, sys, tempfile, threading
from handletime.cli.server import limit_heaps

if "limited" in sys.argv:
    limit_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p
meet = threading.Barrier(24)

def take():
    meet.wait()
    for _ in range(1000):
        libc.malloc(ctypes.c_size_t(20_000))

threads = [threading.Thread(target=take) for _ in range(meet.parties)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with tempfile.TemporaryFile() as file:
    told = ctypes.c_void_p(libc.fdopen(file.fileno(), b"w"))
    libc.malloc_info(0, told)
    libc.fflush(told)
    file.seek(0)
    print(file.read().count(b"<heap nr="))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not the GNU C library")
def test_threads_share_few_heaps() -> None:
    def heaps(*arguments: str) -> int:
        command = [sys.executable, "-c", HEAPS_OF_MANY_THREADS, *arguments]
        return int(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout)

    assert heaps("limited") <= HEAPS < heaps()


def is_running(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes() != b""
    except FileNotFoundError:
        return False


def test_a_conversation_that_would_be_too_large_is_told(tmp_path: Path) -> None:
    """Nothing of what was sent together is stored; with a higher limit it is."""
    line = '{"eventId":"%d","conversationId":"c","time":1795165200000,"type":"message","sentBy":"consumer"}\n'
    body = "".join(line % number for number in range(120)).encode()
    into = ("ingest", "-", "--data", tmp_path / "store", "--conversation-events")
    done = handletime(*into, "100", stdin=body, code=1)
    assert "conversation c has no room for event 100: a conversation may have 100 events" in done.stderr
    assert handletime(*into, "120", stdin=body).stdout == "120 events accepted, 0 duplicates\n"
    to_a_server = ("ingest", "-", "--url", "http://127.0.0.1:1", "--token", "x", "--conversation-events", "200")
    assert "counts with --data" in handletime(*to_a_server, stdin=body, code=2).stderr


def test_what_is_in_flight_is_answered(folder: Path) -> None:
    key = new_key(folder, "ingest")
    body = lines(messages("half", 50))
    with serving(folder) as server:
        port = httpx.URL(server.url).port
        assert port
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            head = [f"POST {INTAKE} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
            head += [f"{name}: {value}" for name, value in bearer(key).items()]
            connection.sendall("\r\n".join([*head, "", ""]).encode() + body[:1000])
            # Once another request has been answered, the first has begun.
            assert httpx.get(f"{server.url}/healthz").status_code == 200
            server.process.kill(signal.SIGTERM)
            wait_until(lambda: refuses(port))
            connection.sendall(body[1000:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert server.process.wait() == 0
    done = handletime("ingest", "-", "--data", folder, "--account", "acme", stdin=body)
    assert done.stdout == "0 events accepted, 50 duplicates\n"


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


def wait_until(there: Callable[[], bool]) -> None:
    for _ in range(1000):
        if there():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it did not happen")


def test_kill_9_loses_nothing_that_was_acknowledged(folder: Path) -> None:
    key = new_key(folder, "admin")
    acknowledged: list[bytes] = []
    with serving(folder) as server:

        def produce(producer: int) -> None:
            with httpx.Client(headers=bearer(key), timeout=60) as client:
                for number in range(1000):
                    body = lines(messages(f"c{producer}-{number}", 20))
                    try:
                        assert client.post(server.url + INTAKE, content=body).json()["accepted"] == 20
                    except httpx.TransportError:
                        return
                    acknowledged.append(body)

        producers = [threading.Thread(target=produce, args=(each,)) for each in range(3)]
        for thread in producers:
            thread.start()
        wait_until(lambda: len(acknowledged) >= 12)
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        for thread in producers:
            thread.join()

    with serving(folder) as server:
        again = httpx.post(server.url + INTAKE, content=b"".join(acknowledged), headers=bearer(key), timeout=60)
        assert again.json() == {"accepted": 0, "duplicates": 20 * len(acknowledged)}


def test_keys_count_at_once_beside_a_running_server(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "one.ndjson").write_bytes(lines(messages("c", 1)))
    with serving(folder) as server:
        key = new_key(folder)
        assert key["permissions"] == ["handle-time", "operations"]
        assert httpx.get(server.url + EXPORT, headers=bearer(key)).status_code == 200
        assert httpx.get(server.url + EXPORT.replace("acme", "other"), headers=bearer(key)).status_code == 401
        sent = ("ingest", tmp_path / "one.ndjson", "--url", server.url, "--account", "acme", "--token", key["token"])
        assert "The key lacks the permission ingest" in handletime(*sent, code=1).stderr

        (listed,) = json.loads(handletime("keys", "list", "--data", folder, "--json").stdout)
        assert listed["id"] == key["id"]
        assert listed["lastUsed"] is not None
        assert listed["revoked"] is None
        assert "is revoked" in handletime("keys", "revoke", key["id"], "--data", folder).stdout
        assert httpx.get(server.url + EXPORT, headers=bearer(key)).status_code == 401
        assert "revoked" in handletime("keys", "list", "--data", folder).stdout
        assert "(401)" in handletime(*sent, code=1).stderr


def test_a_key_may_end_by_itself(folder: Path) -> None:
    create = ["keys", "create", "acme", "--data", folder, "--expires"]
    assert "Key " in handletime(*create, "9000-01-01").stdout
    assert "must expire in the future" in handletime(*create, "2001-01-01", code=1).stderr
    assert "until 9000-01-01" in handletime("keys", "list", "--data", folder).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["keys", "list", "--data", "nowhere"], 1, "there is no such folder"),
        (["keys", "create", "a b", "--data", "new"], 1, "letters and digits"),
        (["keys", "create", "acme", "--data", "new", "--permission", "all"], 2, "handle-time"),
        (["serve", "--data", "new", "--tls-cert", __file__], 2, "--tls-cert and --tls-key belong together"),
        (["serve", "--data", "new", "--tls-cert", __file__, "--tls-key", __file__], 1, "no certificate (PEM)"),
        (["serve", "--data", "new", "--public-url", "reports.example.com"], 2, "https://reports.example.com"),
        (["ingest", "-"], 2, "name either --data DIR"),
        (["ingest", "-", "--data", "new", "--url", "http://localhost"], 2, "name either --data DIR"),
        (["ingest", "-", "--url", "http://localhost"], 2, "--url needs --token"),
        (["ingest", "-", "--url", "localhost:8080", "--token", "t"], 1, "no address of a server"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HANDLETIME_TOKEN", raising=False)
    assert told in " ".join(handletime(*arguments, code=code).stderr.split())


def test_nothing_it_began_with_is_searched_for_garbage_until_it_stops() -> None:
    frozen: list[int] = []

    def stop_when_settled() -> None:
        for _ in range(2_000):
            if count := gc.get_freeze_count():
                frozen.append(count)
                break
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    with World() as world, ExitStack() as stack:
        _host, port = free("127.0.0.1", 0, stack)
        watching = threading.Thread(target=stop_when_settled)
        listen = ListenSettings(port=port)
        with closing(Signals()) as signals:
            app = make_app(world.service)
            run_app(app, listen, Connections(), signals, 0.0, lambda _: watching.start(), lambda: None)
        watching.join()
    assert frozen[0] > 100_000
    assert gc.get_freeze_count() == 0


def test_a_stop_says_nothing_but_that(folder: Path) -> None:
    """Native libraries report what is still there at the end."""
    with serving(folder, "--log-format", "json") as server:
        assert server.stop() == 0
        said = [json.loads(line)["message"] for line in server.log.read_text().splitlines()]
        assert said[-2:] == ["stopping", "stopped"]


def test_a_port_that_is_taken_is_said(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1, port {port}" in (
            handletime("serve", "--data", folder, "--port", port, code=1).stderr
        )


def test_a_file_goes_into_a_store_without_a_server_up_to_its_first_fault(folder: Path, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.ndjson", tmp_path / "bad.ndjson"
    good.write_bytes(lines([*messages("a", 3), {**messages("b", 1)[0], "accountId": "other"}]))
    bad.write_bytes(lines([*messages("a", 3), {"type": "opend"}]))
    assert handletime("ingest", good, "--data", folder).stdout == "4 events accepted, 0 duplicates\n"
    told = handletime("ingest", good, bad, "--data", folder, code=1).stderr
    assert "line 4: type: must be one of" in told
    assert "0 events accepted, 4 duplicates" in told
    (tmp_path / "side").mkdir()
    (folder / "side.sqlite").rename(tmp_path / "side" / "side.sqlite")
    assert "side.sqlite is missing" in handletime("ingest", good, "--data", folder, code=1).stderr


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    (tmp_path / "some.ndjson").write_bytes(lines(messages("c", 12_000)))
    with Busy() as busy:
        url = f"http://127.0.0.1:{busy.server_port}/behind/a/proxy"
        done = handletime("ingest", tmp_path / "some.ndjson", "--url", url, "--account", "acme", "--token", "t")
    assert done.stdout == "12,000 events accepted, 0 duplicates\n"
    assert sum(busy.stored) == 12_000
    assert len(busy.stored) == 2
    assert busy.refused == [503, 429, 503]
    assert busy.asked == {("/behind/a/proxy" + INTAKE, "Bearer t", "application/x-ndjson")}


class Busy(ThreadingHTTPServer):
    """Refuses its first three requests, then takes whatever comes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), BusyHandler)
        self.lock = threading.Lock()
        self.refused: list[int] = []
        self.stored: list[int] = []
        self.asked: set[tuple[str, str, str]] = set()

    def __enter__(self) -> Busy:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class BusyHandler(BaseHTTPRequestHandler):
    """One request."""

    server: Busy

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"])).count(b"\n")
        with self.server.lock:
            self.server.asked.add((self.path, self.headers["Authorization"], self.headers["Content-Type"]))
            status = [503, 429, 503, 200][len(self.server.refused)]
            (self.server.stored if status == 200 else self.server.refused).append(sent if status == 200 else status)
        self.send_response(status)
        if status != 200:
            self.send_header("Retry-After", "0")
        self.end_headers()
        if status == 200:
            self.wfile.write(b'{"accepted":%d,"duplicates":0}' % sent)

    def log_message(self, *_: object) -> None:
        pass


def test_it_speaks_tls(folder: Path, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    token = new_key(folder, "ingest")["token"]
    with serving(folder, "--tls-cert", str(cert), "--tls-key", str(key), "--public-url", "https://r.example") as server:
        assert server.url.startswith("https://127.0.0.1:")
        sent = ["ingest", "-", "--url", server.url, "--token", token, "--account", "acme"]
        body = lines(messages("c", 2))
        done = handletime(*sent, stdin=body, env={"SSL_CERT_FILE": str(cert)})
        assert done.stdout == "2 events accepted, 0 duplicates\n"
        assert "certificate verify failed" in handletime(*sent, stdin=body, code=1).stderr
        assert server.stop() == 0


@pytest.mark.parametrize("curve", [ec.SECP521R1(), ec.SECP256K1(), ec.BrainpoolP256R1()], ids=lambda curve: curve.name)
def test_a_key_that_cannot_be_used_is_said(curve: ec.EllipticCurve, folder: Path, tmp_path: Path) -> None:
    """The HTTP server ended with a panic."""
    cert, key = certificate(tmp_path, curve)
    told = handletime("serve", "--data", str(folder), "--tls-cert", str(cert), "--tls-key", str(key), code=1).stderr
    assert "key.pem is of a kind that cannot be used here: RSA, P-256, P-384 and Ed25519 can" in told


def test_a_file_of_a_key_may_hold_other_things(folder: Path, tmp_path: Path) -> None:
    other, (cert, key) = tmp_path / "other", certificate(tmp_path)
    other.mkdir()
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    key.write_bytes(parameters + key.read_bytes() + certificate(other, ec.SECP521R1())[0].read_bytes())
    with serving(folder, "--tls-cert", str(cert), "--tls-key", str(key)) as server:
        assert server.url.startswith("https://")


def certificate(folder: Path, curve: ec.EllipticCurve | None = None) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    import ipaddress

    key = ec.generate_private_key(curve or ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file
