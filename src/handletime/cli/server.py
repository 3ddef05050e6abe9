"""What is behind `handletime serve`: opened in order, closed in the other."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from handletime.api.app import make_app
from handletime.api.auth import Authenticator
from handletime.api.serve import ListenSettings, serve
from handletime.api.service import ApiSettings, Service
from handletime.api.shelf import Shelf
from handletime.cli.folder import make_folder, side_file
from handletime.cli.logs import log_to_stderr
from handletime.clock import SystemClock
from handletime.compiled import is_kept
from handletime.errors import InputError
from handletime.store.keys import Keys
from handletime.store.opening import StoreSettings
from handletime.store.store import Store
from handletime.store.warming import warm_up

SHELF: Final = "shelf.sqlite"
_log: Final = logging.getLogger(__name__)


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the server is told: `folder` holds the store, `port` 0 is any that is free."""

    folder: Path
    host: str
    port: int
    tls_cert: Path | None
    tls_key: Path | None
    public_url: str | None
    memory_bytes: int


def run(settings: ServerSettings, listening: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT; `listening` is told the address. Raises InputError, StoreError, OSError."""
    begun = time.monotonic()
    log_to_stderr()
    signal.signal(signal.SIGTERM, _stop)
    if settings.tls_cert and settings.tls_key:
        _check_tls(settings.tls_cert, settings.tls_key)
    clock = SystemClock()
    with ExitStack() as stack:
        make_folder(settings.folder)
        side = stack.enter_context(side_file(settings.folder))
        store = stack.enter_context(Store(settings.folder, side, StoreSettings(memory_bytes=settings.memory_bytes)))
        host, port = _free(settings.host, settings.port)
        listen = ListenSettings(host=host, port=port, tls_cert=settings.tls_cert, tls_key=settings.tls_key)
        authenticator = Authenticator(side, Keys(side), clock)
        shelf = Shelf(settings.folder / SHELF)
        stack.callback(shelf.close)
        if not is_kept():
            _log.info("compiling the derivation; only the first start does this (about half a minute)")
        warm_up()
        service = Service(store, authenticator, clock, shelf, ApiSettings(public_url=settings.public_url))

        def listens() -> None:
            address = _address(listen)
            _log.info("listening at %s after %.2f s", address, time.monotonic() - begun)
            listening(address)

        asyncio.run(serve(make_app(service), listen, listens))
        _log.info("stopping")
    _log.info("stopped")


def _stop(*_: object) -> NoReturn:
    """Ends a start that is not yet through; closes what is open."""
    sys.exit(128 + signal.SIGTERM)


def _check_tls(cert: Path, key: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise InputError(
            f"{cert} and {key} are no certificate (PEM) and its key (PEM, without a password): {error}"
        ) from error


def _no_password() -> str:
    raise ValueError("the key has a password")


def _free(host: str, port: int) -> tuple[str, int]:
    """The IP address and the port to listen on. Raises InputError where nobody can."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = min(found, key=lambda each: each[0] != socket.AF_INET)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As the server will: a port that waits after an earlier one is free, one that is listened on is not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            return str(place[0]), int(probe.getsockname()[1])
    except OSError as error:
        raise InputError(f"cannot listen on {host}, port {port}: {error.strerror}") from error


def _address(listen: ListenSettings) -> str:
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    return f"{'https' if listen.tls_cert else 'http'}://{host}:{listen.port}"
