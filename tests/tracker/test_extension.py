"""The extension's sources: types, lint, Mozilla's check of the built one, and the tests of the pure modules by Node.

What checks them is pinned in `tools/`, and lies outside of this checkout.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import pytest

from handletime.tracker.build import SOURCE, Desk, Plan, build

HERE: Final = Path(__file__).parent
TOOLS: Final = HERE / "tools"
PLAN: Final = Plan("https://h.example.com", "acme", (Desk("https://chat.example.com", "chatwoot"),))
PATIENCE_S: Final = 300
UNREACHABLE: Final = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ENETUNREACH", "ETIMEDOUT")
"""What npm says without a network."""

pytestmark = pytest.mark.requires_command("node", "npm")


def run(*command: str | Path, cwd: Path) -> None:
    environment = {**os.environ, "NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1"}
    environment.pop("NODE_OPTIONS", None)
    ended = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder of what checks the sources, installed once for each state of the lock."""
    wanted = hashlib.sha256((TOOLS / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"handletime-tracker-tools-{os.getuid()}-{wanted}"
    folder.mkdir(mode=0o700, exist_ok=True)
    assert folder.stat().st_uid == os.getuid()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(TOOLS / name, folder)
            try:
                run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)
            except AssertionError as error:
                if any(code in str(error) for code in UNREACHABLE):
                    pytest.skip(f"what checks the extension cannot be fetched by npm: {str(error)[-300:]}")
                raise
            (folder / "ready").touch()
    return folder


@pytest.fixture
def bench(tools: Path, tmp_path: Path) -> Path:
    """A folder with the sources, what says how they are checked, and what checks them."""
    shutil.copytree(SOURCE, tmp_path / "extension")
    for name in ("package.json", "tsconfig.json", "eslint.config.js"):
        shutil.copy(TOOLS / name, tmp_path)
    for test in HERE.glob("*.test.js"):
        shutil.copy(test, tmp_path)
    (tmp_path / "node_modules").symlink_to(tools / "node_modules")
    return tmp_path


def test_types_hold(bench: Path) -> None:
    run("node_modules/.bin/tsc", "--project", ".", cwd=bench)


def test_a_wrong_type_is_found(bench: Path) -> None:
    with (bench / "extension" / "clock.js").open("a") as file:
        file.write("\ncorrected(null, 1);\n")
    with pytest.raises(AssertionError, match="TS2345"):
        run("node_modules/.bin/tsc", "--project", ".", cwd=bench)


def test_the_linter_finds_nothing(bench: Path) -> None:
    run("node_modules/.bin/eslint", "--max-warnings=0", ".", cwd=bench)


def test_mozilla_s_linter_finds_nothing(tools: Path, tmp_path: Path) -> None:
    build(PLAN, tmp_path)
    command = ("lint", "--no-config-discovery", "--warnings-as-errors", "--source-dir", tmp_path / "firefox")
    run(tools / "node_modules" / ".bin" / "web-ext", *command, cwd=tmp_path)


def test_what_is_built_for_pages_parses(tmp_path: Path) -> None:
    build(PLAN, tmp_path)
    html = (tmp_path / "dashboard-script.html").read_text()
    script = tmp_path / "script.js"
    script.write_text(html.removeprefix("<script>\n").removesuffix("</script>\n"))
    for path in (script, tmp_path / "liveperson-widget" / "widget.js", tmp_path / "chromium" / "page.js"):
        run("node", "--check", path, cwd=tmp_path)


@pytest.mark.parametrize("test", sorted(HERE.glob("*.test.js")), ids=lambda path: path.name)
def test_the_pure_modules_do_what_they_say(test: Path) -> None:
    run("node", "--test", test, cwd=HERE)


def test_the_lock_names_no_address() -> None:
    lock = (TOOLS / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') > 100
