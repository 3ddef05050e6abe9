"""`python -m bench`: measures, prints tables, and writes RESULTS.md after a full run."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from bench import (
    compare,
    derivation,
    end_to_end,
    focus,
    history,
    ingest,
    ingest_stored,
    lake,
    machine,
    mapping,
    queries,
    report,
    startup,
    tracker,
    webhooks,
)
from bench.data import Inputs
from bench.process import BenchmarkFailed, compile_all
from bench.results import RESULTS, Progress, Section, gigabytes, write

EVENTS: Final = 10_000_000
PEER_EVENTS: Final = 1_000_000
SECTIONS: Final = (
    "derivation",
    "end-to-end",
    "startup",
    "peers",
    "ingest",
    "queries",
    "queue",
    "pages",
    "report",
    "lake",
    "history",
    "mapping",
    "webhooks",
    "focus",
    "tracker",
)
WITHOUT_EVENTS: Final[dict[str, Callable[[Progress], Section]]] = {
    "ingest": ingest.measure,
    "queries": queries.measure,
    "queue": queries.measure_queue,
    "pages": queries.measure_pages,
    "report": report.measure,
    "lake": lake.measure,
    "history": history.measure,
    "mapping": mapping.measure,
    "webhooks": webhooks.measure,
    "focus": focus.measure,
    "tracker": tracker.measure,
}
"""Sections that make what they need by themselves."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; gives the exit status."""
    options = _options(arguments)
    load = os.getloadavg()[0]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        inputs = Inputs(options.data)
        if options.forget:
            inputs.forget()
            return 0
        compile_all()
        sections = []
        for section in _measured(inputs, options):
            print(f"\n{section}\n", flush=True)
            sections.append(section)
    except BenchmarkFailed as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; no results were written.", file=sys.stderr)
        return 130
    whole = options.events == EVENTS and options.only == SECTIONS
    out = options.out or (RESULTS if whole else None)
    if out:
        write(out, machine.about(load), sections)
    told(f"written to {out.name}" if out else "not the whole benchmark: RESULTS.md stays as it is (--out FILE writes)")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--events", type=_count, default=EVENTS, help=f"events to derive ({EVENTS:,}); peers: at most {PEER_EVENTS:,}"
    )
    parser.add_argument("--only", type=_sections, default=SECTIONS, metavar="…", help=", ".join(SECTIONS))
    parser.add_argument(
        "--stored", type=_count, help="measure ingest again, into a store of so many events, which is kept in --data"
    )
    parser.add_argument("--times", type=_count, default=3, help="runs of each (3)")
    parser.add_argument("--data", type=Path, help="folder for the simulated events (one for temporary files)")
    parser.add_argument("--forget", action="store_true", help="remove the simulated events, measure nothing")
    parser.add_argument("--out", type=Path, help="file for the results")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    digits = text.replace("_", "").replace(",", "")
    if not digits.isdecimal() or int(digits) < 1:
        raise argparse.ArgumentTypeError("a number from 1")
    return int(digits)


def _sections(text: str) -> tuple[str, ...]:
    wanted = text.split(",")
    if not set(wanted) <= set(SECTIONS):
        raise argparse.ArgumentTypeError(f"one or more of {','.join(SECTIONS)}")
    return tuple(section for section in SECTIONS if section in wanted)


def _measured(inputs: Inputs, options: argparse.Namespace) -> Iterator[Section]:
    many, small = options.events, startup.EVENTS
    few = min(many, PEER_EVENTS)
    parquet, ndjson, times = inputs.parquet, inputs.ndjson, options.times
    steps: dict[str, tuple[int, Callable[[], Section]]] = {
        "derivation": (many, lambda: derivation.measure(parquet(many), parquet(small), times)),
        "end-to-end": (many, lambda: end_to_end.measure(ndjson(many), ndjson(small), times, told)),
        "startup": (small, lambda: startup.measure(ndjson(small), told)),
        "peers": (few, lambda: compare.measure(parquet(few), parquet(small), times, told)),
    }
    for name in options.only:
        if name in WITHOUT_EVENTS:
            told(name)
            yield WITHOUT_EVENTS[name](told)
            if name == "ingest" and options.stored:
                stored = ingest_stored.filled(inputs.folder, options.stored, told)
                yield ingest.measure(told, stored, options.stored)
            continue
        events, measure = steps[name]
        for needed in (small, events):
            if not inputs.has(needed):
                told(f"simulating {needed:,} events (once)")
                inputs.make(needed)
        told(f"{name}, {events:,} events ({gigabytes(inputs.size())} of simulated events in {inputs.folder})")
        yield measure()


_BEGAN: Final = time.monotonic()


def told(what: str) -> None:
    """A line for each step, with the time since the start."""
    print(f"[{time.monotonic() - _BEGAN:6.1f} s] {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
