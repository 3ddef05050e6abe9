"""`handletime import sql`: what any system exports becomes events, by a mapping in SQL."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING

import click

from handletime.answers.words import count
from handletime.cli.console import account_option, memory_option, progress_bar, tell_compiling
from handletime.cli.eventfile import OUT_HELP, event_file, out_path
from handletime.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from handletime.sources.sql.columns import Mapped
    from handletime.sources.sql.engine import Engine
    from handletime.sources.sql.files import Csv

FAULTS_SHOWN = 20
BATCH_ROWS = 50_000


def _example(context: click.Context, _parameter: click.Parameter, name: str | None) -> None:
    if name is None:
        return
    from handletime.sources.sql.shipped import shipped

    click.echo(shipped(name), nl=False)
    context.exit()


def _out(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    return out_path(context, parameter, value) if value else None


def _inputs(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, list[str]]:
    inputs: dict[str, list[str]] = {}
    for value in values:
        name, equals, file = value.partition("=")
        if not (name and equals and file):
            raise click.BadParameter(f"{value}: write NAME=FILE, as in agents=agents.csv")
        inputs.setdefault(name, []).append(file)
    return inputs


@click.command(
    short_help="Anything else, by a mapping in SQL.",
    epilog="""\b
A mapping is one select over `input`, whose columns are those of events:
  select conversation as "conversationId", id as "eventId", 'opened' as "type",
         created_at::timestamp at time zone 'Europe/Berlin' as "time", "row"
  from input
\b
Begin with a shipped one:
  handletime import sql --example csv > mine.sql
  handletime import sql mine.sql export.csv --check
  handletime import sql mine.sql export.csv --out events.parquet
\b
docs/mappings.md says what events need, and has a page for each shipped mapping.""",
)
@click.argument("mapping", metavar="MAPPING")
@click.argument("files", nargs=-1, metavar="FILE…")
@click.option("--out", callback=_out, metavar="FILE", help=OUT_HELP)
@click.option("--check", is_flag=True, help="Map without writing; say what is doubtful, and explain one conversation.")
@click.option("--faults", type=click.File("w"), metavar="FILE", help="Write what was found wrong to a file, all of it.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    callback=_inputs,
    metavar="NAME=FILE",
    help="One more relation for the mapping, of that name; may be given again. FILE… is the relation `input`.",
)
@click.option("--delimiter", metavar="CHARACTER", help="CSV: what stands between columns; a comma, in .tsv a tab.")
@click.option("--quote", default='"', show_default=True, metavar="CHARACTER", help="CSV: what texts are quoted with.")
@click.option("--encoding", default="utf-8", show_default=True, help="CSV: utf-8, utf-16 or latin-1.")
@click.option("--header/--no-header", default=True, help="CSV: whether line 1 names the columns (else column0, …).")
@click.option("--null", default="", metavar="TEXT", help="CSV: what stands where there is nothing, such as NULL.")
@memory_option
@account_option()
@click.option(
    "--example",
    is_eager=True,
    expose_value=False,
    callback=_example,
    metavar="NAME",
    help="Print a shipped mapping and stop: csv, zendesk, rocketchat, intercom, twilio or genesys.",
)
def sql(
    mapping: str,
    files: tuple[str, ...],
    out: str | None,
    check: bool,
    faults: IO[str] | None,
    inputs: dict[str, list[str]],
    delimiter: str | None,
    quote: str,
    encoding: str,
    header: bool,
    null: str,
    memory: int,
    account: str,
) -> None:
    """Turn what any system exports into events, by a mapping in SQL.

    MAPPING is a file with one select, or the name of a shipped mapping. FILE is CSV (all columns are text), JSON or
    NDJSON (each record is `body`), or Parquet. Rows that make no event are reported with their number; the others are
    written. Only columns of events leave: message texts and names stay where they are.
    """
    from handletime.cli.mapping_check import Check
    from handletime.events.book import is_account
    from handletime.sources.sql.files import Csv
    from handletime.sources.sql.shipped import is_shipped, page_told

    if files:
        inputs["input"] = [*files, *inputs.get("input", [])]
    if "input" not in inputs:
        raise click.UsageError("give the FILE to map, or --input NAME=FILE")
    if check == bool(out):
        raise click.UsageError("give --out FILE to write events, or --check to look at them first")
    if not is_account(account):
        raise click.BadParameter("must be 1 to 64 letters and digits (a-z, A-Z, 0-9)", param_hint="--account")
    csv = Csv(delimiter.replace("\\t", "\t") if delimiter else None, quote, encoding, header, null)
    told, conversations, written, by_input = [], set[str](), 0, True
    looked = Check()
    with ExitStack() as stack:
        write = stack.enter_context(event_file(out)) if out else looked.add
        for mapped in _mapped(mapping, inputs, csv, memory, account):
            write(mapped.events)
            written += mapped.events.num_rows
            conversations.update(mapped.events["conversationId"].unique().to_pylist())
            told += [f"{mapping}: {fault}" for fault in mapped.faults]
            by_input &= mapped.by_input
    for line in told if faults else told[:FAULTS_SHOWN]:
        click.echo(line, file=faults or sys.stderr)
    if len(told) > FAULTS_SHOWN and not faults:
        click.echo(f"… and {len(told) - FAULTS_SHOWN:,} more; --faults FILE has them all", err=True)
    if told and not by_input:
        click.echo('These count the rows of the result; with "row" as a column, faults name the row of FILE.', err=True)
    if out != "-":
        made = f"{count(written, 'event')} of {count(len(conversations), 'conversation')}"
        click.echo(f"{out or 'would be written'}: {made}; {count(len(told), 'thing')} found wrong")
    if not written and is_shipped(mapping):
        click.echo(page_told(mapping), err=True)
    if check:
        looked.tell(memory)
    elif told and not written:
        sys.exit(1)


def _schema(engine: Engine, mapping: str, inputs: dict[str, list[str]]) -> pa.Schema:
    """The mapping's columns. Raises InputError, which says what the files have where a column is missing."""
    from handletime.sources.sql.engine import ColumnMissing
    from handletime.sources.sql.files import columns_told
    from handletime.sources.sql.shipped import is_shipped, page_told

    try:
        return engine.schema()
    except ColumnMissing as error:
        columns = columns_told(engine, inputs)
        if not is_shipped(mapping):
            raise InputError(f"{error}\n{columns}") from None
        json = " of JSON files" if error.column == "body" else ""
        needed = f"{mapping}: needs the column {error.column}{json}, which is missing"
        raise InputError(f"{needed}\n{columns}\n{page_told(mapping)}") from None


def _mapped(mapping: str, inputs: dict[str, list[str]], csv: Csv, memory: int, account: str) -> Iterator[Mapped]:
    """Batches of the mapping's events and faults. Raises InputError."""
    from handletime.sources.sql.columns import check_columns, decoded
    from handletime.sources.sql.engine import Engine
    from handletime.sources.sql.files import load
    from handletime.sources.sql.shipped import mapping_text

    with tempfile.TemporaryDirectory(prefix=".handletime-") as spill, progress_bar("reading") as (bar, task):
        engine = Engine(mapping_text(mapping), mapping, memory_bytes=memory, spill=spill)
        try:
            load(engine, inputs, csv)
            engine.lock()
            check_columns(_schema(engine, mapping, inputs), mapping)
            tell_compiling(derives=False)
            first = 1
            for batch in engine.run(BATCH_ROWS):
                bar.update(task, description=f"mapped {first + batch.rows.num_rows - 1:,} rows")
                yield decoded(batch, account=account, first_row=first)
                first += batch.rows.num_rows
        finally:
            engine.close()
