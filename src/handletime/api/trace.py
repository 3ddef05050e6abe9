"""What the log says of a request besides its status: noted while it is answered."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

import msgspec
from litestar.types import Scope

_PLACE: Final = "handletime"


class Trace(msgspec.Struct):
    """The method as it was sent (a HEAD is routed as a GET), an id, the key that it was made with, the limit that it
    went against, and whether it was counted as one without a key.
    """

    method: str
    id: str
    key: str | None = None
    limit: str | None = None
    counted: bool = False


def begin(scope: Scope, method: str) -> Trace:
    """The trace of a new request, kept in its scope."""
    trace = Trace(method, uuid4().hex)
    scope.setdefault("state", {})[_PLACE] = trace
    return trace


def trace_of(scope: Scope) -> Trace:
    """The trace of a request that is under way."""
    trace: Trace = scope["state"][_PLACE]
    return trace
