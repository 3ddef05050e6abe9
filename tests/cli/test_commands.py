"""The commands as a user runs them: a real process, real files.

Covers: __main__, cli/console.
"""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run, events_of


@pytest.mark.parametrize("command", [[], ["derive"], ["report"], ["explain"], ["simulate"], ["import", "liveperson"]])
def test_help_teaches(command: list[str], run: Run) -> None:
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert all(len(line) <= 100 for line in done.stdout.splitlines())


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
