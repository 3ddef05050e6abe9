"""`handletime import`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import GOLDEN, Run


def test_livepersons_history_becomes_events_without_texts_and_names(run: Run, tmp_path: Path) -> None:
    done = run("import", "liveperson", GOLDEN / "liveperson-history-sample.json", "--out", "events.ndjson")
    assert done.returncode == 0, done.stderr
    assert "5 conversations" in done.stdout
    assert "c-contradicts-itself" in done.stderr
    written = (tmp_path / "events.ndjson").read_text()
    assert "made up" not in written
    assert "Sample" not in written
    (total,) = json.loads(run("report", "events.ndjson", "--format", "json").stdout)
    assert total["totalAgentConversationSegments"] == 6
