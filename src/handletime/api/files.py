"""`GET …/agent-segments/files`: one file of handle-time units, as the breakdown listed it (http-api.md 2)."""

from __future__ import annotations

import gzip
from typing import Final

from litestar import Response, get

from handletime.api.errors import JSON, Refused
from handletime.api.negotiation import wants_gzip, wants_json
from handletime.api.parameters import Text
from handletime.api.service import SOURCE, HttpRequest, InPath, TheService, query_of

GZIP_TYPE: Final = "application/gzip"
PATH: Final = Text(
    "path",
    "One of the paths that the breakdown listed.",
    required=True,
    pattern=(
        r"/year=[0-9]{4}/month=[0-9]{1,2}/day=[0-9]{1,2}/hour=[0-9]{1,2}"
        r"/accountId=[a-zA-Z0-9]+/[a-zA-Z0-9_.-]+\.json\.gz"
    ),
)
PARAMETERS: Final = (PATH, SOURCE)


@get("/api/account/{account:str}/agent-segments/files", sync_to_thread=True, name="files")
def breakdown_file(request: HttpRequest, service: TheService, account: InPath) -> Response[bytes]:
    """One file of handle-time units."""
    account = service.admit(request, account, "handle-time")
    query = query_of(request)
    query.get(SOURCE)
    path = query.get(PATH) or ""
    query.check()
    content = service.files.content(account, path)
    if content is None:
        raise Refused(404, "There is no such file.")
    headers = {"Vary": "Accept, Accept-Encoding"}
    if not wants_json(request.headers.get("accept", "")):
        return Response(content, media_type=GZIP_TYPE, headers=headers)
    array = b"[" + b",".join(gzip.decompress(content).splitlines()) + b"]"
    if wants_gzip(request.headers.get("accept-encoding", "")):
        return Response(gzip.compress(array, 6), media_type=JSON, headers=headers | {"Content-Encoding": "gzip"})
    return Response(array, media_type=JSON, headers=headers)
