"""`handletime derive --spark`: the options, and the job."""

from __future__ import annotations

import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click import ParameterSource

from handletime.answers.words import count, utc
from handletime.cli.console import Instant
from handletime.cli.quality import summary
from handletime.errors import InputError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from handletime.lake.spark import Done, Mark

F = TypeVar("F", bound=Callable[..., object])
OF_SPARK: Final = ("since", "day", "conf")
"""Options that have no effect without `--spark`."""
EXTRA: Final = "this needs Spark and Delta Lake: pip install 'handletime[spark]', and Java 17 or newer"


class Since(click.ParamType["Mark | str"]):
    """Where a job begins to read."""

    name = "since"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Mark | str:
        """`last`, the version of a Delta table, or a moment. Fails with what is allowed."""
        text = str(value)
        if text == "last":
            return text
        from handletime.lake.spark import Mark

        if re.fullmatch(r"\d{1,9}", text):
            return Mark(version=int(text))
        return Mark(modified=Instant().convert(text, param, ctx))


class Days(click.ParamType["tuple[date, date]"]):
    """A day, or the first and last of several."""

    name = "days"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[date, date]:
        """The first and the last day. Fails with what is allowed."""
        first, dots, last = str(value).partition("..")
        try:
            days = date.fromisoformat(first), date.fromisoformat(last if dots else first)
        except ValueError:
            self.fail(f"{value!r} is no day; write 2026-11-20, or 2026-11-01..2026-11-20", param, ctx)
        if days[0] > days[1]:
            self.fail(f"{value!r} ends before it begins", param, ctx)
        return days


def spark_options(command: F) -> F:
    """`--spark` and the options that belong to it."""
    for option in reversed(
        (
            click.option(
                "--spark",
                metavar="MASTER",
                help="Derive on this Spark master (spark://HOST:7077, local[4], yarn), as Delta tables.",
            ),
            click.option(
                "--since",
                type=Since(),
                metavar="WHEN",
                help="With --spark: only what is touched by events that came since then: `last` (run), a time, or the "
                "version of a Delta table.",
            ),
            click.option(
                "--day",
                type=Days(),
                metavar="DAY[..DAY]",
                help="With --spark: only what is touched by events of this day, or of these days (UTC).",
            ),
            click.option(
                "--conf", multiple=True, metavar="KEY=VALUE", help="With --spark: a setting of Spark; may be repeated."
            ),
        )
    ):
        command = option(command)
    return command


def refuse(ctx: click.Context, names: tuple[str, ...], belongs_to: str) -> None:
    """Fails where one of these options was given."""
    for option in ctx.command.params:
        if option.name in names and ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option.opts[0]} belongs to {belongs_to}")


def derive_there(
    events: Path,
    out: Path,
    account: str,
    master: str,
    since: Mark | str | None,
    days: tuple[date, date] | None,
    settings: tuple[str, ...],
) -> None:
    """Derives the tables of a lake on a cluster."""
    from handletime.events.book import is_account

    if since is not None and days is not None:
        raise click.UsageError("--since and --day exclude each other")
    if not is_account(account):
        raise click.BadParameter("must be 1 to 64 letters and digits (a-z, A-Z, 0-9)", param_hint="--account")
    begun = time.monotonic()

    def progress(what: str) -> None:
        click.echo(f"{time.monotonic() - begun:6.1f} s  {what}", err=True)

    with _session(master, settings) as spark:
        from handletime.lake.spark import derive

        done = derive(
            spark, events.absolute(), out.absolute(), account=account, since=since, days=days, progress=progress
        )
    if done.run is None:
        click.echo(f"{out}: nothing new")
        return
    click.echo("\n".join(_about(out, done, days)))
    click.echo("\n".join(summary(done.quality)))


def _about(out: Path, done: Done, days: tuple[date, date] | None) -> Iterator[str]:
    assert done.run is not None  # noqa: S101
    names = ("agent_segments", "skill_segments", "queue_segments")
    singular = {**{name: name.replace("_", " ").removesuffix("s") for name in names}, "handle_time_units": "unit"}
    rows = ", ".join(count(done.rows[name], one) for name, one in singular.items())
    yield f"{out}: run {done.run.number}: {rows} written in {count(done.files, 'file')}"
    if done.replaced:
        yield f"{count(done.replaced, 'file')} of earlier runs replaced; what others have there was kept"
    if days is not None and done.first is not None and done.last is not None:
        yield f"the conversations of {_days(days)} have events from {_moment(done.first)} to {_moment(done.last)}"


def _days(days: tuple[date, date]) -> str:
    first, last = days
    return f"{first}" if first == last else f"{first} to {last}"


def _moment(millis: int) -> str:
    return utc(datetime.fromtimestamp(millis / 1000, UTC))


@contextmanager
def _session(master: str, settings: tuple[str, ...]) -> Iterator[SparkSession]:
    """A session that ends with the job. Raises InputError where there is none."""
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession

        from handletime.lake.spark import PACKED
    except ModuleNotFoundError as error:
        raise InputError(f"{EXTRA} ({error})") from error
    # Workers on this machine take this Python, unless another one is named.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder: Any = SparkSession.builder.appName("handletime derive").master(master)
    builder = builder.config("spark.ui.showConsoleProgress", str(sys.stderr.isatty()).lower())
    for key, value in PACKED.items():
        builder = builder.config(key, value)
    # What goes wrong in a task comes back as an error, and is said once.
    builder = builder.config("spark.log.level", "FATAL")
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise click.BadParameter(f"{setting!r}: write KEY=VALUE", param_hint="--conf")
        builder = builder.config(key, value)
    try:
        spark = builder.getOrCreate()
    except (PySparkException, RuntimeError, OSError) as error:
        raise InputError(f"no Spark at {master}: {str(error).splitlines()[0]}") from error
    try:
        yield spark
    finally:
        spark.stop()
