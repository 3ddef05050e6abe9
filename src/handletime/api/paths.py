"""Paths: each has one spelling, all others lead nowhere (http-api.md 1).

A proxy in front may keep a path away from the public (docs/operations.md). It compares paths in its own way. So a
spelling that the proxy does not recognize must not lead to the path here either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote_to_bytes

_PARAMETER: Final = re.compile(r"\{\w+:(\w+)\}")
_PART: Final = r"(?!(?:\.|%2[Ee]){1,2}(?:/|\Z))[^/]+"
"""An id in a path, escaped in any way: not empty, and not `.` or `..`, which clients and proxies resolve."""
_SAFE: Final = ":@!$&'()*+,;=~"
"""What needs no escape in a path besides letters, digits, `_`, `.` and `-` (RFC 3986 3.3)."""
_PLAIN: Final = re.compile(rf"/[/A-Za-z0-9_.{re.escape(_SAFE)}-]*".encode())
_PARTS: Final = f"{_PART}(?:/{_PART})*"

_SLASHED: Final = re.compile(rb"/operations/api/account/[^/]+/msgqueuehealth/current/")
"""The one path that may also be written with a slash at its end: so do LivePerson's page and its clients."""


def without_slash(raw_path: bytes) -> bytes:
    """A path, without the slash at its end where it may have one."""
    return raw_path[:-1] if _SLASHED.fullmatch(raw_path) else raw_path


def spellings(templates: Iterable[str]) -> re.Pattern[bytes]:
    """A pattern that fully matches the paths of routes (`/api/account/{account:str}/events`) in their one spelling.

    The fixed words of a route have no escapes. `str` stands for one part, `path` for several.
    """
    return re.compile("|".join(map(_spelling, templates)).encode())


def _spelling(template: str) -> str:
    pieces = _PARAMETER.split(template)
    fixed, kinds = pieces[::2], [*pieces[1::2], ""]
    expression = {"str": _PART, "path": _PARTS, "": ""}
    return "".join(re.escape(text) + expression[kind] for text, kind in zip(fixed, kinds, strict=True))


def canonical(raw_path: bytes) -> str | None:
    """A path with only the escapes that it needs; None where it is not text, or not a path.

    Parts stay apart: a %2F stays escaped, and is decoded where the part is used.
    """
    if _PLAIN.fullmatch(raw_path):
        return raw_path.decode()
    if not raw_path.startswith(b"/"):
        return None
    try:
        parts = [unquote_to_bytes(part).decode() for part in raw_path.split(b"/")]
    except UnicodeDecodeError:
        return None
    return "/".join(quote(part, safe=_SAFE) for part in parts)
