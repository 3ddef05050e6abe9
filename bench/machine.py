"""The machine and the versions that the numbers belong to; nothing that names it or its owner."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from handletime import __version__

_LIBRARIES: Final = ("pyarrow", "numba", "numpy", "msgspec", "duckdb", "pandas", "polars")


def about(load: float) -> Iterator[str]:
    """Lines of Markdown: when, on what, with what; `load` is the load average when the run began."""
    yield f"- {datetime.now(UTC):%Y-%m-%d}, handletime {__version__}"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield f"- {processors()} cores ({_processor()}), {memory / 2**30:.0f} GiB of memory, {platform.system()}"
    libraries = ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    yield f"- load average before the run: {load:.1f}"
    yield f"- Python {platform.python_version()}, {libraries}"


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
