"""Where compiled code is kept, and what runs where it cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.cli.conftest import events_of
from tests.cli.test_serve import run_anew

COMPILES_ONE_FUNCTION = "from handletime.events.times import is_digit; print(is_digit(48))"


@pytest.mark.long
def test_it_runs_from_a_read_only_install_without_a_home_folder(tmp_path: Path) -> None:
    """Nothing can be cached: one line says so, and the result is the same."""
    nowhere = tmp_path / "file"
    nowhere.write_text("not a folder")
    done = run_anew(
        *("report", "-", "--format", "csv"),
        stdin=events_of("01-one-answer"),
        env={"HANDLETIME_CACHE_DIR": str(nowhere / "x")},
    )
    assert done.returncode == 0
    assert done.stderr.count("HANDLETIME_CACHE_DIR") == 1
    assert done.stdout.count("\n") == 2


@pytest.mark.long
def test_all_compiled_code_is_taken_from_the_cache_by_the_second_process(tmp_path: Path) -> None:
    command = ["report", "-", "--format", "csv"]
    is_cached(tmp_path, lambda env: run_anew(*command, stdin=events_of("01-one-answer"), env=env).stdout)


def test_compiled_code_is_taken_from_the_cache_by_the_second_process(tmp_path: Path) -> None:
    is_cached(tmp_path, lambda env: compiled_one_function(env).stdout)


def test_a_function_is_compiled_where_nothing_can_be_cached(tmp_path: Path) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("not a folder")
    done = compiled_one_function({"HANDLETIME_CACHE_DIR": str(nowhere / "x")})
    assert (done.stdout, done.stderr.count("HANDLETIME_CACHE_DIR")) == ("True\n", 1)


def test_it_is_known_what_was_ever_compiled(tmp_path: Path) -> None:
    asks = "from handletime.compiled import is_begun; print(is_begun('events'), is_begun('segments'))"
    command = [sys.executable, "-c", f"{asks}\n{COMPILES_ONE_FUNCTION}\n{asks}"]
    env = {**os.environ, "HANDLETIME_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines() == ["False False", "True", "True False"]


def compiled_one_function(env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A process that compiles as little as can be."""
    command = [sys.executable, "-c", COMPILES_ONE_FUNCTION]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=True, timeout=120)


def is_cached(folder: Path, run: Callable[[Mapping[str, str]], str]) -> None:
    """What is run twice compiles once, and says the same."""
    cache = folder / "cache"
    env = {"HANDLETIME_CACHE_DIR": str(cache)}
    first = run(env)
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*.nbc")}
    assert kept
    assert run(env) == first
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.nbc")} == kept
