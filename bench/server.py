"""A running server, for whoever measures it."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from bench.load import answer, connected, get
from bench.process import BenchmarkFailed, handletime, run

STOP_S = 60


class Server(NamedTuple):
    """Where a server listens, a key for it, and how long it took to get there."""

    url: str
    token: str
    process: subprocess.Popen[str]
    started_s: float

    def ask(self, path: str, times: int) -> tuple[list[float], int]:
        """Asks so many times on one connection; the seconds of each, and the size of the last answer."""
        each, size = [], 0
        with connected(self.url) as connection:
            for _ in range(times):
                begun = time.perf_counter()
                size = len(answer(connection, get(path, self.token)))
                each.append(time.perf_counter() - begun)
        return each, size

    def peak_bytes(self) -> int:
        """The most memory that it has taken so far; 0 where the system does not say."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def a_key(folder: Path, account: str, permissions: Sequence[str] = ()) -> str:
    """A new key for an account of a store. Raises BenchmarkFailed."""
    wanted = [word for permission in permissions for word in ("--permission", permission)]
    made = run([*handletime(), "keys", "create", account, "--data", str(folder), "--json", *wanted])
    return str(json.loads(made.output)["token"])


@contextmanager
def serving(
    folder: Path, account: str, *, permissions: Sequence[str] = (), stop: signal.Signals = signal.SIGTERM
) -> Iterator[Server]:
    """A server over a store, with a new key for an account. Raises BenchmarkFailed."""
    token = a_key(folder, account, permissions)
    with tempfile.TemporaryFile() as log:
        begun = time.perf_counter()
        with listening(folder, log, stop=stop) as (url, process):
            yield Server(url, token, process, time.perf_counter() - begun)


@contextmanager
def listening(
    folder: Path, log: IO[bytes], *options: str, stop: signal.Signals = signal.SIGTERM
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server over a store as soon as it listens: its address and its process. Raises BenchmarkFailed."""
    command = [*handletime(), "serve", "--data", str(folder), "--port", "0", *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        said = (server.stdout.readline() if server.stdout else "").split()
        if not said:
            log.seek(0)
            raise BenchmarkFailed(f"the server does not start:\n{log.read()[-2000:].decode()}")
        yield said[-1], server
    finally:
        server.send_signal(stop)
        server.wait(STOP_S)
