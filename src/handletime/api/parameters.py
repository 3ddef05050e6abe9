"""Query parameters: every one declared once, read by one set of rules (http-api.md 1).

Names, and the values of closed lists, in any letter case. Empty values are as if absent, unknown names are ignored.
A list given twice, also as `name[]`, is joined, anything else given twice is a fault. All faults of a request are
collected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Generic, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from handletime.answers.intervals import Calendar, Interval
from handletime.api.errors import BadRequest
from handletime.events.book import instant, not_milliseconds
from handletime.events.model import EPOCH, INTEGER_MAX, INTEGER_MIN, MILLIS_MIN, TIME_MAX

T = TypeVar("T")
Schema = dict[str, object]


class Moment(NamedTuple):
    """A time, in epoch milliseconds, and the offset that it came with: `Z`, `+03:00`."""

    millis: int
    offset: str = "Z"

    def __str__(self) -> str:
        """RFC 3339 at that offset: seconds always, milliseconds where they are not 0."""
        local = EPOCH + timedelta(milliseconds=self.millis) + _shift(self.offset)
        spec = "milliseconds" if self.millis % 1000 else "seconds"
        return local.replace(tzinfo=None).isoformat(timespec=spec) + self.offset


def _shift(offset: str) -> timedelta:
    if offset == "Z":
        return timedelta()
    minutes = int(offset[1:3]) * 60 + int(offset[4:6])
    return timedelta(minutes=-minutes if offset[0] == "-" else minutes)


class Wrong(ValueError):
    """A value that is not allowed; the message says what is."""


@dataclass(frozen=True)
class Parameter(Generic[T]):
    """One parameter. `default` is its value where it is absent; also, as something harmless, where it is wrong."""

    name: str
    meaning: str
    default: T
    read: Callable[[str], T]
    """The value of a text, which is never empty. Raises Wrong."""
    schema: Schema
    """Its JSON schema, for OpenAPI."""
    required: bool = False
    aliases: tuple[str, ...] = ()
    is_list: bool = False
    """Whether it may be given several times. It is read as one text then, with commas in between."""

    def describe(self) -> Schema:
        """Its parameter object in OpenAPI."""
        described = {"name": self.name, "in": "query", "required": self.required, "description": self.meaning}
        of_array = {"style": "form", "explode": False} if self.schema.get("type") == "array" else {}
        return {**described, "schema": self.schema, **of_array}


_INTEGER: Final = re.compile(r"-?[0-9]+")
_INTEGER_DIGITS: Final = 30
_INT64: Final[Schema] = {"type": "integer", "format": "int64"}
_MILLIS: Final = _INT64 | {"minimum": MILLIS_MIN, "maximum": TIME_MAX}


def integer(text: str) -> int:
    """A plain decimal integer of 64 bits. Raises Wrong."""
    if not _INTEGER.fullmatch(text):
        raise Wrong("must be an integer")
    if len(text) > _INTEGER_DIGITS or not INTEGER_MIN <= (value := int(text)) <= INTEGER_MAX:
        raise Wrong("must be a signed 64-bit integer")
    return value


def between(value: int, least: int | None = None, most: int | None = None) -> int:
    """The value, checked against its bounds. Raises Wrong."""
    if least is not None and value < least:
        raise Wrong(f"must be greater than or equal to {least}")
    if most is not None and value > most:
        raise Wrong(f"must be less than or equal to {most}")
    return value


def interval_of(
    text: str, units: Sequence[Calendar], wanted: str, least: int | None = None, most: int | None = None
) -> Interval:
    """One of the units of the calendar, in any letter case, or minutes: what is `wanted`, in words. Raises Wrong."""
    for unit in units:
        if text.strip().lower() == unit:
            return unit
    try:
        minutes = integer(text)
    except Wrong as error:
        raise Wrong(f"must be {wanted}") from error
    return between(minutes, least, most)


def a_number(
    name: str, meaning: str, default: int, *, least: int | None = None, most: int | None = None
) -> Parameter[int]:
    """A number within bounds."""
    limits = {"minimum": least, "maximum": most, "default": default}
    schema = _INT64 | {key: value for key, value in limits.items() if value is not None}
    return Parameter(name, meaning, default, lambda text: between(integer(text), least, most), schema)


def an_id(name: str, meaning: str) -> Parameter[int | None]:
    """The id of an agent, a skill or a group; None where it is absent."""
    return Parameter(name, meaning, None, integer, _INT64)


def a_text(
    name: str, meaning: str, *, pattern: str = "", longest: int | None = None, required: bool = False
) -> Parameter[str | None]:
    """A text that matches an expression as a whole; None where it is absent."""

    def read(text: str) -> str:
        if longest is not None and len(text) > longest:
            raise Wrong(f"must have at most {longest} characters")
        if pattern and not re.fullmatch(pattern, text, re.ASCII):
            raise Wrong(f"must match ^{pattern}$")
        return text

    limits = {"maxLength": longest, "pattern": f"^{pattern}$" if pattern else None}
    schema = {"type": "string", "minLength": 1} | {key: value for key, value in limits.items() if value is not None}
    return Parameter(name, meaning, None, read, schema, required)


def a_choice(
    name: str, meaning: str, default: str, choices: Sequence[str], *, required: bool = False
) -> Parameter[str]:
    """One of a closed list, in any letter case."""
    schema: Schema = {"type": "string", "enum": list(choices)}
    if default in choices:
        schema["default"] = default
    return Parameter(name, meaning, default, lambda text: _chosen(text, choices), schema, required)


def _chosen(text: str, choices: Iterable[str]) -> str:
    known = {choice.lower(): choice for choice in choices}
    if text.strip().lower() not in known:
        raise Wrong("must be one of " + ", ".join(known.values()))
    return known[text.strip().lower()]


ALL: Final = "all"


def _split(text: str) -> list[str]:
    return [part for part in (piece.strip() for piece in text.split(",")) if part]


def some_ids(name: str, meaning: str) -> Parameter[frozenset[int] | None]:
    """Ids, separated by commas, or `all`, which is None, and so is absent."""
    schema: Schema = {"type": "string", "pattern": "^([aA][lL][lL]|-?[0-9]{1,18}(,-?[0-9]{1,18})*)$"}
    return Parameter(name, meaning, None, _ids, schema, is_list=True)


def _ids(text: str) -> frozenset[int] | None:
    parts = _split(text)
    if {part.lower() for part in parts} == {ALL}:
        return None
    try:
        return frozenset(integer(part) for part in parts)
    except Wrong as error:
        raise Wrong("must be all, or integers separated by commas") from error


def some_choices(name: str, meaning: str, choices: Sequence[str], *, none: bool = False) -> Parameter[frozenset[str]]:
    """Some of a closed list, separated by commas, or `all`, in any letter case; all where it is absent.

    With `none`, none where it is absent, and there is no `all`.
    """
    allowed = [*choices] if none else [*choices, ALL]

    def read(text: str) -> frozenset[str]:
        chosen = {_chosen(part, allowed) for part in _split(text)}
        return frozenset(choices if ALL in chosen else chosen)

    schema: Schema = {"type": "array", "items": {"type": "string", "enum": allowed}}
    return Parameter(name, meaning, frozenset() if none else frozenset(choices), read, schema, is_list=True)


_TIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2})(:[0-9]{2}(?:\.[0-9]+)?)?([Zz]|[+ -][0-9]{2}:[0-9]{2})"
)
_TIME_ALLOWED: Final = "must be RFC 3339 with an offset (2026-11-20T09:00:00Z), or epoch milliseconds"


def a_time(name: str, meaning: str) -> Parameter[Moment | None]:
    """A moment, as `moment_of` reads it; None where it is absent."""
    return Parameter(name, meaning, None, moment_of, {"anyOf": [{"type": "string", "format": "date-time"}, _MILLIS]})


def moment_of(text: str) -> Moment:
    """A moment: RFC 3339, also without seconds, also with a space where a `+` was decoded; or epoch milliseconds.

    Raises Wrong.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        millis = _milliseconds(int(text)) if _INTEGER.fullmatch(text) and len(text) <= _INTEGER_DIGITS else None
        offset = "Z"
    else:
        offset = match[3].replace(" ", "+").upper()
        millis = instant(f"{match[1]}{match[2] or ':00'}{offset}")
    if millis is None or not _can_be_shown(Moment(millis, offset)):
        raise Wrong(_TIME_ALLOWED)
    return Moment(millis, offset)


def _milliseconds(number: int) -> int | None:
    """Epoch milliseconds; None beyond year 9999. Raises Wrong for what is before 2000: it looks like seconds."""
    small = not_milliseconds(number)
    if small is not None:
        raise Wrong(f"{number} {small}")
    return instant(number)


def _can_be_shown(moment: Moment) -> bool:
    try:
        return bool(str(moment))
    except OverflowError:
        return False


def a_time_in_millis(name: str, meaning: str) -> Parameter[Moment | None]:
    """A moment in epoch milliseconds; None where it is absent."""
    return Parameter(name, meaning, None, _moment_of_millis, _MILLIS)


def _moment_of_millis(text: str) -> Moment:
    millis = _milliseconds(integer(text))
    if millis is None:
        raise Wrong("must be epoch milliseconds of the years 2000 to 9999")
    return Moment(millis)


class Query:
    """The query of one request. Reading collects faults; `check` raises them, and only then may values be used."""

    def __init__(self, query_string: bytes) -> None:
        self._given = _by_lower_name(query_string)
        self._faults: list[tuple[str, str]] = []

    def get(self, parameter: Parameter[T]) -> T:
        """A parameter's value; its default where it is absent or wrong."""
        given = self._values(parameter)
        if not given:
            if parameter.required:
                self.fault(parameter, "is required")
            return parameter.default
        try:
            if any("\ud800" <= character <= "\udfff" for text in given for character in text):
                raise Wrong("must be UTF-8")
            if len(given) > 1 and not parameter.is_list:
                raise Wrong("must be given once")
            return parameter.read(",".join(given))
        except Wrong as error:
            self.fault(parameter, str(error))
            return parameter.default

    def override(self, fields: Mapping[str, str]) -> None:
        """Takes values of a body; they count instead of the query's of the same name. An empty one is as if absent."""
        given: dict[str, list[str]] = {}
        for name, value in fields.items():
            if value:
                given.setdefault(name.lower().removesuffix("[]"), []).append(value)
        self._given = {name: each for name, each in self._given.items() if name.removesuffix("[]") not in given} | given

    def has(self, parameter: Parameter[T]) -> bool:
        """Whether the parameter was given at all."""
        return bool(self._values(parameter))

    def fault(self, parameter: Parameter[T], message: str) -> None:
        """Notes what is wrong with a parameter; the same only once."""
        if (parameter.name, message) not in self._faults:
            self._faults.append((parameter.name, message))

    def is_good(self, parameters: Iterable[Parameter[T]]) -> bool:
        """Whether no fault of these parameters was noted so far."""
        names = {parameter.name for parameter in parameters}
        return not any(name in names for name, _ in self._faults)

    @property
    def causes(self) -> list[str]:
        """Every fault that was noted, with its parameter's name."""
        return [f"{name}: {message}" for name, message in self._faults]

    def check(self) -> None:
        """Raises BadRequest with every fault that was noted."""
        if self._faults:
            raise BadRequest(self.causes)

    def _values(self, parameter: Parameter[T]) -> list[str]:
        names = [parameter.name, *parameter.aliases]
        if parameter.is_list:
            names += [f"{name}[]" for name in names]
        values = [value for name in names for value in self._given.get(name.lower(), ())]
        return [value for value in values if value.strip(" ,")] if parameter.is_list else values


def _by_lower_name(query_string: bytes) -> Mapping[str, list[str]]:
    given: dict[str, list[str]] = {}
    for field in query_string.split(b"&"):
        name, _, value = field.partition(b"=")
        if value:
            given.setdefault(_decoded(name).lower(), []).append(_decoded(value))
    return given


def _decoded(escaped: bytes) -> str:
    return unquote_to_bytes(escaped.replace(b"+", b" ")).decode(errors="surrogateescape")
