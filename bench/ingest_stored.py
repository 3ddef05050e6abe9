"""A store that has many events already, made once by the bulk path and kept: what ingest is like in the long run."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Final

from bench.data import require_room
from bench.ingest_data import ACCOUNT, DAY_EVENTS, MESSINESS, SEED, START
from bench.process import handletime, run
from bench.results import Progress

BYTES_PER_EVENT: Final = 120
"""Room on disk that a stored event may need, the store's copy included."""
DAY_BYTES_PER_EVENT: Final = 200


def filled(folder: Path, events: int, progress: Progress) -> Path:
    """The folder of a store with so many events, about: whole days before that of the measurement.

    Raises BenchmarkFailed where the disk is too small.
    """
    store = folder / f"stored-{events}"
    if store.exists():
        return store
    days = -(-events // DAY_EVENTS)
    require_room(folder, events, events * BYTES_PER_EVENT + DAY_EVENTS * DAY_BYTES_PER_EVENT)
    part, day = folder / f"stored-{events}.part", folder / "stored-day.ndjson"
    shutil.rmtree(part, ignore_errors=True)
    try:
        for number in range(days):
            progress(f"storing day {number + 1} of {days}, {events / days:,.0f} events")
            begins = (START - timedelta(days=days - number)).isoformat()
            size = ["--days", "1", "--events", str(events // days), "--seed", str(SEED + 1 + number)]
            messy = ["--messiness", str(MESSINESS), "--bots", "4", "--account", ACCOUNT]
            run([*handletime(), "simulate", "--out", str(day), "--start", begins, *size, *messy])
            run([*handletime(), "ingest", str(day), "--data", str(part)])
    finally:
        day.unlink(missing_ok=True)
    part.rename(store)
    return store
