"""The seal of a key: its row is bound to its sealed secrets, so that a changed row is noticed and refused.

SQLite has no checksums. Everything in a row of `keys`, except its last use, is associated data of its sealed secrets
(AES-256-GCM): they open for these values only. A revoked key has no seal any more, and can never be valid again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from handletime.errors import StoreError
from handletime.keys.secret import KEY_FILE, Secret, make_secret_file, read_secret_file
from handletime.keys.sidefile import SideFile

FORM: Final = 2
"""The present form of seals. Those of form 1 were bound to the id alone; `open_secret` makes them anew."""
NO_SEAL: Final = b""
"""Stands in place of the sealed secrets of a revoked key."""


class KeyRow(NamedTuple):
    """The values that a key's seal is bound to, as stored. After damage, a value may be of any type.

    Texts are bytes, because damaged ones may not be valid text.
    """

    id: bytes
    account: bytes
    permissions: bytes
    created_ms: int
    expires_ms: int | None
    app_key_sha256: bytes
    token_sha256: bytes
    access_token_sha256: bytes
    agent_id: int | None
    scope: bytes | None
    """What of the account it may see, as JSON (`keys.keys`); None is all of it."""

    def bound(self) -> bytes:
        """The whole row as bytes. Rows that differ give different bytes.

        Without a scope they are the same as before keys had any, and without an agent too as before these, so that
        older seals hold.
        """
        values = self[:-1] if self.scope is None else tuple(self)
        return b"handletime key" + msgspec.msgpack.encode(values[:-1] if values[-1] is None else values)

    def name(self) -> str:
        """The key's id, for messages; after damage it may be anything."""
        return ascii(self.id[:12].decode("ascii", "replace"))[1:-1] if self.id else "?"


ROW: Final = """cast(id as blob), cast(account as blob), cast(permissions as blob), created_ms, expires_ms,
    app_key_sha256, token_sha256, access_token_sha256, agent_id, cast(scope as blob)"""
"""The columns of a KeyRow."""


class Sealed(NamedTuple):
    """A key's row with its sealed secrets; `holds` says whether they open for it."""

    row: KeyRow
    sealed: bytes
    holds: bool


def unrevoked(db: sqlite3.Connection, secret: Secret) -> Iterator[Sealed]:
    """The keys that are not revoked, damaged ones too."""
    for *row, sealed in db.execute(f"SELECT {ROW}, sealed FROM keys WHERE revoked_ms IS NULL").fetchall():  # noqa: S608
        found = KeyRow(*row)
        holds = isinstance(sealed, bytes) and secret.unseal(found.bound(), sealed) is not None
        yield Sealed(found, sealed, holds)


def problems(side: SideFile, secret: Secret) -> list[str]:
    """The keys whose rows were changed, in plain words. Raises what `SideFile` raises."""
    revoked = f"SELECT {ROW} FROM keys WHERE revoked_ms IS NOT NULL AND sealed IS NOT ?"  # noqa: S608
    with side.reading() as db:
        broken = [each.row.name() for each in unrevoked(db, secret) if not each.holds]
        ended = [KeyRow(*row).name() for row in db.execute(revoked, (NO_SEAL,)).fetchall()]
    advice = "revoke it and create another"
    return [
        *(f"{side.path}: key {name} is refused: its row is not what was sealed; {advice}" for name in broken),
        *(f"{side.path}: key {name} says that it is revoked, but was not; {advice}" for name in ended),
    ]


def open_secret(side: SideFile) -> Secret:
    """The secret key of a folder, from its file `secret.key`, made where nothing was sealed yet.

    Seals of an older form are made anew. Raises StoreError where the file is missing, unreadable, open to others or
    no secret key, and where keys were sealed with another one; OSError.
    """
    if not (side.folder / KEY_FILE).exists() and _may_seal_anew(side):
        make_secret_file(side.folder)
    secret = read_secret_file(side.folder)
    _agree(side, secret)
    return secret


def _may_seal_anew(side: SideFile) -> bool:
    """Whether a new secret key would lose nothing: nothing was sealed yet, or every sealed key is revoked."""
    with side.reading() as db:
        sealed = db.execute("SELECT 1 FROM sealing").fetchall()
        holding = db.execute("SELECT count(*) FROM keys WHERE revoked_ms IS NULL").fetchall()[0][0]
        revoked = db.execute("SELECT count(*) FROM keys WHERE revoked_ms IS NOT NULL").fetchall()[0][0]
    return not sealed or (revoked > 0 and holding == 0)


def _agree(side: SideFile, secret: Secret) -> None:
    """Makes sure that a folder has one secret key: server and commands must not seal with different ones."""
    with side.reading() as db:
        if _sealing(db) == (secret.fingerprint, FORM):
            return
    with side.writing_durably() as db:
        found = _sealing(db)
        if found == (secret.fingerprint, FORM):
            return  # By another process, a moment ago.
        if found is not None and found[0] == secret.fingerprint:
            _seal_anew(db, secret)
        elif not _may_seal_anew(side):
            raise StoreError(
                f"{side.folder / KEY_FILE} is not the secret key that the keys in {side.folder} were sealed with; "
                "put that one back, or revoke all keys and create new ones"
            )
        db.execute("INSERT OR REPLACE INTO sealing VALUES (1, ?, ?)", (secret.fingerprint, FORM))


def _sealing(db: sqlite3.Connection) -> tuple[bytes, int] | None:
    rows = db.execute("SELECT fingerprint, form FROM sealing").fetchall()
    return rows[0] if rows else None


def _seal_anew(db: sqlite3.Connection, secret: Secret) -> None:
    """Makes seals of form 1 anew, all or none. Those that do not open stay, and are refused from now on."""
    for row, sealed, holds in unrevoked(db, secret):
        values = None if holds or not isinstance(sealed, bytes) else secret.unseal(row.id, sealed)
        if values is not None:
            anew = secret.seal(row.bound(), values)
            db.execute("UPDATE keys SET sealed = ? WHERE id = cast(? as text)", (anew, row.id))
    db.execute("UPDATE key_changes SET number = number + 1")
