"""How the bodies of one source become events: by Chatwoot's rules, or by the user's mapping."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Final

from handletime.closing import Closing
from handletime.deliveries.source import Source
from handletime.deliveries.texts import not_kept
from handletime.errors import InputError
from handletime.sources.batch import MappedBodies, batch_of
from handletime.sources.chatwoot.webhook import events_of
from handletime.sources.sql.shipped import mapping_text
from handletime.sources.sql.webhook import Webhook

_log: Final = logging.getLogger(__name__)


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
        lacking = {place: why for place, (body, _) in enumerate(bodies) if (why := self._lacking(body))}
        # An empty body in their place is no JSON: it gives no event, and its problem is replaced by the true one.
        given = [(b"" if place in lacking else body, at) for place, (body, at) in enumerate(bodies)]
        mapped = webhook.map_bodies(given, account=source.account)
        return mapped._replace(problems={**mapped.problems, **lacking})

    def _lacking(self, body: bytes) -> str | None:
        """What a body has lost that the mapping names; without it, it would make something else of the body."""
        gone = sorted(key for key in not_kept(body) if re.search(rf"\b{re.escape(key)}\b", self._text))
        return f"{', '.join(gone)}: not kept; name it in the setting keep before deliveries come" if gone else None

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
