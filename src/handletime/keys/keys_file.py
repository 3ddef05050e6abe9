"""Bearer keys in a file that any number of servers read: no secrets in it, only their SHA-256.

`keys create --file` makes the file and adds to it, always by putting a whole new file in its place. A server reads the
file again when it has been replaced. Servers write nothing, so there are no nonces, and no OAuth keys.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Annotated, Final, NamedTuple

import msgspec

from handletime.clock import Clock, SystemClock
from handletime.errors import InputError, NotNow, StoreError
from handletime.events.model import ACCOUNT_MAX, EPOCH
from handletime.files import open_regular
from handletime.keys.keys import PERMISSIONS, READING, TOKEN, Key, KeyInfo, NewToken, Permission, check
from handletime.scope import WHOLE, Scope

FILE_MAX: Final = 16 << 20
"""The most bytes of a file of keys: some 50,000 keys."""
_MACHINE: Final = SystemClock()


_Id = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_Ids = Annotated[tuple[_Id, ...], msgspec.Meta(min_length=1)]


class FileKey(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A key as it stands in the file; `sha256` is that of the whole token, None of `groups` and `skills` no limit."""

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{12}$")]
    account: Annotated[str, msgspec.Meta(pattern=f"^[A-Za-z0-9]{{1,{ACCOUNT_MAX}}}$")]
    permissions: tuple[Permission, ...]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None
    groups: _Ids | None = None
    skills: _Ids | None = None

    @property
    def scope(self) -> Scope:
        """What of the account the key may see."""
        return Scope(self.groups, self.skills)

    def info(self) -> KeyInfo:
        """What is shown of the key."""
        times = self.created, self.expires, None, self.revoked
        return KeyInfo(self.id, self.account, self.permissions, None, self.groups, self.skills, *times)


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    keys: list[FileKey]


def create(
    path: Path,
    account: str,
    permissions: Iterable[Permission] = READING,
    expires_ms: int | None = None,
    *,
    scope: Scope = WHOLE,
    clock: Clock = _MACHINE,
) -> NewToken:
    """Makes a key of an account, on disk when this returns; makes the file if there is none.

    Raises InputError where account, permissions, scope or expiry are not allowed; StoreError where it is not a file of
    keys; OSError. A server of before there were scopes refuses a file in which a key has one.
    """
    now_ms = clock.now()
    wanted = frozenset(permissions)
    if taken := wanted & {"ingest", "focus"}:
        raise InputError(f"a server over tables takes no events: no key of its file may `{min(taken)}`")
    check(account, wanted, expires_ms, now_ms, scope=scope)
    key_id = secrets.token_hex(6)
    chosen = tuple(each for each in PERMISSIONS if each in wanted)
    new = NewToken(key_id, account, chosen, None, *scope, f"ht_{key_id}_{secrets.token_hex(32)}")
    expires = None if expires_ms is None else _moment(expires_ms)
    kept = FileKey(key_id, account, chosen, _sha256(new.token), _moment(now_ms), expires, None, *scope)
    with _changing(path) as keys:
        keys.append(kept)
    return new


def list_keys(path: Path) -> list[KeyInfo]:
    """All keys of the file, in its order. Raises StoreError where it is not a file of keys."""
    return [key.info() for key in _read(path).keys]


def revoke(path: Path, key_id: str, *, clock: Clock = _MACHINE) -> KeyInfo:
    """Revokes a key for good; one that is revoked already stays as it is. Raises InputError where there is none."""
    _read(path)  # Where there is no file, none is made.
    with _changing(path) as keys:
        place = next((place for place, key in enumerate(keys) if key.id == key_id), None)
        if place is None:
            # Not repeated: it may be a whole token, pasted.
            raise InputError("there is no key of this id; `handletime keys list` names them")
        now = _moment(clock.now())
        keys[place] = msgspec.structs.replace(keys[place], revoked=keys[place].revoked or now)
    return keys[place].info()


class _Held(NamedTuple):
    """The valid keys, and what identifies the file that they are from."""

    file: tuple[int, ...]
    by_id: Mapping[str, FileKey]


class SharedKeys:
    """The keys of a file, in memory. Any thread may use it.

    A file that replaces it counts from the next look-up on. Unknown keys take the same path as known ones.
    Raises StoreError where there is no such file, or it is not a file of keys.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._nobody = FileKey("0" * 12, "nobody", (), secrets.token_hex(32), EPOCH)
        self._held = self._hold(_mark(path))

    def by_token(self, token: str, now_ms: int) -> Key | None:
        """The key of a bearer token, None where it is wrong, revoked or expired.

        Raises NotNow where the file cannot be read any more: its keys may have been revoked.
        """
        match_ = TOKEN.fullmatch(token)
        kept = self._now_held().get(match_[1] if match_ else "", self._nobody)
        fits = hmac.compare_digest(_sha256(token), kept.sha256)
        expires = None if kept.expires is None else (kept.expires - EPOCH) // timedelta(milliseconds=1)
        key = Key(kept.id, kept.account, kept.permissions, expires, scope=kept.scope)
        return key if fits and key.holds_at(now_ms) and kept is not self._nobody else None

    def _now_held(self) -> Mapping[str, FileKey]:
        try:
            mark = _mark(self._path)
            if mark != self._held.file:
                with self._lock:
                    if mark != self._held.file:
                        self._held = self._hold(mark)
        except StoreError as error:
            raise NotNow("the keys cannot be read now; the log says why") from error
        return self._held.by_id

    def _hold(self, mark: tuple[int, ...]) -> _Held:
        return _Held(mark, {key.id: key for key in _read(self._path).keys if key.revoked is None})


def _mark(path: Path) -> tuple[int, ...]:
    """What identifies the present file, so that a replacement is seen. Raises StoreError."""
    try:
        about = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return about.st_dev, about.st_ino, about.st_mtime_ns, about.st_size, about.st_mode


def _unreadable(path: Path, error: OSError) -> StoreError:
    if isinstance(error, FileNotFoundError):
        return StoreError(f"{path}: there is no such file; `handletime keys create ACCOUNT --file` makes it")
    return StoreError(f"{path} cannot be read: {error.strerror}")


def _read(path: Path) -> KeyFile:
    try:
        with open_regular(path, FILE_MAX) as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read(FILE_MAX)
    except OSError as error:
        raise _unreadable(path, error) from error
    except InputError as error:
        raise StoreError(str(error)) from error
    if mode & 0o022:
        raise StoreError(f"{path} may be written by others, who could let themselves in; chmod 600 {path}")
    try:
        found = msgspec.json.decode(text, type=KeyFile)
    except msgspec.DecodeError as error:
        raise StoreError(f"{path} is no file of keys: {error}") from error
    if any(moment is not None and moment.tzinfo is None for key in found.keys for moment in (key.created, key.expires)):
        raise StoreError(f"{path} is no file of keys: its times need an offset")
    return found


@contextmanager
def _changing(path: Path) -> Iterator[list[FileKey]]:
    """The keys of a file, to be changed: in the end a whole new file takes its place, on disk when this is left.

    Other commands wait meanwhile. Raises StoreError, OSError.
    """
    folder = path.absolute().parent
    alone = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX)
        keys = _read(path).keys if path.exists() else []
        yield keys
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(KeyFile(keys)), indent=2) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
        os.fsync(alone)
    finally:
        os.close(alone)


def _moment(millis: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=millis)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
