"""A client that keeps a server busy, or asks it now and then, and writes down what each answer was.

As a program it takes one `Job` as JSON and prints what became of it (`Outcome`), so that it does not share a process
with whoever measures.
"""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

ROOT: Final = Path(__file__).parents[2]
WAIT_S: Final = 60.0
AGENTS: Final = 2_000
_END: Final = b"\r\n\r\n"


class Job(msgspec.Struct, frozen=True):
    """What to send for so long: events in requests of `size`, or, with a `path`, queries. `per_second` for all
    connections together, 0 as fast as they are answered; after a refusal a connection waits `pause_s`.
    """

    url: str
    account: str
    token: str
    seconds: float
    connections: int = 1
    per_second: float = 0.0
    size: int = 1
    path: str = ""
    begin: int = 0
    pause_s: float = 0.0


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """When it was asked (seconds of the machine's clock), for how long, the status, and Retry-After."""

    asked: float
    seconds: float
    status: int
    retry_after: str


class Outcome(msgspec.Struct, frozen=True):
    """All answers, and what failed without one."""

    answers: list[Answer]
    failed: list[str]

    def statuses(self) -> dict[int, int]:
        """How many of each."""
        return dict(sorted(Counter(answer.status for answer in self.answers).items()))

    def millis(self, share: float, since: float = 0.0) -> float:
        """The nearest rank of the times of those that were answered well, in ms, of those asked since then."""
        each = sorted(a.seconds for a in self.answers if a.status == 200 and a.asked >= since)
        return 1000 * each[min(len(each) - 1, int(share * len(each)))]


def begin(job: Job) -> subprocess.Popen[bytes]:
    """Starts it in a process of its own."""
    command = [sys.executable, "-m", "tests.security.load"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(job))
    process.stdin.close()
    return process


def end(process: subprocess.Popen[bytes]) -> Outcome:
    """What became of it, once it is through."""
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.read()
    assert process.wait(WAIT_S) == 0
    return msgspec.json.decode(said, type=Outcome)


def done(job: Job) -> Outcome:
    """Begins it and waits for its end."""
    return end(begin(job))


def body(first: int, size: int) -> bytes:
    """So many events of the last minute, five to a conversation."""
    kinds = (
        '"type":"assigned","agentId":{agent}',
        '"type":"message","sentBy":"consumer"',
        '"type":"focused","agentId":{agent}',
        '"type":"message","sentBy":"agent"',
        '"type":"closed","closedBy":"agent"',
    )
    lines, now = [], int(time.time() * 1000)
    for number in range(first, first + size):
        conversation, kind = divmod(number, len(kinds))
        more = kinds[kind].replace("{agent}", str(conversation % AGENTS + 1))
        at = now - 60_000 + 10_000 * kind
        lines.append(f'{{"conversationId":"c{conversation}","eventId":"e{number}","time":{at},{more}}}\n')
    return "".join(lines).encode()


def request(job: Job, number: int) -> bytes:
    """The request of this number, as it goes over the wire."""
    head = f"Host: x\r\nAuthorization: Bearer {job.token}\r\n"
    if job.path:
        return f"GET {job.path} HTTP/1.1\r\n{head}\r\n".encode()
    content = body(job.begin + number * job.size, job.size)
    path = f"/api/account/{job.account}/events"
    kind = f"Content-Type: application/x-ndjson\r\nContent-Length: {len(content)}\r\n"
    return f"POST {path} HTTP/1.1\r\n{head}{kind}\r\n".encode() + content


def connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname or "", parts.port or 80), WAIT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection: socket.socket, sent: bytes) -> Answer:
    """Sends a request and reads its answer to the end. Raises OSError."""
    asked, begun = time.time(), time.perf_counter()
    connection.sendall(sent)
    data = b""
    while (end_ := data.find(_END)) < 0:
        data += _more(connection)
    head = data[:end_].lower()
    missing = int(_header(head, b"content-length") or 0) - (len(data) - end_ - len(_END))
    while missing > 0:
        missing -= len(_more(connection))
    return Answer(asked, time.perf_counter() - begun, int(head[9:12]), _header(head, b"retry-after"))


def _header(head: bytes, name: bytes) -> str:
    return head.partition(b"\r\n" + name + b":")[2].partition(b"\r\n")[0].strip().decode()


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 18)
    if not data:
        raise OSError("the server ended the connection")
    return data


def work(job: Job) -> Outcome:
    """Sends until the time is over, on all connections."""
    numbers, lock = itertools.count(), threading.Lock()
    answers: list[Answer] = []
    failed: list[str] = []
    started = time.perf_counter()

    def turns() -> Iterator[int]:
        while (passed := time.perf_counter() - started) < job.seconds and len(failed) < 100:
            with lock:
                number = next(numbers)
            if job.per_second:
                time.sleep(max(0.0, number / job.per_second - passed))
            yield number

    def send() -> None:
        connection = connected(job.url)
        for number in turns():
            try:
                answer = ask(connection, request(job, number))
            except OSError as error:
                failed.append(repr(error))
                connection.close()
                connection = connected(job.url)
                continue
            answers.append(answer)
            if answer.status != 200 and job.pause_s:
                time.sleep(job.pause_s)
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(job.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Outcome(answers, failed)


if __name__ == "__main__":
    given = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    sys.stdout.write(json.dumps(msgspec.to_builtins(work(given))))
