"""`handletime ingest`: events from files into a store, directly or through its server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from handletime.cli.connecting import target
from handletime.cli.console import account_option, reading, token_option
from handletime.settings import DEFAULTS, SETTINGS

if TYPE_CHECKING:
    from handletime.cli.sending import Tally
    from handletime.errors import InvalidEvents


@click.command(short_help="Bring events from files into a store.")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--data",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the store, while no server runs on it.",
)
@click.option("--url", metavar="URL", help="Or the address of a running server.")
@token_option("--token", "ingest", "--url")
@click.option(
    "--conversation-events",
    type=SETTINGS["conversation_events"].type,
    show_default=str(DEFAULTS["conversation_events"]),
    metavar=SETTINGS["conversation_events"].metavar,
    help="Events that one conversation may have, with --data; a server has a setting of its own.",
)
@account_option()
def ingest(
    files: tuple[str, ...],
    folder: Path | None,
    url: str | None,
    token: str | None,
    conversation_events: int | None,
    account: str,
) -> None:
    """Bring events into a store: NDJSON, a JSON array or Parquet; plain, gzip or zstd; `-` is standard input.

    What is stored already is a duplicate and changes nothing: after whatever stopped it, run the same command again.
    """
    from handletime.cli.sending import Tally
    from handletime.errors import InvalidEvents
    from handletime.events.read import good_events

    tally = Tally()
    try:
        named = target(folder, url, token, conversation_events, options=("--url", "--token"))
        with named as store, reading(files, account, derives=url is None) as (blocks, progress):
            try:
                for events in good_events(blocks):
                    store.put(events, tally)
            except InvalidEvents:
                store.finish(tally)  # Stores what came before the faults.
                raise
            progress("storing", 0, 0)
            store.finish(tally)
    except InvalidEvents as error:
        raise click.ClickException(_faults(error, tally)) from error
    except BaseException:
        if tally.accepted or tally.duplicates:
            told = f"Before it stopped: {tally.said()}. When these come again they are duplicates."
            click.echo(told, err=True)
        raise
    click.echo(tally.said())


def _faults(error: InvalidEvents, tally: Tally) -> str:
    before = f"Of what came before: {tally.said()}."
    return "\n".join(
        [f"{error.count()}:", *(f"  {fault}" for fault in error.faults), before, "Mend the file and run it again."]
    )
