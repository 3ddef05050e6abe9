"""Sources of deliveries that `handletime connect` has set up: kept in the side file, with their secrets sealed."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

import msgspec

from handletime.keys.keys import changing
from handletime.keys.sealing import open_secret
from handletime.keys.secret import Secret
from handletime.keys.sidefile import SideFile

_log: Final = logging.getLogger(__name__)


class KeptSource(NamedTuple):
    """A source of an account. `described` is what is not secret, as JSON; who wrote it reads it."""

    account: str
    name: str
    described: bytes
    secret: str

    def __repr__(self) -> str:
        return f"KeptSource({self.account!r}, {self.name!r}, …)"


def keep_source(side: SideFile, source: KeptSource) -> None:
    """Keeps a source, in place of one of the same name; it is on disk and counts in every server when this returns.

    Raises what `open_secret` and `SideFile` raise.
    """
    sealed = open_secret(side).seal(_bound(*source[:3]), (source.secret, ""))
    with changing(side) as db:
        db.execute("INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?)", (*source[:3], sealed))


def remove_source(side: SideFile, account: str, name: str) -> bool:
    """Removes a source for good, in every server; says whether there was one. Raises what `SideFile` raises."""
    with changing(side) as db:
        return db.execute("DELETE FROM sources WHERE account = ? AND name = ?", (account, name)).rowcount == 1


def source_names(side: SideFile) -> list[tuple[str, str]]:
    """Account and name of each source that is kept, in order. Raises what `SideFile` raises."""
    with side.reading() as db:
        return db.execute("SELECT account, name FROM sources ORDER BY account, name").fetchall()


def kept_sources(side: SideFile, secret: Secret) -> list[KeptSource]:
    """All that are kept, by account and name; without those whose seal does not hold, which the log names."""
    with side.reading() as db:
        rows = db.execute("SELECT account, name, described, sealed FROM sources ORDER BY account, name").fetchall()
    found = []
    for account, name, described, sealed in rows:
        values = secret.unseal(_bound(account, name, described), sealed)
        if values is None:
            _log.warning("source %s is refused: it is not what was sealed; connect it again", name)
        else:
            found.append(KeptSource(account, name, described, values[0]))
    return found


def _bound(account: str, name: str, described: bytes) -> bytes:
    return b"handletime source" + msgspec.msgpack.encode((account, name, described))
