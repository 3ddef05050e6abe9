"""`handletime keys`: who may ask the server. A running server sees changes at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from handletime.answers.words import utc
from handletime.cli.console import Instant
from handletime.cli.folder import keep_private, make_folder, side_file
from handletime.scope import Scope

if TYPE_CHECKING:
    from handletime.keys.keys import KeyInfo, NewKey, NewToken, Permission

P = ParamSpec("P")
R = TypeVar("R")
CHOICES = ("handle-time", "operations", "ingest", "focus", "admin")
"""The same as `keys.keys.PERMISSIONS`, whose import takes long; a test compares them."""


_ONLY = "It sees only this {}; may be repeated.  [default: all]"


def place_options(command: Callable[P, R]) -> Callable[P, R]:
    """The options that say where keys are: in the folder of a store, or in a file for servers over tables."""
    of_store = click.option(
        "--data",
        "folder",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="HANDLETIME_DATA",
        metavar="DIR",
        help="Folder of the store.",
    )
    of_file = click.option(
        "--file",
        "path",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="A file of keys instead, for `handletime serve --lake`.",
    )
    return of_store(of_file(command))


def _folder(folder: Path | None) -> Path:
    if folder is None:
        raise click.UsageError("Missing option '--data' (the keys of a store) or '--file' (those of tables).")
    return folder


@click.group(short_help="Create, list and revoke keys.")
def keys() -> None:
    """Create, list and revoke the keys that clients ask the server with. Works while the server runs.

    They lie in the store's folder (--data), or in a file that servers over tables share (--file).
    """
    keep_private()


@keys.command(short_help="Create a key and print its secrets, once.")
@click.argument("account")
@place_options
@click.option(
    "--permission",
    "permissions",
    type=click.Choice(CHOICES),
    multiple=True,
    help="What the key may; may be repeated.  [default: handle-time, operations]",
)
@click.option("--agent", type=int, metavar="ID", help="With --permission focus: the agent whose focus it tells.")
@click.option("--group", "groups", type=int, multiple=True, metavar="ID", help=_ONLY.format("agent group"))
@click.option("--skill", "skills", type=int, multiple=True, metavar="ID", help=_ONLY.format("skill"))
@click.option("--expires", type=Instant(), help="When it ends.  [default: never]")
@click.option("--json", "as_json", is_flag=True, help="Print the key as JSON.")
def create(
    account: str,
    folder: Path | None,
    path: Path | None,
    permissions: tuple[Permission, ...],
    agent: int | None,
    groups: tuple[int, ...],
    skills: tuple[int, ...],
    expires: int | None,
    as_json: bool,
) -> None:
    """Create a key of an account and print its secrets. They are not kept and never shown again.

    `handle-time` reads handle time and explanations, `operations` the messaging operations, `ingest` brings events in,
    `admin` includes all of these. The folder, or the file, is made if there is none. A key in a file is a bearer token.

    `focus` is for an agent's browser, which tells what the agent looks at: such a key belongs to one --agent and can
    do nothing else. `handletime tracker keys` makes them by the hundred.

    A key with --group or --skill is for somebody who may see a part of the account: a team lead, say. Both together
    mean segments of one of these groups and one of these skills. It can only read. What waits in the queue is of no
    group: a key with --group sees nothing of it.
    """
    import msgspec

    from handletime.keys.keys import READING
    from handletime.keys.keys import create as create_key
    from handletime.scope import scope_of

    scope = scope_of(groups, skills)
    if path is not None:
        from handletime.keys.keys_file import create as create_token

        if agent is not None:
            raise click.UsageError("--agent belongs to keys of a store (--data): a server over tables takes no events.")
        token = create_token(path, account, permissions or READING, expires, scope=scope)
        click.echo(msgspec.json.encode(token).decode() if as_json else _token_told_once(token))
        return
    folder = _folder(folder)
    make_folder(folder)
    with side_file(folder) as side:
        new = create_key(side, account, permissions or READING, expires, agent=agent, scope=scope)
    told = _told_once if agent is None else _token_told_once
    click.echo(msgspec.json.encode(new).decode() if as_json else told(new))


def _told_once(new: NewKey) -> str:
    return f"""{_may(new)}
These are shown once; keep them.

  bearer token         {new.token}

  OAuth 1.0a
  app key              {new.app_key}
  app secret           {new.app_secret}
  access token         {new.access_token}
  access token secret  {new.access_token_secret}"""


def _token_told_once(new: NewToken) -> str:
    return f"""{_may(new)}
This is shown once; keep it.

  bearer token         {new.token}"""


def _may(new: NewToken) -> str:
    of_agent = "" if new.agent_id is None else f", agent {new.agent_id},"
    only = "" if new.scope.is_whole else f"; of {new.scope} only"
    return f"Key {new.id} of account {new.account}{of_agent} may: {', '.join(new.permissions)}{only}"


@keys.command("list", short_help="List all keys, without their secrets.")
@place_options
@click.option("--json", "as_json", is_flag=True, help="Print the keys as a JSON array.")
def list_(folder: Path | None, path: Path | None, as_json: bool) -> None:
    """List all keys that were ever made, the oldest first. The last use of those in a file is not known."""
    import msgspec

    found = _listed(folder, path)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    elif not found:
        click.echo("No keys yet; `handletime keys create ACCOUNT` makes one.")
    else:
        unused = "never" if path is None else "not known"
        click.echo("\n".join(_aligned([_HEAD, *(_cells(key, unused) for key in found)])))


def _listed(folder: Path | None, path: Path | None) -> list[KeyInfo]:
    from handletime.keys.keys import list_keys
    from handletime.keys.sidefile import SideFile

    if path is not None:
        from handletime.keys.keys_file import list_keys as list_tokens

        return list_tokens(path)
    with SideFile(_folder(folder), create=False) as side:
        return list_keys(side)


_HEAD = ("id", "account", "agent", "only", "permissions", "created", "last used", "holds")


def _cells(key: KeyInfo, unused: str) -> tuple[str, ...]:
    return (
        key.id,
        key.account,
        "" if key.agent_id is None else str(key.agent_id),
        str(Scope(key.groups, key.skills)),
        ",".join(key.permissions),
        utc(key.created),
        utc(key.last_used) if key.last_used else unused,
        _holds(key),
    )


def _holds(key: KeyInfo) -> str:
    if key.revoked:
        return f"revoked {utc(key.revoked)}"
    if key.expires is None:
        return "yes"
    return f"{'until' if key.expires > datetime.now(key.expires.tzinfo) else 'expired'} {utc(key.expires)}"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


@keys.command(short_help="End a key for good.")
@click.argument("key_id", metavar="ID", required=False)
@place_options
@click.option("--account", metavar="ACCOUNT", help="With --agent: the agent's account.")
@click.option("--agent", type=int, metavar="ID", help="End all keys of this agent instead.")
def revoke(key_id: str | None, folder: Path | None, path: Path | None, account: str | None, agent: int | None) -> None:
    """End a key for good: a running server refuses it from its next request on.

    With --account and --agent, all keys of an agent: those that tell what the agent looks at.
    """
    from handletime.keys.keys import revoke as revoke_key
    from handletime.keys.keys import revoke_of_agent
    from handletime.keys.sidefile import SideFile

    if (agent is None) != (account is None) or (agent is None) == (key_id is None):
        raise click.UsageError("Name either the ID of a key, or an agent: --account ACCOUNT --agent ID.")
    if account is not None and agent is not None:
        with SideFile(_folder(folder), create=False) as side:
            found = revoke_of_agent(side, account, agent)
        for key in found:
            click.echo(f"Key {key.id} of account {key.account}, agent {key.agent_id}, is revoked.")
        return
    key_id = str(key_id)
    if path is not None:
        from handletime.keys.keys_file import revoke as revoke_token

        key = revoke_token(path, key_id)
    else:
        with SideFile(_folder(folder), create=False) as side:
            key = revoke_key(side, key_id)
    click.echo(f"Key {key.id} of account {key.account} is revoked.")
