"""Names from a file: read whole or not at all, and again when it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from handletime.answers import labels
from handletime.answers.labels import AccountLabels, Labels, read_labels
from handletime.errors import InputError

GOOD = 'kind,id,label\nagent,7,"Heron ""the"" grey"\nskill,-1,nowhere\n\nGROUP, 5 ,Team <North>\n'


def test_names_are_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("\ufeff" + GOOD, "utf-8")
    names = Labels(path).of("acme")
    assert names.text("agent", 7) == 'Heron "the" grey'
    assert names.text("group", 5) == "Team <North>"
    assert names.text("skill", -1) == "nowhere"
    assert names.name("agent", 8) is None
    assert (names.text("agent", 8), names.text("agent", -1)) == ("agent 8", "no agent")
    assert names.all("agent") == {7: 'Heron "the" grey'}


def test_a_name_of_one_account_is_no_other_accounts(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("kind,id,label,account\nagent,7,Everybody's,\nagent,7,Ours,acme\nagent,8,Only ours,acme\n")
    ours, theirs = (Labels(path).of(account) for account in ("acme", "other"))
    assert (ours.text("agent", 7), theirs.text("agent", 7)) == ("Ours", "Everybody's")
    assert (ours.all("agent"), theirs.all("agent")) == ({7: "Ours", 8: "Only ours"}, {7: "Everybody's"})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "line 1: must be kind,id,label"),
        ("id,kind,label\n", "line 1: must be kind,id,label"),
        ("kind,id,label\nagent,7\n", "line 2: must have 3 cells"),
        ("kind,id,label\nagent,7,Heron\nboss,7,Heron\n", "line 3: kind: must be one of agent, skill, group"),
        ("kind,id,label\nagent,x,Heron\n", "line 2: id: must be an integer"),
        ("kind,id,label\nagent,9223372036854775808,Heron\n", "line 2: id: must be a signed 64-bit integer"),
        ("kind,id,label\nagent,7,\n", "line 2: label: must have 1 to 200 characters"),
        (f"kind,id,label\nagent,7,{'x' * 201}\n", "line 2: label: must have 1 to 200 characters"),
        ("kind,id,label\nagent,7,a\x1bb\n", "line 2: label: must have 1 to 200 characters"),
        ('kind,id,label\nagent,7,"a\n', "is no CSV"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=fault):
        read_labels(path)


def test_only_so_many_lines_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they are empty, or name one agent again and again: all pages wait meanwhile."""
    monkeypatch.setattr(labels, "LINES_MAX", 10)
    path = tmp_path / "labels.csv"
    path.write_text("kind,id,label\n" + "agent,7,a\n" * 9)
    assert read_labels(path)
    for line in ("agent,7,a\n", "\n"):
        path.write_text("kind,id,label\n" + line * 10 + "agent,7,a\n")
        with pytest.raises(InputError, match="at most 10 lines"):
            read_labels(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"kind,id,label\nagent,7,\xff\n")
    with pytest.raises(InputError, match="must be UTF-8"):
        read_labels(path)


def test_a_file_that_changes_is_read_again_and_a_wrong_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("handletime.files.LOOK_EVERY_S", 0.0)
    path = tmp_path / "labels.csv"
    path.write_text(GOOD)
    names = Labels(path)
    _replace(path, "kind,id,label\nagent,7,Ibis\n")
    assert names.of("acme").text("agent", 7) == "Ibis"
    _replace(path, "kind,id,label\nagent,seven,Tern\n")
    assert names.of("acme").text("agent", 7) == "Ibis"
    assert "id: must be an integer" in caplog.text
    path.unlink()
    assert names.of("acme").text("agent", 7) == "Ibis"


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def test_without_a_file_there_are_ids() -> None:
    assert Labels().of("acme").text("skill", 3) == AccountLabels().text("skill", 3) == "skill 3"
