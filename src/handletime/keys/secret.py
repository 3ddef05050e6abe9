"""The secret key of a folder, which seals the OAuth secrets of its keys, and the file that it stands in."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from handletime.errors import InputError, StoreError
from handletime.files import open_regular
from handletime.keys.sidefile import create_whole

KEY_FILE: Final = "secret.key"
_KEY_FILE_MAX: Final = 1000
_HEX_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")
_HEX_KEY_FORM: Final = "64 hexadecimal digits (openssl rand -hex 32)"
_CIPHER_NONCE: Final = 12


class Secret:
    """The key that seals OAuth secrets: 256 bits, written as 64 hexadecimal digits.

    Raises StoreError where the text is none; `source` is what the message calls it.
    """

    def __init__(self, text: str, source: str = "the secret key") -> None:
        if _HEX_KEY.fullmatch(text) is None:
            raise StoreError(f"{source} must be {_HEX_KEY_FORM}")
        key = bytes.fromhex(text)
        self._cipher = AESGCM(key)
        self.fingerprint = hashlib.sha256(b"handletime secret key" + key).digest()

    def seal(self, bound: bytes, values: tuple[str, str]) -> bytes:
        """Two OAuth secrets as bytes that only this secret key opens, and only together with `bound`."""
        nonce = secrets.token_bytes(_CIPHER_NONCE)
        return nonce + self._cipher.encrypt(nonce, "\n".join(values).encode(), bound)

    def unseal(self, bound: bytes, sealed: bytes) -> tuple[str, str] | None:
        """What was sealed; None where it was sealed with anything else, or has been changed."""
        nonce, text = sealed[:_CIPHER_NONCE], sealed[_CIPHER_NONCE:]
        try:
            first, second = self._cipher.decrypt(nonce, text, bound).decode().split("\n")
        except (InvalidTag, ValueError):  # The latter where it is cut too short to be anything sealed.
            return None
        return first, second


def make_secret_file(folder: Path) -> None:
    """Makes a folder's secret key, for its owner only; one that is there stays. Raises OSError."""
    create_whole(folder / KEY_FILE, lambda file: _write(file, secrets.token_hex(32)))


def read_secret_file(folder: Path) -> Secret:
    """The secret key of a folder. Raises StoreError where it is missing, unreadable, open to others or none."""
    path = folder / KEY_FILE
    return Secret(_read(path), str(path))


def _write(path: Path, text: str) -> None:
    path.write_text(f"{text}\n", encoding="ascii")


def _read(path: Path) -> str:
    try:
        with open_regular(path, _KEY_FILE_MAX) as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read(_KEY_FILE_MAX)
    except FileNotFoundError as error:
        raise StoreError(
            f"{path} is missing: the keys are sealed with it; put it back, or revoke all keys and create new ones"
        ) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except InputError as error:
        raise StoreError(str(error)) from error
    if mode & 0o077:
        raise StoreError(f"{path} is open to others; chmod 600 {path}")
    return text.decode("ascii", "replace").strip()
