"""One event by the book (rules.md 1): its values, or everything that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple, cast

import msgspec

from handletime.events import model
from handletime.events.model import EPOCH, FIELDS, Field

LINE_MAX: Final = 1 << 20
"""The longest line of NDJSON, in bytes; an event takes some hundred."""
NESTING_MAX: Final = 100
"""So deep may unknown fields be nested, whoever asks (the interpreter's own limit depends on the caller)."""

Event = dict[str, object]
Problem = tuple[str, str]
"""A field and what is allowed in it."""


def event_of_line(line: bytes, account: str) -> tuple[Event, list[Problem]]:
    """The event in a line of NDJSON, as `event_of`. Of a key that stands twice the last counts."""
    parsed = _parsed(line)
    return ({}, [("", parsed)]) if isinstance(parsed, str) else event_of(parsed, account)


def event_of(item: Mapping[str, object], account: str) -> tuple[Event, list[Problem]]:
    """An event's own fields with defaults filled in, `time` in milliseconds, and whatever is wrong with it.

    `account` is for events that name none.
    """
    event: Event = {"accountId": account}
    problems: list[Problem] = []
    for name, required, default, take, field in _rules_for(item):
        value = item.get(name)
        if value is None:
            if required:
                problems.append((name, f"is missing; {_allowed(field)}"))
            elif default is not None:
                event[name] = default
        elif (taken := take(value)) is None:
            problems.append((name, _why_not(field, value)))
        else:
            event[name] = taken
    return event, problems


def millis_of(time: object) -> int:
    """Epoch milliseconds of a time as rows and explanations have it, RFC 3339."""
    return cast(int, instant(time))


def instant(value: object) -> int | None:
    """Epoch milliseconds of a time, what is finer cut off; None where it is no time of the years 1 to 9999.

    Takes RFC 3339, or epoch milliseconds from 2000 on; `not_milliseconds` says what is wrong with smaller numbers.
    """
    if type(value) is int:
        return value if model.MILLIS_MIN <= value <= model.TIME_MAX else None
    match_ = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match_ is None:
        return None
    try:
        instant = msgspec.convert(match_[1] + (match_[2] or "") + match_[3], datetime) - EPOCH
    except (msgspec.ValidationError, OverflowError):
        return None
    milliseconds = (instant.days * 86_400 + instant.seconds) * 1000 + instant.microseconds // 1000
    return milliseconds if model.TIME_MIN <= milliseconds <= model.TIME_MAX else None


def not_milliseconds(number: int) -> str | None:
    """Why a number is no time in epoch milliseconds: it is before 2000. None where it is not."""
    if number >= model.MILLIS_MIN:
        return None
    if looks_like_seconds(number):
        return "looks like seconds; epoch milliseconds are wanted"
    return "is before 1 January 2000 in epoch milliseconds; write a time as old as that in RFC 3339"


def looks_like_seconds(number: int) -> bool:
    """Whether a number is a time of the years 2000 to 9999 in epoch seconds."""
    return model.MILLIS_MIN <= number * 1000 <= model.TIME_MAX


def is_account(text: str) -> bool:
    """Whether a text can be an account's id."""
    return _ACCOUNT.fullmatch(text) is not None


# --- JSON ----------------------------------------------------------------------------------------------------

_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def _parsed(line: bytes) -> dict[str, object] | str:
    """What the line holds, or why it is no JSON object."""
    if len(line) > LINE_MAX:
        return f"is longer than {LINE_MAX} bytes"
    if _is_nested_too_deep(line):
        return f"must be a JSON object that is not nested deeper than {NESTING_MAX} levels"
    try:
        line.decode()
        parsed = msgspec.json.decode(line)
    except UnicodeDecodeError:
        return "must be UTF-8"
    except msgspec.MsgspecError as error:
        return f"must be a JSON object: {_why_not_json(line, str(error))}"
    return parsed if isinstance(parsed, dict) else "must be a JSON object"


def _why_not_json(line: bytes, error: str) -> str:
    """In words, where the parser's own say nothing to whoever wrote the file. Bytes are counted from 1."""
    if line.startswith(BYTE_ORDER_MARK):
        return "a byte-order mark (EF BB BF) stands before it, which only the start of a file may have; take it out"
    trailing = _TRAILING.search(error)
    place = int(trailing[1]) if trailing else len(line) + 1
    follows = line[place - 1 :].removeprefix(BYTE_ORDER_MARK)[:1]
    if follows == b"{":
        return f"another one follows on its line (byte {place}); write each on a line of its own, or all as an array"
    if follows == b",":
        return f"a comma follows it (byte {place}); lines have none, or write all as an array"
    return error


BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_TRAILING: Final = re.compile(r"trailing characters \(byte (\d+)\)")


def _is_nested_too_deep(line: bytes) -> bool:
    if line.count(b"{") + line.count(b"[") <= NESTING_MAX:
        return False
    depth = 0
    for byte in _STRING.sub(b"", line):
        depth += (byte in b"{[") - (byte in b"}]")
        if depth > NESTING_MAX:
            return True
    return False


# --- fields --------------------------------------------------------------------------------------------------

_ACCOUNT: Final = re.compile(rf"[a-zA-Z0-9]{{1,{model.ACCOUNT_MAX}}}")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:(\.\d{1,3})\d*)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _integer(lowest: int, highest: int, value: object) -> int | None:
    return value if type(value) is int and lowest <= value <= highest else None


def _choice(choices: tuple[str, ...], value: object) -> str | None:
    return value if isinstance(value, str) and value in choices else None


def _account(value: object) -> str | None:
    return value if isinstance(value, str) and is_account(value) else None


def _text(shortest: int, longest: int, value: object) -> str | None:
    fits = isinstance(value, str) and shortest <= len(value) <= longest and not _CONTROL.search(value)
    return str(value) if fits else None


class _Rule(NamedTuple):
    """A field in events of one type; `take` gives the value as the event holds it, None where it is not allowed."""

    name: str
    required: bool
    default: int | str | None
    take: Callable[[object], object | None]
    field: Field


def _take(field: Field) -> Callable[[object], object | None]:
    takes: dict[str, Callable[[object], object | None]] = {
        "account": _account,
        "id": partial(_text, 1, model.ID_MAX),
        "text": partial(_text, 0, model.TEXT_MAX),
        "time": instant,
        "integer": partial(_integer, field.lowest, field.highest),
        "choice": partial(_choice, field.choices),
    }
    return takes[field.kind]


def _rules(fields: list[Field], type_: str) -> list[_Rule]:
    return [_Rule(f.name, f.is_required(type_), f.default, _take(f), f) for f in fields]


_RULES: Final = {type_: _rules([f for f in FIELDS if f.belongs_to(type_)], type_) for type_ in model.TYPES}
_RULES_OF_ANY_TYPE: Final = _rules([f for f in FIELDS if f.required is None or f.optional is None], "")
_RULES_OF_OTHERS_MESSAGE: Final = [rule for rule in _RULES["message"] if rule.name != "agentId"]


def _rules_for(item: Mapping[str, object]) -> list[_Rule]:
    type_ = item.get("type")
    if type_ == "message" and item.get("sentBy") != "agent":
        return _RULES_OF_OTHERS_MESSAGE
    return _RULES.get(type_, _RULES_OF_ANY_TYPE) if isinstance(type_, str) else _RULES_OF_ANY_TYPE


def _why_not(field: Field, value: object) -> str:
    match_ = _TIME.fullmatch(value) if field.kind == "time" and isinstance(value, str) else None
    if match_ and match_[1].endswith(":60"):
        return "must not be a leap second, which epoch milliseconds do not know; write second 59"
    if field.kind == "time" and type(value) is int and value >= model.INTEGER_MIN:
        small = not_milliseconds(value)
        return _allowed(field) if small is None else f"{value} {small}"
    return _allowed(field)


def _allowed(field: Field) -> str:
    return {
        "choice": "must be one of " + ", ".join(field.choices),
        "integer": "must be a signed 64-bit integer"
        if field.lowest == model.INTEGER_MIN
        else f"must be an integer from {field.lowest} to {field.highest}",
        "time": "must be an RFC 3339 date and time with seconds and offset (2026-11-20T09:00:00.000Z), "
        "or epoch milliseconds, of the years 1 to 9999",
        "account": f"must be 1 to {model.ACCOUNT_MAX} letters and digits (a-z, A-Z, 0-9)",
        "id": f"must be a string of 1 to {model.ID_MAX} characters without control characters",
        "text": f"must be a string of at most {model.TEXT_MAX} characters without control characters",
    }[field.kind]
