"""`handletime targets`: checks and shows a file of targets and opening hours; prints the closed dates of a country."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from handletime.errors import InputError

if TYPE_CHECKING:
    from handletime.targets.hours import Calendar
    from handletime.targets.targets import Targets

FILE: Final = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
DAYS_SHOWN: Final = 14
YEARS_MAX: Final = 10


@click.group(
    short_help="Targets and opening hours, for service levels.",
    epilog="""\b
  handletime targets closed DE --year 2027 --part BY   closed dates, for the file
  handletime targets check targets.toml                is the file right?
  handletime targets show targets.toml                 what it says, day by day
  handletime report day.ndjson --targets targets.toml --by skill
  handletime serve --data store --targets targets.toml""",
)
def targets() -> None:
    """Check and show the file that says what was promised: how soon consumers get an answer, and when you are open.

    The file is TOML; docs/targets.md explains it, with examples.
    """


@targets.command(short_help="Say whether a file is right.")
@FILE
def check(file: Path) -> None:
    """Say whether a file of targets is right. Every fault is told with its line and what is right."""
    from handletime.answers.target_words import shadowed
    from handletime.targets.file import read_targets

    found = read_targets(file)
    for target, before in shadowed(found.of(None)):
        click.echo(f"Note: {target.name} never counts: {before.name} stands before it and fits all of its segments")
    calendars = len(found.calendars) - 1
    click.echo(f"{file}: {_counted(len(found.targets), 'target')}, {_counted(calendars, 'calendar')}; no fault")


@targets.command(short_help="Print targets in their order, and the hours of the next days.")
@FILE
@click.option("--account", metavar="ACCOUNT", help="Only the targets of this account.")
@click.option(
    "--from",
    "start",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="The first day whose hours are printed.  [default: today]",
)
@click.option(
    "--days",
    type=click.IntRange(1, 366),
    default=DAYS_SHOWN,
    show_default=True,
    help="How many days of each calendar are printed.",
)
def show(file: Path, account: str | None, start: object, days: int) -> None:
    """Print the targets of a file in their order, and each calendar's hours, day by day.

    Of each segment the first target counts whose conditions all hold.
    """
    from datetime import UTC, datetime

    from handletime.answers.target_words import lines_of
    from handletime.targets.file import read_targets

    found = read_targets(file)
    first = start if isinstance(start, datetime) else datetime.now(UTC)
    own = found.of(account)
    for place, target in enumerate(own.targets, 1):
        click.echo(f"{place}. {target.name}")
        for line in lines_of(target):
            click.echo(f"   {line}")
    if not own.targets:
        click.echo("No target" + ("." if account is None else f" for account {account}."))
    for calendar in _used(found):
        click.echo(f"\nCalendar {calendar.name}, by the clocks of {calendar.zone}")
        for number in range(days):
            click.echo(f"  {_of_day(calendar, first.date() + timedelta(days=number))}")


def _used(found: Targets) -> Iterator[Calendar]:
    """The calendars that close."""
    return (calendar for calendar in found.calendars.values() if not calendar.is_always)


def _of_day(calendar: Calendar, day: object) -> str:
    from datetime import date

    assert isinstance(day, date)  # noqa: S101 — made above
    spans = calendar.dates.get(day)
    why = "" if spans is None else "  (hours of its own)"
    if spans is None and day in calendar.closed:
        spans, why = (), "  (closed date)"
    spans = calendar.week[day.weekday()] if spans is None else spans
    hours = ", ".join("-".join(f"{at // 60:02}:{at % 60:02}" for at in span) for span in spans) or "closed"
    return f"{day:%a} {day}  {hours}{why}"


@targets.command(short_help="Print the closed dates of a country, for the file.")
@click.argument("country")
@click.option(
    "--year",
    "years",
    type=click.IntRange(1970, 2200),
    multiple=True,
    metavar="YEAR",
    help="Of which year; may be repeated.  [default: this year and the next]",
)
@click.option("--part", metavar="CODE", help="Also what is closed in this part of the country alone: BY, CA, …")
def closed(country: str, years: tuple[int, ...], part: str | None) -> None:
    """Print the public holidays of a COUNTRY (two letters of ISO 3166: DE, US, CL) as dates for a calendar of the file.

    What is printed belongs into the file and stays there: a later version of the list changes no number of the past.
    Needs the package `holidays` (the extra of this name; docs/targets.md).
    """
    from datetime import UTC, datetime

    now = datetime.now(UTC).year
    wanted = sorted(set(years)) or [now, now + 1]
    if len(wanted) > YEARS_MAX:
        raise click.UsageError(f"--year may be given {YEARS_MAX} times")
    name, version, found = _holidays(country.upper(), wanted, part)
    place = f"{name}, {part}" if part else name
    click.echo(f"# Public holidays of {place}, {', '.join(map(str, wanted))} (holidays {version})")
    click.echo("closed = [")
    for day, what in found:
        click.echo(f"  {day}, # {what}")
    click.echo("]")


def _holidays(country: str, years: list[int], part: str | None) -> tuple[str, str, list[tuple[object, str]]]:
    """The name of a country, the version of the list, and the dates with their names in English, where there are such.

    Raises InputError.
    """
    from importlib.metadata import version

    try:
        import holidays
    except ModuleNotFoundError as error:
        raise InputError(
            "the package `holidays` is not installed: pip install --require-hashes -r requirements/holidays.txt"
        ) from error
    known = holidays.list_supported_countries(include_aliases=False)
    if country not in known:
        raise InputError(f"there are no holidays of {country!r}; a country has two letters: {', '.join(sorted(known))}")
    if part is not None and part not in known[country]:
        right = f"its parts are {', '.join(known[country])}" if known[country] else "it has no parts here"
        raise InputError(f"{country} has no part {part!r}: {right}")
    languages = holidays.list_localized_countries(include_aliases=False).get(country, [])
    language = next((each for each in languages if each.startswith("en")), None)
    found = holidays.country_holidays(country, subdiv=part, years=years, language=language)
    return country, version("holidays"), sorted((day, what) for day, what in found.items() if day.year in years)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
