"""`handletime report`.

Covers: answers/files, cli/report_table, cli/report_origin.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from handletime.answers.figures import figures_of
from handletime.answers.files import asked
from handletime.answers.registry import LEVELS, METRICS
from handletime.answers.report import REPORTED, chosen
from handletime.answers.selection import Selection
from handletime.segments.derive import Derived, derive
from tests.cli.conftest import Run, events_of
from tests.segments.tables import events_of as events_of_rows


def test_report_has_every_metric_by_agent_as_json(run: Run) -> None:
    done = run("report", "-", "--by", "agent", "--format", "json", stdin=events_of("03-two-conversations-one-focus"))
    (row,) = json.loads(done.stdout)
    assert list(row) == ["agentId", *(metric.key for metric in chosen())]
    assert row["totalAgentConversationSegments"] == 2
    assert row["avgTimetoFirstAgentMessageFromAgentAssignment"] == 49000
    assert row["medianFirstResponseMillis"] == 35000
    assert (row["medianHandleTimeMillis"], row["totalHandleTimeMillis"]) == (15000, 80000)
    assert row["interactiveAgentSegmentPercent"] == 100
    assert row["totalSkillConversationSegments"] is None, "a skill segment has no agent"


def test_report_never_says_that_unknown_handle_time_is_zero(run: Run) -> None:
    """Example 10 has no focus event."""
    events = events_of("10-not-the-assigned-agent")
    as_json = json.loads(run("report", "-", "--by", "agent", "--format", "json", stdin=events).stdout)
    assert {row["avgHandleTimeMillis"] for row in as_json} == {None}
    assert {row["totalHandleTimeMillis"] for row in as_json} == {None}
    assert "no focus data" in run("report", "-", "--by", "agent", stdin=events).stdout


def test_report_takes_windows_and_intervals(run: Run) -> None:
    events = events_of("03-two-conversations-one-focus")
    counted = "totalAgentConversationSegments"
    done = run("report", "-", "--interval", 1, "--metrics", counted, "--format", "csv", stdin=events)
    assert done.stdout.splitlines() == [
        f"intervalStart,intervalEnd,{counted}",
        "2026-11-20T09:01:00.000Z,2026-11-20T09:02:00.000Z,1",
        "2026-11-20T09:02:00.000Z,2026-11-20T09:02:10.001Z,1",
    ]
    window = ["--from", "2026-11-20T09:01:40Z", "--to", "2026-11-20T09:02:10Z"]
    done = run("report", "-", *window, "--metrics", counted.lower(), "--format", "json", stdin=events)
    assert json.loads(done.stdout) == [{counted: 1}]


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
        f"intervalStart,intervalEnd,{counted}",
        "2025-10-26T00:00:00.000+02:00,2025-10-27T00:00:00.000+01:00,3",
        "2025-10-27T00:00:00.000+01:00,2025-10-27T00:10:00.001+01:00,1",
    ]
    assert run(*options, 1440, stdin=events).stdout == run(*options, "DAY", stdin=events).stdout
    assert run(*options, "month", stdin=events).stdout.splitlines()[1:] == [
        "2025-10-01T00:00:00.000+02:00,2025-10-27T00:10:00.001+01:00,4"
    ]
    hours = run(*options, "hour", "--fill", "zero", stdin=events).stdout.splitlines()[1:]
    assert len(hours) == 26, "a day of 25 hours, and the first one of the next"
    some = run(*options, "hour", stdin=events).stdout.splitlines()[1:]
    assert some == [hour for hour in hours if not hour.endswith(",0")], "without --fill those with segments"
    assert [hour.partition(",")[0] + hour[hour.rindex(",") :] for hour in hours[1:5]] == [
        "2025-10-26T01:00:00.000+02:00,0",
        "2025-10-26T02:00:00.000+02:00,1",
        "2025-10-26T02:00:00.000+01:00,1",
        "2025-10-26T03:00:00.000+01:00,0",
    ]
    dates = ["report", "-", "--from", "2025-10-26", "--to", "2025-10-27", "--interval", "week", "--format", "json"]
    (row,) = json.loads(run(*dates, "--tz", "Europe/Berlin", stdin=events).stdout)
    assert row["intervalStart"] == "2025-10-26T00:00:00.000+02:00"
    assert row["intervalEnd"] == "2025-10-27T00:00:00.000+01:00"
    assert row[counted] == 3
    (row,) = json.loads(run(*dates, stdin=events).stdout)
    assert (row["intervalStart"], row["intervalEnd"]) == ("2025-10-26T00:00:00.000Z", "2025-10-27T00:00:00.000Z")


def test_what_goes_into_a_file_is_not_cut(run: Run) -> None:
    options = ["report", "-", "--by", "skill,agent", "--interval", "hour", "--tz", "Europe/Berlin"]
    done = run(*options, stdin=closed_at(*CLOSES))
    assert done.returncode == 0, done.stderr
    assert "…" not in done.stdout
    assert any(len(line) > 100 for line in done.stdout.splitlines())


def test_report_says_on_the_terminal_whose_clock_it_shows_and_which_of_two_hours(run: Run) -> None:
    done = run("report", "-", "--tz", "Europe/Berlin", "--interval", "hour", stdin=closed_at(*CLOSES))
    assert "from 2025-10-26 00:00 to 2025-10-27 00:10:00.001 (Europe/Berlin)" in done.stdout
    assert "2025-10-26 02:00 +02:00 " in done.stdout
    assert "2025-10-26 02:00 +01:00 " in done.stdout
    assert "2025-10-26 03:00 " in done.stdout
    assert "03:00 +" not in done.stdout


def test_report_says_on_the_terminal_what_is_compared(run: Run) -> None:
    options = ("--from", "2025-10-26", "--to", "2025-10-27", "--tz", "Europe/Berlin", "--compare", "week")
    earlier = "2025-10-19T01:30:00Z"
    done = run("report", "-", *options, stdin=closed_at(*CLOSES, earlier))
    assert "In brackets: from 2025-10-19 00:00 to 2025-10-20 00:00" in done.stdout
    assert f"{len(CLOSES) - 1} (1)" in done.stdout


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
        (
            ["--interval", "0"],
            "'0' is no interval; write a number of minutes (up to 999999), or hour, day, week or month",
        ),
        (["--interval", "year"], "is no interval"),
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
        assert found.splitlines()[1:] == ["1,0,,", "9,1,0,0"]
    elif format_ == "json":
        assert [list(row.values()) for row in json.loads(found)] == [[1, 0, None, None], [9, 1, 0, 0]]
    else:
        lines = [re.split(r" {2,}", line.strip()) for line in found.splitlines()]
        cells = {line[0]: line[1:] for line in lines}
        assert cells["1"] == ["no focus data", "no focus data"]
        assert cells["9"] == ["0 s", "0 s"]


ODD = "=1+1/ä [bold]?"
"""An id that a spreadsheet, a terminal or a path could take for something else."""


def handled(conversation: str, account: str, *agents: int, focus: bool = True) -> bytes:
    """A closed conversation that each of these agents had, for 10, 20, … s of handle time."""
    events: list[dict[str, object]] = []
    at = 1795165200000
    for place, agent in enumerate(agents, 1):
        events.append({"type": "assigned", "agentId": agent, "time": at})
        events.append({"type": "message", "sentBy": "consumer", "time": at + 500})
        if focus:
            events.append({"type": "focused", "agentId": agent, "time": at + 1000})
            at += 1000 + 10_000 * place
            events.append({"type": "message", "sentBy": "agent", "agentId": agent, "time": at})
            events.append({"type": "unfocused", "agentId": agent, "time": at})
        at = 1795165200000 + 60_000 * place
    events.append({"type": "closed", "closedBy": "agent", "time": at})
    named: Iterable[dict[str, object]] = (
        {"accountId": account, "conversationId": conversation, "eventId": str(i), "sequence": i} for i in range(99)
    )
    return b"".join(json.dumps(name | event).encode() + b"\n" for name, event in zip(named, events, strict=False))


EXPLAIN = "/api/account/acme/conversations/b/explain"
BILLED = handled("b", "acme", 7, 8) + handled(ODD, "acme", 6) + handled("c", "acme", 9, focus=False)
TOTAL = "totalHandleTimeMillis"


def test_report_bills_by_conversation_and_agent_with_a_link_to_each_explanation(run: Run) -> None:
    options = ["report", "-", "--by", "conversation,agent", "--metrics", TOTAL, "--format"]
    rows = json.loads(run(*options, "json", stdin=BILLED).stdout)
    told = [(row["conversationId"], row["agentId"], row[TOTAL]) for row in rows]
    assert told == [(ODD, 6, 10_000), ("b", 7, 10_000), ("b", 8, 20_000), ("c", 9, None)], "unknown is not zero"
    path = rows[0]["explain"]
    assert path.startswith("/api/account/acme/conversations/%3D1%2B1%2F%C3%A4%20")
    assert path.count("/") == 6
    assert unquote(path.split("/")[5]) == ODD

    done = run(
        *options, "csv", "--page-url", "https://reports.example.com/ours/", "--tz", "Europe/Berlin", stdin=BILLED
    )
    lines = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(lines[0]) == ["conversationId", "explain", "agentId", TOTAL]
    assert [line[TOTAL] for line in lines] == ["10000", "10000", "20000", ""]
    assert lines[0]["conversationId"] == f"'{ODD}", "no formula"
    link = urlsplit(lines[0]["explain"])
    assert (link.scheme, link.netloc, link.path) == ("https", "reports.example.com", "/ours/why")
    assert parse_qs(link.query) == {"conversation": [ODD], "tz": ["Europe/Berlin"]}

    table = run(*options, "table", stdin=BILLED).stdout
    assert ODD in table
    assert "explain" not in table
    assert "no focus data" in table


def test_report_by_conversation_adds_up_to_the_others(run: Run) -> None:
    events = BILLED + handled("b", "other", 8)
    answer = json.loads(run("report", "-", "--by", "conversation", "--format", "json", stdin=events).stdout)
    assert [(row["accountId"], row["conversationId"]) for row in answer] == [
        ("acme", ODD),
        ("acme", "b"),
        ("acme", "c"),
        ("other", "b"),
    ]
    assert answer[-1]["explain"] == "/api/account/other/conversations/b/explain"
    assert set(answer[0]) == {"accountId", "conversationId", "explain", *REPORTED} - LEVELS.keys()
    total = json.loads(run("report", "-", "--format", "json", stdin=events).stdout)
    assert [row["accountId"] for row in total] == ["acme", "other"]
    summed = [key for key, metric in REPORTED.items() if not (metric.per or metric.values or key in LEVELS)]
    assert {TOTAL, "totalQueueSegments", "handleTimeInIntervalMillis"} < {*summed}
    for counted in summed:
        assert sum(row[counted] or 0 for row in answer) == sum(row[counted] or 0 for row in total), counted


def test_report_by_conversation_takes_intervals_and_times(run: Run) -> None:
    options = ["report", "-", "--by", "conversation", "--interval", "1", "--metrics", TOTAL, "--format", "csv"]
    assert run(*options, stdin=handled("b", "acme", 7, 8)).stdout.splitlines() == [
        f"conversationId,explain,intervalStart,intervalEnd,{TOTAL}",
        f"b,{EXPLAIN},2026-11-20T09:01:00.000Z,2026-11-20T09:02:00.000Z,10000",
        f"b,{EXPLAIN},2026-11-20T09:02:00.000Z,2026-11-20T09:02:00.001Z,20000",
    ]
    none = run(*options[:-1], "json", "--from", "2026-11-21", "--to", "2026-11-22", stdin=BILLED)
    assert json.loads(none.stdout) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-", "--page-url", "https://reports.example.com"], "--page-url goes with --by conversation"),
        (["-", "--url", "https://reports.example.com"], "name either files, or --data DIR, or --url URL"),
        ([], "name either files, or --data DIR, or --url URL"),
        (["--url", "https://reports.example.com"], "--url needs --token, or HANDLETIME_TOKEN in the environment"),
        (["--url", "http://127.0.0.1:1", "--by", "conversation"], "takes event files, or --data; those of"),
        (["-", "--format", "xlsx"], "--format xlsx needs --out FILE"),
        (["-", "--format", "csv", "--out", "none/report.csv"], "--out none/report.csv: there is no such folder"),
        (["-", "--period", "today", "--from", "2026-11-20"], "--period stands for --from and --to"),
        (["-", "--by", "agent,team"], "must be some of skill, agent, group, source, userType, conversation"),
        (["-", "--skill", "1;2"], "must be integers with commas in between"),
        (["--url", "http://x", "--token", "x", "--labels", "names.csv"], "--labels goes with files and --data"),
        (["-", "--format", "genesys", "--agent", "1", "--fill", "zero"], "--agent, --fill: --format genesys has rows"),
    ],
)
def test_report_says_which_options_go_together(run: Run, options: list[str], told: str) -> None:
    done = run("report", *options, stdin=BILLED)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())


def test_report_asks_for_some_conversations_at_a_time(tmp_path: Path) -> None:
    """Every conversation comes once, whole and in order, whatever lies in which file."""
    parts = [derived(handled("b", "acme", 7, 8) + handled("d", "acme", 5)), derived(handled("a", "acme", 9))]
    of = Selection((0, 2 * 1795165200000))
    found = []
    with asked(parts, tmp_path, memory=1 << 30, conversations=True) as collected:
        for snapshot, names in collected.by_conversation(at_once=2):
            figures = figures_of(snapshot, [METRICS[TOTAL]], ("conversation", "agentId"), of)
            found += [(names[key[0]].id, key[1], each[TOTAL]) for key, each in figures.items() if key]
    assert found == [("a", 9, 10_000), ("b", 7, 10_000), ("b", 8, 20_000), ("d", 5, 10_000)]


def derived(events: bytes) -> Derived:
    return derive(events_of_rows(map(json.loads, events.splitlines())))
