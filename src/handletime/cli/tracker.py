"""`handletime tracker`: the extension that tells which conversation an agent has on the screen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from handletime.cli.folder import keep_private
from handletime.cli.tracker_keys import tracker_keys

if TYPE_CHECKING:
    from handletime.tracker.build import Built, Desk, Mode, Plan

KINDS = ("chatwoot", "zendesk", "rocketchat", "intercom", "zammad", "freshdesk", "front")
"""The same as `tracker.build.KINDS`; a test compares them."""


@click.group(short_help="Build the browser extension that tells what is on the agents' screens.")
def tracker() -> None:
    """Build the browser extension that tells which conversation an agent has on the screen: the source of handle time.

    It sends the conversation's id and the time, nothing else. Begin with `handletime tracker build --help`.
    """


tracker.add_command(tracker_keys)


@tracker.command(short_help="Write the extension for Chromium and Firefox, policies, and scripts for pages.")
@click.option("--server", required=True, metavar="URL", help="The handletime server, as the agents' browsers reach it.")
@click.option("--account", required=True, metavar="ACCOUNT", help="The account that the agents belong to.")
@click.option(
    "--desk",
    "desks",
    multiple=True,
    metavar="KIND=ORIGIN",
    help=f"Where agents work; may be repeated. KIND is one of {', '.join(KINDS)}.",
)
@click.option(
    "--own-desk",
    "own_desks",
    multiple=True,
    nargs=2,
    metavar="ORIGIN REGEX",
    help="Another desk, and a regular expression for its addresses; may be repeated.",
)
@click.option(
    "--mode",
    type=click.Choice(["visible", "strict"]),
    default="visible",
    show_default=True,
    help="What counts: a conversation on the screen, or only where its window has the keyboard.",
)
@click.option(
    "--idle",
    type=click.IntRange(15, 3600),
    default=120,
    show_default=True,
    metavar="SECONDS",
    help="Without keyboard and mouse for so long, an agent is away.",
)
@click.option(
    "--key", default="", metavar="KEY", help="One agent's focus key, to try it out. Else each enters their own."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder to write to; what an earlier build wrote there is replaced.",
)
def build(
    server: str,
    account: str,
    desks: tuple[str, ...],
    own_desks: tuple[tuple[str, str], ...],
    mode: Mode,
    idle: int,
    key: str,
    out: Path,
) -> None:
    """Write the tracker for one server and one account, ready to load or to sign.

    \b
      handletime tracker build --server https://handletime.example.com --account acme \\
        --desk chatwoot=https://chat.example.com --out tracker

    A desk is where agents work: its kind says what its addresses look like. For any other, --own-desk takes an origin
    and a regular expression that matches the whole path, query and fragment of a conversation's address. Its one group
    is the conversation's id, as your events name it:

    \b
      --own-desk https://desk.example.com '/cases/(\\d+)'

    JavaScript uses the expression; Python checks it here as far as the two agree.

    DIR/signing-key.pem is made once and gives the extension its id in Chromium. Keep it: with another one, it is
    another extension to the browsers.
    """
    from handletime.tracker.build import Plan, is_plain
    from handletime.tracker.build import build as build_tracker

    if key:
        keep_private()
    plan = Plan(*_places(server, account, desks, own_desks, key), mode, idle, key)
    built = build_tracker(plan, out)
    if is_plain(plan.server):
        click.echo(
            f"Warning: {plan.server} is not encrypted. Whoever listens on the way reads the agents' keys; use https.",
            err=True,
        )
    if key:
        click.echo("Warning: what was built has this agent's key in it. Give it to nobody else.", err=True)
    click.echo(_what_next(plan, built, out))


def _places(
    server: str, account: str, desks: tuple[str, ...], own_desks: tuple[tuple[str, str], ...], key: str
) -> tuple[str, str, tuple[Desk, ...]]:
    """The server's address, the account and the desks. Fails with what is allowed, also for the key."""
    from handletime.errors import InputError
    from handletime.events.book import is_account
    from handletime.tracker.build import OWN, Desk, origin_of, own_pattern, server_of

    if not is_account(account):
        raise click.BadParameter("an account has 1 to 64 letters and digits", param_hint="'--account'")
    if key and not re.fullmatch(r"ht_[0-9a-zA-Z]+_[0-9a-zA-Z]+", key):
        raise click.BadParameter("a key looks like ht_…_…; `handletime keys create` prints it", param_hint="'--key'")
    if not desks and not own_desks:
        raise click.UsageError("Missing option '--desk' (or '--own-desk'): where do the agents work?")
    try:
        address = server_of(server)
    except InputError as error:
        raise click.BadParameter(str(error), param_hint="'--server'") from error
    found = []
    for text in desks:
        kind, sign, origin = text.partition("=")
        if not sign or kind not in KINDS:
            raise click.BadParameter(
                f"{text!r} is not KIND=ORIGIN with a KIND of {', '.join(KINDS)}", param_hint="'--desk'"
            )
        found.append((origin, kind, ""))
    found += [(origin, OWN, pattern) for origin, pattern in own_desks]
    try:
        places = tuple(
            Desk(origin_of(origin), kind, pattern and own_pattern(pattern)) for origin, kind, pattern in found
        )
    except InputError as error:
        raise click.BadParameter(str(error), param_hint="'--desk' / '--own-desk'") from error
    if len({desk.origin for desk in places}) < len(places):
        raise click.BadParameter("an origin stands there twice; it can be one desk only", param_hint="'--desk'")
    return address, account, places


def _what_next(plan: Plan, built: Built, out: Path) -> str:
    new = "new; " if built.new_signing_key else ""
    key = (
        "The agent's key is in it already: it is for one browser, to try it out."
        if plan.key
        else "Then open the extension's options and enter the agent's key, from\n"
        f"  handletime tracker keys --csv agents.csv --account {plan.account} --data DIR --out keys.csv"
    )
    return f"""Built in {out} for {plan.server}, account {plan.account}.
Chromium's id for it is {built.chromium_id}.

Try it:
  Chrome, Edge, Chromium   open chrome://extensions, switch "Developer mode" on, "Load unpacked",
                           choose {out / "chromium"}
  Firefox                  open about:debugging#/runtime/this-firefox, "Load Temporary Add-on",
                           choose {out / "firefox" / "manifest.json"}
{key}

Give it to everybody:
  chromium.zip, firefox.zip   to sign: Chrome's and Edge's stores take them unlisted, Mozilla signs without listing
  policies/                   settings that agents cannot change, for Chrome, Edge and Firefox
  dashboard-script.html       instead of an extension, for Chatwoot's DASHBOARD_SCRIPTS
  liveperson-widget/          a widget for LivePerson's workspace; put it on a web server of yours
  signing-key.pem             keep it safe and back it up ({new}it makes the id above)

The scripts need the pages' origin in the server's setting focus-origins; the extension does not.
More in docs/tracker.md."""
