"""The derivation alone: events in memory to three tables in memory.

As a program: `python -m bench.derivation EVENTS.parquet SMALL.parquet TIMES [one-chunk]`, in a process of its own,
because memory is measured. The compiled code is loaded by a run on the small table. Then the events are read, Arrow
gives back what reading took beyond them, and the high-water mark of the resident set is forgotten. After the first run
the mark says how much memory deriving took *beyond the input*: mark − resident before the first run. Should the input
still have had unused memory around it, then what was resident before reading plus the size of the table counts as
"before" instead, so that memory left over from reading does not flatter deriving. The three tables that come out are
in it.

A table that was read has chunks, and deriving joins them first: a copy of the input, in time and memory. The targets
are for the table as it was read; what it takes where somebody has joined it before stands beside.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

from bench import memory
from bench.process import ask
from bench.results import Section, amount

EVENTS_PER_SECOND: Final = 3_000_000
BYTES_PER_EVENT: Final = 250


class Measured(NamedTuple):
    """What one process measured; `beyond_input` is the peak in bytes, None where the system cannot tell."""

    events: int
    seconds: list[float]
    core_seconds: list[float]
    input: int
    derived: int
    beyond_input: int | None

    def cells(self) -> list[str]:
        """The figures, in the order of the table."""
        beyond = self.beyond_input
        return [
            amount(self.events / min(self.seconds)),
            amount(self.events / statistics.median(self.seconds)),
            amount(self.events / min(self.core_seconds)),
            "not known here" if beyond is None else f"{beyond / self.events:.0f} bytes",
            "not known here" if beyond is None else f"{1 + beyond / self.input:.1f} ×",
            f"{self.input / self.events:.0f} bytes",
            f"{self.derived / self.events:.0f} bytes",
        ]


def measure(events: Path, small: Path, times: int) -> Section:
    """Events a second and memory, beside the targets."""
    as_read, one_chunk = (Measured(**ask("derivation", events, small, times, *how)[0]) for how in ((), ("one-chunk",)))
    figures = [
        f"events a second, best of {times}",
        "events a second, median",
        "events a second of one core, best",
        "peak memory beyond the input, an event",
        "peak with the input, as a multiple of it",
        "the input itself, an event",
        "the three tables, an event",
    ]
    targets = [f"≥ {amount(EVENTS_PER_SECOND)}", "", "", f"≤ {BYTES_PER_EVENT} bytes", "", "", ""]
    return Section(
        f"Derivation alone, {as_read.events:,} events in memory",
        ("", "as read from Parquet", "target", "joined to one chunk before"),
        list(zip(figures, as_read.cells(), targets, one_chunk.cells(), strict=True)),
        "An Arrow table to three, in one process, its compiled code loaded. The peak is the high-water mark of the "
        "resident set in the first run, without what was resident before; the three tables are in it, and as read also "
        "the copy that joins the chunks.",
    )


def main(events: Path, small: Path, times: int, *, one_chunk: bool) -> Measured:
    """Derives the events some times over."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from handletime.events.model import with_schema
    from handletime.segments.derive import derive

    derive(with_schema(pq.read_table(small)))
    before_reading = memory.resident()
    table = with_schema(pq.read_table(events))
    if one_chunk:
        table = table.unify_dictionaries().combine_chunks()
    pa.default_memory_pool().release_unused()
    before = min(memory.resident() or 0, (before_reading or 0) + table.nbytes)
    measurable = memory.forget_peak()
    seconds, core_seconds, size, peak = [], [], 0, None
    for number in range(times):
        began, busy = time.perf_counter(), time.process_time()
        derived = derive(table)
        seconds.append(time.perf_counter() - began)
        core_seconds.append(time.process_time() - busy)
        size = sum(part.nbytes for part in derived[:5])
        if number == 0 and measurable:  # later runs begin with what allocators kept of earlier ones
            peak = memory.peak()
        del derived
    beyond = None if peak is None else peak - before
    return Measured(table.num_rows, seconds, core_seconds, table.nbytes, size, beyond)


if __name__ == "__main__":
    one_chunk = sys.argv[4:] == ["one-chunk"]
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), one_chunk=one_chunk)._asdict()))
