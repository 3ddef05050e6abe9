"""`handletime derive`: the tables, a summary, and what is refused.

Covers: cli/quality.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import duckdb
import pytest

from handletime.cli.quality import summary
from handletime.segments.derive import Quality
from tests.cli.conftest import Run, events_of


@pytest.mark.parametrize("format_", ["parquet", "csv", "ndjson"])
def test_derive_writes_the_tables_and_a_summary(format_: str, run: Run, tmp_path: Path) -> None:
    done = run("derive", "-", "--out", "out", "--format", format_, stdin=events_of("04-bot-to-human"))
    assert done.returncode == 0, done.stderr
    assert "2 agent segments, 2 skill segments, 2 queue segments, 2 handle-time units" in done.stdout
    names = {"agent_segments", "skill_segments", "queue_segments", "handle_time_units"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{n}.{format_}" for n in names} | {"summary.json"}
    table = (tmp_path / "out" / f"agent_segments.{format_}").as_posix()
    reader = {"parquet": "read_parquet", "csv": "read_csv", "ndjson": "read_json"}[format_]
    rows = duckdb.execute(
        f"""select agentId, totalHandleTimeMillis, responseMillis::varchar, epoch_ms("end"), focusData,
            epoch_ms(queuedSince), responseWaitingSince::varchar, firstMessageIsResponse
        from {reader}('{table}') order by start"""  # noqa: S608
    ).fetchall()
    assert [row[:2] for row in rows] == [(9, None), (2, 69000)]
    assert [row[2].replace(" ", "") for row in rows] == ["[500,1000]", "[40000,30000]"]
    assert [row[3] for row in rows] == [1795165214000, 1795165370000]
    assert [row[4] for row in rows] == [False, True]
    assert [row[5] for row in rows] == [1795165200000, 1795165214000]
    times = ["2026-11-20T09:01:00.000Z"] if format_ == "csv" else ["2026-11-20", "09:01:00"]
    assert all(time in rows[1][6] for time in times)
    assert [row[7] for row in rows] == [True, True]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["events"], summary["conversations"], summary["refused"]) == (13, 1, 0)


def test_a_later_run_replaces_the_files_of_an_earlier_one(run: Run, tmp_path: Path) -> None:
    run("derive", "-", "--out", "out", "--skip-invalid", stdin=b"{}\n" + events_of("01-one-answer"))
    assert (tmp_path / "out" / "refused.ndjson").exists()
    run("derive", "-", "--out", "out", "--format", "csv", stdin=events_of("01-one-answer"))
    assert not (tmp_path / "out" / "refused.ndjson").exists()
    assert not (tmp_path / "out" / "agent_segments.parquet").exists()


def test_bad_lines_stop_it_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.ndjson").write_bytes(events_of("01-one-answer") + b'{"eventId": "x", "type": "opend"}\n')
    done = run("derive", "bad.ndjson", "--out", "out")
    assert done.returncode == 1
    assert "line 9: type: must be one of opened, resumed" in done.stderr
    assert "line 9: conversationId: is missing" in done.stderr
    assert "--skip-invalid" in done.stderr
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    ("duplicates", "differing", "told"),
    [
        (1, 0, "1 duplicate left out"),
        (1, 1, "1 duplicate left out, which says something else than the first"),
        (5, 1, "5 duplicates left out, 1 of them says something else than the first"),
        (5, 2, "5 duplicates left out, 2 of them say something else than the first"),
        (5000, 5000, "5,000 duplicates left out, 5,000 of them say something else than the first"),
    ],
)
def test_duplicates_are_counted_in_good_english(duplicates: int, differing: int, told: str) -> None:
    assert list(summary(Quality(duplicates=duplicates, differing_copies=differing)))[1:] == [told]


def test_skip_invalid_sets_bad_lines_aside_with_reasons(run: Run, tmp_path: Path) -> None:
    bad = b'{"eventId": "x", "conversationId": "c1", "time": 1795165200000, "type": "focused", "agentId": "5"}'
    done = run("derive", "-", "--out", "out", "--skip-invalid", stdin=events_of("01-one-answer") + bad + b"\n")
    assert done.returncode == 0
    assert "1 event refused" in done.stdout
    (line,) = (tmp_path / "out" / "refused.ndjson").read_text().splitlines()
    refused = json.loads(line)
    assert refused["line"] == 9
    assert refused["causes"] == ["line 9: agentId: must be a signed 64-bit integer"]
    assert refused["text"].encode() == bad
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["refused"] == 1


def test_broken_compression_is_told(run: Run, tmp_path: Path) -> None:
    whole = gzip.compress(events_of("01-one-answer"))
    (tmp_path / "cut.ndjson.gz").write_bytes(whole[:-20])
    done = run("derive", "cut.ndjson.gz", "--out", "out")
    assert done.returncode == 1
    assert "cut.ndjson.gz" in done.stderr
    assert not list(tmp_path.glob("out/*"))
