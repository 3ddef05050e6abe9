"""The command line: `handletime COMMAND …`."""

from __future__ import annotations

import sys

import click

from handletime import __version__
from handletime.cli.config import config
from handletime.cli.connect import connect
from handletime.cli.derive import derive
from handletime.cli.explain import explain
from handletime.cli.importing import import_
from handletime.cli.ingest import ingest
from handletime.cli.keys import keys
from handletime.cli.report import report
from handletime.cli.serve import serve
from handletime.cli.simulate import simulate
from handletime.cli.sources import sources
from handletime.cli.targets import targets
from handletime.cli.tracker import tracker
from handletime.cli.upkeep import UPKEEP
from handletime.errors import HandletimeError, InvalidEvents


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Start here:
  handletime simulate --out day.ndjson           a made-up working day
  handletime report day.ndjson --by agent        who handled what, how fast
  handletime explain day.ndjson --conversation ID
                                                 why a number is so
  handletime derive day.ndjson --out tables      everything, as Parquet""",
)
@click.version_option(__version__, prog_name="handletime")
def cli() -> None:
    """The truth about messaging work: who handled what, for how long, how fast, with what outcome.

    handletime reads conversation events (opened, assigned, messages, focus, transfers, close) and derives agent
    segments, skill segments and handle time, each number with the events it came from.
    """


for _command in (
    *(report, explain, derive, simulate, import_, connect, serve, ingest, keys, sources, tracker, targets, config),
    *UPKEEP,
):
    cli.add_command(_command)


def main() -> None:
    """Runs the command line; what is wrong is said in a sentence, without a traceback."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Stopped; nothing was left half done.", err=True)
        sys.exit(130)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except InvalidEvents as error:
        click.echo(_faults(error), err=True)
        sys.exit(1)
    except (HandletimeError, OSError) as error:
        click.secho("Error: ", fg="red", bold=True, err=True, nl=False)
        click.echo(str(error), err=True)
        sys.exit(1)


def _faults(error: InvalidEvents) -> str:
    head = click.style("Error: ", fg="red", bold=True) + f"{error.count()}; nothing was derived."
    hint = "Mend them, or let `handletime derive --skip-invalid` set them aside."
    return "\n".join([head, *(f"  {fault}" for fault in error.faults), hint])
