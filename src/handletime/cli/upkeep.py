"""The upkeep of a store: `rebuild`, `check`, `prune`, `forget`, `backup`, `restore`, `export`.

All but `restore` work beside a running server, through it, and without one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from handletime.answers.words import count, utc
from handletime.cli.console import Instant, progress_bar
from handletime.cli.folder import data_option
from handletime.cli.sources import opened_deliveries
from handletime.settings import Size

if TYPE_CHECKING:
    from handletime.segments.parts import Progress
    from handletime.upkeep.commands import Command, Result
    from handletime.upkeep.rebuild import Rebuilt

    R = TypeVar("R", bound=Result)

_FOLDER = click.Path(path_type=Path)


@click.command(short_help="Derive everything anew, and put right what differs.")
@data_option
@click.option("--memory", type=Size(), metavar="SIZE", help="Memory to keep to.  [default: that of the database]")
@click.option("--dry-run", is_flag=True, help="Only compare.")
def rebuild(folder: Path, memory: int | None, dry_run: bool) -> None:
    """Derive everything anew from the stored events and compare every row with what is stored.

    Where they differ, the right rows take the place of the wrong ones. Ends with 0 only if all was right before.
    Can be interrupted, and be run while events come in.
    """
    from handletime.upkeep.commands import Rebuild
    from handletime.upkeep.rebuild import Rebuilt

    rebuilt = _ask(folder, Rebuild(memory, dry_run), Rebuilt)
    click.echo("\n".join(_rebuilt(rebuilt)))
    sys.exit(1 if rebuilt.differences else 0)


def _rebuilt(rebuilt: Rebuilt) -> Iterator[str]:
    rows = count(sum(rebuilt.rows.values()), "row")
    verb = "gives" if rebuilt.events == 1 else "give"
    yield f"{count(rebuilt.events, 'event')} of {count(rebuilt.conversations, 'conversation')} {verb} {rows}"
    if not rebuilt.differences:
        yield "All rows are identical with those that are stored."
        return
    yield f"{count(rebuilt.differences, 'difference')}, by table and conversation:"
    for each in rebuilt.shown:
        rows = f"{each.stored:,} stored, {each.derived:,} derived"
        yield f"  {each.table}  {each.account_id} {each.conversation_id}: {rows}"
    if rebuilt.differences > len(rebuilt.shown):
        yield "  …"
    if rebuilt.mended:
        yield f"{count(rebuilt.mended, 'conversation')} put right. Run it again to see that nothing differs."
    else:
        yield "Nothing was changed; without --dry-run they are put right."


@click.command(short_help="Verify a store and what lies beside it.")
@data_option
def check(folder: Path) -> None:
    """Verify all that can be verified without deriving anew; name what is broken, and end with 1 then."""
    from handletime.upkeep.commands import Check, Checked

    checked = _ask(folder, Check(), Checked)
    for problem in checked.problems:
        click.echo(f"broken: {problem}")
    if checked.problems:
        click.echo("`handletime rebuild` puts derived rows right; for the rest restore a backup (docs/upkeep.md).")
        sys.exit(1)
    click.echo("Nothing is broken.")


@click.command(short_help="Remove old conversations.")
@data_option
@click.option("--before", type=Instant(), required=True, metavar="DATE", help="Remove what ended before.")
@click.option("--dry-run", is_flag=True, help="Only count.")
def prune(folder: Path, before: int, dry_run: bool) -> None:
    """Remove all conversations whose last event is older than a date or time; whole ones only.

    The others' numbers stay as they are (rules 1, "Removing").
    """
    from handletime.upkeep.commands import Prune, Removed

    removed = _ask(folder, Prune(before, dry_run), Removed)
    verb = "would be removed" if dry_run else "removed"
    click.echo(f"{count(removed.conversations, 'conversation')} {verb}")


@click.command(short_help="Remove one conversation.")
@data_option
@click.option("--account", required=True, metavar="ACCOUNT", help="Its account.")
@click.option("--conversation", required=True, metavar="ID", help="Its id.")
def forget(folder: Path, account: str, conversation: str) -> None:
    """Remove one conversation and the made files that name it. docs/upkeep.md says what stays where."""
    from handletime.upkeep.commands import Forget, Removed

    removed = _ask(folder, Forget(account, conversation), Removed)
    if removed.conversations:
        click.echo("1 conversation removed")
    with opened_deliveries(folder) as deliveries:
        standings = deliveries.standings() if deliveries else []
    if kept := sum(each.kept for each in standings if each.account == account):
        which = f"{count(kept, 'delivery', 'deliveries')} of account {account} that could not be mapped"
        told = "`handletime sources discard` removes what is kept of them"
        click.echo(f"{which} may have its id, and would bring it back where they are tried again: {told}", err=True)
    if not removed.conversations:
        raise click.ClickException(f"account {account} has no conversation {conversation}")


@click.command(short_help="Copy a store, also while it is in use.")
@click.argument("target", type=_FOLDER)
@data_option
@click.option(
    "--without-secret-key", is_flag=True, help="Leave out secret.key. The keys only hold again once it is put back."
)
def backup(target: Path, folder: Path, without_secret_key: bool) -> None:
    """Copy the store and its keys to a new folder, as of one moment; all of it or nothing."""
    from handletime.upkeep.backups import Manifest
    from handletime.upkeep.commands import Backup

    asked = Backup(str(target.absolute()), not without_secret_key)
    made = _ask(folder, asked, Manifest)
    size = sum(made.files.values())
    click.echo(f"{target}: everything up to commit {made.commit}, {size / 1e6:,.1f} MB")
    click.echo(
        {
            "held": "It holds secret.key, which opens the OAuth secrets: keep it as safe as the store.",
            "leftOut": "It does not hold secret.key: keep that elsewhere, or the restored keys do not hold.",
            "none": "It holds no secret key: there is no secret.key beside the store.",
        }[made.secret_key]
    )


@click.command(short_help="Put a backup into a folder without a store.")
@click.argument("backup", type=_FOLDER)
@data_option
def restore(backup: Path, folder: Path) -> None:
    """Put a backup into a folder that has no store. Events that came after the backup have to be sent again."""
    from handletime.upkeep.backups import restore as put_back

    with _progress() as progress:
        manifest = put_back(backup, folder, progress)
    click.echo(f"{folder}: everything up to commit {manifest.commit}, as of {utc(manifest.made)}")
    if manifest.lacks_secret_key():
        click.echo("The backup does not hold secret.key: put it into the folder, too.")


@click.command(short_help="Write events and derived tables as partitioned Parquet.")
@data_option
@click.option("--out", type=_FOLDER, required=True, metavar="DIR", help="Folder to write to; a new one, or an empty.")
@click.option(
    "--since", type=click.Choice(["last"]), help="The folder has the last export: write only what has changed."
)
@click.option("--account", metavar="ACCOUNT", help="Only this account.")
@click.option("--from", "start", type=Instant(), metavar="TIME", help="Only what happened, or ended, then or later.")
@click.option("--to", "end", type=Instant(), metavar="TIME", help="Only what happened, or ended, before.")
def export(folder: Path, out: Path, since: str | None, account: str | None, start: int | None, end: int | None) -> None:
    """Write events, agent, skill and queue segments and handle-time units as Parquet, by account and day.

    TABLE/account=…/day=YYYY-MM-DD/part-0.parquet, all of it or nothing, as of one moment. With --since last only
    the files whose rows have changed since the last export to this folder are written, each whole; the first time,
    all of them.
    """
    from handletime.upkeep.commands import Export
    from handletime.upkeep.exports import Exported

    if start is not None and end is not None and start >= end:
        raise click.UsageError("--from must be before --to")
    written = _ask(folder, Export(str(out.absolute()), account, start, end, since == "last"), Exported)
    rows = ", ".join(f"{number:,} {table.replace('_', ' ')}" for table, number in written.rows.items())
    click.echo(f"{out}: {rows}, in {count(written.files, 'file')}")
    if since:
        verb = "was" if written.written == 1 else "were"
        click.echo(
            f"{written.written:,} of {count(written.files, 'file')} {verb} written anew, {written.removed:,} removed"
        )


def _ask(folder: Path, command: Command, result: type[R]) -> R:
    from handletime.upkeep.client import ask

    with _progress() as progress:
        return ask(folder, command, result, progress)


@contextmanager
def _progress() -> Iterator[Progress]:
    """Shows progress: a bar, if this is a terminal."""
    with progress_bar("starting") as (bar, task):

        def progress(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, total=of or None)

        yield progress


UPKEEP = (rebuild, check, prune, forget, backup, restore, export)
"""The commands of the upkeep."""
