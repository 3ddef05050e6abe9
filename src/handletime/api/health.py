"""`/healthz` and `/readyz`: whether the process lives, and whether it can answer (http-api.md 6)."""

from __future__ import annotations

import msgspec
from litestar import Response, get

from handletime.api.errors import JSON
from handletime.api.service import TheService
from handletime.errors import NotNow


class Status(msgspec.Struct, frozen=True):
    """The answer when all is well."""

    status: str = "ok"


@get("/healthz", sync_to_thread=False, name="healthz")
def healthz() -> Response[bytes]:
    """Whether the process lives."""
    return Response(msgspec.json.encode(Status()), media_type=JSON)


@get("/readyz", sync_to_thread=False, name="readyz")
def readyz(service: TheService) -> Response[bytes]:
    """Whether requests can be answered; 503 where they cannot."""
    problem = service.store.problem() or service.problem
    if problem is not None:
        raise NotNow(problem)
    return Response(msgspec.json.encode(Status()), media_type=JSON)
