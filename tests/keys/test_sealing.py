"""The seal of a key: a row that was changed is refused and named, old seals become new ones, all or none."""

import logging
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from handletime.errors import HandletimeError, StoreError
from handletime.keys import sealing, sidefile
from handletime.keys.keys import Key, Keys, NewKey, create, list_keys, revoke
from handletime.keys.sealing import open_secret, problems
from handletime.keys.secret import KEY_FILE, Secret, make_secret_file, read_secret_file
from handletime.keys.sidefile import SideFile

NOW = 1_795_165_200_123
EXPIRES = NOW + 86_400_000
HEX = "0123456789abcdef"


@pytest.fixture
def side(tmp_path: Path) -> Iterator[SideFile]:
    with SideFile(tmp_path) as side:
        yield side


def told(side: SideFile) -> list[str]:
    """What `check` says of the keys."""
    return problems(side, open_secret(side))


# A row that is not what was sealed


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("account", "rival"),
        ("account", b"local"[:4] + b"\xec"),
        ("account", None),
        ("permissions", "admin"),
        ("permissions", "handle-time operations"),
        ("scope", "[[51],null]"),
        ("scope", ""),
        ("created_ms", 1),
        ("expires_ms", None),
        ("expires_ms", EXPIRES + 1),
        ("expires_ms", "never"),
        ("token_sha256", b"t" * 32),
        ("app_key_sha256", b"a" * 32),
        ("access_token_sha256", b"s" * 32),
        ("sealed", b""),
        ("sealed", b"short"),
        ("sealed", b"s" * 157),
    ],
)
def test_a_changed_row_is_refused_and_named(
    column: str, value: object, side: SideFile, caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole = (create(side, "local", ["ingest"], expires_ms=2 * EXPIRES) for _ in range(2))
    assert told(side) == []
    change(side, f"UPDATE keys SET {column} = ? WHERE id = ?", value, broken.id)  # noqa: S608
    keys = Keys(side)
    with caplog.at_level(logging.ERROR):
        assert keys.by_token(broken.token, NOW) is None
    assert keys.by_app_key(broken.app_key, NOW).key is None
    assert keys.by_token(whole.token, NOW) is not None
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [f"key {broken.id} is refused"]
    assert broken.token not in caplog.text
    assert [problem.split(": ")[1] for problem in told(side)] == [f"key {broken.id} is refused"]
    revoke(side, broken.id)
    assert told(side) == []


def change(side: SideFile, sql: str, *values: object) -> None:
    """Changes keys behind everybody's back, also to what their columns do not take."""
    with closing(sqlite3.connect(side.path, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET sql = replace(sql, 'account TEXT NOT NULL', 'account TEXT')")
    with closing(sqlite3.connect(side.path, isolation_level=None)) as db:
        db.execute(sql, values)
        db.execute("UPDATE key_changes SET number = number + 1")


def test_another_keys_row_does_not_hold(side: SideFile) -> None:
    admin, ingest = create(side, "local", ["admin"]), create(side, "local", ["ingest"])
    change(side, "UPDATE keys SET sealed = (SELECT sealed FROM keys WHERE id = ?) WHERE id = ?", admin.id, ingest.id)
    keys = Keys(side)
    assert keys.by_token(ingest.token, NOW) is None
    assert keys.by_token(admin.token, NOW) is not None


def test_a_revoked_key_cannot_be_called_back(side: SideFile) -> None:
    new = create(side, "local")
    revoke(side, new.id)
    change(side, "UPDATE keys SET revoked_ms = NULL WHERE id = ?", new.id)
    assert Keys(side).by_token(new.token, NOW) is None
    assert [problem.split(": ")[1] for problem in told(side)] == [f"key {new.id} is refused"]


def test_a_key_that_was_not_revoked_but_says_so_is_named(side: SideFile) -> None:
    new = create(side, "local")
    change(side, "UPDATE keys SET revoked_ms = 1 WHERE id = ?", new.id)
    assert Keys(side).by_token(new.token, NOW) is None
    assert len(told(side)) == 1
    assert f"key {new.id} says that it is revoked" in told(side)[0]
    revoke(side, new.id)
    assert told(side) == []


def test_the_last_use_is_not_sealed(side: SideFile) -> None:
    new = create(side, "local")
    keys = Keys(side)
    key = keys.by_token(new.token, NOW)
    assert key is not None
    keys.used(key, NOW)
    assert told(side) == []
    assert Keys(side).by_token(new.token, NOW) == key


def test_a_flipped_bit_of_a_row_is_never_believed(tmp_path: Path, seed: int) -> None:
    flips(tmp_path, random.Random(seed), 400)


@pytest.mark.long
def test_no_flipped_bit_of_a_row_is_ever_believed(tmp_path: Path, seed: int) -> None:
    flips(tmp_path, random.Random(seed), 10_000)


def test_a_schema_that_is_no_text_is_told(tmp_path: Path) -> None:
    """SQLite's message repeats it, and cannot be read then."""
    SideFile(tmp_path).close()
    path = tmp_path / sidefile.FILE
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE nonces", b"CREATE TABL\xc2 nonces"))
    with pytest.raises(StoreError, match=r"side\.sqlite"):
        SideFile(tmp_path)


def flips(folder: Path, dice: random.Random, count: int) -> None:
    """Flips bits of the file where the rows of two keys stand, one at a time."""
    with SideFile(folder) as side:
        made = [create(side, "local1", ["ingest"], EXPIRES * 2), create(side, "local2", ["admin"])]
        revoked = create(side, "local1", ["admin"])
        revoke(side, revoked.id)
        right = [key_of(Keys(side), new) for new in made]
    assert None not in right
    path = folder / sidefile.FILE
    content = path.read_bytes()
    # The table's rows, not the indexes: those have no account.
    places = [at.start() for at in re.finditer(rb"local[12]", content)]
    bits = [(byte, bit) for byte in range(min(places) - 40, max(places) + 340) for bit in range(8)]
    refused = 0
    for byte, bit in dice.sample(bits, min(count, len(bits))):
        broken = bytearray(content)
        broken[byte] ^= 1 << bit
        for left in folder.glob(f"{sidefile.FILE}-*"):
            left.unlink()
        path.write_bytes(broken)
        try:
            with SideFile(folder) as side:
                keys = Keys(side)
                found = [key_of(keys, new) for new in made]
                assert key_of(keys, revoked) is None, (byte, bit)
        except HandletimeError:
            refused += 1
            continue
        assert all(key in (None, as_made) for key, as_made in zip(found, right, strict=True)), (byte, bit, found)
        refused += None in found
    assert refused > count / 20


def key_of(keys: Keys, new: NewKey) -> Key | None:
    """What the key's token and its app key both give."""
    key = keys.by_token(new.token, NOW)
    signer = keys.by_app_key(new.app_key, NOW)
    if signer.key is not None:
        assert (signer.key.account, signer.key.permissions) == (new.account, new.permissions)
        assert (signer.app_secret, signer.access_token_secret) == (new.app_secret, new.access_token_secret)
    return key


# Side files from before


def old_side_file(folder: Path, keys: int) -> list[NewKey]:
    """A side file as version 1 made it: seals bound to the id alone, of revoked keys too. The last key is revoked."""
    make_secret_file(folder)
    secret = read_secret_file(folder)
    new = [new_key(number) for number in range(keys)]
    path = folder / sidefile.FILE
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        for statement in sidefile._MIGRATIONS[0]:
            db.execute(statement)
        db.execute("PRAGMA user_version = 1")
        db.execute("INSERT INTO sealing VALUES (1, ?)", (secret.fingerprint,))
        for number, each in enumerate(new):
            sealed = secret.seal(each.id.encode(), (each.app_secret, each.access_token_secret))
            hashes = [sealing_hash(text) for text in (each.token, each.app_key, each.access_token)]
            row = (each.id, each.account, " ".join(each.permissions), NOW, None, None, None, *hashes, sealed)
            db.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            if number == keys - 1:
                db.execute("UPDATE keys SET revoked_ms = ? WHERE id = ?", (NOW, each.id))
        db.execute("UPDATE key_changes SET number = ?", (keys + 1,))
        db.execute("UPDATE commits SET number = 7")
    return new


def sealing_hash(text: str) -> bytes:
    import hashlib

    return hashlib.sha256(text.encode()).digest()


def new_key(number: int) -> NewKey:
    """A key whose secrets are made up."""
    key_id = f"{number:012x}"
    texts = [HEX[number % 16] * 63 + each for each in "12345"]
    return NewKey(key_id, f"account{number}", ("ingest",), None, None, None, f"ht_{key_id}_{texts[0]}", *texts[1:])


def all_hold(folder: Path, made: list[NewKey]) -> None:
    """The keys of an old side file are all there, sealed anew, and the last one stays revoked."""
    with SideFile(folder, create=False) as side:
        keys = Keys(side)
        *holding, revoked = made
        for new in holding:
            key = key_of(keys, new)
            assert key is not None
            assert (key.account, key.permissions) == (new.account, new.permissions)
        assert key_of(keys, revoked) is None
        assert told(side) == []
        assert side.last_commit() == 7
        with side.reading() as db:
            assert db.execute("SELECT form FROM sealing").fetchall() == [(sealing.FORM,)]


def test_an_old_side_file_is_sealed_anew(tmp_path: Path) -> None:
    made = old_side_file(tmp_path, 3)
    for _ in range(2):
        all_hold(tmp_path, made)
    with SideFile(tmp_path) as side:
        change(side, "UPDATE keys SET account = 'rival' WHERE id = ?", made[0].id)
        assert Keys(side).by_token(made[0].token, NOW) is None


def test_an_old_side_file_waits_for_its_secret_key(tmp_path: Path) -> None:
    made = old_side_file(tmp_path, 3)
    secret = (tmp_path / KEY_FILE).rename(tmp_path / "elsewhere")
    with SideFile(tmp_path, create=False) as side:
        assert [info.id for info in list_keys(side)] == [new.id for new in made]
        assert revoke(side, made[0].id).revoked is not None
    secret.rename(tmp_path / KEY_FILE)
    with SideFile(tmp_path, create=False) as side:
        keys = Keys(side)
        assert [key_of(keys, new) is not None for new in made] == [False, True, False]
        assert told(side) == []


def test_an_old_row_that_was_changed_before_is_not_sealed_anew(tmp_path: Path) -> None:
    made = old_side_file(tmp_path, 3)
    with closing(sqlite3.connect(tmp_path / sidefile.FILE, isolation_level=None)) as db:
        db.execute("UPDATE keys SET sealed = x'00' WHERE id = ?", (made[0].id,))
    with SideFile(tmp_path) as side:
        assert Keys(side).by_token(made[0].token, NOW) is None
        assert [problem.split(": ")[1] for problem in told(side)] == [f"key {made[0].id} is refused"]


def test_a_seal_of_today_is_none_of_the_old_form(side: SideFile) -> None:
    """Whoever sets the form back gets nothing sealed anew that was changed."""
    new = create(side, "local")
    change(side, "UPDATE keys SET account = 'rival'")
    change(side, "UPDATE sealing SET form = 1")
    assert Keys(side).by_token(new.token, NOW) is None


@pytest.mark.parametrize("killed_at", [1, 7, 12])
def test_killed_while_sealing_anew_all_or_nothing_is_done(killed_at: int, tmp_path: Path) -> None:
    made = old_side_file(tmp_path, 12)
    code = """if True:
        import os, signal, sys
        from pathlib import Path
        from handletime.keys import secret, sidefile
        from handletime.keys.sealing import open_secret
        seal, left = secret.Secret.seal, [int(sys.argv[2])]
        def killing(*arguments):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return seal(*arguments)
        secret.Secret.seal = killing
        open_secret(sidefile.SideFile(Path(sys.argv[1])))
        """
    command = [sys.executable, "-c", code, str(tmp_path), str(killed_at)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    # Eleven have a seal to be made anew.
    assert ended.returncode == (-signal.SIGKILL if killed_at < 12 else 0), ended.stderr
    before = tmp_path / "before"
    before.mkdir()
    for path in tmp_path.glob(f"{sidefile.FILE}*"):
        shutil.copy(path, before)
    with closing(sqlite3.connect(before / sidefile.FILE)) as db:
        assert db.execute("SELECT form FROM sealing").fetchall() == [(1 if killed_at < 12 else sealing.FORM,)]
    all_hold(tmp_path, made)


def test_a_secret_that_was_sealed_opens_for_the_same_only() -> None:
    secret, other = Secret("ab" * 32), Secret("cd" * 32)
    sealed = secret.seal(b"this", ("one", "two"))
    assert secret.unseal(b"this", sealed) == ("one", "two")
    assert secret.unseal(b"that", sealed) is None
    assert other.unseal(b"this", sealed) is None
    assert all(secret.unseal(b"this", sealed[:size]) is None for size in range(len(sealed)))
