"""Names of agents, skills and groups, from a CSV file that the server's operator keeps.

They are shown beside the ids and never stored. The file is read again when it changes. If it is wrong then, the names
stay as they were, and the log says what is wrong.
"""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from handletime.answers.words import Kind
from handletime.errors import InputError
from handletime.events.model import INTEGER_MAX, INTEGER_MIN
from handletime.files import Watched, read_regular

KINDS: Final[tuple[Kind, ...]] = ("agent", "skill", "group")
LABEL_MAX: Final = 200
LINES_MAX: Final = 1_000_001
FILE_MAX: Final = 64 << 20
_NUMBER: Final = re.compile(r"-?[0-9]+")
_HEADER: Final = ["kind", "id", "label"]
_FORM: Final = "kind,id,label (and account, where names are one account's alone)"
_log: Final = logging.getLogger(__name__)
Names = Mapping[tuple[str, Kind], dict[int, str]]
"""Labels by id, for each account ("" for all) and kind."""
Seen = Callable[[Kind, int], bool]
"""Whether an id of a kind may be seen."""


class Labels:
    """The names of one file, or none. Any thread may use it. Raises InputError where the file is wrong; OSError."""

    def __init__(self, path: Path | None = None) -> None:
        self._file = None if path is None else Watched(path, read_labels, "the names", _log)

    @property
    def are_given(self) -> bool:
        """Whether there is a file of names."""
        return self._file is not None

    def state(self) -> str:
        """Names the state of the file; another one has another name."""
        if self._file is None:
            return ""
        self._file.now()
        return "-".join(map(str, self._file.stamp or ()))

    def of(self, account: str) -> AccountLabels:
        """The names that an account sees."""
        return AccountLabels(account, {} if self._file is None else self._file.now())


class AccountLabels:
    """The names that one account sees, or a part of it."""

    def __init__(self, account: str = "", names: Names | None = None, seen: Seen | None = None) -> None:
        """With `seen` only the ids of each kind for which it says so have names."""
        self._account, self._names, self._seen = account, names or {}, seen

    def within(self, seen: Seen) -> AccountLabels:
        """The names of those ids that may be seen."""
        return AccountLabels(self._account, self._names, seen)

    def name(self, kind: Kind, number: int) -> str | None:
        """The name of an agent, skill or group; None where it has none."""
        if self._seen is not None and not self._seen(kind, number):
            return None
        own = self._names.get((self._account, kind), {}).get(number)
        return own or self._names.get(("", kind), {}).get(number)

    def short(self, kind: Kind, number: int) -> str:
        """The name, or the id alone."""
        return self.name(kind, number) or str(number)

    def named(self, kind: Kind, number: int) -> str | None:
        """The name; for -1, which is nobody's id, its meaning; None where there is neither."""
        return self.name(kind, number) or (f"no {kind}" if number == -1 else None)

    def text(self, kind: Kind, number: int) -> str:
        """The same, or `agent 7`."""
        return self.named(kind, number) or f"{kind} {number}"

    def all(self, kind: Kind) -> Mapping[int, str]:
        """All names of a kind, by id."""
        for_all, own = self._names.get(("", kind), {}), self._names.get((self._account, kind), {})
        found = for_all | own if own else for_all
        if self._seen is None:
            return found
        return {number: label for number, label in found.items() if self._seen(kind, number)}

    def unique(self, kind: Kind, number: int) -> str:
        """A text that leads back to the id: the name, if it is unique and no number, else the id itself."""
        name = self.name(kind, number) or ""
        return name if self.called(kind, name) == [number] and not _NUMBER.fullmatch(name) else str(number)

    def called(self, kind: Kind, text: str) -> list[int]:
        """The ids of a kind that have this name, in any letter case, in order; of `agent 7`, which is shown where there
        is no name, the id.
        """
        wanted = _plain(text)
        found = sorted(number for number, label in self.all(kind).items() if _plain(label) == wanted)
        shown = wanted.removeprefix(f"{kind} ")
        if not found and shown != wanted and _NUMBER.fullmatch(shown) and INTEGER_MIN <= int(shown) <= INTEGER_MAX:
            return [int(shown)]
        return found

    def meant(self, kind: Kind, text: str) -> list[int]:
        """The ids of a kind that are meant by what somebody typed: those called so; else those whose names begin so;
        else those whose names have it in them.
        """
        like = self.like(kind, text)
        beginning = [number for number in like if _plain(self.name(kind, number) or "").startswith(_plain(text))]
        return self.called(kind, text) or beginning or like

    def like(self, kind: Kind, text: str) -> list[int]:
        """The ids of a kind whose names have this text in them, in any letter case, in order."""
        wanted = _plain(text)
        return sorted(number for number, label in self.all(kind).items() if wanted in _plain(label))


def read_labels(path: Path) -> Names:
    """The names of a file, with one header line. Raises InputError with the line, and what is allowed; OSError."""
    names: dict[tuple[str, Kind], dict[int, str]] = {}
    try:
        rows = csv.reader(io.StringIO(read_regular(path, FILE_MAX).decode("utf-8-sig"), newline=""), strict=True)
        header = [cell.strip().lower() for cell in next(rows, [])]
        if header[:3] != _HEADER or header[3:] not in ([], ["account"]):
            raise InputError(f"{path}: line 1: must be {_FORM}")
        for row in rows:
            if row:
                account, kind, number, label = _named(row, len(header), f"{path}: line {rows.line_num}")
                names.setdefault((account, kind), {})[number] = label
            if rows.line_num > LINES_MAX:
                raise InputError(f"{path}: must have at most {LINES_MAX:,} lines")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: must be UTF-8") from error
    except csv.Error as error:
        raise InputError(f"{path}: is no CSV: {error}") from error
    return names


def _plain(text: str) -> str:
    """A name as it is compared: without letter case and surrounding spaces."""
    return text.strip().casefold()


def _named(row: list[str], columns: int, place: str) -> tuple[str, Kind, int, str]:
    """The account, kind, id and label of a line."""
    if len(row) != columns:
        raise InputError(f"{place}: must have {columns} cells: {_FORM}")
    given, number, label, *account = (cell.strip() for cell in row)
    kind = next((each for each in KINDS if each == given.lower()), None)
    if kind is None:
        raise InputError(f"{place}: kind: must be one of {', '.join(KINDS)}")
    try:
        identity = int(number)
    except ValueError:
        raise InputError(f"{place}: id: must be an integer") from None
    if not INTEGER_MIN <= identity <= INTEGER_MAX:
        raise InputError(f"{place}: id: must be a signed 64-bit integer")
    if not label or len(label) > LABEL_MAX or not label.isprintable():
        raise InputError(f"{place}: label: must have 1 to {LABEL_MAX} characters, no control characters")
    return "".join(account), kind, identity, label
