"""What the commands share on a terminal: options and progress."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click

from handletime.settings import Size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from handletime.events.read import Block
    from handletime.segments.parts import Prepared

F = TypeVar("F", bound=Callable[..., object])


class Instant(click.ParamType[int]):
    """A moment: RFC 3339 with offset, a date (midnight UTC), or epoch milliseconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Epoch milliseconds. Fails with what is allowed."""
        from handletime.events.book import instant, not_milliseconds

        text = str(value)
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            text += "T00:00:00Z"
        number = int(text) if re.fullmatch(r"-?\d{1,18}", text) else None
        if number is not None and (small := not_milliseconds(number)):
            self.fail(f"{number} {small}", param, ctx)
        moment = instant(text if number is None else number)
        if moment is None:
            self.fail(f"{value!r} is no time; write 2026-11-20T09:00:00Z, 2026-11-20 or epoch milliseconds", param, ctx)
        return moment


def token_option(name: str, permission: str, beside: str) -> Callable[[F], F]:
    """The option for the token of a key, which may also stand in the environment; `beside` is the server's option."""
    return click.option(
        name,
        envvar="HANDLETIME_TOKEN",
        show_envvar=True,
        metavar="TOKEN",
        help=f"Token of a key with the permission {permission}, for {beside}.",
    )


def account_option(help_: str = "Account of events that name none.") -> Callable[[F], F]:
    """`--account`."""
    return click.option("--account", default="local", show_default=True, metavar="ACCOUNT", help=help_)


memory_option = click.option(
    "--memory",
    type=Size(),
    default="2GiB",
    show_default=True,
    help="Memory to keep to; larger inputs are spilled to disk in parts.",
)


@contextmanager
def progress_bar(what: str, total: float | None = None) -> Iterator[tuple[Progress, TaskID]]:
    """A bar on standard error, if that is a terminal, and its one task."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield bar, bar.add_task(what, total=total)


def tell_compiling(*, derives: bool) -> None:
    """Says on standard error what takes long, where this is the first run that reads events, or `derives` of them.

    Where compiled code cannot be kept, `handletime.compiled` has said so.
    """
    from handletime.compiled import can_be_kept, is_begun

    room, what, takes = (
        ("segments", "the derivation", "a minute") if derives else ("events", "the reader", "10 seconds")
    )
    if can_be_kept() and not is_begun(room):
        click.echo(f"Compiling {what}; only the first run does this (about {takes}).", err=True)


@contextmanager
def reading(
    files: Sequence[str], account: str, *, derives: bool = True
) -> Iterator[tuple[Iterator[Block], Callable[[str, int, int], None]]]:
    """Blocks of decoded events of the files, and a function to report later steps to; a bar, if this is a terminal.

    `derives`: whether they are derived in this process.
    """
    import pyarrow as pa

    from handletime.events.book import is_account
    from handletime.events.read import read_events
    from handletime.events.unpack import size_of

    if not is_account(account):
        raise click.BadParameter("must be 1 to 64 letters and digits (a-z, A-Z, 0-9)", param_hint="--account")
    tell_compiling(derives=derives)
    pa.set_memory_pool(pa.system_memory_pool())  # others keep what is free, beyond --memory
    with progress_bar("reading", size_of(files)) as (bar, task):

        def progress(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, total=of)

        yield read_events(files, account=account, progress=lambda more: bar.advance(task, more)), progress


def prepared(files: Sequence[str], account: str, memory: int) -> Iterator[Prepared]:
    """The events of the files in parts of whole conversations. Raises InvalidEvents and InputError."""
    from handletime.events.read import good_events
    from handletime.segments.parts import prepared_parts

    with reading(files, account) as (blocks, progress):
        yield from prepared_parts(good_events(blocks), memory=memory, progress=progress)
