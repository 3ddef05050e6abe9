"""`handletime simulate`: a made-up contact centre."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from handletime.answers.words import count
from handletime.cli.console import Instant, progress_bar
from handletime.cli.eventfile import OUT_HELP, event_file, out_path

if TYPE_CHECKING:
    from handletime.simulate.centre import Centre


@click.command(short_help="Make up the events of a contact centre.")
@click.option("--out", required=True, callback=out_path, metavar="FILE", help=OUT_HELP)
@click.option("--start", type=Instant(), help="When it begins.  [default: as long ago as it lasts]")
@click.option("--days", type=click.FloatRange(0, 3660, min_open=True), default=1.0, show_default=True, help="How long.")
@click.option("--conversations", type=click.IntRange(1), help="How many.  [default: 2,000 a day]")
@click.option("--events", type=click.IntRange(1), help="Or how many events, about.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed, the same events.")
@click.option("--account", "accounts", multiple=True, default=("demo",), show_default=True, help="May be repeated.")
@click.option("--skills", type=click.IntRange(1, 1000), default=5, show_default=True, help="Of each account.")
@click.option("--agents", type=click.IntRange(1), help="Human agents in all.  [default: as many as the work needs]")
@click.option("--bots", type=click.IntRange(0, 1000), default=2, show_default=True, help="Skills a bot answers first.")
@click.option(
    "--without-focus",
    type=click.FloatRange(0, 1),
    default=0.04,
    show_default=True,
    help="Share of agents whose screens send no focus.",
)
@click.option(
    "--messiness",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of events that come late or twice.",
)
def simulate(
    out: str,
    start: int | None,
    days: float,
    conversations: int | None,
    events: int | None,
    seed: int,
    accounts: tuple[str, ...],
    skills: int,
    agents: int | None,
    bots: int,
    without_focus: float,
    messiness: float,
) -> None:
    """Simulate a contact centre: skills with daily load curves, agents with several conversations and one focus, bots,
    transfers, takeovers, abandonment, resumes; times are log-normal. No person and no text is in it.
    """
    from handletime.simulate.centre import Centre

    if conversations and events:
        raise click.UsageError("--conversations and --events exclude each other")
    span = timedelta(days=days)
    begin = _beginning(span) if start is None else datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=start)
    centre = Centre(
        start=begin,
        days=days,
        seed=seed,
        conversations=conversations,
        events=events,
        accounts=accounts,
        skills=skills,
        agents=agents,
        bots=bots,
        without_focus=without_focus,
        messiness=messiness,
    )
    written = _write(centre, out)
    if out != "-":
        click.echo(f"{out}: {count(written, 'event')} from {begin:%Y-%m-%d %H:%M} UTC on, seed {seed}")


def _beginning(span: timedelta) -> datetime:
    """A whole minute, so that the simulation ends about now."""
    return (datetime.now(UTC) - span).replace(second=0, microsecond=0)


def _write(centre: Centre, out: str) -> int:
    from handletime.simulate.simulate import simulate as events_of

    written = 0
    first, last = centre.start, centre.start + timedelta(days=centre.days)
    with event_file(out) as write, progress_bar("simulating", (last - first).total_seconds()) as (bar, task):
        for table in events_of(centre):
            write(table)
            written += table.num_rows
            bar.update(task, completed=(table["time"][-1].as_py() - first).total_seconds())
    return written
