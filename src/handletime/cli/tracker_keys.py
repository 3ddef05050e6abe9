"""`handletime tracker keys`: a key for the browser of each agent, by the hundred."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from handletime.answers.words import count
from handletime.cli.console import Instant
from handletime.cli.folder import data_option, keep_private, make_folder, side_file
from handletime.errors import FAULTS_SHOWN, Fault, InputError

AGENTS_MAX: Final = 100_000
"""The most lines of a file of agents."""
FILE_MAX: Final = 16 << 20
AGENT: Final = "agentId"
LABEL: Final = "label"


@click.command("keys", short_help="Make a key for the browser of each agent.")
@click.option(
    "--csv",
    "agents",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="Agents: a CSV with the columns agentId and, if you like, label.",
)
@click.option("--account", required=True, metavar="ACCOUNT", help="The agents' account.")
@data_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="A new file for the keys: a CSV with agentId, label and key, for its owner only.",
)
@click.option("--expires", type=Instant(), help="When the keys end.  [default: never]")
@click.option("--again", is_flag=True, help="Also for agents who have a key that holds; that one is revoked.")
def tracker_keys(agents: Path, account: str, folder: Path, out: Path, expires: int | None, again: bool) -> None:
    """Make a key for each agent of a CSV file, for the focus tracker in the agent's browser.

    Such a key tells what this one agent looks at, and can do nothing else. Whoever has one already is left out, so the
    same file can be given again when it has grown. The keys are shown in --out alone, and only once; labels are copied
    there and stored nowhere else. A lost key: `handletime keys revoke --account A --agent ID`, then make another.
    """
    from handletime.keys.keys import create_for_agents
    from handletime.segments.cells import csv_lines

    keep_private()
    given = dict(_agents(agents))
    make_folder(folder)
    try:
        # Before any key is made: it is lost if it cannot be written down.
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InputError(f"{out} is there already: it may hold keys; name another file") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            with side_file(folder) as side:
                made = create_for_agents(side, account, given, expires, again=again)
            rows = [(agent, given[agent], new.token) for agent, new in made.items()]
            file.writelines(csv_lines([AGENT, LABEL, "key"], rows))
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        if not out.stat().st_size:
            out.unlink()
        raise
    if not made:
        out.unlink()
        click.echo(f"All {count(len(given), 'agent')} have a key that holds; --again makes new ones.")
        return
    left = len(given) - len(made)
    more = f" {count(left, 'agent')} had one already." if left else ""
    click.echo(f"{count(len(made), 'key')} in {out}.{more} Give each agent their own; this file is the only copy.")


def _agents(path: Path) -> Iterator[tuple[int, str]]:
    """Agents and their labels, in the file's order. Raises InputError, with the line of each fault."""
    from handletime.files import read_regular

    try:
        text = read_regular(path, FILE_MAX).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: must be UTF-8") from error
    lines = text.splitlines()
    head = lines[0] if lines else ""
    reader = csv.DictReader(lines, delimiter=";" if ";" in head and "," not in head else ",", strict=True)
    if AGENT not in (reader.fieldnames or ()):
        raise InputError(f"{path}: line 1: must name the columns: {AGENT} and, if you like, {LABEL}")
    faults: list[Fault] = []
    seen: set[int] = set()
    try:
        for row in reader:
            line = reader.line_num
            agent = _integer((row.get(AGENT) or "").strip())
            if agent is None:
                faults.append(Fault(line, AGENT, "must be a whole number of 64 bits"))
            elif agent in seen:
                faults.append(Fault(line, AGENT, f"{agent} stands here twice"))
            elif len(seen) == AGENTS_MAX:
                raise InputError(f"{path}: more than {AGENTS_MAX:,} agents; cut the file")
            else:
                seen.add(agent)
                yield agent, (row.get(LABEL) or "").strip()
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: is no CSV: {error}") from error
    if faults:
        raise InputError("\n".join([f"no key was made; {path}:", *map(str, faults[:FAULTS_SHOWN])]))
    if not seen:
        raise InputError(f"{path} names no agents")


def _integer(text: str) -> int | None:
    try:
        number = int(text) if text.isascii() and len(text) <= 20 else None
    except ValueError:
        return None
    return number if number is not None and -(1 << 63) <= number < 1 << 63 else None
