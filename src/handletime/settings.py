"""The settings of the server: each stands here once, with its type, default and meaning.

Flags, environment, the TOML file, `handletime config show` and docs/settings.md are all made from `ServerSettings`.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints
from urllib.parse import urlsplit

import click

from handletime.addresses import networks
from handletime.errors import InputError
from handletime.files import read_regular

PREFIX: Final = "HANDLETIME_"


class Size(click.ParamType[int]):
    """A number of bytes: 500MB, 2GiB, 1.5G."""

    name = "size"
    least, most = 64 << 20, 1 << 50

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes. Fails with what is allowed."""
        if isinstance(value, int):
            return value
        match_ = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?", str(value).strip().lower())
        if match_ is None:
            self.fail(f"{value!r} is no size; write 500MB, 2GiB or a number of bytes", param, ctx)
        power = "kmgt".find(match_[2]) + 1 if match_[2] else 0
        size = int(Decimal(match_[1]) * (1000 if match_[3] == "b" and power else 1024) ** power)
        if size < self.least:
            self.fail(f"at least {self.least >> 20}MiB is needed", param, ctx)
        if size > self.most:
            self.fail(f"at most {self.most >> 40}TiB", param, ctx)
        return size


class Seconds(click.FloatRange):
    """A time in seconds within bounds; `nan` is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds. Fails with what is allowed."""
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value} is not in the range {self.min}<=x<={self.max}.", param, ctx)
        return seconds


class PublicUrl(click.ParamType[str]):
    """Where clients see the server."""

    name = "url"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The URL as given. Fails with what is allowed."""
        text = str(value)
        try:
            parts = urlsplit(text)
            _ = parts.port  # Raises where it is none.
        except ValueError:
            self.fail("must be as clients see it: https://reports.example.com", param, ctx)
        more = parts.query or parts.fragment or parts.username
        if parts.scheme not in ("http", "https") or not parts.hostname or more or not text.isascii():
            self.fail("must be as clients see it: https://reports.example.com", param, ctx)
        return text


class Networks(click.ParamType["tuple[str, ...]"]):
    """Addresses and networks, separated by commas."""

    name = "networks"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The networks, each with its length. Fails with what is allowed."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        try:
            return tuple(map(str, networks(part for part in parts if part)))
        except ValueError as error:
            self.fail(f"{error}; write addresses or networks: 127.0.0.1, 10.0.0.0/8, fd00::/8", param, ctx)


class Origins(click.ParamType["tuple[str, ...]"]):
    """Origins of pages (RFC 6454), separated by commas: scheme, host and port, as browsers send them."""

    name = "origins"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The origins. Fails with what is allowed."""
        if isinstance(value, tuple):
            return value
        origins = [part.strip() for part in str(value).split(",") if part.strip()]
        for origin in origins:
            try:
                parts = urlsplit(origin)
                port = parts.port
            except ValueError:
                parts, port = urlsplit(""), None
            written = f"{parts.scheme}://{parts.netloc}"
            usual = {"http": 80, "https": 443}.get(parts.scheme, port)
            if origin != written or parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
                self.fail(f"{origin!r} is no origin; write https://chat.example.com, and never *", param, ctx)
            if origin != origin.lower() or not origin.isascii() or (port is not None and port == usual):
                self.fail(f"{origin!r} is not as browsers send it: in small letters, without a usual port", param, ctx)
        return tuple(origins)


@dataclass(frozen=True)
class Setting:
    """One setting. `name` is its flag without the dashes and its key in the file; `allowed` says in plain words what
    it may be.
    """

    name: str
    type: click.ParamType[Any]
    metavar: str
    allowed: str
    meaning: str
    unit: str = ""

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.name.replace("-", "_").upper()

    def text_of(self, value: object) -> str:
        """A value as one would write it; "" for None."""
        if isinstance(self.type, Size) and isinstance(value, int):
            return f"{value >> 20}MiB" if value % (1 << 30) else f"{value >> 30}GiB"
        if isinstance(value, float):
            return f"{value:g}"
        return ",".join(value) if isinstance(value, tuple) else "" if value is None else str(value)


_SIZE: Final = "a size from 64MiB to 1024TiB: 500MB, 2GiB"
_PEM: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER: Final = click.Path(file_okay=False, path_type=Path)
_THERE: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_LEVELS: Final = click.Choice(["debug", "info", "warning", "error"])
_FORMATS: Final = click.Choice(["json", "text"])


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """All settings of `handletime serve`. None is secret."""

    folder: Annotated[Path, Setting("data", _FOLDER, "DIR", "a folder", "Folder of the store; made if there is none.")]
    """With `lake` it is not used, and set to the folder of the tables."""
    lake: Annotated[
        Path | None,
        Setting(
            *("lake", _THERE, "DIR", "a folder that is there"),
            "Serve tables that `handletime derive --spark` writes, read-only, instead of a store.",
        ),
    ] = None
    keys: Annotated[
        Path | None,
        Setting(
            *("keys", _PEM, "FILE", "a file"),
            "With --lake: the keys that `handletime keys --file` makes; read again when it changes.",
        ),
    ] = None
    events: Annotated[
        Path | None,
        Setting(
            *("events", _THERE, "DIR", "a folder that is there"),
            "With --lake: the events, as Parquet or a Delta table, to explain conversations.",
        ),
    ] = None
    host: Annotated[
        str, Setting("host", click.STRING, "ADDRESS", "an address or a name of this machine", "Address to listen on.")
    ] = "127.0.0.1"
    port: Annotated[
        int,
        Setting("port", click.IntRange(0, 65535), "PORT", "0 to 65535", "Port to listen on; 0 is any that is free."),
    ] = 8080
    tls_cert: Annotated[
        Path | None, Setting("tls-cert", _PEM, "FILE", "a file", "Certificate chain (PEM), to serve https.")
    ] = None
    tls_key: Annotated[
        Path | None, Setting("tls-key", _PEM, "FILE", "a file", "Its key (PEM, without a password).")
    ] = None
    public_url: Annotated[
        str | None,
        Setting(
            "public-url",
            PublicUrl(),
            "URL",
            "an address with http or https",
            "Where clients see the server, if that is not where it listens (a proxy, a name).",
        ),
    ] = None
    trusted_proxies: Annotated[
        tuple[str, ...],
        Setting(
            "trusted-proxies",
            Networks(),
            "NETWORKS",
            "addresses and networks, separated by commas; in the file also a list",
            "Proxies whose X-Forwarded-Proto, X-Forwarded-Host and X-Forwarded-For are believed.",
        ),
    ] = ()
    memory_bytes: Annotated[
        int,
        Setting(
            *("memory", Size(), "SIZE", _SIZE),
            "Memory for the database. On top comes what is being ingested, and another quarter of this size for "
            "answers.",
            "bytes",
        ),
    ] = 1 << 30
    retain_days: Annotated[
        int | None,
        Setting(
            *("retain", click.IntRange(1, 36_500), "DAYS", "1 to 36500"),
            "Days that a conversation is kept after its last event; without it, for ever.",
            "days",
        ),
    ] = None
    ingest_requests: Annotated[
        int,
        Setting(
            *("ingest-requests", click.IntRange(1, 4096), "NUMBER", "1 to 4096"),
            "Requests with events under way at once, three quarters of them of one account; more are answered 429.",
        ),
    ] = 128
    ingest_bytes: Annotated[
        int,
        Setting(
            *("ingest-memory", Size(), "SIZE", _SIZE),
            "Memory of their bodies and events together, three quarters of it for one account; more are answered 429.",
            "bytes",
        ),
    ] = 256 << 20
    conversation_events: Annotated[
        int,
        Setting(
            *("conversation-events", click.IntRange(100, 10_000_000), "NUMBER", "100 to 10000000"),
            "Events that one conversation may have; a request that would give it more is answered 400.",
        ),
    ] = 50_000
    key_rate: Annotated[
        int,
        Setting(
            *("key-rate", click.IntRange(0, 1_000_000), "NUMBER", "0 to 1000000"),
            "Requests a second with one key, ten seconds' worth of them at once; more are answered 429. 0 is no limit.",
        ),
    ] = 5_000
    address_rate: Annotated[
        int,
        Setting(
            *("address-rate", click.IntRange(0, 1_000_000), "NUMBER", "0 to 1000000"),
            "The same from one address (IPv6: one /64) without a valid key. 0 is no limit.",
        ),
    ] = 20
    focus_rate: Annotated[
        int,
        Setting(
            *("focus-rate", click.IntRange(0, 1_000_000), "NUMBER", "0 to 1000000"),
            "Moves of focus a second with one key, ten seconds' worth of them at once; more are answered 429. "
            "0 is no limit.",
        ),
    ] = 10
    focus_origins: Annotated[
        tuple[str, ...],
        Setting(
            "focus-origins",
            Origins(),
            "ORIGINS",
            "origins of pages, separated by commas; in the file also a list",
            "Pages whose scripts may send focus: https://chat.example.com. The extension needs none.",
        ),
    ] = ()
    address_connections: Annotated[
        int,
        Setting(
            *("address-connections", click.IntRange(0, 65_536), "NUMBER", "0 to 65536"),
            "Connections of one address (IPv6: one /64) at once; beyond that, the server closes those on which "
            "no answer is awaited. 0 is no limit, and trusted proxies have none.",
        ),
    ] = 256
    query_threads: Annotated[
        int,
        Setting(
            *("query-threads", click.IntRange(1, 256), "NUMBER", "1 to 256"),
            "Queries answered at once, for one account half as many as there are processors (at least one). "
            "Others wait, account by account.",
        ),
    ] = 8
    query_limit_s: Annotated[
        float,
        Setting(
            *("query-timeout", Seconds(0.1, 3600), "SECONDS", "0.1 to 3600"),
            "Time that all work for an answer may take, and that it may wait for its turn; then it is answered 503.",
            "seconds",
        ),
    ] = 60.0
    labels: Annotated[
        Path | None,
        Setting(
            *("labels", _PEM, "FILE", "a file"),
            "Names of agents, skills and groups, for page and reports (CSV: kind, id, label); read again on changes.",
        ),
    ] = None
    targets: Annotated[
        Path | None,
        Setting(
            *("targets", _PEM, "FILE", "a file"),
            "Targets and opening hours, for service levels (TOML, docs/targets.md); read again on changes.",
        ),
    ] = None
    log_level: Annotated[
        str,
        Setting(
            "log-level",
            _LEVELS,
            "LEVEL",
            "debug, info, warning or error",
            "What is logged: this and worse. Requests are `info`.",
        ),
    ] = "info"
    log_format: Annotated[
        str,
        Setting("log-format", _FORMATS, "FORMAT", "json or text", "A JSON object a line, or text for people."),
    ] = "json"


def _settings() -> dict[str, Setting]:
    hints = get_type_hints(ServerSettings, include_extras=True)
    return {each.name: hints[each.name].__metadata__[0] for each in fields(ServerSettings)}


SETTINGS: Final[Mapping[str, Setting]] = _settings()
"""All settings by field of `ServerSettings`."""
DEFAULTS: Final[Mapping[str, Any]] = {
    each.name: each.default for each in fields(ServerSettings) if each.default is not MISSING
}
"""Default values by field. Settings without a default are required."""


SOURCES: Final = "source"
"""The key of a file of settings below which sources of deliveries stand, each a table of its own."""
FILE_MAX: Final = 1 << 20
"""The most bytes of a file of settings."""


def read_file(path: Path) -> Mapping[str, str]:
    """What a TOML file sets: values as one would write them on the command line, by field of `ServerSettings`.

    Paths in it start at its folder. Raises InputError: which key, and what is allowed.
    """
    given = _read(path)
    given.pop(SOURCES, None)
    known = {setting.name: name for name, setting in SETTINGS.items()}
    unknown = [key for key in given if key not in known]
    if unknown:
        told = (f"{path}: {key}: is no setting{_suggested(key, given[key], known)}" for key in unknown)
        raise InputError("\n".join(told))
    return {known[key]: _written(path, SETTINGS[known[key]], value) for key, value in given.items()}


def read_sources(path: Path) -> Mapping[str, Any]:
    """The tables `[source.NAME]` of a TOML file by name, as they stand there (`deliveries.source` reads them).

    Raises InputError.
    """
    tables = _read(path).get(SOURCES, {})
    if not isinstance(tables, dict):
        raise InputError(f"{path}: {SOURCES}: must be tables, [{SOURCES}.NAME]")
    return tables


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_regular(path, FILE_MAX).decode())
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: must be UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: is no TOML: {error}") from error


def _suggested(key: str, value: object, known: Mapping[str, str]) -> str:
    if isinstance(value, dict):
        is_near = difflib.get_close_matches(key.lower(), [SOURCES], 1)
        names = [name for name, table in value.items() if isinstance(table, dict)]
        if is_near and names:
            return f"; do you mean [{SOURCES}.{names[0]}]?"
        return f"; the only tables are [{SOURCES}.NAME], and `handletime config show` lists the settings"
    near = difflib.get_close_matches(key.replace("_", "-").lower(), known, 1)
    return f"; do you mean {near[0]}?" if near else "; `handletime config show` lists them"


def _written(path: Path, setting: Setting, value: object) -> str:
    parts = value if isinstance(setting.type, Networks | Origins) and isinstance(value, list) else None
    if parts is not None and all(isinstance(part, str) for part in parts):
        return ",".join(parts)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise InputError(f"{path}: {setting.name}: must be {setting.allowed}")
    return str(path.parent / str(value)) if isinstance(setting.type, click.Path) else str(value)
