"""`python -m bench.spark`: the derivation on a standalone cluster of one and of two workers, beside one machine's.

A cluster on loopback, workers of one core; a session for each number of workers, which is warmed up on a tenth of the
events. Prints tables, and writes RESULTS-SPARK.md after a full run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import machine
from bench.data import Inputs
from bench.process import ROOT, BenchmarkFailed, handletime, run
from bench.results import Section, amount, write

EVENTS: Final = 10_000_000
RESULTS: Final = Path(__file__).with_name("RESULTS-SPARK.md")
TARGET: Final = 500_000
TARGET_SCALING: Final = 1.6
STAGES: Final = ("read", "find moves", "send moves", "find losses", "bring together", "derive", "write")
"""What a job's stages do, in their order; Spark calls them all `collect`."""


class Job(NamedTuple):
    """One run: what it took in all, and each of its stages; the bytes of each table."""

    seconds: float
    stages: dict[str, float]
    tables: dict[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.spark", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS, help=f"events to derive ({EVENTS:,})")
    parser.add_argument("--times", type=int, default=3, help="runs of each (3)")
    parser.add_argument("--session", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.session:
        master, events, warm_up, cores = options.session
        return _session(master, Path(events), Path(warm_up), int(cores), options.times)
    load = os.getloadavg()[0]
    try:
        sections = _measured(options.events, options.times)
    except BenchmarkFailed as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    for section in sections:
        print(f"\n{section}\n", flush=True)
    if options.events == EVENTS:
        write(RESULTS, machine.about(load), sections)
    return 0


def _measured(events: int, times: int) -> list[Section]:
    from tests.lake.spark.standalone import a_cluster

    inputs = Inputs()
    for count in (events, events // 10):
        inputs.make(count)
    parquet, small = inputs.parquet(events), inputs.parquet(events // 10)
    here = [_here(parquet) for _ in range(times)]
    print(f"one machine: {', '.join(f'{seconds:.1f} s' for seconds in here)}", file=sys.stderr)
    jobs: dict[int, list[Job]] = {}
    with tempfile.TemporaryDirectory() as folder, a_cluster(Path(folder), workers=2) as cluster:
        for workers in (1, 2):
            command = ["--session", cluster.master, str(parquet), str(small), str(workers), "--times", str(times)]
            told = run([sys.executable, "-m", "bench.spark", *command])
            jobs[workers] = [Job(**job) for job in json.loads(told.output.splitlines()[-1])]
            print(f"{workers}: {', '.join(f'{job.seconds:.1f} s' for job in jobs[workers])}", file=sys.stderr)
    return [
        _speeds(events, times, here, jobs),
        _where(jobs),
        _on_disk(events, parquet.stat().st_size, jobs[2][-1].tables),
    ]


def _here(parquet: Path) -> float:
    with tempfile.TemporaryDirectory() as out:
        return run([*handletime(), "derive", str(parquet), "--out", out]).seconds


def _session(master: str, events: Path, warm_up: Path, cores: int, times: int) -> int:
    """In a process of its own: a session, a warm-up, and so many runs; prints them as JSON."""
    from pyspark.sql import SparkSession

    from handletime.lake.spark import PACKED, derive

    os.environ["PYSPARK_PYTHON"] = sys.executable
    settings: dict[str, bool | float | int | str | None] = {
        "spark.cores.max": str(cores),
        **PACKED,
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.port": "0",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "FATAL",
    }
    spark = SparkSession.builder.master(master).config(map=settings).getOrCreate()
    jobs = []
    for number, source in enumerate([warm_up] + [events] * times):
        out = Path(tempfile.mkdtemp())
        try:
            before = len(_stages(spark))
            begun = time.perf_counter()
            derive(spark, source, out)
            seconds = time.perf_counter() - begun
            found = _stages(spark)[before:]
            names = STAGES if len(found) == len(STAGES) else [str(i) for i in range(len(found))]
            if number:
                jobs.append(Job(seconds, dict(zip(names, found, strict=True)), _sizes(out)))
        finally:
            shutil.rmtree(out)
    spark.stop()
    print(json.dumps([job._asdict() for job in jobs]))
    return 0


def _sizes(lake: Path) -> dict[str, int]:
    return {
        table.name: sum(file.stat().st_size for file in table.rglob("*.parquet"))
        for table in sorted(lake.iterdir())
        if table.name != "runs"
    }


def _stages(spark: Any) -> list[float]:
    """Seconds of each stage that was run, from Spark's own monitoring API."""
    context = spark.sparkContext
    url = f"{context.uiWebUrl}/api/v1/applications/{context.applicationId}/stages?status=complete"
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310
        stages = json.load(answer)
    stages.sort(key=lambda stage: stage["stageId"])
    return [_time(stage["completionTime"]) - _time(stage["submissionTime"]) for stage in stages]


def _time(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text.replace("GMT", "+00:00")).timestamp()


def _speeds(events: int, times: int, here: list[float], jobs: dict[int, list[Job]]) -> Section:
    best = {workers: min(job.seconds for job in runs) for workers, runs in jobs.items()}
    scaling = best[1] / best[2]
    rows = [
        ("`handletime derive`, this machine, all cores", f"{min(here):.1f}", amount(events / min(here)), ""),
        ("Spark, 1 worker of one core", f"{best[1]:.1f}", amount(events / best[1]), ""),
        ("Spark, 2 workers of one core", f"{best[2]:.1f}", amount(events / best[2]), f"≥ {TARGET:,}"),
        ("from one worker to two", "", f"{scaling:.2f} ×", f"≥ {TARGET_SCALING} ×"),
    ]
    return Section(
        f"`handletime derive --spark`, {events:,} events of Parquet to Delta tables",
        ("", "seconds", "events a second", "target"),
        rows,
        f"Best of {times}, after the start of the session and a warm-up on a tenth of the events. The driver, the "
        "workers' Java and their Python share this machine's cores: with two workers there are more processes than "
        "cores.",
    )


def _where(jobs: dict[int, list[Job]]) -> Section:
    best = {workers: min(runs, key=lambda job: job.seconds) for workers, runs in jobs.items()}
    rows = [(name, *(f"{best[workers].stages[name]:.1f}" for workers in (1, 2))) for name in best[2].stages]
    rest = [f"{job.seconds - sum(job.stages.values()):.1f}" for job in (best[1], best[2])]
    return Section(
        "Where the time goes, seconds",
        ("stage", "1 worker", "2 workers"),
        [*rows, ("planning, commits, vacuum", *rest)],
        "Of the best runs, from Spark's monitoring API.",
    )


def _on_disk(events: int, source: int, tables: dict[str, int]) -> Section:
    sizes = {"events, as they were read": source, **tables, "all tables": sum(tables.values())}
    return Section(
        "On disk, bytes an event",
        ("", "bytes"),
        [(name, f"{size / events:.1f}") for name, size in sizes.items()],
        "Parquet with zstd, of the simulated centre; segments with what they add to each sum.",
    )


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
