"""How fast the service answers, over HTTP on a connection that stays open, beside what one would ask instead.

One store with a million segments of a day for the operations methods, one with seven million of a week for pages.
Rounds go in turns: the server, then each peer, so that what else the machine does hits all alike.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.load import Sent
from bench.process import ask
from bench.query_peers import Peer, started_peers
from bench.results import Progress, Section
from bench.server import Server, serving

SEGMENTS: Final = 1_000_000
QUEUED: Final = 250_000
PAGES: Final = 7_000_000
REQUESTS: Final = 60
ROUNDS: Final = 6
ACCOUNT: Final = "bench"
OPERATIONS: Final = f"/operations/api/account/{ACCOUNT}"
_HOW: Final = (
    f"Each {REQUESTS} times over HTTP, on connections that stay open for a round, server and client on this machine"
)
HANDLE_TIME: Final = f"/api/account/{ACCOUNT}/agent-segments"


class Asked(NamedTuple):
    """A query: what it is called, its path and the limit for its median in milliseconds, if there is one.

    `keys` are what its groups are, for those peers that can be asked the same.
    """

    title: str
    path: str
    limit_ms: int | None = None
    keys: tuple[str, ...] = ()


def queries(end: int) -> list[Asked]:
    """What is asked of a day of segments that ends there."""
    of_day = f"v=1&timeframe=1440&to={end}"
    agents = f"{OPERATIONS}/msgagentsegments?{of_day}&agentIds=all"
    skills = f"{OPERATIONS}/msgskillsegments?{of_day}"
    return [
        Asked("msgagentsegments", agents, 20, ("agentId",)),
        Asked("… skillIds=all", f"{agents}&skillIds=all", 40, ("skillId", "agentId")),
        Asked("… interval=30", f"{agents}&interval=30", 40, ("interval", "agentId")),
        Asked("msgskillsegments", skills),
        Asked("… interval=30", f"{skills}&interval=30"),
        Asked("breakdown of a day", f"{HANDLE_TIME}/breakdown?source=bench&to={end}"),
    ]


def pages(end: int) -> list[Asked]:
    """What is asked of a week of segments that ends there."""
    week = f"{HANDLE_TIME}?source=bench&from={end - 7 * 86_400_000}&to={end}"
    return [
        Asked("Date, first page", week, 20),
        Asked("Date, offset 6,000,000", f"{week}&offset=6000000", 100),
        Asked("Agent, first page", f"{week}&sort=Agent"),
        Asked("Agent, offset 6,000,000", f"{week}&sort=Agent&offset=6000000"),
        Asked("Employee, offset 3,000,000", f"{week}&sort=Employee&offset=3000000"),
        Asked("Skill, offset 3,000,000", f"{week}&sort=Skill&offset=3000000"),
        Asked("Conversation, first page", f"{week}&sort=Conversation"),
        Asked("Date, one agent", f"{week}&AgentId=903000000000"),
        Asked("Date, one skill, offset 50,000", f"{week}&SkillId=1&offset=50000"),
    ]


def measure(progress: Progress) -> Section:
    """The operations methods and the breakdown, with peers. Raises BenchmarkFailed, OSError."""
    with filled(SEGMENTS, 1, progress, with_units=True) as (folder, made, parquet), ExitStack() as stack:
        end = made["end"]
        server = stack.enter_context(serving(folder, ACCOUNT))
        peers = stack.enter_context(started_peers(parquet, end - 86_400_000, end, folder.parent, progress))
        rows = [_row(asked, server, peers, progress) for asked in queries(end)]
        heads = [part for peer in peers for part in (f"{peer.name} p50, ms", "ratio")]
    return Section(
        f"Queries, {made['agent_segments']:,} agent segments of a day, 200 agents, 40 skills",
        ("", "answer, KB", "p50, ms", "p95, ms", "target, ms", *heads),
        rows,
        f"{_HOW}; the store also has "
        f"{made['skill_segments']:,} skill segments and {made['handle_time_units']:,} handle-time units. Peers have "
        "the same segments, with all that is summed as ready columns, and answer the finest grouping alone: no "
        "averages, no totals, no JSON, no HTTP; all but PostgreSQL hold them in memory. Rounds in turns; a ratio above "
        "1 says how many times as long the peer takes.",
    )


def measure_queue(progress: Progress) -> Section:
    """The queue now and over a day, of two sizes. Raises BenchmarkFailed, OSError."""
    rows, sizes = [], []
    for segments in (QUEUED, SEGMENTS):
        with filled(segments, 1, progress, with_units=False) as (folder, made, _), serving(folder, ACCOUNT) as server:
            of_day = f"v=1&timeframe=1440&to={made['end']}"
            asked = [
                Asked("msgqueuehealth/current", f"{OPERATIONS}/msgqueuehealth/current?v=1", 25),
                Asked("… of one skill", f"{OPERATIONS}/msgqueuehealth/current?v=1&skillIds=3&metrics=waittimes"),
                Asked("msgqueuehealth", f"{OPERATIONS}/msgqueuehealth?{of_day}"),
                Asked("… interval=5", f"{OPERATIONS}/msgqueuehealth?{of_day}&interval=5", 80),
                Asked("msgconversation", f"{OPERATIONS}/msgconversation?{of_day}&skillIds=all"),
            ]
            rows += [_row(each, server, [], progress) for each in asked]
        sizes.append(
            f"{made['queue_segments']:,} queue segments that ended and {made['skill_segments']:,} skill segments"
        )
    return Section(
        f"The queue, {made['running_queue_segments']:,} conversations that wait, 40 skills, and a day",
        ("", "answer, KB", "p50, ms", "p95, ms", "target, ms"),
        rows,
        f"{_HOW}; first a day with {sizes[0]}, then one with {sizes[1]}. `interval=5` makes 288 intervals × 40 skills.",
    )


def measure_pages(progress: Progress) -> Section:
    """Pages of agent segments. Raises BenchmarkFailed, OSError."""
    with filled(PAGES, 7, progress, with_units=False) as (folder, made, _), serving(folder, ACCOUNT) as server:
        rows = [_row(asked, server, [], progress) for asked in pages(made["end"])]
    return Section(
        f"Pages of 100 of {made['agent_segments']:,} agent segments of a week",
        ("", "answer, KB", "p50, ms", "p95, ms", "target, ms"),
        rows,
        f"{_HOW}.",
    )


@contextmanager
def filled(
    segments: int, days: int, progress: Progress, *, with_units: bool
) -> Iterator[tuple[Path, dict[str, Any], Path]]:
    """A store in a folder that is removed afterwards, what it has, and its segments as Parquet."""
    place = Path(tempfile.mkdtemp(prefix="handletime-bench-"))
    try:
        folder, parquet = place / "store", place / "segments.parquet"
        progress(f"filling a store with {segments:,} segments")
        made, _ = ask("queries_store", folder, segments, days, parquet, "units" if with_units else "none")
        yield folder, made, parquet
    finally:
        shutil.rmtree(place)


def _row(asked: Asked, server: Server, peers: list[Peer], progress: Progress) -> tuple[str, ...]:
    _, size = server.ask(asked.path, 1)  # the first one is not among them
    ours: list[float] = []
    theirs: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for _ in range(ROUNDS):
        seconds, _ = server.ask(asked.path, REQUESTS // ROUNDS)
        ours += seconds
        for peer in peers if asked.keys else []:
            theirs[peer.name] += peer.ask(asked.keys, REQUESTS // ROUNDS)
    sent = Sent(sum(ours), ours)
    median = sent.percentile(0.5)
    cells = []
    for peer in peers:
        if theirs[peer.name]:
            middle = statistics.median(theirs[peer.name])
            cells += [f"{1000 * middle:.1f}", f"{middle / median:.1f} ×"]
        else:
            cells += ["", ""]
    progress(f"{asked.title}: {1000 * median:.1f} ms")
    limit = f"≤ {asked.limit_ms}" if asked.limit_ms else ""
    figures = (f"{size / 1000:,.0f}", f"{1000 * median:.1f}", f"{1000 * sent.percentile(0.95):.1f}", limit)
    return (asked.title, *figures, *cells)
