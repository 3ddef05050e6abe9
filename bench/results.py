"""What was measured, as tables: on the terminal and in RESULTS.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

Progress = Callable[[str], None]
"""Is told of every step."""

RESULTS: Final = Path(__file__).with_name("RESULTS.md")


class Section(NamedTuple):
    """One table: what it is of, its head, its rows, and how they were measured."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str

    def __str__(self) -> str:
        return "\n".join([f"## {self.title}", "", *_table([self.head, *self.rows]), "", self.note])


def write(path: Path, about: Iterable[str], sections: Iterable[Section], command: str = "make bench") -> None:
    """Writes a file of all sections, whole or not at all."""
    parts = [f"# What `{command}` measured", "\n".join(about), *map(str, sections)]
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text("\n\n".join(parts) + "\n")
    unfinished.replace(path)


def amount(number: float) -> str:
    """A large number as people say it: 3.1 M, 640,000."""
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{round(number, -3):,.0f}"


def gigabytes(size: float) -> str:
    """A size on disk or in memory."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table in Markdown that reads as one on a terminal too: first column left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def aligned(row: tuple[str, ...]) -> Iterator[str]:
        yield row[0].ljust(widths[0])
        yield from (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))

    rule = line(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    head, *body = (line(aligned(row)) for row in rows)
    return [head, rule, *body]
