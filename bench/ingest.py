"""How fast events come in, durable, over HTTP and by the bulk path; with whatever is stored already.

The events are those of a simulated day, in the order in which they come in, while some 20,000 conversations are open.
The client is a process of its own on this machine, with requests that are ready beforehand.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

from bench.ingest_data import ACCOUNT, START
from bench.load import Sent
from bench.process import BenchmarkFailed, ask, handletime, run
from bench.results import Progress, Section, amount, gigabytes
from bench.server import Server, a_key, serving


class Phase(NamedTuple):
    """Events that are sent in requests of this size, on so many connections; and what is hoped for."""

    events: int
    size: int
    connections: int
    per_second: int
    p99_ms: int
    most_ms: int = 0


PHASES: Final = (
    Phase(1_200_000, 10_000, 4, 80_000, 500),
    Phase(300_000, 1_000, 4, 45_000, 300),
    Phase(600_000, 1_000, 16, 60_000, 300),
    Phase(30_000, 1, 64, 2_000, 60, 250),
)
BULK: Final = 150_000
BESIDE: Final = Phase(400_000, 10_000, 4, 0, 0)
"""What comes in while queries are asked."""
LOUD: Final = Phase(800_000, 10_000, 16, 0, 0)
"""What one account sends while another sends single events: `QUIET` alone, and as many beside it."""
QUIET: Final = Phase(400, 1, 4, 0, 0)
QUIET_ACCOUNT: Final = "quiet"
QUIET_PER_SECOND: Final = 60.0
QUERIES: Final = 100
QUERIES_MAX: Final = 5_000
OTHERS: Final = (BESIDE, LOUD, QUIET, QUIET)
END: Final = int((START + timedelta(days=1)).timestamp() * 1000)
START_S: Final = 2.0


def measure(progress: Progress, stored: Path | None = None, events: int | None = None) -> Section:
    """Events a second and the time of each answer, with a copy of a store of so many events (a new one).

    Raises BenchmarkFailed, OSError.
    """
    place = Path(tempfile.mkdtemp(prefix="handletime-bench-"))
    try:
        progress("simulating a day")
        made, _ = ask("ingest_data", place, *(phase.events for phase in (*PHASES, *OTHERS)))
        folder = place / "store"
        if stored:
            shutil.copytree(stored, folder)
        progress(f"bulk: {made['before']:,} events")
        bulk = run([*handletime(), "ingest", str(place / "before.ndjson"), "--data", str(folder)])
        rows = [_bulk_row(made["before"], bulk.seconds)]
        with serving(folder, ACCOUNT, permissions=["ingest"], stop=signal.SIGKILL) as server:
            rates = []
            for number, phase in enumerate(PHASES, 1):
                sent = _send(server, place / f"{number}.ndjson", phase)
                rates.append(phase.events / sent.seconds)
                rows.append(_row(phase, sent))
                progress(" ".join(rows[-1]))
            peak = server.peak_bytes()
        with serving(folder, ACCOUNT, permissions=["operations", "ingest"]) as server:
            rows.append(("start after kill -9", "", "", "", f"{server.started_s:.1f} s", f"≤ {START_S:.0f} s"))
            first, *others = (place / f"{number}.ndjson" for number in range(len(PHASES) + 1, len(PHASES) + 5))
            rows += _beside(server, first, rates[0] / 2)
            rows += _quiet(server, a_key(folder, QUIET_ACCOUNT, ["ingest"]), *others)
    finally:
        shutil.rmtree(place)
    full = f"{events:,} events stored before and " if events else ""
    return Section(
        f"Ingest, durable, with {full}{made['open']:,} conversations open",
        ("", "events a second", "target", "p50, ms", "p99, ms (most)", "target"),
        rows,
        "Server and client on this machine; checkpoints are among what is measured. Bulk: `handletime ingest FILE "
        f"--data DIR`, start-up included. The server took {gigabytes(peak)} of memory at most.",
    )


def _send(server: Server, file: Path, phase: Phase, per_second: float | None = None, account: str = ACCOUNT) -> Sent:
    path = f"/api/account/{account}/events"
    pace = [per_second / phase.size] if per_second else []
    sent, _ = ask("load", server.url, path, server.token, file, phase.size, phase.connections, *pace)
    return Sent(sent["seconds"], sent["each"])


def _beside(server: Server, file: Path, per_second: float) -> list[tuple[str, ...]]:
    """What a query takes, alone and while events come in at half the top rate."""
    path = f"/operations/api/account/{ACCOUNT}/msgagentsegments?v=1&timeframe=1440&to={END}"
    server.ask(path, 5)
    alone, _ = server.ask(path, QUERIES)
    beside: list[float] = []
    with ThreadPoolExecutor(1) as threads:
        sending = threads.submit(_send, server, file, BESIDE, per_second)
        while not sending.done() and len(beside) < QUERIES_MAX:
            beside += server.ask(path, 1)[0]
        sending.result()
    before = Sent(sum(alone), alone)
    return [
        _times("a query of a day, alone", before),
        _times(
            f"… beside {amount(per_second)} events a second",
            Sent(sum(beside), beside),
            f"≤ {3000 * before.percentile(0.99):.0f}",
        ),
    ]


def _quiet(server: Server, token: str, loud: Path, alone: Path, beside: Path) -> list[tuple[str, ...]]:
    """What a quiet account's single events take, alone and beside large requests of another account."""
    quiet = server._replace(token=token)
    for file in (alone, beside):
        file.write_bytes(file.read_bytes().replace(f'"{ACCOUNT}"'.encode(), f'"{QUIET_ACCOUNT}"'.encode()))
    before = _send(quiet, alone, QUIET, QUIET_PER_SECOND, QUIET_ACCOUNT)
    with ThreadPoolExecutor(1) as threads:
        sending = threads.submit(_send, server, loud, LOUD)
        time.sleep(1)
        after = _send(quiet, beside, QUIET, QUIET_PER_SECOND, QUIET_ACCOUNT)
        if sending.done():
            raise BenchmarkFailed("the loud account was done before the quiet one")
        sending.result()
    most = f"≤ {3000 * before.percentile(0.99):.0f}"
    return [
        _times("a quiet account's single events, alone", before),
        _times(f"… beside {LOUD.connections} connections of another one, {LOUD.size:,} a request", after, most),
    ]


def _times(what: str, sent: Sent, target: str = "") -> tuple[str, ...]:
    return (what, "", "", *_millis(sent), target)


def _millis(sent: Sent) -> tuple[str, str]:
    """The median, and the 99th percentile with the most."""
    p99 = f"{1000 * sent.percentile(0.99):.0f} ({1000 * max(sent.each):.0f})"
    return f"{1000 * sent.percentile(0.5):.0f}", p99


def _bulk_row(events: int, seconds: float) -> tuple[str, ...]:
    return ("bulk, from a file", amount(events / seconds), f"≥ {amount(BULK)}", "", "", "")


def _row(phase: Phase, sent: Sent) -> tuple[str, ...]:
    what = "single events" if phase.size == 1 else f"requests of {phase.size:,}"
    return (
        f"{what}, {phase.connections} connections",
        amount(phase.events / sent.seconds) if phase.size > 1 else f"{phase.events / sent.seconds:,.0f}",
        f"≥ {amount(phase.per_second)}",
        *_millis(sent),
        f"≤ {phase.p99_ms}" + (f" ({phase.most_ms})" if phase.most_ms else ""),
    )
