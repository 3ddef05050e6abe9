"""What of an account a key may see: `scope`, and the command that makes such a key."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from handletime.cli import cli
from handletime.errors import InputError
from handletime.scope import IDS_MAX, WHOLE, Scope, scope_of


def test_a_scope_is_groups_and_skills() -> None:
    assert scope_of() == WHOLE
    assert WHOLE.is_whole
    both = scope_of([52, 51, 51], [10])
    assert both == Scope((51, 52), (10,))
    found = [(skill, group) for skill in (10, 11) for group in (51, 52, 53, -1, None) if both.has(skill, group)]
    assert found == [(10, 51), (10, 52)]
    of_skills = scope_of([], [10])
    assert [of_skills.has(skill, None) for skill in (10, 11)] == [True, False]
    assert (of_skills.has_queues, both.has_queues, WHOLE.has_queues) == (True, False, True)
    assert [str(each) for each in (WHOLE, both, of_skills)] == ["", "groups 51, 52 and skill 10", "skill 10"]


@pytest.mark.parametrize("ids", [[1 << 63], [-(1 << 63) - 1], range(IDS_MAX + 1)])
def test_what_cannot_be_a_scope_is_refused(ids: list[int]) -> None:
    for groups, skills in ((ids, [1]), ([1], ids)):
        with pytest.raises(InputError):
            scope_of(groups, skills)


@pytest.mark.parametrize("place", ["--data", "--file"])
def test_the_commands(place: str, tmp_path: Path) -> None:
    where = [place, str(tmp_path / "keys.json")]

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["keys", *arguments, *where])
        return done.exit_code, f"{done.output}{done.exception or ''}"

    code, said = run("create", "acme", "--group", "52", "--group", "51", "--skill", "10")
    assert code == 0
    assert "of account acme may: handle-time, operations; of groups 51, 52 and skill 10 only" in said
    assert run("create", "acme", "--permission", "admin")[0] == 0
    code, said = run("create", "acme", "--group", "51", "--permission", "admin")
    assert code != 0
    assert "can only read" in said
    code, said = run("list")
    assert "only" in said.splitlines()[0]
    assert "groups 51, 52 and skill 10" in said.splitlines()[1]
    told = msgspec.json.decode(run("list", "--json")[1])
    assert [(each["groups"], each["skills"]) for each in told] == [([51, 52], [10]), (None, None)]
