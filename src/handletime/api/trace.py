"""What the log says of a request besides its status. It is noted while the request is answered."""

from __future__ import annotations

from random import getrandbits
from typing import TYPE_CHECKING, Final

import msgspec
from litestar.types import Scope

if TYPE_CHECKING:
    from handletime.store.budget import Share

_PLACE: Final = "handletime"


class Trace(msgspec.Struct):
    """The method as it was sent (a HEAD is routed as a GET), the request's id, its key, the limit that it exceeded,
    whether it was counted as one without a key, and whether its answer broke off.

    `share` is the memory that its answer takes until it is sent.
    """

    method: str
    id: str
    share: Share
    key: str | None = None
    limit: str | None = None
    counted: bool = False
    broke_off: bool = False


def begin(scope: Scope, method: str, share: Share) -> Trace:
    """The trace of a new request, kept in its scope."""
    # Not from the system: that is a call that lets other threads take over. An id has to be unique, not secret.
    trace = Trace(method, f"{getrandbits(128):032x}", share)
    scope.setdefault("state", {})[_PLACE] = trace
    return trace


def trace_of(scope: Scope) -> Trace:
    """The trace of a request that is under way."""
    trace: Trace = scope["state"][_PLACE]
    return trace
