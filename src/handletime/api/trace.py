"""What the log says of a request besides its status: noted while it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import uuid4

import msgspec
from litestar.types import Scope

if TYPE_CHECKING:
    from handletime.store.budget import Share

_PLACE: Final = "handletime"


class Trace(msgspec.Struct):
    """The method as it was sent (a HEAD is routed as a GET), an id, the key that it was made with, the limit that it
    went against, and whether it was counted as one without a key.

    `share` is what its answer takes of the memory until it is sent.
    """

    method: str
    id: str
    share: Share
    key: str | None = None
    limit: str | None = None
    counted: bool = False


def begin(scope: Scope, method: str, share: Share) -> Trace:
    """The trace of a new request, kept in its scope."""
    trace = Trace(method, uuid4().hex, share)
    scope.setdefault("state", {})[_PLACE] = trace
    return trace


def trace_of(scope: Scope) -> Trace:
    """The trace of a request that is under way."""
    trace: Trace = scope["state"][_PLACE]
    return trace
