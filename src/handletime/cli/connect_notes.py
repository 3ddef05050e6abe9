"""What `handletime connect liveperson` notes in a file between polls: how far it is, and what it has told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from handletime.errors import InputError
from handletime.files import read_regular, replace_whole
from handletime.sources.liveperson.polling import State

TOLD_MAX: Final = 10_000
"""Faults that are remembered, so that they are told once; the oldest are forgotten."""
_FILE_MAX: Final = 1 << 22


class _Noted(Struct):
    bound: str
    state: State
    told: list[str]


class Notes:
    """The file, and what stands in it. `state` is None before the first poll."""

    def __init__(self, file: Path, bound: str) -> None:
        """`bound` says what the notes are about, `le1 → /srv/store`.

        Raises InputError where the file holds something else, or notes about something else; OSError.
        """
        self.file, self._bound = file, bound
        self.state: State | None = None
        self._told: dict[str, None] = {}
        try:
            noted = msgspec.json.decode(read_regular(file, _FILE_MAX), type=_Noted)
        except FileNotFoundError:
            return
        except (ValueError, RecursionError):
            raise InputError(f"{file} holds no notes of this command; name another --state, or remove it") from None
        if noted.bound != bound:
            raise InputError(f"{file} is about {noted.bound}, not about {bound}; name another --state")
        self.state, self._told = noted.state, dict.fromkeys(noted.told)

    def untold(self, faults: Iterable[str]) -> list[str]:
        """Those of some faults that have not been told yet, each once."""
        return list({digest: fault for fault in faults if (digest := _digest(fault)) not in self._told}.values())

    def keep(self, state: State, told: Iterable[str]) -> None:
        """Notes, durably, how far it is, and faults that have been told. Raises OSError."""
        self._told.update(dict.fromkeys(map(_digest, told)))
        self.state = state
        noted = _Noted(self._bound, state, list(self._told)[-TOLD_MAX:])
        replace_whole(self.file, msgspec.json.format(msgspec.json.encode(noted)))


def _digest(fault: str) -> str:
    """What is kept of a fault: nothing that tells of a conversation."""
    return hashlib.sha256(fault.encode()).hexdigest()[:16]
