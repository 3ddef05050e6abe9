"""`handletime serve`: the service, until it is told to stop."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import click

from handletime.cli.console import Size
from handletime.cli.folder import data_option


def _public_url(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not _is_public_url(value):
        raise click.BadParameter("must be as clients see it: https://reports.example.com")
    return value


def _is_public_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        _ = parts.port  # Raises where it is none.
    except ValueError:
        return False
    more = parts.query or parts.fragment or parts.username
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not more and value.isascii()


_PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Serve the APIs over a store.")
@data_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port to listen on; 0 is any."
)
@click.option("--tls-cert", type=_PEM, metavar="FILE", help="Certificate chain (PEM), to serve https.")
@click.option("--tls-key", type=_PEM, metavar="FILE", help="Its key (PEM, without a password).")
@click.option("--public-url", callback=_public_url, metavar="URL", help="Where clients see it, if behind a proxy.")
@click.option(
    "--memory",
    type=Size(),
    default="1GiB",
    show_default=True,
    help="Memory for the database; what is being ingested comes on top.",
)
def serve(
    folder: Path,
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    public_url: str | None,
    memory: int,
) -> None:
    """Serve LivePerson's Actual Handle Time and Messaging Operations APIs, and take events in, over one store.

    A new store is made where there is none. One line on standard output says where it listens, as soon as it does;
    the log goes to standard error, a JSON object a line. SIGTERM and Ctrl-C stop it: what is in flight is answered.
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    from handletime.cli.server import ServerSettings, run

    run(
        ServerSettings(
            folder=folder,
            host=host,
            port=port,
            tls_cert=tls_cert,
            tls_key=tls_key,
            public_url=public_url,
            memory_bytes=memory,
        ),
        lambda address: click.echo(f"handletime serves {folder} at {address}"),
    )
