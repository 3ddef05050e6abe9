"""What is kept of a body that could not be mapped: its shape, numbers, ids, times and states; no text and no name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

import msgspec

NOT_KEPT: Final = "\ue000"
"""Stands in place of what is not kept: a character of nobody's, so that a mapping which needs it is found out."""
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_KEPT: Final = re.compile(
    "ids?|uuid|sid|rid|account|audience|at|channel|closer|created|date|direction|ended|events?|finished|group|kind|level"
    "|modified|origin|outcome|priority|private|public|purpose|queue|reason|role|sent|skill|source|started|state|status"
    "|time|timestamp|ts|type|updated|via|visible"
)
"""Last words of keys whose texts tell no more than what kind of thing this is, or when."""
_PERSONAL: Final = re.compile(
    "address|birth|city|contact|country|email|fax|ip|latitude|location|longitude|mail|mobile|name|password|phone"
    "|postcode|street|tel|token|zip"
)
"""Words of keys of which nothing is kept, no number and nothing below them."""
_PLAIN: Final = re.compile(r"[\w.:/+ -]{1,64}", re.ASCII)
"""What a kept text may look like: an id, a time, a word. Nothing with an `@`."""
_PHONE: Final = re.compile(r"(?<![0-9A-Za-z])\+[\d ()/-]{6,}|\A00[\d ]{6,}")
"""A number with the code of a country, also within an id: `whatsapp:+491701234567`."""
_KEY: Final = re.compile(r"[A-Za-z_$][\w.$-]{0,63}", re.ASCII)
_DEPTH_MAX: Final = 40
_SIZE_MAX: Final = 1 << 20


def without_texts(body: bytes, keep: Collection[str] = ()) -> bytes:
    """A JSON body without texts, except ids, times, types and states; b"" where it is no JSON, or over 1 MiB.

    `NOT_KEPT` stands where something was.

    `keep` names further keys whose texts may stay. Names of keys that could be somebody's become `?`.
    """
    if len(body) > _SIZE_MAX:
        return b""
    try:
        value = msgspec.json.decode(body)
        return msgspec.json.encode(_kept(value, "", frozenset(keep), 0, is_personal=False))
    except (ValueError, RecursionError):
        return b""


def not_kept(body: bytes) -> set[str]:
    """The keys of a kept body of which something is not there any more; none of a body as it came."""
    if NOT_KEPT.encode() not in body:
        return set()
    try:
        return set(_marked(msgspec.json.decode(body), ""))
    except (ValueError, RecursionError):
        return set()


def _marked(value: object, key: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _marked(below, str(name))
    elif isinstance(value, list):
        for each in value:
            yield from _marked(each, key)
    elif value == NOT_KEPT:
        yield key


def _kept(value: object, key: str, keep: frozenset[str], depth: int, *, is_personal: bool) -> object:
    """`is_personal` says that it lies below a key of which nothing is kept."""
    if depth > _DEPTH_MAX:
        return NOT_KEPT
    words = [word.lower() for word in _WORDS.findall(key)]
    is_personal = is_personal or any(map(_PERSONAL.fullmatch, words))
    if isinstance(value, dict):
        return {
            _name(each): _kept(below, _key(str(each), key), keep, depth + 1, is_personal=is_personal)
            for each, below in value.items()
        }
    if isinstance(value, list):
        return [_kept(each, key, keep, depth + 1, is_personal=is_personal) for each in value]
    if value is None or isinstance(value, bool) or key in keep:
        return value
    if is_personal:
        return NOT_KEPT
    if isinstance(value, int | float):
        return value
    text = str(value)
    is_plain = words and _KEPT.fullmatch(words[-1]) and _PLAIN.fullmatch(text) and not _PHONE.search(text)
    return text if is_plain else NOT_KEPT


def _key(key: str, above: str) -> str:
    """What a key says of its value: `current_value` and the like say no more than the key above."""
    return above if key.endswith(("value", "values")) else key


def _name(key: object) -> str:
    return str(key) if _KEY.fullmatch(str(key)) else "?"
