"""`handletime explain`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import GOLDEN, Run, events_of


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


def test_explain_says_how_long_it_was_in_which_queue(run: Run) -> None:
    text = run("explain", "-", "--conversation", "c1", stdin=events_of("04-bot-to-human")).stdout
    text = " ".join(text.split())
    assert "queue 2: 46 s, assigned to a human" in text
    line = "Queue segment 2: skill 20, from a bot, after a transfer to this skill, 09:00:14.000 to 09:01:00.000, 46 s"
    assert line in text


def test_explain_asks_which_account_where_two_have_the_conversation(run: Run) -> None:
    events = events_of("01-one-answer")
    other = events.replace(b'{"eventId"', b'{"accountId": "B2", "eventId"')
    done = run("explain", "-", "--conversation", "c1", stdin=events + other)
    assert "accounts B2, local each have a conversation c1: choose with --account" in done.stderr
    done = run("explain", "-", "--conversation", "c1", "--account", "B2", "--format", "json", stdin=events + other)
    assert json.loads(done.stdout)["accountId"] == "B2"


def test_explain_says_of_each_wait_what_it_is_to_its_target(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "targets.toml"
    file.write_text(
        '[calendars.office]\nzone = "UTC"\nfriday = ["09:00-17:00"]\n'
        '[[targets]]\nname = "all"\ncalendar = "office"\nfirst-response = "5s"\nqueue-wait = "1h"\n'
    )
    options = ["explain", "-", "--conversation", "c1", "--targets", str(file)]
    text = run(*options, stdin=events_of("04-bot-to-human")).stdout
    assert "within its target (all)" in text
    assert "open by office: 11-20 09:00" in text
    told = json.loads(run(*options, "--format", "json", stdin=events_of("04-bot-to-human")).stdout)
    assert {level["verdict"] for row in told["queueSegments"] for level in row["serviceLevels"]} == {"met"}
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[[targets]]\n")
    done = run(*options[:-1], str(wrong), stdin=events_of("04-bot-to-human"))
    assert done.returncode == 1
    assert "line 1: a target needs a name" in done.stderr
