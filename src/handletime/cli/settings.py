"""The server's settings on the command line: flag > environment > file of --config > default, by click."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click import ParameterSource

from handletime.errors import InputError
from handletime.settings import DEFAULTS, PREFIX, SETTINGS, ServerSettings, read_file

F = TypeVar("F", bound=Callable[..., object])
_FILE: Final = "handletime.config"
"""The key under which click's context keeps the path of the file."""


class _Option(click.Option):
    """An option whose errors say where the value came from."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        field = self.name or ""
        try:
            return super().type_cast_value(ctx, value)
        except click.BadParameter as error:
            bounded = isinstance(self.type, (click.IntRange, click.FloatRange))
            message = f"{value!r} is not {SETTINGS[field].allowed}" if bounded else error.message
            raise click.BadParameter(message, ctx, self, source_of(ctx, field)) from error


def source_of(ctx: click.Context, field: str) -> str:
    """Where the value of a field of `ServerSettings` comes from, in words."""
    setting = SETTINGS[field]
    match ctx.get_parameter_source(field):
        case ParameterSource.COMMANDLINE:
            return f"--{setting.name}"
        case ParameterSource.ENVIRONMENT:
            return f"{setting.variable} in the environment"
        case ParameterSource.DEFAULT_MAP:
            return f"{setting.name} in {ctx.meta[_FILE]}"
        case _:
            return "default"


def _read_config(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    ctx.meta[_FILE] = path
    try:
        ctx.default_map = dict(read_file(path))
    except InputError as error:
        raise click.UsageError(str(error)) from error


def config_file(ctx: click.Context) -> Path | None:
    """The file of --config."""
    found: Path | None = ctx.meta.get(_FILE)
    return found


def settings_options(command: F) -> F:
    """All settings as options of a command, none required. The command gets them by field of `ServerSettings`."""
    for field, setting in reversed([*SETTINGS.items()]):
        default = setting.text_of(DEFAULTS.get(field))
        command = click.option(
            f"--{setting.name}",
            field,
            cls=_Option,
            type=setting.type,
            metavar=setting.metavar,
            help=setting.meaning,
            **({"default": default, "show_default": True} if default else {}),
            envvar=setting.variable,
        )(command)
    return click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        envvar=f"{PREFIX}CONFIG",
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        help="TOML file with settings.",
    )(command)


def settings_of(values: Mapping[str, Any]) -> ServerSettings:
    """The options' values as one `ServerSettings`. Fails with what is missing."""
    if (values["tls_cert"] is None) != (values["tls_key"] is None):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    return ServerSettings(**{field: value for field, value in values.items() if value is not None})
