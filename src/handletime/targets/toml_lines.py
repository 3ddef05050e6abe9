"""On which line of a TOML file each value stands: `tomllib` gives values alone, and a fault should name its line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str | int, ...]
"""Keys and places in arrays, from the top of the file on."""


class Lines:
    """The lines of a file that is TOML. A value that is made up of several lines stands on its first one."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._at: dict[Path, tuple[int, int]] = {}
        table: Path = ()
        counts: dict[Path, int] = {}
        for first, last in _statements(self._lines):
            statement = "\n".join(self._lines[first:last]).lstrip()
            found = tomllib.loads(statement)
            if statement.startswith("["):
                table = _table(found, counts, of_array=statement.startswith("[["))
                self._at.setdefault(table, (first, last))
            else:
                for path in _paths(found):
                    self._at.setdefault(table + path, (first, last))

    def of(self, path: Path) -> int:
        """The number of the line, from 1 on, of a value, or of the nearest one around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self._at:
                return self._at[path[:length]][0] + 1
        return 1

    def of_item(self, path: Path, text: str) -> int:
        """The same of an item of an array that is written as this text."""
        number = self.of(path)
        first, last = self._at.get(path, (number - 1, number))
        return next((place + 1 for place in range(first, last) if text in self._lines[place]), number)


def _statements(lines: list[str]) -> Iterator[tuple[int, int]]:
    """From which line to which a statement goes; comments and empty lines between them are left out."""
    first = 0
    for last in range(1, len(lines) + 1):
        line = lines[last - 1].split("#")[0].strip()
        if not line and first == last - 1:
            first = last
            continue
        # Only the last line of what has several lines can end in one of these; others need not be tried.
        if last < len(lines) and last - first > 1 and not line.endswith(("]", "}", '"', "'")) and "=" not in line:
            continue
        try:
            found = tomllib.loads("\n".join(lines[first:last]))
        except tomllib.TOMLDecodeError:
            continue
        if found:
            yield first, last
            first = last


def _table(found: Mapping[str, Any], counts: dict[Path, int], *, of_array: bool) -> Path:
    """The path of a table whose header alone was read; arrays of tables are counted."""
    keys: list[str] = []
    inner: Any = found
    while isinstance(inner, dict) and inner:
        key, inner = next(iter(inner.items()))
        keys.append(key)
    path: Path = ()
    for place, key in enumerate(keys):
        path += (key,)
        if of_array and place == len(keys) - 1:
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path += (counts[path] - 1,)
    return path


def _paths(found: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of all tables and values within tables."""
    if path:
        yield path
    if isinstance(found, dict):
        for key, value in found.items():
            yield from _paths(value, (*path, key))
