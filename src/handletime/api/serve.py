"""Serves the application with granian until a signal stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.server.embed import Server
from litestar.types import ASGIApp

from handletime.api.connections import Connections
from handletime.api.stopping import Signals

HEADER_TIMEOUT_MS = 10_000
HEADER_BYTES = 64 << 10
BACKLOG = 1024
"""The number of connections that may wait to be accepted."""
GRACE_S = 20.0
"""Seconds that requests under way have after the signal to stop."""


class ListenSettings(msgspec.Struct, frozen=True):
    """Where to listen; over TLS with a certificate and its key (PKCS#8)."""

    host: str = "127.0.0.1"
    port: int = 8080
    tls_cert: Path | None = None
    tls_key: Path | None = None


def make_server(app: ASGIApp, listen: ListenSettings, connections: int = BACKLOG) -> Server:
    """A server that is not yet started, for a number of connections. Has to be made inside a running event loop."""
    return Server(
        app,
        address=listen.host,
        port=listen.port,
        interface=Interfaces.ASGI,
        # Not HTTP/2: a client that withdraws requests as soon as they are begun can send the next ones without an
        # answer, and each is still begun here. Two seconds of that took a gigabyte.
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=connections,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS, max_buffer_size=HEADER_BYTES),
        ssl_cert=listen.tls_cert,
        ssl_key=listen.tls_key,
        ssl_protocol_min=SSLProtocols.tls12,
        log_enabled=False,
    )


async def serve(
    app: ASGIApp,
    listen: ListenSettings,
    connections: Connections,
    signals: Signals,
    listening: Callable[[], None] = lambda: None,
    stopping: Callable[[], None] = lambda: None,
) -> None:
    """Serves until SIGTERM or SIGINT. Requests under way are still answered, for `GRACE_S` at most.

    `listening` is called as soon as the server listens. `stopping` is called when it is told to stop, and has to end
    answers that would go on for long.
    """
    server = make_server(connections.noting(app), listen, connections.room)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopping()
        connections.stop_within(GRACE_S)
        server.stop()  # type: ignore[no-untyped-call]

    def wake() -> None:
        with suppress(RuntimeError):  # The loop has ended by itself.
            loop.call_soon_threadsafe(lambda: None)

    signals.at_first(lambda _: loop.call_soon_threadsafe(stop), wake)
    serving = loop.create_task(server.serve())
    while not serving.done() and not await _accepts(listen):
        await asyncio.sleep(0.01)
    if not serving.done():
        connections.watch(listen.port)
        listening()
    await serving
    connections.stop()
    signals.at_first(lambda _: None)  # The signals live longer than all that there is to stop.
    if server.interrupt_children:
        raise RuntimeError("the HTTP server ended by itself")


async def _accepts(listen: ListenSettings) -> bool:
    try:
        _, writer = await asyncio.open_connection(listen.host, listen.port)
    except OSError:
        return False
    writer.close()
    return True
