"""`make demo` as somebody new sees it: its script, with a smaller month and a port of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
WAIT_S = 180


def test_the_demo_serves_a_month_and_its_lines_work(tmp_path: Path) -> None:
    said = tmp_path / "said"
    environment = {"DEMO_DIR": str(tmp_path / "demo"), "DEMO_PORT": "0", "DEMO_CONVERSATIONS": "900"}
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "served").write_text("an earlier demo at http://127.0.0.1:9\n")
    with said.open("w") as out:
        demo = subprocess.Popen(
            ["sh", ROOT / "scripts" / "demo.sh", Path(sys.executable).parent],
            env={**os.environ, **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + WAIT_S
        while "Ctrl-C stops it" not in said.read_text() and demo.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        lines = re.findall(r"^  (curl .+)$", said.read_text(), re.MULTILINE)
        assert len(lines) == 4, said.read_text()
        segments, agents, skills, explanation = (as_curl_asks(line) for line in lines)
        assert len(segments.json()["segments"]) == 2
        assert agents.json()["metricsTotal"]["totalAgentConversationSegments"] > 0
        assert skills.text.startswith("timestamp,intervalStart,skillId,")
        assert explanation.json()["agentSegments"]
        tracker = re.findall(r"^     (/.+)$", said.read_text(), re.MULTILINE)
        assert [json.loads((Path(folder) / "manifest.json").read_text())["manifest_version"] for folder in tracker] == [
            3
        ]
        (desk,) = re.findall(r"Open the desk at (http\S+)", said.read_text())
        assert "Stub desk" in httpx.get(desk, follow_redirects=True).raise_for_status().text
    finally:
        os.killpg(demo.pid, signal.SIGINT)
        demo.wait(60)
    assert demo.returncode == 130
    with pytest.raises(httpx.ConnectError):
        httpx.get(desk)
    assert "Traceback" not in said.read_text()
    assert "No such file" not in said.read_text()
    assert json.loads((tmp_path / "demo" / "key.json").read_text())["account"] == "demo"


def as_curl_asks(line: str) -> httpx.Response:
    """What a line with curl gets."""
    words = shlex.split(line)
    name, _, value = words[words.index("-H") + 1].partition(": ")
    answer = httpx.get(words[-1], headers={name: value})
    assert answer.status_code == 200, answer.text
    return answer
