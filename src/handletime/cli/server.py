"""What runs behind `handletime serve`: its parts are opened in order, and closed in reverse."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from litestar.types import ASGIApp

from handletime import __version__
from handletime.addresses import networks
from handletime.answers.labels import Labels
from handletime.api.app import QUERIES, make_app
from handletime.api.auth import Authenticator
from handletime.api.connections import Connections, Limits
from handletime.api.prometheus import Meters
from handletime.api.serve import ListenSettings, serve
from handletime.api.service import ApiSettings, Service
from handletime.api.sources import Doors
from handletime.api.stopping import Signals
from handletime.api.unit_files import ShelvedFiles
from handletime.cli import warming
from handletime.cli.folder import OWNER_ONLY, keep_private, make_folder, side_file
from handletime.cli.lake_server import lake_service
from handletime.cli.logs import log_to_stderr
from handletime.clock import SystemClock
from handletime.compiled import can_be_kept, is_complete
from handletime.deliveries.file import Deliveries
from handletime.deliveries.mapper import Mapper
from handletime.deliveries.mapping import read_mapping
from handletime.deliveries.source import Source, sources_of
from handletime.deliveries.sources import Sources
from handletime.errors import InputError
from handletime.files import open_regular, read_regular
from handletime.keys.keys import Keys
from handletime.keys.sealing import open_secret
from handletime.settings import SETTINGS, ServerSettings, read_sources
from handletime.store.opening import StoreSettings
from handletime.store.shelf import Shelf
from handletime.store.store import Store
from handletime.targets.file import TargetsFile
from handletime.upkeep.command_server import CommandServer
from handletime.upkeep.data_folder import SHELF, DataFolder
from handletime.upkeep.deriving import Deriving
from handletime.upkeep.retention import Retention
from handletime.web.page import Page
from handletime.web.routes import page_routes
from handletime.web.sessions import SESSIONS, Sessions

_log: Final = logging.getLogger(__name__)
PEM_MAX: Final = 1 << 20
"""The most bytes of a file with certificates or a key."""
_PRIVATE_KEY: Final = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----\s", re.DOTALL)
HEAPS: Final = 2
"""The number of heaps of the C library, for all threads."""
ANSWERS_OF_MEMORY: Final = 4
"""Divides the memory setting: a quarter, on top of it, is for answers that are not yet sent."""
ENDING_S: Final = 1.0
"""Seconds that threads of queries may take to end, once their clients are gone."""
_M_ARENA_MAX: Final = -8
"""A constant of malloc.h."""


def run(settings: ServerSettings, config: Path | None, signals: Signals, listening: Callable[[str], None]) -> NoReturn:
    """Serves until SIGTERM or SIGINT, and ends the process; `listening` gets the address. Sources stand in `config`.

    Raises InputError, StoreError, OSError, where it could not begin.
    """
    begun = time.monotonic()
    limit_heaps()
    keep_private()
    log_to_stderr(settings.log_level, settings.log_format)
    _log.info("starting, version %s", __version__)
    if settings.tls_cert and settings.tls_key:
        check_tls(settings.tls_cert, settings.tls_key)
    with ExitStack() as stack:
        meters = Meters()
        is_store = settings.lake is None
        derives = is_store or settings.events is not None
        is_ready = derives and is_complete()
        # Beside what takes as long: opening the store.
        loading = stack.enter_context(ThreadPoolExecutor(1, "loading")).submit(warming.warm_up) if is_ready else None
        doors: Doors | None = None
        labels, targets = Labels(settings.labels), TargetsFile(settings.targets)
        if is_store:
            service, sessions, doors = _store_service(settings, config, labels, targets, meters, stack)
        else:
            service, sessions = lake_service(settings, _api_settings(settings), labels, targets, meters, stack)
        host, port = free(settings.host, settings.port, stack)
        listen = ListenSettings(host=host, port=port, tls_cert=settings.tls_cert, tls_key=settings.tls_key)
        if derives and not is_ready:
            compile_beside(service, stack)
        if loading:
            loading.result()
        page = Page(service, sessions, labels, with_now=is_store)
        routes = page_routes(page, with_now=is_store)
        app = make_app(service, doors=doors, more_routes=routes, meters=meters, nowhere=page.answer_to_nowhere)
        run_app(app, listen, _connections_of(settings, meters), signals, begun, listening, page.stop)
    _log.info("stopped")
    end()


def _store_service(
    settings: ServerSettings,
    config: Path | None,
    labels: Labels,
    targets: TargetsFile,
    meters: Meters,
    stack: ExitStack,
) -> tuple[Service, Sessions, Doors]:
    """The API, the page's sessions and the doors for deliveries over a store, which is looked after, until the stack
    ends. Raises InputError, StoreError, OSError.
    """
    configured = _configured(config)
    clock = SystemClock()
    make_folder(settings.folder)
    side = stack.enter_context(side_file(settings.folder))
    limits = StoreSettings(
        memory_bytes=settings.memory_bytes,
        query_limit_s=settings.query_limit_s,
        conversation_events=settings.conversation_events,
    )
    store = stack.enter_context(Store(settings.folder, side, limits, meters))
    meters.watch(store.state)
    shelf = stack.enter_context(Shelf(settings.folder / SHELF))
    data = DataFolder(settings.folder, store, side, shelf)
    authenticator = Authenticator(side, Keys(side), clock)
    stack.enter_context(CommandServer(data))
    stack.enter_context(Deriving(data))
    if settings.retain_days is not None:
        stack.enter_context(Retention(data, settings.retain_days, clock, doubted=meters.doubted))
    files = ShelvedFiles(store, shelf, clock)
    service = Service(store, authenticator, clock, files, _api_settings(settings), labels, targets)
    sources = Sources(configured, side, open_secret(side))
    deliveries = stack.enter_context(Deliveries(settings.folder))
    stack.enter_context(Mapper(deliveries, sources, store, clock, meters))
    meters.watch_deliveries(deliveries.backlog, clock.now)
    doors = Doors(service, sources, deliveries)
    return service, stack.enter_context(Sessions(settings.folder / SESSIONS)), doors


def _configured(config: Path | None) -> list[Source]:
    """The sources of the file of settings. Raises InputError."""
    if config is None:
        return []
    found = sources_of(read_sources(config), config)
    for source in found:
        if source.mapping is not None:
            try:
                read_mapping(source.mapping).close()
            except InputError as error:
                raise InputError(f"{config}: source.{source.name}.mapping: {error}") from error
    if found and config.stat().st_mode & OWNER_ONLY:
        _log.warning("%s holds secrets of sources and is open to others; chmod 600 %s", config, config)
    return found


def _connections_of(settings: ServerSettings, meters: Meters) -> Connections:
    """The watch over connections, from the settings; the meters show its numbers."""
    limits = Limits(of_address=settings.address_connections, proxies=networks(settings.trusted_proxies))
    refused = partial(meters.refused, SETTINGS["address_connections"].name)
    connections = Connections(limits, meters.connections_ended, refused)
    meters.watch_connections(lambda: connections.open)
    return connections


def run_app(
    app: ASGIApp,
    listen: ListenSettings,
    connections: Connections,
    signals: Signals,
    begun: float,
    listening: Callable[[str], None],
    stopping: Callable[[], None],
) -> None:
    """Serves until SIGTERM or SIGINT. Says where once it can be reached, `begun` at a moment of the monotonic clock."""

    def listens() -> None:
        address = address_of(listen)
        _log.info("listening at %s after %.2f s", address, time.monotonic() - begun)
        listening(address)
        settle()

    try:
        asyncio.run(serve(app, listen, connections, signals, listens, stopping))
    finally:
        gc.unfreeze()
    _log.info("stopping")


def limit_heaps() -> None:
    """Lets the GNU C library share few heaps among all threads. Has to be called before there are many threads.

    Else it makes up to eight a processor, and free memory in one is of no use to the others: after 17 minutes of load
    70 of 174 MiB were free, in pieces too small to be given back. Does nothing with other C libraries.
    """
    with suppress(AttributeError):  # other C libraries have no such thing
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, HEAPS)


def settle() -> None:
    """Excludes all present objects from garbage collection: they live as long as the server.

    Each collection took 100 ms, and nobody was answered meanwhile.
    """
    gc.collect()
    gc.freeze()


def _api_settings(settings: ServerSettings) -> ApiSettings:
    """The settings of the API's methods, out of all settings."""
    return ApiSettings(
        public_url=settings.public_url,
        trusted_proxies=settings.trusted_proxies,
        query_threads=settings.query_threads,
        query_limit_s=settings.query_limit_s,
        ingest_requests=settings.ingest_requests,
        ingest_bytes=settings.ingest_bytes,
        answer_bytes=settings.memory_bytes // ANSWERS_OF_MEMORY,
        key_rate=settings.key_rate,
        address_rate=settings.address_rate,
        focus_rate=settings.focus_rate,
        focus_origins=settings.focus_origins,
    )


class Warming(threading.Thread):
    """Compiles the derivation while the server listens already: it lives, but is not ready.

    Another process compiles if the compiled code can be kept: compiling takes 150 MiB that are not given back.
    """

    def __init__(self, service: Service) -> None:
        super().__init__(name="warming", daemon=True)
        self._service = service
        service.problem = "the derivation is being compiled; only the first start does this (about a minute)"
        _log.info(service.problem)
        self._stopped = False
        self._compiler: subprocess.Popen[bytes] | None = None
        if can_be_kept():
            command = [sys.executable, "-P", "-m", warming.__name__, str(os.getpid())]
            self._compiler = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 — all of it is ours

    def run(self) -> None:
        """Waits for the other process and loads what it has compiled; or compiles here."""
        try:
            if self._compiler is None:
                warming.compile_all()
            else:
                self._compiler.wait()
                if self._stopped:
                    return
                warming.warm_up()
        except Exception:
            _log.exception("compiling the derivation failed; the first events try it again")
        settle()
        self._service.problem = None

    def stop(self) -> None:
        """Ends the other process."""
        self._stopped = True
        if self._compiler is not None:
            self._compiler.kill()
            self._compiler.wait()


def compile_beside(service: Service, stack: ExitStack) -> None:
    """Compiles the derivation while the server listens, until the stack ends."""
    thread = Warming(service)
    stack.callback(thread.stop)
    thread.start()


def end() -> NoReturn:
    """Ends the process, when all is closed, whatever threads still do that nobody waits for.

    Not by Python's own way out: it would wait for those threads, or take away under them what they use. A thread of
    the HTTP server that comes back to Python in that moment aborts the process, before Python 3.14.
    """
    until = time.monotonic() + ENDING_S
    for thread in threading.enumerate():
        if thread.name.startswith(QUERIES):
            thread.join(max(0, until - time.monotonic()))
    sys.stdout.flush()
    logging.shutdown()
    os._exit(0)


def check_tls(cert: Path, key: Path) -> None:
    """Raises InputError where these are not a certificate and its key."""
    open_regular(cert, PEM_MAX).close()
    text = read_regular(key, PEM_MAX)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise InputError(
            f"{cert} and {key} are no certificate (PEM) and its key (PEM, without a password): {error}"
        ) from error
    if not _can_be_used(text):
        raise InputError(f"{key} is of a kind that cannot be used here: RSA, P-256, P-384 and Ed25519 can")


def _can_be_used(pem: bytes) -> bool:
    """Whether the HTTP server can use this kind of key. With another one it would end without an error message."""
    found = _PRIVATE_KEY.search(pem)
    try:
        key = load_pem_private_key(found[0] if found else pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    of_curve = isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
    return of_curve or isinstance(key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey)


def _no_password() -> str:
    raise ValueError("the key has a password")


def free(host: str, port: int, stack: ExitStack) -> tuple[str, int]:
    """The IP address and the port to listen on, reserved until the stack ends. Raises InputError where that fails."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = min(found, key=lambda each: each[0] != socket.AF_INET)
        # Without it the port could become another program's, or a client's, until the HTTP server takes it. As there,
        # a port that waits after an earlier one is free, one that is listened on is not.
        kept = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(place)
        port = int(kept.getsockname()[1])
        if sys.platform != "linux":
            kept.close()  # Elsewhere not even the HTTP server could take it.
        return str(place[0]), port
    except OSError as error:
        raise InputError(f"cannot listen on {host}, port {port}: {error.strerror}") from error


def address_of(listen: ListenSettings) -> str:
    """The address of a server, for people."""
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    return f"{'https' if listen.tls_cert else 'http'}://{host}:{listen.port}"
