"""What a user would write instead, on the same events: each peer in alternation with handletime, pair by pair."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.process import BenchmarkFailed, ask
from bench.results import Progress, Section, amount, gigabytes

PEERS: Final = {
    "plain_python": "plain Python",
    "with_pandas": "pandas",
    "with_duckdb": "DuckDB",
    "with_polars": "Polars",
}
_ITSELF: Final = "handletime_itself"


class Run(NamedTuple):
    """One run of a module of `bench.peers`."""

    events: int
    read: float
    derive: float
    busy: float
    peak_bytes: int
    summary: Mapping[str, Any]


def measure(events: Path, small: Path, times: int, progress: Progress) -> Section:
    """Seconds and ratios. Raises BenchmarkFailed if a peer's segments are not handletime's."""
    ours: list[Run] = []
    rows = []
    for name, title in PEERS.items():
        pairs = []
        for number in range(times):
            ours.append(run(_ITSELF, events, small))
            theirs = run(name, events, small)
            check(title, ours[-1].summary, theirs.summary)
            pairs.append((ours[-1], theirs))
            progress(f"{title}, {number + 1} of {times}: {theirs.derive:.2f} s, handletime {ours[-1].derive:.2f} s")
        rows.append(_row(title, [theirs for _, theirs in pairs], *_ratios(pairs)))
    count = ours[0].events
    segments = ours[0].summary["ended"]
    return Section(
        f"What a user would write instead, {count:,} events",
        (
            "",
            "reading, s",
            "deriving, s",
            "core s",
            "events a second",
            "handletime is faster",
            "with reading",
            "peak memory",
        ),
        [_row("handletime", ours, "", ""), *rows],
        f"Each reads the same Parquet file in a process of its own and derives agent segments with outcome, first "
        f"response, responses and handle time; all agree on {segments:,} ended segments, in number, sums and outcomes. "
        f"handletime derives skill segments, handle-time units and ids besides. Medians of {times} pairs, run in "
        "alternation; events a second of deriving alone, core seconds over all cores, of which handletime, DuckDB and "
        "Polars use what there is, pandas and plain Python one. Each module of `bench/peers` says what it leaves out.",
    )


def run(name: str, events: Path, small: Path) -> Run:
    """Runs a module of `bench.peers` once."""
    answer, finished = ask(f"peers.{name}", events, small)
    return Run(
        answer["events"], answer["read"], answer["derive"], answer["busy"], finished.peak_bytes, answer["summary"]
    )


def check(title: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Raises BenchmarkFailed where the two differ."""
    differ = [f"{key}: {theirs[key]}, handletime {ours[key]}" for key in ours if theirs[key] != ours[key]]
    if differ:
        raise BenchmarkFailed(f"{title} does not come to handletime's agent segments: {'; '.join(differ)}")


def _ratios(pairs: list[tuple[Run, Run]]) -> tuple[str, str]:
    """How many times as fast handletime is: deriving alone, and with reading."""
    deriving = statistics.median(theirs.derive / ours.derive for ours, theirs in pairs)
    whole = statistics.median((theirs.read + theirs.derive) / (ours.read + ours.derive) for ours, theirs in pairs)
    return f"{deriving:.1f} ×", f"{whole:.1f} ×"


def _row(title: str, runs: list[Run], *ratios: str) -> tuple[str, ...]:
    read, derive, busy = (statistics.median(getattr(run, name) for run in runs) for name in ("read", "derive", "busy"))
    peak = gigabytes(max(run.peak_bytes for run in runs))
    return title, f"{read:.2f}", f"{derive:.2f}", f"{busy:.2f}", amount(runs[0].events / derive), *ratios, peak
