"""Paths: each has one spelling, all others lead nowhere (http-api.md 1).

A proxy in front may keep a path away from the public (docs/operations.md). It compares what it was sent, in its own
way. So what it does not know as this path must not be this path here either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote_to_bytes

_PARAMETER: Final = re.compile(r"\{\w+:(\w+)\}")
_PART: Final = r"(?!(?:\.|%2[Ee]){1,2}(?:/|\Z))[^/]+"
"""An id in a path, escaped in any way: not empty, and no `.` or `..`, which clients and proxies work out."""
_PARTS: Final = f"{_PART}(?:/{_PART})*"


def spellings(templates: Iterable[str]) -> re.Pattern[bytes]:
    """Matches, as a whole, paths of routes (`/api/account/{account:str}/events`) as they have to be sent.

    Their own words stand there without escapes; `str` is one part, `path` several.
    """
    return re.compile("|".join(map(_spelling, templates)).encode())


def _spelling(template: str) -> str:
    pieces = _PARAMETER.split(template)
    fixed, kinds = pieces[::2], [*pieces[1::2], ""]
    expression = {"str": _PART, "path": _PARTS, "": ""}
    return "".join(re.escape(text) + expression[kind] for text, kind in zip(fixed, kinds, strict=True))


def canonical(raw_path: bytes) -> str | None:
    """A path with only those escapes that it needs; None where it is no text, or no path.

    Its parts stay apart: what was sent as %2F stays so, and is decoded by whoever takes the part.
    """
    if not raw_path.startswith(b"/"):
        return None
    try:
        parts = [unquote_to_bytes(part).decode() for part in raw_path.split(b"/")]
    except UnicodeDecodeError:
        return None
    return "/".join(quote(part, safe=":@!$&'()*+,;=~") for part in parts)
