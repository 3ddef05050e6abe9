"""`handletime explain`: why a conversation's numbers are so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import click

from handletime.answers.words import (
    CLAUSES,
    CLOCKS,
    END_REASONS,
    FOLLOWS,
    NO_EFFECT,
    NO_FOCUS_DATA,
    NOT_HANDLED,
    OUTCOMES,
    VERDICTS,
    count,
    duration,
    event,
    queue_came,
    queue_ended,
)
from handletime.cli.console import account_option, memory_option, prepared

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from handletime.segments.explain import Explanation, Moment, Reading

Json = dict[str, object]
WIDTH = 100


@click.command(short_help="Why a conversation's numbers are so, event by event.")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--conversation", required=True, metavar="ID", help="The conversation's id.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people or for programs.",
)
@click.option(
    "--targets",
    "targets_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Targets and opening hours (TOML), to say whether each wait kept to its target.",
)
@memory_option
@account_option("Account of events that name none; and whose conversation, where several accounts have the id.")
@click.pass_context
def explain(
    context: click.Context,
    files: tuple[str, ...],
    conversation: str,
    format_: Literal["text", "json"],
    targets_file: Path | None,
    memory: int,
    account: str,
) -> None:
    """Explain one conversation: its events in order and, between them, who was assigned, whether the consumer waited,
    where the focus was, and what counted as handle time under which clause of the rules; then its segments.

    Give all files that have events of its agents: what else they looked at ends their focus here.
    """
    chosen = context.get_parameter_source("account") is not click.core.ParameterSource.DEFAULT
    reading = _find(files, conversation, account, chosen, memory, targets_file)
    explanation = reading.explanation
    if format_ == "json":
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(explanation), indent=2).decode())
    else:
        show(reading)


def _find(
    files: Sequence[str], conversation: str, account: str, chosen: bool, memory: int, targets_file: Path | None
) -> Reading:
    from handletime.answers.explained_levels import add_levels
    from handletime.errors import InputError
    from handletime.segments.explain import conversations_named, read
    from handletime.targets.file import TargetsFile

    targets = TargetsFile(targets_file)  # Told of before anything takes long.
    found: dict[str, Reading] = {}
    for part in prepared(files, account, memory):
        for name in conversations_named(part.events, conversation):
            found[name] = read(part, name, conversation)
        del part  # before the next one is made
    if chosen and found:
        found = {name: reading for name, reading in found.items() if name == account}
    if not found:
        where = f" of account {account}" if chosen else ""
        raise InputError(f"there is no conversation {conversation}{where} in these files")
    if len(found) > 1:
        raise InputError(
            f"accounts {', '.join(sorted(found))} each have a conversation {conversation}: choose with --account"
        )
    ((name, reading),) = found.items()
    add_levels(reading, targets.of(name), reading.times[-1])
    return reading


# --- on a terminal ---------------------------------------------------------------------------------------------------


def show(reading: Reading) -> None:
    """Prints an explanation for people: in words, event by event, and as segments."""
    from rich.console import Console

    _print(reading, Console(width=None if Console().is_terminal else WIDTH, highlight=False))


def _print(reading: Reading, console: Console) -> None:
    from rich.text import Text

    from handletime.answers.clocks import ISO
    from handletime.answers.labels import AccountLabels
    from handletime.answers.lead import lead
    from handletime.answers.told import paragraphs

    explanation = reading.explanation
    days = sorted({moment.time[:10] for moment in explanation.moments})
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    console.print(
        Text(f"Conversation {explanation.conversation_id}, account {explanation.account_id}, {span} (UTC)", "bold")
    )
    names = AccountLabels().text
    console.print(Text(lead(reading, names), "bold"))
    for text in paragraphs(reading, names, ISO):
        console.print(Text(text))
    console.print(_timeline(explanation))
    for clause in sorted({moment.handled_under for moment in explanation.moments if moment.handled_under}):
        console.print(f"{clause}: {CLAUSES[clause]}", style="dim")
    console.print()
    for segment in explanation.skill_segments:
        console.print(_skill_segment(segment), soft_wrap=False)
    for segment in explanation.queue_segments:
        console.print(_queue_segment(segment), soft_wrap=False)
        _print_levels(segment, console)
    for segment in explanation.agent_segments:
        _print_agent_segment(segment, console)


def _timeline(explanation: Explanation) -> Table:
    from rich import box
    from rich.table import Table

    from handletime.segments.explain import queues_begun

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in ("time", "event", "agent", "waits", "focus"):
        table.add_column(heading, overflow="fold")
    table.add_column("lasts", justify="right", no_wrap=True)
    table.add_column("handle time", overflow="fold")
    day = ""
    for moment, queue in zip(explanation.moments, queues_begun(explanation), strict=True):
        date, clock = moment.time[:10], moment.time[11:-1]
        if date != day and day:
            table.add_row(date, style="dim")
        day = date
        table.add_row(clock, _event(moment), *_state(moment), style="dim" if moment.no_effect else "")
        if queue:
            table.add_row("", f"queue {queue['sequence']}: {queue_ended(queue)}", style="cyan")
    return table


def _event(moment: Moment) -> str:
    from rich.markup import escape

    text = event(moment, lambda _kind, number: str(number))
    if moment.no_effect:
        text += f"; no effect: {NO_EFFECT[moment.no_effect]} ({moment.rule})"
    return escape(text)


def _state(moment: Moment) -> tuple[str, str, str, str, str]:
    assigned = moment.assigned_agent_id
    lasts = "" if moment.lasts_millis is None else duration(moment.lasts_millis)
    if not moment.open:
        return "", "", "", lasts, ""
    if assigned is None:
        return "–", "", "", lasts, _handled(moment)
    waits = "waits" if moment.consumer_waits else "–"
    return str(assigned), waits, "here" if moment.agent_looks else "–", lasts, _handled(moment)


def _handled(moment: Moment) -> str:
    if moment.handle_time_millis:
        return f"[green]{duration(moment.handle_time_millis)}[/green] ({moment.handled_under})"
    if not moment.lasts_millis:
        return ""
    return f"[dim]{NOT_HANDLED.get(moment.not_handled_because or '', '')}[/dim]"


def _skill_segment(segment: Json) -> str:
    queue = " in queue" if segment["abandonedInQueue"] else ""
    firsts = segment["firstResponseMillis"]
    responses = f"; first responses {_durations(firsts)}" if firsts else ""
    return (
        f"[bold]Skill segment {segment['sequence']}[/bold]: skill {segment['skillId']}, {segment['userType']}, "
        f"{_span(segment)}, {_ended(segment)}{queue}{responses}"
    )


def _queue_segment(segment: Json) -> str:
    ended = f", {queue_ended(segment)}" if segment["end"] else ""
    return (
        f"[bold]Queue segment {segment['sequence']}[/bold]: skill {segment['skillId']}, {queue_came(segment)}, "
        f"{_span(segment)}{ended}"
    )


def _print_agent_segment(segment: Json, console: Console) -> None:
    from rich.markup import escape

    console.print()
    console.print(
        f"[bold]Agent segment[/bold] of {segment['userType']} {segment['agentId']}: skill {segment['skillId']}, "
        f"after {FOLLOWS[str(segment['follows'])]}, {_span(segment)}, {_ended(segment)}"
    )
    console.print(f"  id {escape(str(segment['segmentId']))}", style="dim")
    first = segment["firstResponseMillis"]
    responses = segment["responseMillis"]
    messages, units = cast(int, segment["agentMessages"]), cast(list[Json], segment["handleTimeUnits"])
    console.print(
        f"  {count(messages, 'message')}, first response "
        f"{'none' if first is None else _durations([first])}, responses {_durations(responses) or 'none'}"
    )
    _print_levels(segment, console)
    console.print(f"  handle time {_total(segment)}{':' if units else ''}")
    for unit in units:
        console.print(
            f"    {unit['sequence']}. {_span(unit)}  {_durations([unit['handleTimeMillis']])}  "
            f"{unit['startReason']} to {unit['endReason']}"
        )


def _print_levels(segment: Json, console: Console) -> None:
    """What each wait was to its target, and which opening hours counted."""
    from rich.markup import escape

    from handletime.answers.explained_levels import levels_of

    for level in levels_of(segment):
        colour = {"met": "green", "missed": "red", "pastDue": "red"}.get(level.verdict, "dim")
        due = "never due" if level.due is None else f"due {_later(level.due, level.waiting_since)}"
        console.print(
            f"  {CLOCKS[level.clock]} from {level.waiting_since[11:-1]}: {duration(level.elapsed_millis)} of "
            f"{duration(level.target_millis)}, {due}: [{colour}]{VERDICTS[level.verdict]}[/{colour}] "
            f"({escape(level.target)})"
        )
        if level.calendar != "always":
            hours = ", ".join(f"{each.start[5:16]} to {each.end[5:16]}" for each in level.counted) or "none"
            console.print(f"    open by {escape(level.calendar)}: {hours.replace('T', ' ')}", style="dim")


def _later(time: str, than: str) -> str:
    """A time, with its date where that is another one."""
    return time[11:-1] if time[:10] == than[:10] else f"{time[:10]} {time[11:-1]}"


def _total(segment: Json) -> str:
    if segment["userType"] == "bot":
        return f"none: {NOT_HANDLED['bot']}"
    if not segment["focusData"]:
        return f"unknown: {NO_FOCUS_DATA}"
    return f"[green]{_durations([segment['totalHandleTimeMillis']])}[/green]"


def _span(segment: Json) -> str:
    start, end = str(segment["start"]), segment["end"]
    return f"{start[11:-1]} to {str(end)[11:-1]}" if end else f"{start[11:-1]}, still running"


def _ended(segment: Json) -> str:
    if not segment["end"]:
        return "no outcome yet"
    return f"{END_REASONS[str(segment['endReason'])]}, {OUTCOMES[str(segment['outcome'])]}"


def _durations(values: object) -> str:
    return ", ".join(duration(value) for value in cast(list[int], values))
