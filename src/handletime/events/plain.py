"""Plain events, read fast: compiled, and sure of whatever it takes.

Here is no second opinion on what an event may be. A row in which anything is out of the ordinary (an escape in an id,
a number that may be too large, a value of the wrong type, a key that stands twice) is called doubtful, and `book`
reads it again. What is good here is good there, with the same values; a test holds both to it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from handletime.compiled import borrowing
from handletime.events import model
from handletime.events.rows import (
    ACCOUNT,
    AGENT_ID,
    APPLIES,
    BLANK,
    BY_AGENT,
    CHOICE,
    DEFAULT,
    DOUBTFUL,
    FIRST_WORD,
    GOOD,
    HAS_DEFAULT,
    HIGHEST,
    INTEGER,
    KINDS,
    LENGTHS,
    LETTERS,
    LONGEST,
    LOWEST,
    NAMES,
    REQUIRED,
    SENT_BY,
    SHORTEST,
    TIME,
    TYPE,
    Bools,
    Bytes,
    Int32s,
    Int64s,
    Rows,
)
from handletime.events.times import is_digit, time_of

# --- lines of JSON ---------------------------------------------------------------------------------------------------
# Every line ends with a line feed, and nothing that is passed over may contain one: no search runs out of the text.
# A place of -1 says that what stands there is not plain.

_QUOTE, _BACKSLASH, _BRACE, _BRACE_END, _COMMA, _COLON, _DOT, _MINUS, _ZERO = (ord(letter) for letter in '"\\{},:.-0')
_SPACE, _TAB, _CARRIAGE_RETURN, _LINE_FEED = (ord(letter) for letter in " \t\r\n")
_TRUE, _FALSE, _NULL = (np.frombuffer(word, np.uint8) for word in (b"true", b"false", b"null"))
_T, _F, _N = (ord(letter) for letter in "tfn")
_ESCAPES: Final = np.isin(np.arange(256), list(b'"\\/bfnrt'))
"""What may stand after a backslash. Not `u`: it could be half a surrogate pair."""
_DIGITS_MAX: Final = 18
"""The most digits that always fit a signed 64-bit integer."""


@borrowing
def read_lines(text: Bytes, begins: Int64s, rows: Rows) -> None:
    """Reads NDJSON, in UTF-8: the line that begins there into each row that is not doubtful already."""
    for row in range(len(begins)):
        if rows.state[row] != DOUBTFUL:
            rows.state[row] = _read_line(text, begins[row], row, rows)


@borrowing
def _read_line(text: Bytes, at: int, row: int, rows: Rows) -> int:
    at = _after_space(text, at)
    if text[at] == _LINE_FEED:
        return BLANK
    if text[at] != _BRACE:
        return DOUBTFUL
    at = _after_member(text, at + 1, row, rows)
    while at >= 0 and text[at] == _COMMA:
        at = _after_member(text, at + 1, row, rows)
    if at < 0 or text[at] != _BRACE_END or text[_after_space(text, at + 1)] != _LINE_FEED:
        return DOUBTFUL
    return _settled(row, rows)


@borrowing
def _after_member(text: Bytes, at: int, row: int, rows: Rows) -> int:
    """Reads `"name": value`, also the space around it."""
    at = _after_space(text, at)
    name_end = _string_end(text, at)
    if name_end < 0:
        return -1
    field = _word(text, at + 1, name_end, NAMES)
    at = _after_space(text, name_end + 1)
    if text[at] != _COLON:
        return -1
    at = _after_space(text, at + 1)
    at = _after_unknown(text, at) if field < 0 else _after_value(text, at, field, row, rows)
    return _after_space(text, at) if at >= 0 else -1


@borrowing
def _after_value(text: Bytes, at: int, field: int, row: int, rows: Rows) -> int:
    """Reads the value of one of `FIELDS`; a null says nothing."""
    if rows.there[field, row]:
        return -1
    if text[at] == _N:
        return _after_letters(text, at, _NULL)
    if text[at] == _QUOTE:
        end = _string_end(text, at)
        return end + 1 if end >= 0 and _take_string(text, at + 1, end, field, row, rows) else -1
    number, end = _integer(text, at)
    return end if end >= 0 and _take_integer(number, field, row, rows) else -1


@borrowing
def _after_unknown(text: Bytes, at: int) -> int:
    """Passes over the value of an unknown field, which has to be JSON all the same."""
    if text[at] == _QUOTE:
        return _after_text(text, at + 1)
    if text[at] == _T:
        return _after_letters(text, at, _TRUE)
    if text[at] == _F:
        return _after_letters(text, at, _FALSE)
    if text[at] == _N:
        return _after_letters(text, at, _NULL)
    return _after_decimal(text, at)


@borrowing
def _after_space(text: Bytes, at: int) -> int:
    while text[at] == _SPACE or text[at] == _TAB or text[at] == _CARRIAGE_RETURN:
        at += 1
    return at


@borrowing
def _after_letters(text: Bytes, at: int, letters: Bytes) -> int:
    for letter in letters:
        if text[at] != letter:
            return -1
        at += 1
    return at


@borrowing
def _string_end(text: Bytes, at: int) -> int:
    """Where the closing quote of a string without escapes stands."""
    if text[at] != _QUOTE:
        return -1
    at += 1
    while text[at] != _QUOTE:
        if text[at] < _SPACE or text[at] == _BACKSLASH:
            return -1
        at += 1
    return at


@borrowing
def _after_text(text: Bytes, at: int) -> int:
    """Passes over the rest of a string, escapes too."""
    while text[at] != _QUOTE:
        if text[at] == _BACKSLASH:
            at += 1
            if not _ESCAPES[text[at]]:
                return -1
        elif text[at] < _SPACE:
            return -1
        at += 1
    return at + 1


@borrowing
def _integer(text: Bytes, at: int) -> tuple[int, int]:
    """An integer that fits, and the place behind it."""
    negative = text[at] == _MINUS
    first = at = at + negative
    value = 0
    while is_digit(text[at]) and at - first <= _DIGITS_MAX:
        value = value * 10 + text[at] - _ZERO
        at += 1
    digits = at - first
    if digits == 0 or digits > _DIGITS_MAX or (digits > 1 and text[first] == _ZERO):
        return 0, -1
    return -value if negative else value, at


@borrowing
def _after_decimal(text: Bytes, at: int) -> int:
    """Passes over a number, but none with many digits or an exponent: it could be too large for anybody."""
    _value, at = _integer(text, at)
    if at < 0 or text[at] != _DOT:
        return at
    first = at = at + 1
    while is_digit(text[at]) and at - first <= _DIGITS_MAX:
        at += 1
    return at if 0 < at - first <= _DIGITS_MAX else -1


# --- columns ---------------------------------------------------------------------------------------------------------


@borrowing
def read_strings(text: Bytes, offsets: Int32s, field: int, rows: Rows) -> None:
    """Reads a column of strings, in UTF-8, into the rows that have one (`there`); `offsets` as Arrow has them."""
    for row in range(len(rows.state)):
        if rows.there[field, row] and not _take_string(text, offsets[row], offsets[row + 1], field, row, rows):
            rows.state[row] = DOUBTFUL


@borrowing
def read_integers(values: Int64s, field: int, rows: Rows) -> None:
    """Reads a column of integers into the rows that have one (`there`)."""
    for row in range(len(rows.state)):
        if rows.there[field, row] and not _take_integer(values[row], field, row, rows):
            rows.state[row] = DOUBTFUL


@borrowing
def settle(rows: Rows) -> None:
    """After the last column: looks at what depends on the type of event."""
    for row in range(len(rows.state)):
        if rows.state[row] == GOOD:
            rows.state[row] = _settled(row, rows)


@borrowing
def gather(text: Bytes, starts: Int64s, ends: Int64s, there: Bools, offsets: Int32s, gathered: Bytes) -> None:
    """Copies the strings that are there one behind the other; `offsets` as Arrow has them."""
    at = 0
    for row in range(len(there)):
        offsets[row] = at
        if there[row]:
            for place in range(starts[row], ends[row]):
                gathered[at] = text[place]
                at += 1
    offsets[len(there)] = at


# --- values ----------------------------------------------------------------------------------------------------------

_DEL, _BEFORE_C1, _AFTER_C1 = 0x7F, 0xC2, 0xA0
_CONTINUATION, _CONTINUATION_MASK = 0x80, 0xC0
_A, _Z, _LOWER = ord("a"), ord("z"), 0x20


@borrowing
def _settled(row: int, rows: Rows) -> int:
    """Drops the fields that the row's type does not have, and fills in defaults. DOUBTFUL if a field is missing."""
    if not rows.there[TYPE, row]:
        return DOUBTFUL
    type_ = rows.values[TYPE, row]
    for field in range(len(KINDS)):
        if not APPLIES[type_, field]:
            rows.there[field, row] = False
        elif not rows.there[field, row]:
            if REQUIRED[type_, field]:
                return DOUBTFUL
            rows.there[field, row] = HAS_DEFAULT[field]
            rows.values[field, row] = DEFAULT[field]
    if type_ == model.MESSAGE and rows.values[SENT_BY, row] != BY_AGENT:
        rows.there[AGENT_ID, row] = False
    return GOOD


@borrowing
def _take_integer(value: int, field: int, row: int, rows: Rows) -> bool:
    kind = KINDS[field]
    rows.there[field, row] = True
    rows.values[field, row] = value
    if kind == INTEGER:
        return bool(LOWEST[field] <= value <= HIGHEST[field])
    return bool(kind == TIME and model.MILLIS_MIN <= value <= model.TIME_MAX)


@borrowing
def _take_string(text: Bytes, start: int, end: int, field: int, row: int, rows: Rows) -> bool:
    kind = KINDS[field]
    rows.there[field, row] = True
    if kind == CHOICE:
        rows.values[field, row] = place = _word(text, start, end, field)
        return place >= 0
    if kind == TIME:
        rows.values[field, row] = time = time_of(text, start, end)
        return model.TIME_MIN <= time <= model.TIME_MAX
    rows.values[field, row], rows.ends[field, row] = start, end
    if kind == INTEGER or (kind == ACCOUNT and not _is_alphanumeric(text, start, end)):
        return False
    return bool(SHORTEST[field] <= _characters(text, start, end) <= LONGEST[field])


@borrowing
def _word(text: Bytes, start: int, end: int, words: int) -> int:
    """Which word of a list stands there, -1 if none."""
    first = FIRST_WORD[words]
    for word in range(first, FIRST_WORD[words + 1]):
        if LENGTHS[word] == end - start:
            at = start
            while at < end and text[at] == LETTERS[word, at - start]:
                at += 1
            if at == end:
                return int(word - first)
    return -1


@borrowing
def _is_alphanumeric(text: Bytes, start: int, end: int) -> bool:
    for at in range(start, end):  # noqa: SIM110 - Numba has no generators
        if not is_digit(text[at]) and not _A <= text[at] | _LOWER <= _Z:
            return False
    return True


@borrowing
def _characters(text: Bytes, start: int, end: int) -> int:
    """How many there are, -1 if a control character (C0, DEL, C1) is among them."""
    count = 0
    for at in range(start, end):
        byte = text[at]
        if byte < _SPACE or byte == _DEL or (byte == _BEFORE_C1 and text[at + 1] < _AFTER_C1):
            return -1
        count += byte & _CONTINUATION_MASK != _CONTINUATION
    return count
