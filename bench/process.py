"""Programs in processes of their own: how long they ran, and how much memory they took at most.

The peak is what the system says of the ended process (`wait4`). A new process begins with the peak of the one that
forked it, so whoever measures has to stay small: nothing in `bench.__main__` loads Arrow or handletime.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024


class BenchmarkFailed(Exception):
    """A program failed, or a peer's result is not handletime's; the message says which."""


class Finished(NamedTuple):
    """A program that ended well."""

    seconds: float
    peak_bytes: int
    output: str


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Finished:
    """Runs a program to its end, from the checkout. Raises BenchmarkFailed if it fails; leaves none behind."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        # A session of its own: Ctrl-C reaches it through `_stop`, so that it is gone before its files are removed.
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
        except BaseException:
            _stop(process)
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise BenchmarkFailed(f"{' '.join(command[:4])} … failed:\n{_text(errors)[-2000:]}")
        return Finished(seconds, usage.ru_maxrss * _RSS_UNIT, _text(output))


def ask(module: str, *arguments: object) -> tuple[dict[str, Any], Finished]:
    """Runs a module of `bench` as a program; gives the JSON object that it prints last."""
    finished = run([sys.executable, "-m", f"bench.{module}", *map(str, arguments)])
    answer: dict[str, Any] = json.loads(finished.output.splitlines()[-1])
    return answer, finished


def handletime() -> list[str]:
    """The command as installed beside this Python, or else the module."""
    script = Path(sys.executable).parent / "handletime"
    return [str(script)] if script.exists() else [sys.executable, "-m", "handletime"]


def compile_all() -> None:
    """Compiles what is not yet; a server that does so is another one than those that come later.

    Raises BenchmarkFailed.
    """
    run([sys.executable, "-m", "handletime.cli.warming"])


def _stop(process: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, how)
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                continue


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
