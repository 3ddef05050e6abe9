"""How the bodies of one source become events: by Chatwoot's rules, or by the user's mapping."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from handletime.closing import Closing
from handletime.deliveries.source import Source
from handletime.deliveries.texts import NOT_KEPT, not_kept, variants, varied, without_texts
from handletime.errors import InputError
from handletime.events.model import EVENTS
from handletime.sources.batch import MappedBodies, batch_of, together
from handletime.sources.chatwoot.webhook import events_of
from handletime.sources.sql.shipped import mapping_text
from handletime.sources.sql.statement import Words, words_of
from handletime.sources.sql.webhook import Webhook

_COLUMNS: Final = frozenset({"body", "received", "row"})
"""The columns of `input`: as names in a mapping, they are no keys of a body."""
_SLOW: Final = "it takes too long to find out whether it needs a text that was not kept"
_log: Final = logging.getLogger(__name__)


class Mapping(Closing):
    """The mapping of one source, for one thread at a time. A mapping in a file is read again when the file changes."""

    def __init__(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Once it is `stopped`, bodies stay untried."""
        self._stopped = stopped
        self._read: tuple[Path, int, int] | None = None
        self._webhook: Webhook | None = None
        self._words = Words(frozenset(), frozenset())

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
        return self._current(source).map_bodies(bodies, account=source.account)

    def map_again(self, source: Source, bodies: list[tuple[bytes, int]]) -> MappedBodies:
        """The events of bodies that were `kept`, but of none that would give others with its texts.

        A body is refused where the mapping names what is not there. For mappings that read without naming, such as
        `body::varchar`, all are mapped several times with other content: a body whose events change with that is
        refused, too. Raises what `map_bodies` raises.
        """
        if source.chatwoot is not None:
            return self.map_bodies(source, bodies)
        webhook, gone = self._current(source), [not_kept(body) for body, _ in bodies]
        problems = {place: _needed(keys) for place, each in enumerate(gone) if (keys := set(filter(self._names, each)))}
        # An empty body in their place is no JSON: it gives no event, and its problem is replaced by the true one.
        given = [(b"" if place in problems else body, at) for place, (body, at) in enumerate(bodies)]
        mapped = webhook.map_bodies(given, account=source.account)
        doubted = [place for place, keys in enumerate(gone) if keys and place not in {*problems, *mapped.untried}]
        before, is_the_same = mapped.told(), True
        for variant in variants(self._words.texts):
            if problems.keys() >= set(doubted):
                break
            other = [(varied(given[place][0], variant), given[place][1]) for place in doubted]
            after = webhook.map_bodies(other, account=source.account)
            if self._stopped():
                return MappedBodies(EVENTS.empty_table(), [0] * len(bodies), {}, untried=frozenset(range(len(bodies))))
            for place, outcome in zip(doubted, after.told(), strict=True):
                if before[place] != outcome:
                    problems[place], is_the_same = _SLOW if outcome.is_untried else _needed(gone[place]), False
        if is_the_same or mapped.is_apart:
            return mapped.without(problems)
        # Nobody knows whose events changed: it is looked for among those of which it may be, and in halves of them.
        places = list(range(len(bodies)))
        first = doubted if len(doubted) < len(bodies) else places[: len(bodies) // 2]
        parts = (first, [place for place in places if place not in first])
        return together(len(bodies), [(part, self.map_again(source, [bodies[at] for at in part])) for part in parts])

    def kept(self, source: Source, body: bytes) -> bytes:
        """What is kept of a body that could not be mapped."""
        return without_texts(body, source.keep, self._words.texts)

    def _names(self, key: str) -> bool:
        """Whether the mapping may read what stands under this key; one that is not there any more counts as named."""
        key = key.lower()
        is_named = any(key == name.lower() for name in self._words.names - _COLUMNS)
        return key == NOT_KEPT or is_named or any(key in text.lower() for text in self._words.texts)

    def _current(self, source: Source) -> Webhook:
        """The mapping as its file says. One that has become wrong is told, and the last one stays."""
        file = source.mapping
        assert file is not None  # noqa: S101 - a source is of one kind or the other
        about = file.stat() if file.is_file() else None
        read = (file, about.st_mtime_ns, about.st_size) if about else (file, 0, 0)
        if self._webhook is None or read != self._read:
            try:
                name, text = _text_of(file)
                new = Webhook(text, name, stopped=self._stopped)
            except InputError as error:
                if self._webhook is None:
                    raise
                _log.error("source %s is mapped as before: %s", source.name, error)
            else:
                self.close()
                self._webhook, self._words = new, words_of(text)
            self._read = read
        return self._webhook


def read_mapping(file: Path) -> Webhook:
    """The mapping in a file, or the shipped one of that name, checked. Raises InputError, OSError."""
    name, text = _text_of(file)
    return Webhook(text, name)


def _text_of(file: Path) -> tuple[str, str]:
    name = str(file) if file.is_file() else file.name
    return name, mapping_text(name)


def _needed(keys: set[str]) -> str:
    told = ", ".join(sorted("a key that may be a name" if key == NOT_KEPT else key for key in keys))
    return f"{told}: not kept; name it in the setting keep before deliveries come"
