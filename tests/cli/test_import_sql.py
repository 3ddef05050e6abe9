"""`handletime import sql`.

Covers: cli/mapping_check.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from handletime.cli import cli
from handletime.sources.sql.shipped import NAMES
from tests.cli.conftest import Run

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests" / "sources" / "sql"
MAPPING = """select id as "conversationId", id as "eventId", 'opened' as "type", "row",
    created::timestamp at time zone 'Europe/Berlin' as "time", skill as "skillId" from input"""


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A file that Made Up wrote into, and a mapping for it."""
    (tmp_path / "my.sql").write_text(MAPPING)
    file = tmp_path / "export.csv"
    file.write_text("id,created,skill,name\na,2026-11-20 10:00:00,7,Made Up\nb,2026-11-20 10:00:01,,Made Up\n")
    return file


def test_an_export_becomes_events_without_its_other_columns(run: Run, export: Path, tmp_path: Path) -> None:
    done = run("import", "sql", "my.sql", export, "--out", "events.ndjson")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "events.ndjson: 2 events of 2 conversations; 0 things found wrong\n"
    written = (tmp_path / "events.ndjson").read_text()
    assert "Made Up" not in written
    assert [json.loads(line) for line in written.splitlines()] == [
        {
            **{"time": "2026-11-20T09:00:00.000Z", "accountId": "local", "conversationId": "a", "eventId": "a"},
            **{"type": "opened", "skillId": 7},
        },
        {
            **{"time": "2026-11-20T09:00:01.000Z", "accountId": "local", "conversationId": "b", "eventId": "b"},
            **{"type": "opened"},
        },
    ]


def test_faults_name_the_row_of_the_input_and_the_others_are_written(run: Run, export: Path, tmp_path: Path) -> None:
    export.write_text(
        export.read_text() + "c,2026-11-20 10:00:02,1.2E+17,Made Up\nd\x07,2026-11-20 10:00:03,8,Made Up\n"
    )
    done = run("import", "sql", "my.sql", export, "--out", "events.ndjson", "--faults", "faults.txt")
    assert done.returncode == 0
    assert "2 events of 2 conversations; 3 things found wrong" in done.stdout
    first, second, _third = (tmp_path / "faults.txt").read_text().splitlines()
    assert first.startswith("my.sql: row 3: skillId: is no whole number; a spreadsheet may have shortened it")
    assert second.startswith("my.sql: row 4: conversationId: must be a string of 1 to 128")


def test_rows_of_the_result_are_counted_where_the_mapping_passes_on_no_rows(run: Run, export: Path) -> None:
    (export.parent / "my.sql").write_text(MAPPING.replace('"row",', "") + " where id = 'b'")
    export.write_text(export.read_text().replace("b,2026", "b,1996").replace(",,", ",x,"))
    done = run("import", "sql", "my.sql", export, "--check")
    assert "my.sql: row of the result 1: skillId" in done.stderr
    assert 'with "row" as a column' in done.stderr


def test_check_says_what_is_doubtful_and_explains_a_conversation(run: Run, tmp_path: Path) -> None:
    (tmp_path / "my.sql").write_text(
        """select conversation as "conversationId", "row" as "eventId", time::timestamptz as "time", type as "type",
        agent as "agentId", 'agent' as "closedBy" from input"""
    )
    (tmp_path / "export.csv").write_text(
        "conversation,time,type,agent\n1.23E+17,2019-11-20T10:00:00Z,opened,\n"
        "b,2026-11-20T10:00:00Z,opened,\nb,2026-11-20T10:00:01Z,assigned,123456789012345000\n"
        "b,2026-11-20T10:00:02Z,closed,\n"
    )
    done = run("import", "sql", "my.sql", "export.csv", "--check")
    assert (done.returncode, done.stderr) == (0, "")
    for line in (
        "would be written: 4 events of 2 conversations; 0 things found wrong",
        "  2 opened",
        "Conversations without assignment: 1 of 2 (such as 1.23E+17)",
        "Conversations without close: 1 of 2 (such as 1.23E+17)",
        "Agents without focus: 1 of 1 (such as 123456789012345000); their handle time is unknown",
        "Times: 2019-11-20 10:00 to 2026-11-20 10:00 (UTC); outside the last year: 1",
        "conversationId: 1 id that look as if they lost digits; export ids as text (such as 1.23E+17)",
        "agentId: 1 id that look as if they lost digits; export ids as text (such as 123456789012345000)",
        "Conversation b, account local, 2026-11-20 (UTC)",
        "Agent segment of human 123456789012345000: skill -1, after a new conversation, 10:00:01.000 to",
    ):
        assert line in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export.csv", "my.sql"]


def test_a_second_input_and_csv_of_another_form(run: Run, tmp_path: Path) -> None:
    (tmp_path / "my.sql").write_text(
        """select i.id as "conversationId", 'a' as "eventId", 'assigned' as "type", '2026-11-20T10:00:00Z' as "time",
        a.number as "agentId" from input i join agents a on a.name = i.agent"""
    )
    (tmp_path / "export.csv").write_bytes("id;agent\nc;Jäne\n".encode("latin-1"))
    (tmp_path / "agents.csv").write_bytes("name;number\nJäne;12\n".encode("latin-1"))
    options = ["--input", "agents=agents.csv", "--delimiter", ";", "--encoding", "latin-1"]
    done = run("import", "sql", "my.sql", "export.csv", "--out", "-", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["agentId"] == 12


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["my.sql", "nowhere.csv", "--check"], "nowhere.csv: there is no such file"),
        (["nothing.sql", "export.csv", "--check"], "no mapping of this name is shipped (csv, zendesk"),
        (["my.sql", "export.csv"], "give --out FILE to write events, or --check"),
        (["my.sql", "--check"], "give the FILE to map"),
        (["my.sql", "export.csv", "--check", "--input", "agents.csv"], "write NAME=FILE"),
        (["my.sql", "export.csv", "--check", "--account", "a b"], "must be 1 to 64 letters and digits"),
        (["my.sql", "export.csv", "--out", "events.csv"], "name it .ndjson"),
    ],
)
def test_what_is_wrong_with_the_command_is_said(run: Run, export: Path, arguments: list[str], says: str) -> None:
    assert export.is_file()
    done = run("import", "sql", *arguments)
    assert done.returncode != 0
    assert says in done.stderr


def test_a_column_that_is_not_there_is_said_with_the_line(run: Run, export: Path) -> None:
    (export.parent / "my.sql").write_text(MAPPING.replace("created::", "createdat::"))
    done = run("import", "sql", "my.sql", export, "--out", "events.ndjson")
    assert done.returncode == 1
    assert 'Referenced column "createdat" not found' in done.stderr
    assert "created" in done.stderr
    assert "LINE 2" in done.stderr
    assert done.stderr.endswith(f"\ninput ({export}) has id, created, skill, name\n")
    assert not (export.parent / "events.ndjson").exists()


def test_a_shipped_mapping_says_what_it_lacks_and_what_there_is(run: Run, export: Path) -> None:
    (export.parent / "export.json").write_text('{"a": 1}')
    (export.parent / "odd.csv").write_text(",".join(["a\x1b" + "b" * 100, *(f"c{n}" for n in range(52))]) + "\n")
    two = ["csv", "odd.csv", "--input", "b=export.csv", "--input", "b=export.csv"]
    for arguments, says in (
        (
            ["zendesk", "export.csv"],
            "zendesk: needs the column created_at, which is missing\ninput (export.csv) has id",
        ),
        (["intercom", "export.csv"], "intercom: needs the column body of JSON files, which is missing\ninput (export."),
        (["csv", "export.json"], "csv: needs the column conversation, which is missing\ninput (export.json) has body"),
        (two, f"input (odd.csv) has a?{'b' * 78}…, c0, c1, c2"),
        (two, "c48 and 3 more\n"),
        (two, "\nb (export.csv and 1 more) has id, created, skill, name\n"),
    ):
        done = run("import", "sql", *arguments, "--check")
        assert done.returncode == 1
        assert says in done.stderr
        assert done.stderr.endswith(f"docs/mappings/{arguments[0]}.md says what this mapping reads.\n")
    done = run("import", "sql", "intercom", "export.json", "--out", "events.ndjson")
    assert done.stdout == "events.ndjson: 0 events of 0 conversations; 0 things found wrong\n"
    assert done.stderr == "docs/mappings/intercom.md says what this mapping reads.\n"


def test_a_shipped_mapping_is_printed_to_begin_with(run: Run, tmp_path: Path) -> None:
    for name in NAMES:
        done = run("import", "sql", "--example", name)
        assert done.returncode == 0
        assert "from input" in done.stdout
    (tmp_path / "mine.sql").write_text(run("import", "sql", "--example", "csv").stdout)
    by_name = run("import", "sql", "csv", SAMPLES / "csv.csv", "--out", "-")
    assert by_name.stdout.count("\n") == 12
    assert run("import", "sql", "mine.sql", SAMPLES / "csv.csv", "--out", "-").stdout == by_name.stdout


def test_the_first_run_says_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handletime.compiled.can_be_kept", lambda: True)
    for is_begun, said in ((False, ["Compiling the reader; ", "Compiling the derivation; "]), (True, [])):
        monkeypatch.setattr("handletime.compiled.is_begun", lambda _room, is_begun=is_begun: is_begun)
        done = CliRunner().invoke(cli, ["import", "sql", "csv", str(SAMPLES / "csv.csv"), "--check"])
        assert done.exit_code == 0
        assert [line.partition("only")[0] for line in done.stderr.splitlines()] == said
        assert "only the first run does this" not in done.stdout


def test_the_ten_minutes_of_the_docs(run: Run, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "mappings.md").read_text()
    for name, kind in (("export.csv", "csv"), ("mine.sql", "sql")):
        (tmp_path / name).write_text(text.split(f"```{kind}\n")[1].split("```")[0])
    commands = [line for block in text.split("```sh\n")[1:] for line in block.split("```")[0].splitlines()]
    assert len(commands) == 3
    for command in commands:
        done = run(*command.removeprefix("handletime ").split())
        assert (done.returncode, done.stderr) == (0, "")
    checked = run("import", "sql", "mine.sql", "export.csv", "--check").stdout
    assert "5 events of 1 conversation; 0 things found wrong" in checked
    assert "Agent segment of human 1001" in checked


@pytest.mark.parametrize("name", NAMES)
def test_each_shipped_mapping_has_a_page_that_names_its_command(name: str) -> None:
    page = (ROOT / "docs" / "mappings" / f"{name}.md").read_text()
    assert "handletime import sql " + ("mine.sql" if name == "csv" else name) in page
    assert "handle time is unknown" in page
    assert f"(mappings/{name}.md)" in (ROOT / "docs" / "mappings.md").read_text()
