"""`GET …/baseURI.json`: where a client of LivePerson's finds the other methods (http-api.md 4). Open to all."""

from __future__ import annotations

import re
from typing import Final

import msgspec
from litestar import Response, get

from handletime.api.errors import JSON, Refused
from handletime.api.service import HttpRequest, InPath, TheService, existing_account

SERVICES: Final = ("agentActivityDomain", "leDataReporting")
"""The services that are listed. Any other name is answered too."""
_SPELLED: Final = {name.lower(): name for name in SERVICES}
_NAME: Final = re.compile("[A-Za-z0-9]{1,64}")


class BaseUri(msgspec.Struct, frozen=True):
    """Where one service is: host, port if there is one, and the path before ours if there is one."""

    service: str
    account: str
    base_uri: str = msgspec.field(name="baseURI")


class BaseUris(msgspec.Struct, frozen=True):
    """Where all services are."""

    base_uris: list[BaseUri] = msgspec.field(name="baseURIs")


@get("/api/account/{account:str}/service/{name:str}/baseURI.json", sync_to_thread=False, name="domain")
def domain(request: HttpRequest, service: TheService, account: InPath, name: InPath) -> Response[bytes]:
    """Where a service is: here, for every name. Older wrappers look up others first, and stop where that fails."""
    account = existing_account(account)
    if not _NAME.fullmatch(name):
        raise Refused(404, "There is no such service: a name is 1 to 64 letters and digits.")
    answer = BaseUri(_SPELLED.get(name.lower(), name), account, service.base_uri(request))
    return Response(msgspec.json.encode(answer), media_type=JSON)


@get("/api/account/{account:str}/service/baseURI.json", sync_to_thread=False, name="domains")
def domains(request: HttpRequest, service: TheService, account: InPath) -> Response[bytes]:
    """Where all services are."""
    account, here = existing_account(account), service.base_uri(request)
    answer = BaseUris([BaseUri(name, account, here) for name in SERVICES])
    return Response(msgspec.json.encode(answer), media_type=JSON)
