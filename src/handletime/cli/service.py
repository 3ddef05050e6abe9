"""The commands around the service: the server, its keys, events into it."""

from __future__ import annotations

from handletime.cli.ingest import ingest
from handletime.cli.keys import keys
from handletime.cli.serve import serve

__all__ = ["ingest", "keys", "serve"]
