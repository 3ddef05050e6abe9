"""The sources that a server knows: those of its settings file, and those that `handletime connect` has set up."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from handletime.deliveries.source import Source, described_source
from handletime.errors import InputError
from handletime.keys.secret import Secret
from handletime.keys.sidefile import SideFile
from handletime.keys.sources import kept_sources

_log: Final = logging.getLogger(__name__)


class Sources:
    """All sources by account and name. Any thread may use it. What another process sets up counts at once."""

    def __init__(self, configured: Iterable[Source], side: SideFile, secret: Secret) -> None:
        """`configured` are those of the settings file, which stand before kept ones of the same name."""
        self._configured = {(source.account, source.name): source for source in configured}
        self._side, self._secret = side, secret
        self._seen, self._known = -1, dict(self._configured)

    def find(self, account: str, name: str) -> Source | None:
        """A source; None where there is none. Raises what `SideFile` raises."""
        changes = self._side.key_changes()
        if changes != self._seen:
            self._known = {**self._kept(), **self._configured}
            self._seen = changes
        return self._known.get((account, name))

    def _kept(self) -> dict[tuple[str, str], Source]:
        found = {}
        for kept in kept_sources(self._side, self._secret):
            try:
                found[kept.account, kept.name] = described_source(*kept)
            except InputError as error:
                _log.warning("%s", error)
        return found
