"""`handletime config`: the server's settings, and where each comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import click

from handletime.cli.settings import settings_options, source_of
from handletime.settings import SETTINGS


class _Shown(NamedTuple):
    name: str
    value: Any
    unit: str
    source: str


@click.group(short_help="See the settings of the server.")
def config() -> None:
    """See the settings of the server, and where each comes from."""


@config.command(short_help="Print each setting, its value and where it comes from.")
@settings_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["toml", "json"]),
    default="toml",
    show_default=True,
    help="Form of the output.",
)
@click.pass_context
def show(ctx: click.Context, /, form: str, **values: Any) -> None:
    """Print each setting, its value and where it comes from, as `handletime serve` with the same options would have it.

    The TOML can be used as a file of --config. No setting is secret, so none is left out; tables [source.NAME], which
    hold secrets, are not shown.
    """
    shown = [
        _Shown(setting.name, _plain(values[field]), setting.unit, source_of(ctx, field))
        for field, setting in SETTINGS.items()
    ]
    if form == "json":
        click.echo(json.dumps([each._asdict() for each in shown], indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(map(_toml, shown)))


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.absolute())
    return list(value) if isinstance(value, tuple) else value


def _toml(shown: _Shown) -> str:
    unit = f"{shown.unit}; " if shown.unit else ""
    if shown.value is None:
        return f"# {shown.name} is not set"
    # Strings, numbers and lists of strings are the same in TOML as in JSON, but for DEL.
    value = json.dumps(shown.value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"{shown.name} = {value}  # {unit}{shown.source}"
