"""What is kept of a body that could not be mapped: its shape, numbers, ids, times and states; no text and no name."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

NOT_KEPT: Final = "\ue000not kept\ue000"
"""Stands in place of what is not kept, and of a key that could be somebody's name: nobody sends it."""
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_KEPT: Final = re.compile(
    "ids?|uuid|sid|rid|accepted|account|assigned|audience|at|begin|channel|closed|closer|created|date|direction|end|ended"
    "|events?|eventtype|finished|group|joined|kind|left|level|modified|opened|origin|outcome|priority|private|public|purpose|queue"
    "|reason|resolved|role|sent|skill|source|start|started|state|status|time|timestamp|ts|type|updated|via|visible"
)
"""Last words of keys whose texts tell no more than what kind of thing this is, or when."""
_PERSONAL: Final = re.compile(
    "(first|last|middle|nick|sur|user)?names?|address(es)?|birth|birthday|callee|caller|cell|city|contacts?|country|dob"
    "|e?mails?|fax|iban|ip|latitude|location|longitude|(tele|cell|mobile)?phones?(number)?|mobile|msisdn|passwords?"
    "|postcode|ssn|street|tel|tokens?|wa|whatsapp|zip"
)
"""Words of keys of which nothing is kept, no number and nothing below them."""
_STATES: Final = re.compile("event|kind|level|outcome|priority|reason|state|status|type")
"""Last words of keys whose texts may have two words: `in progress`."""
_WORD: Final = re.compile(r"[\w.:/+-]{1,64}", re.ASCII)
_TWO_WORDS: Final = re.compile(r"[a-z.:/-]{1,32} [a-z.:/-]{1,32}", re.ASCII | re.IGNORECASE)
_TIME: Final = re.compile(r"\d[\d./-]{5,9} [\d:.]{4,15} ?([+-]\d\d:?\d\d|[A-Z]{1,4})?", re.ASCII)
"""What a kept text may look like: an id or another word, a state, a time. Nothing with an `@`, no sentence."""
_NUMBER: Final = re.compile(r"(?<![0-9A-Za-z])\+[\d ()/-]{6,}|\A00[\d ]{6,}|\A0\d{6,}\Z|\A\d+(\.\d+){3}\Z")
"""A number with the code of a country, also within an id (`whatsapp:+491701234567`), or of an area; an address of the
internet.
"""
_LARGE: Final = 10**8
"""From here on a number may be that of a phone: only under keys of ids and times it is kept."""
_UNITS: Final = re.compile("epoch|l|millis|ms|seconds|us")
_KEY: Final = re.compile(r"[A-Za-z_$][\w.$-]{0,63}", re.ASCII)
SOME: Final = 24
"""So many times some of the texts of a mapping are given."""
_DEPTH_MAX: Final = 40
_BODY_MAX: Final = 16 << 20
_SIZE_MAX: Final = 1 << 20


def without_texts(body: bytes, keep: Collection[str] = (), known: Collection[str] = ()) -> bytes:
    """A JSON body without texts, except empty ones, ids, times, types and states.

    `NOT_KEPT` stands where something was, also in place of a key that could be somebody's name. `keep` names keys that
    stay, with their texts. Texts and keys that are `known`, because they stand in the mapping, stay too. A body of
    which everything is kept stays as it was written. b"" where nothing can be kept: of what is no JSON, is nested
    deeper than 40 levels, has a key twice in one object, of which readers disagree, or is over 16 MiB, or over 1 MiB
    without its texts.
    """
    if len(body) > _BODY_MAX:
        return b""
    try:
        value = json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_refuse)
        kept = _Keeper(frozenset(keep), frozenset(known)).kept(value)
        made = json.dumps(kept, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return b""
    if NOT_KEPT.encode() not in made:
        made = body
    return made if len(made) <= _SIZE_MAX else b""


def not_kept(body: bytes) -> set[str]:
    """The keys of a kept body of which something is not there any more.

    `NOT_KEPT` is among them where a key itself is not there.
    """
    return set(_marked(json.loads(body), "")) if NOT_KEPT.encode() in body else set()


class Variant(NamedTuple):
    """Other content for a kept body: `fills`, in turn, for what is not there, and texts to be added to each object of
    which something is not there. It may be written `spaced`."""

    fills: Sequence[str | int]
    added: Sequence[str] = ()
    spaced: bool = False


def variants(known: Collection[str]) -> list[Variant]:
    """Different content, such that a mapping which reads what is not there comes to another result with one of them.

    `known` are the texts that the mapping can compare with. They are given all together, and some at a time: it may
    look for one where another one is not.
    """
    words = sorted({*known, *(word for text in known for word in re.findall(r"\w+", text))})
    dice = random.Random(0)  # noqa: S311 - the same each time
    some = [words, *([word for word in words if dice.random() < 1 / 4] for _ in range(SOME))]
    return [
        Variant([f"another text {number}" for number in range(50)], spaced=True),
        Variant([*range(7, 50)]),
        Variant(["long " * 15_000, "short"]),
        *(Variant([*each, " ".join(each)], each) for each in some if each),
    ]


def varied(body: bytes, variant: Variant) -> bytes:
    """A kept body with other content."""
    value = _varied(json.loads(body), variant, itertools.cycle(variant.fills))
    return json.dumps(value, separators=None if variant.spaced else (",", ":")).encode()


def _varied(value: object, variant: Variant, fills: Iterator[str | int]) -> object:
    if value == NOT_KEPT:
        return next(fills)
    if isinstance(value, list):
        return [_varied(each, variant, fills) for each in value]
    if not isinstance(value, dict):
        return value
    made = {str(next(fills)) if key == NOT_KEPT else key: _varied(each, variant, fills) for key, each in value.items()}
    if NOT_KEPT in value or NOT_KEPT in value.values():
        made |= {f"{NOT_KEPT}{number}": text for number, text in enumerate(variant.added)}
    return made


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


class _Keeper(NamedTuple):
    """Keeps what may be kept of a value: also what stands under keys to `keep`, and texts that are `known`."""

    keep: frozenset[str]
    known: frozenset[str]

    def kept(
        self, value: object, key: str = "", above: str = "", depth: int = 0, *, is_personal: bool = False
    ) -> object:
        """What is kept of a value under a key, which lies `above` others; `is_personal` where one of those is."""
        if depth > _DEPTH_MAX:
            raise ValueError("nested too deep")
        # `current_value` and the like say no more than the key above.
        told = above if key.endswith(("value", "values")) else key
        words = [word.lower() for word in _WORDS.findall(told)]
        is_personal = is_personal or any(map(_PERSONAL.fullmatch, words))
        if isinstance(value, dict):
            return {
                self._key(each): self.kept(below, each, told, depth + 1, is_personal=is_personal)
                for each, below in value.items()
            }
        if isinstance(value, list):
            return [self.kept(each, key, above, depth + 1, is_personal=is_personal) for each in value]
        if value is None or value == "" or isinstance(value, bool) or key in self.keep or told in self.keep:
            return value
        if is_personal:
            return NOT_KEPT
        last = words[-1] if words else ""
        is_kept = _KEPT.fullmatch(last) is not None
        if isinstance(value, int | float):
            return value if is_kept or abs(value) < _LARGE or _UNITS.fullmatch(last) else NOT_KEPT
        text = str(value)
        is_plain = (
            _WORD.fullmatch(text) or _TIME.fullmatch(text) or (_STATES.fullmatch(last) and _TWO_WORDS.fullmatch(text))
        )
        return text if text in self.known or (is_kept and is_plain and not _NUMBER.search(text)) else NOT_KEPT

    def _key(self, key: str) -> str:
        is_kept = key in self.keep or key in self.known or _KEY.fullmatch(key)
        return key if is_kept else NOT_KEPT
