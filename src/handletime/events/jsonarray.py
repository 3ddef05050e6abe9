"""A JSON array, however it is laid out, becomes one element a line, in a stream of any length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from handletime.compiled import borrowing
from handletime.events.rows import Bytes, Int64s

_BEFORE, _FIRST, _ELEMENT, _INSIDE, _AFTER = range(5)
"""Before the array; after `[`; where an element must begin; in one or behind it; after `]`."""
_OUTSIDE, _STRING, _ESCAPED = range(3)
"""Outside of a string, inside one, after a backslash in one."""
_BRACKET, _BRACKET_END, _BRACE, _BRACE_END, _COMMA, _QUOTE, _BACKSLASH = (ord(letter) for letter in '[]{},"\\')
_SPACE, _TAB, _CARRIAGE_RETURN, _LINE_FEED = (ord(letter) for letter in " \t\r\n")
_WRONG: Final = {
    _BEFORE: "it does not begin with a bracket",
    _FIRST: "a comma stands where the first element should",
    _ELEMENT: "after a comma there is no element",
    _AFTER: "something follows its closing bracket",
}


class BrokenArray(Exception):
    """The text is no JSON array; the message says where."""

    def __init__(self, why: str) -> None:
        super().__init__(f"is no JSON array: {why}")


def elements(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The elements of a JSON array as lines, piece by piece: line n is element n.

    Only what lies between elements is looked at; what is wrong inside one shows when its line is decoded. Raises
    BrokenArray, but gives what stands before.
    """
    state, offset = np.array([_BEFORE, 0, _OUTSIDE]), 0
    for piece in pieces:
        text = np.frombuffer(piece, np.uint8).copy()
        wrong = _split(text, state)
        if wrong >= 0:
            yield text[:wrong].tobytes()
            raise BrokenArray(f"{_WRONG[int(state[0])]} (byte {offset + wrong + 1})")
        offset += len(piece)
        yield text.tobytes()
    if state[0] != _AFTER:
        raise BrokenArray("it ends without a closing bracket")


@borrowing
def _split(text: Bytes, state: Int64s) -> int:
    """Turns commas between elements into line ends, brackets and line ends around them into spaces, in place.

    Gives the place of a byte that cannot stand there, -1 if there is none. `state` is kept from piece to piece.
    """
    place, depth, string = state
    wrong = -1
    for i in range(len(text)):
        byte = text[i]
        if string != _OUTSIDE:
            if byte == _LINE_FEED:
                text[i] = _CARRIAGE_RETURN  # no less wrong in a string, but it stays in its line
            string = _in_string(string, byte)
        elif byte in (_LINE_FEED, _CARRIAGE_RETURN):
            text[i] = _SPACE
        elif byte in (_SPACE, _TAB):
            continue
        elif depth == 0 and (byte in (_COMMA, _BRACKET_END) or place in (_BEFORE, _AFTER)):
            after = _place_after(place, byte)
            if after < 0:
                wrong = i
                break
            text[i] = _SPACE if place == _BEFORE else _LINE_FEED
            place = after
        else:
            place = _INSIDE
            string = _STRING if byte == _QUOTE else _OUTSIDE
            depth = max(depth + _deeper(byte), 0)
    state[0], state[1], state[2] = place, depth, string
    return wrong


@borrowing
def _in_string(string: int, byte: int) -> int:
    if string == _ESCAPED:
        return _STRING
    if byte == _BACKSLASH:
        return _ESCAPED
    return _OUTSIDE if byte == _QUOTE else _STRING


@borrowing
def _place_after(place: int, byte: int) -> int:
    """Where one is after a byte between elements, -1 if it cannot stand there."""
    if place == _BEFORE:
        return _FIRST if byte == _BRACKET else -1
    if place == _INSIDE and byte == _COMMA:
        return _ELEMENT
    return _AFTER if byte == _BRACKET_END and place in (_INSIDE, _FIRST) else -1


@borrowing
def _deeper(byte: int) -> int:
    if byte in (_BRACKET, _BRACE):
        return 1
    return -1 if byte in (_BRACKET_END, _BRACE_END) else 0
