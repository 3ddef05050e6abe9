"""The errors of this package: one tree, three meanings.

HandletimeError
├── InputError      your input is bad: which file, line and field, and what is allowed
│   ├── InvalidEvents   the same, with one `Fault` for each thing that is wrong
│   ├── Unauthorized    the key is unknown, or not of this account
│   ├── Forbidden       the key is right, but lacks the permission
│   └── NotHere         what is asked for exists, but not at this server
├── NotNow          the request was right, but has to be repeated later
│   └── TooMany         there are so many requests that this one was not begun
└── StoreError      we are broken: what is kept is missing, unreadable or not what it was
"""

from __future__ import annotations

import msgspec

RETRY_AFTER_S = 1
"""Seconds that a client which is told "not now" should wait."""
FAULTS_SHOWN = 20
"""The number of faults that are collected and named before reading stops (http-api.md 5)."""


class Fault(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong with one event.

    `line` counts from 1: lines of NDJSON, elements of a JSON array, rows of Parquet; 0 is the whole file.
    `field` is a name of rules.md 1, or "" where the line is no event at all.
    `message` says what is allowed.
    """

    line: int
    field: str
    message: str
    unit: str = "line"

    def __str__(self) -> str:
        place = f"{self.unit} {self.line}: " if self.line else ""
        return f"{place}{self.field}: {self.message}" if self.field else f"{place}{self.message}"


class HandletimeError(Exception):
    """Whatever this package raises on purpose."""


class InputError(HandletimeError):
    """What came from outside cannot be used; the message says what is wrong and what is allowed."""


class InvalidEvents(InputError):
    """Events that break rules.md 1, and what is wrong with them.

    `faults` names the first `FAULTS_SHOWN` of what was found; `more` says that there are others.
    """

    def __init__(self, source: str, faults: list[Fault]) -> None:
        self.source = source
        self.faults = faults[:FAULTS_SHOWN]
        self.more = len(faults) > FAULTS_SHOWN
        super().__init__("\n".join(f"{source}: {fault}" for fault in self.faults))

    def count(self) -> str:
        """How many faults there are, at least: `1 fault in FILE`, `more than 20 faults in FILE`."""
        number = f"more than {len(self.faults)}" if self.more else str(len(self.faults))
        return f"{number} {'fault' if number == '1' else 'faults'} in {self.source}"


class Unauthorized(InputError):
    """The key is unknown, or not of this account (http-api.md 1, "Authorization"). Holds no secret.

    `reason` (`oauth_problem=…&oauth_problem_advice=…`) and `message` are the body of the answer,
    `challenge` is its `WWW-Authenticate`.
    """

    def __init__(self, reason: str, message: str, challenge: str) -> None:
        self.reason = reason
        self.message = message
        self.challenge = challenge
        super().__init__(message)


class Forbidden(InputError):
    """The key is right, but lacks the permission that is needed."""


class NotHere(InputError):
    """What is asked for exists elsewhere, but not at this server; the message says why."""


class NotNow(HandletimeError):
    """Nothing is wrong with the request: it has to be repeated later."""


class TooMany(NotNow):
    """429: there are so many requests that this one was not begun.

    It may be repeated after `wait_s`; `limit` is the setting that it exceeded.
    """

    def __init__(self, message: str = "", *, wait_s: int = RETRY_AFTER_S, limit: str = "") -> None:
        self.wait_s, self.limit = wait_s, limit
        super().__init__(message)


class StoreError(HandletimeError):
    """What is kept, or a file it needs, is missing, unreadable or not what it was; the message says which."""
