"""What the focus tracker costs in an agent's browser: Chromium at the stub desk, with and without it."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.results import Progress, Section

SECONDS: Final = 90
"""How long an agent works: the length of one view at 40 moves an hour."""
SETTLE_S: Final = 15
"""Seconds for which a browser is left alone before it is measured."""
MOVES: Final = 3
TIMES: Final = 3
TARGET: Final = 1.0
"""Percent of one processor."""


def measure(progress: Progress, seconds: int = SECONDS, times: int = TIMES) -> Section:
    """The processor's time of all of a browser's processes while an agent moves now and then, pair by pair."""
    # Not above: the tests' helpers are not needed for any other section.
    from tests.tracker.office import Office

    with tempfile.TemporaryDirectory(prefix="handletime-bench-") as name:
        folder = Path(name)
        (folder / "office").mkdir()
        office = Office(folder / "office")
        try:
            built = office.tracker(folder / "tracker")
            used: dict[str, list[float]] = {"without": [], "with": []}
            for number in range(times):
                for what, extension in (("without", None), ("with", built)):
                    progress(f"a browser {what} the tracker, {seconds} s")
                    profile = folder / f"{what}-{number}"
                    used[what].append(_percent(office.address, profile, extension, seconds))
                    shutil.rmtree(profile, ignore_errors=True)
        finally:
            office.end()
    more = sorted(a - b for a, b in zip(used["with"], used["without"], strict=True))
    rows = [(f"a browser {what} it", *(f"{each:.2f}" for each in shares)) for what, shares in used.items()]
    return Section(
        f"The focus tracker in an agent's browser: {MOVES} moves in {seconds} s, % of one processor",
        ("", *(f"run {number + 1}" for number in range(times))),
        rows,
        f"All processes of a headless Chromium at the stub desk, {times} pairs in turn. The tracker added "
        f"{more[len(more) // 2]:.2f} % of one processor in the middle pair ({more[0]:.2f} to {more[-1]:.2f}); "
        f"the target is less than {TARGET:.0f} %.",
    )


def _percent(address: str, profile: Path, extension: Path | None, seconds: int) -> float:
    from tests.tracker.browser import Chromium

    with Chromium(profile, extension) as chromium:
        tab = chromium.tab(f"{address}/app/accounts/1/dashboard", window=True)
        tab.until("document.querySelectorAll('#list a').length")
        time.sleep(SETTLE_S)
        before, begun = chromium.cpu_seconds(), time.perf_counter()
        for number in range(MOVES):
            tab.click(f"#list a:nth-child({number % 3 + 1})")
            time.sleep(seconds / MOVES)
        return 100 * (chromium.cpu_seconds() - before) / (time.perf_counter() - begun)
