"""Mappings that are shipped: `examples/NAME.sql`, each with a page that docs/mappings.md links to."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from handletime.errors import InputError
from handletime.sources.sql.statement import TEXT_MAX

NAMES: Final = ("csv", "zendesk", "rocketchat", "intercom", "twilio", "genesys")


def shipped(name: str) -> str:
    """The text of a shipped mapping. Raises InputError where there is none of this name."""
    if name not in NAMES:
        raise InputError(f"{name}: there is no such file, and no mapping of this name is shipped ({', '.join(NAMES)})")
    return files("handletime.sources.sql").joinpath("examples", f"{name}.sql").read_text("utf-8")


def is_shipped(mapping: str) -> bool:
    """Whether what a command was given is the name of a shipped mapping; a file of that name counts first."""
    return mapping in NAMES and not Path(mapping).is_file()


def page_told(mapping: str) -> str:
    """Where it stands what a shipped mapping reads."""
    return f"docs/mappings/{mapping}.md says what this mapping reads."


def mapping_text(mapping: str) -> str:
    """The text of a mapping: of a file, or of a shipped one by its name. Raises InputError."""
    path = Path(mapping)
    if not path.is_file():
        return shipped(mapping)
    try:
        with path.open(encoding="utf-8-sig") as file:
            return file.read(TEXT_MAX + 1)
    except UnicodeDecodeError:
        raise InputError(f"{mapping}: a mapping is SQL in UTF-8") from None
