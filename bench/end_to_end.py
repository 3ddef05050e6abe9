"""`handletime derive` as a user calls it: NDJSON on disk to three Parquet files."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from bench.process import handletime, run
from bench.results import Progress, Section, amount, gigabytes

EVENTS_PER_SECOND: Final = 600_000
MEMORY: Final = ("", "512MiB", "8GiB")
"""What `--memory` is set to; the first is the default, for which the target holds."""


class Run(NamedTuple):
    """One run of the command."""

    events: int
    seconds: float
    peak_bytes: int


def measure(events: Path, small: Path, times: int, progress: Progress) -> Section:
    """Events a second and peak memory, with different settings of `--memory` in alternation."""
    _into_the_page_cache(events)
    derive(small, "")  # compiles, if nothing has yet
    runs: dict[str, list[Run]] = {setting: [] for setting in MEMORY}
    for number in range(times):
        for setting in MEMORY:
            runs[setting].append(derive(events, setting))
            progress(
                f"derive --memory {setting or 'default'}, {number + 1} of {times}: {runs[setting][-1].seconds:.1f} s"
            )
    size = events.stat().st_size
    count = runs[""][0].events
    return Section(
        f"`handletime derive` end to end, {count:,} events of NDJSON ({gigabytes(size)}) to Parquet",
        ("--memory", "seconds", "events a second", "target", "MB a second", "peak memory"),
        [_row(setting, runs[setting], size) for setting in MEMORY],
        f"A process from its start to its end, best of {times}; the file is in the page cache. Memory is a setting: "
        "what does not fit is spilled to disk in parts.",
    )


def _row(setting: str, runs: list[Run], size: int) -> tuple[str, ...]:
    best = min(runs, key=lambda run: run.seconds)
    return (
        setting or "default (2GiB)",
        f"{best.seconds:.1f}",
        amount(best.events / best.seconds),
        "" if setting else f"≥ {amount(EVENTS_PER_SECOND)}",
        f"{size / best.seconds / 1e6:.0f}",
        gigabytes(max(run.peak_bytes for run in runs)),
    )


def derive(events: Path, memory: str) -> Run:
    """Runs the command once, into a folder that is removed again."""
    setting = ["--memory", memory] if memory else []
    with tempfile.TemporaryDirectory(dir=events.parent, prefix="out-") as out:
        finished = run([*handletime(), "derive", str(events), "--out", out, *setting])
        count = json.loads(Path(out, "summary.json").read_bytes())["events"]
    return Run(count, finished.seconds, finished.peak_bytes)


def _into_the_page_cache(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
