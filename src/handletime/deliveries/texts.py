"""What is kept of a body that could not be mapped: its shape, numbers, ids, times and states; no text and no name."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, Final

NOT_KEPT: Final = "\ue000not kept\ue000"
"""Stands in place of what is not kept, and of a key that could be somebody's name: nobody sends it."""
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_KEPT: Final = re.compile(
    "ids?|uuid|sid|rid|account|audience|at|channel|closer|created|date|direction|ended|events?|finished|group|kind|level"
    "|modified|origin|outcome|priority|private|public|purpose|queue|reason|role|sent|skill|source|started|state|status"
    "|time|timestamp|ts|type|updated|via|visible"
)
"""Last words of keys whose texts tell no more than what kind of thing this is, or when."""
_PERSONAL: Final = re.compile(
    "address|birth|city|contact|country|email|fax|ip|latitude|location|longitude|mail|mobile|name|password|phone"
    "|msisdn|postcode|street|tel|token|wa|whatsapp|zip"
)
"""Words of keys of which nothing is kept, no number and nothing below them."""
_PLAIN: Final = re.compile(r"(?=.{1,64}\Z)[\w.:/+-]+( [\w.:/+-]+)?( [+-]?[\d:]+| [A-Z]{1,4})?", re.ASCII)
"""What a kept text may look like: an id, a word or two, a time with its zone. Nothing with an `@`, no sentence."""
_PHONE: Final = re.compile(r"(?<![0-9A-Za-z])\+[\d ()/-]{6,}|\A00[\d ]{6,}")
"""A number with the code of a country, also within an id: `whatsapp:+491701234567`."""
_KEY: Final = re.compile(r"[A-Za-z_$][\w.$-]{0,63}", re.ASCII)
_DEPTH_MAX: Final = 40
_SIZE_MAX: Final = 1 << 20


def without_texts(body: bytes, keep: Collection[str] = ()) -> bytes:
    """A JSON body without texts, except ids, times, types and states.

    `NOT_KEPT` stands where something was, also in place of a key that could be somebody's name. `keep` names keys that
    stay, with their texts. b"" where nothing can be kept: of what is no JSON, over 1 MiB, nested deeper than 40 levels,
    or has a key twice in one object, of which readers disagree.
    """
    if len(body) > _SIZE_MAX:
        return b""
    try:
        value = json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_refuse)
        kept = _kept(value, "", frozenset(keep), 0, is_personal=False)
        return json.dumps(kept, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return b""


def not_kept(body: bytes) -> set[str]:
    """The keys of a kept body of which something is not there any more; none of a body as it came.

    `NOT_KEPT` is among them where a key itself is not there.
    """
    if NOT_KEPT.encode() not in body:
        return set()
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return set()
    return set(_marked(value, ""))


def filled(body: bytes, text: str) -> bytes:
    """A kept body with this text in each place of which something is not there any more."""
    return body.replace(json.dumps(NOT_KEPT, ensure_ascii=False).encode(), json.dumps(text).encode())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _marked(value: object, key: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, below in value.items():
            if name == NOT_KEPT:
                yield name
            yield from _marked(below, name)
    elif isinstance(value, list):
        for each in value:
            yield from _marked(each, key)
    elif value == NOT_KEPT:
        yield key


def _kept(value: object, key: str, keep: frozenset[str], depth: int, *, is_personal: bool) -> object:
    """`is_personal` says that it lies below a key of which nothing is kept."""
    if depth > _DEPTH_MAX:
        raise ValueError("nested too deep")
    words = [word.lower() for word in _WORDS.findall(key)]
    is_personal = is_personal or any(map(_PERSONAL.fullmatch, words))
    if isinstance(value, dict):
        return {
            each if each in keep or _KEY.fullmatch(each) else NOT_KEPT: _kept(
                below, _key(each, key), keep, depth + 1, is_personal=is_personal
            )
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
