"""`handletime report`: every metric by skill, agent, group, source, user type, conversation and interval."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast, get_args

import click

from handletime.cli.console import Instant, account_option, memory_option, token_option
from handletime.settings import PublicUrl

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from handletime.answers.flat import Format
    from handletime.answers.intervals import Interval
    from handletime.answers.periods import Compare, Period, Window
    from handletime.answers.sums import By
    from handletime.answers.workforce import Rules
    from handletime.cli.report_origin import Asked, Known, Origin, Row
    from handletime.cli.report_table import UserType

Form = Literal["table", "csv", "json", "ndjson", "parquet", "xlsx", "genesys", "calabrio"]
WORKFORCE: Final = frozenset({"genesys", "calabrio"})
BINARY: Final = frozenset({"parquet", "xlsx"})
PERIODS: Final = ("today", "yesterday", "last-7-days", "this-week", "last-week", "this-month", "last-month")
COMPARISONS: Final = ("previous", "week", "four-weeks", "month", "year")
"""As `answers.periods`, which takes long to load."""


class Day(click.ParamType["int | date"]):
    """A moment, or a date whose beginning the time zone decides."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | date:
        """The date, or epoch milliseconds. Fails with what is allowed."""
        text = str(value)
        try:
            return date.fromisoformat(text) if _DATE.fullmatch(text) else _MOMENT(text, param, ctx)
        except ValueError:
            return _MOMENT(text, param, ctx)


_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT: Final = Instant()


class Cut(click.ParamType["Interval"]):
    """Minutes, or hour, day, week or month."""

    name = "interval"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Interval:
        """Minutes as a number, or the unit. Fails with what is allowed."""
        from handletime.answers.intervals import UNITS

        text = str(value).strip().lower()
        for unit in UNITS:
            if text == unit:
                return unit
        if not text.isascii() or not text.isdecimal() or len(text) > _DIGITS or int(text) < 1:
            self.fail(
                f"{value!r} is no interval; write a number of minutes (up to 999999), or hour, day, week or month",
                param,
                ctx,
            )
        return int(text)


_DIGITS: Final = 6


class Zone(click.ParamType["ZoneInfo"]):
    """A time zone by its name."""

    name = "zone"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> ZoneInfo:
        """The zone. Fails with what is allowed."""
        from handletime.clock import zone_named

        zone = zone_named(str(value))
        if zone is None:
            self.fail(f"{value!r} is no time zone; write its IANA name, such as Europe/Berlin", param, ctx)
        return zone


def _by(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[By, ...]:
    """The keys, in any order and letter case; none for `total`."""
    from handletime.answers.report import DIMENSIONS

    known: dict[str, By] = {name.lower(): column for name, column in DIMENSIONS.items()}
    known |= {"user-type": "userType", "conversation": "conversation"}
    names = [name.strip().lower() for name in value.split(",") if name.strip()]
    if names == ["total"]:
        return ()
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        told = f"some of {', '.join([*DIMENSIONS, 'conversation'])}, with commas in between, or total"
        raise click.BadParameter(f"{', '.join(unknown) or value!r}: must be {told}")
    return tuple(dict.fromkeys(known[name] for name in names))


def _metrics(_context: click.Context, _parameter: click.Parameter, value: str | None) -> list[str] | None:
    """The chosen metrics under their own names. Letter case does not matter."""
    from handletime.answers.report import REPORTED

    if value is None:
        return None
    if value.strip().lower() == "all":
        return list(REPORTED)
    known = {name.lower(): name for name in REPORTED}
    chosen = [name.strip() for name in value.split(",") if name.strip()]
    unknown = [name for name in chosen if name.lower() not in known]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}: no such metric; `handletime report --list-metrics` has them")
    return [known[name.lower()] for name in chosen]


def _ids(_context: click.Context, _parameter: click.Parameter, value: str | None) -> list[int] | None:
    """Ids, separated by commas."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if not parts or not all(re.fullmatch(r"-?[0-9]{1,18}", part) for part in parts):
        raise click.BadParameter(f"{value!r}: must be integers with commas in between")
    return sorted({int(part) for part in parts})


def _list_metrics(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    from handletime.answers.report import REPORTED

    for key, metric in REPORTED.items():
        click.echo(f"{key}\n    {metric.meaning}. [{metric.unit}]")
    context.exit()


@click.command(short_help="Every metric, by agent, skill and interval.")
@click.argument("files", nargs=-1, metavar="[FILE…]")
@click.option(
    "--data",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Instead of files: the folder of a store, while no server runs on it.",
)
@click.option("--url", metavar="URL", help="Instead of files: the address of a running server.")
@token_option("--token", "operations", "--url")
@click.option(
    "--by",
    default="total",
    show_default=True,
    callback=_by,
    metavar="KEY,…",
    help="Whose numbers to tell apart: any of skill, agent, group, source, userType; also conversation, but for --url.",
)
@click.option(
    "--interval",
    type=Cut(),
    metavar="MIN|hour|day|week|month",
    help="Also cut the time in intervals: so many minutes by the clock, hours, days, weeks or months.",
)
@click.option("--from", "start", type=Day(), help="Segments that ended from this time on. A date begins at midnight.")
@click.option("--to", "end", type=Day(), help="… and before this one.")
@click.option(
    "--period", type=click.Choice(PERIODS), help="Instead of --from and --to; today, this week and this month end now."
)
@click.option(
    "--tz",
    "zone",
    type=Zone(),
    default="UTC",
    show_default=True,
    metavar="ZONE",
    help="Whose clock intervals, dates and the times shown mean: an IANA name, such as Europe/Berlin.",
)
@click.option(
    "--user-type",
    type=click.Choice(["human", "bot", "all"]),
    default="all",
    show_default=True,
    help="Only segments of human agents, or of bots; `all` counts both together.",
)
@click.option("--skill", "skills", callback=_ids, metavar="ID,…", help="Only these skills.")
@click.option("--agent", "agents", callback=_ids, metavar="ID,…", help="Only these agents.")
@click.option("--group", "groups", callback=_ids, metavar="ID,…", help="Only segments of these groups.")
@click.option("--source", metavar="SOURCE", help="Only segments of conversations that started there.")
@click.option("--metrics", callback=_metrics, metavar="NAME,…", help="These metrics, or all.")
@click.option(
    "--list-metrics", is_flag=True, is_eager=True, expose_value=False, callback=_list_metrics, help="Say what there is."
)
@click.option(
    "--compare",
    type=click.Choice(COMPARISONS),
    help="Add to each metric its value in the window before, on the same days one, four or 52 weeks before, or on the "
    "same dates of the month before.",
)
@click.option("--fill", type=click.Choice(["zero"]), help="Give each combination a row in each interval.")
@click.option(
    "--labels",
    "labels_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Names of agents, skills and groups, as for `serve`; a server of --url has its own.",
)
@click.option(
    "--targets",
    "targets_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Targets and opening hours (TOML), for service levels; a server of --url has its own.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(get_args(Form)),
    default="table",
    show_default=True,
    help="A table shows the most telling metrics, genesys and calabrio are files for workforce tools; the others have "
    "all metrics.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to a file, all of it or nothing.",
)
@click.option(
    "--attribution",
    type=click.Choice(["end", "split"]),
    default="end",
    show_default=True,
    help="For workforce tools: handle time in the interval in which its segment ends, or split at the borders.",
)
@click.option("--back-to-queue", is_flag=True, help="For workforce tools: count who comes back to the queue once more.")
@click.option(
    "--target",
    type=click.IntRange(0, 86_400),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="For workforce tools: the longest wait within the service level.",
)
@click.option(
    "--short",
    type=click.IntRange(0, 86_400),
    default=5,
    show_default=True,
    metavar="SECONDS",
    help="For workforce tools: who gives up earlier hardly waited.",
)
@click.option(
    "--page-url",
    type=PublicUrl(),
    metavar="URL",
    help="With --by conversation: where the page is, so that `explain` links to its Why.",
)
@memory_option
@account_option("Account of events that name none; and whose report, with --data and --url.")
def report(
    files: tuple[str, ...],
    folder: Path | None,
    url: str | None,
    token: str | None,
    by: tuple[By, ...],
    interval: Interval | None,
    start: int | date | None,
    end: int | date | None,
    period: Period | None,
    zone: ZoneInfo,
    user_type: UserType,
    skills: list[int] | None,
    agents: list[int] | None,
    groups: list[int] | None,
    source: str | None,
    metrics: list[str] | None,
    compare: Compare | None,
    fill: str | None,
    labels_file: Path | None,
    targets_file: Path | None,
    format_: Form,
    out: Path | None,
    attribution: Literal["end", "split"],
    back_to_queue: bool,
    target: int,
    short: int,
    page_url: str | None,
    memory: int,
    account: str,
) -> None:
    """Report the metrics of ended segments: outcomes, first response, response and handle time; of event files, of a
    store (--data), or of a running server (--url).

    A segment counts where it ends. Averages of response times mislead: look at the medians and percentiles beside
    them. But for the table all formats have the rows and columns of GET …/report: counts and sums first, durations in
    milliseconds, null (empty in csv) where there is nothing to average, or no focus data. There is no total row.

    By conversation, each line has a link to its explanation: of the page at --page-url, or the API's path. Without
    --from, --to and --period the report is about all segments; at --url about those of the last 24 hours.

    Files for workforce tools have a row for each interval and skill (docs/workforce.md).
    """
    from handletime.answers.labels import Labels
    from handletime.answers.periods import compare_of
    from handletime.answers.report import Cut as Timing
    from handletime.answers.report import Filters, chosen
    from handletime.cli.report_origin import Asked, Known, Links
    from handletime.cli.report_table import shown_by
    from handletime.targets.file import TargetsFile

    of_conversations = "conversation" in by
    if period is not None and (start is not None or end is not None):
        raise click.UsageError("--period stands for --from and --to: name either")
    if page_url is not None and not of_conversations:
        raise click.UsageError("--page-url goes with --by conversation: the links are to conversations")
    if of_conversations and url is not None:
        raise click.UsageError(
            "--by conversation takes event files, or --data; those of a store that a server holds are written by "
            "`handletime export`"
        )
    if labels_file is not None and url is not None:
        raise click.UsageError("--labels goes with files and --data: a server has its own names")
    if targets_file is not None and url is not None:
        raise click.UsageError("--targets goes with files and --data: a server has its own targets")
    if format_ in BINARY and out is None:
        raise click.UsageError(f"--format {format_} needs --out FILE")
    if format_ == "table" and out is not None:
        raise click.UsageError("--out goes with another --format than table")
    if out is not None and not out.parent.is_dir():
        raise click.UsageError(f"--out {out}: there is no such folder")
    with ExitStack() as stack:
        known = Known(Labels(labels_file), Links(page_url, zone.key), TargetsFile(targets_file))
        origin = _origin(stack, files, folder, url, token, account, memory, known, by)
        kind = None if user_type == "all" else user_type
        if format_ in WORKFORCE:
            given = {"--agent": agents, "--group": groups, "--source": source, "--metrics": metrics}
            if unused := [name for name, value in {**given, "--compare": compare, "--fill": fill}.items() if value]:
                raise click.UsageError(f"{', '.join(unused)}: --format {format_} has rows and columns of its own")
            from handletime.answers.workforce import Rules

            rules = Rules(attribution == "split", back_to_queue, 1000 * target, 1000 * short)
            minutes = 60 if interval == "hour" else interval
            window = _window(origin, start, end, period, 15, zone, kind)
            _write(_workforce(origin, format_, window, minutes, zone, by, skills, rules, out), out)
            return
        cut = Timing(_window(origin, start, end, period, interval, zone, kind), interval, zone)
        if cut.is_too_fine:
            raise click.UsageError(
                "--interval cuts the time in more than 1,000,000; choose a longer one, or a shorter time"
            )
        filters = Filters(skills, agents, groups, source, kind)
        wanted = metrics if format_ != "table" else shown_by(metrics)
        all_metrics = chosen(wanted, levels=targets_file is not None)
        asked = Asked(
            cut, filters, by, all_metrics, compare_of(compare, period), bool(fill), all_metrics=wanted is None
        )
        if format_ == "table":
            _show(origin, asked, metrics, user_type)
        else:
            _write(origin.pieces(asked, cast("Format", format_)), out)


def _origin(
    stack: ExitStack,
    files: tuple[str, ...],
    folder: Path | None,
    url: str | None,
    token: str | None,
    account: str,
    memory: int,
    known: Known,
    by: tuple[By, ...],
) -> Origin:
    from handletime.cli.report_origin import OfServer, files_origin, store_origin
    from handletime.cli.sending import Client

    if [bool(files), folder is not None, url is not None].count(True) != 1:
        raise click.UsageError("name either files, or --data DIR, or --url URL")
    if files:
        of_conversations = "conversation" in by
        made = files_origin(files, account, memory, known, conversations=of_conversations)
        return stack.enter_context(made)
    if folder is not None:
        return stack.enter_context(store_origin(folder, account, known))
    if not token:
        raise click.UsageError("--url needs --token, or HANDLETIME_TOKEN in the environment")
    return OfServer(Client(cast(str, url), token), account)


def _window(
    origin: Origin,
    start: int | date | None,
    end: int | date | None,
    period: str | None,
    interval: Interval | None,
    zone: ZoneInfo,
    user_type: str | None,
) -> Window:
    """The time that is asked for. Where it is not given, the ends of the first and the last segment."""
    from handletime.answers.intervals import begin_of, begin_of_day
    from handletime.answers.periods import PERIODS, Window, window_of
    from handletime.clock import SystemClock

    for each in PERIODS:
        if each == period:
            return window_of(each, SystemClock().now(), zone)
    start = begin_of_day(start, zone) if isinstance(start, date) else start
    end = begin_of_day(end, zone) if isinstance(end, date) else end
    first, last = origin.span(user_type) or (start or 0, (start or 0))
    if start is None:
        start = first if interval is None else begin_of(first, interval, zone)
    end = last + 1 if end is None else end
    if end < start:
        raise click.UsageError("--from lies after --to, or after the last segment's end")
    return Window(start, end)


def _write(pieces: Iterable[bytes], out: Path | None) -> None:
    from handletime.files import replacing

    if out is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    with replacing(out, 0o600) as file:
        for piece in pieces:
            file.write(piece)


def _workforce(
    origin: Origin,
    format_: Form,
    window: Window,
    interval: Interval | None,
    zone: ZoneInfo,
    by: tuple[By, ...],
    skills: list[int] | None,
    rules: Rules,
    out: Path | None,
) -> Iterator[bytes]:
    """A file for a workforce tool, line by line. Says on standard error what is left out."""
    from handletime.answers.intervals import begin_of, clock_bounds
    from handletime.answers.selection import Selection
    from handletime.answers.workforce import FORMATS, INTERVALS, cells, is_name_for_genesys, lines
    from handletime.cli.report_origin import OfSnapshot

    form = next(each for each in FORMATS if each == format_)
    minutes = INTERVALS[form][0] if interval is None else interval
    if not isinstance(minutes, int) or minutes not in INTERVALS[form]:
        allowed = " or ".join(map(str, INTERVALS[form]))
        raise click.UsageError(f"--format {form} takes an --interval of {allowed} minutes")
    if set(by) - {"skillId"}:
        raise click.UsageError(f"--format {form} has rows by skill; leave --by out")
    if not isinstance(origin, OfSnapshot):
        raise click.UsageError(f"--format {form} takes event files or --data: a server does not answer it")
    if origin.accounts:
        raise click.UsageError(f"--format {form} is of one account; these files have {', '.join(origin.accounts)}")
    if form == "genesys" and out is not None and not is_name_for_genesys(out.name):
        raise click.UsageError('Genesys Cloud takes no file with spaces or any of {^}%`]">/:[~<#| in its name')
    start, end = begin_of(window.start, minutes, zone), window.end
    last = begin_of(end - 1, minutes, zone)
    end = next((border for border in clock_bounds(last, last + 2 * minutes * 60_000, minutes, zone)[1:]), end)
    found = cells(origin.snapshot, Selection(clock_bounds(start, end, minutes, zone), skills=skills), rules)
    for line in found.left_out:
        click.echo(line, err=True)
    for text in lines(found, form, minutes, zone, lambda skill: origin.name("skill", skill)):
        yield text.encode()


def _show(origin: Origin, asked: Asked, metrics: list[str] | None, user_type: UserType) -> None:
    """Prints the tables. Grouped by interval alone, intervals without segments have rows too."""
    from handletime.answers.periods import compared_with
    from handletime.cli.report_origin import rows_of
    from handletime.cli.report_table import SHOWN_MAX, Shown, show

    cut = asked.cut
    of_conversations = "conversation" in asked.by
    in_intervals = cut.interval is not None
    fill = asked.fill or (in_intervals and not asked.by and not origin.accounts and cut.window.start < cut.window.end)
    found: Iterable[Row] = rows_of(origin, asked._replace(fill=fill))
    rows = list(islice(found, SHOWN_MAX + 1) if of_conversations else found)
    ids = [key for key in ("skillId", "agentId", "groupId", "source", "userType") if key in asked.by]
    keys = [
        *(["accountId"] if origin.accounts else []),
        *(["conversationId"] if of_conversations else []),
        *ids,
        *(["intervalStart"] if in_intervals else []),
    ]
    if not of_conversations:
        # By id, and of each the intervals. Rows come in this order within an interval.
        rows.sort(key=lambda row: [(row[key] is not None, row[key]) for key in keys if key not in ("intervalStart",)])
    whole = asked._replace(cut=cut._replace(interval=None), by=(), fill=False)
    total = list(rows_of(origin, whole, together=True))
    before = compared_with(cut.window, asked.compare, cut.zone) if asked.compare else None
    shown = Shown(rows, total, keys, cut.window, cut.zone, user_type, before)
    show(shown, metrics, origin.quality)
