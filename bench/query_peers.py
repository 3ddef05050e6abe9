"""What one would ask instead of the service: DuckDB, pandas, Polars and, where it is installed, PostgreSQL.

Each holds the same segments, with everything that is summed as a column, and sums it by the keys of a query. As a
program, one of those that are Python: a line with keys and a number of times comes in, a line with seconds goes out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from bench.process import BenchmarkFailed
from bench.process import ask as ask_program
from bench.results import Progress

INTERVAL_MS: Final = 1_800_000
SUMMED: Final = [
    "abandoned",
    "duration",
    "firstResponse",
    "firstResponseAfterTransfer",
    "firstResponseNew",
    "firstResponses",
    "firstResponsesAfterTransfer",
    "firstResponsesNew",
    "interactive",
    "nonResponsiveAgent",
    "nonResponsiveConsumer",
    "response",
    "responses",
]
"""What the method sums."""
Asks = Callable[[Sequence[str]], int]
"""Sums by keys; says how many groups there are."""
_SETTLE_S: Final = 60


class Peer(Protocol):
    """Something that can be asked."""

    name: str

    def ask(self, keys: Sequence[str], times: int) -> list[float]:
        """Sums everything by the keys, so many times; seconds of each."""


@contextmanager
def started_peers(parquet: Path, start: int, end: int, folder: Path, progress: Progress) -> Iterator[list[Peer]]:
    """All that there are, with the segments of a file that ended in [start, end)."""
    with ExitStack() as stack:
        peers: list[Peer] = []
        for name in ("DuckDB", "pandas", "Polars"):
            progress(f"{name} reads the segments")
            peers.append(stack.enter_context(_python(name, parquet, start, end)))
        if shutil.which("postgres") and shutil.which("initdb") and shutil.which("psql"):
            progress("PostgreSQL reads the segments")
            peers.append(stack.enter_context(_postgres(parquet, start, end, folder)))
        yield peers


class _Python:
    """One that runs in a Python process of its own."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.name, self._process = name, process

    def ask(self, keys: Sequence[str], times: int) -> list[float]:
        """Sums everything by the keys, so many times; seconds of each."""
        if not self._process.stdin or not self._process.stdout:
            raise BenchmarkFailed(f"{self.name} has no pipes")
        self._process.stdin.write(json.dumps([list(keys), times]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkFailed(f"{self.name} ended by itself")
        seconds: list[float] = json.loads(line)
        return seconds


@contextmanager
def _python(name: str, parquet: Path, start: int, end: int) -> Iterator[Peer]:
    command = [sys.executable, "-m", "bench.query_peers", name, str(parquet), str(start), str(end)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        peer = _Python(name, process)
        peer.ask((), 0)  # it has read everything then
        yield peer
    finally:
        process.terminate()
        process.wait(_SETTLE_S)


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


class _Postgres:
    """Asked through psql, which says how long each query took; the rows come over, but are not shown."""

    name = "PostgreSQL"

    def __init__(self, command: Sequence[str], start: int, end: int) -> None:
        self._command, self._start, self._end = [*command], start, end

    def run(self, sql: str) -> str:
        """Runs SQL; what psql prints."""
        command = [*self._command, "-X", "-q", "-v", "ON_ERROR_STOP=1"]
        done = subprocess.run(command, input=sql, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkFailed(f"PostgreSQL: {done.stderr[-1000:]}")
        return done.stdout

    def ask(self, keys: Sequence[str], times: int) -> list[float]:
        """Sums everything by the keys, so many times; seconds of each."""
        slot = f'("end" - {self._start}) / {INTERVAL_MS}'
        chosen = [slot if key == "interval" else f'"{key}"' for key in keys]
        sums = ["count(*)", *(f'sum("{name}")' for name in SUMMED)]
        by = ", ".join(str(place + 1) for place in range(len(keys)))
        sql = f"""select {", ".join([*chosen, *sums])} from segments
            where "end" >= {self._start} and "end" < {self._end} group by {by};"""  # noqa: S608
        said = self.run("\\o /dev/null\n\\timing on\n" + sql * times)
        return [float(found) / 1000 for found in re.findall(r"Time: ([0-9.]+) ms", said)]


@contextmanager
def _postgres(parquet: Path, start: int, end: int, folder: Path) -> Iterator[Peer]:
    """A server of its own in a folder for temporary files, reached through a socket there; it has no other door."""
    csv = folder / "segments.csv"
    names = ["agentId", "skillId", "end", *SUMMED]
    ask_program("query_peers", "csv", parquet, csv)
    folder.chmod(0o711)
    data = folder / "postgres"
    data.mkdir()
    # It refuses to be root.
    other: dict[str, Any] = {} if os.geteuid() else {"user": "nobody", "group": "nogroup", "extra_groups": []}
    if other:
        shutil.chown(data, "nobody", "nogroup")
    data.chmod(0o700)
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": data, **other}
    subprocess.run(["initdb", "-D", data, "-U", "bench", "-A", "trust", "--no-sync"], check=True, **quiet)
    settings = ["listen_addresses=", "shared_buffers=1GB", "work_mem=256MB", f"unix_socket_directories={data}"]
    options = [part for setting in settings for part in ("-c", setting)]
    server = subprocess.Popen(["postgres", "-D", data, *options], **quiet)
    try:
        peer = _Postgres(["psql", "-h", str(data), "-U", "bench", "-d", "postgres"], start, end)
        _until_it_answers(peer)
        columns = ", ".join(f'"{name}" bigint' for name in names)
        peer.run(
            f"""create table segments ({columns});
            \\copy segments from '{csv}' with (format csv)
            create index on segments ("end"); vacuum analyze segments;"""
        )
        csv.unlink()
        yield peer
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(_SETTLE_S)


def _until_it_answers(peer: _Postgres) -> None:
    for _ in range(_SETTLE_S):
        try:
            peer.run("select 1")
        except BenchmarkFailed:
            time.sleep(1)
        else:
            return
    raise BenchmarkFailed("PostgreSQL does not start")


# --- as a program ----------------------------------------------------------------------------------------------------


def duckdb_asks(parquet: Path, start: int, end: int) -> Asks:
    """A table in memory, no time zones: as fast as DuckDB can be asked."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"create table segments as {_READ}", [str(parquet)])

    def asks(keys: Sequence[str]) -> int:
        chosen = [f'("end" - {start}) // {INTERVAL_MS}' if key == "interval" else key for key in keys]
        sums = ", ".join(f'sum("{name}")' for name in SUMMED)
        by = ", ".join(str(place + 1) for place in range(len(keys)))
        sql = f"""select {", ".join(chosen)}, count(*), {sums} from segments
            where "end" >= {start} and "end" < {end} group by {by}"""  # noqa: S608
        return len(next(iter(connection.execute(sql).fetchnumpy().values())))

    return asks


def pandas_asks(parquet: Path, start: int, end: int) -> Asks:
    """A data frame in memory."""
    import duckdb

    segments = duckdb.connect().execute(_READ, [str(parquet)]).df()

    def asks(keys: Sequence[str]) -> int:
        wanted = segments[(segments["end"] >= start) & (segments["end"] < end)]
        if "interval" in keys:
            wanted = wanted.assign(interval=(wanted["end"] - start) // INTERVAL_MS)
        groups = wanted.groupby(list(keys), sort=False)
        return int(groups[SUMMED].sum().assign(segments=groups.size()).shape[0])

    return asks


def polars_asks(parquet: Path, start: int, end: int) -> Asks:
    """A data frame in memory, asked lazily."""
    import duckdb
    import polars as pl

    table = duckdb.connect().sql(_READ, params=[str(parquet)]).to_arrow_table()
    segments = pl.from_arrow(table)
    if not isinstance(segments, pl.DataFrame):
        raise TypeError("a table becomes a data frame")

    def asks(keys: Sequence[str]) -> int:
        chosen = [((pl.col("end") - start) // INTERVAL_MS).alias(k) if k == "interval" else pl.col(k) for k in keys]
        wanted = segments.lazy().filter((pl.col("end") >= start) & (pl.col("end") < end))
        sums = [pl.len().alias("segments"), *(pl.col(name).sum() for name in SUMMED)]
        return len(wanted.group_by(chosen).agg(sums).collect())

    return asks


_READ: Final = f"""select agentId, skillId, epoch_ms("end") as "end", {", ".join(f'"{name}"' for name in SUMMED)}
    from read_parquet(?)"""  # noqa: S608
_PROGRAMS: Final = {"DuckDB": duckdb_asks, "pandas": pandas_asks, "Polars": polars_asks}


def serve(asks: Asks) -> None:
    """Answers lines of keys and times with lines of seconds."""
    for line in sys.stdin:
        keys, times = json.loads(line)
        each = []
        for _ in range(times):
            begun = time.perf_counter()
            asks(keys)
            each.append(time.perf_counter() - begun)
        print(json.dumps(each), flush=True)


def to_csv(parquet: Path, csv: Path) -> None:
    """Writes the segments as CSV, for PostgreSQL."""
    import duckdb

    duckdb.connect().execute(f"copy ({_READ}) to '{csv}' (format csv, header false)", [str(parquet)])
    print("{}")


if __name__ == "__main__":
    if sys.argv[1] == "csv":
        to_csv(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        serve(_PROGRAMS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
