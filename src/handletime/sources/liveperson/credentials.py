"""LivePerson's credentials: where they are read, and how requests carry them. None is ever shown."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from oauthlib.oauth1 import Client

from handletime.errors import InputError
from handletime.files import read_regular

VARIABLE: Final = "HANDLETIME_LIVEPERSON_"
_VARIABLES: Final = {
    "bearer": "BEARER",
    "appKey": "APP_KEY",
    "appSecret": "APP_SECRET",
    "accessToken": "ACCESS_TOKEN",
    "accessTokenSecret": "ACCESS_TOKEN_SECRET",
}
"""Where credentials stand in the environment, behind `VARIABLE`, by their names in a file."""
_FILE_MAX: Final = 1 << 16
_WANTED: Final = 'either "bearer", or "appKey", "appSecret", "accessToken" and "accessTokenSecret"'


class Bearer(Struct, frozen=True, forbid_unknown_fields=True):
    """A token of LivePerson's login, or of its OAuth 2."""

    bearer: str
    kind = "the bearer token"

    def authorization(self, _url: str) -> str:
        """The header for a request."""
        return f"Bearer {self.bearer}"

    def __repr__(self) -> str:
        return "Bearer(…)"


class Signed(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The four values of one of LivePerson's API keys, which sign each request (OAuth 1.0a, HMAC-SHA1)."""

    app_key: str
    app_secret: str
    access_token: str
    access_token_secret: str
    kind = "the API key"

    def authorization(self, url: str) -> str:
        """The header for a POST of JSON to an address, good once."""
        signer = Client(self.app_key, self.app_secret, self.access_token, self.access_token_secret)
        return str(signer.sign(url, "POST")[1]["Authorization"])

    def __repr__(self) -> str:
        return "Signed(…)"


Credentials = Bearer | Signed


def credentials_of(file: Path | None, environment: Mapping[str, str]) -> Credentials:
    """Those of a JSON file that is its owner's only, or of the environment.

    Raises InputError where they are none, too many, or the file is others' to read; OSError.
    """
    if file is None:
        named = {name: environment.get(VARIABLE + variable, "") for name, variable in _VARIABLES.items()}
        given = msgspec.json.encode({name: value for name, value in named.items() if value})
        where = f"the environment ({VARIABLE}…)"
    else:
        given, where = read_regular(file, _FILE_MAX), str(file)
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise InputError(f"{file} holds secrets that others can read: chmod 600 {file}")
    try:
        kind: type[Credentials] = Bearer if "bearer" in msgspec.json.decode(given, type=dict[str, str]) else Signed
        found = msgspec.json.decode(given, type=kind)
    except (ValueError, RecursionError):
        raise InputError(f"LivePerson's credentials: {where} must have {_WANTED}, and nothing else") from None
    if not all(value and value.isascii() and value.isprintable() for value in msgspec.structs.astuple(found)):
        raise InputError(f"LivePerson's credentials: {where} holds characters that none have, or nothing")
    return found
