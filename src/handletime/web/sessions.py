"""Who is signed in: a random cookie for each browser, which alone opens what is kept of its key.

The token of a key is sealed under the session's cookie, and of the cookie only a hash is kept: neither the file nor
the cookie alone gives the token away. The key itself is asked anew for every request, so a revoked one ends all of
its sessions at once.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sqlite3
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SESSIONS: Final = "sessions.sqlite"
IDLE_MS: Final = 12 * 3_600_000
"""A session ends so long after its last use."""
LONGEST_MS: Final = 30 * 24 * 3_600_000
"""And so long after it began, however much it is used."""
SESSIONS_MAX: Final = 10_000
"""Of more, those that were unused for longest end."""
COOKIE_LENGTH: Final = 43
_TOUCHED_EVERY_MS: Final = 60_000
_NONCE: Final = 12
_SCHEMA: Final = """
create table if not exists sessions (
    hash blob primary key, sealed blob not null, zone text not null, begun integer not null, used integer not null
) without rowid;
"""


class Session(NamedTuple):
    """One browser that is signed in: the token of its key, the browser's time zone, and what its forms must carry."""

    token: str
    zone: str
    form_token: str

    def __repr__(self) -> str:
        return "Session(…)"


class Sessions:
    """All sessions, in one SQLite file, or in memory where there is none. Any thread may use it."""

    def __init__(self, place: Path | None = None) -> None:
        if place is not None:
            os.close(os.open(place, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(place or ":memory:", check_same_thread=False, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma secure_delete = on")
        self._db.executescript(_SCHEMA)
        self._lock = Lock()

    def __enter__(self) -> Sessions:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes it; who is signed in stays so."""
        with self._lock:
            self._db.close()

    def begin(self, token: str, zone: str, now_ms: int) -> str:
        """Signs a browser in; gives its cookie."""
        cookie = secrets.token_urlsafe(32)
        row = (_hash(cookie), _seal(cookie, token), zone, now_ms, now_ms)
        with self._lock:
            self._db.execute(
                "delete from sessions where used < ? or begun < ?", (now_ms - IDLE_MS, now_ms - LONGEST_MS)
            )
            self._db.execute(
                "delete from sessions where hash in (select hash from sessions order by used desc limit -1 offset ?)",
                (SESSIONS_MAX - 1,),
            )
            self._db.execute("insert into sessions values (?, ?, ?, ?, ?)", row)
        return cookie

    def find(self, cookie: str, now_ms: int) -> Session | None:
        """The session of a cookie; None where there is none, or it has ended."""
        if len(cookie) != COOKIE_LENGTH or not cookie.isascii():
            return None
        hashed = _hash(cookie)
        with self._lock:
            row = self._db.execute(
                "select sealed, zone, begun, used from sessions where hash = ?", (hashed,)
            ).fetchone()
            if row is None:
                return None
            sealed, zone, begun, used = row
            if now_ms - used > IDLE_MS or now_ms - begun > LONGEST_MS:
                self._db.execute("delete from sessions where hash = ?", (hashed,))
                return None
            if abs(now_ms - used) > _TOUCHED_EVERY_MS:
                self._db.execute("update sessions set used = ? where hash = ?", (now_ms, hashed))
        return Session(_unseal(cookie, sealed), zone, form_token(cookie))

    def end(self, cookie: str) -> None:
        """Signs a browser out."""
        with self._lock:
            self._db.execute("delete from sessions where hash = ?", (_hash(cookie),))


def form_token(cookie: str) -> str:
    """What a form must carry to count as sent from a page that this cookie was given to."""
    return hmac.new(cookie.encode(), b"form", hashlib.sha256).hexdigest()


def _hash(cookie: str) -> bytes:
    return hashlib.sha256(b"session " + cookie.encode()).digest()


def _cipher(cookie: str) -> AESGCM:
    return AESGCM(hashlib.sha256(b"sealing " + cookie.encode()).digest())


def _seal(cookie: str, token: str) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + _cipher(cookie).encrypt(nonce, token.encode(), None)


def _unseal(cookie: str, sealed: bytes) -> str:
    return _cipher(cookie).decrypt(sealed[:_NONCE], sealed[_NONCE:], None).decode()
