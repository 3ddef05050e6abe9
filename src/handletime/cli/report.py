"""`handletime report`: every metric by agent, skill, conversation and interval."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast
from urllib.parse import quote, urlencode

import click

from handletime.answers import words
from handletime.cli.console import Instant, account_option, memory_option, prepared
from handletime.settings import PublicUrl

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from rich.table import Table

    from handletime.answers.figures import Groups, Value
    from handletime.answers.files import Asked, Conversation
    from handletime.answers.intervals import Interval
    from handletime.answers.registry import Metric
    from handletime.answers.relations import Snapshot
    from handletime.answers.selection import Selection
    from handletime.answers.sums import By
    from handletime.segments.derive import Derived, Quality
    from handletime.segments.parts import Prepared

Row = dict[str, "Value | str"]
Grouping = Literal["agent", "skill", "skill,agent", "conversation", "conversation,agent", "total"]
KEYS: dict[Grouping, tuple[By, ...]] = {
    "agent": ("agentId",),
    "skill": ("skillId",),
    "skill,agent": ("skillId", "agentId"),
    "conversation": ("conversation",),
    "conversation,agent": ("conversation", "agentId"),
    "total": (),
}
UserType = Literal["human", "bot", "all"]
WIDTH_OF_FILES: Final = 1_000
SHOWN_MAX: Final = 1_000
"""The most rows of conversations on a terminal. Nobody reads more, and a table needs all of its rows in memory."""
INTERVALS_MAX: Final = 1_000_000
"""The most intervals of a report. Nobody reads more rows, and memory would end first."""


class Block(NamedTuple):
    """One table on the terminal: a title and the metrics that are its columns."""

    title: str
    metrics: tuple[str, ...]


BLOCKS = (
    Block(
        "Skill segments",
        (
            "totalSkillConversationSegments",
            "interactiveSkillSegmentPercent",
            "nonResponsiveConsumerSkillSegmentPercent",
            "nonResponsiveAgentSkillSegmentPercent",
            "abandonedSkillSegmentPercent",
            "skillSegmentsAbandonedByConsumersInQueue",
        ),
    ),
    Block(
        "Agent segments",
        (
            "totalAgentConversationSegments",
            "interactiveAgentSegmentPercent",
            "nonResponsiveConsumerAgentSegmentPercent",
            "nonResponsiveAgentAgentSegmentPercent",
            "abandonedAgentSegmentPercent",
            "agentMessages",
            "avgAgentMessagesinAgentSegment",
            "avgAgentSegmentDuration",
        ),
    ),
    Block(
        "First response",
        (
            "medianFirstResponseMillis",
            "p90FirstResponseMillis",
            "p95FirstResponseMillis",
            "avgTimetoFirstAgentMessageFromAgentAssignment",
        ),
    ),
    Block(
        "Response time",
        ("medianResponseMillis", "p90ResponseMillis", "p95ResponseMillis", "avgTimeToResponseFromAgentAssignment"),
    ),
    Block(
        "Handle time",
        (
            "segmentsWithFocusData",
            "medianHandleTimeMillis",
            "p90HandleTimeMillis",
            "p95HandleTimeMillis",
            "avgHandleTimeMillis",
            "totalHandleTimeMillis",
        ),
    ),
)


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
    """Minutes, or hour, day or week."""

    name = "interval"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Interval:
        """Minutes as a number, or the unit. Fails with what is allowed."""
        from handletime.answers.intervals import CALENDAR

        text = str(value).strip().lower()
        for unit in CALENDAR:
            if text == unit:
                return unit
        if not text.isascii() or not text.isdecimal() or len(text) > _DIGITS or int(text) < 1:
            self.fail(
                f"{value!r} is no interval; write a number of minutes (up to 999999), or hour, day or week", param, ctx
            )
        return int(text)


_DIGITS: Final = 6


class Zone(click.ParamType["ZoneInfo"]):
    """A time zone by its name."""

    name = "zone"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> ZoneInfo:
        """The zone. Fails with what is allowed."""
        from handletime.answers.intervals import zone_named

        zone = zone_named(str(value))
        if zone is None:
            self.fail(f"{value!r} is no time zone; write its IANA name, such as Europe/Berlin", param, ctx)
        return zone


def _metrics(_context: click.Context, _parameter: click.Parameter, value: str | None) -> list[str] | None:
    """The chosen metrics under their own names. Letter case does not matter."""
    from handletime.answers.registry import METRICS

    if value is None:
        return None
    if value.strip().lower() == "all":
        return list(METRICS)
    known = {name.lower(): name for name in METRICS}
    chosen = [name.strip() for name in value.split(",") if name.strip()]
    unknown = [name for name in chosen if name.lower() not in known]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}: no such metric; `handletime report --list-metrics` has them")
    return [known[name.lower()] for name in chosen]


def _list_metrics(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    from handletime.answers.registry import METRICS

    for key, metric in METRICS.items():
        click.echo(f"{key}\n    {metric.meaning}. [{metric.unit}]")
    context.exit()


@click.command(short_help="Every metric, by agent, skill and interval.")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--by",
    type=click.Choice(list(KEYS)),
    default="total",
    show_default=True,
    help="Whose numbers to tell apart.",
)
@click.option(
    "--interval",
    type=Cut(),
    metavar="MIN|hour|day|week",
    help="Also cut the time in intervals: so many minutes by the clock, hours, days or weeks.",
)
@click.option("--from", "start", type=Day(), help="Segments that ended from this time on. A date begins at midnight.")
@click.option("--to", "end", type=Day(), help="… and before this one.")
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
@click.option("--metrics", callback=_metrics, metavar="NAME,…", help="These metrics, or all.")
@click.option(
    "--list-metrics", is_flag=True, is_eager=True, expose_value=False, callback=_list_metrics, help="Say what there is."
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="A table shows the most telling metrics; csv and json have all.",
)
@click.option(
    "--url",
    type=PublicUrl(),
    metavar="URL",
    help="With --by conversation, in csv and json: where the page is, so that `explain` links to its Why.",
)
@memory_option
@account_option()
def report(
    files: tuple[str, ...],
    by: Grouping,
    interval: Interval | None,
    start: int | date | None,
    end: int | date | None,
    zone: ZoneInfo,
    user_type: UserType,
    metrics: list[str] | None,
    format_: Literal["table", "csv", "json"],
    url: str | None,
    memory: int,
    account: str,
) -> None:
    """Report the metrics of ended segments: outcomes, first response, response and handle time.

    A segment counts where it ends. Averages of response times mislead: look at the medians and percentiles beside
    them. Durations are milliseconds in csv and json. An average over nothing is -1. Handle time without focus data is
    unknown: empty in csv, null in json.

    By conversation, csv and json have a link to the explanation of each line: of the page at --url, or the API's path.
    """
    from handletime.answers.files import asked
    from handletime.answers.registry import METRICS

    by_keys: tuple[By, ...] = (*KEYS[by], *(("interval",) if interval else ()))
    of_conversations = "conversation" in by_keys
    if url is not None and not of_conversations:
        raise click.UsageError("--url goes with --by conversation: the links are to conversations")
    with (
        tempfile.TemporaryDirectory(prefix="handletime-") as folder,
        asked(
            _derived(files, account, memory), Path(folder), memory=memory, conversations=of_conversations
        ) as collected,
    ):
        snapshot, quality = collected.snapshot, collected.quality
        of = _selection(snapshot, start, end, interval, zone, None if user_type == "all" else user_type)
        chosen = [METRICS[name] for name in metrics or METRICS]
        # Ids of two accounts have nothing in common.
        accounts = sorted(quality.accounts) if len(quality.accounts) > 1 else None
        rows: Iterable[Row]
        if of_conversations:
            rows, total = _rows_of_conversations(collected, chosen, by_keys, of, _Links(url, zone))
        else:
            rows, total = _rows(snapshot, chosen, by_keys, of, accounts)
        names = [_NAMES.get(key, key) for key in by_keys]
        keys = ["accountId", *names] if accounts else names
        if format_ == "table":
            shown = list(islice(rows, SHOWN_MAX + 1)) if of_conversations else list(rows)
            _print(Report(shown, total if keys else [], keys, of, zone, user_type), metrics, quality)
            return
        left_out = {"accountId"} - {*keys}
        told = (_told(row, zone, left_out) for row in rows)
        if format_ == "json":
            sys.stdout.writelines(_json(told, total, of, zone))
        else:
            explain = ["explain"] if of_conversations else []
            _csv(told, [*keys, *explain, *(metric.key for metric in chosen)])


_NAMES: Final[dict[By, str]] = {"conversation": "conversationId"}
"""Keys that have another name in a report."""


class Report(NamedTuple):
    """The rows of a report, one for each group and one for all, with their keys; and what was asked for."""

    rows: list[Row]
    total: list[Row]
    keys: Sequence[str]
    of: Selection
    zone: ZoneInfo
    user_type: UserType


def _derived(files: Sequence[str], account: str, memory: int) -> Iterator[Derived]:
    return map(_of_part, prepared(files, account, memory))


def _of_part(part: Prepared) -> Derived:
    from handletime.segments.derive import derive_prepared

    return derive_prepared(part)


def _selection(
    snapshot: Snapshot,
    start: int | date | None,
    end: int | date | None,
    interval: Interval | None,
    zone: ZoneInfo,
    user_type: str | None,
) -> Selection:
    """The segments that are asked for. Times that are not given are the ends of the first and the last segment."""
    from handletime.answers.figures import span
    from handletime.answers.intervals import begin_of, begin_of_day, clock_bounds, length_of
    from handletime.answers.selection import Selection

    start = begin_of_day(start, zone) if isinstance(start, date) else start
    end = begin_of_day(end, zone) if isinstance(end, date) else end
    first, last = span(snapshot, user_type) or (start or 0, (start or 0))
    if start is None:
        start = first if interval is None else begin_of(first, interval, zone)
    end = last + 1 if end is None else end
    if end < start:
        raise click.UsageError("--from lies after --to, or after the last segment's end")
    if interval is not None and (end - start) // length_of(interval) > INTERVALS_MAX:
        raise click.UsageError(
            f"--interval cuts the time in more than {INTERVALS_MAX:,}; choose a longer one, or a shorter time"
        )
    bounds = [start, end] if interval is None or start == end else clock_bounds(start, end, interval, zone)
    return Selection(bounds, user_type=user_type)


def _rows(
    snapshot: Snapshot, metrics: list[Metric], keys: tuple[By, ...], of: Selection, accounts: list[str] | None
) -> tuple[list[Row], list[Row]]:
    """Rows of all groups, and one of all groups together; of each account, where there are several.

    Grouped by interval alone, intervals without segments have rows too.
    """
    from handletime.answers.figures import figures_of, of_nothing

    rows: list[Row] = []
    each: Sequence[str | None] = accounts or [None]
    for account in each:
        found = figures_of(snapshot, metrics, keys, of._replace(account=account))
        whose: Row = {} if account is None else {"accountId": account}
        if keys == ("interval",) and account is None and of.start < of.end:
            empty = {metric.key: of_nothing(metric) for metric in metrics}
            found |= {(place,): found.get((place,), empty) for place in range(len(of.bounds) - 1)}
        rows += [{**whose, **row} for row in _keyed(found, keys, of)]
    total = figures_of(snapshot, metrics, (), of) if accounts else found
    return rows, _total(total)


def _rows_of_conversations(
    collected: Asked, metrics: list[Metric], keys: tuple[By, ...], of: Selection, links: _Links
) -> tuple[Iterator[Row], list[Row]]:
    """Rows as of `_rows`, by account and conversation, with `accountId` and the link; some conversations at a time."""
    from handletime.answers.figures import figures_of

    def rows() -> Iterator[Row]:
        for snapshot, known in collected.by_conversation():
            for row in _keyed(figures_of(snapshot, metrics, keys, of), keys, of):
                whose = known[cast(int, row.pop("conversation"))]
                named: Row = {"accountId": whose.account, "conversationId": whose.id}
                where: Row = {key: row.pop(key) for key in keys if key != "conversation"}
                yield {**named, **where, "explain": links.of(whose), **row}

    # Whether skill segments count in it depends on whether there are agents, as in every other report.
    coarse = tuple(key for key in keys if key == "agentId")
    return rows(), _total(figures_of(collected.snapshot, metrics, coarse, of))


def _keyed(found: Groups, keys: tuple[By, ...], of: Selection) -> Iterator[Row]:
    """Figures by group as rows, in ascending order of the keys. An interval is its beginning."""
    for key, figures in sorted(found.items()):
        if len(key) == len(keys):
            named: Row = dict(zip(cast("tuple[str, ...]", keys), key, strict=True))
            if "interval" in named:
                named["interval"] = of.bounds[key[-1]]
            yield {**named, **figures}


def _total(found: Groups) -> list[Row]:
    """The row of all groups together; none where no segment ended."""
    return [{**figures} for key, figures in found.items() if key == ()]


class _Links(NamedTuple):
    """Links to explanations: of a page, if it is known where that is; else the paths of the API."""

    url: str | None
    zone: ZoneInfo

    def of(self, conversation: Conversation) -> str:
        """The link to a conversation's explanation."""
        if self.url is None:
            return f"/api/account/{conversation.account}/conversations/{quote(conversation.id, safe='')}/explain"
        asked = {"conversation": conversation.id, "tz": self.zone.key}
        return f"{self.url.rstrip('/')}/why?{urlencode(asked, quote_via=quote)}"


def _told(row: Row, zone: ZoneInfo, left_out: set[str]) -> Row:
    """A row for programs."""
    if "interval" in row:
        row["interval"] = words.rfc_3339(int(row["interval"] or 0), zone)
    return {name: value for name, value in row.items() if name not in left_out}


def _json(rows: Iterable[Row], total: list[Row], of: Selection, zone: ZoneInfo) -> Iterator[str]:
    """The report as JSON, piece by piece."""
    yield f'{{\n  "from": "{words.rfc_3339(of.start, zone)}",\n  "to": "{words.rfc_3339(of.end, zone)}",\n  "rows": '
    yield from _array(rows)
    yield ',\n  "total": '
    yield from _array(total)
    yield "\n}\n"


def _array(rows: Iterable[Row]) -> Iterator[str]:
    import msgspec

    front = "["
    for row in rows:
        text = msgspec.json.format(msgspec.json.encode(row), indent=2).decode()
        yield f"{front}\n    " + text.replace("\n", "\n    ")
        front = ","
    yield "[]" if front == "[" else "\n  ]"


def _csv(rows: Iterable[Row], names: list[str]) -> None:
    from handletime.segments.cells import csv_lines

    sys.stdout.writelines(csv_lines(names, ([row.get(name) for name in names] for row in rows)))


# --- on a terminal ---------------------------------------------------------------------------------------------------


def _print(report: Report, metrics: list[str] | None, quality: Quality) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_OF_FILES  # Nothing is cut.
    whose = {"human": " of human agents", "bot": " of bots", "all": ""}[report.user_type]
    if not report.rows:
        console.print(f"No segments{whose} ended in this time.")
    else:
        start, end = (words.moment_exactly(moment, report.zone) for moment in (report.of.start, report.of.end))
        console.print(f"Segments{whose} that ended from {start} to {end} ({report.zone.key})")
    for block in _blocks(metrics) if report.rows else ():
        if not _says_something(block, report):
            continue
        console.print()
        if block.title == "Handle time" and all(row["avgHandleTimeMillis"] is None for row in report.rows):
            console.print(f"[bold]Handle time[/bold]: {words.NO_FOCUS_DATA}")
        else:
            console.print(_table(block, report))
    console.print()
    if "conversationId" in report.keys and len(report.rows) > SHOWN_MAX:
        console.print(f"The first {SHOWN_MAX:,} lines are shown; csv and json have all.", style="dim", highlight=False)
    for line in _notes(quality, report.user_type):
        console.print(line, style="dim", highlight=False)


def _blocks(metrics: list[str] | None) -> Iterable[Block]:
    """The tables to show: the usual ones, or the chosen metrics in tables of four."""
    if metrics is None:
        return BLOCKS
    return [Block("", tuple(metrics[i : i + 4])) for i in range(0, len(metrics), 4)]


def _says_something(block: Block, report: Report) -> bool:
    """Whether a block has numbers: skill segments have none by agent, and bots do not handle."""
    if block.title == "Handle time":
        return report.user_type != "bot"
    return block.title != "Skill segments" or any(row["totalSkillConversationSegments"] for row in report.rows)


def _table(block: Block, report: Report) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from handletime.answers.registry import METRICS

    keys = report.keys
    table = Table(title=block.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for key in keys:
        justify: Literal["left", "right"] = "left" if key in _TEXTS else "right"
        table.add_column(key.removesuffix("Id"), justify=justify, no_wrap=True)
    for name in block.metrics:
        table.add_column(METRICS[name].label or name, justify="right", no_wrap=bool(METRICS[name].label))
    for row in report.rows[:SHOWN_MAX] if "conversationId" in keys else report.rows:
        shown = (escape(_key(key, row[key], report.zone)) for key in keys)
        table.add_row(*shown, *_cells(block, row))
    if report.total and len(report.rows) > 1:
        table.add_section()
        table.add_row("all", *[""] * (len(keys) - 1), *_cells(block, report.total[0]), style="bold")
    return table


_TEXTS: Final = frozenset({"conversationId", "interval"})


def _cells(block: Block, row: Row) -> list[str]:
    from handletime.answers.registry import METRICS

    if block.title == "Handle time" and row["avgHandleTimeMillis"] is None:
        return [words.NO_FOCUS_DATA, *[""] * (len(block.metrics) - 1)]
    return [_cell(METRICS[name], row[name]) for name in block.metrics]


def _key(name: str, value: Value | str, zone: ZoneInfo) -> str:
    return words.moment_exactly(int(value or 0), zone) if name == "interval" else str(value)


def _cell(metric: Metric, value: Value | str) -> str:
    from handletime.answers.registry import HANDLE_TIME

    if value is None and metric.key in HANDLE_TIME:
        return words.NO_FOCUS_DATA
    return metric.said(cast("Value", value))


def _notes(quality: Quality, user_type: UserType) -> Iterator[str]:
    running = quality.running_agent_segments
    if running:
        yield f"{words.count(running, 'agent segment')} still running: in no metric."
    blind = quality.agents_without_focus()
    if blind and user_type != "bot":
        yield f"{words.without_focus_data(len(blind), len(quality.human_agents), 'human agent')}, and in no average."
    if quality.long_units:
        more = f"{words.duration(quality.long_units_millis)} in all"
        yield words.long_units(quality.long_units, more=more)
