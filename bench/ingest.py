"""How fast events come in, durable, over HTTP and by the bulk path; with whatever is stored already.

The events are those of a simulated day, in the order in which they come in, while some 20,000 conversations are open.
The client is a process of its own on this machine, with requests that are ready beforehand.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from bench.ingest_data import ACCOUNT
from bench.load import Sent
from bench.process import ask, handletime, run
from bench.results import Section, Told, amount, gigabytes
from bench.server import Server, serving


class Phase(NamedTuple):
    """Events that are sent in requests of this size, on so many connections; and what is hoped for."""

    events: int
    size: int
    connections: int
    per_second: int
    p99_ms: int


PHASES: Final = (
    Phase(1_200_000, 10_000, 4, 60_000, 1000),
    Phase(300_000, 1_000, 4, 30_000, 1000),
    Phase(600_000, 1_000, 16, 60_000, 1000),
    Phase(30_000, 1, 64, 2_000, 250),
)
BULK: Final = 100_000
START_S: Final = 2.0


def measure(told: Told) -> Section:
    """Events a second and the time of each answer. Raises BenchmarkFailed, OSError."""
    place = Path(tempfile.mkdtemp(prefix="handletime-bench-"))
    try:
        told("simulating a day")
        made, _ = ask("ingest_data", place, *(phase.events for phase in PHASES))
        folder = place / "store"
        told(f"bulk: {made['before']:,} events into a new store")
        bulk = run([*handletime(), "ingest", str(place / "before.ndjson"), "--data", str(folder)])
        rows = [_bulk_row(made["before"], bulk.seconds)]
        with serving(folder, ACCOUNT, permissions=["ingest"], stop=signal.SIGKILL) as server:
            for number, phase in enumerate(PHASES, 1):
                rows.append(_row(phase, _send(server, place / f"{number}.ndjson", phase)))
                told(" ".join(rows[-1]))
            peak = server.peak_bytes()
        with serving(folder, ACCOUNT) as server:
            rows.append(("start after kill -9", "", "", "", f"{server.started_s:.1f} s", f"≤ {START_S:.0f} s"))
    finally:
        shutil.rmtree(place)
    return Section(
        f"Ingest, durable, while {made['open']:,} conversations are open",
        ("", "events a second", "target", "p50, ms", "p99, ms (most)", "target"),
        rows,
        "Server and client on this machine; checkpoints are among what is measured. Bulk: `handletime ingest FILE "
        f"--data DIR` into a new store, start-up included. The server took {gigabytes(peak)} of memory at most.",
    )


def _send(server: Server, file: Path, phase: Phase) -> Sent:
    path = f"/api/account/{ACCOUNT}/events"
    sent, _ = ask("load", server.url, path, server.token, file, phase.size, phase.connections)
    return Sent(sent["seconds"], sent["each"])


def _bulk_row(events: int, seconds: float) -> tuple[str, ...]:
    return ("bulk, from a file", amount(events / seconds), f"≥ {amount(BULK)}", "", "", "")


def _row(phase: Phase, sent: Sent) -> tuple[str, ...]:
    what = "single events" if phase.size == 1 else f"requests of {phase.size:,}"
    return (
        f"{what}, {phase.connections} connections",
        amount(phase.events / sent.seconds) if phase.size > 1 else f"{phase.events / sent.seconds:,.0f}",
        f"≥ {amount(phase.per_second)}",
        f"{1000 * sent.percentile(0.5):.0f}",
        f"{1000 * sent.percentile(0.99):.0f} ({1000 * max(sent.each):.0f})",
        f"≤ {phase.p99_ms}",
    )
