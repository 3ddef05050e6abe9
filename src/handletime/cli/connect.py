"""`handletime connect`: other systems' events, from now on and from before."""

from __future__ import annotations

import click

from handletime.cli.connect_chatwoot import chatwoot
from handletime.cli.connect_liveperson import liveperson


@click.group(short_help="Connect another system, so that its events come by themselves.")
def connect() -> None:
    """Connect another system, so that its events come by themselves. Message text and personal data never do."""


connect.add_command(chatwoot)
connect.add_command(liveperson)
