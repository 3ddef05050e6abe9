"""The soak itself: what it would call a leak or a loss, and a few seconds of it on a real server."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from bench.process import ROOT, handletime, run
from bench.soak_events import compare, monday
from bench.soak_watch import MIB, Sample, judge, slope

HOUR_S = 3600.0
LEAKING = """
import sys
if "serve" in sys.orig_argv:
    import os, threading, time
    def leak():
        while True:
            os.dup(0)
            time.sleep(0.2)
    threading.Thread(target=leak, daemon=True).start()
"""


def an_hour(
    memory: Callable[[float], float] = lambda _at: 500 * MIB,
    descriptors: Callable[[float], float] = lambda _at: 40,
    threads: Callable[[float], float] = lambda _at: 30,
    seconds: float = HOUR_S,
) -> list[Sample]:
    """Samples of a run, from what there is at a moment; twice as fast in the warm-up, as caches fill."""
    found = []
    for number in range(720):
        at = number * seconds / 720
        size = int(memory(at) * min(1.0, 0.5 + 3 * at / seconds))
        counted = (int(descriptors(at)), int(threads(at)))
        found.append(Sample(at, size, size, size, *counted, 0.0, *([0] * 6)))
    return found


def wrong(samples: list[Sample], seconds: float = HOUR_S) -> list[str]:
    """What is not flat."""
    return [each.what for each in judge(samples, seconds) if not each.fine]


MEMORY = ["memory without files", "resident memory"]


@pytest.mark.parametrize(
    ("memory", "found"),
    [
        pytest.param(lambda _at: 500 * MIB, [], id="flat"),
        pytest.param(lambda at: 500 * MIB + 10 * MIB * at / HOUR_S, [], id="an arena more"),
        pytest.param(lambda at: 500 * MIB + 60 * MIB * at / HOUR_S, MEMORY, id="60 MiB an hour"),
        pytest.param(lambda at: 500 * MIB + 30 * MIB * math.sin(at / 95), [], id="waves"),
        pytest.param(lambda at: (900 if 3000 < at < 3100 else 500) * MIB, [], id="a peak"),
        pytest.param(lambda at: (400 if at < 1800 else 500) * MIB, MEMORY, id="a step"),
        pytest.param(lambda at: (600 if at < 2400 else 500) * MIB, [], id="less"),
    ],
)
def test_memory_that_grows_is_told_from_memory_that_waves(memory: Callable[[float], float], found: list[str]) -> None:
    assert wrong(an_hour(memory)) == found


def test_descriptors_and_threads_that_stay_are_told() -> None:
    assert wrong(an_hour(descriptors=lambda at: 40 + at / 120)) == ["open descriptors"]
    assert wrong(an_hour(threads=lambda at: 30 + at / 200)) == ["threads"]
    assert wrong(an_hour(descriptors=lambda at: 40 + at % 5, threads=lambda at: 30 + at % 4)) == []


def test_of_a_short_or_broken_run_nothing_good_is_said() -> None:
    assert wrong(an_hour(lambda at: 500 * MIB + at * MIB, seconds=60), 60) == []
    assert wrong(an_hour()[:300]) == ["samples"]
    assert wrong([]) == ["samples"]


def test_the_slope_is_that_of_most_points() -> None:
    points = [(float(at), 3.0 * at + (1000 if at % 10 == 0 else 0)) for at in range(100)]
    assert slope(points) == pytest.approx(3.0, rel=0.05)


def test_the_days_are_a_week_from_monday_on_that_is_over() -> None:
    for day in range(1, 22):
        now = datetime.fromisoformat(f"2026-11-{day:02}T13:30:00Z")
        start = monday(now)
        assert start.weekday() == 0
        assert 5 <= (now - start).days < 13


def test_a_lost_event_and_one_that_nobody_sent_are_found(tmp_path: Path) -> None:
    sent = tmp_path / "before.ndjson"
    run([*handletime(), "simulate", "--out", str(sent), "--events", "2000"])
    lines = sent.read_bytes().splitlines(keepends=True)
    for name in ("acknowledged-a", "doubtful-a"):
        (tmp_path / f"{name}.ndjson").touch()
    store = ["--data", str(tmp_path / "store")]
    run([*handletime(), "ingest", str(sent), *store])
    run([*handletime(), "export", *store, "--out", str(tmp_path / "export")])
    sound = compare(tmp_path, "0")
    assert (sound["acknowledged"], sound["missing"], sound["strange"], sound["twice"]) == (len(lines), 0, 0, 0)
    lost = {"time": "2099-01-01T00:00:00.000Z", "accountId": "demo", "conversationId": "c", "eventId": "lost"}
    (tmp_path / "acknowledged-a.ndjson").write_text(json.dumps(lost) + "\n")
    sent.write_bytes(b"".join(lines[1:]))
    (tmp_path / "compare.duckdb").unlink()
    broken = compare(tmp_path, "0")
    assert (broken["missing"], broken["strange"]) == (1, 1)
    (tmp_path / "forgotten.txt").write_text("c")
    (tmp_path / "doubtful-a.ndjson").write_bytes(lines[0])
    (tmp_path / "compare.duckdb").unlink()
    removed = compare(tmp_path, "0")
    assert (removed["missing"], removed["strange"]) == (0, 0)


def a_soak(folder: Path, minutes: float, path: str = "") -> subprocess.Popen[str]:
    """A soak whose files are in a folder."""
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "bench.soak", "--minutes", str(minutes), "--samples", str(folder / "samples.csv")],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.long
def test_a_few_seconds_of_it_are_flat(tmp_path: Path) -> None:
    soak = a_soak(tmp_path, 0.25)
    told, _ = soak.communicate(timeout=300)
    assert soak.returncode == 0, told
    assert "All rows are identical" in told
    assert [each.name for each in tmp_path.iterdir()] == ["samples.csv"]


@pytest.mark.long
def test_a_server_that_leaves_descriptors_open_fails_it(tmp_path: Path) -> None:
    (tmp_path / "leaking").mkdir()
    (tmp_path / "leaking" / "sitecustomize.py").write_text(LEAKING)
    soak = a_soak(tmp_path / "soak", 0.25, str(tmp_path / "leaking"))
    told, _ = soak.communicate(timeout=300)
    assert soak.returncode == 1, told
    assert "Failed: open descriptors" in told


@pytest.mark.long
def test_it_can_be_interrupted_and_leaves_nothing(tmp_path: Path) -> None:
    soak = a_soak(tmp_path, 10)
    ends = time.monotonic() + 120
    while not (tmp_path / "samples.csv").exists() and time.monotonic() < ends:
        time.sleep(0.2)
    time.sleep(2)
    soak.send_signal(signal.SIGINT)
    told, _ = soak.communicate(timeout=120)
    assert (soak.returncode, told.count("Traceback")) == (130, 0), told
    assert [each.name for each in tmp_path.iterdir()] == ["samples.csv"]
