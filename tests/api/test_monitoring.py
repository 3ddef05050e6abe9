"""The files of docs/monitoring: Prometheus reads a server with them, alarms ring when they should, and every panel of
the dashboard finds what it shows.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import pytest

from tests.api.test_account_metrics import put_some, samples
from tests.api.world import NOW, World

FILES: Final = Path(__file__).parents[2] / "docs" / "monitoring"
DASHBOARD: Final[dict[str, Any]] = json.loads((FILES / "grafana-dashboard.json").read_text())
PANELS: Final = {panel["title"]: panel for panel in DASHBOARD["panels"]}


@pytest.mark.requires_command("promtool")
@pytest.mark.parametrize(
    "command",
    ["check rules handletime.rules.yml", "test rules handletime.rules.test.yml", "check config prometheus.yml"],
)
def test_prometheus_own_tool_finds_nothing_wrong(command: str, tmp_path: Path) -> None:
    shutil.copytree(FILES, tmp_path, dirs_exist_ok=True)
    (tmp_path / "acme.token").write_text("a token")
    done = subprocess.run(
        ["promtool", *command.split()], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


@pytest.mark.requires_command("amtool")
def test_alertmanagers_own_tool_finds_nothing_wrong() -> None:
    subprocess.run(["amtool", "check-config", FILES / "alertmanager.yml"], check=True, timeout=120)


def test_rules_are_about_series_that_there_are(
    world: World, account: str, set_targets: Callable[[World, str], None]
) -> None:
    put_some(world, account)
    set_targets(world, f'[[targets]]\nname = "all"\naccounts = ["{account}"]\nfirst-response = "60s"\nresponse = "60s"')
    there = {name for name, _ in samples(world.get(f"/api/account/{account}/metrics", account).text)}
    rules = (FILES / "handletime.rules.yml").read_text()
    named = set(re.findall(r"\bhandletime_\w+", rules))
    assert len(named) >= 5
    assert named <= there
    recorded = set(re.findall(r"record: (\S+)", rules))
    assert set(re.findall(r"\bhandletime:\S+", rules)) - recorded == set()


@pytest.mark.requires_command("prometheus")
def test_prometheus_reads_a_server_as_its_file_says(world: World, account: str, tmp_path: Path) -> None:
    put_some(world, account)
    shutil.copytree(FILES, tmp_path, dirs_exist_ok=True)
    (tmp_path / "acme.token").write_text(f"key-{account}-operations\n")
    file = tmp_path / "prometheus.yml"
    text = file.read_text().replace("scheme: https", "scheme: http").replace("reports.example.com", world.url[7:])
    file.write_text(text.replace("/account/acme/", f"/account/{account}/").replace(": 15s", ": 1s"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{probe.getsockname()[1]}"
    data = f"--storage.tsdb.path={tmp_path / 'data'}"
    command = ["prometheus", f"--config.file={file}", data, f"--web.listen-address={place}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            found = asked(place, 'handletime_queue_conversations{account="acme"}')
            assert [(each["metric"]["skill"], each["value"][1]) for each in found] == [("7", "1"), ("8", "0")]
            assert [each["value"][1] for each in asked(place, 'up{job="handletime"}')] == ["1"]
        finally:
            running.terminate()


def asked(place: str, query: str) -> list[dict[str, Any]]:
    """What Prometheus knows, as soon as it knows anything."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        try:
            answer = httpx.get(f"http://{place}/api/v1/query?{urlencode({'query': query})}", timeout=10)
            found = answer.json()["data"]["result"] if answer.status_code == 200 else []
        except httpx.TransportError:
            found = []
        if found:
            return sorted(found, key=lambda each: str(each["metric"].get("skill")))
        time.sleep(0.2)
    raise AssertionError(f"Prometheus knows nothing of {query}")


@pytest.mark.parametrize("title", PANELS)
def test_every_panel_finds_the_columns_that_it_reads(world: World, account: str, title: str) -> None:
    put_some(world, account)
    filled = {"account": account, "tz": "Europe/Berlin", "__from": str(NOW - 86_400_000 - 7), "__to": str(NOW)}
    for target in PANELS[title]["targets"]:
        url = re.sub(r"\$\{(\w+)\}", lambda match: filled[match[1]], target["url"])
        assert "$" not in url
        answer = world.client.get(url, headers={"Authorization": f"Bearer key-{account}-operations"})
        assert answer.status_code == 200, answer.text
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert rows
        assert {column["selector"] for column in target["columns"]} <= rows[0].keys()
        for column in target["columns"]:
            if column["type"] == "timestamp":
                assert all(re.match(r"\d{4}-\d\d-\d\dT", row[column["selector"]]) for row in rows)
            if column["type"] == "number":
                assert all(float(row[column["selector"]] or 0) >= 0 for row in rows)
