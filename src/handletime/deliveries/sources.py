"""The sources that a server knows: those of its settings file, and those that `handletime connect` has set up."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from typing import Final

from handletime.deliveries.source import Source, described_source
from handletime.errors import InputError
from handletime.keys.secret import Secret
from handletime.keys.sidefile import SideFile
from handletime.keys.sources import kept_sources

SEEN_S: Final = 0.1
"""Seconds for which sources count as they were last seen."""
_log: Final = logging.getLogger(__name__)


class Sources:
    """All sources by account and name. Any thread may use it. What another process sets up counts within `SEEN_S`."""

    def __init__(self, configured: Iterable[Source], side: SideFile, secret: Secret) -> None:
        """`configured` are those of the settings file, which stand before kept ones of the same name."""
        self._configured = {(source.account, source.name): source for source in configured}
        self._side, self._secret = side, secret
        self._changes, self._looked, self._known = -1, -math.inf, dict(self._configured)

    def find(self, account: str, name: str) -> Source | None:
        """A source; None where there is none. Raises what `SideFile` raises."""
        now = time.monotonic()
        if now - self._looked > SEEN_S:
            changes = self._side.key_changes()
            if changes != self._changes:
                self._known = {**self._kept(), **self._configured}
            self._changes, self._looked = changes, now
        return self._known.get((account, name))

    def _kept(self) -> dict[tuple[str, str], Source]:
        found = {}
        for kept in kept_sources(self._side, self._secret):
            try:
                found[kept.account, kept.name] = described_source(*kept)
            except InputError as error:
                _log.warning("%s", error)
        return found
