"""Real processes of `handletime`, many of them, without the second that each takes to load its modules.

A process that has loaded them, and the compiled code, and does nothing else, forks for each command. What it forks is
a process like any other: with its own environment, its own files, its own sockets, and to be killed by itself.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn

ROOT: Final = Path(__file__).parents[2]
LIMIT_S: Final = 120.0
"""So long a test waits for a process to say or do what it should."""
LOADED: Final = (
    *("handletime.cli.server", "handletime.cli.upkeep", "handletime.cli.keys", "handletime.upkeep.mending"),
    *(
        "handletime.answers.files",
        "handletime.segments.explain",
        "handletime.segments.files",
        "handletime.events.encode",
    ),
    *("handletime.simulate.simulate", "rich.progress", "rich.table", "pyarrow.parquet"),
    *("handletime.cli.sending", "handletime.sources.chatwoot.client", "handletime.answers.labels"),
)


class Child:
    """A process that was forked; `said` is its standard output, `log` its standard error."""

    def __init__(self, nursery: Nursery, pid: int, said: Path, log: Path) -> None:
        self._nursery, self.pid, self.said, self.log = nursery, pid, said, log
        self._handle = os.pidfd_open(pid)
        self.code: int | None = None

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal; nothing where it has ended."""
        if not self.has_ended():
            signal.pidfd_send_signal(self._handle, how)

    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self.code is not None or bool(select.select([self._handle], [], [], 0)[0])

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """Its exit code, negative where a signal ended it."""
        if self.code is None:
            assert select.select([self._handle], [], [], limit_s)[0], f"still running: {self.log.read_text()}"
            self.code = int(self._nursery.ask({"wait": self.pid}))
            os.close(self._handle)
        return self.code

    def address(self) -> str | None:
        """Where a server listens, as soon as it does; None where it ended before."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            said = self.said.read_text()
            if said.endswith("\n"):
                return said.split()[-1]
            if self.has_ended():
                return None
            time.sleep(0.005)
        raise AssertionError(f"the server says nothing: {self.log.read_text()}")


class Nursery:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.nursery"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._children: list[Child] = []
        self._lock = threading.Lock()

    def ask(self, question: Mapping[str, Any]) -> Any:
        """Its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def start(
        self,
        place: Path,
        *arguments: object,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        cwd: Path | None = None,
        constants: Mapping[str, float] | None = None,
    ) -> Child:
        """Begins `handletime` with these arguments; what it says goes into files beside `place`.

        `env` is added to this process' own. `constants` of its modules, by their full names, get other values.
        """
        said, log, given = (place.with_name(f"{place.name}.{kind}") for kind in ("said", "log", "given"))
        said.write_text("")
        given.write_bytes(stdin)
        question = {
            "args": [*map(str, arguments)],
            "env": {**os.environ, **(env or {})},
            "files": [str(given), str(said), str(log)],
            "cwd": str(cwd or Path.cwd()),
            "constants": dict(constants or {}),
        }
        child = Child(self, int(self.ask(question)), said, log)
        self._children.append(child)
        return child

    def run(self, place: Path, *arguments: object, env: Mapping[str, str] | None = None) -> Child:
        """Runs `handletime` to its end."""
        child = self.start(place, *arguments, env=env)
        child.wait()
        return child

    def done(
        self,
        *arguments: object,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs `handletime` to its end, and gives what it said."""
        with tempfile.TemporaryDirectory() as name:
            child = self.start(Path(name) / "command", *arguments, env=env, stdin=stdin, cwd=cwd)
            child.wait()
            said, log = (each.read_bytes().decode() for each in (child.said, child.log))
        assert "Traceback" not in log, log
        return subprocess.CompletedProcess(["handletime", *map(str, arguments)], child.code or 0, said, log)

    def close(self) -> None:
        """Ends what still runs."""
        for child in self._children:
            child.kill()
            child.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(LIMIT_S) == 0
        assert self._process.stdout is not None
        self._process.stdout.close()


@cache
def shared() -> Nursery:
    """The one of this process, which `tests/conftest.py` closes."""
    return Nursery()


# --- the process that forks


def become(question: Mapping[str, Any]) -> NoReturn:
    """What a forked process does."""
    # As from a terminal, also where the tests run under `nohup`.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.umask(0o022)
    os.environ.clear()
    os.environ.update(question["env"])
    os.chdir(question["cwd"])
    given, said, log = question["files"]
    with open(given, "rb") as stdin, open(said, "ab") as stdout, open(log, "ab") as stderr:  # noqa: PTH123
        for number, file in enumerate((stdin, stdout, stderr)):
            os.dup2(file.fileno(), number)
    for name, value in question["constants"].items():
        module, _, constant = name.rpartition(".")
        setattr(importlib.import_module(module), constant, value)
    from handletime import cli, crashpoints

    crashpoints.arm(os.environ.get(crashpoints.VARIABLE, ""))
    sys.argv = ["handletime", *question["args"]]
    code: object = 0
    try:
        cli.main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def main() -> None:
    for name in LOADED:
        importlib.import_module(name)
    importlib.import_module("handletime.cli.warming").compile_all()
    for line in sys.stdin:
        question = json.loads(line)
        if "wait" in question:
            _, status = os.waitpid(question["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                become(question)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
