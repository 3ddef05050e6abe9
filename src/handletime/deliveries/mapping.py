"""How the bodies of one source become events: by Chatwoot's rules, or by the user's mapping."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Final, NamedTuple

from handletime.closing import Closing
from handletime.deliveries.source import Source
from handletime.deliveries.texts import NOT_KEPT, filled, not_kept
from handletime.errors import InputError
from handletime.sources.batch import MappedBodies, batch_of, together
from handletime.sources.chatwoot.webhook import events_of
from handletime.sources.sql.shipped import mapping_text
from handletime.sources.sql.webhook import Webhook

_QUOTED: Final = re.compile(r"'((?:[^']|'')*)'|\"((?:[^\"]|\"\")*)\"")
_COLUMNS: Final = frozenset({"body", "received", "row"})
"""The columns of `input`: as plain words of a mapping, they are no keys of a body."""
_FILLS: Final = ("", "0", "1", "true", "2026-11-20T09:00:00Z", "a long text " * 400)
_log: Final = logging.getLogger(__name__)


class _Words(NamedTuple):
    """What a mapping names: in quotes, where keys of JSON stand, and plainly."""

    quoted: list[str]
    plain: set[str]


class Mapping(Closing):
    """The mapping of one source, for one thread at a time. A mapping in a file is read again when the file changes."""

    def __init__(self) -> None:
        self._read: tuple[Path, int, int] | None = None
        self._webhook: Webhook | None = None
        self._text = ""

    def close(self) -> None:
        """Ends the process of a mapping, if there is one."""
        if self._webhook is not None:
            self._webhook.close()
            self._webhook = None

    def map_bodies(self, source: Source, bodies: list[tuple[bytes, int]]) -> MappedBodies:
        """The events of bodies, each with when it came (epoch milliseconds).

        Raises nothing for what a body holds; InputError and OSError where there is no mapping that can be used.
        """
        if source.chatwoot is not None:
            return batch_of([events_of(body, source.chatwoot) for body, _ in bodies], account=source.account)
        assert source.mapping is not None  # noqa: S101 - a source is of one kind or the other
        webhook = self._current(source.name, source.mapping)
        kept = [place for place, (body, _) in enumerate(bodies) if not_kept(body)]
        if not kept:
            return webhook.map_bodies(bodies, account=source.account)
        whole = [place for place in range(len(bodies)) if place not in set(kept)]
        return together(
            len(bodies),
            [
                (whole, webhook.map_bodies([bodies[place] for place in whole], account=source.account)),
                (kept, self._again(webhook, [bodies[place] for place in kept], source.account)),
            ],
        )

    def _again(self, webhook: Webhook, bodies: list[tuple[bytes, int]], account: str) -> MappedBodies:
        """The events of bodies that were kept without texts, but of none that would be others with its texts.

        A body is refused where the mapping names what is not there. For mappings that read without naming, such as
        `body::varchar`, all are mapped several times, with different texts in place of what is not there, among them
        those that the mapping compares with: a body whose events change with them is refused, too.
        """
        words = _words(self._text)
        gone = {place: not_kept(body) for place, (body, _) in enumerate(bodies)}
        named = {place: _needed(keys) for place in gone if (keys := {key for key in gone[place] if _names(words, key)})}
        # An empty body in their place is no JSON: it gives no event, and its problem is replaced by the true one.
        given = [(b"" if place in named else body, at) for place, (body, at) in enumerate(bodies)]
        mapped = webhook.map_bodies(given, account=account)
        before, changed = mapped.told(), set[int]()
        for text in (*_FILLS, *words.quoted, " ".join(words.quoted)) if len(named) < len(bodies) else ():
            other = webhook.map_bodies([(filled(body, text), at) for body, at in given], account=account).told()
            changed |= {place for place in gone if before[place] != other[place]}
        if changed and not mapped.is_apart:
            changed = set(gone)
        return mapped.without({**{place: _needed(gone[place]) for place in sorted(changed)}, **named})

    def _current(self, name: str, file: Path) -> Webhook:
        """The mapping as its file says. One that has become wrong is told, and the last one stays."""
        about = file.stat() if file.is_file() else None
        read = (file, about.st_mtime_ns, about.st_size) if about else (file, 0, 0)
        if self._webhook is None or read != self._read:
            try:
                name, text = _text_of(file)
                new = Webhook(text, name)
            except InputError as error:
                if self._webhook is None:
                    raise
                _log.error("source %s is mapped as before: %s", name, error)
            else:
                self.close()
                self._webhook, self._text = new, text
            self._read = read
        return self._webhook


def read_mapping(file: Path) -> Webhook:
    """The mapping in a file, or the shipped one of that name, checked. Raises InputError, OSError."""
    name, text = _text_of(file)
    return Webhook(text, name)


def _text_of(file: Path) -> tuple[str, str]:
    name = str(file) if file.is_file() else file.name
    return name, mapping_text(name)


def _words(text: str) -> _Words:
    quoted = {(single or double).replace("''", "'").lower() for single, double in _QUOTED.findall(text)}
    return _Words(sorted(quoted), set(re.findall(r"\w+", _QUOTED.sub(" ", text).lower())) - _COLUMNS)


def _names(words: _Words, key: str) -> bool:
    """Whether a mapping may read what stands under this key; one that is not there any more counts as named."""
    key = key.lower()
    return key == NOT_KEPT or key in words.plain or any(key in each for each in words.quoted)


def _needed(keys: set[str]) -> str:
    told = ", ".join(sorted("a key that may be a name" if key == NOT_KEPT else key for key in keys))
    return f"{told}: not kept; name it in the setting keep before deliveries come"
