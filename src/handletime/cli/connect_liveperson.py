"""`handletime connect liveperson`: LivePerson's history is asked every few minutes for what is new."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click
from msgspec.structs import replace

from handletime.answers.words import count
from handletime.cli.connecting import target, target_options
from handletime.cli.console import Instant, progress_bar
from handletime.clock import DAY, SystemClock

if TYPE_CHECKING:
    from handletime.cli.connect_notes import Notes
    from handletime.cli.sending import Target
    from handletime.sources.event import Event
    from handletime.sources.liveperson.polling import State
    from handletime.sources.liveperson.record import Conversation

SINCE_DAYS: Final = 30
FAULTS_SHOWN: Final = 20


class Since(click.ParamType[int]):
    """A number of days up to now, or a moment."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Epoch milliseconds. Fails with what is allowed."""
        if re.fullmatch("[0-9]{1,4}", str(value)):
            return SystemClock().now() - int(str(value)) * DAY
        return Instant().convert(value, param, ctx)


@click.command(short_help="LivePerson's messaging history.")
@click.option("--account", required=True, metavar="ACCOUNT", help="Account of LivePerson's.")
@click.option("--url", metavar="URL", help="https://HOST of the account's history; LivePerson is asked for it without.")
@click.option(
    "--credentials",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help='File with {"appKey", "appSecret", "accessToken", "accessTokenSecret"} or {"bearer"}, for its owner only.',
)
@target_options
@click.option("--as", "named", metavar="ACCOUNT", help="Account in handletime.  [default: LivePerson's]")
@click.option(
    "--since",
    type=Since(),
    metavar="DAYS|DATE",
    help=f"Take conversations that began since then.  [default: {SINCE_DAYS} days ago, at the first run]",
)
@click.option(
    "--every", type=click.FloatRange(0.01, 1440), default=5, show_default=True, metavar="MINUTES", help="How often."
)
@click.option("--once", is_flag=True, help="Ask once and end, for cron.")
@click.option(
    "--state",
    "state_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where it notes how far it is.  [default: liveperson-ACCOUNT.json]",
)
@click.option(
    "--faults",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append what was found wrong to a file, all of it.",
)
def liveperson(
    account: str,
    url: str | None,
    credentials: Path | None,
    folder: Path | None,
    server: str | None,
    key: str | None,
    named: str | None,
    since: int | None,
    every: float,
    once: bool,
    state_file: Path | None,
    faults: Path | None,
) -> None:
    """Ask LivePerson's messaging history every few minutes, and bring what is new into a store.

    The credentials are the four values of one of LivePerson's API keys, or a bearer token, in the environment or in a
    file (docs/connect-liveperson.md). The first run takes the past; after whatever stopped it, the same command goes
    on where it was. Texts and personal data are dropped at the door. There is no focus in the history: handle time is
    unknown.
    """
    from handletime.cli.connect_notes import Notes
    from handletime.errors import HandletimeError
    from handletime.events.book import is_account

    if not is_account(named or account):
        raise click.BadParameter("must be 1 to 64 letters and digits (a-z, A-Z, 0-9)", param_hint="--account, --as")
    place = str(folder.absolute()) if folder else (server or "").rstrip("/")
    notes = Notes(state_file or Path(f"liveperson-{account}.json"), f"{account} → {place}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    worked = False
    try:
        while True:
            begun = time.monotonic()
            try:
                source = Source(account, url, credentials, since)
                told = _poll(source, target(folder, server, key), named, notes, faults)
            except (HandletimeError, OSError) as error:
                if once or not worked:
                    raise
                click.echo(f"{_stamp()} {error}; it is tried again", err=True)
            else:
                worked = True
                click.echo(f"{_stamp()} {told}")
            if once:
                return
            time.sleep(max(every * 60 - (time.monotonic() - begun), 0))
    except KeyboardInterrupt:
        click.echo(f"Stopped. The same command goes on where it was, as {notes.file} says.", err=True)
        sys.exit(130)


class Source(NamedTuple):
    """What is asked, and from when on."""

    account: str
    url: str | None
    credentials: Path | None
    since: int | None


def _poll(
    source: Source, named: AbstractContextManager[Target], account: str | None, notes: Notes, faults: Path | None
) -> str:
    """Asks once, and stores what comes; what is stored of it is noted at each step. Gives what was done, in words."""
    from handletime.cli.sending import Tally
    from handletime.events.model import FUTURE_MAX
    from handletime.sources.liveperson.credentials import credentials_of
    from handletime.sources.liveperson.polling import first_state, reaching_back, steps
    from handletime.sources.liveperson.search import Search
    from handletime.sources.tables import tables_of

    now = SystemClock().now()
    latest = now + FUTURE_MAX // timedelta(milliseconds=1)
    since = now - SINCE_DAYS * DAY if source.since is None else source.since
    state = notes.state or first_state(min(since, now), now)
    if source.since is not None:
        state = reaching_back(state, source.since)
    tally, seen = Tally(), set[str]()
    found: list[str] = []
    key = credentials_of(source.credentials, os.environ)
    with (
        Search(source.account, key, source.url) as search,
        named as store,
        _progress(state) as progress,
        _telling(faults) as tell,
    ):
        for pages, then in steps(search.page, state, now, partial(click.echo, err=True)):
            for page in pages:
                seen.update(one.conversation_id for one in page)
                found += [f"{_named(one)}: {wrong}" for one in page for wrong in one.faults]
                good = []
                for one in page:
                    if why := _refused(one, latest, None if account else source.account):
                        found.append(f"{_named(one)}: {why}; not imported")
                    else:
                        good.append(one)
                for table in tables_of(_events(good, account), account=source.account):
                    store.put(table, tally)
            store.finish(tally)
            untold = notes.untold(found)
            tell(untold)
            notes.keep(then, untold)
            found.clear()
            progress(then)
    return f"{count(len(seen), 'conversation')}, {tally.said()}"


def _refused(one: Conversation, latest: int, account: str | None) -> str:
    """Why a server would refuse a conversation, and all that is sent with it (http-api.md 5); "" where it takes it.

    `latest` is in epoch milliseconds; `account` is the only one that is taken, if it is one.
    """
    if account is not None and one.account not in ("", account):
        return f"info.brandId: is not {account}, which was asked for; --as ACCOUNT takes it all the same"
    return "a time is more than 24 hours in the future" if any(event.time > latest for event in one.events) else ""


def _named(one: Conversation) -> str:
    return f"conversation {one.conversation_id}" if one.conversation_id else "a record"


def _events(page: list[Conversation], account: str | None) -> Iterator[Event]:
    """The events of a page; all of them of an account, if one is named."""
    events = chain.from_iterable(one.events for one in page)
    return (replace(event, account_id=account) for event in events) if account else events


@contextmanager
def _telling(file: Path | None) -> Iterator[Callable[[list[str]], None]]:
    """Tells faults as they are found: all of them to a file, or the first on standard error."""
    number = 0

    def tell(wrong: list[str]) -> None:
        nonlocal number
        if file is not None:
            with file.open("a") as out:
                out.writelines(f"{line}\n" for line in wrong)
        else:
            for line in wrong[: max(FAULTS_SHOWN - number, 0)]:
                click.echo(line, err=True)
        number += len(wrong)

    try:
        yield tell
    finally:
        if number > FAULTS_SHOWN and file is None:
            click.echo(f"… and {number - FAULTS_SHOWN:,} more; --faults FILE has them all", err=True)


@contextmanager
def _progress(state: State) -> Iterator[Callable[[State], None]]:
    """A bar while the past is asked for, on a terminal."""
    with progress_bar("asking for the past", state.begun - state.since) as (bar, task):
        bar.update(task, completed=state.filled - state.since, visible=state.filled < state.begun)

        def progress(then: State) -> None:
            bar.update(task, completed=then.filled - then.since, visible=then.filled < then.begun)

        yield progress


def _stamp() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
