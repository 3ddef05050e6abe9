"""`GET …/baseURI.json`: where a client of LivePerson's finds the other methods (http-api.md 4). Open to all."""

from __future__ import annotations

from typing import Final

import msgspec
from litestar import Response, get

from handletime.api.errors import JSON, Refused
from handletime.api.service import HttpRequest, InPath, TheService, existing_account

SERVICES: Final = ("agentActivityDomain", "leDataReporting")


class BaseUri(msgspec.Struct, frozen=True):
    """Where one service is: host, and port if there is one."""

    service: str
    account: str
    base_uri: str = msgspec.field(name="baseURI")


class BaseUris(msgspec.Struct, frozen=True):
    """Where all services are."""

    base_uris: list[BaseUri] = msgspec.field(name="baseURIs")


@get("/api/account/{account:str}/service/{name:str}/baseURI.json", sync_to_thread=False, name="domain")
def domain(request: HttpRequest, service: TheService, account: InPath, name: InPath) -> Response[bytes]:
    """Where a service is."""
    account = existing_account(account)
    known = {service_name.lower(): service_name for service_name in SERVICES}
    if name.lower() not in known:
        raise Refused(404, "There is no such service.")
    answer = BaseUri(known[name.lower()], account, service.host(request))
    return Response(msgspec.json.encode(answer), media_type=JSON)


@get("/api/account/{account:str}/service/baseURI.json", sync_to_thread=False, name="domains")
def domains(request: HttpRequest, service: TheService, account: InPath) -> Response[bytes]:
    """Where all services are."""
    account, host = existing_account(account), service.host(request)
    answer = BaseUris([BaseUri(name, account, host) for name in SERVICES])
    return Response(msgspec.json.encode(answer), media_type=JSON)
