"""Keys: made, listed and revoked by whoever has the folder, and looked up by a server that has it open.

Tokens are kept as SHA-256 only. OAuth secrets have to be read again, so they are sealed, together with the key's
permissions (`keys.sealing`). A key whose row was changed since is refused like an unknown one, and named in the log.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import re
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, get_args

import msgspec

from handletime.clock import MINUTE, Clock, SystemClock
from handletime.crashpoints import crash_point
from handletime.errors import InputError, NotNow
from handletime.keys.sealing import NO_SEAL, KeyRow, open_secret, unrevoked
from handletime.keys.secret import Secret
from handletime.keys.sidefile import SideFile
from handletime.scope import WHOLE, Scope

Permission = Literal["handle-time", "operations", "ingest", "focus", "admin"]
PERMISSIONS: Final[tuple[Permission, ...]] = get_args(Permission)
READING: Final[tuple[Permission, ...]] = ("handle-time", "operations")
"""The permissions of a key for which none are named; those that a key with a scope may have."""

TOKEN: Final = re.compile(r"ht_([0-9a-f]{12})_[0-9a-f]{64}")
_USED_EVERY_MS: Final = MINUTE
"""Milliseconds between two writes of a key's last use."""
_SEEN_S: Final = 0.002
"""Seconds for which keys count as they were last seen. Whoever changes one waits for as long before saying so."""
_MACHINE: Final = SystemClock()
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_log: Final = logging.getLogger(__name__)


class Key(msgspec.Struct, frozen=True):
    """A key that a request was made with. It expires at `expires_ms`; one for focus belongs to `agent_id`.

    It sees what lies in its scope, and nothing else.
    """

    id: str
    account: str
    permissions: tuple[Permission, ...]
    expires_ms: int | None = None
    agent_id: int | None = None
    scope: Scope = WHOLE

    def may(self, permission: Permission) -> bool:
        """Whether the key has the permission; `admin` includes all. With a scope it can only read."""
        if not self.scope.is_whole and permission not in READING:
            return False
        return permission in self.permissions or "admin" in self.permissions

    def holds_at(self, now_ms: int) -> bool:
        """Whether the key has not expired."""
        return self.expires_ms is None or now_ms < self.expires_ms


class NewToken(msgspec.Struct, frozen=True, rename="camel"):
    """A key with its token, which is never shown again.

    Its JSON is what `keys create` prints; its repr hides the secrets.
    """

    id: str
    account: str
    permissions: tuple[Permission, ...]
    agent_id: int | None
    groups: tuple[int, ...] | None
    skills: tuple[int, ...] | None
    token: str

    @property
    def scope(self) -> Scope:
        """What of the account it may see."""
        return Scope(self.groups, self.skills)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r}, account={self.account!r}, permissions={self.permissions!r}, …)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("id", self.id), ("account", self.account), ("permissions", self.permissions)]


class NewKey(NewToken, frozen=True, rename="camel"):
    """A new key with its token and the secrets of OAuth."""

    app_key: str
    app_secret: str
    access_token: str
    access_token_secret: str


class KeyInfo(msgspec.Struct, frozen=True, rename="camel"):
    """What is shown of a key. `last_used` is up to a minute old; `revoked` is the time at which it was revoked.

    `groups` and `skills` are what it is limited to; None is no limit.
    """

    id: str
    account: str
    permissions: tuple[Permission, ...]
    agent_id: int | None
    groups: tuple[int, ...] | None
    skills: tuple[int, ...] | None
    created: datetime
    expires: datetime | None
    last_used: datetime | None
    revoked: datetime | None


def create(
    side: SideFile,
    account: str,
    permissions: Iterable[Permission] = READING,
    expires_ms: int | None = None,
    *,
    agent: int | None = None,
    scope: Scope = WHOLE,
    clock: Clock = _MACHINE,
) -> NewKey:
    """Makes a key of an account, on disk when this returns, sealed with the folder's secret key.

    A key for `focus` belongs to an `agent` (http-api.md 5.2). Raises InputError where account, permissions, agent,
    scope or expiry are not allowed; what `open_secret` and `SideFile` raise.
    """
    now_ms, secret = clock.now(), open_secret(side)
    new = _new(account, permissions, agent, expires_ms, now_ms, scope)
    with changing(side) as db:
        _insert(db, new, secret, now_ms, expires_ms)
    return new


def create_for_agents(
    side: SideFile,
    account: str,
    agents: Iterable[int],
    expires_ms: int | None = None,
    *,
    again: bool = False,
    clock: Clock = _MACHINE,
) -> dict[int, NewKey]:
    """Makes a key for `focus` for each of these agents that has none which holds, all or none; the new ones by agent.

    `again` makes one for each of them, and revokes those that they had. Raises what `create` raises.
    """
    now_ms, secret = clock.now(), open_secret(side)
    made = {}
    with changing(side) as db:
        have = {agent for (agent,) in db.execute(_HOLDING, (account, now_ms)).fetchall()}
        for agent in dict.fromkeys(agents):
            if agent in have and not again:
                continue
            _revoke(db, "account = ? AND agent_id = ?", (account, agent), now_ms)
            made[agent] = new = _new(account, ["focus"], agent, expires_ms, now_ms)
            _insert(db, new, secret, now_ms, expires_ms)
    return made


def _new(
    account: str,
    permissions: Iterable[Permission],
    agent: int | None,
    expires_ms: int | None,
    now_ms: int,
    scope: Scope = WHOLE,
) -> NewKey:
    wanted = frozenset(permissions)
    check(account, wanted, expires_ms, now_ms, agent, scope)
    key_id = secrets.token_hex(6)
    return NewKey(
        id=key_id,
        account=account,
        permissions=tuple(each for each in PERMISSIONS if each in wanted),
        agent_id=agent,
        groups=scope.groups,
        skills=scope.skills,
        token=f"ht_{key_id}_{secrets.token_hex(32)}",
        app_key=secrets.token_hex(16),
        app_secret=secrets.token_hex(32),
        access_token=secrets.token_hex(16),
        access_token_secret=secrets.token_hex(32),
    )


def list_keys(side: SideFile) -> list[KeyInfo]:
    """All keys that were ever made, the oldest first."""
    with side.reading() as db:
        return [_info(row) for row in db.execute(f"{_INFO} ORDER BY created_ms, id").fetchall()]


def revoke(side: SideFile, key_id: str, *, clock: Clock = _MACHINE) -> KeyInfo:
    """Revokes a key for good, on disk and refused everywhere when this returns.

    A key that is revoked already stays as it is. Needs no secret key: it takes the seal away. Raises InputError
    where there is no such key.
    """
    with changing(side) as db:
        found = _revoke(db, "id = ?", (key_id,), clock.now())
        if not found:
            # Not repeated: it may be a whole token, pasted.
            raise InputError("there is no key of this id; `handletime keys list` names them")
    return found[0]


def revoke_of_agent(side: SideFile, account: str, agent: int, *, clock: Clock = _MACHINE) -> list[KeyInfo]:
    """Revokes all keys of an agent for good, and gives those that held until now. Otherwise like `revoke`."""
    with changing(side) as db:
        found = _revoke(db, "account = ? AND agent_id = ? AND revoked_ms IS NULL", (account, agent), clock.now())
    if not found:
        raise InputError(f"agent {agent} of account {account} has no key that holds; `handletime keys list` names them")
    return found


def _revoke(db: sqlite3.Connection, which: str, values: tuple[object, ...], now_ms: int) -> list[KeyInfo]:
    ids = [key_id for (key_id,) in db.execute(f"SELECT id FROM keys WHERE {which}", values).fetchall()]  # noqa: S608
    for key_id in ids:
        db.execute(
            "UPDATE keys SET revoked_ms = coalesce(revoked_ms, ?), sealed = ? WHERE id = ?", (now_ms, NO_SEAL, key_id)
        )
    return [_info(row) for key_id in ids for row in db.execute(f"{_INFO} WHERE id = ?", (key_id,)).fetchall()]


class Signer(msgspec.Struct, frozen=True):
    """The key that signs with an app key, and its secrets; `key` is None where there is none."""

    key: Key | None
    app_secret: str
    access_token_secret: str
    access_token_sha256: bytes

    def has_access_token(self, access_token: str) -> bool:
        """Whether the access token belongs to the app key, in constant time."""
        return hmac.compare_digest(_sha256(access_token), self.access_token_sha256)

    def __repr__(self) -> str:
        return f"Signer(key={self.key!r}, …)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("key", self.key)]


class Keys:
    """The valid keys, in memory. Any thread may use it.

    What another process creates or revokes counts as soon as that is done (`create` and `revoke` return). A look-up
    reads one number where that was last done more than `_SEEN_S` ago, and all keys again only if the number has
    changed. Unknown keys take the same path as known ones, with a made-up key.
    Raises what `open_secret` and `SideFile` raise.
    """

    def __init__(self, side: SideFile) -> None:
        self._side = side
        self._secret = open_secret(side)
        self._nobody = _nobody(self._secret)
        self._last_used: dict[str, int] = {}
        self._held = _Held(-1, {}, {})
        self._seen = -math.inf

    def by_token(self, token: str, now_ms: int) -> Key | None:
        """The key of a bearer token, None where it is wrong, revoked or expired."""
        match_ = TOKEN.fullmatch(token)
        record = self._now_held().by_id.get(match_[1] if match_ else "", self._nobody)
        fits = hmac.compare_digest(_sha256(token), record.token_sha256)
        return record.key if fits and record.key.holds_at(now_ms) and record is not self._nobody else None

    def by_app_key(self, app_key: str, now_ms: int) -> Signer:
        """The key and secrets that sign with this app key."""
        record = self._now_held().by_app_key.get(_sha256(app_key), self._nobody)
        holds = record.key.holds_at(now_ms) and record is not self._nobody
        app_secret, access_token_secret = self._secret.unseal(record.bound, record.sealed) or ("", "")
        return Signer(record.key if holds else None, app_secret, access_token_secret, record.access_token_sha256)

    def used(self, key: Key, now_ms: int) -> None:
        """Notes the use of a key: at most once a minute, and not while another process writes for long."""
        last = self._last_used.get(key.id)
        if last is not None and abs(now_ms - last) < _USED_EVERY_MS:
            return
        self._last_used[key.id] = now_ms
        with suppress(NotNow), self._side.writing() as db:
            db.execute("UPDATE keys SET last_used_ms = ? WHERE id = ?", (now_ms, key.id))

    def _now_held(self) -> _Held:
        now = time.monotonic()
        if now - self._seen > _SEEN_S:
            self._refresh()
            self._seen = now
        return self._held

    def _refresh(self) -> None:
        if self._side.key_changes() == self._held.number:
            return
        with self._side.reading() as db:
            number = int(db.execute("SELECT number FROM key_changes").fetchall()[0][0])
            if number != self._held.number:
                self._held = _hold(db, number, self._secret)


class _Record(msgspec.Struct, frozen=True):
    key: Key
    token_sha256: bytes
    access_token_sha256: bytes
    bound: bytes
    sealed: bytes


class _Held(msgspec.Struct, frozen=True):
    number: int
    by_id: Mapping[str, _Record]
    by_app_key: Mapping[bytes, _Record]


_INFO: Final = """SELECT cast(id as blob), cast(account as blob), cast(permissions as blob), agent_id,
    cast(scope as blob), created_ms, expires_ms, last_used_ms, revoked_ms FROM keys"""
_NEW: Final = """INSERT INTO keys (id, account, permissions, created_ms, expires_ms,
        app_key_sha256, token_sha256, access_token_sha256, agent_id, scope, sealed)
    VALUES (cast(? as text), cast(? as text), cast(? as text), ?, ?, ?, ?, ?, ?, cast(? as text), ?)"""
_HOLDING: Final = """SELECT DISTINCT agent_id FROM keys
    WHERE account = ? AND agent_id IS NOT NULL AND revoked_ms IS NULL AND ? < coalesce(expires_ms, 1 << 62)"""
_CHANGED: Final = "UPDATE key_changes SET number = number + 1"


def _hold(db: sqlite3.Connection, number: int, secret: Secret) -> _Held:
    by_id, by_app_key = {}, {}
    for row, sealed, holds in unrevoked(db, secret):
        if not holds:
            _log.error("key %s is refused: its row is not what was sealed; revoke it and create another", row.name())
            continue
        permissions = _permissions(row.permissions.decode())
        key = Key(row.id.decode(), row.account.decode(), permissions, row.expires_ms, row.agent_id, _scope(row.scope))
        record = _Record(key, row.token_sha256, row.access_token_sha256, row.bound(), sealed)
        by_id[key.id] = by_app_key[row.app_key_sha256] = record
    return _Held(number, by_id, by_app_key)


def _nobody(secret: Secret) -> _Record:
    sealed = secret.seal(b"", (secrets.token_hex(32), secrets.token_hex(32)))
    return _Record(Key("", "", ()), secrets.token_bytes(32), secrets.token_bytes(32), b"", sealed)


def _insert(db: sqlite3.Connection, new: NewKey, secret: Secret, now_ms: int, expires_ms: int | None) -> None:
    row = KeyRow(
        new.id.encode(),
        new.account.encode(),
        " ".join(new.permissions).encode(),
        now_ms,
        expires_ms,
        _sha256(new.app_key),
        _sha256(new.token),
        _sha256(new.access_token),
        new.agent_id,
        None if new.scope.is_whole else msgspec.json.encode(new.scope),
    )
    sealed = secret.seal(row.bound(), (new.app_secret, new.access_token_secret))
    db.execute(_NEW, (*row, sealed))
    crash_point("key-inserted")


@contextmanager
def changing(side: SideFile) -> Iterator[sqlite3.Connection]:
    """A transaction that changes keys. When this ends, it is on disk and counts in every server."""
    with side.writing_durably() as db:
        yield db
        db.execute(_CHANGED)
    time.sleep(_SEEN_S)


def check(
    account: str,
    permissions: frozenset[str],
    expires_ms: int | None,
    now_ms: int,
    agent: int | None = None,
    scope: Scope = WHOLE,
) -> None:
    """Checks the account, permissions, agent, scope and expiry of a new key. Raises InputError: what is allowed."""
    # Not above: pyarrow comes with them, and listing and revoking should not wait for it.
    from handletime.events.book import is_account
    from handletime.events.model import ACCOUNT_MAX, TIME_MAX

    if not is_account(account):
        raise InputError(f"the account must be 1 to {ACCOUNT_MAX} letters and digits (a-z, A-Z, 0-9)")
    if not permissions or not permissions <= set(PERMISSIONS):
        raise InputError(f"permissions are one or more of {', '.join(PERMISSIONS)}")
    if "focus" in permissions and (agent is None or len(permissions) > 1):
        raise InputError("a key for `focus` belongs to one agent, and can do nothing else: name the agent")
    if agent is not None and "focus" not in permissions:
        raise InputError("only a key for `focus` belongs to an agent")
    if not scope.is_whole and not permissions <= set(READING):
        raise InputError(
            f"a key that is limited to groups or skills can only read: it may {' and '.join(READING)}, nothing else"
        )
    if agent is not None and not -(1 << 63) <= agent < 1 << 63:
        raise InputError("the agent must be a whole number of 64 bits")
    if expires_ms is not None and not now_ms < expires_ms <= TIME_MAX:
        raise InputError("a key must expire in the future, by the year 9999")


def _info(row: tuple[object, ...]) -> KeyInfo:
    """What a row says, even a damaged one: it must be listed, and can be revoked."""
    key_id, account, permissions = (
        text.decode(errors="replace") if isinstance(text, bytes) else "?" for text in row[:3]
    )
    agent = row[3] if isinstance(row[3], int) else None
    try:
        scope = _scope(row[4])
    except msgspec.DecodeError:
        scope = Scope((), ())
    created, *rest = map(_moment, row[5:])
    return KeyInfo(key_id, account, _permissions(permissions), agent, *scope, created or _EPOCH, *rest)


def _scope(text: object) -> Scope:
    """Raises msgspec.DecodeError where a damaged row has no scope there."""
    return WHOLE if text is None else msgspec.json.decode(text if isinstance(text, bytes) else b"", type=Scope)


def _permissions(text: str) -> tuple[Permission, ...]:
    return tuple(each for each in PERMISSIONS if each in text.split())


def _moment(milliseconds: object) -> datetime | None:
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds) if isinstance(milliseconds, int) else None
    except OverflowError:
        return None


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
