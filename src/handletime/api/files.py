"""`GET …/agent-segments/files`: one file of handle-time units, as the breakdown listed it (http-api.md 2)."""

from __future__ import annotations

import gzip
import io
from functools import partial
from typing import Any, Final

from litestar import Response, get

from handletime.api.answer import Answer
from handletime.api.errors import JSON, Refused
from handletime.api.negotiation import wants_gzip, wants_json
from handletime.api.parameters import a_text
from handletime.api.service import SOURCE, HttpRequest, InPath, TheService, query_of

GZIP_TYPE: Final = "application/gzip"
PATH: Final = a_text(
    "path",
    "One of the paths that the breakdown listed.",
    required=True,
    pattern=(
        r"/year=[0-9]{4}/month=[0-9]{1,2}/day=[0-9]{1,2}/hour=[0-9]{1,2}"
        r"/accountId=[a-zA-Z0-9]+/[a-zA-Z0-9_.-]+\.json\.gz"
    ),
)
_AT_ONCE: Final = 256 << 10
PARAMETERS: Final = (PATH, SOURCE)


@get("/api/account/{account:str}/agent-segments/files", sync_to_thread=True, name="files")
def breakdown_file(request: HttpRequest, service: TheService, account: InPath) -> Response[Any]:
    """One file of handle-time units."""
    account = service.whole(request, account, "handle-time", "files of handle-time units")
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
    answer = Answer(request, "gzip" if wants_gzip(request.headers.get("accept-encoding", "")) else "identity")
    answer.add(b"[")
    with gzip.open(io.BytesIO(content)) as lines:
        for number, some in enumerate(iter(partial(lines.readlines, _AT_ONCE), [])):
            answer.add((b"," if number else b"") + b",".join(line.rstrip(b"\n") for line in some))
    answer.add(b"]")
    return answer.response(JSON, headers)
