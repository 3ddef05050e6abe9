"""Settings: flag > environment > file > default; what is wrong says where it stands; the docs say the same.

Covers: settings, cli/config.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from handletime.cli import cli
from handletime.errors import InputError
from handletime.settings import DEFAULTS, SETTINGS, read_file
from tests.cli.test_serve import serving

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, and nothing in the environment."""
    monkeypatch.chdir(tmp_path)
    for variable in ["HANDLETIME_CONFIG", *(setting.variable for setting in SETTINGS.values())]:
        monkeypatch.delenv(variable, raising=False)


def run(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(cli, arguments, env=env)


def shown(*arguments: str, **env: str) -> dict[str, tuple[Any, str]]:
    """Value and source of each setting."""
    done = run("config", "show", "--format", "json", *arguments, **env)
    assert done.exit_code == 0, done.output
    return {each["name"]: (each["value"], each["source"]) for each in json.loads(done.stdout)}


def test_a_flag_comes_before_the_environment_and_that_before_the_file_and_that_before_the_default() -> None:
    Path("h.toml").write_text('port = 1\nhost = "::1"\nmemory = "500MB"\n')
    file, flag, variable = ("--config", "h.toml"), ("--port", "3"), {"HANDLETIME_PORT": "2"}
    assert shown(*file, *flag, **variable)["port"] == (3, "--port")
    assert shown(*file, **variable)["port"] == (2, "HANDLETIME_PORT in the environment")
    assert shown(*file)["port"] == (1, "port in h.toml")
    assert shown()["port"] == (8080, "default")
    assert shown(HANDLETIME_CONFIG="h.toml", HANDLETIME_PORT="")["host"] == ("::1", "host in h.toml")
    assert shown(*file)["memory"] == (500_000_000, "memory in h.toml")


def test_every_setting_can_be_given_in_every_way() -> None:
    Path("pem").touch()
    given = {
        "data": "store",
        "lake": ".",
        "keys": "pem",
        "events": ".",
        "host": "192.0.2.1",
        "port": "1",
        "tls-cert": "pem",
        "tls-key": "pem",
        "public-url": "https://reports.example.com/handletime",
        "trusted-proxies": "127.0.0.1,fd00::/8",
        "memory": "2GiB",
        "retain": "400",
        "ingest-requests": "5",
        "ingest-memory": "1GiB",
        "conversation-events": "1000",
        "key-rate": "100",
        "address-rate": "0",
        "focus-rate": "20",
        "focus-origins": "https://chat.example.com,http://127.0.0.1:3000",
        "address-connections": "7",
        "query-threads": "3",
        "query-timeout": "2.5",
        "labels": "pem",
        "targets": "pem",
        "log-level": "debug",
        "log-format": "text",
    }
    assert list(given) == [setting.name for setting in SETTINGS.values()]
    Path("h.toml").write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in given.items()))
    ways = [
        shown(*(word for name, value in given.items() for word in (f"--{name}", value))),
        shown(**{setting.variable: given[setting.name] for setting in SETTINGS.values()}),
        shown("--config", "h.toml"),
    ]
    values = [{name: value for name, (value, _) in way.items()} for way in ways]
    assert values[0] == values[1] == values[2]
    assert values[0]["trusted-proxies"] == ["127.0.0.1/32", "fd00::/8"]
    assert values[0]["memory"] == 2 << 30
    defaults = {name: value for name, (value, _) in shown().items()}
    assert all(values[0][name] != defaults[name] for name in given)


def test_what_it_prints_can_be_its_file() -> None:
    Path("etc").mkdir()
    Path("etc/pem").touch()
    Path("etc/h.toml").write_text(
        'data = "store"\ntls-cert = "pem"\ntls-key = "pem"\ntrusted-proxies = ["10.0.0.0/8"]\nquery-timeout = 3\n'
    )
    printed = run("config", "show", "--config", "etc/h.toml").stdout
    assert tomllib.loads(printed)["data"] == str(Path("etc/store").absolute())
    Path("again.toml").write_text(printed)
    first, second = shown("--config", "etc/h.toml"), shown("--config", "again.toml")
    assert {name: value for name, (value, _) in first.items()} == {name: value for name, (value, _) in second.items()}
    assert "# retain is not set" in printed


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prot = 1", "h.toml: prot: is no setting; do you mean port?"),
        ("Log_Level = 'info'", "h.toml: Log_Level: is no setting; do you mean log-level?"),
        ("colour = 'red'", "h.toml: colour: is no setting; `handletime config show` lists them"),
        ("[sources.desk]\nkind = 'sql'", "h.toml: sources: is no setting; do you mean [source.desk]?"),
        ("[Source.desk]\nkind = 'sql'", "h.toml: Source: is no setting; do you mean [source.desk]?"),
        ("[server]\nport = 1", "h.toml: server: is no setting; the only tables are [source.NAME], and `handletime"),
        ("port = true", "h.toml: port: must be 0 to 65535"),
        ("[port]\nnumber = 1", "h.toml: port: must be 0 to 65535"),
        ("port = [1]", "h.toml: port: must be 0 to 65535"),
        ("port = ", "h.toml: is no TOML: "),
        ("port = 70000", "port in h.toml: '70000' is not 0 to 65535"),
        ("port = 80.5", "port in h.toml: '80.5' is not 0 to 65535"),
        ("memory = '1MB'", "memory in h.toml: at least 64MiB is needed"),
        ("memory = '2000TiB'", "memory in h.toml: at most 1024TiB"),
        ("ingest-memory = '9999999999999999999999TiB'", "ingest-memory in h.toml: at most 1024TiB"),
        ("query-timeout = nan", "query-timeout in h.toml: 'nan' is not 0.1 to 3600"),
        ("query-timeout = inf", "query-timeout in h.toml: 'inf' is not 0.1 to 3600"),
        ("log-level = 'loud'", "log-level in h.toml: 'loud' is not one of"),
        ("trusted-proxies = ['10.0.0.0/8', 'proxy']", "trusted-proxies in h.toml: 'proxy' does not appear to be"),
        ("tls-cert = 'none.pem'", "tls-cert in h.toml: File 'none.pem' does not exist"),
    ],
)
def test_what_is_wrong_in_the_file_is_said(text: str, told: str) -> None:
    Path("h.toml").write_text(text + "\n")
    for command in (("config", "show"), ("serve", "--data", "store")):
        done = run(*command, "--config", "h.toml")
        assert done.exit_code == 2
        assert told in done.output
    assert not Path("store").exists()


def test_a_file_that_is_not_utf_8_is_refused() -> None:
    Path("h.toml").write_bytes(b'host = "\xff"')
    with pytest.raises(InputError, match=re.escape("h.toml: must be UTF-8")):
        read_file(Path("h.toml"))


def test_what_is_wrong_in_the_environment_names_the_variable() -> None:
    # What Kubernetes sets for a service of this name.
    done = run("serve", "--data", "store", HANDLETIME_PORT="tcp://10.0.0.1:8080")
    assert done.exit_code == 2
    assert "HANDLETIME_PORT in the environment: 'tcp://10.0.0.1:8080' is not 0 to 65535" in done.output


def test_the_server_does_what_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "h.toml").write_text('public-url = "https://reports.example.com/x"\nlog-format = "text"\n')
    with serving(tmp_path / "store", "--config", str(tmp_path / "h.toml")) as server:
        answer = httpx.get(f"{server.url}/api/account/acme/service/leDataReporting/baseURI.json")
        assert answer.json()["baseURI"] == "reports.example.com/x"
        assert server.stop() == 0
    log = server.log.read_text()
    assert re.search(r"Z INFO    handletime\.requests: GET /api/account/\{account\}/service/\{name\}", log)
    assert log.splitlines()[-1].endswith("stopped")


def test_a_trusted_proxy_is_believed_and_nobody_else(tmp_path: Path) -> None:
    asked = "/api/account/acme/service/leDataReporting/baseURI.json"
    forwarded = {"X-Forwarded-Host": "reports.example.com", "X-Forwarded-Proto": "https"}
    for proxies, wanted in (("127.0.0.0/8", True), ("10.0.0.0/8", False)):
        with serving(tmp_path / "store", "--trusted-proxies", proxies) as server:
            answer = httpx.get(server.url + asked, headers=forwarded)
            assert (answer.json()["baseURI"] == "reports.example.com") is wanted


def test_the_docs_say_the_same() -> None:
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    assert rows == [row(field) for field in SETTINGS]


def row(field: str) -> str:
    setting = SETTINGS[field]
    told = setting.text_of(DEFAULTS.get(field))
    default = f"`{told}`" if told else "required" if field not in DEFAULTS else ""
    return f"| `{setting.name}` | `{setting.variable}` | {setting.allowed} | {default} | {setting.meaning} |"


def test_the_help_has_every_setting() -> None:
    told = run("serve", "--help").output
    for setting in SETTINGS.values():
        assert re.search(rf"^  --{setting.name} {setting.metavar}\b", told, re.MULTILINE)
    assert isinstance(cli.commands["serve"], click.Command)
