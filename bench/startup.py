"""How long one waits for the command: its help, and a small report, the first time and every other time.

pyarrow loads pandas wherever it is installed, which takes a third of a second. handletime does not need it and only
its peers brought it here; so the commands do not get to see it.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.process import handletime, run
from bench.results import Progress, Section

HELP_SECONDS: Final = 0.3
EVENTS: Final = 5_455
"""As many as the real input has."""
_TIMES: Final = 10


def measure(events: Path, progress: Progress) -> Section:
    """Seconds of whole processes."""
    report = ("report", str(events), "--by", "agent")
    with tempfile.TemporaryDirectory(prefix="handletime-bench-") as folder:
        cache = Path(folder, "compiled")
        environment = {"HANDLETIME_CACHE_DIR": str(cache), "PYTHONPATH": _without_pandas(Path(folder))}
        help_ = statistics.median(_seconds(environment, "--help") for _ in range(_TIMES))
        progress("first report, with nothing compiled yet")
        first = _seconds(environment, *report)
        again = statistics.median(_seconds(environment, *report) for _ in range(5))
        size = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    return Section(
        "Start-up",
        ("", "seconds", "target"),
        [
            (f"handletime --help, median of {_TIMES}", f"{help_:.2f}", f"≤ {HELP_SECONDS}"),
            (f"handletime report, {EVENTS:,} events, the first time", f"{first:.1f}", ""),
            ("the same again, median of 5", f"{again:.2f}", ""),
        ],
        f"The first report on a machine compiles what it needs and keeps it ({size / 1e6:.1f} MB); all others load it.",
    )


def _seconds(environment: Mapping[str, str], *arguments: str) -> float:
    return run([*handletime(), *arguments], environment).seconds


def _without_pandas(folder: Path) -> str:
    """A PYTHONPATH on which pandas is not installed."""
    (folder / "pandas.py").write_text('raise ImportError("not installed")\n')
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
