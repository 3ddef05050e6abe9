"""What a soak sees of the server: its memory, descriptors, threads and files, and whether they are flat."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Final, NamedTuple

MIB: Final = 1 << 20
WARM_UP: Final = 0.3
"""The share of the time that is not judged: caches fill, until what the store began with has been pruned."""
WARM_UP_S: Final = 1080.0
"""So long the allocators take until they ask the system for no more; of a shorter run at least the half is not judged.
"""
MEMORY_SHARE: Final = 0.05
MEMORY_LEAST: Final = 24 * MIB
"""Memory may grow by so much of itself, or by that: arenas of the allocator, caches that are not yet full."""
DESCRIPTORS: Final = 8
THREADS: Final = 6
MEMORY_FROM_S: Final = 1440.0
"""Of a shorter run memory is not judged: it is all warm-up."""
_POINTS: Final = 240
_FILES: Final = ("store.duckdb", "store.duckdb.wal", "side.sqlite", "shelf.sqlite", "sessions.sqlite", "tmp")


class Sample(NamedTuple):
    """The server at one moment; `at` in seconds since the load began, sizes in bytes."""

    at: float
    resident: int
    anonymous: int
    """Memory without a file behind it: heaps and stacks."""
    proportional: int
    descriptors: int
    threads: int
    processor_s: float
    store: int
    log: int
    side: int
    shelf: int
    sessions: int
    tmp: int


class Finding(NamedTuple):
    """One thing that was judged."""

    what: str
    fine: bool
    told: str


def sample(process: int, folder: Path, at: float) -> Sample:
    """Looks at a process and its store. Raises OSError where it is gone or the system has no /proc."""
    place = Path(f"/proc/{process}")
    rollup = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in (place / "smaps_rollup").read_text().splitlines()[1:])
    }
    # The name of the command, which may hold anything, stands in brackets.
    numbers = (place / "stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return Sample(
        at,
        rollup["Rss"],
        rollup["Anonymous"],
        rollup["Pss"],
        len(list((place / "fd").iterdir())),
        int(numbers[17]),
        (int(numbers[11]) + int(numbers[12])) / ticks,
        *(_size(folder, name) for name in _FILES),
    )


def _size(folder: Path, name: str) -> int:
    """Of a file, with SQLite's logs, or of what is in a folder."""
    if name == "tmp":
        return sum(_bytes(each) for each in (folder / name).rglob("*"))
    beside = ("", "-wal", "-shm") if name.endswith(".sqlite") else ("",)
    return sum(_bytes(folder / f"{name}{end}") for end in beside)


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def warm_up_s(planned_s: float) -> float:
    """How much of a run is not judged."""
    return max(WARM_UP * planned_s, min(WARM_UP_S, planned_s / 2))


def judge(samples: Sequence[Sample], planned_s: float) -> Iterator[Finding]:
    """Whether memory, descriptors and threads are flat after the warm-up."""
    later = [each for each in samples if each.at >= warm_up_s(planned_s)]
    if len(later) < 8 or later[-1].at < 0.9 * planned_s:
        yield Finding("samples", fine=False, told=f"only {len(later)} samples after the warm-up: nothing can be said")
        return
    if planned_s >= MEMORY_FROM_S:
        yield _memory("memory without files", later, lambda each: each.anonymous)
        yield _memory("resident memory", later, lambda each: each.resident)
    else:
        yield Finding("memory", fine=True, told=f"not judged in under {MEMORY_FROM_S / 60:.0f} min: all warm-up")
    yield _counted("open descriptors", later, lambda each: each.descriptors, DESCRIPTORS)
    yield _counted("threads", later, lambda each: each.threads, THREADS)


def _memory(what: str, later: Sequence[Sample], of: Callable[[Sample], int]) -> Finding:
    """Has grown where the trend and the medians of the first and the last quarter both say so: one of them alone may
    be a wave of the load. Or by a step: where even the lows of the last quarter are above that first median.
    """
    first, last = _ends(later, of)
    low = statistics.quantiles(map(of, later[-(len(later) // 4) :]), n=10)[0]
    hours = (later[-1].at - later[0].at) / 3600
    trend = slope([(each.at, of(each)) for each in later]) * 3600
    grown = max(min(last - first, trend * hours), low - first)
    allowed = max(MEMORY_LEAST, MEMORY_SHARE * first)
    told = (
        f"{first / MIB:,.0f} MiB, at the end {last / MIB:,.0f} MiB; trend {trend / MIB:+,.1f} MiB an hour; "
        f"grown by {max(grown, 0.0) / MIB:,.1f} MiB (allowed {allowed / MIB:,.0f} MiB)"
    )
    return Finding(what, grown <= allowed, told)


def _counted(what: str, later: Sequence[Sample], of: Callable[[Sample], int], allowed: int) -> Finding:
    first, last = _ends(later, of)
    most = max(map(of, later))
    told = f"{first:.0f}, at the end {last:.0f} (allowed {allowed} more), {most} at most"
    return Finding(what, fine=last - first <= allowed, told=told)


def _ends(later: Sequence[Sample], of: Callable[[Sample], int]) -> tuple[float, float]:
    """The medians of the first and of the last quarter of what is judged."""
    quarter = len(later) // 4
    return statistics.median(map(of, later[:quarter])), statistics.median(map(of, later[-quarter:]))


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The trend a second after Theil and Sen: the median of the slopes between all pairs, which no outlier moves."""
    thinned = points[:: max(1, len(points) // _POINTS)]
    return statistics.median((b - a) / (t - s) for (s, a), (t, b) in combinations(thinned, 2) if t > s)
