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
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

ROOT: Final = Path(__file__).parents[2]
LIMIT_S: Final = 120.0
"""So long a test waits for a process to say or do what it should."""
LOADED: Final = ("handletime.cli.server", "handletime.cli.upkeep", "handletime.cli.keys", "handletime.upkeep.mending")


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

    def wait(self) -> int:
        """Its exit code, negative where a signal ended it."""
        if self.code is None:
            assert select.select([self._handle], [], [], LIMIT_S)[0], f"still running: {self.log.read_text()}"
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

    def ask(self, question: Mapping[str, Any]) -> Any:
        """Its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, place: Path, *arguments: object, env: Mapping[str, str] | None = None) -> Child:
        """Begins `handletime` with these arguments; what it says goes into files beside `place`."""
        said, log = place.with_name(f"{place.name}.said"), place.with_name(f"{place.name}.log")
        said.write_text("")
        question = {"args": [*map(str, arguments)], "env": dict(env or {}), "said": str(said), "log": str(log)}
        child = Child(self, int(self.ask(question)), said, log)
        self._children.append(child)
        return child

    def run(self, place: Path, *arguments: object, env: Mapping[str, str] | None = None) -> Child:
        """Runs `handletime` to its end."""
        child = self.start(place, *arguments, env=env)
        child.wait()
        return child

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


@contextmanager
def a_nursery() -> Iterator[Nursery]:
    """Closed at the end."""
    nursery = Nursery()
    try:
        yield nursery
    finally:
        nursery.close()


# --- the process that forks


def become(question: Mapping[str, Any]) -> NoReturn:
    """What a forked process does."""
    os.environ.update(question["env"])
    with open(question["said"], "ab") as said, open(question["log"], "ab") as log, open(os.devnull, "rb") as nothing:  # noqa: PTH123
        for number, file in enumerate((nothing, said, log)):
            os.dup2(file.fileno(), number)
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
    importlib.import_module("handletime.cli.warming").warm_up()
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
