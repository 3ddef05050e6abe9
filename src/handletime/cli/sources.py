"""`handletime sources`: how deliveries of other systems (webhooks) fare. Works while the server runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from handletime.answers.words import count, utc
from handletime.cli.folder import data_option, side_file

if TYPE_CHECKING:
    from handletime.deliveries.file import Deliveries, Standing

WAITED_S: Final = 10.0
"""Seconds that `retry` waits for the server to have tried again."""
LOOKED_S: Final = 0.2
PROBLEMS_SHOWN: Final = 5


@click.group(short_help="See how webhooks of other systems fare.")
def sources() -> None:
    """See how deliveries of other systems (webhooks) fare, and try again those that could not be mapped.

    Which sources there are stands in the server's settings file, as [source.NAME], or was set up by `handletime
    connect`; docs/webhooks.md says how.
    """


@sources.command(short_help="What came of each source, and what could not be mapped.")
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status(folder: Path, as_json: bool) -> None:
    """Print what came of each source: how many deliveries became events, held none, wait, or could not be mapped.

    What could not be mapped is kept for a week, without texts, with the reason.
    """
    import msgspec

    from handletime.keys.sources import source_names

    with opened_deliveries(folder) as deliveries, side_file(folder) as side:
        is_there = deliveries is not None
        found = deliveries.standings() if deliveries else []
        heard = {(each.account, each.source) for each in found}
        silent = [each for each in source_names(side) if each not in heard]
    if as_json:
        click.echo(msgspec.json.encode([each._asdict() for each in found]))
        return
    told = [*map(_said, found), *(f"{name} of account {account}: nothing has come yet" for account, name in silent)]
    if not is_there:
        told.append("There is no file of deliveries: a server makes it when it starts. Was it removed? Start it anew.")
    elif not found:
        told.append("No delivery has come yet. docs/webhooks.md says what to do when none comes.")
    click.echo("\n\n".join(told))


def _said(standing: Standing) -> str:
    last = f", last at {_utc(standing.last)}" if standing.last is not None else ""
    lines = [
        f"{standing.source} of account {standing.account}{last}",
        f"  {count(standing.mapped, 'delivery', 'deliveries')} became events, {standing.empty:,} held none",
    ]
    if standing.oldest is not None:
        lines.append(f"  {standing.waiting:,} wait to be mapped, since {_utc(standing.oldest)}")
    kept = f", of which {standing.kept:,} are kept, to be tried again" if standing.kept else ""
    lines.append(f"  {standing.refused:,} could not be mapped{kept}" + (":" if standing.problems else ""))
    shown = list(standing.problems.items())
    lines += [f"    {number:,} × {problem}" for problem, number in shown[:PROBLEMS_SHOWN]]
    if len(shown) > PROBLEMS_SHOWN:
        lines.append(f"    … and {len(shown) - PROBLEMS_SHOWN:,} other reasons; --json has them all")
    return "\n".join(lines)


@sources.command(short_help="Try again what could not be mapped.")
@data_option
@click.argument("name", required=False)
def retry(folder: Path, name: str | None) -> None:
    """Try again the deliveries of a source, or of all, that could not be mapped: after a mapping was mended.

    The running server maps them at once, else the next one that starts. They have lost their texts: where a mapping
    needs one, its key has to stand in the source's setting `keep` before the delivery comes.
    """
    with opened_deliveries(folder) as deliveries:
        _known(deliveries, name)
        numbers = deliveries.retry(name) if deliveries else []
        if not numbers or not deliveries:
            click.echo("There is nothing to try again.")
            return
        until = time.monotonic() + WAITED_S
        while (waiting := deliveries.still_waiting(numbers)) and time.monotonic() < until:
            time.sleep(LOOKED_S)
        again = deliveries.still_refused(numbers)
    tried = count(len(numbers), "delivery", "deliveries")
    if waiting:
        click.echo(f"{tried} will be tried again; {waiting:,} still wait: they are mapped while the server runs.")
    else:
        click.echo(f"{tried} tried again: {len(numbers) - again:,} mapped, {again:,} refused again.")


def _utc(millis: int) -> str:
    return utc(datetime.fromtimestamp(millis / 1000, UTC))


@sources.command(short_help="Remove what could not be mapped.")
@data_option
@click.argument("name", required=False)
def discard(folder: Path, name: str | None) -> None:
    """Remove at once the deliveries of a source, or of all, that could not be mapped and are kept for a week."""
    with opened_deliveries(folder) as deliveries:
        _known(deliveries, name)
        number = deliveries.discard(name) if deliveries else 0
    click.echo(f"{count(number, 'delivery', 'deliveries')} removed.")


@sources.command(short_help="Remove a source that `connect` has set up.")
@data_option
@click.argument("account")
@click.argument("name")
def remove(folder: Path, account: str, name: str) -> None:
    """Remove a source of an account that `handletime connect` has set up: its deliveries are refused from now on.

    The webhook in the other system stays: remove it there. A source of the settings file goes with its table there.
    """
    from handletime.keys.sources import remove_source, source_names

    _check(folder)
    with side_file(folder) as side:
        if remove_source(side, account, name):
            click.echo(f"{name} of account {account} is removed.")
            return
        names = ", ".join(f"{each} of {whose}" for whose, each in source_names(side)) or "none"
    raise click.UsageError(f"there is no source {name} of account {account} in {folder}; set up by connect: {names}")


def _known(deliveries: Deliveries | None, name: str | None) -> None:
    """Raises UsageError where nothing has ever come of a source of this name."""
    if name is None:
        return
    names = sorted({each.source for each in deliveries.standings()}) if deliveries else []
    if name not in names:
        told = ", ".join(names) or "none"
        raise click.UsageError(f"nothing has come of a source {name}; sources of which something came: {told}")


def _check(folder: Path) -> None:
    from handletime.store.opening import FILE

    if not (folder / FILE).exists():
        raise click.UsageError(f"{folder} has no store: there is no {FILE} in it")


@contextmanager
def opened_deliveries(folder: Path) -> Iterator[Deliveries | None]:
    """The deliveries of a store; None where no server has made their file yet. Raises what `Deliveries` raises."""
    from handletime.deliveries.file import FILE, Deliveries

    _check(folder)
    if not (folder / FILE).exists():
        yield None
        return
    with Deliveries(folder) as deliveries:
        yield deliveries
