"""Dockerfile, systemd unit and docs/operations.md: what they name is there, and what can run here runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import click
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from handletime.cli import cli
from handletime.clock import SystemClock
from handletime.settings import SETTINGS, read_file
from tests.cli.test_serve import INTAKE, SEGMENTS, Server, bearer, new_key, serving

ROOT: Final = Path(__file__).parents[2]
DOCKERFILE: Final = (ROOT / "Dockerfile").read_text()
UNIT: Final = ROOT / "packaging" / "systemd" / "handletime.service"
OPERATIONS: Final = (ROOT / "docs" / "operations.md").read_text()
VARIABLES: Final = {setting.variable for setting in SETTINGS.values()} | {"HANDLETIME_CACHE_DIR", "HANDLETIME_CONFIG"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("packaging") / "store"
    key = new_key(folder, "admin")
    with serving(folder) as running:
        yield running, key


def instructions(text: str) -> list[tuple[str, str]]:
    """Each instruction and what follows it, on one line."""
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def told(name: str) -> list[str]:
    return [rest for instruction, rest in instructions(DOCKERFILE) if instruction == name]


def test_what_the_image_copies_is_there_and_let_through() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = [line[1:] for line in ignore if line.startswith("!")]
    sources = [word for rest in told("COPY") if "--from" not in rest for word in rest.split()[:-1]]
    assert {"src", "pyproject.toml", "requirements/runtime.txt"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists()
        assert any(fnmatch(source, pattern) for pattern in let_through)
    assert sorted(let_through) == sorted(sources)


def test_the_image_runs_the_server_as_nobody_special() -> None:
    (entry,), (command,) = told("ENTRYPOINT"), told("CMD")
    assert [*json.loads(entry), *json.loads(command)] == ["handletime", "serve"]
    variables = dict(re.findall(r"(HANDLETIME_\w+)=(\S+)", " ".join(told("ENV"))))
    assert set(variables) <= VARIABLES
    assert variables["HANDLETIME_PORT"] == told("EXPOSE")[0]
    assert variables["HANDLETIME_DATA"] == told("VOLUME")[0]
    (user,) = told("USER")
    assert re.search(rf"useradd .* {user}\b", DOCKERFILE)
    assert len(set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))) == 1


def test_the_command_that_compiles_the_derivation_for_the_image_runs() -> None:
    (command,) = [words for rest in told("RUN") if "handletime.cli.warming" in (words := shlex.split(rest))]
    assert command[0] == "python"
    done = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_health_check_of_the_image_works(server: tuple[Server, dict[str, Any]]) -> None:
    (check,) = told("HEALTHCHECK")
    words = json.loads(check.partition("CMD ")[2])
    assert words[0] == "python"
    port = httpx.URL(server[0].url).port

    def checked(port: object) -> int:
        environment = {**os.environ, "HANDLETIME_PORT": str(port)}
        done = subprocess.run(
            [sys.executable, *words[1:]], env=environment, capture_output=True, timeout=60, check=False
        )
        return done.returncode

    assert checked(port) == 0
    assert checked(1) != 0


def test_the_unit_starts_what_is_there() -> None:
    lines = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line and line[0] != "#")
    command = shlex.split(lines["ExecStart"])
    assert Path(command[0]).name == "handletime"
    check_command(command[1:])
    environment = re.findall(r"^Environment=(\w+)=(\S+)$", UNIT.read_text(), re.MULTILINE)
    assert {name for name, _ in environment} <= VARIABLES
    assert dict(environment)["HANDLETIME_DATA"] == f"/var/lib/{lines['StateDirectory']}"
    assert dict(environment)["HANDLETIME_CACHE_DIR"] == f"/var/cache/{lines['CacheDirectory']}"


@pytest.mark.requires_command("systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/opt/handletime/bin/handletime", str(shutil.which("true")))
    (tmp_path / UNIT.name).write_text(text)
    verify = ["systemd-analyze", "verify", str(tmp_path / UNIT.name)]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_file_of_settings_that_is_installed_can_be_read() -> None:
    path = ROOT / "packaging" / "handletime.toml"
    assert read_file(path) == {}
    keys = re.findall(r"^# ([a-z-]+) = ", path.read_text(), re.MULTILINE)
    assert set(keys) <= {setting.name for setting in SETTINGS.values()}


# --- docs/operations.md ----------------------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", OPERATIONS, re.DOTALL | re.MULTILINE)


def check_command(words: list[str]) -> None:
    """Whether there is such a command, with such options."""
    command: click.Command = cli
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_command_of_ours_in_the_docs_is_one() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    ours = [shlex.split(line.rpartition("docker exec handletime ")[2].partition(">")[0]) for line in lines]
    ours = [words[1:] for words in ours if words and words[0] == "handletime"]
    assert len(ours) > 5
    for words in ours:
        check_command(words)


def test_every_path_of_the_checkout_in_the_docs_is_there() -> None:
    paths = re.findall(r"\b(?:packaging|requirements)/[\w./-]+\w", OPERATIONS)
    assert len(paths) > 3
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_example_in_python_runs(server: tuple[Server, dict[str, Any]], tmp_path: Path) -> None:
    running, key = server
    (tmp_path / "key.json").write_text(json.dumps(key))
    example = "".join(blocks("python"))
    # The second one asks for a conversation.
    event = {"conversationId": "shop/4711 a+b 100%", "eventId": "1", "time": SystemClock().now(), "type": "opened"}
    sent = httpx.post(running.url + INTAKE, content=json.dumps(event), headers=bearer(key))
    assert sent.status_code == 200
    environment = {**os.environ, "URL": running.url}
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", example]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("0 segments\n200\n200\n", 0), done.stderr


def test_every_metric_is_documented(server: tuple[Server, dict[str, Any]]) -> None:
    running, key = server
    assert httpx.get(running.url + SEGMENTS, headers=bearer(key)).status_code == 200
    served: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(httpx.get(f"{running.url}/metrics").text):
        if family.name.startswith("handletime") and not family.name.endswith("_created"):
            name = family.name + "_total" if family.type == "counter" else family.name
            served[name] = {label for sample in family.samples for label in sample.labels} - {"le"}
    rows = [line.split("|")[1:3] for line in OPERATIONS.splitlines() if line.startswith("| `handletime_")]
    documented = {name.strip(" `"): set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert documented == served


def test_alerts_ask_for_metrics_that_are_there() -> None:
    documented = set(re.findall(r"^\| `(handletime_\w+)`", OPERATIONS, re.MULTILINE))
    (rules,) = blocks("yaml")
    asked = {re.sub("_(count|bucket)$", "", name) for name in re.findall(r"\bhandletime_\w+", rules)}
    assert len(asked) > 3
    assert asked <= documented
