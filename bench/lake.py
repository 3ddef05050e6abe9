"""How fast a server over tables answers, beside one over a store with the same rows."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.load import Sent
from bench.process import BenchmarkFailed, ask, handletime, run
from bench.queries import ACCOUNT, REQUESTS, ROUNDS, SEGMENTS, filled, queries
from bench.results import Progress, Section, gigabytes
from bench.server import STOP_S, Server, serving

LIMIT_MS: Final = {"msgagentsegments": 100}
"""The targets of the medians."""


def measure(progress: Progress) -> Section:
    """The operations methods and the breakdown over a day of segments. Raises BenchmarkFailed, OSError."""
    with filled(SEGMENTS, 1, progress, with_units=True) as (folder, made, _):
        lake = folder.parent / "lake"
        progress("writing the same rows as tables")
        tables, _ = ask("lake_tables", folder, lake, ACCOUNT, made["end"])
        with serving(folder, ACCOUNT) as store, serving_lake(lake) as server:
            rows = [_row(asked.title, asked.path, store, server, progress) for asked in queries(made["end"])]
            peak = server.peak_bytes()
    return Section(
        f"Queries over tables, {made['agent_segments']:,} agent segments of a day",
        ("", "store p50, ms", "tables p50, ms", "tables p95, ms", "target, ms", "ratio"),
        rows,
        f"Each {REQUESTS} times over HTTP, rounds in turns; the ratio says how many times as long as over the store it "
        f"takes over the tables: {tables['files']} Parquet files of {gigabytes(tables['bytes'])}, read anew for each "
        f"answer. The server took {gigabytes(peak)} of memory at most.",
    )


def _row(title: str, path: str, store: Server, lake: Server, progress: Progress) -> tuple[str, ...]:
    each: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for server, seconds in zip((store, lake), each, strict=True):
            server.ask(path, 1)  # the first one of a round is not among them
            seconds += server.ask(path, REQUESTS // ROUNDS)[0]
    ours, tables = (Sent(sum(seconds), seconds) for seconds in each)
    middles = [1000 * sent.percentile(0.5) for sent in (ours, tables)]
    progress(f"{title}: {middles[0]:.1f} ms over the store, {middles[1]:.1f} ms over tables")
    limit = f"≤ {LIMIT_MS[title]}" if title in LIMIT_MS else ""
    p95 = f"{1000 * tables.percentile(0.95):.1f}"
    return title, f"{middles[0]:.1f}", f"{middles[1]:.1f}", p95, limit, f"{middles[1] / middles[0]:.1f} ×"


@contextmanager
def serving_lake(lake: Path) -> Iterator[Server]:
    """A server over tables, with a new key. Raises BenchmarkFailed."""
    keys = lake.parent / "keys.json"
    made = run([*handletime(), "keys", "create", ACCOUNT, "--file", str(keys), "--json"])
    command = [*handletime(), "serve", "--lake", str(lake), "--keys", str(keys), "--port", "0"]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            said = (server.stdout.readline() if server.stdout else "").split()
            if not said:
                log.seek(0)
                raise BenchmarkFailed(f"the server does not start:\n{log.read()[-2000:].decode()}")
            yield Server(said[-1], json.loads(made.output)["token"], server, 0.0)
        finally:
            server.terminate()
            server.wait(STOP_S)
