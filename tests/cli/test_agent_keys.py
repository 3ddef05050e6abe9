"""`handletime tracker keys`, `keys create --agent` and `keys revoke --agent`, with a real folder.

Covers: cli/tracker_keys.
"""

from __future__ import annotations

import csv
import stat
from pathlib import Path

import pytest

from handletime.keys.keys import Keys
from handletime.keys.sidefile import SideFile
from tests.crash.nursery import shared

NOW = 1_795_165_200_000


def tracker_keys(folder: Path, text: str | bytes, out: str = "keys.csv", *more: str) -> tuple[int, str]:
    agents = folder / "agents.csv"
    agents.write_bytes(text if isinstance(text, bytes) else text.encode())
    given = ("--csv", agents, "--account", "acme", "--data", folder / "store", "--out", folder / out, *more)
    done = shared().done("tracker", "keys", *given)
    return done.returncode, done.stdout + done.stderr


def rows(folder: Path, out: str = "keys.csv") -> list[dict[str, str]]:
    with (folder / out).open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_agent_gets_a_key_once(tmp_path: Path) -> None:
    code, said = tracker_keys(tmp_path, "agentId,label\n1001,desk one\n1002,=formula\n")
    assert code == 0, said
    assert "2 keys in" in said
    made = rows(tmp_path)
    assert [(row["agentId"], row["label"]) for row in made] == [("1001", "desk one"), ("1002", "'=formula")]
    assert stat.S_IMODE((tmp_path / "keys.csv").stat().st_mode) == 0o600
    with SideFile(tmp_path / "store") as side:
        found = [Keys(side).by_token(row["key"], NOW) for row in made]
    assert [(key.agent_id, key.permissions) for key in found if key] == [(1001, ("focus",)), (1002, ("focus",))]
    # The file has grown; who has a key keeps it. Excel's separator and byte-order mark.
    code, said = tracker_keys(tmp_path, "\ufeffagentId;label\n1001;\n1003;\n", "more.csv")
    assert (code, "1 agent had one already" in said) == (0, True), said
    assert [row["agentId"] for row in rows(tmp_path, "more.csv")] == ["1003"]
    code, said = tracker_keys(tmp_path, "agentId\n1001\n", "none.csv")
    assert (code, "--again" in said, (tmp_path / "none.csv").exists()) == (0, True, False)
    code, said = tracker_keys(tmp_path, "agentId\n1001\n", "again.csv", "--again")
    assert code == 0
    with SideFile(tmp_path / "store") as side:
        keys = Keys(side)
        assert keys.by_token(made[0]["key"], NOW) is None
        assert keys.by_token(rows(tmp_path, "again.csv")[0]["key"], NOW) is not None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("agentId\n1\nx\n1\n", ["line 3: agentId: must be a whole number", "line 4: agentId: 1 stands here twice"]),
        ("agent\n1\n", ["line 1: must name the columns: agentId"]),
        ("", ["line 1: must name the columns: agentId"]),
        ("agentId\n", ["names no agents"]),
        (b"agentId\n\xff\n", ["must be UTF-8"]),
        ("agentId\n99999999999999999999\n", ["line 2: agentId"]),
        ('agentId,label\n1,"open\n', ["is no CSV"]),
    ],
)
def test_bad_files_make_no_key(tmp_path: Path, text: str | bytes, told: list[str]) -> None:
    code, said = tracker_keys(tmp_path, text)
    assert code == 1
    assert all(each in said for each in told), said
    assert not (tmp_path / "keys.csv").exists()
    assert not (tmp_path / "store").exists()


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_text("keys of yesterday")
    code, said = tracker_keys(tmp_path, "agentId\n1\n")
    assert (code, "is there already" in said) == (1, True)
    assert (tmp_path / "keys.csv").read_text() == "keys of yesterday"


def test_an_account_that_is_none_leaves_no_file(tmp_path: Path) -> None:
    agents = tmp_path / "agents.csv"
    agents.write_text("agentId\n1\n")
    given = ("--csv", agents, "--account", "a b", "--data", tmp_path / "store", "--out", tmp_path / "keys.csv")
    done = shared().done("tracker", "keys", *given)
    assert (done.returncode, (tmp_path / "keys.csv").exists()) == (1, False)
    assert "letters and digits" in done.stderr


def test_keys_of_an_agent_are_created_listed_and_revoked(tmp_path: Path) -> None:
    store = tmp_path / "store"
    made = shared().done("keys", "create", "acme", "--data", store, "--permission", "focus", "--agent", "7")
    assert "agent 7" in made.stdout
    assert "OAuth" not in made.stdout
    assert " 7 " in shared().done("keys", "list", "--data", store).stdout
    for wrong in (("--permission", "focus"), ("--permission", "ingest", "--agent", "7")):
        refused = shared().done("keys", "create", "acme", "--data", store, *wrong)
        assert (refused.returncode, "focus" in refused.stderr) == (1, True)
    revoked = shared().done("keys", "revoke", "--data", store, "--account", "acme", "--agent", "7")
    assert "agent 7, is revoked" in revoked.stdout
    assert shared().done("keys", "revoke", "--data", store, "--account", "acme", "--agent", "7").returncode == 1
    unclear: list[list[str]] = [[], ["--agent", "7"], ["0" * 12, "--account", "acme", "--agent", "7"]]
    for given in unclear:
        assert shared().done("keys", "revoke", "--data", store, *given).returncode == 2
