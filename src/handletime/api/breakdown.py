"""`GET …/agent-segments/breakdown`: which files hold the handle-time units of a timeframe (http-api.md 2)."""

from __future__ import annotations

from typing import Final

import msgspec
from litestar import Response, get

from handletime.api.errors import JSON
from handletime.api.service import SOURCE, HttpRequest, InPath, TheService, query_of
from handletime.api.timeframe import PARAMETERS as TIMES
from handletime.api.timeframe import TimeframeShown, read_timeframe

PARAMETERS: Final = (SOURCE, *TIMES)


class Breakdown(msgspec.Struct, frozen=True):
    """The files of a timeframe."""

    timeframe: TimeframeShown
    files: list[str]


@get("/api/account/{account:str}/agent-segments/breakdown", sync_to_thread=True, name="breakdown")
def breakdown(request: HttpRequest, service: TheService, account: InPath) -> Response[bytes]:
    """The files that together hold every handle-time unit of a timeframe."""
    account = service.whole(request, account, "handle-time", "files of handle-time units")
    query = query_of(request)
    query.get(SOURCE)
    timeframe = read_timeframe(query, service.clock.now())
    query.check()
    files = service.files.listed(account, timeframe.start.millis, timeframe.end.millis)
    return Response(msgspec.json.encode(Breakdown(timeframe.shown(), files)), media_type=JSON)
