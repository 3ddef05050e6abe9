"""Where commands bring events: options for it, and the target that they name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from handletime.cli.console import token_option
from handletime.settings import DEFAULTS

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from handletime.cli.sending import Target

F = TypeVar("F", bound=Callable[..., object])


def target_options(command: F) -> F:
    """`--data`, or `--to` and `--key`, as `folder`, `server` and `key`."""
    options = (
        click.option(
            "--data",
            "folder",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="DIR",
            help="Folder of the store that events go to, while no server runs on it.",
        ),
        click.option("--to", "server", metavar="SERVER", help="Or the address of a running server."),
        token_option("--key", "ingest", "--to"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def target(
    folder: Path | None,
    server: str | None,
    token: str | None,
    conversation_events: int | None = None,
    *,
    options: tuple[str, str] = ("--to", "--key"),
) -> AbstractContextManager[Target]:
    """The store of a folder, or a server; `options` are what its address and its token are called.

    Raises UsageError where the options name neither or both.
    """
    from handletime.cli.sending import server_target, store_target

    address, key = options
    if folder is not None and server is None:
        return store_target(folder, conversation_events or DEFAULTS["conversation_events"])
    if server is None or folder is not None:
        raise click.UsageError(f"name either --data DIR, or {address} URL and {key} TOKEN")
    if conversation_events is not None:
        raise click.UsageError(f"--conversation-events counts with --data; the server of {address} has its own setting")
    if not token:
        raise click.UsageError(f"{address} needs {key}, or HANDLETIME_TOKEN in the environment")
    return server_target(server, token)
