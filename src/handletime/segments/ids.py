"""Ids of agent segments (rules.md 2.1), many at a time.

The standard library's SHA-256 would be called once a segment, with the interpreter's lock held.
"""

# mypy: disable-error-code="return-value, no-any-return, assignment"
# Compiled code: its integers are NumPy's, and records are seen as Any.

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from handletime.compiled import borrowing, compiled
from handletime.errors import InputError
from handletime.segments.columns import I32, I64, U8, Strings, strings_of

U32 = npt.NDArray[np.uint32]

_COLON: Final = np.uint8(ord(":"))
_LETTERS: Final = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", np.uint8)
_TOKEN: Final = 22
"""Letters of a token: 16 bytes in URL-safe base64, unpadded."""


class Sources(NamedTuple):
    """What ids are made of, a place for each: names of `accounts` by their place, and the `assigned` itself."""

    accounts: Strings
    account: I32
    agent: I64
    conversation: Strings
    event: Strings


def segment_ids(accounts: pa.DictionaryArray, agents: I64, conversations: pa.Array, events: pa.Array) -> pa.Array:
    """The ids of segments: of their accounts, agents, conversations and the events that start them.

    Raises InputError where they take 2 GiB or more.
    """
    names, places = strings_of(accounts.dictionary), accounts.indices.to_numpy()
    sources = Sources(names, places, agents, strings_of(conversations), strings_of(events))
    ends = np.zeros(len(agents) + 1, np.int64)
    measure_ids(sources, ends)
    if ends[-1] > np.iinfo(np.int32).max:
        raise InputError("too many segments at once: their ids take more than 2 GiB; give the events in parts")
    offsets = ends.astype(np.int32)
    data = np.empty(ends[-1], np.uint8)
    write_ids(sources, offsets, data)
    return pa.StringArray.from_buffers(len(agents), pa.py_buffer(offsets), pa.py_buffer(data))


@borrowing
def measure_ids(sources: Sources, ends: I64) -> None:
    """Writes where each id ends."""
    for i in range(len(sources.agent)):
        length = length_of(sources.accounts, sources.account[i]) + length_of(sources.conversation, i)
        ends[i + 1] = ends[i] + length + digits_of(sources.agent[i]) + _TOKEN + len(":::")


@compiled
def write_ids(sources: Sources, offsets: I32, data: U8) -> None:
    """Writes account, agent, conversation and token, with colons between."""
    message = np.empty(256, np.uint8)
    digest, schedule = np.empty(8, np.uint32), np.empty(64, np.uint32)
    for i in range(len(sources.agent)):
        account = sources.account[i]
        at = copy(sources.accounts, account, data, offsets[i])
        data[at] = _COLON
        at = write_integer(sources.agent[i], data, at + 1)
        data[at] = _COLON
        at = copy(sources.conversation, i, data, at + 1)
        data[at] = _COLON
        size = length_of(sources.accounts, account) + 1 + length_of(sources.conversation, i)
        size += 1 + length_of(sources.event, i)
        if padded(size) > len(message):
            message = np.empty(padded(size), np.uint8)
        end = copy(sources.accounts, account, message, 0)
        message[end] = 0
        end = copy(sources.conversation, i, message, end + 1)
        message[end] = 0
        copy(sources.event, i, message, end + 1)
        sha256(message, size, digest, schedule)
        write_token(digest, data, at + 1)


@borrowing
def length_of(strings: Strings, i: int) -> int:
    """Bytes of string i."""
    return np.int64(strings.offsets[i + 1]) - np.int64(strings.offsets[i])


@borrowing
def copy(strings: Strings, i: int, data: U8, at: int) -> int:
    """Writes string i; gives the place behind it."""
    start, length = strings.offsets[i], length_of(strings, i)
    for place in range(length):
        data[at + place] = strings.data[start + place]
    return at + length


@borrowing
def digits_of(value: int) -> int:
    """How many letters an integer has in decimal, with its sign."""
    letters = 1 if value >= 0 else 2
    rest = magnitude(value) // np.uint64(10)
    while rest:
        rest //= np.uint64(10)
        letters += 1
    return letters


@borrowing
def write_integer(value: int, data: U8, at: int) -> int:
    """Writes an integer in decimal; gives the place behind it."""
    end = place = at + digits_of(value)
    rest = magnitude(value)
    while place > at:
        place -= 1
        data[place] = np.uint8(ord("0")) + np.uint8(rest % np.uint64(10))
        rest //= np.uint64(10)
    if value < 0:
        data[at] = np.uint8(ord("-"))
    return end


@borrowing
def magnitude(value: int) -> np.uint64:
    """The integer without its sign; -2^63 has one too."""
    return np.uint64(value) if value >= 0 else np.uint64(0) - np.uint64(value)


@borrowing
def write_token(digest: U32, data: U8, at: int) -> None:
    """Writes the first 16 bytes of a digest in URL-safe base64, unpadded."""
    bits, held, word = np.uint64(0), 0, 0
    for letter in range(_TOKEN):
        if held < 6:
            following = np.uint64(digest[word]) if word < 4 else np.uint64(0)
            bits = (bits << np.uint64(32)) | following
            held += 32
            word += 1
        held -= 6
        data[at + letter] = _LETTERS[np.int64(bits >> np.uint64(held)) & 63]


# --- SHA-256 (FIPS 180-4) --------------------------------------------------------------------------------------------


def _first_bits_of_roots(primes: list[int], root: int) -> U32:
    """The first 32 bits of the fractional parts of square or cube roots, in whole numbers."""
    values = []
    for prime in primes:
        scaled, low, high = prime << (32 * root), 0, prime << 32
        while low < high:  # the largest whole number whose power is not above
            middle = (low + high + 1) // 2
            low, high = (middle, high) if middle**root <= scaled else (low, middle - 1)
        values.append(low & 0xFFFFFFFF)
    return np.array(values, np.uint32)


_PRIMES: Final = [n for n in range(2, 312) if all(n % d for d in range(2, int(n**0.5) + 1))]
_START: Final = _first_bits_of_roots(_PRIMES[:8], 2)
_ROUNDS: Final = _first_bits_of_roots(_PRIMES, 3)
_BLOCK: Final = 64


@borrowing
def padded(size: int) -> int:
    """Bytes of a message of so many with its padding: one bit, zeros, and the length in 8 bytes."""
    return (size + 1 + 8 + _BLOCK - 1) // _BLOCK * _BLOCK


@borrowing
def sha256(message: U8, size: int, digest: U32, schedule: U32) -> None:
    """Writes the digest of the first `size` bytes; pads the message in place, which has room for that."""
    end = padded(size)
    message[size] = 0x80
    for place in range(size + 1, end - 8):
        message[place] = 0
    for place in range(8):
        message[end - 1 - place] = (size * 8) >> (8 * place)
    for i in range(8):
        digest[i] = _START[i]
    for block in range(0, end, _BLOCK):
        spread(message, block, schedule)
        compress(schedule, digest)


@borrowing
def spread(message: U8, block: int, schedule: U32) -> None:
    """The 64 words that a block of 64 bytes is spread over."""
    for i in range(16):
        word = np.uint32(0)
        for byte in range(4):
            word = np.uint32((word << np.uint32(8)) | message[block + 4 * i + byte])
        schedule[i] = word
    for i in range(16, 64):
        early, late = schedule[i - 15], schedule[i - 2]
        first = rotated(early, 7) ^ rotated(early, 18) ^ np.uint32(early >> np.uint32(3))
        second = rotated(late, 17) ^ rotated(late, 19) ^ np.uint32(late >> np.uint32(10))
        schedule[i] = np.uint32(schedule[i - 16] + first + schedule[i - 7] + second)


@borrowing
def compress(schedule: U32, digest: U32) -> None:
    """Takes one block's words into the digest."""
    a, b, c, d, e, f, g, h = (
        digest[0],
        digest[1],
        digest[2],
        digest[3],
        digest[4],
        digest[5],
        digest[6],
        digest[7],
    )
    for i in range(64):
        mixed = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)
        chosen = (e & f) ^ (~e & g)
        first = np.uint32(h + mixed + chosen + _ROUNDS[i] + schedule[i])
        second = np.uint32((rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & b) ^ (a & c) ^ (b & c)))
        h, g, f, e = g, f, e, np.uint32(d + first)
        d, c, b, a = c, b, a, np.uint32(first + second)
    digest[0] = np.uint32(digest[0] + a)
    digest[1] = np.uint32(digest[1] + b)
    digest[2] = np.uint32(digest[2] + c)
    digest[3] = np.uint32(digest[3] + d)
    digest[4] = np.uint32(digest[4] + e)
    digest[5] = np.uint32(digest[5] + f)
    digest[6] = np.uint32(digest[6] + g)
    digest[7] = np.uint32(digest[7] + h)


@borrowing
def rotated(word: np.uint32, places: int) -> np.uint32:
    """A word rotated to the right."""
    return np.uint32((word >> np.uint32(places)) | (word << np.uint32(32 - places)))
