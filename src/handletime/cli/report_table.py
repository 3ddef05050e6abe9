"""A report on a terminal: the most telling metrics in a few tables, and what the data are worth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from handletime.answers import words
from handletime.answers.registry import HANDLE_TIME
from handletime.answers.report import PREVIOUS, REPORTED

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from handletime.answers.periods import Window
    from handletime.answers.registry import Metric
    from handletime.cli.report_origin import Row, Value
    from handletime.segments.derive import Quality

UserType = Literal["human", "bot", "all"]
WIDTH_OF_FILES: Final = 1_000
SHOWN_MAX: Final = 1_000
"""The most rows of conversations on a terminal. Nobody reads more, and a table needs all of its rows in memory."""


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
        "Waits in the queue",
        (
            "totalQueueSegments",
            "queueSegmentsAbandonedByConsumers",
            "abandonedQueueSegmentsPercent",
            "medianQueueWaitMillis",
            "p90QueueWaitMillis",
            "longestQueueWaitMillis",
            "avgQueueWaitMillis",
        ),
    ),
    Block(
        "Service levels",
        (
            *("firstResponseServiceLevelPercent", "firstResponseMetCount", "firstResponseMissedCount"),
            *("responseServiceLevelPercent", "responseMetCount", "responseMissedCount"),
            *("queueWaitServiceLevelPercent", "queueWaitMetCount", "queueWaitMissedCount"),
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


class Shown(NamedTuple):
    """The rows of a report, and those of all together; the names of their keys, in order; and what was asked for."""

    rows: list[Row]
    total: list[Row]
    keys: Sequence[str]
    window: Window
    zone: ZoneInfo
    user_type: UserType
    before: Window | None = None
    """The window that is compared with."""


def show(report: Shown, metrics: Sequence[str] | None, quality: Quality | None) -> None:
    """Prints a report for people: the usual tables, or these metrics."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_OF_FILES  # Nothing is cut.
    whose = {"human": " of human agents", "bot": " of bots", "all": ""}[report.user_type]
    if not report.rows:
        console.print(f"No segments{whose} ended in this time.")
    else:
        start, end = (words.moment_exactly(moment, report.zone) for moment in report.window)
        console.print(f"Segments{whose} that ended from {start} to {end} ({report.zone.key})")
        if report.before is not None:
            start, end = (words.moment_exactly(moment, report.zone) for moment in report.before)
            console.print(f"In brackets: from {start} to {end}")
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
    for line in _notes(quality, report.user_type) if quality else ():
        console.print(line, style="dim", highlight=False)


def _blocks(metrics: Sequence[str] | None) -> Iterable[Block]:
    """The tables to show: the usual ones, or the chosen metrics in tables of four."""
    if metrics is None:
        return BLOCKS
    return [Block("", tuple(metrics[i : i + 4])) for i in range(0, len(metrics), 4)]


def shown_by(metrics: Sequence[str] | None) -> list[str]:
    """The metrics that are shown."""
    return [name for block in _blocks(metrics) for name in block.metrics]


def _says_something(block: Block, report: Shown) -> bool:
    """Whether a block has numbers: skill and queue segments have none by agent, and bots do not handle."""
    if block.title == "Handle time":
        return report.user_type != "bot"
    counted = _COUNTED.get(block.title)
    return counted is None or any(row[counted] for row in report.rows)


_COUNTED: Final = {"Skill segments": "totalSkillConversationSegments", "Waits in the queue": "totalQueueSegments"}


def _table(block: Block, report: Shown) -> Table:
    keys = report.keys
    table = Table(title=block.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for key in keys:
        justify: Literal["left", "right"] = "left" if key in _TEXTS else "right"
        table.add_column(_HEADINGS.get(key) or key.removesuffix("Id"), justify=justify, no_wrap=True)
    for name in block.metrics:
        label = REPORTED[name].label
        table.add_column(label or name, justify="right", no_wrap=bool(label))
    for row in report.rows[:SHOWN_MAX] if "conversationId" in keys else report.rows:
        shown = (escape(_key(key, row[key], report.zone)) for key in keys)
        table.add_row(*shown, *_cells(block, row, compare=report.before is not None))
    if keys and report.total and len(report.rows) > 1:
        absent = {name for name in block.metrics if all(row[name] is None for row in report.rows)}
        total = report.total[0] | dict.fromkeys(absent)
        table.add_section()
        cells = _cells(block, total, compare=report.before is not None)
        table.add_row("all", *[""] * (len(keys) - 1), *cells, style="bold")
    return table


_TEXTS: Final = frozenset({"conversationId", "intervalStart", "source", "userType"})
_HEADINGS: Final = {"intervalStart": "interval", "userType": "user type"}


def _cells(block: Block, row: Row, *, compare: bool) -> list[str]:
    if block.title == "Handle time" and row["avgHandleTimeMillis"] is None and not compare:
        return [words.NO_FOCUS_DATA, *[""] * (len(block.metrics) - 1)]
    cells = [_cell(REPORTED[name], row[name]) for name in block.metrics]
    if not compare:
        return cells
    before = (_cell(REPORTED[name], row[f"{name}{PREVIOUS}"]) for name in block.metrics)
    return [f"{cell} ({other})" for cell, other in zip(cells, before, strict=True)]


def _key(name: str, value: Value, zone: ZoneInfo) -> str:
    if name == "intervalStart":
        return words.moment_exactly(round(1000 * datetime.fromisoformat(str(value)).timestamp()), zone)
    return words.NONE if value is None else str(value)


def _cell(metric: Metric, value: Value) -> str:
    if value is None and metric.key in HANDLE_TIME:
        return words.NO_FOCUS_DATA
    return metric.said(None if value is None else float(value) if metric.unit != "count" else int(value))


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
