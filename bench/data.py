"""The simulated events that everything is measured on: made once, kept in a folder for temporary files.

`Inputs` is for who measures; as a program, this module makes the files.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.process import ROOT, BenchmarkFailed, ask

START: Final = datetime(2025, 11, 10, tzinfo=UTC)  # a Monday
DAYS: Final = 7
SEED: Final = 20261120
MESSINESS: Final = 0.01
"""So many events come late or twice, as they do: putting them in order and finding doubles is part of the work."""
BYTES_PER_EVENT: Final = 400
"""Room on disk that one event may need: a line of NDJSON, a row of Parquet, what is spilled and what is derived."""


class Inputs:
    """Files of simulated events in a folder. Those of another version of the simulation are removed."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.gettempdir()) / f"handletime-bench-{os.getuid()}"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._version = _version()
        self._remove("events-*.part")
        for path in self.folder.glob("events-*"):
            if f"-{self._version}." not in path.name:
                path.unlink()

    def has(self, events: int) -> bool:
        """Whether the files are there."""
        return self.ndjson(events).exists()

    def make(self, events: int) -> None:
        """Makes the files if they are not there. Raises BenchmarkFailed where the disk is too small."""
        if self.has(events):
            return
        require_room(self.folder, events, events * BYTES_PER_EVENT)
        try:
            ask("data", events, self.parquet(events), self.ndjson(events))
        finally:
            self._remove("events-*.part")

    def parquet(self, events: int) -> Path:
        """The events as Parquet, with the columns of `model.EVENTS`."""
        return self.folder / f"events-{events}-{self._version}.parquet"

    def ndjson(self, events: int) -> Path:
        """The same events as NDJSON."""
        return self.folder / f"events-{events}-{self._version}.ndjson"

    def forget(self) -> None:
        """Removes all files."""
        self._remove("events-*")

    def size(self) -> int:
        """Bytes that all files take."""
        return sum(path.stat().st_size for path in self.folder.glob("events-*"))

    def _remove(self, pattern: str) -> None:
        for path in self.folder.glob(pattern):
            path.unlink()


def require_room(folder: Path, events: int, need: int) -> None:
    """Raises BenchmarkFailed where the disk has not so many bytes for events."""
    free = shutil.disk_usage(folder).free
    if need > free:
        raise BenchmarkFailed(f"{events:,} events need {need / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free")


def _version() -> str:
    """A digest of all that decides what the events are."""
    package = ROOT / "src" / "handletime"
    sources = [Path(__file__), package / "events" / "model.py", *sorted(package.glob("simulate/*.py"))]
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:10]


def make(events: int, parquet: Path, ndjson: Path) -> int:
    """Writes the events of one simulated week to both files; gives how many there are."""
    import pyarrow.parquet as pq

    from handletime.events.encode import to_ndjson
    from handletime.events.model import EVENTS
    from handletime.simulate.centre import Centre
    from handletime.simulate.simulate import simulate

    centre = Centre(start=START, days=DAYS, seed=SEED, events=events, messiness=MESSINESS)
    rows, unfinished = parquet.with_suffix(".part"), ndjson.with_suffix(".ndjson.part")
    made = 0
    with pq.ParquetWriter(rows, EVENTS, compression="zstd") as writer, unfinished.open("wb") as lines:
        for table in simulate(centre):
            writer.write_table(table)
            lines.write(to_ndjson(table))
            made += table.num_rows
    rows.replace(parquet)
    unfinished.replace(ndjson)
    return made


if __name__ == "__main__":
    print(json.dumps({"events": make(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))}))
