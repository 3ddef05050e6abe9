"""Who is signed in: a random cookie for each browser, which alone opens what is kept of its key.

The token of a key is sealed under the session's cookie, and of the cookie only a hash is kept: neither the file nor
the cookie alone gives the token away. What else is kept of a session is bound to it: one that is damaged is none.
The key itself is asked anew for every request, so a revoked one ends all of its sessions at once.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from handletime.clock import DAY, HOUR, MINUTE
from handletime.closing import Closing
from handletime.store.cachefile import CacheFile

SESSIONS: Final = "sessions.sqlite"
IDLE_MS: Final = 12 * HOUR
"""A session ends when it was not used for so long."""
LONGEST_MS: Final = 30 * DAY
"""A session also ends when it is so old, however much it is used."""
SESSIONS_MAX: Final = 10_000
"""The most sessions. Beyond that, those that were unused for longest end."""
OF_KEY_MAX: Final = 1_000
"""The most sessions with one key; here too those unused for longest end. So nobody signs others out."""
_COOKIE: Final = re.compile("[A-Za-z0-9_-]{43}")
_TOUCHED_EVERY_MS: Final = MINUTE
_NONCE: Final = 12
_FORM_BYTES: Final = 32
_VERSION: Final = 3
_SCHEMA: Final = """
create table if not exists sessions (
    hash blob primary key, sealed blob not null, zone text not null, begun integer not null, used integer not null,
    key blob not null
) without rowid;
"""


class Session(NamedTuple):
    """One browser that is signed in: the token of its key, the browser's time zone, and what its forms must carry."""

    token: str
    zone: str
    form_token: str

    def __repr__(self) -> str:
        return "Session(…)"


class Sessions(Closing):
    """All sessions, in one SQLite file, or in memory where there is none. Any thread may use it."""

    def __init__(self, place: Path | None = None) -> None:
        """Opens them. Raises what CacheFile raises, here and whenever they are used."""
        self._file = CacheFile(place, _SCHEMA, _VERSION, "everybody has to sign in again")

    def close(self) -> None:
        """Closes it; who is signed in stays so."""
        self._file.close()

    def begin(self, token: str, zone: str, now_ms: int) -> str:
        """Signs a browser in; gives its cookie."""
        cookie = new_cookie()
        key = hashlib.sha256(b"session of " + token.encode()).digest()
        row = (_hash(cookie), _seal(cookie, token, _bound(zone, now_ms)), zone, now_ms, now_ms, key)

        def work(db: sqlite3.Connection) -> None:
            db.execute("delete from sessions where used < ? or begun < ?", (now_ms - IDLE_MS, now_ms - LONGEST_MS))
            for which, values, most in (("key = ?", (key,), OF_KEY_MAX), ("true", (), SESSIONS_MAX)):
                old = f"select hash from sessions where {which} order by used desc limit -1 offset {most - 1}"  # noqa: S608
                db.execute(f"delete from sessions where hash in ({old})", values)  # noqa: S608
            db.execute("insert into sessions values (?, ?, ?, ?, ?, ?)", row)

        self._file.use(work)
        return cookie

    def find(self, cookie: str, now_ms: int, *, is_use: bool = True) -> Session | None:
        """The session of a cookie; None where there is none, or it has ended.

        `is_use`: whether a person asks. What an open page asks for by itself keeps no session alive.
        """
        if not is_cookie(cookie):
            return None
        return self._file.use(lambda db: _find(db, cookie, now_ms, is_use=is_use))

    def end(self, cookie: str) -> None:
        """Signs a browser out."""
        self._file.use(lambda db: db.execute("delete from sessions where hash = ?", (_hash(cookie),)))


def new_cookie() -> str:
    """A random one."""
    return secrets.token_urlsafe(32)


def is_cookie(text: str) -> bool:
    """Whether a text, which may come from anybody, can be a cookie of ours."""
    return _COOKIE.fullmatch(text) is not None


def _find(db: sqlite3.Connection, cookie: str, now_ms: int, *, is_use: bool) -> Session | None:
    hashed = _hash(cookie)
    sql = "select sealed, cast(zone as blob), begun, used from sessions where hash = ?"
    rows = db.execute(sql, (hashed,)).fetchall()
    if not rows:
        return None
    sealed, zone, begun, used = rows[0]
    token = _unseal(cookie, sealed, _bound(zone, begun))
    if token is None or not _holds(begun, used, now_ms):
        db.execute("delete from sessions where hash = ?", (hashed,))
        return None
    if is_use and abs(now_ms - used) > _TOUCHED_EVERY_MS:
        db.execute("update sessions set used = ? where hash = ?", (now_ms, hashed))
    return Session(token, zone.decode(), form_token(cookie))


def _holds(begun: int, used: object, now_ms: int) -> bool:
    """Whether a session has not ended; the last use is bound to nothing, and after damage may be anything."""
    return isinstance(used, int) and now_ms - used <= IDLE_MS and now_ms - begun <= LONGEST_MS


def form_token(cookie: str) -> str:
    """What a form must carry to count as sent from a page that this cookie was given to.

    Another one each time: pages are compressed, and from their lengths one that stays the same could be guessed.
    """
    mask = secrets.token_bytes(_FORM_BYTES)
    return (mask + _xor(mask, _form_bytes(cookie))).hex()


def is_form_token(sent: str, cookie: str) -> bool:
    """Whether a form carries what a page of this cookie gave it."""
    try:
        given = bytes.fromhex(sent)
    except ValueError:
        return False
    mask, masked = given[:_FORM_BYTES], given[_FORM_BYTES:]
    return len(masked) == _FORM_BYTES and hmac.compare_digest(_xor(mask, masked), _form_bytes(cookie))


def _form_bytes(cookie: str) -> bytes:
    return hmac.digest(cookie.encode(), b"form", "sha256")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _hash(cookie: str) -> bytes:
    return hashlib.sha256(b"session " + cookie.encode()).digest()


def _cipher(cookie: str) -> AESGCM:
    return AESGCM(hashlib.sha256(b"sealing " + cookie.encode()).digest())


def _bound(zone: object, begun: object) -> bytes:
    """What a session's token is sealed together with."""
    return msgspec.msgpack.encode((zone.encode() if isinstance(zone, str) else zone, begun))


def _seal(cookie: str, token: str, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + _cipher(cookie).encrypt(nonce, token.encode(), bound)


def _unseal(cookie: str, sealed: object, bound: bytes) -> str | None:
    if not isinstance(sealed, bytes):
        return None
    try:
        return _cipher(cookie).decrypt(sealed[:_NONCE], sealed[_NONCE:], bound).decode()
    except (InvalidTag, ValueError):  # The latter where it is cut too short to be anything sealed.
        return None
