"""`handletime targets`.

Covers: answers/target_words.
"""

from __future__ import annotations

import csv
import io
import json
import tomllib
from datetime import date
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from handletime.cli import cli
from handletime.targets.file import read_targets
from tests.cli.test_serve import Server, bearer, example, handletime, lines, new_key, serving, wait_until
from tests.targets.test_file import GOOD


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "targets.toml"
    path.write_text(GOOD)
    return path


def said(*arguments: str | Path) -> str:
    result = CliRunner().invoke(cli, ["targets", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_good_file_has_no_fault(file: Path) -> None:
    assert said("check", file) == f"{file}: 2 targets, 1 calendar; no fault\n"


def test_a_target_that_can_never_count_is_told(file: Path) -> None:
    file.write_text(f'[[targets]]\nname = "general"\nresponse = "1h"\n{GOOD}')
    notes = said("check", file).splitlines()[:-1]
    assert notes == [
        f"Note: {name} never counts: general stands before it and fits all of its segments"
        for name in ("sales", "the rest")
    ]


def test_targets_are_shown_in_order_with_the_hours_of_each_day(file: Path) -> None:
    shown = said("show", file, "--from", "2026-12-21", "--days", "7").splitlines()
    assert shown[:5] == [
        "1. sales",
        "   for accounts acme; skills 10, 11; sources web; human agents; "
        "segments that start from 2026-10-31T23:00:00.000Z on",
        "   first response within 1 min 30 s, response within 1 h 30 min; hours: office",
        "   the first response is counted from the start of the queue",
        "   an agent's first message in a segment is no response here",
    ]
    assert shown[-7:] == [
        "  Mon 2026-12-21  09:00-12:30, 13:00-17:00",
        "  Tue 2026-12-22  closed",
        "  Wed 2026-12-23  closed",
        "  Thu 2026-12-24  09:00-12:00  (hours of its own)",
        "  Fri 2026-12-25  closed  (closed date)",
        "  Sat 2026-12-26  closed  (closed date)",
        "  Sun 2026-12-27  closed",
    ]
    assert said("show", file, "--account", "other").startswith("1. the rest\n")


def test_the_closed_dates_of_a_country_fit_into_a_file(tmp_path: Path) -> None:
    printed = said("closed", "de", "--year", "2026", "--part", "BY")
    assert date(2026, 1, 6) in tomllib.loads(printed)["closed"]  # in some parts of the country alone
    assert date(2026, 12, 26) in tomllib.loads(printed)["closed"]
    file = tmp_path / "targets.toml"
    file.write_text(f'[calendars.a]\nzone = "Europe/Berlin"\nmonday = ["09:00-17:00"]\n{printed}')
    assert date(2026, 10, 3) in read_targets(file).calendars["a"].closed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["XX"], "there are no holidays of 'XX'"), (["DE", "--part", "Q"], "DE has no part 'Q': its parts are BB, BE")],
)
def test_what_there_is_no_list_of_is_told(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(cli, ["targets", "closed", *arguments])
    assert result.exit_code == 1
    assert told in str(result.exception)


# --- a running server ------------------------------------------------------------------------------------------------

TARGETS = '[[targets]]\nname = "all"\nfirst-response = "{}"\nresponse = "1h"\nqueue-wait = "1h"\n'


def test_a_server_judges_by_the_file_as_it_is_now(tmp_path: Path) -> None:
    folder, file = tmp_path / "deep" / "store", tmp_path / "targets.toml"
    key = new_key(folder, "admin")
    file.write_text(TARGETS.format("1h"))
    events, _ = example("04-bot-to-human")
    asked = ["report", "--account", "acme", "--format", "csv", "--metrics", "firstResponseServiceLevelPercent"]

    def percent(*given: str) -> str:
        rows = list(csv.DictReader(io.StringIO(handletime(*asked, *given).stdout)))
        return rows[0]["firstResponseServiceLevelPercent"]

    def said(server: Server) -> str:
        return percent("--url", server.url, "--token", key["token"])

    with serving(folder, "--targets", str(file)) as server:
        answer = httpx.post(f"{server.url}/api/account/acme/events", content=lines(events), headers=bearer(key))
        assert answer.status_code == 200, answer.text
        assert said(server) == "100"
        query = "report?metrics=firstResponseServiceLevelPercent"
        url = f"{server.url}/api/account/acme/{query}&from=2026-11-01&to=2100-01-01"
        tag = httpx.get(url, headers=bearer(key)).headers["etag"]
        file.write_text(TARGETS.format("1ms"))
        wait_until(lambda: said(server) == "0")
        # Another target is another answer, though no event came.
        assert httpx.get(url, headers={**bearer(key), "If-None-Match": tag}).status_code == 200
        file.write_text(TARGETS.format("soon"))
        wait_until(lambda: said(server) == "0" and "the targets stay as they were" in Path(server.log).read_text())
        assert "line 3: first-response must be a length of time" in Path(server.log).read_text()
        assert said(server) == "0"
        # All metrics of a server are those that it has, with its levels.
        everything = handletime(
            "report", "--account", "acme", "--format", "json", "--url", server.url, "--token", key["token"]
        )
        assert "firstResponseServiceLevelPercent" in json.loads(everything.stdout)[0]
        assert server.stop() == 0
    file.write_text(TARGETS.format("1h"))
    assert percent("--data", str(folder), "--targets", str(file)) == "100"
    wrong = handletime("report", *asked[1:], "--url", "http://127.0.0.1:1", "--targets", str(file), code=2)
    assert "a server has its own targets" in wrong.stderr


def test_a_server_does_not_begin_with_a_wrong_file(tmp_path: Path) -> None:
    folder, file = tmp_path / "store", tmp_path / "targets.toml"
    file.write_text('[[targets]]\nname = "all"\n')
    done = handletime("serve", "--data", folder, "--port", "0", "--targets", file, code=1)
    assert f"{file}: line 1: a target sets a clock" in done.stderr
