"""The commands as a user runs them: a real process, real files."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from handletime.answers.registry import METRICS
from handletime.cli.quality import summary
from handletime.segments.derive import Quality
from tests.cli.test_serve import run_anew
from tests.crash.nursery import shared

Run = Callable[..., subprocess.CompletedProcess[str]]
GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs handletime in a folder of its own."""

    def run_in_folder(*arguments: object, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[str]:
        return shared().done(*arguments, stdin=stdin, cwd=tmp_path, env={"COLUMNS": "120", **env})

    return run_in_folder


def events_of(case: str) -> bytes:
    """The events of one of the ten examples, as NDJSON."""
    events = json.loads((GOLDEN / "examples" / f"{case}.json").read_text())["events"]
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


@pytest.mark.parametrize("command", [[], ["derive"], ["report"], ["explain"], ["simulate"], ["import", "liveperson"]])
def test_help_teaches(command: list[str], run: Run) -> None:
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert all(len(line) <= 100 for line in done.stdout.splitlines())


@pytest.mark.parametrize("format_", ["parquet", "csv", "ndjson"])
def test_derive_writes_the_three_tables_and_a_summary(format_: str, run: Run, tmp_path: Path) -> None:
    done = run("derive", "-", "--out", "out", "--format", format_, stdin=events_of("04-bot-to-human"))
    assert done.returncode == 0, done.stderr
    assert "2 agent segments, 2 skill segments, 2 handle-time units" in done.stdout
    names = {"agent_segments", "skill_segments", "handle_time_units"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{n}.{format_}" for n in names} | {"summary.json"}
    table = (tmp_path / "out" / f"agent_segments.{format_}").as_posix()
    reader = {"parquet": "read_parquet", "csv": "read_csv", "ndjson": "read_json"}[format_]
    rows = duckdb.execute(
        f"""select agentId, totalHandleTimeMillis, responseMillis::varchar, epoch_ms("end"), focusData
        from {reader}('{table}') order by start"""  # noqa: S608
    ).fetchall()
    assert [row[:2] for row in rows] == [(9, None), (2, 69000)]
    assert [row[2].replace(" ", "") for row in rows] == ["[500,1000]", "[40000,30000]"]
    assert [row[3] for row in rows] == [1795165214000, 1795165370000]
    assert [row[4] for row in rows] == [False, True]
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


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["derive", "nowhere.ndjson", "--out", "out"], "nowhere.ndjson: there is no such file"),
        (["derive", ".", "--out", "out"], "is a folder"),
        (["report", "-", "--account", "a b"], "letters and digits"),
        (["report", "-", "--metrics", "avgMood"], "avgMood: no such metric"),
        (["report", "-", "--from", "yesterday"], "write 2026-11-20T09:00:00Z"),
        (["derive", "-", "--out", "out", "--memory", "much"], "write 500MB, 2GiB"),
        (["explain", "-", "--conversation", "c7"], "there is no conversation c7"),
        (["simulate", "--out", "day.txt"], "name it .ndjson"),
        (["simulate", "--out", "day.ndjson", "--events", "5", "--conversations", "5"], "exclude each other"),
    ],
)
def test_errors_say_what_to_do(arguments: list[str], told: str, run: Run) -> None:
    done = run(*arguments, stdin=events_of("01-one-answer"))
    assert done.returncode in (1, 2)
    assert told in " ".join(done.stderr.split())


def test_broken_compression_is_told(run: Run, tmp_path: Path) -> None:
    whole = gzip.compress(events_of("01-one-answer"))
    (tmp_path / "cut.ndjson.gz").write_bytes(whole[:-20])
    done = run("derive", "cut.ndjson.gz", "--out", "out")
    assert done.returncode == 1
    assert "cut.ndjson.gz" in done.stderr
    assert not list(tmp_path.glob("out/*"))


def test_report_has_every_metric_by_agent_as_json(run: Run) -> None:
    done = run("report", "-", "--by", "agent", "--format", "json", stdin=events_of("03-two-conversations-one-focus"))
    answer = json.loads(done.stdout)
    (row,) = answer["rows"]
    assert set(row) == {"agentId", *METRICS}
    assert row["totalAgentConversationSegments"] == 2
    assert row["avgTimetoFirstAgentMessageFromAgentAssignment"] == 49000
    assert row["medianFirstResponseMillis"] == 35000
    assert (row["medianHandleTimeMillis"], row["totalHandleTimeMillis"]) == (15000, 80000)
    assert row["interactiveAgentSegmentPercent"] == 100
    assert answer["from"] == "2026-11-20T09:01:40.000Z"


def test_report_never_says_that_unknown_handle_time_is_zero(run: Run) -> None:
    """Example 10 has no focus event."""
    events = events_of("10-not-the-assigned-agent")
    as_json = json.loads(run("report", "-", "--by", "agent", "--format", "json", stdin=events).stdout)
    assert {row["avgHandleTimeMillis"] for row in as_json["rows"]} == {None}
    assert {row["totalHandleTimeMillis"] for row in as_json["rows"]} == {None}
    assert "no focus data" in run("report", "-", "--by", "agent", stdin=events).stdout


def test_report_takes_windows_and_intervals(run: Run) -> None:
    events = events_of("03-two-conversations-one-focus")
    counted = "totalAgentConversationSegments"
    done = run("report", "-", "--interval", 1, "--metrics", counted, "--format", "csv", stdin=events)
    assert done.stdout.splitlines() == [
        f"interval,{counted}",
        "2026-11-20T09:01:00.000Z,1",
        "2026-11-20T09:02:00.000Z,1",
    ]
    window = ["--from", "2026-11-20T09:01:40Z", "--to", "2026-11-20T09:02:10Z"]
    done = run("report", "-", *window, "--metrics", counted.lower(), "--format", "json", stdin=events)
    assert json.loads(done.stdout)["rows"] == [{counted: 1}]


CLOSES = ["2025-10-25T22:30:00Z", "2025-10-26T00:30:00Z", "2025-10-26T01:30:00Z", "2025-10-26T23:10:00Z"]
"""In Berlin 00:30, 02:30 twice and 00:10 of the next day: clocks are put back at 03:00."""


def closed_at(*times: str, user_type: str = "human") -> bytes:
    """A conversation for each time, in which an agent is assigned and the consumer closes."""
    kinds: list[dict[str, object]] = [
        {"type": "opened", "skillId": 7},
        {"type": "assigned", "agentId": 1 if user_type == "human" else 9, "userType": user_type},
        {"type": "closed", "closedBy": "consumer"},
    ]
    events = (
        {"conversationId": f"{user_type} {time}", "eventId": str(place), "time": time, **kind}
        for time in times
        for place, kind in enumerate(kinds)
    )
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def test_report_cuts_by_the_clock_of_a_zone(run: Run) -> None:
    counted, events = "totalAgentConversationSegments", closed_at(*CLOSES)
    options = ["report", "-", "--metrics", counted, "--tz", "europe/berlin", "--format", "csv", "--interval"]
    assert run(*options, "day", stdin=events).stdout.splitlines() == [
        f"interval,{counted}",
        "2025-10-26T00:00:00.000+02:00,3",
        "2025-10-27T00:00:00.000+01:00,1",
    ]
    assert run(*options, 1440, stdin=events).stdout == run(*options, "DAY", stdin=events).stdout
    hours = run(*options, "hour", stdin=events).stdout.splitlines()[1:]
    assert len(hours) == 26, "a day of 25 hours, and the first one of the next"
    assert hours[1:5] == [
        "2025-10-26T01:00:00.000+02:00,0",
        "2025-10-26T02:00:00.000+02:00,1",
        "2025-10-26T02:00:00.000+01:00,1",
        "2025-10-26T03:00:00.000+01:00,0",
    ]
    dates = ["--from", "2025-10-26", "--to", "2025-10-27"]
    answer = json.loads(run("report", "-", *dates, "--tz", "Europe/Berlin", "--format", "json", stdin=events).stdout)
    assert (answer["from"], answer["to"]) == ("2025-10-26T00:00:00.000+02:00", "2025-10-27T00:00:00.000+01:00")
    assert answer["rows"][0][counted] == 3
    answer = json.loads(run("report", "-", *dates, "--format", "json", stdin=events).stdout)
    assert (answer["from"], answer["to"]) == ("2025-10-26T00:00:00.000Z", "2025-10-27T00:00:00.000Z")


def test_report_says_on_the_terminal_whose_clock_it_shows_and_which_of_two_hours(run: Run) -> None:
    done = run("report", "-", "--tz", "Europe/Berlin", "--interval", "hour", stdin=closed_at(*CLOSES))
    assert "from 2025-10-26 00:00 to 2025-10-27 00:10:00.001 (Europe/Berlin)" in done.stdout
    assert "2025-10-26 02:00 +02:00 " in done.stdout
    assert "2025-10-26 02:00 +01:00 " in done.stdout
    assert "2025-10-26 03:00 " in done.stdout
    assert "03:00 +" not in done.stdout


@pytest.mark.parametrize(
    ("user_type", "agents"), [("human", ["1"]), ("bot", ["9"]), ("all", ["1", "9"]), (None, ["1", "9"])]
)
def test_report_leaves_bots_out_where_it_is_told_to(run: Run, user_type: str | None, agents: list[str]) -> None:
    events = closed_at(*CLOSES) + closed_at(CLOSES[0], user_type="bot")
    only = [] if user_type is None else ["--user-type", user_type]
    counted = ["--metrics", "totalAgentConversationSegments,totalSkillConversationSegments", "--format", "csv"]
    found = run("report", "-", *only, *counted, "--by", "agent", stdin=events).stdout.splitlines()[1:]
    assert [row.partition(",")[0] for row in found] == agents
    number = str(sum({"1": 4, "9": 1}[agent] for agent in agents))
    assert run("report", "-", *only, *counted, stdin=events).stdout.splitlines()[1] == f"{number},{number}"
    table = run("report", "-", *only, stdin=events).stdout
    assert table.startswith(
        {"human": "Segments of human agents", "bot": "Segments of bots"}.get(str(user_type), "Segments that")
    )
    assert ("no focus data" in table) is (user_type != "bot"), "bots do not handle"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--tz", "localtime"], "'localtime' is no time zone; write its IANA name, such as Europe/Berlin"),
        (["--tz", "posix/Europe/Berlin"], "is no time zone"),
        (["--interval", "0"], "'0' is no interval; write a number of minutes (up to 999999), or hour, day or week"),
        (["--interval", "month"], "is no interval"),
        (["--interval", "1000000"], "a number of minutes (up to 999999)"),
        (["--interval", "hour", "--from", "0001-01-01"], "--interval cuts the time in more than 1,000,000"),
        (["--interval", "1", "--from", "1990-01-01"], "--interval cuts the time in more than 1,000,000"),
        (["--from", "2026-02-30"], "write 2026-11-20T09:00:00Z, 2026-11-20 or epoch milliseconds"),
        (["--user-type", "robot"], "is not one of 'human', 'bot', 'all'"),
    ],
)
def test_report_says_what_an_option_may_be(run: Run, options: list[str], told: str) -> None:
    done = run("report", "-", *options, stdin=closed_at(*CLOSES))
    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())


def test_help_says_that_bots_are_counted_unless_they_are_left_out(run: Run) -> None:
    told = " ".join(run("report", "--help").stdout.split())
    assert "`all` counts both together. [default: all]" in told


@pytest.mark.parametrize("format_", ["csv", "json", "table"])
def test_report_knows_unknown_from_nothing(run: Run, format_: str) -> None:
    """Of two agents who handled nothing only one has focus data."""
    focused = b'{"conversationId": "x", "eventId": "f", "time": 1000000000000, "type": "focused", "agentId": 9}\n'
    seen = closed_at(CLOSES[0], user_type="bot").replace(b'"bot"', b'"human"') + focused
    options = ["--by", "agent", "--metrics", "totalHandleTimeMillis,avgHandleTimeMillis", "--format", format_]
    found = run("report", "-", *options, stdin=closed_at(CLOSES[0]) + seen).stdout
    if format_ == "csv":
        assert found.splitlines()[1:] == ["1,,", "9,0,0"]
    elif format_ == "json":
        assert [list(row.values()) for row in json.loads(found)["rows"]] == [[1, None, None], [9, 0, 0]]
    else:
        lines = [re.split(r" {2,}", line.strip()) for line in found.splitlines()]
        cells = {line[0]: line[1:] for line in lines}
        assert cells["1"] == ["no focus data", "no focus data"]
        assert cells["9"] == ["0 s", "0 s"]


@pytest.mark.parametrize("case", sorted(path.stem for path in (GOLDEN / "examples").glob("*.json")))
def test_explain_fits_a_terminal_of_100_columns_and_adds_up(case: str, run: Run) -> None:
    events = events_of(case)
    text = run("explain", "-", "--conversation", "c1", stdin=events, COLUMNS="100").stdout
    assert text.startswith("Conversation c1")
    assert all(len(line) <= 100 for line in text.splitlines())
    explanation = json.loads(run("explain", "-", "--conversation", "c1", "--format", "json", stdin=events).stdout)
    handled = sum(moment.get("handleTimeMillis", 0) for moment in explanation["moments"])
    assert handled == sum(segment["totalHandleTimeMillis"] or 0 for segment in explanation["agentSegments"])
    expected = json.loads((GOLDEN / "examples" / f"{case}.json").read_text())["agentSegments"]
    assert handled == sum(s["totalHandleTimeMillis"] for s in expected if s["conversationId"] == "c1")


def test_explain_says_under_which_clause_time_counted_and_where_the_focus_went(run: Run) -> None:
    text = run("explain", "-", "--conversation", "c1", stdin=events_of("03-two-conversations-one-focus")).stdout
    assert "1 looks at another conversation" in text
    assert "20 s (3.3 a)" in text
    assert "focus elsewhere" in text
    assert "consumerMessage to conversationClosed" in text


def test_explain_asks_which_account_where_two_have_the_conversation(run: Run) -> None:
    events = events_of("01-one-answer")
    other = events.replace(b'{"eventId"', b'{"accountId": "B2", "eventId"')
    done = run("explain", "-", "--conversation", "c1", stdin=events + other)
    assert "accounts B2, local each have a conversation c1: choose with --account" in done.stderr
    done = run("explain", "-", "--conversation", "c1", "--account", "B2", "--format", "json", stdin=events + other)
    assert json.loads(done.stdout)["accountId"] == "B2"


def test_simulated_events_are_the_same_for_a_seed_and_can_be_read_in_every_form(run: Run, tmp_path: Path) -> None:
    same = ["--conversations", 30, "--start", "2026-11-20", "--seed", 5]
    for name in ("a.ndjson", "b.ndjson.gz", "c.ndjson.zst", "d.parquet"):
        assert run("simulate", "--out", name, *same).returncode == 0
        assert run("derive", name, "--out", name + ".out").returncode == 0
    tables = {pq.read_table(tmp_path / f"{n}.out" / "agent_segments.parquet").to_pydict().__repr__() for n in
              ("a.ndjson", "b.ndjson.gz", "c.ndjson.zst", "d.parquet")}  # fmt: skip
    assert len(tables) == 1
    assert run("simulate", "--out", "-", *same).stdout == (tmp_path / "a.ndjson").read_text()


def test_livepersons_history_becomes_events_without_texts_and_names(run: Run, tmp_path: Path) -> None:
    done = run("import", "liveperson", GOLDEN / "liveperson-history-sample.json", "--out", "events.ndjson")
    assert done.returncode == 0, done.stderr
    assert "5 conversations" in done.stdout
    assert "c-contradicts-itself" in done.stderr
    written = (tmp_path / "events.ndjson").read_text()
    assert "made up" not in written
    assert "Sample" not in written
    report = json.loads(run("report", "events.ndjson", "--format", "json").stdout)
    assert report["rows"][0]["totalAgentConversationSegments"] == 6


COMPILES_ONE_FUNCTION = "from handletime.events.times import is_digit; print(is_digit(48))"


@pytest.mark.long
def test_it_runs_from_a_read_only_install_without_a_home_folder(tmp_path: Path) -> None:
    """Nothing can be cached: one line says so, and the result is the same."""
    nowhere = tmp_path / "file"
    nowhere.write_text("not a folder")
    done = run_anew(
        *("report", "-", "--format", "csv"),
        stdin=events_of("01-one-answer"),
        env={"HANDLETIME_CACHE_DIR": str(nowhere / "x")},
    )
    assert done.returncode == 0
    assert done.stderr.count("HANDLETIME_CACHE_DIR") == 1
    assert done.stdout.count("\n") == 2


@pytest.mark.long
def test_all_compiled_code_is_taken_from_the_cache_by_the_second_process(tmp_path: Path) -> None:
    command = ["report", "-", "--format", "csv"]
    is_cached(tmp_path, lambda env: run_anew(*command, stdin=events_of("01-one-answer"), env=env).stdout)


def test_compiled_code_is_taken_from_the_cache_by_the_second_process(tmp_path: Path) -> None:
    is_cached(tmp_path, lambda env: compiled_one_function(env).stdout)


def test_a_function_is_compiled_where_nothing_can_be_cached(tmp_path: Path) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("not a folder")
    done = compiled_one_function({"HANDLETIME_CACHE_DIR": str(nowhere / "x")})
    assert (done.stdout, done.stderr.count("HANDLETIME_CACHE_DIR")) == ("True\n", 1)


def compiled_one_function(env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A process that compiles as little as can be."""
    command = [sys.executable, "-c", COMPILES_ONE_FUNCTION]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=True, timeout=120)


def is_cached(folder: Path, run: Callable[[Mapping[str, str]], str]) -> None:
    """What is run twice compiles once, and says the same."""
    cache = folder / "cache"
    env = {"HANDLETIME_CACHE_DIR": str(cache)}
    first = run(env)
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*.nbc")}
    assert kept
    assert run(env) == first
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.nbc")} == kept
