"""How fast reports are: flat rows of a day as JSON, of a month as CSV, over HTTP."""

from __future__ import annotations

import http.client
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from bench.process import BenchmarkFailed, ask
from bench.results import Progress, Section
from bench.server import Server, serving

SEGMENTS: Final = 1_000_000
DAYS: Final = 30
CONVERSATIONS: Final = 24_000
"""Of a day: with them it has a thirtieth of the segments."""
ACCOUNT: Final = "bench"
REQUESTS: Final = 30
LONG_ONES: Final = 5
_DAY: Final = 86_400_000
FEW: Final = (
    "totalAgentConversationSegments,avgTimetoFirstAgentMessageFromAgentAssignment,avgTimeToResponseFromAgentAssignment,"
    "medianResponseMillis,totalHandleTimeMillis,avgHandleTimeMillis"
)


class Asked(NamedTuple):
    """A report: what it is called, its query, how often it is asked for, and the limits for its median in milliseconds,
    whole or until the first bytes.
    """

    title: str
    query: str
    times: int = REQUESTS
    limit_ms: int | None = None
    first_ms: int | None = None


class Timed(NamedTuple):
    """Seconds until the first bytes and the last, and all bytes."""

    first: float
    last: float
    size: int


def reports(end: int) -> list[Asked]:
    """What is asked of a month of segments that ends there."""
    day, month = (f"from={end - days * _DAY}&to={end}" for days in (1, DAYS))
    fine, coarse = "by=skill,agent&interval=hour", f"{month}&by=skill,agent&interval=day"
    return [
        Asked("skill × agent × hour, a day, 6 metrics, JSON", f"{day}&{fine}&metrics={FEW}", limit_ms=150),
        Asked("… all metrics", f"{day}&{fine}", LONG_ONES),
        Asked("skill × hour, a day, all metrics", f"{day}&by=skill&interval=hour"),
        Asked("agent, a day against the one before", f"{day}&by=agent&compare=previous&metrics={FEW}"),
        Asked("skill × agent × hour, the month, CSV", f"{month}&{fine}&format=csv", LONG_ONES, first_ms=200),
        Asked("skill × agent × day, the month, CSV", f"{coarse}&format=csv", LONG_ONES, first_ms=200),
        Asked("… as Parquet", f"{coarse}&format=parquet", LONG_ONES),
    ]


def measure(progress: Progress) -> Section:
    """Reports of a store. Raises BenchmarkFailed, OSError."""
    place = Path(tempfile.mkdtemp(prefix="handletime-bench-"))
    try:
        folder = place / "store"
        progress(f"filling a store with {SEGMENTS:,} segments")
        made, _ = ask("queries_store", folder, SEGMENTS, DAYS, place / "segments.parquet", "units", CONVERSATIONS)
        with serving(folder, ACCOUNT) as server:
            rows = [_row(asked, server, progress) for asked in reports(made["end"])]
    finally:
        shutil.rmtree(place)
    return Section(
        f"Reports, {made['agent_segments']:,} agent segments of {DAYS} days, 200 agents, 40 skills",
        ("", "answer, MB", "first bytes, p50, ms", "target, ms", "whole, p50, ms", "target, ms"),
        rows,
        "`GET …/report` over HTTP, not compressed, server and client on this machine; the store also "
        f"has {made['skill_segments']:,} skill segments and {made['handle_time_units']:,} handle-time units.",
    )


def _row(asked: Asked, server: Server, progress: Progress) -> tuple[str, ...]:
    _timed(server, asked.query)  # the first one is not among them
    found = [_timed(server, asked.query) for _ in range(asked.times)]
    first, last = (statistics.median(each) for each in ([t.first for t in found], [t.last for t in found]))
    progress(f"{asked.title}: first {1000 * first:.0f} ms, whole {1000 * last:.0f} ms")
    limits = [f"≤ {limit}" if limit else "" for limit in (asked.first_ms, asked.limit_ms)]
    return (
        asked.title,
        f"{found[0].size / 1e6:.1f}",
        f"{1000 * first:.0f}",
        limits[0],
        f"{1000 * last:.0f}",
        limits[1],
    )


def _timed(server: Server, query: str) -> Timed:
    """One report. Raises BenchmarkFailed where it is refused."""
    at = urlsplit(server.url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port or 80, timeout=300)
    headers = {"Authorization": f"Bearer {server.token}", "Accept-Encoding": "identity"}
    try:
        connection.connect()
        begun = time.perf_counter()
        connection.request("GET", f"/api/account/{ACCOUNT}/report?{query}", headers=headers)
        response = connection.getresponse()
        size = len(response.read(1))
        first = time.perf_counter() - begun
        while piece := response.read(1 << 20):
            size += len(piece)
        last = time.perf_counter() - begun
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise BenchmarkFailed(f"a report is answered {response.status}")
    return Timed(first, last, size)
