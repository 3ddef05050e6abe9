"""Keys and the side file: durable, sealed, seen by other processes, and silent about secrets.

Covers: sqlite, keys/secret, keys/sidefile.
"""

import hmac
import io
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from handletime.errors import InputError, NotNow, StoreError
from handletime.keys import keys as keys_module
from handletime.keys import sidefile
from handletime.keys.keys import (
    PERMISSIONS,
    Keys,
    NewKey,
    Permission,
    create,
    create_for_agents,
    list_keys,
    revoke,
    revoke_of_agent,
)
from handletime.keys.sealing import open_secret
from handletime.keys.secret import Secret
from handletime.keys.sidefile import SideFile
from handletime.scope import Scope, scope_of

NOW = 1_795_165_200_123
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
SECRETS = ("token", "app_key", "app_secret", "access_token", "access_token_secret")


@pytest.fixture
def side(tmp_path: Path) -> Iterator[SideFile]:
    with SideFile(tmp_path) as side:
        yield side


class At:
    """A clock that stands."""

    def __init__(self, now_ms: int = NOW) -> None:
        self._now_ms = now_ms

    def now(self) -> int:
        return self._now_ms


def moment(now_ms: int) -> datetime:
    return datetime.fromtimestamp(now_ms // 1000, UTC) + timedelta(milliseconds=now_ms % 1000)


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a few lines in another process, the folder first among its arguments."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)


def secrets_of(new: NewKey) -> set[str]:
    return {getattr(new, name) for name in SECRETS}


# What a key is


def test_a_new_key_has_exactly_these_names_in_this_order(side: SideFile) -> None:
    new = create(side, "local")
    names = [
        "id",
        "account",
        "permissions",
        "agentId",
        "groups",
        "skills",
        "token",
        "appKey",
        "appSecret",
        "accessToken",
        "accessTokenSecret",
    ]
    assert list(msgspec.json.decode(msgspec.json.encode(new))) == names
    assert re.fullmatch(rf"ht_{new.id}_[0-9a-f]{{64}}", new.token)
    assert new.permissions == ("handle-time", "operations")


def test_a_key_for_focus_belongs_to_one_agent_and_to_nothing_else(side: SideFile) -> None:
    new = create(side, "local", ["focus"], agent=1001)
    key = Keys(side).by_token(new.token, NOW)
    assert key is not None
    assert (key.agent_id, key.permissions) == (1001, ("focus",))
    assert not any(key.may(permission) for permission in PERMISSIONS if permission != "focus")
    wrong: list[tuple[list[Permission], int | None]] = [
        (["focus"], None),
        (["focus", "ingest"], 1001),
        (["focus", "admin"], 1001),
        (["ingest"], 1001),
        (["focus"], 1 << 63),
    ]
    for permissions, agent in wrong:
        with pytest.raises(InputError):
            create(side, "local", permissions, agent=agent)
    assert len(list_keys(side)) == 1


def test_another_agent_in_a_keys_row_is_noticed(side: SideFile) -> None:
    new = create(side, "local", ["focus"], agent=1001)
    for agent, permissions in ((1002, "focus"), (None, "focus"), (1001, "admin")):
        with side.writing() as db:
            db.execute("UPDATE keys SET agent_id = ?, permissions = ?", (agent, permissions))
        assert Keys(side).by_token(new.token, NOW) is None
    with side.writing() as db:
        db.execute("UPDATE keys SET agent_id = 1001, permissions = 'focus'")
    assert Keys(side).by_token(new.token, NOW) is not None


def test_a_key_may_be_limited_to_groups_and_skills(side: SideFile) -> None:
    new = create(side, "local", scope=scope_of([52, 51, 52], [10]))
    key = Keys(side).by_token(new.token, NOW)
    assert key is not None
    assert key.scope == new.scope == Scope((51, 52), (10,))
    assert Keys(side).by_app_key(new.app_key, NOW).key == key
    (told,) = list_keys(side)
    assert (told.groups, told.skills) == ((51, 52), (10,))
    # Whatever else may have come to stand in its permissions, it reads.
    spoilt = msgspec.structs.replace(key, permissions=PERMISSIONS)
    assert [each for each in PERMISSIONS if spoilt.may(each)] == ["handle-time", "operations"]


@pytest.mark.parametrize("more", ["ingest", "admin", "focus"])
def test_a_key_that_is_limited_can_only_read(more: Permission, side: SideFile) -> None:
    for permissions in ([more], ["operations", more]):
        with pytest.raises(InputError, match=r"only read|do nothing else"):
            create(side, "local", permissions, agent=7 if more == "focus" else None, scope=scope_of([51]))
    assert list_keys(side) == []


def test_no_other_scope_in_a_keys_row_is_believed(side: SideFile) -> None:
    limited, whole = create(side, "local", scope=scope_of([51])), create(side, "local")
    for scope in (None, "", "null", "[null,null]", "[[51,52],null]", "[[52],null]", "[null,[51]]", b"[[51],null]\x00"):
        with side.writing() as db:
            db.execute("UPDATE keys SET scope = ?", (scope,))
            db.execute("UPDATE key_changes SET number = number + 1")
        keys = Keys(side)
        assert keys.by_token(limited.token, NOW) is None, scope
        assert (keys.by_token(whole.token, NOW) is None) == (scope is not None)
        assert len(list_keys(side)) == 2  # They can be listed, and so revoked.


def test_keys_for_many_agents_are_made_once(side: SideFile) -> None:
    first = create_for_agents(side, "local", [3, 1, 3, 2])
    assert list(first) == [3, 1, 2]
    assert list(create_for_agents(side, "local", [1, 2, 3, 4])) == [4]
    assert list(create_for_agents(side, "other", [1])) == [1]
    again = create_for_agents(side, "local", [1], again=True)
    keys = Keys(side)
    assert keys.by_token(first[1].token, NOW) is None
    assert keys.by_token(again[1].token, NOW) is not None
    assert keys.by_token(first[2].token, NOW) is not None


def test_all_keys_of_an_agent_are_revoked(side: SideFile) -> None:
    mine = [create(side, "local", ["focus"], agent=7) for _ in range(2)]
    others = [create(side, "local", ["focus"], agent=8), create(side, "other", ["focus"], agent=7)]
    assert {key.id for key in revoke_of_agent(side, "local", 7)} == {key.id for key in mine}
    keys = Keys(side)
    assert [keys.by_token(key.token, NOW) for key in mine] == [None, None]
    assert None not in [keys.by_token(key.token, NOW) for key in others]
    with pytest.raises(InputError, match="agent 7 of account local has no key that holds"):
        revoke_of_agent(side, "local", 7)


def test_every_secret_is_another_one(side: SideFile) -> None:
    made = [create(side, "local") for _ in range(3)]
    assert len({secret for new in made for secret in secrets_of(new)}) == 3 * len(SECRETS)


def test_a_key_is_found_by_its_token_and_by_its_app_key(side: SideFile) -> None:
    new = create(side, "A1", ["ingest"], clock=At())
    keys = Keys(side)
    found = keys.by_token(new.token, NOW)
    assert found is not None
    assert (found.id, found.account, found.permissions) == (new.id, "A1", ("ingest",))
    signer = keys.by_app_key(new.app_key, NOW)
    assert (signer.key, signer.app_secret) == (found, new.app_secret)
    assert signer.access_token_secret == new.access_token_secret
    assert signer.has_access_token(new.access_token)
    assert not signer.has_access_token(new.app_key)


def test_admin_includes_every_permission(side: SideFile) -> None:
    new = create(side, "local", ["admin"])
    key = Keys(side).by_token(new.token, NOW)
    assert key is not None
    assert all(key.may(permission) for permission in keys_module.PERMISSIONS)


@pytest.mark.parametrize(
    "token",
    ["", "ht_", "nonsense", "ht_000000000000_" + "0" * 64, "ht_é_ü", "\udcff", "ht_%s_" + "0" * 64, "%s"],
)
def test_other_tokens_find_nothing(side: SideFile, token: str) -> None:
    new = create(side, "local")
    assert Keys(side).by_token(token.replace("%s", new.id), NOW) is None


def test_a_token_that_differs_in_one_character_finds_nothing(side: SideFile) -> None:
    new = create(side, "local")
    keys = Keys(side)
    for place in range(len(new.token)):
        changed = "0" if new.token[place] != "0" else "1"
        assert keys.by_token(new.token[:place] + changed + new.token[place + 1 :], NOW) is None


def test_unknown_keys_take_the_same_steps_as_wrong_ones(side: SideFile, monkeypatch: pytest.MonkeyPatch) -> None:
    new = create(side, "local")
    keys = Keys(side)
    keys.by_token(new.token, NOW)
    steps: list[str] = []
    compare, unseal = hmac.compare_digest, Secret.unseal

    def compared(one: bytes, other: bytes) -> bool:
        steps.append(f"compare {len(one)} {len(other)}")
        return compare(one, other)

    def unsealed(secret: Secret, bound: bytes, sealed: bytes) -> tuple[str, str] | None:
        steps.append(f"unseal {len(sealed)}")
        return unseal(secret, bound, sealed)

    monkeypatch.setattr(hmac, "compare_digest", compared)
    monkeypatch.setattr(Secret, "unseal", unsealed)
    wrong, unknown = f"ht_{new.id}_" + "0" * 64, "ht_000000000000_" + "0" * 64
    seen = []
    for token, app_key in ((wrong, new.app_key), (unknown, "0" * 32)):
        keys.by_token(token, NOW)
        keys.by_app_key(app_key, NOW).has_access_token("wrong")
        seen.append(steps[:])
        steps.clear()
    assert seen[0] == seen[1] == ["compare 32 32", "unseal 157", "compare 32 32"]


def test_an_expired_key_holds_no_more(side: SideFile) -> None:
    new = create(side, "local", expires_ms=NOW + HOUR, clock=At())
    keys = Keys(side)
    for now_ms, holds in ((NOW + HOUR - 1, True), (NOW + HOUR, False)):
        assert (keys.by_token(new.token, now_ms) is not None) is holds
        assert (keys.by_app_key(new.app_key, now_ms).key is not None) is holds


@pytest.mark.parametrize("account", ["", "a b", "a/b", "é", "a" * 65, "a\n"])
def test_an_account_is_letters_and_digits(side: SideFile, account: str) -> None:
    with pytest.raises(InputError, match="1 to 64 letters and digits"):
        create(side, account)


@pytest.mark.parametrize("permissions", [[], ["write"], ["admin", ""]])
def test_permissions_are_of_a_closed_list(side: SideFile, permissions: list[keys_module.Permission]) -> None:
    with pytest.raises(InputError, match="handle-time, operations, ingest, focus, admin"):
        create(side, "local", permissions)


@pytest.mark.parametrize("expires_ms", [NOW, NOW - DAY, 0, -1, 10**15])
def test_a_key_expires_in_the_future(side: SideFile, expires_ms: int) -> None:
    with pytest.raises(InputError, match="future"):
        create(side, "local", expires_ms=expires_ms, clock=At())


# Revoking, listing, last use


def test_a_revoked_key_holds_no_more_and_stays_in_the_list(side: SideFile) -> None:
    keys = Keys(side)
    new, other = (
        create(side, "local", clock=At()),
        create(side, "local", clock=At(NOW + 1000)),
    )
    assert keys.by_token(new.token, NOW) is not None
    later = NOW + DAY
    assert revoke(side, new.id, clock=At(later)).revoked == moment(later)
    assert revoke(side, new.id, clock=At(later + DAY)).revoked == moment(later)
    assert keys.by_token(new.token, NOW) is None
    assert keys.by_app_key(new.app_key, NOW).key is None
    assert keys.by_token(other.token, NOW) is not None
    assert [(info.id, info.created, info.revoked) for info in list_keys(side)] == [
        (new.id, moment(NOW), moment(later)),
        (other.id, moment(NOW + 1000), None),
    ]


def test_many_look_ups_read_the_file_seldom_and_yet_no_change_is_missed(
    side: SideFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, reads, read = Keys(side), [0], side.key_changes

    def counted() -> int:
        reads[0] += 1
        return read()

    monkeypatch.setattr(side, "key_changes", counted)
    monkeypatch.setattr(side, "writing_durably", side.writing)  # No slow sync: a change is soon told as done.
    look_ups = 0
    for _ in range(30):
        new = create(side, "local")
        for _ in range(100):
            look_ups += 1
            assert keys.by_token(new.token, NOW) is not None
        revoke(side, new.id)
        assert keys.by_token(new.token, NOW) is None
    assert reads[0] < look_ups / 3


def test_revoking_what_is_not_there_is_told_without_repeating_it(side: SideFile) -> None:
    new = create(side, "local")
    with pytest.raises(InputError, match="no key") as told:
        revoke(side, new.token)
    assert new.token not in str(told.value)


def test_the_last_use_is_written_once_a_minute(side: SideFile) -> None:
    new = create(side, "local", clock=At())
    keys = Keys(side)
    key = keys.by_token(new.token, NOW)
    assert key is not None
    assert list_keys(side)[0].last_used is None
    seen = []
    for seconds in (0, 30, 59, 60, 61, -3600):
        keys.used(key, NOW + seconds * 1000)
        seen.append(list_keys(side)[0].last_used)
    first, second, third = moment(NOW), moment(NOW + MINUTE), moment(NOW - HOUR)
    assert seen == [first, first, first, second, second, third]


def test_a_list_as_json(side: SideFile) -> None:
    new = create(side, "A", ["admin", "ingest"], NOW + DAY, clock=At())
    assert msgspec.to_builtins(list_keys(side)) == [
        {
            "id": new.id,
            "account": "A",
            "permissions": ("ingest", "admin"),
            "agentId": None,
            "groups": None,
            "skills": None,
            "created": "2026-11-20T09:00:00.123000Z",
            "expires": "2026-11-21T09:00:00.123000Z",
            "lastUsed": None,
            "revoked": None,
        }
    ]


# Another process


def test_keys_that_another_process_creates_and_revokes_count_at_once(side: SideFile, tmp_path: Path) -> None:
    keys = Keys(side)
    made = python(
        """if True:
        import sys, msgspec
        from pathlib import Path
        from handletime.keys import keys, sidefile
        with sidefile.SideFile(Path(sys.argv[1])) as side:
            print(msgspec.json.encode(keys.create(side, "local")).decode())
        """,
        tmp_path,
    ).stdout
    new = msgspec.json.decode(made, type=NewKey)
    assert keys.by_token(new.token, NOW) is not None
    assert keys.by_app_key(new.app_key, NOW).app_secret == new.app_secret
    python(
        """if True:
        import sys
        from pathlib import Path
        from handletime.keys import keys, sidefile
        with sidefile.SideFile(Path(sys.argv[1])) as side:
            keys.revoke(side, sys.argv[2])
        """,
        tmp_path,
        new.id,
    )
    assert keys.by_token(new.token, NOW) is None


def test_keys_are_read_again_only_when_one_has_changed(side: SideFile, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(side)
    loads: list[int] = []
    hold = keys_module._hold

    def held(db: sqlite3.Connection, number: int, secret: Secret) -> keys_module._Held:
        loads.append(number)
        return hold(db, number, secret)

    monkeypatch.setattr(keys_module, "_hold", held)
    new = create(side, "local")
    for turn in range(3):
        key = keys.by_token(new.token, NOW)
        assert key is not None
        keys.used(key, NOW + turn * MINUTE)
        side.set_last_commit(turn)
        side.use_nonce(new.id, turn, "nonce", forget_before=0)
    assert loads == [1]


def test_many_processes_may_open_a_new_folder_at_once(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from handletime.keys import keys, sidefile
        sys.stdin.readline()
        with sidefile.SideFile(Path(sys.argv[1])) as side:
            print(keys.create(side, "local").token)
        """
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    tokens = [process.communicate(timeout=60)[0].strip() for process in started]
    with SideFile(tmp_path) as side:
        keys = Keys(side)
        assert all(keys.by_token(token, NOW) is not None for token in tokens)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["secret.key", "side.sqlite"]


def test_two_processes_may_settle_on_the_secret_key_at_one_moment(
    side: SideFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    durably = SideFile.writing_durably
    settled: list[Secret] = []

    def after_another(mine: SideFile) -> AbstractContextManager[sqlite3.Connection]:
        if mine is side and not settled:
            with SideFile(tmp_path) as other:
                settled.append(open_secret(other))
        return durably(mine)

    monkeypatch.setattr(SideFile, "writing_durably", after_another)
    assert open_secret(side).fingerprint == settled[0].fingerprint


# Secrets


def test_no_secret_is_in_a_repr(side: SideFile) -> None:
    new = create(side, "local")
    keys = Keys(side)
    signer = keys.by_app_key(new.app_key, NOW)
    shown = [new, [new], {"new": new}, signer, keys, open_secret(side), list_keys(side)]
    text = "".join(f"{each!r}{each!s}{pretty_repr(each)}" for each in shown)
    assert [secret for secret in secrets_of(new) if secret in text] == []
    assert f"NewKey(id='{new.id}', account='local'" in text


def test_no_secret_is_in_the_folder_but_sealed(side: SideFile, tmp_path: Path) -> None:
    new = create(side, "local")
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert new.id.encode() in content
    for secret in secrets_of(new):
        assert secret.encode() not in content
        assert bytes.fromhex(secret.rpartition("_")[2]) not in content


def test_secrets_sealed_for_one_key_do_not_open_for_another(side: SideFile) -> None:
    one, other = create(side, "A"), create(side, "B")
    with side.writing() as db:
        sealed = db.execute("SELECT sealed FROM keys WHERE id = ?", (one.id,)).fetchone()
        db.execute("UPDATE keys SET sealed = ? WHERE id = ?", (*sealed, other.id))
    keys = Keys(side)
    assert keys.by_app_key(one.app_key, NOW).key is not None
    assert keys.by_app_key(other.app_key, NOW).key is None


def test_every_file_is_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with SideFile(tmp_path) as side:
            create(side, "local")
            modes = {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()}
    finally:
        os.umask(before)
    names = ["secret.key", "side.sqlite", "side.sqlite-shm", "side.sqlite-wal"]
    assert modes == dict.fromkeys(names, "0o600")


def test_a_secret_key_that_is_not_the_one_is_told(side: SideFile, tmp_path: Path) -> None:
    create(side, "local")
    (tmp_path / "secret.key").write_text("cd" * 32)
    with pytest.raises(StoreError, match=r"secret\.key is not the secret key that the keys in"):
        Keys(side)


def test_where_the_secret_key_is_gone_no_command_makes_another(side: SideFile, tmp_path: Path) -> None:
    open_secret(side)
    (tmp_path / "secret.key").unlink()
    with pytest.raises(StoreError, match=r"secret\.key is missing"):
        create(side, "local")
    assert not (tmp_path / "secret.key").exists()


def test_a_lost_secret_key_is_told_and_can_be_got_over(side: SideFile, tmp_path: Path) -> None:
    lost = create(side, "local")
    (tmp_path / "secret.key").unlink()
    for attempt in (lambda: Keys(side), lambda: create(side, "local")):
        with pytest.raises(StoreError, match="put it back, or revoke all keys"):
            attempt()
    revoke(side, lost.id)
    new = create(side, "local")
    assert Keys(side).by_app_key(new.app_key, NOW).app_secret == new.app_secret


@pytest.mark.parametrize("content", ["", "\n", "ab" * 31, "ab" * 33, "zz" * 32, "é" * 32, "x" * 100_000])
def test_a_secret_key_file_with_other_content_is_told(side: SideFile, tmp_path: Path, content: str) -> None:
    create(side, "local")
    (tmp_path / "secret.key").write_text(content)
    with pytest.raises(StoreError, match=r"secret\.key(:| must be 64 hexadecimal digits)") as told:
        Keys(side)
    assert not content.strip() or content.strip() not in str(told.value)


def test_a_secret_key_file_open_to_others_is_told(side: SideFile, tmp_path: Path) -> None:
    create(side, "local")
    (tmp_path / "secret.key").chmod(0o640)
    with pytest.raises(StoreError, match="chmod 600"):
        Keys(side)


def test_a_secret_key_that_cannot_be_read_is_told(side: SideFile, tmp_path: Path) -> None:
    create(side, "local")
    (tmp_path / "secret.key").unlink()
    (tmp_path / "secret.key").mkdir()
    with pytest.raises(StoreError, match=r"secret\.key: must be a file"):
        Keys(side)


def test_keys_can_be_listed_and_revoked_without_the_secret_key(side: SideFile, tmp_path: Path) -> None:
    new = create(side, "local")
    (tmp_path / "secret.key").unlink()
    assert [info.id for info in list_keys(side)] == [new.id]
    assert revoke(side, new.id).revoked is not None


# The side file


def test_the_number_of_the_last_commit_is_kept(tmp_path: Path) -> None:
    with SideFile(tmp_path) as side:
        assert side.last_commit() == 0
        side.set_last_commit(2**63 - 1)
        assert side.last_commit() == 2**63 - 1
        side.set_last_commit(7)
    with SideFile(tmp_path, create=False) as side:
        assert side.last_commit() == 7


def test_a_commit_number_that_was_told_survives_kill_9(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from handletime.keys.sidefile import SideFile
        side = SideFile(Path(sys.argv[1]))
        for number in range(1, 1_000_000):
            side.set_last_commit(number)
            print(number, flush=True)
        """
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(500)][-1]
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
    told = max([told, *map(int, rest[: None if not rest or rest[-1].endswith("\n") else -1])])
    with SideFile(tmp_path) as side:
        assert side.last_commit() >= told


def test_a_nonce_is_new_once(side: SideFile) -> None:
    uses = [
        ("k", 10, "a"),
        ("k", 10, "a"),
        ("k", 11, "a"),
        ("other", 10, "a"),
        ("k", 10, "A"),
        ("k", 10, "a"),
    ]
    assert [side.use_nonce(*use, forget_before=0) for use in uses] == [True, False, True, True, True, False]


def test_of_fifty_equal_nonces_at_once_one_is_new(side: SideFile) -> None:
    ready = threading.Barrier(50)

    def use(_: int) -> bool:
        ready.wait()
        return side.use_nonce("k", 10, "a", forget_before=0)

    with ThreadPoolExecutor(50) as threads:
        assert sum(threads.map(use, range(50))) == 1


def test_old_nonces_are_forgotten_a_few_at_a_time(side: SideFile) -> None:
    for second in range(20):
        side.use_nonce("k", second, "n", forget_before=0)
    left = []
    for turn in range(8):
        side.use_nonce("k", 100, f"{turn}", forget_before=11)
        with side.reading() as db:
            left.append([row[0] for row in db.execute("SELECT timestamp FROM nonces WHERE timestamp < 100")])
    assert [seen[0] for seen in left] == [2, 4, 6, 8, 10, 11, 11, 11]


def test_what_was_forgotten_is_never_new_again_also_after_a_restart(tmp_path: Path) -> None:
    with SideFile(tmp_path) as side:
        for second in (10, 11, 12):
            assert side.use_nonce("k", second, "n", forget_before=0)
        # The clock is put forward.
        assert side.use_nonce("k", 900, "n", forget_before=540)
    with SideFile(tmp_path) as side:
        # And back: 10 and 11 are forgotten, 12 is not.
        assert [side.use_nonce("k", second, "n", forget_before=0) for second in (10, 11, 12)] == [False, False, False]
        assert not side.use_nonce("k", 11, "another", forget_before=0)
        assert side.use_nonce("k", 12, "another", forget_before=0)


def test_a_clock_that_was_far_ahead_locks_nobody_out(side: SideFile) -> None:
    """One client signed by the same wrong clock, twice: after that nobody was let in until that time had come."""
    day, now = 86_400, 1_000_000
    assert side.use_nonce("k", now, "n", forget_before=now - 600)
    for later in (0, 660, 1320):
        ahead = now + 400 * day + later
        assert side.use_nonce("hostile", ahead, "n", forget_before=ahead - 600)
    for at in range(now + 1, now + 2000, 100):
        assert side.use_nonce("k", at, "n", forget_before=at - 600)
    assert not side.use_nonce("k", now, "n", forget_before=0)
    assert not side.use_nonce("hostile", now + 400 * day, "n", forget_before=0)
    assert side.use_nonce("k", now + 400 * day + 300, "n", forget_before=0)


def test_nor_does_one_that_was_for_hours_with_few_requests(side: SideFile) -> None:
    """Each that lay a minute apart was a time of its own; of too many the oldest became one, with 400 days between."""
    day, now = 86_400, 1_000_000
    assert side.use_nonce("k", now, "n", forget_before=now - 600)
    for later in range(0, 20 * 3600, 300):
        ahead = now + 400 * day + later
        assert side.use_nonce("k", ahead, "n", forget_before=ahead - 600)
    for at in range(now + 1, now + 2000, 100):
        assert side.use_nonce("k", at, "n", forget_before=at - 600)
    with side.reading() as db:
        longest = db.execute("SELECT max(until - since) FROM forgotten_times").fetchall()[0][0]
    assert longest < day


@given(st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 1_200)), min_size=1, max_size=60))
@settings(deadline=None)
def test_no_nonce_is_new_twice_however_the_clock_goes(uses: list[tuple[int, int]]) -> None:
    with TemporaryDirectory() as folder, patch.object(sidefile, "_TIMES_MAX", 3), SideFile(Path(folder)) as side:
        seen: set[int] = set()
        for clock, behind in [*uses, *uses]:
            signed = clock - min(behind, 600)
            new = side.use_nonce("k", signed, "n", forget_before=clock - 600)
            assert not (new and signed in seen)
            seen.add(signed)


@pytest.mark.requires_command("strace")
def test_keys_are_synced_with_their_folder_and_nonces_and_commits_are_not(tmp_path: Path) -> None:
    code = """if True:
        import os, sys
        from pathlib import Path
        from handletime.keys import keys, sealing, sidefile
        def mark(what):
            try: os.stat("/mark-" + what)
            except FileNotFoundError: pass
        side = sidefile.SideFile(Path(sys.argv[1])); mark("opened")
        sealing.open_secret(side); mark("secret")
        new = keys.create(side, "local"); mark("create")
        side.use_nonce(new.id, 1, "n", forget_before=0); mark("nonce")
        side.set_last_commit(1); mark("commit")
        keys.revoke(side, new.id); mark("revoke")
        """
    trace = tmp_path / "trace"
    folder = tmp_path / "data"
    folder.mkdir()
    calls = "trace=fsync,fdatasync,link,linkat,stat,newfstatat"
    command = ["strace", "-f", "-y", "-e", calls, "-o", str(trace), sys.executable, "-c", code, str(folder)]
    subprocess.run(command, check=True, timeout=60)
    steps: dict[str, list[str]] = {}
    calls_seen: list[str] = []
    for line in trace.read_text().splitlines():
        if mark := re.search(r'"/mark-(\w+)"', line):
            steps[mark[1]], calls_seen = calls_seen, []
        elif synced := re.search(rf"f(?:data)?sync\(\d+<{re.escape(str(folder))}(.*?)>", line):
            calls_seen.append(re.sub(r"^/\.(.*)-\w+$", r"a part of \1", synced[1]) or "the folder")
        elif "link" in line:
            calls_seen.append("named")
    assert steps["opened"][-3:] == ["a part of side.sqlite", "named", "the folder"]
    assert steps["secret"][:3] == ["a part of secret.key", "named", "the folder"]
    assert "/side.sqlite-wal" in steps["create"]
    assert steps["nonce"] == steps["commit"] == []
    assert "/side.sqlite-wal" in steps["revoke"]


def test_a_file_that_is_no_side_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "side.sqlite").write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match=r"side\.sqlite is damaged \(file is not a database\): restore a backup"):
        SideFile(tmp_path)


def test_a_side_file_that_has_been_emptied_is_told(tmp_path: Path) -> None:
    with SideFile(tmp_path) as side:
        side.set_last_commit(7)
    (tmp_path / "side.sqlite").write_bytes(b"")
    with pytest.raises(StoreError, match="is empty or no side file"):
        SideFile(tmp_path)


def test_a_damaged_side_file_is_told(tmp_path: Path) -> None:
    with SideFile(tmp_path) as side:
        for number in range(200):
            side.use_nonce("k" * 100, number, "n" * 100, forget_before=0)
    path = tmp_path / "side.sqlite"
    path.write_bytes(path.read_bytes()[:4096] + os.urandom(path.stat().st_size - 4096))
    with pytest.raises(StoreError, match=r"side\.sqlite"), SideFile(tmp_path) as side:
        side.last_commit()


def test_a_side_file_of_a_newer_version_is_told(tmp_path: Path) -> None:
    SideFile(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "side.sqlite")) as db:
        db.execute("PRAGMA user_version = 1000")
    with pytest.raises(StoreError, match="version 1000 of a newer handletime"):
        SideFile(tmp_path)


def test_an_older_side_file_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SideFile(tmp_path) as side:
        new = create(side, "local")
    more = (*sidefile._MIGRATIONS, ("CREATE TABLE more (x)", "INSERT INTO more VALUES (1)"))
    monkeypatch.setattr(sidefile, "_MIGRATIONS", more)
    for _ in range(2):
        with SideFile(tmp_path) as side, side.reading() as db:
            assert db.execute("SELECT x FROM more").fetchall() == [(1,)]
            assert db.execute("PRAGMA user_version").fetchall() == [(len(more),)]
    with SideFile(tmp_path) as side:
        assert Keys(side).by_token(new.token, NOW) is not None


def test_a_step_of_a_migration_that_fails_leaves_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SideFile(tmp_path).close()
    broken = (*sidefile._MIGRATIONS, ("CREATE TABLE more (x)", "no SQL"))
    monkeypatch.setattr(sidefile, "_MIGRATIONS", broken)
    with pytest.raises(StoreError, match="syntax error"):
        SideFile(tmp_path)
    monkeypatch.undo()
    with SideFile(tmp_path) as side, side.reading() as db:
        assert db.execute("SELECT name FROM sqlite_master WHERE name = 'more'").fetchall() == []


def test_a_missing_folder_or_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such folder"):
        SideFile(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"side\.sqlite is missing"):
        SideFile(tmp_path, create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_keeps_the_file_makes_others_come_again(
    side: SideFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = create(side, "local")
    monkeypatch.setattr(sidefile, "BUSY_S", 0.05)
    with SideFile(tmp_path) as other, side.writing():
        with pytest.raises(NotNow, match="another process is writing"):
            other.set_last_commit(1)
        keys = Keys(other)
        key = keys.by_token(new.token, NOW)
        assert key is not None
        keys.used(key, NOW)
    assert list_keys(side)[0].last_used is None


def test_a_full_disk_is_not_now_and_passes(side: SideFile) -> None:
    with side.writing() as db:
        db.execute("PRAGMA max_page_count = 1")

    def fill() -> None:
        for number in range(10_000):
            side.use_nonce("k", number, "n" * 128, forget_before=0)

    with pytest.raises(NotNow, match="full"):
        fill()
    with side.writing() as db:
        db.execute("PRAGMA max_page_count = 1000000")
    assert side.use_nonce("k", 20_000, "n", forget_before=0)


def test_opening_and_closing_leaves_nothing_open(tmp_path: Path) -> None:
    def open_files() -> int:
        return len(list(Path("/dev/fd").iterdir()))

    with SideFile(tmp_path) as side:
        create(side, "local")
    before = open_files()
    for _ in range(20):
        with SideFile(tmp_path) as side:
            Keys(side)
            create(side, "local")
    assert open_files() <= before


def test_many_threads_read_and_write_at_once(side: SideFile) -> None:
    new = create(side, "local")
    keys = Keys(side)
    errors = io.StringIO()

    def work(thread: int) -> None:
        for turn in range(50):
            if keys.by_token(new.token, NOW) is None or not side.use_nonce(new.id, turn, f"{thread}", forget_before=0):
                print(thread, turn, file=errors)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert errors.getvalue() == ""
