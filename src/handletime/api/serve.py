"""Serves the application with granian until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server.embed import Server
from litestar.types import ASGIApp

HEADER_TIMEOUT_MS = 10_000
HEADER_BYTES = 64 << 10
CONNECTIONS = 1024


class ListenSettings(msgspec.Struct, frozen=True):
    """Where to listen. With a certificate and its key (PKCS#8), over TLS."""

    host: str = "127.0.0.1"
    port: int = 8080
    tls_cert: Path | None = None
    tls_key: Path | None = None


def make_server(app: ASGIApp, listen: ListenSettings) -> Server:
    """A server that is not yet started; has to be made inside a running event loop."""
    return Server(
        app,
        address=listen.host,
        port=listen.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.auto if listen.tls_cert else HTTPModes.http1,
        websockets=False,
        backlog=CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS, max_buffer_size=HEADER_BYTES),
        http2_settings=HTTP2Settings(max_headers_size=HEADER_BYTES),
        ssl_cert=listen.tls_cert,
        ssl_key=listen.tls_key,
        ssl_protocol_min=SSLProtocols.tls12,
        log_enabled=False,
    )


async def serve(
    app: ASGIApp,
    listen: ListenSettings,
    listening: Callable[[], None] = lambda: None,
    stopping: Callable[[], None] = lambda: None,
) -> None:
    """Serves until SIGTERM or SIGINT; what is in flight then is answered. `listening` is called as soon as it does.

    `stopping` is called when it is told to stop, and has to end the answers that would go on for long.
    """
    server = make_server(app, listen)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopping()
        server.stop()  # type: ignore[no-untyped-call]

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    serving = loop.create_task(server.serve())
    while not serving.done() and not await _accepts(listen):
        await asyncio.sleep(0.01)
    if not serving.done():
        listening()
    await serving
    if server.interrupt_children:
        raise RuntimeError("the HTTP server ended by itself")


async def _accepts(listen: ListenSettings) -> bool:
    try:
        _, writer = await asyncio.open_connection(listen.host, listen.port)
    except OSError:
        return False
    writer.close()
    return True
