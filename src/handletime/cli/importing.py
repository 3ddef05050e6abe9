"""`handletime import`: other systems' records become events."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import IO

import click

from handletime.answers.words import count
from handletime.cli.eventfile import OUT_HELP, event_file, out_path
from handletime.cli.import_sql import sql

FAULTS_SHOWN = 20


@click.group("import", short_help="Turn other systems' records into events.")
def import_() -> None:
    """Turn other systems' records into events. Message text and personal data are dropped at the door."""


@import_.command(short_help="LivePerson's messaging history.")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--out", required=True, callback=out_path, metavar="FILE", help=OUT_HELP)
@click.option("--faults", type=click.File("w"), metavar="FILE", help="Write what was found wrong to a file, all of it.")
def liveperson(files: tuple[str, ...], out: str, faults: IO[str] | None) -> None:
    """Turn LivePerson's messaging history (conversations/search) into events.

    FILE is an answer, an array of records, or a record a line; plain, gzip or zstd; `-` is standard input. The same
    record twice, or a newer copy of it, makes no doubles. What is missing in a record or contradicts itself is
    reported; the rest of it is imported. There is no focus in the history: handle time is unknown.
    """
    from handletime.events.model import DEFAULT_ACCOUNT
    from handletime.events.unpack import opened
    from handletime.sources.liveperson import read_history
    from handletime.sources.tables import tables_of_lines

    with ExitStack() as stack:
        streams = [(_name(file), stack.enter_context(opened(file))) for file in files]
        history = read_history(streams)
        write = stack.enter_context(event_file(out))
        written, conversations = 0, set[str]()
        for table in tables_of_lines(history.lines, account=DEFAULT_ACCOUNT):
            write(table)
            written += table.num_rows
            conversations.update(table["conversationId"].unique().to_pylist())
    told = [str(fault) for fault in history.faults]
    for line in told if faults else told[:FAULTS_SHOWN]:
        click.echo(line, file=faults or sys.stderr)
    if len(told) > FAULTS_SHOWN and not faults:
        click.echo(f"… and {len(told) - FAULTS_SHOWN:,} more; --faults FILE has them all", err=True)
    if out != "-":
        found = count(len(told), "thing") + " found wrong"
        click.echo(f"{out}: {count(written, 'event')} of {count(len(conversations), 'conversation')}; {found}")


def _name(file: str) -> str:
    return "standard input" if file == "-" else file


import_.add_command(sql)
