"""The fields of a record that are read, and how their values are read. Nothing else of a record is ever decoded.

Every field may hold anything. A missing or wrong value is reported in a sentence that begins with its place and
never repeats the value: `agentParticipants[1].agentId: must be a signed 64-bit integer`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from handletime.events import model
from handletime.events.book import instant, looks_like_seconds

UNREADABLE: Final = (ValueError, RecursionError)
"""The errors that decoding raises: msgspec's errors and UnicodeDecodeError are ValueErrors."""

Tell = Callable[[str], None]


class Record(Struct, rename="camel", gc=False):
    """A record's parts that are read, as they stand."""

    info: Raw = Raw()
    message_records: Raw = Raw()
    agent_participants: Raw = Raw()
    agent_participants_active: Raw = Raw()
    transfers: Raw = Raw()
    interactions: Raw = Raw()
    dialogs: Raw = Raw()


class Span(Struct, rename="camel", gc=False):
    """When something began and ended."""

    status: object = None
    start_time: object = None
    start_time_l: object = None
    end_time: object = None
    end_time_l: object = None
    close_reason: object = None


class Info(Span, rename="camel", gc=False):
    """`info`: the conversation."""

    conversation_id: object = None
    conversation_end_time: object = None
    conversation_end_time_l: object = None
    brand_id: object = None
    source: object = None
    latest_skill_id: object = None
    is_partial: object = None


class Dialog(Span, rename="camel", gc=False):
    """An element of `dialogs`."""

    dialog_id: object = None
    dialog_type: object = None


class Timed(Struct, rename="camel", gc=False):
    """Something that happened at one moment, in one dialog."""

    dialog_id: object = None
    time: object = None
    time_l: object = None

    @property
    def moment(self) -> int | None:
        """When, in epoch milliseconds; None where the record does not say."""
        return moment(self.time_l, self.time)

    @property
    def agent(self) -> str:
        """The agent who did it, as written."""
        return ""


class Message(Timed, rename="camel", gc=False):
    """An element of `messageRecords`, without what was written."""

    message_id: object = None
    seq: object = None
    participant_id: object = None
    sent_by: object = None
    audience: object = None

    @property
    def agent(self) -> str:
        """Who wrote it; a consumer's id is no agent's."""
        return written(self.participant_id)


class Participant(Timed, rename="camel", gc=False):
    """An element of `agentParticipants` or `agentParticipantsActive`, without the name."""

    agent_id: object = None
    user_type: object = None
    permission: object = None
    agent_group_id: object = None

    @property
    def agent(self) -> str:
        """Who joined."""
        return written(self.agent_id)


class Transfer(Timed, rename="camel", gc=False):
    """An element of `transfers`."""

    reason: object = None
    source_skill_id: object = None
    target_skill_id: object = None
    source_agent_id: object = None
    assigned_agent_id: object = None


class Interaction(Timed, rename="camel", gc=False):
    """An element of `interactions`."""

    time: object = field(default=None, name="interactionTime")
    time_l: object = field(default=None, name="interactionTimeL")
    assigned_agent_id: object = None

    @property
    def agent(self) -> str:
        """Who took the conversation."""
        return written(self.assigned_agent_id)


Part = TypeVar("Part", bound=Dialog | Timed)
Happened = TypeVar("Happened", bound=Timed)
Placed = list[tuple[str, Part]]
"""Elements of one of a record's lists, each with its place: `transfers[0]`."""


def elements(raw: Raw, type_: type[Part], name: str, tell: Tell, *, needed: bool = True) -> Placed[Part]:
    """The elements of a list, in the record's order. Missing and unreadable ones are reported."""
    parts: Placed[Part] = []
    if is_absent(raw):
        if needed:
            tell(f"{name}: is missing")
        return parts
    try:
        return [(f"{name}[{index}]", part) for index, part in enumerate(_LISTS[type_].decode(raw))]
    except UNREADABLE:  # Those that can be read count; the others are told.
        pass
    try:
        items = msgspec.json.decode(raw, type=list[Raw])
    except UNREADABLE:
        tell(f"{name}: must be a list; it is not imported")
        return parts
    for index, item in enumerate(items):
        try:
            parts.append((f"{name}[{index}]", msgspec.json.decode(item, type=type_)))
        except UNREADABLE:
            tell(f"{name}[{index}]: must be a JSON object of readable values; it is not imported")
    return parts


_LISTS: Final[dict[type, msgspec.json.Decoder[Any]]] = {
    type_: msgspec.json.Decoder(list[type_])  # type: ignore[valid-type]  # it is a type, at run time
    for type_ in (Dialog, Message, Participant, Transfer, Interaction)
}


def is_absent(value: Raw) -> bool:
    """Whether a member is not there, or null."""
    return bytes(memoryview(value)[:5]) in (b"", b"null")


# --- single values ------------------------------------------------------------------------------------------


def is_nobody(value: object) -> bool:
    """Whether a field names nobody, which LivePerson writes in several ways."""
    return value is None or value in ("", "null", "undefined")


def written(value: object) -> str:
    """A value as a string. A number counts as its digits, anything else as None."""
    if isinstance(value, str):
        return value
    return str(value) if type(value) is int else ""


def says(value: object, word: str) -> bool:
    """Whether a field holds this word (in lower case), in any letter case."""
    return isinstance(value, str) and value.casefold() == word


def is_text(value: object, longest: int) -> bool:
    """Whether a value is a string of at least one character, none of them a control character."""
    return isinstance(value, str) and 1 <= len(value) <= longest and not _CONTROL.search(value)


_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")


def integer(value: object) -> int | None:
    """A signed 64-bit integer, also as a string of digits; None where it is none."""
    if type(value) is not int:
        if not isinstance(value, str) or not _DIGITS.fullmatch(value):
            return None
        value = int(value)
    return value if model.INTEGER_MIN <= value <= model.INTEGER_MAX else None


_DIGITS: Final = re.compile("-?[0-9]{1,19}")


def told_integer(value: object, place: str, tell: Tell) -> int | None:
    """An integer as `integer` reads it. Reports a value that is none."""
    number = integer(value)
    if number is None:
        tell(f"{place}: {wrong(value, 'a signed 64-bit integer')}")
    return number


def wrong(value: object, allowed: str) -> str:
    """What is wrong with a value, in words that do not repeat it."""
    return "is missing" if is_nobody(value) else f"must be {allowed}"


def told_time(millis: object, text: object, place: str, tell: Tell) -> int | None:
    """Epoch milliseconds as `moment` reads them. Reports where the `…L` of `place` is none, or disagrees."""
    at = _millis(millis)
    if at is None:
        name = place.rpartition(".")[2]
        at = _instant_of(text)
        usable = "counts" if at is not None else "is no time with an offset"
        tell(f"{place}L: {_why_not(millis)}" + ("" if is_nobody(text) else f"; {name} {usable}"))
        return at
    if text is not None and _instant_of(text, UTC) != at:
        tell(f"{place}: disagrees with {place.rpartition('.')[2]}L, which counts")
    return at


def moment(millis: object, text: object) -> int | None:
    """Epoch milliseconds: the `…L` counts, without it the text, which has an offset. None where neither is a time."""
    at = _millis(millis)
    return _instant_of(text) if at is None else at


def _millis(value: object) -> int | None:
    if type(value) is int and model.MILLIS_MIN <= value <= model.TIME_MAX:
        return value
    return instant(integer(value))


def _why_not(millis: object) -> str:
    number = integer(millis)
    if number is not None and looks_like_seconds(number):
        return "looks like seconds; epoch milliseconds are wanted"
    return wrong(millis, "epoch milliseconds of the years 2000 to 9999")


def _instant_of(text: object, zone: tzinfo | None = None) -> int | None:
    """LivePerson's written time, `2016-08-29 14:30:24.565+0000`; None where it is none, or before 2000.

    `zone` is the time zone of times without an offset. Without a zone, these are no times.
    """
    try:
        at = datetime.fromisoformat(text)  # type: ignore[arg-type]  # TypeError if it is no string
    except (TypeError, ValueError):
        return None
    if at.tzinfo is None:
        if zone is None:
            return None
        at = at.replace(tzinfo=zone)
    return instant((at - model.EPOCH) // _MILLISECOND)


_MILLISECOND: Final = timedelta(milliseconds=1)
