"""Inputs nobody would write: those of a corpus, then changed ones, for a while.

The corpus is `corpus/<decoder>/`, one input a file: what is usual, what once was wrong, and what others fell into.
`HANDLETIME_FUZZ_SECONDS` says for how long, instead of what the tests say.
"""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).parent / "corpus"
INPUT_MAX: Final = 1 << 16
INPUT_S: Final = 5.0
"""So much of the processor's time one input may take."""
GROWTH_BYTES: Final = 400 << 20
"""So much memory a process may take for all of them."""
TOKENS: Final = (
    *(b"", b"\x00", b"\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n", b" ", b"\t"),
    *(b"NaN", b"-Infinity", b"1e999", b"-0", b"9" * 5000, b"9223372036854775808", b"-9223372036854775809", b"1.5"),
    *(b"null", b"true", b"[", b"]", b"{", b"}", b'"', b"\\", b"\\u0000", b"\\ud800", b"\\udc00\\ud800", b","),
    *(b"10000-01-01T00:00:00Z", b"2026-02-30T00:00:00Z", b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59.9999Z"),
    *(
        b"%",
        b"%00",
        b"%2e%2e%2f",
        b"..%2f",
        b"%252e",
        b"%c0%ae",
        b"+",
        b"&",
        b"=",
        b";",
        b"#",
        b"?",
        b"/",
        b"//",
        b"..",
    ),
    *(b"HMAC-SHA1", b"PLAINTEXT", b"oauth_nonce", b"realm", b"Bearer ", b"OAuth ", b"A" * 9000, b"\x1f\x8b\x08"),
)


def fuzz(decoder: str, seconds: float, seed: int, attempt: Callable[[bytes], None]) -> int:
    """Tries inputs until the time is over; gives how many. `attempt` raises where one is not taken as it should."""
    dice = random.Random(seed)
    corpus = [path.read_bytes() for path in sorted((CORPUS / decoder).iterdir())]
    assert corpus
    for each in corpus:
        _try(decoder, each, attempt)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    until = time.monotonic() + float(os.environ.get("HANDLETIME_FUZZ_SECONDS") or seconds)
    count = len(corpus)
    while time.monotonic() < until:
        _try(decoder, changed(dice.choice(corpus), corpus, dice), attempt)
        count += 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < GROWTH_BYTES, f"{decoder}: {count} inputs took {grown >> 20} MiB"
    return count


def _try(decoder: str, content: bytes, attempt: Callable[[bytes], None]) -> None:
    begun = time.process_time()
    try:
        attempt(content)
    except BaseException as error:
        error.add_note(f"an input for tests/security/corpus/{decoder}: {content!r}")
        raise
    taken = time.process_time() - begun
    assert taken < INPUT_S, f"{taken:.1f} s for an input for tests/security/corpus/{decoder}: {content!r}"


def changed(content: bytes, corpus: list[bytes], dice: random.Random) -> bytes:
    """An input changed in a few places."""
    for _ in range(dice.choice((1, 1, 2, 4, 8))):
        low, high = sorted(dice.randint(0, len(content)) for _ in range(2))
        high = min(high, low + dice.choice((0, 1, 4, 64, INPUT_MAX)))
        middle = content[low:high]
        match dice.randrange(6):
            case 0:
                middle = dice.choice(TOKENS)
            case 1:
                middle += middle
            case 2:
                other = dice.choice(corpus)
                middle = other[dice.randint(0, len(other)) :]
            case 3:
                middle = bytes(byte ^ 1 << dice.randrange(8) for byte in middle[:4]) + middle[4:]
            case 4:
                middle = b""
            case _:
                middle = dice.choice(TOKENS) + middle + dice.choice(TOKENS)
        content = (content[:low] + middle + content[high:])[:INPUT_MAX]
    return content
