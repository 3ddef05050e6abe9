"""`handletime report`: every metric by agent, skill and interval."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import click

from handletime.cli.console import Instant, account_option, count, memory_option, prepared
from handletime.durations import duration

if TYPE_CHECKING:
    from rich.table import Table

    from handletime.metrics.aggregate import By, Row, Value, Window
    from handletime.metrics.registry import Metric
    from handletime.segments.derive import Derived, Quality
    from handletime.segments.parts import Prepared

Grouping = Literal["agent", "skill", "skill,agent", "total"]
KEYS: dict[Grouping, tuple[By, ...]] = {
    "agent": ("agentId",),
    "skill": ("skillId",),
    "skill,agent": ("skillId", "agentId"),
    "total": (),
}
NO_FOCUS_DATA = "no focus data"
WIDTH_OF_FILES = 120


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
            "avgAgentMessagesinAgentSegment",
            "avgAgentSegmentDuration",
        ),
    ),
    Block(
        "First response, from the assignment",
        (
            "medianFirstResponseMillis",
            "p90FirstResponseMillis",
            "p95FirstResponseMillis",
            "avgTimetoFirstAgentMessageFromAgentAssignment",
        ),
    ),
    Block(
        "Response, from the consumer's message",
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


def _metrics(_context: click.Context, _parameter: click.Parameter, value: str | None) -> list[str] | None:
    """The chosen metrics under their own names. Letter case does not matter."""
    from handletime.metrics.registry import METRICS

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
    from handletime.metrics.registry import METRICS

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
@click.option("--interval", type=click.IntRange(1), metavar="MIN", help="Also cut the time in intervals, in minutes.")
@click.option("--from", "start", type=Instant(), help="Segments that ended from this time on.")
@click.option("--to", "end", type=Instant(), help="… and before this one.")
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
@memory_option
@account_option()
def report(
    files: tuple[str, ...],
    by: Grouping,
    interval: int | None,
    start: int | None,
    end: int | None,
    metrics: list[str] | None,
    format_: Literal["table", "csv", "json"],
    memory: int,
    account: str,
) -> None:
    """Report the metrics of ended segments: outcomes, first response, response and handle time.

    A segment counts where it ends. Averages of response times mislead: look at the medians and percentiles beside
    them. Durations are milliseconds in csv and json. An average over nothing is -1.
    """
    from handletime.metrics.registry import METRICS
    from handletime.metrics.source import connect

    keys: tuple[By, ...] = (*KEYS[by], *(("interval",) if interval else ()))
    with tempfile.TemporaryDirectory(prefix="handletime-") as folder:
        connection, quality = connect(_derived(files, account, memory), Path(folder), memory=memory)
        with connection:
            window = _window(connection, start, end, interval)
            chosen = [METRICS[name] for name in metrics or METRICS]
            if len(quality.accounts) > 1:
                keys = ("accountId", *keys)  # ids of two accounts have nothing in common
            rows = _rows(connection, chosen, keys, window)
            total = _rows(connection, chosen, (), window)
    if format_ == "json":
        sys.stdout.write(_json(rows, total, window))
    elif format_ == "csv":
        _csv(rows, [*keys, *(metric.key for metric in chosen)])
    else:
        _print(rows, total if keys else [], keys, metrics, quality, window)


def _derived(files: Sequence[str], account: str, memory: int) -> Iterator[Derived]:
    return map(_of_part, prepared(files, account, memory))


def _of_part(part: Prepared) -> Derived:
    from handletime.segments.derive import derive_prepared

    return derive_prepared(part)[0]


def _window(connection: object, start: int | None, end: int | None, interval: int | None) -> Window:
    from handletime.metrics.aggregate import Window, span

    first, last = span(connection) or (start or 0, (start or 0))  # type: ignore[arg-type]
    length = interval * 60_000 if interval else None
    if start is None:
        start = first // length * length if length else first
    end = last + 1 if end is None else end
    if end < start:
        raise click.UsageError("--from lies after --to, or after the last segment's end")
    return Window(start, end, length)


def _rows(connection: object, metrics: list[Metric], keys: tuple[By, ...], window: Window) -> list[Row]:
    """Rows of all groups; of every interval, too, where nothing tells them apart otherwise."""
    from handletime.metrics.aggregate import aggregate, of_nothing
    from handletime.metrics.registry import HANDLE_TIME, METRICS
    from handletime.segments.files import instant

    needed = [*metrics, METRICS["segmentsWithFocusData"]]
    rows = aggregate(connection, list({m.key: m for m in needed}.values()), keys, window)  # type: ignore[arg-type]
    if keys == ("interval",) and window.interval:
        there = {row["interval"]: row for row in rows}
        empty: Row = {metric.key: of_nothing(metric) for metric in needed}
        starts = range(window.start, window.end, window.interval)
        rows = [there.get(start, {"interval": start, **empty}) for start in starts]
    for row in rows:
        if not row["segmentsWithFocusData"]:
            row.update({key: None for key in HANDLE_TIME if key in row})
        if "interval" in row:
            row["interval"] = instant(int(row["interval"] or 0))
        if METRICS["segmentsWithFocusData"] not in metrics:
            del row["segmentsWithFocusData"]
    return rows


def _json(rows: list[Row], total: list[Row], window: Window) -> str:
    import msgspec

    from handletime.segments.files import instant

    answer = {"from": instant(window.start), "to": instant(window.end), "rows": rows, "total": total}
    return msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() + "\n"


def _csv(rows: list[Row], names: list[str]) -> None:
    import csv

    writer = csv.DictWriter(sys.stdout, names)
    writer.writeheader()
    writer.writerows(rows)


# --- on a terminal ---------------------------------------------------------------------------------------------------


def _print(
    rows: list[Row],
    total: list[Row],
    keys: tuple[By, ...],
    metrics: list[str] | None,
    quality: Quality,
    window: Window,
) -> None:
    from rich.console import Console

    from handletime.segments.files import instant

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_OF_FILES
    if not rows:
        console.print("No segment ended in this time.")
    else:
        console.print(f"Segments that ended from {instant(window.start)} to {instant(window.end)}")
    for block in _blocks(metrics) if rows else ():
        if not _says_something(block, rows):
            continue
        console.print()
        if block.title == "Handle time" and all(row["avgHandleTimeMillis"] is None for row in rows):
            console.print(f"[bold]Handle time[/bold]: {NO_FOCUS_DATA}")
        else:
            console.print(_table(block, rows, total, keys))
    console.print()
    for line in _notes(quality):
        console.print(line, style="dim", highlight=False)


def _blocks(metrics: list[str] | None) -> Iterable[Block]:
    """The tables to show: the usual ones, or the chosen metrics in tables of four."""
    if metrics is None:
        return BLOCKS
    return [Block("", tuple(metrics[i : i + 4])) for i in range(0, len(metrics), 4)]


def _says_something(block: Block, rows: list[Row]) -> bool:
    """Whether a block has numbers: skill segments have none by agent."""
    return block.title != "Skill segments" or any(row["totalSkillConversationSegments"] for row in rows)


def _table(block: Block, rows: list[Row], total: list[Row], keys: tuple[By, ...]) -> Table:
    from rich import box
    from rich.table import Table

    from handletime.metrics.registry import METRICS

    table = Table(title=block.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for key in keys:
        table.add_column(key.removesuffix("Id"), justify="left" if key == "interval" else "right", no_wrap=True)
    for name in block.metrics:
        table.add_column(METRICS[name].label or name, justify="right", no_wrap=bool(METRICS[name].label))
    for row in rows:
        table.add_row(*(_key(row[key]) for key in keys), *_cells(block, row))
    if total and len(rows) > 1:
        table.add_section()
        table.add_row("all", *[""] * (len(keys) - 1), *_cells(block, total[0]), style="bold")
    return table


def _cells(block: Block, row: Row) -> list[str]:
    from handletime.metrics.registry import METRICS

    if block.title == "Handle time" and row["avgHandleTimeMillis"] is None:
        return [NO_FOCUS_DATA, *[""] * (len(block.metrics) - 1)]
    return [_cell(METRICS[name], row[name]) for name in block.metrics]


def _key(value: Value | str) -> str:
    text = str(value)
    return text[:19].replace("T", " ").removesuffix(":00") if text.endswith("Z") else text


def _cell(metric: Metric, value: Value | str) -> str:
    from handletime.metrics.registry import HANDLE_TIME

    if value is None and metric.key in HANDLE_TIME:
        return NO_FOCUS_DATA
    if not isinstance(value, int | float) or (metric.per and value == -1):
        return "–"
    match metric.unit:
        case "millis":
            return duration(value)
        case "percent":
            return f"{value:.1f} %"
        case "messages":
            return f"{value:.2f}"
        case _:
            return f"{value:,}"


def _notes(quality: Quality) -> Iterator[str]:
    running = quality.running_agent_segments
    if running:
        yield f"{count(running, 'agent segment')} still running: in no metric."
    blind = quality.agents_without_focus()
    if blind:
        yield (
            f"{len(blind):,} of {count(len(quality.human_agents), 'human agent')} without any focus event: "
            "their handle time is unknown, and in no average."
        )
    if quality.long_units:
        yield (
            f"{count(quality.long_units, 'handle-time unit')} longer than 30 minutes "
            f"({duration(quality.long_units_millis)} in all): a focus that nobody ended?"
        )
