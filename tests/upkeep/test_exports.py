"""What is exported: every event, and all that follows from them, under the account and day where it belongs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pyarrow.parquet as pq
import pytest

from handletime.segments.files import SCHEMAS
from handletime.store import now
from handletime.upkeep.export_folder import FILE, RUNNING
from handletime.upkeep.exports import Range, export
from tests.messy_streams import messy_stream
from tests.segments.tables import Row, in_order, rows_of
from tests.store.worlds import Tables, a_store, account_of, derived_rows, requests_of, standing_copies


def exported(folder: Path) -> Tables:
    """The rows of all files. Each has to lie under its account and its day."""
    rows: Tables = {name: [] for name in SCHEMAS}
    for name in SCHEMAS:
        for file in folder.glob(f"{name}/*/*/{FILE}"):
            of_file = rows_of(pq.read_table(file, partitioning=None))
            account, day = file.parts[-3].removeprefix("account="), file.parts[-2].removeprefix("day=")
            assert {(row["accountId"], day_of(row)) for row in of_file} == {(account, day)}
            rows[name] += of_file
    return {name: in_order(found) for name, found in rows.items()}


def day_of(row: Row) -> str:
    end = cast("int | None", row["end"])
    return RUNNING if end is None else str(datetime.fromtimestamp(end / 1000, UTC).date())


@pytest.mark.parametrize("at_once", [250_000, 1])
@pytest.mark.parametrize("seed", range(0, 12, 3))
def test_what_is_exported_is_what_follows_from_the_events(
    seed: int, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ended and running segments, however few open conversations are read at a time, or shown on the page."""
    monkeypatch.setattr(now, "EVENTS_AT_ONCE", at_once)
    monkeypatch.setattr(now, "OPEN_MAX", 1)
    events = standing_copies(messy_stream(seed, accounts=2, events=300, conversations=20))
    expected = derived_rows(events)
    times = sorted(cast("int", row["end"]) for row in expected["handle_time_units"])
    low, high = times[len(times) // 3], times[2 * len(times) // 3]
    running = {row["segmentId"] for row in expected["agent_segments"] if row["end"] is None}
    assert any(row["segmentId"] in running for row in expected["handle_time_units"])

    def among(row: Row, start: int, end: int) -> bool:
        began, ended = cast("int", row["start"]), cast("int | None", row["end"])
        return began < end and (ended is None or start <= ended < end)

    choices: list[tuple[Range, Callable[[Row], bool]]] = [
        (Range(), lambda _row: True),
        (Range(account_of(events[0])), lambda row: row["accountId"] == account_of(events[0])),
        (Range(start=low, end=high), lambda row: among(row, low, high)),
    ]
    with a_store(tmp_path / "store") as store:
        for request in requests_of(events):
            store.ingest(request.account, request.events)
        for place, (asked, is_chosen) in enumerate(choices):
            out = tmp_path / str(place)
            with store.snapshot() as cursor:
                written = export(cursor, out, store.side, asked)
            found = exported(out)
            assert {name: written.rows[name] for name in SCHEMAS} == {name: len(rows) for name, rows in found.items()}
            for name, rows in found.items():
                assert rows == in_order(row for row in expected[name] if is_chosen(row)), (name, asked)
