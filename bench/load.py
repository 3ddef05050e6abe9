"""A client that costs little: requests that are ready beforehand, on connections that stay open.

As a program it sends the events of a file to a running server, and prints what it measured as JSON.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

WAIT_S: Final = 120.0
_END: Final = b"\r\n\r\n"


class Sent(NamedTuple):
    """What became of requests: how long all of them took, and each one; in seconds."""

    seconds: float
    each: list[float]

    def percentile(self, share: float) -> float:
        """The nearest rank."""
        return sorted(self.each)[min(len(self.each) - 1, int(share * len(self.each)))]


def post(path: str, token: str, body: bytes) -> bytes:
    """A request with NDJSON, as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def get(path: str, token: str) -> bytes:
    """A request without a body, as it goes over the wire."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def answer(connection: socket.socket, request: bytes) -> bytes:
    """Sends a request; gives the body of its answer. Raises OSError where that is not a 200."""
    connection.sendall(request)
    data = b""
    while (end := data.find(_END)) < 0:
        data += _more(connection)
    head = data[:end].lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    parts = [data[end + len(_END) :]]
    missing = length - len(parts[0])
    while missing:
        parts.append(_more(connection))
        missing -= len(parts[-1])
    body = b"".join(parts)
    if not head.startswith(b"http/1.1 200"):
        raise OSError(f"{head[:40]!r}: {body[:300]!r}")
    return body


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 18)
    if not data:
        raise OSError("the server ended the connection")
    return data


def connected(url: str) -> socket.socket:
    """A connection to a server. Raises OSError."""
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname or "", parts.port or 80), WAIT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def send(url: str, requests: Sequence[bytes], connections: int, per_second: float | None = None) -> Sent:
    """Sends all requests, in order, each on the connection that is free next. Raises OSError.

    With `per_second`, none is sent before its time.
    """
    waiting = iter(enumerate(requests))
    lock = threading.Lock()
    each: list[float] = []
    problems: list[OSError] = []

    def work() -> None:
        try:
            with connected(url) as connection:
                while True:
                    with lock:
                        number, request = next(waiting, (0, None))
                    if request is None or problems:
                        return
                    if per_second:
                        time.sleep(max(0.0, started + number / per_second - time.perf_counter()))
                    begun = time.perf_counter()
                    answer(connection, request)
                    each.append(time.perf_counter() - begun)
        except OSError as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return Sent(time.perf_counter() - started, each)


def bodies(lines: bytes, size: int) -> Iterator[bytes]:
    """So many lines at a time."""
    parts = lines.splitlines(keepends=True)
    for first in range(0, len(parts), size):
        yield b"".join(parts[first : first + size])


def main(arguments: Sequence[str]) -> None:
    """Sends a file of events: address, path, token, file, events a request, connections; perhaps requests a second."""
    url, path, token, file, size, connections, *per_second = arguments
    requests = [post(path, token, body) for body in bodies(Path(file).read_bytes(), int(size))]
    sent = send(url, requests, int(connections), float(per_second[0]) if per_second else None)
    print(json.dumps({"seconds": sent.seconds, "each": sent.each}))


if __name__ == "__main__":
    main(sys.argv[1:])
