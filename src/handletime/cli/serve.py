"""`handletime serve`: runs the service until a signal stops it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
from click import ParameterSource

from handletime.api.stopping import Signals
from handletime.cli.settings import config_file, settings_of, settings_options, source_of
from handletime.settings import SETTINGS

_OF_STORES: Final = ("folder", "retain_days", "ingest_requests", "ingest_bytes", "conversation_events")
"""Settings that have no effect without a store."""
_OF_LAKES: Final = ("keys", "events")
"""Settings that have no effect with a store."""


@click.command(
    short_help="Serve the APIs over a store, or over tables.",
    epilog="Each option can also be set in the environment (--log-level as HANDLETIME_LOG_LEVEL) or in the file of "
    '--config (log-level = "debug"). Flags come before the environment, both before the file. '
    "`handletime config show` says what is set, and where.",
)
@settings_options
@click.pass_context
def serve(ctx: click.Context, /, **values: Any) -> None:
    """Serve LivePerson's Actual Handle Time and Messaging Operations APIs, and take events in, over one store.

    A new store is made where there is none. One line on standard output says where it listens, as soon as it does;
    the log goes to standard error, a JSON object a line. SIGTERM and Ctrl-C stop it: what is in flight is answered.

    With --lake, the same is served over Delta tables, read-only, by any number of servers: no events are taken in,
    only bearer keys count, and the page has no Now. Conversations are explained where --events says what happened.
    """
    if values["lake"] is not None:
        _check_lake(ctx, values["keys"])
        values["folder"] = values["lake"]
    else:
        _check_store(ctx, values["folder"])
    settings = settings_of(values)
    signals = Signals()  # Before what takes long, and may keep an interruption to itself.
    from handletime.cli.server import run

    def listening(address: str) -> None:
        click.echo(f"handletime serves {settings.folder} at {address}")

    run(settings, config_file(ctx), signals, listening)


def _check_store(ctx: click.Context, folder: Path | None) -> None:
    for field in _OF_LAKES:
        if _is_given(ctx, field):
            raise click.UsageError(f"{source_of(ctx, field)} belongs to --lake, which is not given")
    if folder is None:
        raise click.UsageError("Missing option '--data' (a store) or '--lake' (tables).")


def _check_lake(ctx: click.Context, keys: Path | None) -> None:
    for field in _OF_STORES:
        # Containers and units name the folder of a store in the environment, whatever is served.
        in_environment = ctx.get_parameter_source(field) is ParameterSource.ENVIRONMENT
        if _is_given(ctx, field) and not (field == "folder" and in_environment):
            raise click.UsageError(
                f"{source_of(ctx, field)} is for a store, and means nothing with {source_of(ctx, 'lake')}"
            )
    if keys is None:
        raise click.UsageError(
            f"--lake needs --{SETTINGS['keys'].name}; `handletime keys create ACCOUNT --file keys.json` makes a file"
        )


def _is_given(ctx: click.Context, field: str) -> bool:
    return ctx.get_parameter_source(field) not in (ParameterSource.DEFAULT, None)
