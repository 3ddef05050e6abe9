"""`handletime serve`: the service, until it is told to stop."""

from __future__ import annotations

import click

from handletime.cli.settings import settings_of, settings_options
from handletime.settings import ServerSettings


@click.command(
    short_help="Serve the APIs over a store.",
    epilog="Each option can also be set in the environment (--log-level as HANDLETIME_LOG_LEVEL) or in the file of "
    '--config (log-level = "debug"). Flags come before the environment, both before the file. '
    "`handletime config show` says what is set, and where.",
)
@settings_options()
@settings_of
def serve(settings: ServerSettings) -> None:
    """Serve LivePerson's Actual Handle Time and Messaging Operations APIs, and take events in, over one store.

    A new store is made where there is none. One line on standard output says where it listens, as soon as it does;
    the log goes to standard error, a JSON object a line. SIGTERM and Ctrl-C stop it: what is in flight is answered.
    """
    from handletime.cli.server import run

    run(settings, lambda address: click.echo(f"handletime serves {settings.folder} at {address}"))
