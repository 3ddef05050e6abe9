"""`handletime connect chatwoot`: a webhook, its secret, names, and what happened before (docs/chatwoot.md)."""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import click
from msgspec import Struct

from handletime.answers.words import Kind, count, utc
from handletime.cli.connecting import target
from handletime.cli.console import Instant, progress_bar, token_option
from handletime.cli.folder import keep_private, make_folder, side_file
from handletime.clock import SystemClock
from handletime.errors import InputError, StoreError
from handletime.files import replace_whole

if TYPE_CHECKING:
    from handletime.cli.sending import Tally, Target
    from handletime.sources.chatwoot.client import Client, Name, Webhook
    from handletime.sources.chatwoot.rest import Period
    from handletime.sources.chatwoot.webhook import Options
    from handletime.sources.event import Event

FAULTS_SHOWN: Final = 20
LABEL_MAX: Final = 200
"""The same as `web.labels.LABEL_MAX`, whose import takes long; a test compares them."""
STATE_MAX: Final = 1 << 16
PAGE_CONVERSATIONS: Final = 25
"""Conversations on a page, where Chatwoot's operator set nothing else; only the progress counts on it."""


class Source(NamedTuple):
    """A source of deliveries: `secret` signs them, or stands in their address (`proof`)."""

    name: str
    account: str
    secret: str
    proof: Literal["signature", "address"]
    skill: Literal["inbox", "team"]
    auto_resolve_minutes: int | None

    def described(self) -> dict[str, str | int]:
        """What is not secret, as docs/webhooks.md has it."""
        told: dict[str, str | int] = {"kind": "chatwoot", "proof": self.proof, "skill": self.skill}
        return told | ({"auto-resolve-minutes": self.auto_resolve_minutes} if self.auto_resolve_minutes else {})

    def toml(self) -> str:
        """Its table for a settings file."""
        lines = {"account": self.account, "secret": self.secret, **self.described()}
        return "\n".join([f"[source.{self.name}]", *(f"{key} = {json.dumps(value)}" for key, value in lines.items())])


class State(Struct, forbid_unknown_fields=True):
    """How far this has come: what stands here was acknowledged. Times are epoch milliseconds.

    `to` is the server, or the folder of the store. `made` is when the webhook was made by us; `since` and `until` are
    those of the backfill whose next page is `page`.
    """

    url: str
    chatwoot_account: int
    account: str
    to: str
    skill: str
    made: int | None = None
    since: int | None = None
    until: int | None = None
    page: int = 1


@click.command(short_help="Chatwoot: webhook, names, and what happened before.")
@click.option("--url", required=True, metavar="URL", help="Address of Chatwoot.")
@click.option(
    "--token",
    required=True,
    envvar="CHATWOOT_TOKEN",
    show_envvar=True,
    metavar="TOKEN",
    help="Access token of an administrator, from the profile's settings.",
)
@click.option(
    "--account",
    "number",
    required=True,
    type=click.IntRange(1),
    metavar="NUMBER",
    help="Chatwoot's account: the number in the address of its pages, /app/accounts/NUMBER.",
)
@click.option("--as", "account", metavar="ACCOUNT", help="Account of the events.  [default: the number]")
@click.option(
    "--data",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the store. Events go into it too where there is no --to; no server may run on it then.",
)
@click.option("--to", "server", metavar="SERVER", help="Address of a running server that takes the events.")
@token_option("--key", "ingest", "--to")
@click.option("--address", metavar="URL", help="Address of the server as Chatwoot reaches it.  [default: that of --to]")
@click.option("--name", default="chatwoot", show_default=True, metavar="NAME", help="Name of the source.")
@click.option(
    "--skill",
    type=click.Choice(["inbox", "team"]),
    default="inbox",
    show_default=True,
    help="What counts as skill.",
)
@click.option(
    "--labels",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File of names to add those of agents, bots and skills to.",
)
@click.option("--since", type=Instant(), metavar="TIME", help="Backfill conversations with something since then.")
@click.option(
    "--until",
    type=Instant(),
    metavar="TIME",
    help="No deliveries were made until then: assignments are inferred.  [default: when the webhook was made]",
)
@click.option("--no-backfill", is_flag=True, help="Bring nothing of what happened before.")
@click.option(
    "--state",
    "state_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File that says how far this has come.  [default: handletime-NAME.state]",
)
@click.option(
    "--settings-out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the source, with its secret, for the server's settings file.  [default with --to alone: NAME.toml]",
)
def chatwoot(
    url: str,
    token: str,
    number: int,
    account: str | None,
    folder: Path | None,
    server: str | None,
    key: str | None,
    address: str | None,
    name: str,
    skill: Literal["inbox", "team"],
    labels: Path | None,
    since: int | None,
    until: int | None,
    no_backfill: bool,
    state_file: Path | None,
    settings_out: Path | None,
) -> None:
    """Connect a Chatwoot: a webhook whose deliveries become events, names, and what happened before.

    Running it again is harmless: the webhook is found again, and a backfill that was stopped goes on where it was.
    """
    from handletime.sources.chatwoot.client import Client
    from handletime.sources.chatwoot.webhook import Options

    account = account or str(number)
    keep_private()
    _check(account, name, folder, server, key)
    where = target(None if server else folder, server, key)
    hook = f"{_base(address or server)}/api/account/{account}/sources/{name}"
    state_file = state_file or Path(f"handletime-{name}.state")
    url = url.rstrip("/")
    state = _state(state_file, State(url, number, account, server or str(folder.absolute() if folder else ""), skill))
    if server is not None:
        _try_server(server, key or "", account)
    elif not no_backfill:
        with _beside_no_server(), target(folder, None, None):
            pass  # No server runs on it: that is told before anything is changed in Chatwoot.
    if re.match(r"http://(?!localhost\b|127\.|\[::1\])", url):
        click.echo(
            f"{url} is not encrypted: whoever is on the way can read the token. Give its https:// address.", err=True
        )
    with Client(url, token, number) as client:
        minutes = client.auto_resolve_minutes()
        resolves = f"resolves after {count(minutes, 'silent minute')}" if minutes else "resolves nothing by itself"
        click.echo(f"Chatwoot: {url}, account {number}; it {resolves}")
        if labels is not None:
            added = _add_labels(labels, account, client.names(), skill)
            click.echo(f"Names: {count(added, 'name')} added to {labels}")
        webhook = _webhook(client, hook, state, state_file)
        secret = webhook.secret or webhook.address_secret()
        if not secret:
            raise InputError(f"{url} took the webhook {hook}, and tells no secret of it: delete it there and try again")
        proof: Literal["signature", "address"] = "signature" if webhook.secret else "address"
        _keep(Source(name, account, secret, proof, skill, minutes), folder, settings_out)
        if not no_backfill:
            _backfill(client, where, Options(skill, minutes), state, state_file, since, until)
    click.echo(_advice(hook))


def _check(account: str, name: str, folder: Path | None, server: str | None, key: str | None) -> None:
    from handletime.deliveries.source import NAME, NAME_FORM
    from handletime.events.book import is_account

    if not is_account(account):
        raise click.BadParameter("must be 1 to 64 letters and digits (a-z, A-Z, 0-9)", param_hint="--as")
    if not NAME.fullmatch(name):
        raise click.BadParameter(f"must be {NAME_FORM}", param_hint="--name")
    if folder is None and server is None:
        raise click.UsageError("name --data DIR, or --to SERVER and --key TOKEN, or both")
    if server is not None and not key:
        raise click.UsageError("--to needs --key, or HANDLETIME_TOKEN in the environment")


def _try_server(server: str, key: str, account: str) -> None:
    """Sends no events: an address, a key or an account that is wrong is told before anything is changed in Chatwoot.

    Raises InputError, NotNow.
    """
    from handletime.cli.sending import Client

    client = Client(server, key)
    try:
        client.send(account, b"\n")
    finally:
        client.stop()


@contextmanager
def _beside_no_server() -> Iterator[None]:
    """Says what to do where a store cannot be opened."""
    try:
        yield
    except StoreError as error:
        raise StoreError(f"{error}\nWhere a server runs on the folder, its events go to --to SERVER.") from error


def _base(address: str | None) -> str:
    from handletime.sources.chatwoot.client import is_address

    if address is None:
        raise click.UsageError("name --address URL: where Chatwoot reaches the server")
    if not is_address(address):
        raise click.BadParameter("must be https://host or http://host:port", param_hint="--address")
    return address.rstrip("/")


def _keep(source: Source, folder: Path | None, settings_out: Path | None) -> None:
    """Hands the source to the server: into its folder, where it counts at once, or as a table for its settings file."""
    if folder is not None and settings_out is None:
        from handletime.keys.sources import KeptSource, keep_source

        make_folder(folder)
        with side_file(folder) as side:
            described = json.dumps(source.described()).encode()
            keep_source(side, KeptSource(source.account, source.name, described, source.secret))
        click.echo(f"Secret: kept, sealed, in {folder}; a server that runs there takes deliveries from now on.")
        return
    path = settings_out or Path(f"{source.name}.toml")
    if path.exists() and not _is_alone(path, source.name):
        raise InputError(f"{path} holds something else; name a new file with --settings-out")
    content = f"{source.toml()}\n".encode()
    is_same = path.exists() and path.read_bytes() == content
    replace_whole(path, content)
    if is_same:
        click.echo(f"Secret: in {path}, as before.")
        return
    click.echo(f"Secret: in {path}; put what stands there into the server's settings file, and start the server anew.")
    click.echo("Until it runs so, it refuses deliveries: then run this again, with --until and that time.")


def _is_alone(path: Path, name: str) -> bool:
    """Whether a file holds this source and nothing else."""
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except ValueError:
        return False
    return found.keys() == {"source"} and isinstance(found["source"], dict) and found["source"].keys() == {name}


# --- the webhook ----------------------------------------------------------------------------------------------


def _webhook(client: Client, address: str, state: State, state_file: Path) -> Webhook:
    """The webhook with this address, found or made, with all that it needs."""
    found = client.webhook(address)
    if found is None:
        state.made = SystemClock().now()
        _save(state_file, state)  # Before the webhook, or nobody would know when it was made.
    mended = client.mend_webhook(found or client.make_webhook(address))
    what = "made" if found is None else "is there" if found == mended else "mended"
    click.echo(f"Webhook: {what}, {address}")
    if not mended.secret:
        click.echo("This Chatwoot is too old to sign deliveries: a secret stands in the webhook's address instead.")
    return mended


def _advice(address: str) -> str:
    lines = [
        f"Deliveries go to {address}. Where none come:",
        "  – Chatwoot has to reach that address: https with a certificate that it trusts, a host name with a dot;",
        "  – from 4.14 it refuses private addresses: start it with SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true;",
        "  – it waits 5 s for an answer and never sends again: run this again with --since and --until to fill a gap.",
        "What no Chatwoot tells: whether the consumer or the agent closed, takeovers, and what is on agents' screens",
        "(so handle time is unknown).",
    ]
    return "\n".join(lines)


# --- what happened before -------------------------------------------------------------------------------------


def _backfill(
    client: Client,
    where: AbstractContextManager[Target],
    options: Options,
    state: State,
    state_file: Path,
    since: int | None,
    until: int | None,
) -> None:
    from handletime.cli.sending import Tally
    from handletime.sources.chatwoot.rest import Period

    until = until if until is not None else state.made
    if until is None:
        click.echo(
            "Backfill: the webhook was there before, so it told who had what: messages and closes are brought, and no "
            "assignments. --until TIME says until when no deliveries were made."
        )
    if (state.since, state.until) != (since, until):
        state.since, state.until, state.page = since, until, 1
    elif state.page > 1:
        click.echo(f"Backfill: goes on at page {state.page}")
    nothing = Period()
    silent = Period(since if since is not None else nothing.since, until if until is not None else nothing.until)
    backfill, tally = _Backfill(client, options, silent, state), Tally()
    with _beside_no_server(), where as store, progress_bar("conversations") as (bar, task):
        while (page := backfill.send(store, tally)) is not None:
            bar.update(task, total=page.total, completed=page.done)
            state.page += 1
            _save(state_file, state)
    state.page = 1
    _save(state_file, state)
    backfill.tell(tally)


class _Done(NamedTuple):
    total: int
    done: int


class _Backfill:
    """Sends page after page, and counts."""

    def __init__(self, client: Client, options: Options, silent: Period, state: State) -> None:
        self._client, self._options, self._silent, self._state = client, options, silent, state
        self._conversations = self._reconstructed = 0
        self._looked = (state.page - 1) * PAGE_CONVERSATIONS
        self._faults, self._said = 0, list[str]()
        self._newest = 0.0
        self._is_sorted = True

    def send(self, target: Target, tally: Tally) -> _Done | None:
        """Stores the events of the next page; None where there is none any more."""
        from handletime.sources.tables import tables_of

        listed, total = self._client.conversations(self._state.page)
        if not listed:
            return None
        self._looked += len(listed)
        created = [self._newest, *(each.created for each in listed)]
        self._is_sorted &= created == sorted(created)
        self._newest = created[-1]
        wanted = (each for each in listed if each.active * 1000 >= self._silent.since)
        events = (event for each in wanted for event in self._events(each.id, each.raw))
        for table in tables_of(events, account=self._state.account):
            target.put(table, tally)
        target.finish(tally)
        return _Done(total, self._looked)

    def _events(self, id_: int, raw: bytes) -> Iterable[Event]:
        from handletime.sources.chatwoot.rest import history_of

        found = history_of(raw, self._messages(id_), self._options, self._silent)
        self._conversations += 1
        self._reconstructed += found.is_reconstructed
        for problem in found.problems:
            self._fault(id_, problem)
        return found.events

    def _messages(self, id_: int) -> Iterator[bytes]:
        from handletime.sources.chatwoot.client import MESSAGES_MAX

        taken = 0
        for message in self._client.messages(id_):
            taken += 1
            yield message
        if taken >= MESSAGES_MAX:
            self._fault(id_, f"later messages than the first {MESSAGES_MAX:,} were not asked for")

    def _fault(self, id_: int, what: str) -> None:
        self._faults += 1
        if self._faults <= FAULTS_SHOWN:
            self._said.append(f"conversation {id_}: {what}")

    def tell(self, tally: Tally) -> None:
        """Says what was brought, and what of it is inferred."""
        for fault in self._said:
            click.echo(fault, err=True)
        if self._faults > FAULTS_SHOWN:
            click.echo(f"… and {self._faults - FAULTS_SHOWN:,} more", err=True)
        if not self._is_sorted:
            told = "This Chatwoot lists conversations by their last activity: run this again to find those that moved."
            click.echo(told, err=True)
        click.echo(f"Backfill: {count(self._conversations, 'conversation')}; {tally.said()}")
        if self._reconstructed:
            until = datetime.fromtimestamp(self._silent.until / 1000, UTC)
            click.echo(
                f"Reconstructed before {utc(until)}: {count(self._reconstructed, 'conversation')}. An agent's first "
                "message counts as the assignment; who had it without writing, transfers to the queue and closes "
                "before the last one are not known."
            )


# --- files ----------------------------------------------------------------------------------------------------


def _add_labels(path: Path, account: str, names: Iterable[Name], skill: str) -> int:
    """Adds names to a labels file; lines that are there stay, and ids that have a name keep it. Gives how many."""
    from handletime.answers.labels import read_labels

    there = path.exists()
    known = read_labels(path) if there else {}
    text = path.read_text("utf-8") if there else "kind,id,label,account\n"
    columns = len(next(csv.reader([text.lstrip("\ufeff").partition("\n")[0]])))
    new: list[list[str]] = []
    for kind, id_, name in names:
        label = _label(name)
        as_: Kind = "agent" if kind == "agent" else "skill"
        taken = any(id_ in known.get((whose, as_), {}) for whose in ("", account))
        if label and not taken and kind in ("agent", skill):
            new.append([as_, str(id_), label, account][:columns])
    added = io.StringIO()
    csv.writer(added, lineterminator="\n").writerows(new)
    if new or not there:
        whole = (text if text.endswith("\n") else text + "\n") + added.getvalue()
        replace_whole(path, whole.encode(), *([path.stat().st_mode & 0o777] if there else []))
    return len(new)


def _label(name: str) -> str:
    """A name as the labels file takes it."""
    return "".join(char if char.isprintable() else " " for char in name).strip()[:LABEL_MAX].strip()


def _state(path: Path, fresh: State) -> State:
    """The state in a file; a fresh one where there is none, or where it is of something else."""
    import msgspec

    from handletime.files import read_regular

    try:
        found = msgspec.json.decode(read_regular(path, STATE_MAX), type=State)
    except FileNotFoundError:
        return fresh
    except msgspec.MsgspecError as error:
        raise InputError(f"{path} is no state of this command: {error}; name another one with --state") from error
    same = "url", "chatwoot_account", "account", "to", "skill"
    if any(getattr(found, each) != getattr(fresh, each) for each in same):
        raise InputError(
            f"{path} is of another Chatwoot, account, server, folder or --skill; name another one with --state"
        )
    return found


def _save(path: Path, state: State) -> None:
    import msgspec

    replace_whole(path, msgspec.json.encode(state))
