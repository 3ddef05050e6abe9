"""`handletime connect`: other platforms' events come by themselves."""

from __future__ import annotations

import click

from handletime.cli.connect_liveperson import liveperson


@click.group(short_help="Connect to a platform whose events come by themselves.")
def connect() -> None:
    """Connect to a platform whose events come by themselves. Texts and personal data are dropped at the door."""


for _command in (liveperson,):
    connect.add_command(_command)
