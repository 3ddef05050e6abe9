"""`handletime simulate`.

Covers: cli/eventfile.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from tests.cli.conftest import Run


def test_simulated_events_are_the_same_for_a_seed_and_can_be_read_in_every_form(run: Run, tmp_path: Path) -> None:
    same = ["--conversations", 30, "--start", "2026-11-20", "--seed", 5]
    for name in ("a.ndjson", "b.ndjson.gz", "c.ndjson.zst", "d.parquet"):
        assert run("simulate", "--out", name, *same).returncode == 0
        assert run("derive", name, "--out", name + ".out").returncode == 0
    tables = {pq.read_table(tmp_path / f"{n}.out" / "agent_segments.parquet").to_pydict().__repr__() for n in
              ("a.ndjson", "b.ndjson.gz", "c.ndjson.zst", "d.parquet")}  # fmt: skip
    assert len(tables) == 1
    assert run("simulate", "--out", "-", *same).stdout == (tmp_path / "a.ndjson").read_text()
