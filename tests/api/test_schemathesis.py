"""The OpenAPI document against the server that it describes: schemathesis, with a real key and real data."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.cli.test_serve import Server, bearer, handletime, new_key, serving

ROOT = Path(__file__).parents[2]
SEED = 20261121


ONLY_REFUSED = (
    "\N{WARNING SIGN}\N{VARIATION SELECTOR-16} Authentication failed: 1 operation returned only 401/403 responses"
)


@pytest.mark.parametrize(
    ("cases", "options"),
    [
        pytest.param(500, ["--max-examples=3"], id="short"),
        pytest.param(10_000, ["--max-examples=600"], id="long", marks=pytest.mark.long),
    ],
)
def test_schemathesis_finds_nothing(cases: int, options: list[str], tmp_path: Path) -> None:
    key = new_key(tmp_path / "store", "admin")
    # Else what is tried of `focus` depends on how fast it is sent.
    with serving(tmp_path / "store", "--focus-rate", "1000000") as server:
        config = tmp_path / "schemathesis.toml"
        config.write_text(config_for(server, key, tmp_path))
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", config),
                *("run", f"{server.url}/openapi.json", f"--seed={SEED}", "--continue-on-failure", *options),
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=3000,
            check=False,
        )
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        assert not [line for line in server.log.read_text().splitlines() if '"level":"error"' in line]
    print(done.stdout)
    assert done.returncode == 0
    found = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert found, "some cases did not pass"
    assert int(found[1]) >= cases
    # The one is `deliver`, which needs a source of the settings and its secret (test_sources.py).
    warned = done.stdout.partition("Warnings:")[2].partition("Test cases:")[0]
    assert [line.strip() for line in warned.splitlines() if line.strip()] == [ONLY_REFUSED]


def config_for(server: Server, key: dict[str, str], folder: Path) -> str:
    """Ids and paths that are there, among those that it makes up; all checks on."""
    handletime("simulate", "--out", folder / "day.ndjson", "--account", "acme", "--conversations", 200)
    sent = ("--url", server.url, "--account", "acme", "--token", key["token"])
    handletime("ingest", folder / "day.ndjson", *sent)
    segments = httpx.get(f"{server.url}/api/account/acme/agent-segments?source=test", headers=bearer(key)).json()
    files = httpx.get(f"{server.url}/api/account/acme/agent-segments/breakdown?source=test", headers=bearer(key)).json()
    known = {
        "segmentId": [segment["segmentId"] for segment in segments["segments"][:20]],
        "conversationId": [segment["conversationId"] for segment in segments["segments"][:20]],
        "path": files["files"][:20],
    }
    assert all(known.values())
    lines = [
        'hooks = "tests.api.schemathesis_hooks"',
        f'headers = {{ Authorization = "Bearer {key["token"]}" }}',
        "[dictionaries]",
        *(f"{name} = {{ values = {json.dumps(values)} }}" for name, values in known.items()),
        "[parameters]",
        'accountId = "acme"',
        *(f"{name} = {{ dictionary = {json.dumps(name)}, probability = 0.5 }}" for name in known),
    ]
    return "\n".join(lines) + "\n"
