"""`handletime report` of a store and of a running server: the same rows as of the files; and into files."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Run
from tests.cli.test_report import BILLED, ODD, closed_at, handled
from tests.cli.test_serve import handletime, new_key, serving

WINDOW = ("--from", "2026-11-20", "--to", "2026-11-21")
ASKED = (
    ("--by", "skill"),
    ("--by", "group,agent", "--interval", "15", "--tz", "Asia/Kathmandu", "--user-type", "human"),
    ("--by", "source", "--interval", "month", "--compare", "previous"),
    ("--by", "skill", "--compare", "week", "--metrics", "totalAgentConversationSegments"),
    ("--interval", "hour", "--fill", "zero", "--metrics", "medianResponseMillis,totalQueueSegments"),
    ("--by", "agent", "--agent", "7,8", "--skill", "-1", "--group", "-1"),
)


class Places(NamedTuple):
    """Where the same events are: a file, a store without a server, and a server."""

    file: Path
    store: Path
    url: str
    token: str
    served: Path


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("places")
    file = folder / "events.ndjson"
    file.write_bytes(BILLED)
    for store in ("store", "served"):
        handletime("ingest", file, "--data", folder / store)
    key = new_key(folder / "served", "operations")
    with serving(folder / "served") as server:
        yield Places(file, folder / "store", server.url, key["token"], folder / "served")


def rows(run: Run, *options: object) -> list[dict[str, Any]]:
    done = run("report", *options, "--format", "json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("options", ASKED, ids=" ".join)
def test_a_store_and_a_server_say_what_the_files_say(options: tuple[str, ...], places: Places, run: Run) -> None:
    of_files = rows(run, places.file, *WINDOW, *options)
    assert of_files
    assert rows(run, "--data", places.store, "--account", "acme", *WINDOW, *options) == of_files
    at = ("--url", places.url, "--account", "acme")
    assert rows(run, *at, "--token", places.token, *WINDOW, *options) == of_files


@pytest.mark.parametrize("by", ["conversation", "conversation,agent", "skill,conversation"])
def test_a_store_bills_by_conversation_as_the_files_do(by: str, places: Places, run: Run) -> None:
    """Conversations stand in order of arrival there."""

    def of(*where: object) -> list[dict[str, Any]]:
        return sorted(rows(run, *where, *WINDOW, "--by", by), key=lambda row: str(row["conversationId"]))

    of_files = of(places.file)
    assert len(of_files) >= 3
    assert of("--data", places.store, "--account", "acme") == of_files


def test_the_table_is_the_same_but_for_what_the_data_are_worth(places: Places, run: Run) -> None:
    of_files = run("report", places.file, *WINDOW, "--by", "agent").stdout
    of_store = run("report", "--data", places.store, "--account", "acme", *WINDOW, "--by", "agent").stdout
    at = ("--url", places.url, "--account", "acme", *WINDOW, "--by", "agent")
    of_server = run("report", *at, HANDLETIME_TOKEN=places.token).stdout
    assert of_store == of_server
    assert of_files.startswith(of_store.rstrip("\n"))
    assert "Handle time" in of_store


def test_all_that_is_stored_is_reported_and_of_a_server_the_last_day(places: Places, run: Run) -> None:
    (total,) = rows(run, "--data", places.store, "--account", "acme")
    assert total["totalAgentConversationSegments"] == 4
    at = ("--url", places.url, "--token", places.token, "--account", "acme")
    (nothing,) = rows(run, *at, "--fill", "zero")
    assert nothing["totalAgentConversationSegments"] == 0


@pytest.mark.parametrize("format_", ["csv", "ndjson", "json", "parquet", "xlsx"])
def test_each_format_goes_into_a_file(format_: str, places: Places, run: Run, tmp_path: Path) -> None:
    out = tmp_path / f"report.{format_}"
    options = ("--by", "agent", "--interval", "hour", *WINDOW, "--format", format_, "--out", out)
    wanted = rows(run, places.file, "--by", "agent", "--interval", "hour", *WINDOW)
    for where in ((places.file,), ("--url", places.url, "--token", places.token, "--account", "acme")):
        out.unlink(missing_ok=True)
        done = run("report", *where, *options)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert out.stat().st_mode & 0o077 == 0, "its owner's only"
        content = out.read_bytes()
        match format_:
            case "csv":
                table = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
                assert [row["agentId"] for row in table] == [str(row["agentId"]) for row in wanted]
            case "json":
                assert json.loads(content) == wanted
            case "ndjson":
                assert list(map(json.loads, content.splitlines())) == wanted
            case "parquet":
                assert pq.read_table(io.BytesIO(content))["agentId"].to_pylist() == [r["agentId"] for r in wanted]
            case "xlsx":
                assert zipfile.is_zipfile(out)


def test_names_come_from_labels(places: Places, run: Run, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("kind,id,label\nagent,7,Ada Jackdaw\n")
    for where in ((places.file,), ("--data", places.store, "--account", "acme")):
        found = rows(run, *where, "--by", "agent", "--labels", labels, "--metrics", "agentMessages")
        assert [row["agentName"] for row in found] == [None, "Ada Jackdaw", None, None]


def test_what_goes_wrong_is_said_in_a_sentence(places: Places, run: Run, tmp_path: Path) -> None:
    for options, told in (
        (("--data", tmp_path / "none"), "has no store: there is no store.duckdb in it"),
        (("--data", places.store), "has no events of account local; --account names another: acme"),
        (("--data", places.served), "`report --url`"),
        (("--url", "http://127.0.0.1:1", "--token", "x"), "cannot be reached"),
        (("--url", places.url, "--token", "wrong", "--account", "acme"), "(401)"),
        (("--url", places.url, "--token", places.token), "about account local: --account names another"),
        (("--url", places.url, "--token", places.token, "--account", "acme", "--interval", "2"), "interval: must be"),
        (("--url", places.url, "--token", places.token, "--format", "genesys"), "a server does not answer it"),
        ((places.file, "--format", "genesys", "--interval", "30"), "takes an --interval of 15 minutes"),
        ((places.file, "--format", "calabrio", "--by", "agent"), "has rows by skill"),
        ((places.file, "--format", "genesys", "--out", "a b.csv"), "no file with spaces"),
    ):
        done = run("report", *options, *(() if "--interval" in options else WINDOW))
        assert done.returncode in (1, 2)
        assert told in " ".join(done.stderr.split()), options
        assert "Traceback" not in done.stderr


def test_files_for_workforce_tools(places: Places, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "history.csv"
    done = run("report", places.file, "--format", "genesys", "--out", out, *WINDOW)
    assert "1 agent without focus data: " not in done.stdout
    assert out.read_text().splitlines()[0].startswith("Interval Start UTC Date,Queue,")
    events = handled("b", "acme", 7) + closed_at("2026-11-20T09:20:00Z") + handled(ODD, "acme", 6)
    opened = events.replace(b'"type": "assigned"', b'"skillId": 7, "type": "assigned"')
    done = run("report", "-", "--format", "calabrio", "--interval", "hour", "--account", "acme", stdin=opened)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert {line.split(";")[0] for line in lines} == {"60"}
    assert {len(line.split(";")) for line in lines} == {21}
    assert sum(int(line.split(";")[12]) for line in lines) == 20
