"""Files of LivePerson's messaging history: their records, and one conversation out of all its copies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO, Final, NamedTuple

import msgspec
from msgspec import Raw, Struct

from handletime.errors import InputError
from handletime.sources.event import Event, order
from handletime.sources.liveperson.fields import UNREADABLE, is_absent
from handletime.sources.liveperson.processes import converted

ANSWER_MAX: Final = 1 << 30
"""The longest answer, array or line, in bytes. An answer of LivePerson's holds at most 100 conversations."""


class ConversationFault(Struct, frozen=True):
    """A fault of a conversation's record.

    `conversation_id` is "" where the record has none that can be used; `message` then begins with its place.
    """

    file: str
    conversation_id: str
    message: str

    def __str__(self) -> str:
        conversation = f"conversation {self.conversation_id}: " if self.conversation_id else ""
        return f"{self.file}: {conversation}{self.message}"


class History(NamedTuple):
    """All events, each once, by account, conversation and order; and all faults, before the first event.

    `lines` has the events of one conversation after the other, as NDJSON.
    """

    lines: Iterator[bytes]
    faults: list[ConversationFault]

    @property
    def events(self) -> Iterator[Event]:
        """What stands in the lines, which it uses up."""
        return chain.from_iterable(map(_DECODER.decode_lines, self.lines))


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Event)


# --- many records -------------------------------------------------------------------------------------------


def read_history(sources: Iterable[tuple[str, IO[bytes]]]) -> History:
    """Reads files of LivePerson's history; takes each file's name, for the faults, and its bytes.

    A file is one answer, an array of records, or lines of which each is a record, an answer or an array.
    Copies of one conversation become one: the newest counts, whatever the order of the files, and what only
    older ones have is added. Holds the events in memory, not the records.
    Raises InputError for a file that is not JSON, or longer than `ANSWER_MAX` without being lines, and what
    `processes.converted` raises.
    """
    copies: dict[tuple[str, str], dict[bytes, str]] = {}
    faults: dict[tuple[str, str], ConversationFault] = {}

    def tell(file: str, conversation_id: str, message: str) -> None:
        fault = ConversationFault(file, conversation_id, message)
        faults.setdefault((conversation_id or file, message), fault)

    records = ((file, place, record) for file, stream in sources for place, record in _records(file, stream))
    for file, place, account, conversation_id, lines, wrong in converted(records):
        for message in wrong:
            tell(file, conversation_id, message if conversation_id else f"{place}: {message}")
        if lines:
            copies.setdefault((account, conversation_id), {}).setdefault(lines, file)
    for (_, conversation_id), versions in copies.items():
        if len(versions) > 1:
            for older, message in _merge(versions):
                tell(older, conversation_id, message)
    return History((lines for key in sorted(copies) for lines in copies[key]), list(faults.values()))


def _merge(versions: dict[bytes, str]) -> list[tuple[str, str]]:
    """Makes one of a conversation's copies, in place; gives where they differ: the older's file, and what."""
    differing: list[tuple[str, str]] = []
    merged: dict[str, Event] = {}
    for events, file in sorted(versions.items(), key=_newness, reverse=True):
        for event in _DECODER.decode_lines(events):
            standing = merged.setdefault(event.event_id, event)
            if standing != event and standing.revision == event.revision:
                differing.append((file, f"{event.event_id}: copies of the record differ; the newest counts"))
    versions.clear()
    versions[_ENCODER.encode_lines(sorted(merged.values(), key=order))] = ""
    return differing


def _newness(version: tuple[bytes, str]) -> tuple[int, bool, int, bytes]:
    """A sort key: the copy with the newest moment, then closed before open, then the one that holds more."""
    events = _DECODER.decode_lines(version[0])
    newest = max(max(event.time, event.revision) for event in events)
    return newest, any(event.type == "closed" for event in events), len(events), version[0]


# --- files --------------------------------------------------------------------------------------------------


class _Answer(Struct, rename="camel"):
    conversation_history_records: Raw = Raw()
    info: Raw = Raw()


def _records(file: str, stream: IO[bytes]) -> Iterator[tuple[str, Raw]]:
    """Every record with its place: `line 7`, `record 3`. A line that is not JSON is given as it stands."""
    numbered = enumerate(_lines(file, stream), 1)
    start, first = next(((number, line) for number, line in numbered if line.strip()), (1, b""))
    lines: Iterable[tuple[int, bytes]] = chain([(start, first)], numbered)
    if first and _records_in(first) is None:
        text = first + _limited(file, stream.read(ANSWER_MAX + 1))
        records = _records_in(text)
        if records is not None:
            yield from ((f"record {number}", record) for number, record in enumerate(records, 1))
            return
        if not any(map(_is_record, text.splitlines())):
            raise InputError(f"{file}: {_why_not_json(text, start)}")
        lines = enumerate(text.splitlines(), start)
    for number, line in lines:
        if line.strip():
            yield from _records_of_line(number, line)


def _records_of_line(number: int, line: bytes) -> Iterator[tuple[str, Raw]]:
    records = _records_in(line)
    if records is None:
        yield f"line {number}", Raw(line)
    elif len(records) == 1:
        yield f"line {number}", records[0]
    else:
        yield from ((f"line {number}, record {of_line}", record) for of_line, record in enumerate(records, 1))


def _lines(file: str, stream: IO[bytes]) -> Iterator[bytes]:
    byte_order_mark = b"\xef\xbb\xbf"
    while line := _limited(file, stream.readline(ANSWER_MAX + 1)):
        yield line.removeprefix(byte_order_mark)
        byte_order_mark = b""


def _limited(file: str, text: bytes) -> bytes:
    if len(text) > ANSWER_MAX:
        raise InputError(f"{file}: an answer, an array or a line must not be longer than {ANSWER_MAX} bytes")
    return text


def _records_in(text: bytes) -> list[Raw] | None:
    """The records of a JSON text; None where it is not JSON, or neither object nor list."""
    try:
        return _split(text)
    except UNREADABLE:
        pass
    try:
        return _split(without_lone_surrogates(text))
    except UNREADABLE:
        return None


def _split(text: bytes) -> list[Raw]:
    if re.match(rb"\s*\[", text):
        return msgspec.json.decode(text, type=list[Raw])
    answer = msgspec.json.decode(text, type=_Answer)
    if is_absent(answer.conversation_history_records):
        return [Raw(text)]
    return msgspec.json.decode(answer.conversation_history_records, type=list[Raw])


def without_lone_surrogates(text: bytes) -> bytes:
    r"""Half characters, of texts cut in two, become `\u0000`: no text is kept, and no id may hold it."""
    return _ESCAPE.sub(lambda found: rb"\u0000" if found[1] else found[0], text)


_ESCAPE: Final = re.compile(
    rb"\\(?:ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(ud[89a-f][0-9a-f]{2})|.)", re.IGNORECASE | re.DOTALL
)
"""An escape in a JSON string: a whole character in two halves, one half (the group), or any other."""


def _is_record(line: bytes) -> bool:
    try:
        return not is_absent(msgspec.json.decode(line, type=_Answer).info)
    except UNREADABLE:
        return False


def _why_not_json(text: bytes, first_line: int) -> str:
    try:
        msgspec.json.decode(text, type=Raw)
    except RecursionError:
        return "is nested too deep"
    except ValueError as error:
        at = re.search(r"\(byte (\d+)\)", str(error))
        line = first_line + (text.count(b"\n", 0, int(at[1])) if at else text.count(b"\n"))
        return f"line {line}: is not JSON, which breaks off or goes wrong here"
    return "must be an answer, an array of records, or one record a line"
