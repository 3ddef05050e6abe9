"""Keys in a file: no secrets in it, one command to make it, and every server sees at once what changed.

Covers: api/bearer, cli/keys.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from handletime.api.auth import AuthRequest
from handletime.api.bearer import BearerAuthenticator
from handletime.cli import cli
from handletime.errors import InputError, NotNow, StoreError, Unauthorized
from handletime.keys.keys import NewToken
from handletime.keys.keys_file import SharedKeys, create, list_keys, revoke
from handletime.scope import WHOLE, Scope, scope_of
from tests.api.world import NOW, FixedClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not there yet."""
    return tmp_path / "keys.json"


def asked(keys: SharedKeys, token: str | None, now: int = NOW) -> str | None:
    """The account of a token; None where it is refused."""
    key = keys.by_token(token or "", now)
    return None if key is None else key.account


def test_a_key_is_found_by_its_token_and_the_file_does_not_hold_it(path: Path) -> None:
    new = create(path, "north", clock=FixedClock())
    assert asked(SharedKeys(path), new.token) == "north"
    text = path.read_text()
    assert new.token not in text
    assert new.token.rpartition("_")[2] not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert new.token not in repr(new)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_wrong_tokens_are_nobodys(path: Path) -> None:
    new = create(path, "north", clock=FixedClock())
    keys = SharedKeys(path)
    wrong = [
        f"ht_{new.id}_{'0' * 64}",
        f"ht_{'0' * 12}_{'0' * 64}",
        "",
        "nonsense",
        new.token[:-1],
        new.token + "0",
        "ä",
    ]
    assert [asked(keys, each) for each in wrong] == [None] * len(wrong)


def test_a_key_ends_when_it_expires(path: Path) -> None:
    new = create(path, "north", expires_ms=NOW + 1000, clock=FixedClock())
    keys = SharedKeys(path)
    assert asked(keys, new.token, NOW + 999) == "north"
    assert asked(keys, new.token, NOW + 1000) is None


def test_what_changes_in_the_file_counts_from_the_next_question_on(path: Path) -> None:
    first = create(path, "north", clock=FixedClock())
    keys = SharedKeys(path)
    second = create(path, "south", ["admin"], clock=FixedClock())
    assert asked(keys, second.token) == "south"
    revoke(path, first.id, clock=FixedClock())
    assert asked(keys, first.token) is None
    assert asked(keys, second.token) == "south"
    assert [(key.id, key.revoked is not None) for key in list_keys(path)] == [(first.id, True), (second.id, False)]
    again = revoke(path, first.id, clock=FixedClock(NOW + 5))
    assert again.revoked == list_keys(path)[0].revoked, "the first time stands"


def test_a_file_that_breaks_lets_nobody_in(path: Path) -> None:
    """It may have been about to say that a key is revoked."""
    new = create(path, "north", clock=FixedClock())
    keys = SharedKeys(path)
    whole = path.read_text()
    path.write_text(whole[:-10])
    with pytest.raises(NotNow):
        asked(keys, new.token)
    path.unlink()
    with pytest.raises(NotNow):
        asked(keys, new.token)
    path.write_text(whole)
    path.chmod(0o600)
    assert asked(keys, new.token) == "north"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda path: path.unlink(), "there is no such file"),
        (lambda path: path.chmod(0o620), "may be written by others"),
        (lambda path: path.write_text("[]"), "is no file of keys"),
        (lambda path: path.write_text('{"keys": [{"id": "x"}]}'), "is no file of keys"),
        (lambda path: path.write_text(path.read_text().replace('"north"', '"../x"')), "is no file of keys"),
        (lambda path: path.write_text(path.read_text().replace('Z"', '"')), "is no file of keys"),
        (lambda path: path.write_bytes(b" " * ((16 << 20) + 1)), "must have at most 16 MiB"),
    ],
)
def test_what_is_no_file_of_keys_is_refused(path: Path, change: Any, told: str) -> None:
    create(path, "north", clock=FixedClock())
    change(path)
    with pytest.raises(StoreError, match=told):
        SharedKeys(path)


@pytest.mark.parametrize(
    ("account", "permissions", "expires", "told"),
    [
        ("a/b", ["operations"], None, "letters and digits"),
        ("north", ["ingest"], None, "takes no events"),
        ("north", [], None, "permissions are one or more"),
        ("north", ["operations"], NOW, "must expire in the future"),
    ],
)
def test_a_key_that_cannot_be_is_not_made(
    path: Path, account: str, permissions: Any, expires: int | None, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        create(path, account, permissions, expires, clock=FixedClock())
    assert not path.exists()


def test_many_commands_at_once_lose_no_key(path: Path) -> None:
    children = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            try:
                create(path, "north", clock=FixedClock())
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 8
    assert len({key.id for key in list_keys(path)}) == 8


def test_the_commands(path: Path) -> None:
    def run(*arguments: object) -> str:
        done = CliRunner().invoke(cli, ["keys", *map(str, arguments)])
        assert done.exit_code == 0, done.output
        return done.output

    new = json.loads(run("create", "north", "--file", path, "--permission", "operations", "--json"))
    assert asked(SharedKeys(path), new["token"]) == "north"
    assert new["permissions"] == ["operations"]
    assert "bearer token         ht_" in run("create", "south", "--file", path)
    assert [each["account"] for each in json.loads(run("list", "--file", path, "--json"))] == ["north", "south"]
    run("revoke", new["id"], "--file", path)
    assert asked(SharedKeys(path), new["token"]) is None
    assert "revoked" in run("list", "--file", path)


def test_a_key_that_is_not_there_cannot_be_revoked(path: Path) -> None:
    token = create(path, "north", clock=FixedClock()).token
    done = CliRunner().invoke(cli, ["keys", "revoke", token, "--file", str(path)])
    assert done.exit_code != 0
    assert token not in done.output
    missing = CliRunner().invoke(cli, ["keys", "revoke", "x", "--file", str(path.with_name("none.json"))])
    assert missing.exit_code != 0
    assert not path.with_name("none.json").exists()


def test_only_bearer_tokens_are_taken(path: Path) -> None:
    new: NewToken = create(path, "north", clock=FixedClock())
    authenticator = BearerAuthenticator(SharedKeys(path), FixedClock())
    assert authenticator.authenticate(AuthRequest("GET", "http://x/", f"Bearer {new.token}")).account == "north"
    for given, told in (
        ('OAuth oauth_consumer_key="x"', "takes no OAuth 1.0a"),
        ("Basic x", "must be the base64"),
        ("Digest x", "must be `Bearer"),
        (None, "a required parameter"),
        ("Bearer nonsense", "unacceptable"),
    ):
        with pytest.raises(Unauthorized) as refused:
            authenticator.authenticate(AuthRequest("GET", "http://x/", given))
        assert told.replace(" ", "%20").replace("`", "%60") in refused.value.reason
    basic = "Basic " + base64.b64encode(f"anybody:{new.token}".encode()).decode()
    for method in ("GET", "HEAD"):
        assert authenticator.authenticate(AuthRequest(method, "http://x/", basic)).account == "north"
    with pytest.raises(Unauthorized):
        authenticator.authenticate(AuthRequest("POST", "http://x/", basic))


def test_a_key_of_a_file_may_be_limited_to_groups_and_skills(path: Path) -> None:
    limited, whole = create(path, "local", scope=scope_of([52, 51])), create(path, "local")
    keys = SharedKeys(path)
    found = [keys.by_token(new.token, NOW) for new in (limited, whole)]
    assert [key.scope for key in found if key] == [Scope((51, 52)), WHOLE]
    assert [(key.groups, key.skills) for key in list_keys(path)] == [((51, 52), None), (None, None)]
    with pytest.raises(InputError, match="only read"):
        create(path, "local", ["admin"], scope=scope_of([], [10]))
    # A key of before there were scopes has none, in the file too.
    texts = msgspec.json.decode(path.read_bytes())["keys"]
    assert [{"groups", "skills"} & text.keys() for text in texts] == [{"groups"}, set()]


@pytest.mark.parametrize("ids", [[], ["51"], [1 << 63], 51])
def test_a_scope_that_is_none_breaks_the_file(ids: object, path: Path) -> None:
    create(path, "local")
    told = msgspec.json.decode(path.read_bytes())
    told["keys"][0]["groups"] = ids
    path.write_bytes(msgspec.json.encode(told))
    with pytest.raises(StoreError, match="no file of keys"):
        SharedKeys(path)
